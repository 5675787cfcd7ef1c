package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/outfile"
)

// Mark is the hidden file that tells a merged folder, which may be replaced, from one
// that a build has written.
const Mark = ".fledge-merged"

const markText = "Made by 'fledge release merge', which may replace this folder.\n"

// target is the place of the merged folder.
type target struct {
	path string
	info os.FileInfo // nil if there is nothing
}

// look refuses what cannot be replaced by a merged folder.
func look(dir string) (*target, error) {
	switch filepath.Base(dir) {
	case ".", "..", string(filepath.Separator):
		return nil, refuse("merging into %s: name a folder of its own, such as dist/release", shown(dir))
	}
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &target{path: dir}, nil
	case err != nil:
		return nil, fmt.Errorf("merging into %s: %w", shown(dir), err)
	case !info.IsDir():
		return nil, refuse("merging into %s: it exists and is not a folder; name another", shown(dir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := replaceable(root); err != nil {
		return nil, refuse("merging into %s: %w; remove the folder, or name another", shown(dir), err)
	}
	return &target{dir, info}, nil
}

// replaceable tells why a folder may not be replaced.
func replaceable(root *os.Root) error {
	entries, err := list(root, ".")
	if err != nil || len(entries) == 0 {
		return err
	}
	r := &reader{root: root, entries: entries}
	if !r.has(Mark) {
		return errors.New("it has files, and no earlier merge has made it")
	}
	data, err := r.bytes(build.SumsName, statement.MaxSums)
	if err != nil {
		return err
	}
	listed, err := statement.ParseSums(data)
	if err != nil {
		return err
	}
	own := []string{Mark, build.SumsName}
	for _, s := range listed {
		own = append(append(own, s.Name), bundleNames(s.Name)...)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.Contains(own, e.Name()) {
			return fmt.Errorf("%s in it is not of an earlier merge", shown(e.Name()))
		}
	}
	return nil
}

// sumsFile describes SHA256SUMS.
func sumsFile(ctx context.Context, text []byte) (File, error) {
	sub, err := statement.Digest(ctx, build.SumsName, bytes.NewReader(text))
	return File{Name: build.SumsName, Size: int64(len(text)), SHA256: sub.SHA256(), Role: Sums}, err
}

// fill makes the merged folder, unless it has all files.
func (t *target) fill(ctx context.Context, plugins []*plugin, sums []byte) error {
	if same, err := t.same(ctx, plugins, sums); same || err != nil {
		return err
	}
	folder, err := outfile.CreateFolder(t.path)
	if err != nil {
		return err
	}
	defer folder.Abort()
	for _, p := range plugins {
		for i, f := range p.Files {
			if err := put(ctx, folder, p, f, p.sources[i]); err != nil {
				return fmt.Errorf("merging %s: %w", shown(filepath.Join(p.Folder, p.sources[i].name)), err)
			}
		}
	}
	for name, text := range map[string][]byte{build.SumsName: sums, Mark: []byte(markText)} {
		if err := write(folder.Root, name, func(w *os.File) error { _, err := w.Write(text); return err }); err != nil {
			return fmt.Errorf("merging into %s: %w", shown(t.path), err)
		}
	}
	if _, err := look(t.path); err != nil { // nothing came in meanwhile
		return err
	}
	return folder.Commit()
}

// same tells whether the folder has all files already. Those that it has beside them
// are bundles, or it would not be replaced.
func (t *target) same(ctx context.Context, plugins []*plugin, sums []byte) (bool, error) {
	if t.info == nil {
		return false, nil
	}
	root, err := os.OpenRoot(t.path)
	if err != nil {
		return false, err
	}
	defer root.Close()
	r := &reader{root: root}
	if old, err := r.bytes(build.SumsName, statement.MaxSums); err != nil || !bytes.Equal(old, sums) {
		return false, nil
	}
	for _, p := range plugins {
		for i, f := range p.Files {
			info, err := root.Lstat(f.Name)
			if err != nil || info.Size() != f.Size {
				return false, nil
			}
			if os.SameFile(info, p.sources[i].info) {
				continue
			}
			sub, _, err := r.hash(ctx, f.Name)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if err != nil || sub.SHA256() != f.SHA256 {
				return false, nil
			}
		}
	}
	return true, nil
}

// link is os.Link but in tests.
var link = os.Link

// put links or copies a file, which has to be the one that was hashed.
func put(ctx context.Context, folder *outfile.Folder, p *plugin, f File, s source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if link(filepath.Join(p.Folder, s.name), folder.Path(f.Name)) == nil {
		info, err := folder.Root.Lstat(f.Name)
		if err != nil {
			return err
		}
		return unchanged(info, s.info)
	}
	root, err := os.OpenRoot(p.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	in, info, err := (&reader{root: root}).open(s.name)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := unchanged(info, s.info); err != nil {
		return err
	}
	return write(folder.Root, f.Name, func(w *os.File) error {
		sub, err := statement.Digest(ctx, f.Name, io.TeeReader(in, &sparse{f: w}))
		if err == nil && sub.SHA256() != f.SHA256 {
			err = errChanged
		}
		if err != nil {
			return err
		}
		return w.Truncate(f.Size) // a hole at the end has no bytes yet
	})
}

var errChanged = errors.New("it changes while it is merged; let the build end first")

func unchanged(now, then os.FileInfo) error {
	if !now.Mode().IsRegular() || !os.SameFile(now, then) || now.Size() != then.Size() || !now.ModTime().Equal(then.ModTime()) {
		return errChanged
	}
	return nil
}

// write makes a file in the hidden folder.
func write(root *os.Root, name string, fill func(*os.File) error) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sparse writes blocks of zeros as holes.
type sparse struct{ f *os.File }

var zeros [256 << 10]byte

func (s *sparse) Write(p []byte) (int, error) {
	if len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)]) {
		_, err := s.f.Seek(int64(len(p)), io.SeekCurrent)
		return len(p), err
	}
	return s.f.Write(p)
}

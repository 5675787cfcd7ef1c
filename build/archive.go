package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// archive is the medium of strategy initramfs. The archive can only be written
// when the tree is complete, so contents wait in a file without a name.
type archive struct {
	b     *builder
	out   *outfile.File
	spool *os.File
	dir   string // where the spool is
	end   int64  // of what the spool holds
}

func newArchive(b *builder, out *outfile.File) (*archive, error) {
	spool, err := cache.Spool(b.TempDir)
	if err != nil {
		return nil, err
	}
	return &archive{b: b, out: out, spool: spool, dir: cmp.Or(b.TempDir, os.TempDir())}, nil
}

// Store keeps exactly size bytes.
func (a *archive) Store(size int64, r io.Reader) (tree.Content, error) {
	n, err := io.Copy(io.NewOffsetWriter(a, a.end), io.LimitReader(r, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	c := spooled{file: a.spool, at: a.end, size: size}
	a.end += size
	return c, nil
}

// WriteAt writes to the spool. Its errors name the folder: the spool has no name.
func (a *archive) WriteAt(p []byte, at int64) (int, error) {
	n, err := a.spool.WriteAt(p, at)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		err = fmt.Errorf("keeping contents in a temporary file in %q: %w; free space there, all files of the artifact need it, or set TMPDIR to another folder", a.dir, err)
	}
	return n, err
}

// Discard does nothing: the spool goes as a whole.
func (a *archive) Discard(tree.Content) error { return nil }

func (a *archive) Close() error { return a.spool.Close() }

// spooled is content in the spool.
type spooled struct {
	file     *os.File
	at, size int64
}

func (s spooled) Size() int64 { return s.size }

// Open yields the bytes. The reader is an io.ReaderAt too.
func (s spooled) Open() (io.ReadCloser, error) {
	return spoolReader{io.NewSectionReader(s.file, s.at, s.size)}, nil
}

type spoolReader struct{ *io.SectionReader }

func (spoolReader) Close() error { return nil }

func (b *builder) compression() initramfs.Compression {
	return initramfs.Compression(b.Config.Initramfs.Compression)
}

// write writes the archive, hashing it on its way.
func (a *archive) write(ctx context.Context, t *tree.Tree, _ string) (Artifact, error) {
	b := a.b
	c := b.compression()
	b.stage("writing the initramfs (%s)", c)
	h := sha256.New()
	st, err := initramfs.Write(ctx, io.MultiWriter(a.out, h), t, initramfs.Options{
		Compression: c, Level: b.Config.Initramfs.Level, Warn: b.warn,
		Progress: func(done, total int64) { b.event(Event{Kind: Progress, Done: done, Total: total}) },
	})
	if err != nil {
		return Artifact{}, err
	}
	b.detail("%d entries, %d bytes, %d before compression", st.Entries, st.Size, st.Unpacked)
	if err := b.checkSize(st.Size, 0); err != nil {
		return Artifact{}, err
	}
	if err := a.out.Sync(); err != nil {
		return Artifact{}, fmt.Errorf("syncing %s: %w", b.path, err)
	}
	b.result.Archive = &st
	return Artifact{Path: b.path, Format: c.Extension()[1:], Size: st.Size, Digest: fmt.Sprintf("sha256:%x", h.Sum(nil))}, nil
}

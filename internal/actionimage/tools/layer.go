package tools

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"time"
)

// folders are all that files are in, each after the one that it is in.
func folders(files []File) []string {
	seen := map[string]bool{}
	for _, f := range files {
		for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Tar is an archive of the files and of the folders that they are in.
func Tar(files []File) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(h *tar.Header, body []byte) error {
		h.ModTime, h.Size, h.Format = time.Unix(0, 0).UTC(), int64(len(body)), tar.FormatUSTAR
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(body)
		}
		return err
	}
	for _, dir := range folders(files) {
		if err := put(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode}
		if f.Target != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Target
		}
		if err := put(h, f.Body); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// Unpack writes the files into a new folder.
func Unpack(dir string, files []File) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range append([]string{"."}, folders(files)...) {
		if name != "." {
			if err := root.Mkdir(name, 0o755); err != nil {
				return err
			}
		}
		if err := root.Chmod(name, 0o755); err != nil { // whatever the umask
			return err
		}
	}
	for _, f := range files {
		if err := write(root, f); err != nil {
			return fmt.Errorf("writing %q: %w", f.Name, err)
		}
	}
	return nil
}

func write(root *os.Root, f File) error {
	if f.Target != "" {
		return root.Symlink(f.Target, f.Name)
	}
	out, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.Body)
	return errors.Join(err, out.Chmod(os.FileMode(f.Mode)), out.Close())
}

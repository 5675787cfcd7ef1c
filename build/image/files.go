package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A file is one regular file of a layout or archive, opened for reading.
type file struct {
	io.Reader
	io.Closer
	size int64
}

// files are the regular files below a slash-separated path: a directory on disk
// or a tar. A missing one is fs.ErrNotExist.
type files interface {
	open(name string) (file, error)
	close() error
}

// dirFiles is a directory on disk. Links in it cannot lead out of it.
type dirFiles struct{ root *os.Root }

func openDir(path string) (files, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return dirFiles{root}, nil
}

func (d dirFiles) open(name string) (file, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for ever
		return file{}, fmt.Errorf("opening %s: not a regular file", name)
	}
	// Without O_NONBLOCK a FIFO put here since would be waited for.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return file{}, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %s: not a regular file", name)
	}
	if err != nil {
		_ = f.Close()
		return file{}, err
	}
	return file{Reader: f, Closer: f, size: info.Size()}, nil
}

func (d dirFiles) close() error { return d.root.Close() }

// readSmall reads a file of at most MaxDocument bytes.
func readSmall(fsys files, name string) ([]byte, error) {
	f, err := fsys.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if f.size > MaxDocument {
		return nil, fmt.Errorf("reading %s: %d bytes are more than the limit of %d", name, f.size, MaxDocument)
	}
	return io.ReadAll(io.LimitReader(f, MaxDocument))
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

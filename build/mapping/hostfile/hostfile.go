package hostfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Errors that callers tell apart.
var (
	ErrChanged    = errors.New("file changed while it was in use")
	ErrNotRegular = errors.New("not a regular file")
)

// File is a regular file as it was when Stat saw it. It holds no descriptor, so
// any number of them may exist; the root must stay open while they are in use.
// A File may be used from any goroutine.
type File struct {
	root *os.Root
	name string
	info fs.FileInfo
	sum  *[sha256.Size]byte
}

// Stat looks at name, a path below root without symbolic links (see Resolve).
// What is not a regular file is ErrNotRegular and is not opened.
func Stat(root *os.Root, name string) (*File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, Cause(err))
	}
	return FromInfo(root, name, info)
}

// FromInfo is Stat for a caller that has the file's Lstat already.
func FromInfo(root *os.Root, name string, info fs.FileInfo) (*File, error) {
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %q: %w, it is a %s", name, ErrNotRegular, Kind(info.Mode()))
	}
	return &File{root: root, name: name, info: info}, nil
}

// Pinned returns the same file with the SHA-256 its bytes must have: a read to
// the end of other bytes is ErrChanged.
func (f *File) Pinned(sum [sha256.Size]byte) *File {
	return &File{root: f.root, name: f.name, info: f.info, sum: &sum}
}

// Size is the file's length in bytes when Stat saw it.
func (f *File) Size() int64 { return f.info.Size() }

// Open returns a reader of exactly Size bytes. It returns io.EOF only when the
// file is still the one that Stat saw.
func (f *File) Open() (io.ReadCloser, error) {
	// Without O_NONBLOCK a named pipe put here since Stat would be waited for.
	h, err := f.root.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", f.name, Cause(err))
	}
	r := &reader{file: f, handle: h, left: f.info.Size()}
	if f.sum != nil {
		r.hash = sha256.New()
	}
	if err := r.same(); err != nil {
		h.Close()
		return nil, err
	}
	return r, nil
}

type reader struct {
	file   *File
	handle *os.File
	left   int64 // bytes still to come
	hash   hash.Hash
	err    error // what the end of the file was found to be
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		r.err = r.end()
		return 0, r.err
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.handle.Read(p)
	r.left -= int64(n)
	if r.hash != nil {
		r.hash.Write(p[:n])
	}
	switch {
	case errors.Is(err, io.EOF):
		r.err = r.changed("it ended %d bytes early", r.left)
	case err != nil:
		r.err = fmt.Errorf("reading %q: %w", r.file.name, Cause(err))
	}
	return n, r.err
}

// end is called when all bytes are read: io.EOF, or how the file differs from
// what was promised.
func (r *reader) end() error {
	if n, _ := r.handle.Read(make([]byte, 1)); n > 0 {
		return r.changed("it is longer than %d bytes", r.file.info.Size())
	}
	if err := r.same(); err != nil {
		return err
	}
	if r.hash != nil && [sha256.Size]byte(r.hash.Sum(nil)) != *r.file.sum {
		return r.changed("its bytes are not those read before")
	}
	return io.EOF
}

// same compares the open file with what Stat saw.
func (r *reader) same() error {
	now, err := r.handle.Stat()
	if err != nil {
		return fmt.Errorf("reading %q: %w", r.file.name, Cause(err))
	}
	was := r.file.info
	switch {
	case !now.Mode().IsRegular():
		return r.changed("it became a %s", Kind(now.Mode()))
	case !os.SameFile(was, now):
		return r.changed("another file took its place")
	case now.Size() != was.Size():
		return r.changed("its size went from %d to %d bytes", was.Size(), now.Size())
	case !now.ModTime().Equal(was.ModTime()):
		return r.changed("it was written to")
	}
	return nil
}

func (r *reader) changed(format string, args ...any) error {
	return fmt.Errorf("reading %q: %w: %s", r.file.name, ErrChanged, fmt.Sprintf(format, args...))
}

func (r *reader) Close() error { return r.handle.Close() }

// Kind names a file's type in words.
func Kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "regular file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symbolic link"
	case fs.ModeNamedPipe:
		return "named pipe (FIFO)"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "block device"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "character device"
	}
	return "special file"
}

// Cause takes the operation and the path off an error of package os: the caller
// names the path itself, relative to the project.
func Cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

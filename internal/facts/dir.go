package facts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FromDir asks the kernel about every name below root, root included. It needs the
// right to read the files and, for trusted and security xattrs, root.
func FromDir(ctx context.Context, root string, o Options) (Set, error) {
	d := dirReader{
		root:   root,
		o:      o,
		set:    Set{},
		inode:  map[string]inodeID{},
		body:   map[inodeID]body{},
		buffer: make([]byte, 1<<20),
	}
	if err := d.walk(ctx, "."); err != nil {
		return nil, err
	}
	Group(d.set, d.inode)
	return d.set, nil
}

type inodeID struct{ dev, ino uint64 }

// body is what reading a file's content tells.
type body struct {
	sum     string
	nonZero extents
}

type dirReader struct {
	root   string
	o      Options
	set    Set
	inode  map[string]inodeID
	body   map[inodeID]body // content of inodes with several names is read once
	buffer []byte
}

func (d *dirReader) walk(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := d.fact(name)
	if err != nil {
		return fmt.Errorf("reading %q: %w", name, err)
	}
	d.set[name] = f
	if f.Type != "dir" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(d.root, name))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := d.walk(ctx, join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func (d *dirReader) fact(name string) (Fact, error) {
	path := filepath.Join(d.root, name)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Fact{}, err
	}
	id := inodeID{st.Dev, st.Ino}
	d.inode[name] = id
	f := Fact{
		Name: name,
		Mode: st.Mode & 0o7777,
		UID:  st.Uid, GID: st.Gid,
		Mtime: Time{st.Mtim.Sec, st.Mtim.Nsec},
		Links: uint64(st.Nlink),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Type, f.Size = "file", st.Size
		err = d.content(path, id, &f)
	case unix.S_IFDIR:
		f.Type, f.Links = "dir", 0
	case unix.S_IFLNK:
		f.Type = "symlink"
		f.Target, err = os.Readlink(path)
	case unix.S_IFCHR:
		f.Type, f.Rdev = "char", rdev(st.Rdev)
	case unix.S_IFBLK:
		f.Type, f.Rdev = "block", rdev(st.Rdev)
	case unix.S_IFIFO:
		f.Type = "fifo"
	case unix.S_IFSOCK:
		f.Type = "socket"
	default:
		return Fact{}, fmt.Errorf("unknown file type %#o", st.Mode&unix.S_IFMT)
	}
	if err != nil {
		return Fact{}, err
	}
	f.Xattrs, err = xattrs(path)
	return f, err
}

func rdev(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

// content fills in what depends on the bytes and blocks of a regular file.
func (d *dirReader) content(path string, id inodeID, f *Fact) error {
	if !d.o.Content && d.o.Extents == NoExtents {
		return nil
	}
	fd, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer fd.Close()
	if d.o.Content || d.o.Extents == NonZero {
		b, ok := d.body[id]
		if !ok {
			if b, err = scan(fd, d.buffer); err != nil {
				return err
			}
			if f.Links > 1 {
				d.body[id] = b
			}
		}
		if d.o.Content {
			f.SHA256 = b.sum
		}
		if d.o.Extents == NonZero {
			f.Data = b.nonZero
		}
	}
	if d.o.Extents == Mapped {
		f.Data, err = mapped(fd, f.Size)
	}
	return err
}

// scan reads r to its end. The buffer's length is a multiple of Block.
func scan(r io.Reader, buffer []byte) (body, error) {
	var b body
	hash := sha256.New()
	for at := int64(0); ; {
		n, err := io.ReadFull(r, buffer)
		hash.Write(buffer[:n])
		for i := 0; i < n; i += Block {
			if !zero(buffer[i:min(i+Block, n)]) {
				b.nonZero.add(at+int64(i), at+int64(i)+Block)
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			b.sum = hex.EncodeToString(hash.Sum(nil))
			return b, nil
		}
		if err != nil {
			return body{}, err
		}
	}
}

func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// mapped asks for the data ranges of a file of the given size.
func mapped(fd *os.File, size int64) (extents, error) {
	var out extents
	for at := int64(0); at < size; {
		start, err := fd.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return out, nil // the rest is a hole
		}
		if err != nil {
			return nil, err
		}
		end, err := fd.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		out.add(roundDown(start), roundUp(end))
		at = end
	}
	return out, nil
}

// xattrs returns all extended attributes of path itself, nil if there are none.
func xattrs(path string) (map[string]string, error) {
	list, err := fetch(func(p []byte) (int, error) { return unix.Llistxattr(path, p) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing xattrs: %w", err)
	}
	var out map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value, err := fetch(func(p []byte) (int, error) { return unix.Lgetxattr(path, name, p) })
		if err != nil {
			return nil, fmt.Errorf("reading xattr %q: %w", name, err)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = string(value)
	}
	return out, nil
}

// fetch calls get with a buffer that fits the largest xattr list and value of Linux.
func fetch(get func([]byte) (int, error)) ([]byte, error) {
	buffer := make([]byte, 64<<10)
	n, err := get(buffer)
	if err != nil {
		return nil, err
	}
	return buffer[:n], nil
}

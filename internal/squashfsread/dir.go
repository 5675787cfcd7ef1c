package squashfsread

import (
	"fmt"
	"strings"
)

// dirExtra is how much larger a directory's size is than its listing.
const dirExtra = 3

const (
	maxBase = 255  // bytes of a component
	maxName = 4095 // bytes of a whole name
)

// entry is a name in a directory.
type entry struct {
	base   string
	ref    uint64
	number uint32
	kind   uint16

	first  bool  // of its run
	header int64 // where the run's header is, from the listing's start
	block  int64 // the metadata block of the header, from the table's start
}

// listing reads a directory's names one after another.
type listing struct {
	c      cursor
	left   int64
	done   int64
	count  uint32 // left in the run
	first  bool
	header int64
	block  int64
	inodes uint32 // metadata block of the run's inodes
	number uint32
	last   string
}

func (in *Inode) list() (*listing, error) {
	if in.Type != TypeDir {
		return nil, fmt.Errorf("it is no directory: %w", ErrCorrupt)
	}
	f := in.fs
	l := &listing{left: max(int64(in.Size)-dirExtra, 0)}
	l.c = cursor{fs: f, what: "directory table", at: f.sb.DirTable + int64(in.listBlock), end: f.dirEnd, off: int(in.listByte)}
	return l, nil
}

func (l *listing) read(p []byte) error {
	if l.left -= int64(len(p)); l.left < 0 {
		return fmt.Errorf("directory table: an entry is longer than its directory: %w", ErrCorrupt)
	}
	l.done += int64(len(p))
	return l.c.read(p)
}

// next gives the next name, nil at the end.
func (l *listing) next() (*entry, error) {
	if l.count == 0 {
		if l.left == 0 {
			return nil, nil
		}
		l.header, l.block, l.first = l.done, l.c.at-l.c.fs.sb.DirTable, true
		var b [12]byte
		if err := l.read(b[:]); err != nil {
			return nil, err
		}
		l.count, l.inodes, l.number = le.Uint32(b[:]), le.Uint32(b[4:]), le.Uint32(b[8:])
		if l.count >= 256 {
			return nil, fmt.Errorf("directory table: a run of %d names more than one: %w", l.count, ErrCorrupt)
		}
		l.count++
	}
	var b [8 + maxBase + 1]byte
	if err := l.read(b[:8]); err != nil {
		return nil, err
	}
	n := int(le.Uint16(b[6:])) + 1
	if n > maxBase {
		return nil, fmt.Errorf("directory table: a name of %d bytes: %w", n, ErrCorrupt)
	}
	base := b[8 : 8+n]
	if err := l.read(base); err != nil {
		return nil, err
	}
	e := &entry{
		base: string(base), ref: uint64(l.inodes)<<16 | uint64(le.Uint16(b[:])), number: uint32(int64(l.number) + int64(int16(le.Uint16(b[2:])))),
		kind: le.Uint16(b[4:]), first: l.first, header: l.header, block: l.block,
	}
	if strings.ContainsAny(e.base, "/\x00") || e.base == "." || e.base == ".." {
		return nil, fmt.Errorf("directory table: the name %q: %w", e.base, ErrCorrupt)
	}
	if l.last != "" && e.base <= l.last {
		return nil, fmt.Errorf("directory table: the name %q after %q: %w", e.base, l.last, ErrCorrupt)
	}
	l.last, l.first = e.base, false
	l.count--
	return e, nil
}

// Walk calls fn for every name, "." first, a directory before what is in it, names of a
// directory in byte order. It ends with the first error.
func (f *FS) Walk(fn func(name string, in *Inode) error) error {
	return f.walk(fn, func(_ string, err error) error { return err })
}

// walk tells bad what it cannot read, and goes on unless that gives an error.
func (f *FS) walk(fn func(string, *Inode) error, bad func(string, error) error) error {
	root, err := f.Inode(f.sb.Root)
	if err == nil && root.Type != TypeDir {
		err = fmt.Errorf("inode %#x: the root is no directory: %w", f.sb.Root, ErrCorrupt)
	}
	if err != nil {
		return bad(".", err)
	}
	w := walker{f: f, fn: fn, bad: bad, seen: map[uint64]bool{root.Ref: true}}
	if err := fn(".", root); err != nil {
		return err
	}
	return w.dir("", root)
}

type walker struct {
	f    *FS
	fn   func(string, *Inode) error
	bad  func(string, error) error
	seen map[uint64]bool // directories
}

func (w *walker) dir(prefix string, in *Inode) error {
	where := strings.TrimSuffix(prefix, "/")
	if where == "" {
		where = "."
	}
	l, err := in.list()
	for err == nil {
		var e *entry
		if e, err = l.next(); err != nil || e == nil {
			break
		}
		name := prefix + e.base
		if len(name) > maxName {
			err = fmt.Errorf("a name of %d bytes, at most %d: %w", len(name), maxName, ErrUnsupported)
			break
		}
		child, problem := w.child(e)
		if problem != nil {
			if err := w.bad(name, fmt.Errorf("%q: %w", name, problem)); err != nil {
				return err
			}
			continue
		}
		if err := w.fn(name, child); err != nil {
			return err
		}
		if child.Type == TypeDir {
			if err := w.dir(name+"/", child); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return w.bad(where, fmt.Errorf("directory %q: %w", where, err))
	}
	return nil
}

func (w *walker) child(e *entry) (*Inode, error) {
	in, err := w.f.Inode(e.ref)
	switch {
	case err != nil:
		return nil, err
	case in.Number != e.number:
		return nil, fmt.Errorf("inode %d by its directory, %d by itself: %w", e.number, in.Number, ErrCorrupt)
	case in.Type != e.kind:
		return nil, fmt.Errorf("type %d by its directory, %d by itself: %w", e.kind, in.Type, ErrCorrupt)
	case in.Type == TypeDir && w.seen[in.Ref]:
		return nil, fmt.Errorf("a directory of two names: %w", ErrCorrupt)
	}
	if in.Type == TypeDir {
		w.seen[in.Ref] = true
	}
	return in, nil
}

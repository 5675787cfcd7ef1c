package xfsread

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxBase = 255  // bytes of a component
	maxName = 4095 // bytes of a whole name

	dirBlockMagic = 0x58444233 // "XDB3": the only block, its index follows the names
	dirDataMagic  = 0x58444433 // "XDD3"
	dirHead       = 64
	dirIndex      = 1 << 35 // where the index begins in a directory, bytes
)

// fileTypes are the types of inodes by what directories call them.
var fileTypes = []uint16{0, TypeFile, TypeDir, TypeChar, TypeBlock, TypeFIFO, TypeSocket, TypeSymlink}

// entry is a name in a directory.
type entry struct {
	base   string
	number uint64
	kind   uint8 // 0 is not said
}

// listing is what a directory holds.
type listing struct {
	fs      *FS
	in      *Inode
	entries []entry
	self    uint64 // ".", 0 in the short form, which has none
	parent  uint64
}

// list reads a directory. Names are in byte order.
func (in *Inode) list() (*listing, error) {
	if in.Type != TypeDir {
		return nil, fmt.Errorf("it is no directory: %w", ErrCorrupt)
	}
	l := &listing{fs: in.fs, in: in}
	var err error
	if in.data.format == formatLocal {
		err = l.short()
	} else {
		err = l.blocks()
	}
	if err != nil {
		return nil, err
	}
	if l.parent == 0 {
		return nil, fmt.Errorf("it has no \"..\": %w", ErrCorrupt)
	}
	slices.SortFunc(l.entries, func(a, b entry) int { return strings.Compare(a.base, b.base) })
	for i := 1; i < len(l.entries); i++ {
		if l.entries[i].base == l.entries[i-1].base {
			return nil, fmt.Errorf("the name %q occurs twice: %w", l.entries[i].base, ErrCorrupt)
		}
	}
	return l, nil
}

// add takes a name.
func (l *listing) add(base []byte, number uint64, kind uint8) error {
	switch name := string(base); {
	case name == "." && l.self == 0 && number == l.in.Number:
		l.self = number
		return nil
	case name == ".." && l.parent == 0:
		l.parent = number
		return nil
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the name %q: %w", name, ErrCorrupt)
	case kind >= uint8(len(fileTypes)):
		return fmt.Errorf("%q has the type %d: %w", name, kind, ErrCorrupt)
	case len(l.entries) == l.fs.opt.MaxNames:
		return fmt.Errorf("more than %d names in one directory: %w", l.fs.opt.MaxNames, ErrUnsupported)
	default:
		l.entries = append(l.entries, entry{name, number, kind})
		return nil
	}
}

// typed tells whether names say what type they are of.
func (l *listing) typed() int { return int(l.fs.sb.Incompat & incompatFtype) }

// short reads a directory that is in its inode.
func (l *listing) short() error {
	short := fmt.Errorf("it is longer than its %d bytes: %w", l.in.Size, ErrCorrupt)
	if l.in.Size > int64(len(l.in.data.b)) || l.in.Size < 6 {
		return fmt.Errorf("%d bytes in an inode with room for %d: %w", l.in.Size, len(l.in.data.b), ErrCorrupt)
	}
	b := l.in.data.b[:l.in.Size]
	count, wide := int(b[0]), 4
	if b[1] > 0 {
		count, wide = int(max(b[0], b[1])), 8
	}
	number := func(b []byte) uint64 {
		if wide == 8 {
			return be.Uint64(b)
		}
		return uint64(be.Uint32(b))
	}
	if len(b) < 2+wide {
		return short
	}
	l.parent = number(b[2:])
	b = b[2+wide:]
	for range count {
		if len(b) < 3 {
			return short
		}
		n := int(b[0])
		size := 3 + n + l.typed() + wide
		if len(b) < size {
			return short
		}
		kind := uint8(0)
		if l.typed() > 0 {
			kind = b[3+n]
		}
		if err := l.add(b[3:3+n], number(b[size-wide:]), kind); err != nil {
			return err
		}
		b = b[size:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes behind its names: %w", len(b), ErrCorrupt)
	}
	return nil
}

// blocks reads a directory that is in blocks of its own.
func (l *listing) blocks() error {
	list, _, err := l.in.extents(&l.in.data)
	if err != nil {
		return err
	}
	p := pieces{l.fs, list}
	log := l.fs.sb.blockLog
	per := uint64(l.fs.sb.DirBlockSize >> log)
	b, next := make([]byte, l.fs.sb.DirBlockSize), uint64(0)
	for _, x := range list {
		if x.Logical >= dirIndex>>log {
			break
		}
		for at := max(next, x.Logical/per*per); at < x.Logical+x.Count; at += per {
			place, err := p.read(b, at, "directory block")
			if err == nil {
				err = l.block(b, place, at<<log)
			}
			if err != nil {
				return fmt.Errorf("byte %d: %w", at<<log, err)
			}
			next = at + per
		}
	}
	if l.self == 0 {
		return fmt.Errorf("it has no \".\": %w", ErrCorrupt)
	}
	return nil
}

// block reads the names of a block.
func (l *listing) block(b []byte, place int64, at uint64) error {
	if err := l.fs.itself(b, dirLayout, place, l.in.Number, "directory block"); err != nil {
		return err
	}
	end := len(b)
	switch magic := be.Uint32(b); {
	case magic == dirBlockMagic && at == 0 && l.in.Size == int64(len(b)):
		index := uint64(be.Uint32(b[len(b)-8:]))
		if index > uint64(len(b)-dirHead-8)/8 {
			return fmt.Errorf("an index of %d names: %w", index, ErrCorrupt)
		}
		end -= 8 + int(index)*8
	case magic != dirDataMagic:
		return fmt.Errorf("magic %#x: %w", magic, ErrCorrupt)
	}
	for off := dirHead; off < end; {
		n, err := l.one(b[off:end], off)
		if err != nil {
			return fmt.Errorf("name at %d: %w", off, err)
		}
		off += n
	}
	return nil
}

// one reads a name or what is free, and tells its length.
func (l *listing) one(b []byte, off int) (int, error) {
	long := fmt.Errorf("it is longer than the block: %w", ErrCorrupt)
	if len(b) < 8 {
		return 0, long
	}
	if be.Uint16(b) == 0xffff {
		n := int(be.Uint16(b[2:]))
		if n < 8 || n%8 != 0 || n > len(b) {
			return 0, fmt.Errorf("%d bytes are free of %d: %w", n, len(b), ErrCorrupt)
		}
		return n, nil
	}
	if len(b) < 16 {
		return 0, long
	}
	name := int(b[8])
	n := (8 + 1 + name + l.typed() + 2 + 7) &^ 7
	if n > len(b) {
		return 0, long
	}
	if tag := be.Uint16(b[n-2:]); int(tag) != off {
		return 0, fmt.Errorf("it says that it is at %d: %w", tag, ErrCorrupt)
	}
	kind := uint8(0)
	if l.typed() > 0 {
		kind = b[9+name]
	}
	return n, l.add(b[9:9+name], be.Uint64(b), kind)
}

// Walk calls fn for every name, "." first, a directory before what is in it, names of a
// directory in byte order. It ends with the first error.
func (f *FS) Walk(fn func(name string, in *Inode) error) error {
	return f.walk(func(name string, in *Inode, _ *listing) error { return fn(name, in) }, func(_ string, err error) error { return err })
}

// walk tells bad what it cannot read, and goes on unless that gives an error. Directories
// come with what they hold.
func (f *FS) walk(fn func(string, *Inode, *listing) error, bad func(string, error) error) error {
	root, err := f.Inode(f.sb.Root)
	if err == nil && root.Type != TypeDir {
		err = fmt.Errorf("inode %d: the root is no directory: %w", f.sb.Root, ErrCorrupt)
	}
	if err != nil {
		return bad(".", err)
	}
	w := walker{f: f, fn: fn, bad: bad, seen: map[uint64]bool{root.Number: true}}
	return w.visit(".", root, root)
}

type walker struct {
	f    *FS
	fn   func(string, *Inode, *listing) error
	bad  func(string, error) error
	seen map[uint64]bool // directories
}

// visit tells a name, and goes through what is in it.
func (w *walker) visit(name string, in, parent *Inode) error {
	if in.Type != TypeDir {
		return w.fn(name, in, nil)
	}
	l, err := in.list()
	if err == nil && l.parent != parent.Number {
		err = fmt.Errorf("its \"..\" is inode %d, it is in %d: %w", l.parent, parent.Number, ErrCorrupt)
	}
	if err != nil {
		return w.bad(name, fmt.Errorf("directory %q: %w", name, err))
	}
	if err := w.fn(name, in, l); err != nil {
		return err
	}
	prefix := name + "/"
	if name == "." {
		prefix = ""
	}
	for _, e := range l.entries {
		name := prefix + e.base
		child, err := w.child(name, &e)
		if err == nil {
			err = w.visit(name, child, in)
		} else {
			err = w.bad(name, fmt.Errorf("%q: %w", name, err))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) child(name string, e *entry) (*Inode, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("a name of %d bytes, at most %d: %w", len(name), maxName, ErrUnsupported)
	}
	in, err := w.f.Inode(e.number)
	switch {
	case err != nil:
		return nil, err
	case e.kind != 0 && in.Type != fileTypes[e.kind]:
		return nil, fmt.Errorf("type %#x by its directory, %#x by itself: %w", fileTypes[e.kind], in.Type, ErrCorrupt)
	case in.Type == TypeDir && w.seen[in.Number]:
		return nil, fmt.Errorf("a directory of two names: %w", ErrCorrupt)
	}
	if in.Type == TypeDir {
		w.seen[in.Number] = true
	}
	return in, nil
}

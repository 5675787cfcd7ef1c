package btrfsread

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// rawCRC is crc32c from a start value, without the inversions.
func rawCRC(start uint32, name string) uint32 {
	return ^crc32.Update(^start, castagnoli, []byte(name))
}

// nameHash is the offset of the key of a DIR_ITEM or XATTR_ITEM.
func nameHash(name string) uint32 { return rawCRC(^uint32(1), name) }

// list reads a directory's names, in byte order.
func (in *Inode) list() ([]entry, error) {
	if in.Type != TypeDir {
		return nil, fmt.Errorf("it is no directory: %w", ErrCorrupt)
	}
	var all []entry
	s := in.fs.tree.seek(key{in.Number, typeDirIndex, 0})
	for ; s.more(in.Number, typeDirIndex); s.next() {
		list, err := parseNames(s.data)
		if err != nil {
			return nil, err
		}
		if len(list) != 1 || list[0].value != "" {
			return nil, fmt.Errorf("%d names at index %d: %w", len(list), s.key.offset, ErrCorrupt)
		}
		e := list[0]
		if strings.ContainsAny(e.base, "/\x00") || e.base == "." || e.base == ".." {
			return nil, fmt.Errorf("the name %q: %w", e.base, ErrCorrupt)
		}
		e.index = s.key.offset
		if all = append(all, e); len(all) > in.fs.opt.MaxNames {
			return nil, fmt.Errorf("more than %d names in one directory: %w", in.fs.opt.MaxNames, ErrUnsupported)
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.base, b.base) })
	for i := 1; i < len(all); i++ {
		if all[i].base == all[i-1].base {
			return nil, fmt.Errorf("the name %q occurs twice: %w", all[i].base, ErrCorrupt)
		}
	}
	return all, nil
}

// Walk calls fn for every name, "." first, a directory before what is in it, names of a
// directory in byte order. It ends with the first error.
func (f *FS) Walk(fn func(name string, in *Inode) error) error {
	return f.walk(func(name string, in *Inode, _ uint64, _ *entry) error { return fn(name, in) }, func(_ string, err error) error { return err })
}

// walk tells bad what it cannot read, and goes on unless that gives an error. fn gets the
// number of the directory and the entry too; the root has none.
func (f *FS) walk(fn func(string, *Inode, uint64, *entry) error, bad func(string, error) error) error {
	root, err := f.Inode(rootInode)
	if err == nil && root.Type != TypeDir {
		err = fmt.Errorf("inode %d: the root is no directory: %w", root.Number, ErrCorrupt)
	}
	if err != nil {
		return bad(".", err)
	}
	w := walker{f: f, fn: fn, bad: bad, seen: map[uint64]bool{root.Number: true}}
	if err := fn(".", root, 0, nil); err != nil {
		return err
	}
	return w.dir("", root)
}

type walker struct {
	f    *FS
	fn   func(string, *Inode, uint64, *entry) error
	bad  func(string, error) error
	seen map[uint64]bool // directories
}

func (w *walker) dir(prefix string, in *Inode) error {
	where := strings.TrimSuffix(prefix, "/")
	if where == "" {
		where = "."
	}
	list, err := in.list()
	if err != nil {
		return w.bad(where, fmt.Errorf("directory %q: %w", where, err))
	}
	for i := range list {
		e := &list[i]
		name := prefix + e.base
		if len(name) > maxName {
			return w.bad(where, fmt.Errorf("directory %q: a name of %d bytes, at most %d: %w", where, len(name), maxName, ErrUnsupported))
		}
		child, err := w.child(e)
		if err != nil {
			if err := w.bad(name, fmt.Errorf("%q: %w", name, err)); err != nil {
				return err
			}
			continue
		}
		if err := w.fn(name, child, in.Number, e); err != nil {
			return err
		}
		if child.Type == TypeDir {
			if err := w.dir(name+"/", child); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walker) child(e *entry) (*Inode, error) {
	if e.location.kind == typeRoot {
		return nil, fmt.Errorf("it is a subvolume of its own (%d), which is not read: %w", e.location.object, ErrUnsupported)
	}
	if e.location.kind != typeInode || e.location.offset != 0 {
		return nil, fmt.Errorf("it leads to the key %v: %w", e.location, ErrCorrupt)
	}
	in, err := w.f.Inode(e.location.object)
	switch {
	case err != nil:
		return nil, err
	case in.Type != e.kind:
		return nil, fmt.Errorf("type %d by its directory, %d by itself: %w", e.kind, in.Type, ErrCorrupt)
	case in.Type == TypeDir && w.seen[in.Number]:
		return nil, fmt.Errorf("a directory of two names: %w", ErrCorrupt)
	}
	if in.Type == TypeDir {
		w.seen[in.Number] = true
	}
	return in, nil
}

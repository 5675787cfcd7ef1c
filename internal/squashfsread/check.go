package squashfsread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxProblems is how many problems Check lists.
const maxProblems = 100

var errTooMany = errors.New("too many problems")

// Check reads the whole filesystem and lists what is wrong, in a defined order; an empty
// list means that nothing is. The error is about the check itself: it was cancelled, the image is
// over a limit or could not be read.
func (f *FS) Check(ctx context.Context) ([]string, error) {
	c := &checker{ctx: ctx, f: f, names: map[uint64]uint32{}, buf: make([]byte, 1<<20)}
	err := c.run()
	if err == nil || errors.Is(err, errTooMany) {
		return c.problems, nil
	}
	return c.problems, fmt.Errorf("checking filesystem: %w", err)
}

// maxChecked is how many names Check takes: it remembers their inodes.
const maxChecked = 4 << 20

type checker struct {
	ctx      context.Context //nolint:containedctx // lives for one call of Check
	f        *FS
	problems []string
	names    map[uint64]uint32 // by reference
	order    []*Inode
	buf      []byte
}

func (c *checker) bad(where, format string, args ...any) error {
	if len(c.problems) == maxProblems {
		return errTooMany
	}
	c.problems = append(c.problems, where+": "+fmt.Sprintf(format, args...))
	return c.ctx.Err()
}

// broken notes an error about the image; others end the check.
func (c *checker) broken(where string, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	return c.bad(where, "%v", err)
}

func (c *checker) run() error {
	for _, step := range []func() error{c.padding, c.tree, c.links, c.contents, c.fragments, c.export} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// padding demands zeros behind what is used.
func (c *checker) padding() error {
	for at := c.f.sb.BytesUsed; at < c.f.size; {
		p := c.buf[:min(int64(len(c.buf)), c.f.size-at)]
		if n, err := c.f.r.ReadAt(p, at); n < len(p) {
			return fmt.Errorf("reading the image at byte %d: %w", at, err)
		}
		if i := slices.IndexFunc(p, func(b byte) bool { return b != 0 }); i >= 0 {
			return c.bad("padding", "byte %d is not zero", at+int64(i))
		}
		at += int64(len(p))
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// tree reads all inodes and directories.
func (c *checker) tree() error {
	total := 0
	return c.f.walk(func(name string, in *Inode) error {
		if total++; total > maxChecked {
			return fmt.Errorf("more than %d names: %w", maxChecked, ErrUnsupported)
		}
		c.names[in.Ref]++
		if c.names[in.Ref] == 1 {
			in.Xattrs, in.Target = nil, ""
			c.order = append(c.order, in)
		}
		if in.Type == TypeDir {
			return c.directory(fmt.Sprintf("directory %q", name), in)
		}
		return c.ctx.Err()
	}, func(name string, err error) error { return c.broken(fmt.Sprintf("%q", name), err) })
}

// directory compares a directory's index with its listing, and the parent that its
// directories name with it.
func (c *checker) directory(where string, in *Inode) error {
	l, err := in.list()
	runs, subdirs := map[int64]*entry{}, uint32(0)
	for err == nil {
		var e *entry
		if e, err = l.next(); err != nil || e == nil {
			break
		}
		if e.first {
			runs[e.header] = e
		}
		if e.kind != TypeDir {
			continue
		}
		subdirs++
		child, problem := c.f.Inode(e.ref)
		if problem == nil && child.Parent != in.Number {
			if err := c.bad(where, "%q says that its parent is inode %d, it is %d", e.base, child.Parent, in.Number); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return nil // the walk reports it
	}
	if in.Links != subdirs+2 {
		if err := c.bad(where, "%d links, it has %d directories and 2 more are counted", in.Links, subdirs); err != nil {
			return err
		}
	}
	at := in.index
	for i := range in.indexes {
		var b [12]byte
		if err := at.read(b[:]); err != nil {
			return c.broken(where, err)
		}
		n := le.Uint32(b[8:])
		if n >= maxBase {
			return c.bad(where, "index %d has a name of %d bytes", i, n)
		}
		base := make([]byte, n+1)
		if err := at.read(base); err != nil {
			return c.broken(where, err)
		}
		run := runs[int64(le.Uint32(b[:]))]
		if run == nil || run.base != string(base) || run.block != int64(le.Uint32(b[4:])) {
			if err := c.bad(where, "index %d leads to byte %d in block %d and %q, where no run of names begins with it", i, le.Uint32(b[:]), le.Uint32(b[4:]), base); err != nil {
				return err
			}
		}
	}
	return c.ctx.Err()
}

// links compares counts.
func (c *checker) links() error {
	numbers := map[uint32]uint64{}
	for _, in := range c.order {
		where := fmt.Sprintf("inode %d", in.Number)
		if n := c.names[in.Ref]; in.Type != TypeDir && n != in.Links && (in.Extended || in.Type != TypeFile || n != 1) {
			if err := c.bad(where, "%d links, %d names lead to it", in.Links, n); err != nil {
				return err
			}
		}
		if other, twice := numbers[in.Number]; twice {
			if err := c.bad(where, "it is at %#x and at %#x", other, in.Ref); err != nil {
				return err
			}
		}
		numbers[in.Number] = in.Ref
	}
	if n := len(c.order); uint32(n) != c.f.sb.Inodes {
		return c.bad("superblock", "%d inodes, %d are in directories", c.f.sb.Inodes, n)
	}
	return nil
}

// contents reads all files, those with the same blocks once.
func (c *checker) contents() error {
	type place struct {
		start, size      uint64
		fragment, offset uint32
	}
	seen := map[place]bool{}
	for _, in := range c.order {
		if in.Type != TypeFile {
			continue
		}
		p := place{in.Start, in.Size, in.Fragment, in.Offset}
		if seen[p] {
			continue
		}
		seen[p] = true
		if err := c.content(in); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) content(in *Inode) error {
	where := fmt.Sprintf("inode %d", in.Number)
	f, err := in.File()
	if err != nil {
		return c.broken(where, err)
	}
	holes := uint64(0)
	at := int64(0)
	for _, r := range append(f.Data(), [2]int64{int64(in.Size), int64(in.Size)}) {
		holes += uint64(r[0] - at)
		at = r[1]
		for off := r[0]; off < r[1]; off += int64(len(c.buf)) {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			p := c.buf[:min(int64(len(c.buf)), r[1]-off)]
			if _, err := f.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
				return c.broken(where, err)
			}
		}
	}
	if in.Extended && in.Sparse != holes && !(holes == in.Size && in.Sparse+1 == holes) {
		return c.bad(where, "%d bytes in holes, its blocks have %d", in.Sparse, holes)
	}
	return nil
}

// fragments reads all fragments, the ones of no file too.
func (c *checker) fragments() error {
	for i := range c.f.sb.Fragments {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		at, size, err := c.f.fragmentEntry(i)
		if err == nil {
			_, err = c.f.dataBlock(at, size, fmt.Sprintf("fragment %d", i))
		}
		if err != nil {
			if err := c.broken("fragment table", err); err != nil {
				return err
			}
		}
	}
	return nil
}

// export compares the export table with the inodes.
func (c *checker) export() error {
	s := &c.f.sb
	if s.ExportTable == noTable {
		if s.Flags&FlagExport != 0 {
			return c.bad("superblock", "it says that there is an export table, there is none")
		}
		return nil
	}
	for _, in := range c.order {
		var b [8]byte
		if err := c.f.lookup("export table", s.ExportTable, in.Number-1, b[:]); err != nil {
			return c.broken("export table", err)
		}
		if ref := le.Uint64(b[:]); ref != in.Ref {
			if err := c.bad("export table", "inode %d is at %#x, it is at %#x", in.Number, ref, in.Ref); err != nil {
				return err
			}
		}
	}
	return nil
}

package xfsread

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

const (
	maxProblems = 100     // that Check lists
	maxChecked  = 4 << 20 // names, and extents, that Check takes: it remembers them
)

var errTooMany = errors.New("too many problems")

// Check reads the whole filesystem but content, with checksums, and lists what is wrong, in a
// defined order; an empty list means that nothing is. The error is about the check itself: it was
// cancelled, the image is over a limit or could not be read.
func (f *FS) Check(ctx context.Context) ([]string, error) {
	strict := *f
	strict.opt.Verify = true
	c := &checker{ctx: ctx, f: &strict, names: map[uint64]uint32{}}
	err := c.run()
	if err == nil || errors.Is(err, errTooMany) {
		return c.problems, nil
	}
	return c.problems, fmt.Errorf("checking filesystem: %w", err)
}

type checker struct {
	ctx      context.Context //nolint:containedctx // lives for one call of Check
	f        *FS
	problems []string
	total    int
	names    map[uint64]uint32 // by inode, of all but directories
	order    []checked
	dirs     uint64
	used     []used

	inodes, freeInodes, freeBlocks uint64 // by the allocation groups
}

// checked is what is kept of an inode that is no directory.
type checked struct {
	number uint64
	links  uint32
}

// used is a run of bytes of the image that is in use.
type used struct {
	start, end int64
	inode      uint64 // 0 is a header or the log
	shared     bool   // may be in use by others too
}

func (u *used) String() string {
	if u.inode == 0 {
		return "the headers or the log"
	}
	return fmt.Sprintf("inode %d", u.inode)
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
	for _, step := range []func() error{c.groups, c.tree, c.links, c.counts, c.shared} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// header is a sector at the start of each allocation group.
type header struct {
	name      string
	magic     string
	crc, uuid int
	group     int // where the number of the group is, 0 if it is not
	length    int // and its blocks
}

var headers = []header{
	{name: "superblock", magic: "XFSB", crc: superCRC, uuid: 32},
	{name: "free space", magic: "XAGF", crc: 216, uuid: 64, group: 8, length: 12},
	{name: "inodes", magic: "XAGI", crc: 312, uuid: 296, group: 8, length: 12},
	{name: "free list", magic: "XAFL", crc: 32, uuid: 8, group: 4},
}

// groups reads the headers of the allocation groups.
func (c *checker) groups() error {
	f := c.f
	b := make([]byte, f.sb.SectorSize)
	for g := range f.sb.Groups {
		start := int64(g) * int64(f.sb.GroupBlocks) << f.sb.blockLog
		for i, h := range headers {
			where := fmt.Sprintf("group %d, %s", g, h.name)
			if err := f.readAt(b, start+int64(i*len(b)), where); err != nil {
				return c.broken(where, err)
			}
			if err := c.header(where, b, g, &h); err != nil {
				return err
			}
		}
		blocks := (int64(len(headers)*len(b)) + int64(f.sb.BlockSize) - 1) >> f.sb.blockLog
		if err := c.use(used{start: start, end: start + blocks<<f.sb.blockLog}); err != nil {
			return err
		}
	}
	place, err := f.place(f.sb.LogStart, uint64(f.sb.LogBlocks))
	if err != nil {
		return c.broken("log", err)
	}
	return c.use(used{start: place, end: place + int64(f.sb.LogBlocks)<<f.sb.blockLog})
}

func (c *checker) header(where string, b []byte, group uint32, h *header) error {
	if string(b[:4]) != h.magic {
		return c.bad(where, "magic %q, want %q", b[:4], h.magic)
	}
	if err := c.f.verify(b, h.crc, "header"); err != nil {
		return c.broken(where, err)
	}
	uuid := c.f.sb.MetaUUID
	if h.group == 0 {
		uuid = c.f.sb.UUID
	}
	switch {
	case [16]byte(b[h.uuid:]) != uuid:
		return c.bad(where, "it is of another filesystem")
	case h.group > 0 && be.Uint32(b[h.group:]) != group:
		return c.bad(where, "it says that it is of group %d", be.Uint32(b[h.group:]))
	case h.length > 0 && uint64(be.Uint32(b[h.length:])) != c.f.groupBlocks(group):
		return c.bad(where, "a group of %d blocks, it has %d", be.Uint32(b[h.length:]), c.f.groupBlocks(group))
	}
	switch h.magic {
	case "XAGF":
		c.freeBlocks += uint64(be.Uint32(b[48:])) + uint64(be.Uint32(b[52:])) + uint64(be.Uint32(b[60:]))
	case "XAGI":
		c.inodes += uint64(be.Uint32(b[16:]))
		c.freeInodes += uint64(be.Uint32(b[28:]))
		for at := 40; at < 296; at += 4 {
			if v := be.Uint32(b[at:]); v != 1<<32-1 {
				return c.bad(where, "inode %d of the group is open or deleted", v)
			}
		}
	}
	return nil
}

func (c *checker) use(u used) error {
	if len(c.used) == maxChecked {
		return fmt.Errorf("more than %d extents: %w", maxChecked, ErrUnsupported)
	}
	c.used = append(c.used, u)
	return nil
}

// tree reads all inodes and directories.
func (c *checker) tree() error {
	return c.f.walk(func(name string, in *Inode, l *listing) error {
		if c.total++; c.total > maxChecked {
			return fmt.Errorf("more than %d names: %w", maxChecked, ErrUnsupported)
		}
		if l != nil {
			c.dirs++
			if err := c.directory(name, in, l); err != nil {
				return err
			}
			return c.blocks(in)
		}
		c.names[in.Number]++
		if c.names[in.Number] > 1 {
			return c.ctx.Err()
		}
		c.order = append(c.order, checked{in.Number, in.Links})
		return c.blocks(in)
	}, func(name string, err error) error { return c.broken(fmt.Sprintf("%q", name), err) })
}

// directory counts a directory's links: its name, its own ".", and ".." of those in it.
func (c *checker) directory(name string, in *Inode, l *listing) error {
	subdirs := uint32(0)
	for _, e := range l.entries {
		if e.kind != 0 && fileTypes[e.kind] == TypeDir {
			subdirs++
		}
	}
	if l.typed() > 0 && in.Links != subdirs+2 {
		return c.bad(fmt.Sprintf("directory %q", name), "%d links, it has %d directories and 2 more are counted", in.Links, subdirs)
	}
	return c.ctx.Err()
}

// blocks counts what an inode has of the image.
func (c *checker) blocks(in *Inode) error {
	where, sum := fmt.Sprintf("inode %d", in.Number), uint64(0)
	for _, k := range []*fork{&in.data, &in.attr} {
		if !k.there || k.format < formatExtents {
			continue
		}
		list, tree, err := in.extents(k)
		if err != nil {
			return c.broken(where, err)
		}
		sum += tree
		for _, x := range list {
			sum += x.Count
			u := used{x.place, x.place + int64(x.Count<<c.f.sb.blockLog), in.Number, k == &in.data && in.Flags2&flag2Reflink != 0}
			if err := c.use(u); err != nil {
				return err
			}
		}
	}
	if sum != in.Blocks {
		return c.bad(where, "%d blocks, its extents have %d", in.Blocks, sum)
	}
	return c.ctx.Err()
}

// links compares counts.
func (c *checker) links() error {
	for _, in := range c.order {
		if n := c.names[in.number]; n != in.links {
			if err := c.bad(fmt.Sprintf("inode %d", in.number), "%d links, %d names lead to it", in.links, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// counts compares those of the superblock with the groups and the tree.
func (c *checker) counts() error {
	s := &c.f.sb
	if s.Inodes != c.inodes || s.FreeInodes != c.freeInodes {
		if err := c.bad("superblock", "%d inodes, %d of them free, the groups have %d and %d", s.Inodes, s.FreeInodes, c.inodes, c.freeInodes); err != nil {
			return err
		}
	}
	if s.FreeBlocks != c.freeBlocks {
		if err := c.bad("superblock", "%d free blocks, the groups have %d", s.FreeBlocks, c.freeBlocks); err != nil {
			return err
		}
	}
	hidden := uint64(0)
	for _, n := range append(s.Quota[:], s.realtimeBitmap, s.realtimeSummary) {
		if n != 0 && n != noInode {
			hidden++
		}
	}
	if n := uint64(len(c.order)) + c.dirs + hidden; s.Inodes-s.FreeInodes != n {
		return c.bad("superblock", "%d inodes are in use, %d are in directories or known otherwise", s.Inodes-s.FreeInodes, n)
	}
	return nil
}

// shared looks for bytes that are in use twice.
func (c *checker) shared() error {
	slices.SortFunc(c.used, func(a, b used) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), cmp.Compare(a.inode, b.inode))
	})
	last := used{} // the one that ends last
	for _, u := range c.used {
		if u.start < last.end && !(u.shared && last.shared) {
			if err := c.bad("blocks", "byte %d of the image is of %s and of %s", u.start, &last, &u); err != nil {
				return err
			}
		}
		if u.end > last.end {
			last = u
		}
	}
	return c.ctx.Err()
}

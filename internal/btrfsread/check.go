package btrfsread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// maxProblems is how many problems Check lists.
const maxProblems = 100

// maxChecked is how many names, and how many nodes of trees, Check takes.
const maxChecked = 4 << 20

var errTooMany = errors.New("too many problems")

// Check reads the whole filesystem and lists what is wrong, in a defined order; an empty
// list means that nothing is. The error is about the check itself: it was cancelled, the image is
// over a limit or could not be read, or has something that is not supported.
func (f *FS) Check(ctx context.Context) ([]string, error) {
	c := &checker{ctx: ctx, f: f, inodes: map[uint64]*seenInode{}}
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
	inodes   map[uint64]*seenInode
	order    []*Inode
	nodes    int
	sums     tree // of the content's checksums
	extents  tree
}

type seenInode struct {
	names, refs uint32
	size        uint64 // of a directory's names
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
	for _, step := range []func() error{c.supers, c.trees, c.walk, c.links, c.lost, c.contents} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// supers looks at all copies of the superblock.
func (c *checker) supers() error {
	s := &c.f.sb
	if s.Flags&flagError != 0 {
		if err := c.bad("superblock", "it says that there were errors"); err != nil {
			return err
		}
	}
	for _, at := range superPlaces {
		if uint64(at)+superSize > s.TotalBytes {
			return nil
		}
		raw, err := c.f.superAt(at)
		if err == nil && (le.Uint64(raw[0x48:]) != s.Generation || !bytes.Equal(raw[0x20:0x30], s.FSID[:])) {
			err = fmt.Errorf("the copy at byte %d is of generation %d, the one at %d of %d: %w", at, le.Uint64(raw[0x48:]), s.Place, s.Generation, ErrCorrupt)
		}
		if err != nil {
			if err := c.broken("superblock", err); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees reads all copies of all nodes of all trees.
func (c *checker) trees() error {
	f := c.f
	chunks := tree{f: f, name: "chunk tree", at: f.sb.chunkRoot, level: f.sb.chunkRootLevel, generation: f.sb.chunkRootGeneration}
	for _, t := range []*tree{&chunks, &f.root} {
		if err := c.subtree(t, t.at, t.level); err != nil {
			return err
		}
	}
	s := f.root.seek(key{})
	for ; !s.done; s.next() {
		if s.key.kind != typeRoot || len(s.data) >= 220 && le.Uint32(s.data[216:]) == 0 {
			continue // of a deleted subvolume nothing has to be there
		}
		t, err := f.subtree(treeName(s.key.object), s.data)
		if err == nil {
			err = c.subtree(&t, t.at, t.level)
		}
		if err != nil {
			if err := c.broken("root tree", err); err != nil {
				return err
			}
		}
	}
	if s.err != nil {
		return c.broken("root tree", s.err)
	}
	var err error
	if c.extents, err = f.named(extentTree, "extent tree"); err == nil {
		c.sums, err = f.named(csumTree, "checksum tree")
	}
	if err != nil {
		return c.broken("root tree", err)
	}
	return nil
}

// treeNames are the trees that every filesystem has.
var treeNames = map[uint64]string{
	1: "root tree", extentTree: "extent tree", 3: "chunk tree", 4: "device tree", fsTree: "fs tree", csumTree: "checksum tree", 9: "uuid tree", 10: "free space tree", 11: "block group tree",
}

func treeName(number uint64) string {
	if name := treeNames[number]; name != "" {
		return name
	}
	return fmt.Sprintf("tree %d", int64(number))
}

// subtree reads all copies of the nodes below one.
func (c *checker) subtree(t *tree, at uint64, level uint8) error {
	if c.nodes++; c.nodes > maxChecked {
		return fmt.Errorf("more than %d nodes of trees: %w", maxChecked, ErrUnsupported)
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	places, err := c.f.copies(at, uint64(c.f.sb.NodeSize), "a node")
	if err != nil {
		return c.broken(t.name, err)
	}
	var good *node
	for _, place := range places {
		n, err := c.f.nodeAt(place, at, true)
		if err != nil {
			if err := c.broken(t.name, err); err != nil {
				return err
			}
			continue
		}
		good = n
	}
	switch {
	case good == nil:
		return nil
	case good.level != level || at == t.at && good.generation != t.generation:
		return c.bad(t.name, "the node at %d has level %d and generation %d, the tree has %d and %d", at, good.level, good.generation, level, t.generation)
	case level == 0:
		return nil
	}
	for i := range good.count {
		bound := maxKey
		if i+1 < good.count {
			bound = good.key(i + 1)
		}
		// All that is below a node has to be in its keys, so none is read twice.
		if _, err := t.child(good, i, bound); err != nil {
			if err := c.broken(t.name, err); err != nil {
				return err
			}
			continue
		}
		child, _ := good.pointer(i)
		if err := c.subtree(t, child, level-1); err != nil {
			return err
		}
	}
	return nil
}

// walk reads all inodes and directories, and compares each name with the other places that
// it is in.
func (c *checker) walk() error {
	total := 0
	return c.f.walk(func(name string, in *Inode, dir uint64, e *entry) error {
		if total++; total > maxChecked {
			return fmt.Errorf("more than %d names: %w", maxChecked, ErrUnsupported)
		}
		x := c.inodes[in.Number]
		if x == nil {
			x = &seenInode{}
			c.inodes[in.Number] = x
			in.Xattrs, in.Target = nil, ""
			c.order = append(c.order, in)
		}
		x.names++
		if e == nil {
			return c.ctx.Err()
		}
		c.inodes[dir].size += 2 * uint64(len(e.base))
		if err := c.name(in.Number, dir, e); err != nil {
			return c.broken(fmt.Sprintf("%q", name), err)
		}
		return c.ctx.Err()
	}, func(name string, err error) error { return c.broken(fmt.Sprintf("%q", name), err) })
}

// name demands a DIR_ITEM and an INODE_REF or INODE_EXTREF for a name.
func (c *checker) name(number, dir uint64, e *entry) error {
	b, err := c.f.tree.get(key{dir, typeDirItem, uint64(nameHash(e.base))})
	if err != nil {
		return err
	}
	list, err := parseNames(b)
	if err != nil {
		return err
	}
	found := false
	for _, o := range list {
		found = found || o.base == e.base && o.location == e.location && o.kind == e.kind
	}
	if !found {
		return fmt.Errorf("it cannot be found by its hash: %w", ErrCorrupt)
	}
	if b, err = c.f.tree.get(key{number, typeInodeRef, dir}); err != nil {
		return err
	}
	if hasRef(b, 0, dir, e) {
		return nil
	}
	if b, err = c.f.tree.get(key{number, typeInodeExtref, uint64(rawCRC(uint32(dir), e.base))}); err != nil {
		return err
	}
	if !hasRef(b, 8, dir, e) {
		return fmt.Errorf("inode %d does not refer to it: %w", number, ErrCorrupt)
	}
	return nil
}

// hasRef looks for a name in the item of a reference, whose entries begin with the
// directory when extra is 8.
func hasRef(b []byte, extra int, dir uint64, e *entry) bool {
	for len(b) >= extra+10 {
		n := extra + 10 + int(le.Uint16(b[extra+8:]))
		if n > len(b) {
			return false
		}
		if le.Uint64(b[extra:]) == e.index && string(b[extra+10:n]) == e.base && (extra == 0 || le.Uint64(b) == dir) {
			return true
		}
		b = b[n:]
	}
	return false
}

// links compares counts.
func (c *checker) links() error {
	for _, in := range c.order {
		where, x := fmt.Sprintf("inode %d", in.Number), c.inodes[in.Number]
		if in.Type == TypeDir && in.Size != x.size {
			if err := c.bad(where, "a directory of size %d, its names have %d", in.Size, x.size); err != nil {
				return err
			}
		}
		if x.names != in.Links {
			if err := c.bad(where, "%d links, %d names lead to it", in.Links, x.names); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost looks for inodes that no name leads to, for names that only a hash leads to, and for
// references to names that there are not.
func (c *checker) lost() error {
	hashed := map[uint64]uint64{}
	s := c.f.tree.seek(key{})
	for ; !s.done; s.next() {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		x, err := c.inodes[s.key.object], error(nil)
		switch {
		case x == nil && s.key.kind == typeInode && len(s.data) == inodeItemSize && le.Uint32(s.data[40:]) > 0:
			err = c.bad(fmt.Sprintf("inode %d", s.key.object), "no name leads to it")
		case x == nil:
		case s.key.kind == typeDirItem:
			list, problem := parseNames(s.data)
			if problem != nil {
				err = c.broken(fmt.Sprintf("inode %d", s.key.object), problem)
			}
			for _, e := range list {
				hashed[s.key.object] += 2 * uint64(len(e.base))
			}
		case s.key.kind == typeInodeRef:
			x.refs += countRefs(s.data, 0)
		case s.key.kind == typeInodeExtref:
			x.refs += countRefs(s.data, 8)
		}
		if err != nil {
			return err
		}
	}
	if s.err != nil {
		return c.broken("fs tree", s.err)
	}
	for _, in := range c.order {
		where, x := fmt.Sprintf("inode %d", in.Number), c.inodes[in.Number]
		if in.Type == TypeDir && hashed[in.Number] != x.size {
			if err := c.bad(where, "names by hash of %d bytes, by index of %d", hashed[in.Number]/2, x.size/2); err != nil {
				return err
			}
		}
		if x.refs != x.names {
			if err := c.bad(where, "%d references, %d names lead to it", x.refs, x.names); err != nil {
				return err
			}
		}
	}
	return nil
}

func countRefs(b []byte, extra int) (n uint32) {
	for len(b) >= extra+10 {
		b = b[min(len(b), extra+10+int(le.Uint16(b[extra+8:]))):]
		n++
	}
	return n
}

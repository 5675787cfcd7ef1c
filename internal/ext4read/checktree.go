package ext4read

import (
	"fmt"
)

// treeDir is a directory that waits to be examined.
type treeDir struct {
	inode, parent uint32
}

// checkTree examines every directory that the root leads to, and counts names.
func (c *checker) checkTree() error {
	if c.nodes[RootInode].kind != 2 {
		c.bad("inode 2", "root is not a directory")
		return nil
	}
	seen := newBitset(uint64(c.f.sb.Inodes) + 1)
	seen.set(RootInode)
	pending := []treeDir{{RootInode, RootInode}}
	blocks, entries, lostFound := c.f.sb.Blocks, 0, false
	for len(pending) > 0 {
		if err := c.goOn(); err != nil {
			return err
		}
		d := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		where := fmt.Sprintf("directory inode %d", d.inode)
		in, err := c.loadDir(d.inode)
		if err != nil {
			c.bad(where, "%v", err)
			continue
		}
		if n := in.Size / uint64(c.f.sb.BlockSize); n <= blocks {
			blocks -= n
		} else {
			c.bad(where, "directories have more blocks than the image's %d", c.f.sb.Blocks)
			return nil
		}
		children, n, err := c.checkDir(where, in, d.parent)
		if err != nil {
			c.bad(where, "%v", err)
		}
		if entries += n; entries > c.f.opt.MaxEntries {
			return fmt.Errorf("more than %d names: %w", c.f.opt.MaxEntries, ErrUnsupported)
		}
		for _, e := range children {
			if d.inode == RootInode && e.Name == "lost+found" {
				lostFound = true
			}
			if seen.get(uint64(e.Inode)) {
				c.bad(where, "name %q: directory inode %d has another name too", e.Name, e.Inode)
				continue
			}
			seen.set(uint64(e.Inode))
			pending = append(pending, treeDir{e.Inode, d.inode})
		}
	}
	if !lostFound {
		c.bad("inode 2", "no directory lost+found")
	}
	return nil
}

// loadDir reads a directory's inode as far as its names need it.
func (c *checker) loadDir(number uint32) (*Inode, error) {
	raw, err := c.f.rawInode(number)
	if err != nil {
		return nil, err
	}
	in, err := c.f.parseInode(number, raw)
	if err != nil {
		return nil, err
	}
	return in, in.loadXattrs()
}

// dirCheck is the examination of one directory.
type dirCheck struct {
	c        *checker
	where    string
	in       *Inode
	parent   uint32
	names    map[string]struct{}
	children []DirEntry // directories
	tree     *htree     // nil without an index
	records  int        // used ones so far
}

// checkDir examines a directory's blocks, names and index. It returns the
// directories among its names, and the number of names.
func (c *checker) checkDir(where string, in *Inode, parent uint32) ([]DirEntry, int, error) {
	d := &dirCheck{c: c, where: where, in: in, parent: parent, names: map[string]struct{}{}}
	inline := in.Flags&FlagInlineData != 0
	if in.Flags&FlagIndex != 0 && !inline {
		d.tree = newHtree(c.f)
	}
	if inline {
		d.inlineParent()
	}
	err := c.f.dirBlocks(in, d.block)
	if err != nil {
		return d.children, len(d.names), err
	}
	if d.tree != nil {
		if err := d.tree.check(in.Size / uint64(c.f.sb.BlockSize)); err != nil {
			c.bad(where, "%v", err)
		}
	}
	return d.children, len(d.names), nil
}

// inlineParent counts what stands for "." and ".." in an inline directory.
func (d *dirCheck) inlineParent() {
	if p := le.Uint32(d.in.iblock()); p != d.parent {
		d.c.bad(d.where, "parent is inode %d, want %d", p, d.parent)
	}
	d.c.nodes[d.in.Number].refs++
	d.c.nodes[d.parent].refs++
	d.records = 2
}

// block examines one block of the directory.
func (d *dirCheck) block(logical, _ uint64, b []byte, where string) error {
	c := d.c
	if err := c.goOn(); err != nil {
		return err
	}
	if c.f.sb.has(roMetadataCsum) && d.in.Flags&FlagInlineData == 0 {
		if err := c.f.dirBlockChecksum(d.in, logical, b); err != nil {
			c.bad(d.where, "%s: %v", where, err)
		}
	}
	records, err := parseDirBlock(b)
	if err != nil {
		c.bad(d.where, "%s: %v", where, err)
		return nil
	}
	if d.tree != nil {
		d.tree.add(d.in, logical, b, records)
	}
	for i := range records {
		r := &records[i]
		if logical == 0 && i < 2 && d.in.Flags&FlagInlineData == 0 {
			d.dot(i, r)
			continue
		}
		if r.inode == 0 {
			continue
		}
		if err := d.entry(r); err != nil {
			c.bad(d.where, "%s: record at %d: %v", where, r.off, err)
		}
	}
	if logical == 0 && d.records < 2 {
		c.bad(d.where, "no \".\" and \"..\"")
	}
	return nil
}

// dot examines one of the first two records.
func (d *dirCheck) dot(i int, r *dirent) {
	name, want := ".", d.in.Number
	if i == 1 {
		name, want = "..", d.parent
	}
	d.records++
	if string(r.name) != name || r.inode != want || i == 0 && r.recLen != 12 {
		d.c.bad(d.where, "record %d is %q for inode %d, want %q for %d", i, r.name, r.inode, name, want)
		return
	}
	if t := d.c.f.entryType(r); t != 2 && d.c.f.sb.has(incompatFiletype) {
		d.c.bad(d.where, "%q has file type %d, want 2", name, t)
	}
	d.c.nodes[want].refs++
}

// entry examines one name.
func (d *dirCheck) entry(r *dirent) error {
	c, name := d.c, string(r.name)
	if name == "." || name == ".." {
		return fmt.Errorf("name %q is out of place", name)
	}
	if err := c.f.checkEntry(r); err != nil {
		return err
	}
	if _, dup := d.names[name]; dup {
		return fmt.Errorf("name %q occurs twice", name)
	}
	if len(d.names) >= c.f.opt.MaxDirEntries {
		return fmt.Errorf("more than %d names in one directory: %w", c.f.opt.MaxDirEntries, ErrUnsupported)
	}
	d.names[name] = struct{}{}
	s := &c.nodes[r.inode]
	if !c.inodes.get(uint64(r.inode)) || s.kind == 0 {
		return fmt.Errorf("name %q: inode %d is not in use", name, r.inode)
	}
	if s.hidden {
		return fmt.Errorf("name %q: inode %d is not for names", name, r.inode)
	}
	s.refs++
	if s.kind == 2 {
		d.children = append(d.children, DirEntry{Name: name, Inode: r.inode, Type: 2})
	}
	if c.f.sb.has(incompatFiletype) && r.kind != s.kind {
		return fmt.Errorf("name %q: file type %d, inode %d has %d", name, r.kind, r.inode, s.kind)
	}
	return nil
}

// checkLinks compares every inode's link count with the names found, and every
// group's number of directories.
func (c *checker) checkLinks() error {
	for i := range c.nodes {
		s := &c.nodes[i]
		where := fmt.Sprintf("inode %d", i)
		switch {
		case s.kind == 0 || s.hidden:
		case s.refs == 0 || s.kind == 2 && i != RootInode && s.refs == 1:
			c.bad(where, "in use, but no name leads to it")
		case uint32(s.links) == s.refs:
		case s.kind == 2 && s.links == 1 && c.f.sb.has(roDirNlink) && s.refs > maxLinks:
		default:
			c.bad(where, "link count is %d, %d names lead to it", s.links, s.refs)
		}
		if i%4096 == 0 {
			if err := c.goOn(); err != nil {
				return err
			}
		}
	}
	for g, d := range c.groups {
		if d.dirs != c.dirs[g] {
			c.bad(fmt.Sprintf("group %d", g), "%d directories, its inodes have %d", d.dirs, c.dirs[g])
		}
	}
	return nil
}

const maxLinks = 65000 // above this a directory's link count stands at 1

package ext4read

import (
	"errors"
	"fmt"
	"slices"
)

// checkInodeBitmaps reads which inodes are in use.
func (c *checker) checkInodeBitmaps() error {
	per := uint64(c.f.sb.InodesPerGroup)
	free := uint64(0)
	for g, d := range c.groups {
		if err := c.goOn(); err != nil {
			return err
		}
		where := fmt.Sprintf("group %d", g)
		used, last := uint64(0), uint64(0)
		if d.flags&inodeUninit == 0 {
			b, err := c.f.readBlock(d.inodeBitmap, "inode bitmap")
			if err != nil {
				c.bad(where, "%v", err)
				continue
			}
			if c.f.sb.has(roMetadataCsum) && !c.f.bitmapChecksumOK(b[:per/8], d.inodeBitmapChecksum) {
				c.bad(where, "inode bitmap's checksum does not match")
			}
			for i := range per {
				if bitAt(b, i) {
					c.inodes.set(uint64(g)*per + i + 1)
					used, last = used+1, i+1
				}
			}
			c.checkPadding(where, "inode bitmap", b, per)
		}
		if uint64(d.freeInodes) != per-used {
			c.bad(where, "%d free inodes, the bitmap has %d", d.freeInodes, per-used)
		}
		if uint64(d.unused) > per-last {
			c.bad(where, "%d unused inodes at the table's end, but inode %d is in use", d.unused, uint64(g)*per+last)
		}
		free += per - used
	}
	if uint64(c.f.sb.FreeInodes) != free {
		c.bad("superblock", "%d free inodes, the bitmaps have %d", c.f.sb.FreeInodes, free)
	}
	for n := uint64(1); n < uint64(c.f.sb.FirstInode); n++ {
		if !c.inodes.get(n) {
			c.bad(fmt.Sprintf("inode %d", n), "reserved, but free in the bitmap")
		}
	}
	return nil
}

// checkPadding demands that the bits after a bitmap's n are set.
func (c *checker) checkPadding(where, what string, b []byte, n uint64) {
	for i := n; i < uint64(len(b))*8; i++ {
		if !bitAt(b, i) {
			c.bad(where, "padding of the %s is not set from bit %d of %d on", what, i, n)
			return
		}
	}
}

// checkInodes examines every inode in the tables, and claims its blocks.
func (c *checker) checkInodes() error {
	per := c.f.sb.InodesPerGroup
	for g, d := range c.groups {
		if d.flags&inodeUninit != 0 {
			continue
		}
		for i := range per - min(per, d.unused) {
			if i%64 == 0 {
				if err := c.goOn(); err != nil {
					return err
				}
			}
			number := uint32(g)*per + i + 1
			raw, err := c.f.rawInode(number)
			if errors.Is(err, ErrCorrupt) {
				c.bad(fmt.Sprintf("inode %d", number), "%v", err)
				break // the table is outside the image
			}
			if err != nil {
				return fmt.Errorf("reading inode %d: %w", number, err)
			}
			c.checkInode(number, raw)
		}
	}
	for at, x := range c.sortedXattrs() {
		if x.count != x.owners {
			c.bad(fmt.Sprintf("attribute block %d", at), "reference count is %d, %d inodes use it", x.count, x.owners)
		}
	}
	return nil
}

// checkInode examines one record.
func (c *checker) checkInode(number uint32, raw []byte) {
	where := fmt.Sprintf("inode %d", number)
	marked := c.inodes.get(uint64(number))
	in := c.f.decodeInode(number, raw)
	reserved := number < c.f.sb.FirstInode && number != RootInode
	inUse := in.Links > 0 || reserved && !allZero(in.iblock())
	if !marked {
		if inUse && in.DeletedAt == 0 {
			c.bad(where, "in use, but free in the bitmap")
		}
		return
	}
	if c.f.sb.has(roMetadataCsum) && !c.f.inodeChecksumOK(number, raw) {
		c.bad(where, "checksum does not match")
	}
	if !inUse {
		if !reserved {
			c.bad(where, "not in use (link count 0), but used in the bitmap")
		} else if in.RawMode != 0 {
			c.bad(where, "reserved, with mode %#o and no links", in.RawMode)
		}
		return
	}
	s := &c.nodes[number]
	s.links, s.kind, s.hidden = in.Links, direntType(in.RawMode), c.isHidden(number)
	if reserved && !s.hidden {
		c.bad(where, "reserved, but in use")
	}
	if number == badBlocksInode {
		c.checkMap(where, in)
		return
	}
	if _, err := c.f.parseInode(number, raw); err != nil {
		c.bad(where, "%v", err)
		s.kind = 0
		return
	}
	if in.Mode.IsDir() {
		c.dirs[(number-1)/c.f.sb.InodesPerGroup]++
	}
	c.checkFields(where, in)
	if number == resizeInode {
		return // its blocks are the layout's; see checkResizeInode
	}
	c.checkMap(where, in)
	if err := in.loadXattrs(); err != nil {
		c.bad(where, "%v", err)
		return
	}
	if in.RawMode&typeMask == typeSymlink {
		if err := in.loadTarget(); err != nil {
			c.bad(where, "%v", err)
		}
	}
}

const (
	badBlocksInode  = 1
	userQuotaInode  = 3
	groupQuotaInode = 4
	bootInode       = 5
	resizeInode     = 7
)

// isHidden reports whether an inode is used without having a name.
func (c *checker) isHidden(number uint32) bool {
	sb := &c.f.sb
	switch {
	case number == badBlocksInode, number == bootInode,
		number == resizeInode && sb.has(compatResizeInode),
		number == sb.JournalInode && sb.has(compatHasJournal),
		number == sb.OrphanFile && sb.has(compatOrphanFile):
		return true
	}
	return slices.Contains(sb.QuotaInodes[:], number)
}

func direntType(mode uint16) uint8 {
	switch mode & typeMask {
	case typeRegular:
		return 1
	case typeDir:
		return 2
	case typeChar:
		return 3
	case typeBlock:
		return 4
	case typeFIFO:
		return 5
	case typeSocket:
		return 6
	case typeSymlink:
		return 7
	}
	return 0
}

// checkFields examines what an inode says of itself.
func (c *checker) checkFields(where string, in *Inode) {
	if in.DeletedAt != 0 {
		c.bad(where, "in use, but deleted at %d", in.DeletedAt)
	}
	if e := in.extraSize(); e != 0 && (e < 4 || e%4 != 0) {
		c.bad(where, "extra size is %d", e)
	}
	if in.extraSize() < int(c.f.sb.MinExtraIsize) && c.f.sb.has(roExtraIsize) {
		c.bad(where, "extra size is %d, the superblock promises %d", in.extraSize(), c.f.sb.MinExtraIsize)
	}
	for _, at := range []int{0x84, 0x88, 0x8C, 0x94} {
		if in.hasExtra(at) && le.Uint32(in.raw[at:])>>2 >= 1e9 {
			c.bad(where, "time at %#x has %d nanoseconds", at, le.Uint32(in.raw[at:])>>2)
		}
	}
	if in.Flags&FlagHugeFile != 0 && !c.f.sb.has(roHugeFile) {
		c.bad(where, "huge_file flag without the feature")
	}
	kind := in.RawMode & typeMask
	if high := le.Uint32(in.raw[0x6C:]); high != 0 && kind != typeRegular && kind != typeDir {
		c.bad(where, "high size is %d", high)
	}
	switch kind {
	case typeChar, typeBlock, typeFIFO, typeSocket:
		c.checkSpecial(where, in, kind)
	case typeSymlink:
		if in.isFastLink() {
			if in.iblock()[in.Size] != 0 {
				c.bad(where, "no NUL after the short target")
			}
		} else if in.Size < 60 && in.Flags&FlagInlineData == 0 {
			c.bad(where, "target of %d bytes is not in the inode", in.Size)
		}
	case typeDir:
		if in.Flags&FlagIndex != 0 && !c.f.sb.has(compatDirIndex) {
			c.bad(where, "index flag without dir_index")
		}
	case typeRegular:
		if in.Size >= 1<<31 && !c.f.sb.has(roLargeFile) {
			c.bad(where, "size %d without large_file", in.Size)
		}
	}
}

// checkSpecial examines a device, FIFO or socket.
func (c *checker) checkSpecial(where string, in *Inode, kind uint16) {
	rest := in.iblock()
	if kind == typeChar || kind == typeBlock {
		if le.Uint32(rest) == 0 {
			rest = rest[8:]
		} else {
			rest = rest[4:]
		}
	}
	if in.Size != 0 || in.Flags&(FlagExtents|FlagInlineData|FlagIndex) != 0 || !allZero(rest) {
		c.bad(where, "%v with size %d, flags %#x or a block map", in.Mode, in.Size, in.Flags)
	}
}

// errUsedTwice ends the examination of a map after a block of it could not be
// claimed, which was reported. What such a block holds is not followed, so that
// no image makes the check read a block more often than it has inodes.
var errUsedTwice = errors.New("block is used twice")

// checkMap claims an inode's blocks and compares their number and place with
// what the inode says.
func (c *checker) checkMap(where string, in *Inode) {
	charged, last := uint64(0), uint64(0) // blocks; end of the last written one
	err := c.f.walkMap(in, mapVisitor{
		node: func(block uint64, data []byte) error {
			if !c.claim(where, "map node", block, 1) {
				return errUsedTwice
			}
			charged++
			c.checkNode(where, in, block, data)
			return nil
		},
		extent: func(e Extent) error {
			if !c.claim(where, "content", e.Physical, e.Len) {
				return errUsedTwice
			}
			charged += e.Len
			if !e.Unwritten || in.Mode.IsDir() {
				last = e.Logical + e.Len
			}
			if e.Unwritten && in.Mode.IsDir() {
				c.bad(where, "directory has unwritten blocks at %d", e.Logical)
			}
			return nil
		},
	})
	if errors.Is(err, errUsedTwice) {
		return
	}
	if err != nil {
		c.bad(where, "%v", err)
		return
	}
	if in.xattrBlock != 0 {
		c.checkXattrBlock(where, in)
		charged++
	}
	c.checkXattrBody(where, in)
	if in.Number == badBlocksInode {
		return
	}
	bs := uint64(c.f.sb.BlockSize)
	if want := charged * (bs / 512); want != in.Blocks {
		c.bad(where, "charged for %d sectors, has %d", in.Blocks, want)
	}
	inline := in.Flags&FlagInlineData != 0
	switch end := (in.Size + bs - 1) / bs; {
	case last > end && in.hasMap():
		c.bad(where, "size is %d, but %d blocks are mapped", in.Size, last)
	case in.Mode.IsDir() && !inline && last != end:
		c.bad(where, "directory's size is %d, but %d blocks are mapped", in.Size, last)
	}
}

// checkNode examines an extent node; indirect blocks have nothing to examine.
func (c *checker) checkNode(where string, in *Inode, block uint64, data []byte) {
	if in.Flags&FlagExtents == 0 {
		return
	}
	room := (len(data) - 12) / 12
	if n := int(le.Uint16(data[4:])); n > room || n < room-2 {
		c.bad(where, "extent node at block %d has room for %d entries, says %d", block, room, n)
		return
	}
	if c.f.sb.has(roMetadataCsum) && !c.f.extentNodeChecksumOK(in, data) {
		c.bad(where, "extent node at block %d: checksum does not match", block)
	}
}

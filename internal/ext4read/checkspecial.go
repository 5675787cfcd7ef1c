package ext4read

import (
	"bytes"
	"fmt"
	"io"
)

const (
	journalMagic     = 0xC03B3998
	minJournalBlocks = 1024 // jbd2 refuses fewer

	journalChecksumV2 = 0x8
	journalChecksumV3 = 0x10
	journalIncompat   = 0x3F // revoke, 64bit, async commit, checksums, fast commit
)

// checkJournal examines the journal's inode, its copy in the superblock and the
// journal's own superblock, which must say that nothing is to be replayed.
func (c *checker) checkJournal() error {
	sb := &c.f.sb
	if !sb.has(compatHasJournal) {
		if sb.JournalInode != 0 {
			c.bad("superblock", "journal inode %d without has_journal", sb.JournalInode)
		}
		c.checkOverhead(0)
		return nil
	}
	in, err := c.f.Inode(sb.JournalInode)
	if err != nil {
		c.bad("journal", "%v", err)
		return nil
	}
	if !in.Mode.IsRegular() || in.Links != 1 {
		c.bad("journal", "inode %d has mode %v and %d links", in.Number, in.Mode, in.Links)
	}
	backup := c.f.raw[0x10C:0x150]
	if c.f.raw[0xFD] <= 1 && !allZero(backup) {
		if !bytes.Equal(backup[:60], in.iblock()) || uint64(le.Uint32(backup[60:]))<<32|uint64(le.Uint32(backup[64:])) != in.Size {
			c.bad("superblock", "copy of the journal inode's map and size is out of date")
		}
	}
	m, err := in.extents()
	if err != nil {
		return nil // reported with the inode
	}
	mapped := uint64(0)
	for _, e := range m {
		if mapped += e.Len; e.Unwritten {
			c.bad("journal", "blocks from %d are not written", e.Logical)
			return nil
		}
	}
	if n := in.Size / uint64(sb.BlockSize); mapped != n || in.Size%uint64(sb.BlockSize) != 0 {
		c.bad("journal", "size is %d bytes, %d blocks are mapped", in.Size, mapped)
		return nil
	}
	c.checkOverhead(mapped)
	return c.checkJournalSuper(in, mapped)
}

// checkOverhead compares the number of blocks that files can never have with
// what the superblock records, which the kernel takes for statfs(2).
func (c *checker) checkOverhead(journal uint64) {
	n := uint64(c.f.sb.FirstDataBlock) + journal + c.meta.count()
	if o := uint64(c.f.sb.Overhead); o != 0 && o != n {
		c.bad("superblock", "overhead is %d blocks, the layout and journal have %d", o, n)
	}
}

func (c *checker) checkJournalSuper(in *Inode, blocks uint64) error {
	const where = "journal superblock"
	r, err := in.open()
	if err != nil {
		c.bad(where, "%v", err)
		return nil
	}
	raw := make([]byte, 1024)
	if _, err := io.ReadFull(r, raw); err != nil {
		c.bad(where, "%v", err)
		return nil
	}
	u32 := func(at int) uint32 { return be.Uint32(raw[at:]) }
	if u32(0) != journalMagic || u32(4) != 3 && u32(4) != 4 {
		c.bad(where, "magic is %#08x and type %d", u32(0), u32(4))
		return nil
	}
	if u32(0x0C) != c.f.sb.BlockSize || uint64(u32(0x10)) != blocks || u32(0x10) < minJournalBlocks {
		c.bad(where, "%d blocks of %d bytes, the file has %d of %d (and %d are needed)", u32(0x10), u32(0x0C), blocks, c.f.sb.BlockSize, minJournalBlocks)
	}
	if first := u32(0x14); first == 0 || first >= u32(0x10) {
		c.bad(where, "log begins at block %d", first)
	}
	if u32(0x1C) != 0 {
		c.bad(where, "not clean: log to be replayed from block %d", u32(0x1C))
	}
	if u32(0x20) != 0 {
		c.bad(where, "error %d is recorded", int32(u32(0x20)))
	}
	if u32(4) == 3 {
		return nil // the rest belongs to version 2
	}
	if u32(0x28)&^journalIncompat != 0 || u32(0x2C) != 0 {
		c.bad(where, "unknown features %#x or %#x", u32(0x28), u32(0x2C))
	}
	if n := u32(0x40); n > 1 {
		c.bad(where, "%d users", n)
	}
	if u32(0x28)&(journalChecksumV2|journalChecksumV3) != 0 {
		if raw[0x50] != 4 {
			c.bad(where, "checksum type is %d, want 4 (crc32c)", raw[0x50])
		}
		if want := crc32c(^uint32(0), zeroed(raw, 0xFC, 4)); want != u32(0xFC) {
			c.bad(where, "checksum is %#08x, want %#08x", u32(0xFC), want)
		}
	}
	return nil
}

// checkResizeInode examines inode 7: a doubly indirect block that lists the
// blocks reserved for more descriptors, each of which lists its own backups.
func (c *checker) checkResizeInode() error {
	f, sb := c.f, &c.f.sb
	if !sb.has(compatResizeInode) {
		return nil
	}
	const where = "resize inode"
	in, err := f.Inode(resizeInode)
	if err != nil {
		if sb.ReservedGDT > 0 {
			c.bad(where, "%v", err)
		}
		return nil
	}
	ib := in.iblock()
	dind := uint64(le.Uint32(ib[52:]))
	if !allZero(ib[:52]) || !allZero(ib[56:]) || !in.Mode.IsRegular() {
		c.bad(where, "mode %v or a block besides the doubly indirect one", in.Mode)
	}
	if !c.claim(where, "doubly indirect block", dind, 1) {
		return nil
	}
	table, err := f.readBlock(dind, "doubly indirect block")
	if err != nil {
		return err
	}
	var backups []uint64
	for g := uint64(1); g < sb.Groups(); g++ {
		if f.hasSuper(g) {
			backups = append(backups, g)
		}
	}
	per := uint64(sb.BlockSize) / 4
	primary := uint64(sb.FirstDataBlock) + 1 + f.descBlocks()
	want := make([]byte, sb.BlockSize)
	for i := range min(uint64(sb.ReservedGDT), per) {
		slot := (f.descBlocks() + i) % per
		le.PutUint32(want[4*slot:], uint32(primary+i))
		if err := c.checkReserved(primary+i, backups); err != nil {
			return err
		}
	}
	if !bytes.Equal(want, table) {
		c.bad(where, "doubly indirect block %d does not list the %d reserved blocks from %d on", dind, sb.ReservedGDT, primary)
	}
	reserved := uint64(sb.ReservedGDT)
	if n := (1 + reserved*(1+uint64(len(backups)))) * uint64(sb.BlockSize) / 512; n != in.Blocks {
		c.bad(where, "charged for %d sectors, has %d", in.Blocks, n)
	}
	return nil
}

// checkReserved compares one reserved block with the list of its backups.
func (c *checker) checkReserved(at uint64, backups []uint64) error {
	b, err := c.f.readBlock(at, "reserved descriptor block")
	if err != nil {
		c.bad("resize inode", "%v", err)
		return nil
	}
	want := make([]byte, len(b))
	for i, g := range backups {
		if 4*i+4 <= len(want) {
			le.PutUint32(want[4*i:], uint32(at+g*uint64(c.f.sb.BlocksPerGroup)))
		}
	}
	if !bytes.Equal(b, want) {
		c.bad("resize inode", "reserved block %d does not list its %d backups", at, len(backups))
	}
	return nil
}

const orphanMagic = 0x0B10CA04

// checkOrphanFile examines the blocks of the orphan file: each ends with a magic
// number and a checksum, and no inode may be listed.
func (c *checker) checkOrphanFile() error {
	if c.f.sb.OrphanFile == 0 {
		return nil
	}
	const where = "orphan file"
	in, err := c.f.Inode(c.f.sb.OrphanFile)
	if err != nil {
		c.bad(where, "%v", err)
		return nil
	}
	m, err := in.extents()
	if err != nil {
		return nil // reported with the inode
	}
	mapped := uint64(0)
	for _, e := range m {
		if mapped += e.Len; mapped > c.f.sb.Blocks {
			return nil // blocks are used twice; reported with the inode
		}
		for at := e.Physical; at < e.Physical+e.Len; at++ {
			if err := c.goOn(); err != nil {
				return err
			}
			b, err := c.f.readBlock(at, where)
			if err != nil {
				return err
			}
			c.checkOrphanBlock(in, at, b)
		}
	}
	if mapped*uint64(c.f.sb.BlockSize) != in.Size {
		c.bad(where, "size is %d bytes, %d blocks are mapped", in.Size, mapped)
	}
	return nil
}

func (c *checker) checkOrphanBlock(in *Inode, at uint64, b []byte) {
	where := fmt.Sprintf("orphan file block %d", at)
	list, tail := b[:len(b)-8], b[len(b)-8:]
	if m := le.Uint32(tail); m != orphanMagic {
		c.bad(where, "magic is %#08x, not %#08x", m, orphanMagic)
	}
	if !allZero(list) {
		c.bad(where, "lists orphans")
	}
	if !c.f.sb.has(roMetadataCsum) {
		return
	}
	var n [8]byte
	le.PutUint64(n[:], at)
	sum := crc32c(crc32c(c.f.inodeSeed(in.Number, in.Generation), n[:]), list)
	if stored := le.Uint32(tail[4:]); stored != sum {
		c.bad(where, "checksum is %#08x, want %#08x", stored, sum)
	}
}

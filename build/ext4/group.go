package ext4

import (
	"context"
	"encoding/binary"
	"io/fs"
)

// writeInodes fills the inode tables. Tables are zeros, and so holes, behind the
// last inode in use.
func (w *Writer) writeInodes(ctx context.Context, g geometry, files *inodes) error {
	byNumber := make([]*inode, files.last+1)
	for _, in := range files.list {
		byNumber[in.number] = in
	}
	if files.journal != nil {
		byNumber[journalInode] = files.journal
	}
	for first := uint64(1); first < uint64(len(byNumber)); first += g.inodesPerGroup {
		if err := ctx.Err(); err != nil {
			return err
		}
		group := byNumber[first:min(first+g.inodesPerGroup, uint64(len(byNumber)))]
		table := make([]byte, ceilDiv(uint64(len(group)), inodesPerBlock)*blockSize)
		for i, in := range group {
			if in == nil {
				continue
			}
			xattrs, err := w.packXattrs(in)
			if err != nil {
				return err
			}
			w.encodeInode(table[i*inodeSize:][:inodeSize], in, xattrs.inline)
		}
		if err := w.writeAt(table, g.inodeTables[first/g.inodesPerGroup]); err != nil {
			return err
		}
	}
	return nil
}

// writeGroups writes bitmaps, group descriptors and superblocks.
func (w *Writer) writeGroups(g geometry, files *inodes) error {
	for group := range g.groups {
		if hasSuper(group) {
			w.alloc.used.set(run{group * blocksPerGroup, 1 + g.gdtBlocks()}, true)
		}
	}
	gdt := make([]byte, g.gdtBlocks()*blockSize)
	dirs := g.countDirs(files)
	for group := range g.groups {
		d := gdt[group*descSize:][:descSize]
		if err := w.writeGroup(g, group, d, uint64(files.last)); err != nil {
			return err
		}
		put16(d, 0x10, 0x30, dirs[group]) // bg_used_dirs_count
		w.sumGroup(d, group)
	}
	for group := range g.groups {
		if !hasSuper(group) {
			continue
		}
		head := w.superblock(g, group, uint64(files.last), files.journal)
		if group == 0 { // the first 1024 bytes are the boot sector's
			head = append(make([]byte, superOffset), head...)
		}
		block := make([]byte, blockSize)
		copy(block, head)
		if err := w.writeAt(append(block, gdt...), group*blocksPerGroup); err != nil {
			return err
		}
	}
	return nil
}

func (g geometry) countDirs(files *inodes) []uint64 {
	dirs := make([]uint64, g.groups)
	for _, in := range files.list {
		if in.node.Mode.Type() == fs.ModeDir {
			dirs[uint64(in.number-1)/g.inodesPerGroup]++
		}
	}
	return dirs
}

// writeGroup writes a group's bitmaps and its descriptor, but for the count of
// directories and the checksum.
func (w *Writer) writeGroup(g geometry, group uint64, d []byte, lastInode uint64) error {
	blocks := g.blockBitmap(w.alloc.used, group)
	inodes, used := g.inodeBitmap(group, lastInode)
	if err := w.writeAt(blocks, g.blockBitmaps[group]); err != nil {
		return err
	}
	if err := w.writeAt(inodes, g.inodeBitmaps[group]); err != nil {
		return err
	}
	put32(d, 0x00, 0x20, g.blockBitmaps[group])
	put32(d, 0x04, 0x24, g.inodeBitmaps[group])
	put32(d, 0x08, 0x28, g.inodeTables[group])
	put16(d, 0x0c, 0x2c, 8*blockSize-bitmap(blocks).count()) // bg_free_blocks_count
	put16(d, 0x0e, 0x2e, g.inodesPerGroup-used)              // bg_free_inodes_count
	put16(d, 0x1c, 0x32, g.inodesPerGroup-used)              // bg_itable_unused
	binary.LittleEndian.PutUint16(d[0x12:], 0x4)             // bg_flags: INODE_ZEROED
	put16(d, 0x18, 0x38, uint64(crc32c(w.seed, blocks)))     // bg_block_bitmap_csum
	put16(d, 0x1a, 0x3a, uint64(crc32c(w.seed, inodes[:g.inodesPerGroup/8])))
	return nil
}

// blockBitmap cuts one group out of the image's bitmap. Bits behind the image's
// end are set.
func (g geometry) blockBitmap(used bitmap, group uint64) []byte {
	b := make(bitmap, blockSize)
	from := min(group*blockSize, uint64(len(used)))
	copy(b, used[from:min(from+blockSize, uint64(len(used)))])
	if n := g.groupBlocks(group); n < blocksPerGroup {
		b.set(run{n, blocksPerGroup - n}, true)
	}
	return b
}

// inodeBitmap marks the inodes of a group that are in use: all from the first to
// the last, reserved ones included. Bits behind the group's end are set.
func (g geometry) inodeBitmap(group, last uint64) (b bitmap, used uint64) {
	b = make(bitmap, blockSize)
	if first := group * g.inodesPerGroup; last > first {
		used = min(last-first, g.inodesPerGroup)
	}
	b.set(run{0, used}, true)
	b.set(run{g.inodesPerGroup, 8*blockSize - g.inodesPerGroup}, true)
	return b, used
}

// sumGroup sets bg_checksum: the low half of the checksum of the group's number
// and descriptor.
func (w *Writer) sumGroup(d []byte, group uint64) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(group))
	sum := crc32c(crc32c(w.seed, n[:]), d)
	binary.LittleEndian.PutUint16(d[0x1e:], uint16(sum))
}

// put32 writes a number whose halves of 32 bits stand at lo and hi.
func put32(b []byte, lo, hi int, v uint64) {
	binary.LittleEndian.PutUint32(b[lo:], uint32(v))
	binary.LittleEndian.PutUint32(b[hi:], uint32(v>>32))
}

// put16 writes a number whose halves of 16 bits stand at lo and hi.
func put16(b []byte, lo, hi int, v uint64) {
	binary.LittleEndian.PutUint16(b[lo:], uint16(v))
	binary.LittleEndian.PutUint16(b[hi:], uint16(v>>16))
}

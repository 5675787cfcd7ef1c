package ext4read

import (
	"bytes"
	"fmt"
)

// checkBlockBitmaps compares the block bitmaps with what was claimed.
func (c *checker) checkBlockBitmaps() error {
	free := uint64(0)
	for g, d := range c.groups {
		if err := c.goOn(); err != nil {
			return err
		}
		where := fmt.Sprintf("group %d", g)
		start, n := c.f.groupStart(uint64(g)), c.f.groupBlocks(uint64(g))
		unclaimed := uint64(0)
		for b := start; b < start+n; b++ {
			if !c.used.get(b) {
				unclaimed++
			}
		}
		if uint64(d.freeBlocks) != unclaimed {
			c.bad(where, "%d free blocks, %d are not used", d.freeBlocks, unclaimed)
		}
		free += unclaimed
		if d.flags&blockUninit != 0 {
			c.checkUninit(where, start, n)
			continue
		}
		b, err := c.f.readBlock(d.blockBitmap, "block bitmap")
		if err != nil {
			c.bad(where, "%v", err)
			continue
		}
		if c.f.sb.has(roMetadataCsum) && !c.f.bitmapChecksumOK(b[:c.f.sb.BlocksPerGroup/8], d.blockBitmapChecksum) {
			c.bad(where, "block bitmap's checksum does not match")
		}
		c.compareBitmap(where, b, start, n)
		c.checkPadding(where, "block bitmap", b, n)
	}
	if c.f.sb.FreeBlocks != free {
		c.bad("superblock", "%d free blocks, %d are not used", c.f.sb.FreeBlocks, free)
	}
	return nil
}

// compareBitmap reports each run of blocks that the bitmap has wrong.
func (c *checker) compareBitmap(where string, bitmap []byte, start, n uint64) {
	for i := uint64(0); i < n; i++ {
		marked := bitAt(bitmap, i)
		if marked == c.used.get(start+i) {
			continue
		}
		first := i
		for i+1 < n && bitAt(bitmap, i+1) == marked && c.used.get(start+i+1) != marked {
			i++
		}
		if marked {
			c.bad(where, "blocks %d to %d are used in the bitmap, but nothing uses them", start+first, start+i)
		} else {
			c.bad(where, "blocks %d to %d are used, but free in the bitmap", start+first, start+i)
		}
	}
}

// checkUninit demands that a group whose bitmap was never written holds nothing
// but what the layout puts there.
func (c *checker) checkUninit(where string, start, n uint64) {
	for b := start; b < start+n; b++ {
		if c.used.get(b) && !c.meta.get(b) {
			c.bad(where, "block %d is used, but the bitmap is not initialised", b)
			return
		}
	}
}

// checkFreeSpace demands, with ZeroFree, that what is free is zero.
func (c *checker) checkFreeSpace() error {
	if !c.opt.ZeroFree {
		return nil
	}
	const chunk = 256 // blocks read at once
	zero := make([]byte, chunk*int(c.f.sb.BlockSize))
	for b := uint64(c.f.sb.FirstDataBlock); b < c.f.sb.Blocks; {
		if err := c.goOn(); err != nil {
			return err
		}
		if c.used.get(b) {
			b++
			continue
		}
		n := uint64(1)
		for n < chunk && b+n < c.f.sb.Blocks && !c.used.get(b+n) {
			n++
		}
		p := make([]byte, n*uint64(c.f.sb.BlockSize))
		if err := c.f.readAt(p, int64(b)*int64(c.f.sb.BlockSize)); err != nil {
			return fmt.Errorf("reading free block %d: %w", b, err)
		}
		if !bytes.Equal(p, zero[:len(p)]) {
			c.bad(fmt.Sprintf("block %d", b+firstNonZero(p)/uint64(c.f.sb.BlockSize)), "free, but not zero")
		}
		b += n
	}
	return c.checkFreeInodes()
}

func firstNonZero(p []byte) uint64 {
	return uint64(len(p) - len(bytes.TrimLeft(p, "\x00")))
}

func (c *checker) checkFreeInodes() error {
	per := uint64(c.f.sb.InodesPerGroup)
	for g, d := range c.groups {
		if err := c.goOn(); err != nil {
			return err
		}
		table := make([]byte, per*uint64(c.f.sb.InodeSize))
		if err := c.f.checkRun(d.inodeTable, c.f.inodeTableBlocks()); err != nil {
			continue // reported when it was claimed
		}
		if err := c.f.readAt(table, int64(d.inodeTable)*int64(c.f.sb.BlockSize)); err != nil {
			return fmt.Errorf("reading inode table of group %d: %w", g, err)
		}
		for i := range per {
			number := uint64(g)*per + i + 1
			if !c.inodes.get(number) && !allZero(table[i*uint64(c.f.sb.InodeSize):][:c.f.sb.InodeSize]) {
				c.bad(fmt.Sprintf("inode %d", number), "free, but not zero")
			}
		}
	}
	return nil
}

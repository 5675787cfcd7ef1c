package ext4read

import (
	"bytes"
	"fmt"
)

// checkBackups compares every copy of the superblock and of the descriptor table
// with the primary.
func (c *checker) checkBackups() error {
	for g := uint64(1); g < c.f.sb.Groups(); g++ {
		if err := c.goOn(); err != nil {
			return err
		}
		if c.f.hasSuper(g) {
			if err := c.checkBackupSuper(g); err != nil {
				return err
			}
			if err := c.checkBackupTable(g); err != nil {
				return err
			}
		}
		if c.f.hasMetaDesc(g) && g%c.f.descsPerBlock() != 0 {
			part := g / c.f.descsPerBlock()
			if err := c.compareTable(part, c.f.metaDescBlock(g)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Fields of a superblock that use of the filesystem does not change.
var lastingFields = []struct {
	name     string
	at, size int
}{
	{"inode count", 0x00, 4},
	{"block count", 0x04, 4},
	{"first data block to inodes per group", 0x14, 0x18},
	{"magic", 0x38, 2},
	{"revision", 0x4C, 4},
	{"first inode and inode size", 0x54, 6},
	{"UUID", 0x68, 16},
	{"reserved descriptor blocks", 0xCE, 2},
	{"journal inode", 0xE0, 4},
	{"hash seed", 0xEC, 16},
	{"descriptor size", 0xFE, 2},
	{"first meta_bg", 0x104, 4},
	{"high block count", 0x150, 4},
	{"backup groups", 0x24C, 8},
	{"checksum seed", 0x270, 4},
}

func (c *checker) checkBackupSuper(g uint64) error {
	at := c.f.groupStart(g)
	where := fmt.Sprintf("backup superblock at block %d (group %d)", at, g)
	raw := make([]byte, superSize)
	if err := c.f.readAt(raw, int64(at)*int64(c.f.sb.BlockSize)); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if c.f.sb.has(roMetadataCsum) && !superChecksumOK(raw) {
		c.bad(where, "checksum does not match")
	}
	if n := le.Uint16(raw[0x5A:]); uint64(n) != g&0xFFFF && c.f.sb.Revision > 0 {
		c.bad(where, "says it is in group %d", n)
	}
	for _, x := range lastingFields {
		if !bytes.Equal(raw[x.at:x.at+x.size], c.f.raw[x.at:x.at+x.size]) {
			c.bad(where, "%s differs from the primary's: %x, want %x", x.name, raw[x.at:x.at+x.size], c.f.raw[x.at:x.at+x.size])
		}
	}
	if c.opt.ExactBackups {
		raw[0x3A] |= c.f.raw[0x3A] & 1
		for i := range raw {
			if i&^1 != 0x5A && i < 0x3FC && raw[i] != c.f.raw[i] {
				c.bad(where, "byte %#x is %#02x, the primary's %#02x", i, raw[i], c.f.raw[i])
				break
			}
		}
	}
	return nil
}

// checkBackupTable compares the descriptors that follow a backup superblock.
func (c *checker) checkBackupTable(g uint64) error {
	n := c.f.descBlocks()
	if c.f.sb.has(incompatMetaBG) {
		if n = min(n, uint64(c.f.sb.FirstMetaBG)); g/c.f.descsPerBlock() >= n {
			return nil
		}
	}
	for part := range n {
		if err := c.compareTable(part, c.f.groupStart(g)+1+part); err != nil {
			return err
		}
	}
	return nil
}

// compareTable compares one block of descriptors with the primary's.
func (c *checker) compareTable(part, at uint64) error {
	if at >= c.f.sb.Blocks {
		return nil // reported when the group was claimed
	}
	copied, err := c.f.readBlock(at, "backup descriptors")
	if err != nil {
		return err
	}
	primary, err := c.f.readBlock(c.f.descBlock(part), "descriptors")
	if err != nil {
		return err
	}
	where := fmt.Sprintf("backup descriptors at block %d", at)
	size := int(c.f.sb.DescSize)
	for i := 0; i+size <= len(copied); i += size {
		g := part*c.f.descsPerBlock() + uint64(i/size)
		if g >= c.f.sb.Groups() {
			break
		}
		mine, theirs := c.f.decodeDesc(copied[i:i+size]), c.f.decodeDesc(primary[i:i+size])
		if c.f.hasGroupChecksums() && mine.checksum != c.f.descChecksum(uint32(g), copied[i:i+size]) {
			c.bad(where, "checksum of group %d does not match", g)
		}
		if mine.blockBitmap != theirs.blockBitmap || mine.inodeBitmap != theirs.inodeBitmap || mine.inodeTable != theirs.inodeTable {
			c.bad(where, "group %d is laid out at %d, %d and %d, the primary says %d, %d and %d", g,
				mine.blockBitmap, mine.inodeBitmap, mine.inodeTable, theirs.blockBitmap, theirs.inodeBitmap, theirs.inodeTable)
		}
	}
	if c.opt.ExactBackups && !bytes.Equal(copied, primary) {
		c.bad(where, "differs from the primary's")
	}
	return nil
}

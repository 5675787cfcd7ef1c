package ext4read

import (
	"errors"
	"fmt"
	"io"
)

// Group flags, meaningful only with gdt_csum or metadata_csum.
const (
	inodeUninit = 1 << iota // inode bitmap and table were never written
	blockUninit             // block bitmap was never written
	inodeZeroed             // the whole inode table was written
)

// group is one block group descriptor.
type group struct {
	blockBitmap, inodeBitmap, inodeTable     uint64 // block numbers
	freeBlocks, freeInodes, dirs, unused     uint32 // unused: inodes at the table's end
	flags, checksum                          uint16
	blockBitmapChecksum, inodeBitmapChecksum uint32
}

func (f *FS) hasGroupChecksums() bool { return f.sb.has(roGDTCsum) || f.sb.has(roMetadataCsum) }

// descsPerBlock is the number of group descriptors in a block.
func (f *FS) descsPerBlock() uint64 { return uint64(f.sb.BlockSize) / uint64(f.sb.DescSize) }

// descBlocks is the number of blocks of the whole descriptor table.
func (f *FS) descBlocks() uint64 {
	return (f.sb.Groups() + f.descsPerBlock() - 1) / f.descsPerBlock()
}

// groupStart is a group's first block.
func (f *FS) groupStart(g uint64) uint64 {
	return uint64(f.sb.FirstDataBlock) + g*uint64(f.sb.BlocksPerGroup)
}

// groupBlocks is the number of blocks of a group; the last may be short.
func (f *FS) groupBlocks(g uint64) uint64 {
	return min(uint64(f.sb.BlocksPerGroup), f.sb.Blocks-f.groupStart(g))
}

// hasSuper reports whether a group begins with a superblock, primary or backup.
func (f *FS) hasSuper(g uint64) bool {
	switch {
	case g == 0:
		return true
	case f.sb.has(compatSparseSuper2):
		return g == uint64(f.sb.BackupGroups[0]) || g == uint64(f.sb.BackupGroups[1])
	case g == 1 || !f.sb.has(roSparseSuper):
		return true
	}
	return isPower(g, 3) || isPower(g, 5) || isPower(g, 7)
}

func isPower(n, base uint64) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}

// descBlock is the block that holds part n of the descriptor table: after the
// superblock, or with meta_bg in the first group that the part describes.
func (f *FS) descBlock(n uint64) uint64 {
	if !f.sb.has(incompatMetaBG) || n < uint64(f.sb.FirstMetaBG) {
		return uint64(f.sb.FirstDataBlock) + 1 + n
	}
	return f.metaDescBlock(n * f.descsPerBlock())
}

// metaDescBlock is where a group keeps its copy of a meta_bg descriptor block.
func (f *FS) metaDescBlock(g uint64) uint64 {
	if f.hasSuper(g) {
		return f.groupStart(g) + 1
	}
	return f.groupStart(g)
}

// rawDesc reads a group's descriptor from the primary table.
func (f *FS) rawDesc(g uint64) ([]byte, error) {
	part, index := g/f.descsPerBlock(), g%f.descsPerBlock()
	at := f.descBlock(part)
	if g >= f.sb.Groups() || at >= f.sb.Blocks {
		return nil, fmt.Errorf("reading group %d: descriptor block %d is outside the image: %w", g, at, ErrCorrupt)
	}
	raw := make([]byte, f.sb.DescSize)
	off := int64(at)*int64(f.sb.BlockSize) + int64(index)*int64(f.sb.DescSize)
	if err := f.readAt(raw, off); err != nil {
		return nil, fmt.Errorf("reading group %d: descriptor in block %d: %w", g, at, err)
	}
	return raw, nil
}

// group reads and decodes a group's descriptor.
func (f *FS) group(g uint64) (*group, error) {
	raw, err := f.rawDesc(g)
	if err != nil {
		return nil, err
	}
	d := f.decodeDesc(raw)
	if f.opt.Verify && f.hasGroupChecksums() && d.checksum != f.descChecksum(uint32(g), raw) {
		return nil, fmt.Errorf("reading group %d: descriptor's checksum does not match: %w", g, ErrCorrupt)
	}
	return d, nil
}

func (f *FS) decodeDesc(raw []byte) *group {
	wide := len(raw) >= 64
	n32 := func(lo, hi int) uint64 {
		v := uint64(le.Uint32(raw[lo:]))
		if wide {
			v |= uint64(le.Uint32(raw[hi:])) << 32
		}
		return v
	}
	n16 := func(lo, hi int) uint32 {
		v := uint32(le.Uint16(raw[lo:]))
		if wide {
			v |= uint32(le.Uint16(raw[hi:])) << 16
		}
		return v
	}
	return &group{
		blockBitmap: n32(0x00, 0x20), inodeBitmap: n32(0x04, 0x24), inodeTable: n32(0x08, 0x28),
		freeBlocks: n16(0x0C, 0x2C), freeInodes: n16(0x0E, 0x2E), dirs: n16(0x10, 0x30), unused: n16(0x1C, 0x32),
		flags: le.Uint16(raw[0x12:]), checksum: le.Uint16(raw[0x1E:]),
		blockBitmapChecksum: n16(0x18, 0x38), inodeBitmapChecksum: n16(0x1A, 0x3A),
	}
}

// inodeTableBlocks is the number of blocks of a group's inode table.
func (f *FS) inodeTableBlocks() uint64 {
	n := uint64(f.sb.InodesPerGroup) * uint64(f.sb.InodeSize)
	return (n + uint64(f.sb.BlockSize) - 1) / uint64(f.sb.BlockSize)
}

// readAt fills p or fails.
func (f *FS) readAt(p []byte, off int64) error {
	n, err := f.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readBlock reads one block; what names it in the error.
func (f *FS) readBlock(n uint64, what string) ([]byte, error) {
	if n == 0 || n >= f.sb.Blocks {
		return nil, fmt.Errorf("%s at block %d, which is outside the image's %d blocks: %w", what, n, f.sb.Blocks, ErrCorrupt)
	}
	b := make([]byte, f.sb.BlockSize)
	if err := f.readAt(b, int64(n)*int64(f.sb.BlockSize)); err != nil {
		return nil, fmt.Errorf("%s at block %d: %w", what, n, err)
	}
	return b, nil
}

package xfsread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrCorrupt is wrapped by errors about an image that breaks the format.
var ErrCorrupt = errors.New("xfs is corrupt")

// ErrUnsupported is wrapped by errors about an image that is not read although it may be
// sound.
var ErrUnsupported = errors.New("xfs is not supported")

var (
	be         = binary.BigEndian
	le         = binary.LittleEndian // checksums
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Options limits what is read.
type Options struct {
	Verify     bool // refuse structures that do not match their checksums
	MaxExtents int  // of one file; 0 means 2 Mi
	MaxNames   int  // of one directory; 0 means 2 Mi
}

// Super is the superblock. Places are in blocks.
type Super struct {
	BlockSize    uint32
	Blocks       uint64
	UUID         [16]byte
	MetaUUID     [16]byte // what other structures name; the same unless the filesystem got another UUID
	LogStart     uint64
	Root         uint64 // number of its inode
	GroupBlocks  uint32 // of each allocation group; the last one may have fewer
	Groups       uint32
	LogBlocks    uint32
	SectorSize   uint16
	InodeSize    uint16
	DirBlockSize uint32
	Label        string
	Inodes       uint64 // that there is room for now
	FreeInodes   uint64
	FreeBlocks   uint64
	Quota        [3]uint64 // inodes of user, group and project quota; 0 or 2^64-1 is none

	Compat, ROCompat, Incompat uint32

	realtimeBitmap, realtimeSummary uint64 // their inodes, which are there without a realtime section too

	blockLog, inodesLog, groupLog uint8
}

// Features of the superblock.
const (
	incompatFtype       = 1 << 0
	incompatMetaUUID    = 1 << 2
	incompatNeedsRepair = 1 << 4
	knownIncompat       = 0xff // up to parent pointers
)

// FS is an opened image.
type FS struct {
	r    io.ReaderAt
	size int64
	raw  []byte // the superblock
	sb   Super
	opt  Options
}

const (
	superSize = 264 // what is read of it
	minSector = 512
	maxBlock  = 64 << 10
	noInode   = 1<<64 - 1
)

// Open reads the superblock of the size bytes of r, and whether the log is clean.
func Open(r io.ReaderAt, size int64, opt Options) (*FS, error) {
	f, err := open(r, size, opt)
	if err != nil {
		return nil, err
	}
	if err := f.cleanLog(); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

func open(r io.ReaderAt, size int64, opt Options) (*FS, error) {
	if opt.MaxExtents == 0 {
		opt.MaxExtents = 2 << 20
	}
	if opt.MaxNames == 0 {
		opt.MaxNames = 2 << 20
	}
	f := &FS{r: r, size: size, opt: opt, raw: make([]byte, superSize)}
	if size < superSize {
		return nil, fmt.Errorf("superblock: the image has %d bytes: %w", size, ErrCorrupt)
	}
	if err := f.readAt(f.raw, 0, "superblock"); err != nil {
		return nil, err
	}
	if err := f.parse(); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	sector := make([]byte, f.sb.SectorSize)
	if err := f.readAt(sector, 0, "superblock"); err != nil {
		return nil, err
	}
	return f, f.verify(sector, superCRC, "superblock")
}

const superCRC = 224

// Super is the superblock.
func (f *FS) Super() *Super { return &f.sb }

func (f *FS) parse() error {
	b := f.raw
	if string(b[:4]) != "XFSB" {
		return fmt.Errorf("magic %q: %w", b[:4], ErrCorrupt)
	}
	if v := be.Uint16(b[100:]) & 15; v != 5 {
		return fmt.Errorf("version %d, 5 is read (mkfs.xfs -m crc=1): %w", v, ErrUnsupported)
	}
	s := &f.sb
	*s = Super{
		BlockSize: be.Uint32(b[4:]), Blocks: be.Uint64(b[8:]), UUID: [16]byte(b[32:]), MetaUUID: [16]byte(b[32:]), LogStart: be.Uint64(b[48:]), Root: be.Uint64(b[56:]),
		realtimeBitmap: be.Uint64(b[64:]), realtimeSummary: be.Uint64(b[72:]), GroupBlocks: be.Uint32(b[84:]), Groups: be.Uint32(b[88:]), LogBlocks: be.Uint32(b[96:]),
		SectorSize: be.Uint16(b[102:]), InodeSize: be.Uint16(b[104:]), Label: text(b[108:120]), blockLog: b[120], inodesLog: b[123], groupLog: b[124],
		Inodes: be.Uint64(b[128:]), FreeInodes: be.Uint64(b[136:]), FreeBlocks: be.Uint64(b[144:]),
		Quota: [3]uint64{be.Uint64(b[160:]), be.Uint64(b[168:]), be.Uint64(b[232:])}, Compat: be.Uint32(b[208:]), ROCompat: be.Uint32(b[212:]), Incompat: be.Uint32(b[216:]),
	}
	if s.Incompat&incompatMetaUUID != 0 {
		s.MetaUUID = [16]byte(b[248:])
	}
	if err := f.supported(); err != nil {
		return err
	}
	return f.geometry()
}

// supported refuses what is not read.
func (f *FS) supported() error {
	s := &f.sb
	switch unknown := s.Incompat &^ knownIncompat; {
	case unknown != 0:
		return fmt.Errorf("the incompatible features %s: %w", featureText(unknown, incompatNames), ErrUnsupported)
	case s.Incompat&incompatNeedsRepair != 0:
		return fmt.Errorf("it says that it needs repair; run xfs_repair on it: %w", ErrUnsupported)
	case be.Uint64(f.raw[16:]) != 0 || be.Uint64(f.raw[24:]) != 0:
		return fmt.Errorf("it has a realtime section: %w", ErrUnsupported)
	case s.LogStart == 0:
		return fmt.Errorf("its log is on another device: %w", ErrUnsupported)
	case f.raw[126] != 0:
		return fmt.Errorf("mkfs has not finished it: %w", ErrCorrupt)
	}
	return nil
}

// geometry checks sizes and counts against one another and the image.
func (f *FS) geometry() error {
	s, b := &f.sb, f.raw
	power := func(v uint32, log uint8, lowest, highest uint32) bool {
		return log < 32 && v == 1<<log && v >= lowest && v <= highest
	}
	dirLog := b[192]
	switch {
	case !power(s.BlockSize, s.blockLog, 512, maxBlock):
		return fmt.Errorf("block size %d with logarithm %d, want a power of two from 512 to %d: %w", s.BlockSize, s.blockLog, maxBlock, ErrCorrupt)
	case !power(uint32(s.SectorSize), b[121], minSector, min(s.BlockSize, 32<<10)):
		return fmt.Errorf("sector size %d with logarithm %d: %w", s.SectorSize, b[121], ErrCorrupt)
	case !power(uint32(s.InodeSize), b[122], 512, min(s.BlockSize, 2048)):
		return fmt.Errorf("inode size %d with logarithm %d: %w", s.InodeSize, b[122], ErrCorrupt)
	case s.inodesLog != s.blockLog-b[122]:
		return fmt.Errorf("inodes of a block with logarithm %d, want %d: %w", s.inodesLog, s.blockLog-b[122], ErrCorrupt)
	case dirLog > 7 || s.BlockSize<<dirLog > maxBlock:
		return fmt.Errorf("directory blocks of 2^%d blocks of %d bytes: %w", dirLog, s.BlockSize, ErrCorrupt)
	case s.GroupBlocks == 0 || s.groupLog > 31 || uint64(s.GroupBlocks) > 1<<s.groupLog || s.groupLog > 0 && s.GroupBlocks <= 1<<(s.groupLog-1):
		return fmt.Errorf("groups of %d blocks with logarithm %d: %w", s.GroupBlocks, s.groupLog, ErrCorrupt)
	case s.Groups == 0 || s.Blocks <= uint64(s.Groups-1)*uint64(s.GroupBlocks) || s.Blocks > uint64(s.Groups)*uint64(s.GroupBlocks):
		return fmt.Errorf("%d blocks in %d groups of %d: %w", s.Blocks, s.Groups, s.GroupBlocks, ErrCorrupt)
	case s.Blocks > uint64(f.size)>>s.blockLog:
		return fmt.Errorf("%d blocks of %d bytes in an image of %d bytes: %w", s.Blocks, s.BlockSize, f.size, ErrCorrupt)
	}
	s.DirBlockSize = s.BlockSize << dirLog
	if _, err := f.place(s.LogStart, uint64(s.LogBlocks)); err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	return nil
}

// place is where blocks are in the image, in bytes. They have to be in one group.
func (f *FS) place(block, n uint64) (int64, error) {
	group, in := block>>f.sb.groupLog, block&(1<<f.sb.groupLog-1)
	if group >= uint64(f.sb.Groups) || n == 0 || n > f.groupBlocks(uint32(group)) || in > f.groupBlocks(uint32(group))-n {
		return 0, fmt.Errorf("%d blocks from block %d of group %d are outside of it: %w", n, in, group, ErrCorrupt)
	}
	return int64(group*uint64(f.sb.GroupBlocks)+in) << f.sb.blockLog, nil
}

// groupBlocks is how many blocks a group has.
func (f *FS) groupBlocks(group uint32) uint64 {
	if group == f.sb.Groups-1 {
		return f.sb.Blocks - uint64(group)*uint64(f.sb.GroupBlocks)
	}
	return uint64(f.sb.GroupBlocks)
}

// verify compares a structure with its checksum if that is asked for.
func (f *FS) verify(b []byte, at int, what string) error {
	if !f.opt.Verify {
		return nil
	}
	sum := crc32.Update(0, castagnoli, b[:at])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	sum = crc32.Update(sum, castagnoli, b[at+4:])
	if stored := le.Uint32(b[at:]); stored != sum {
		return fmt.Errorf("%s: the checksum is %#08x, it says %#08x: %w", what, sum, stored, ErrCorrupt)
	}
	return nil
}

// A layout says where a kind of structure names itself.
type layout struct{ crc, block, uuid, owner int }

var (
	mapLayout   = layout{crc: 64, block: 24, uuid: 40, owner: 56}
	dirLayout   = layout{crc: 4, block: 8, uuid: 24, owner: 40}
	attrLayout  = layout{crc: 12, block: 16, uuid: 32, owner: 48}
	valueLayout = layout{crc: 12, block: 40, uuid: 16, owner: 32} // and targets of symlinks
)

// itself checks that a structure says that it is at a place of this filesystem and belongs
// to an inode.
func (f *FS) itself(b []byte, l layout, place int64, owner uint64, what string) error {
	switch {
	case be.Uint64(b[l.block:]) != uint64(place>>9):
		return fmt.Errorf("%s: it says that it is at sector %d, it is at %d: %w", what, be.Uint64(b[l.block:]), place>>9, ErrCorrupt)
	case [16]byte(b[l.uuid:]) != f.sb.MetaUUID:
		return fmt.Errorf("%s: it is of another filesystem: %w", what, ErrCorrupt)
	case be.Uint64(b[l.owner:]) != owner:
		return fmt.Errorf("%s: it says that it is of inode %d, it is of %d: %w", what, be.Uint64(b[l.owner:]), owner, ErrCorrupt)
	}
	return f.verify(b, l.crc, what)
}

// readAt reads bytes of the image.
func (f *FS) readAt(p []byte, at int64, what string) error {
	if at < 0 || at > f.size-int64(len(p)) {
		return fmt.Errorf("%s: %d bytes at %d are behind the end at %d: %w", what, len(p), at, f.size, ErrCorrupt)
	}
	n, err := f.r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading the image at byte %d: %w", at, err)
}

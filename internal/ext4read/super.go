package ext4read

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// ErrCorrupt is wrapped by errors about an image that breaks the format.
var ErrCorrupt = errors.New("filesystem is corrupt")

// ErrUnsupported is wrapped by errors about an image that this package does not
// read although it may be sound.
var ErrUnsupported = errors.New("not supported")

// Options limits a reader. The zero value reads without verifying checksums,
// with the default limits.
type Options struct {
	// Verify refuses every superblock, group descriptor, inode, directory
	// block, extent block and attribute block that does not match its checksum.
	Verify bool

	MaxDirEntries int    // names in one directory; 0 means 2 Mi
	MaxEntries    int    // names in one Walk or Check; 0 means 16 Mi
	MaxExtents    int    // extents of one file; 0 means 2 Mi
	MaxDepth      int    // directories inside each other; 0 means 4096
	MaxPath       int    // bytes of a name from the root; 0 means 32 KiB
	MaxBlocks     uint64 // blocks of an image to be checked; 0 means 256 Mi
	MaxInodes     uint32 // inodes of an image to be checked; 0 means 16 Mi
	MaxProblems   int    // problems after which a check stops; 0 means 1000
}

func orDefault[T int | uint32 | uint64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.MaxDirEntries, 2<<20)
	orDefault(&o.MaxEntries, 16<<20)
	orDefault(&o.MaxExtents, 2<<20)
	orDefault(&o.MaxDepth, 4096)
	orDefault(&o.MaxPath, 32<<10)
	orDefault(&o.MaxBlocks, 1<<28)
	orDefault(&o.MaxInodes, 16<<20)
	orDefault(&o.MaxProblems, 1000)
	return o
}

// FS is an opened filesystem image. It is safe for concurrent use if its reader
// is.
type FS struct {
	r    io.ReaderAt
	opt  Options
	sb   Super
	raw  []byte // the primary superblock's 1024 bytes
	seed uint32 // where metadata checksums start
}

// Super holds the superblock's fields. Counts are in blocks unless they say
// otherwise.
type Super struct {
	BlockSize      uint32 // bytes
	Blocks         uint64
	ReservedBlocks uint64 // for root only
	FreeBlocks     uint64
	Inodes         uint32
	FreeInodes     uint32
	FirstDataBlock uint32 // 1 for 1 KiB blocks, else 0
	BlocksPerGroup uint32
	InodesPerGroup uint32

	Revision    uint32
	FirstInode  uint32 // the first that is not reserved
	InodeSize   uint16 // bytes
	DescSize    uint16 // bytes of one group descriptor
	ReservedGDT uint16 // blocks kept for growing the descriptor table
	FirstMetaBG uint32

	Compat, Incompat, ROCompat uint32 // see Features

	UUID          [16]byte
	Label         string
	LastMounted   string
	HashSeed      [4]uint32 // of directory indexes
	DefaultHash   uint8     // 0 legacy, 1 half MD4, 2 TEA
	Flags         uint32    // 1 signed, 2 unsigned directory hashes
	State         uint16    // 1 clean, 2 errors, 4 orphans
	Errors        uint16    // 1 continue, 2 remount read-only, 3 panic
	MountCount    uint16
	MaxMountCount uint16
	MountOptions  uint32 // defaults

	Created, Written, Mounted, Checked time.Time // UTC; zero if unset

	JournalInode  uint32
	JournalUUID   [16]byte
	OrphanInode   uint32 // head of the orphan list, 0 if empty
	OrphanFile    uint32 // inode of the orphan file, 0 if none
	QuotaInodes   [3]uint32
	BackupGroups  [2]uint32 // sparse_super2 only
	Overhead      uint32    // 0 if not recorded
	MinExtraIsize uint16
	ChecksumSeed  uint32 // csum_seed only
	KiBWritten    uint64
	FlexGroupSize uint32 // groups; 0 without flex_bg
}

// Super returns a copy of the primary superblock's fields.
func (f *FS) Super() *Super {
	sb := f.sb
	return &sb
}

// Groups returns the number of block groups.
func (s *Super) Groups() uint64 {
	n := s.Blocks - uint64(s.FirstDataBlock)
	return (n + uint64(s.BlocksPerGroup) - 1) / uint64(s.BlocksPerGroup)
}

// Open reads the superblock of an image of size bytes. It refuses features that
// it cannot read, geometry that does not fit in size, and an image whose journal
// must be replayed first.
func Open(r io.ReaderAt, size int64, opt Options) (*FS, error) {
	f := &FS{r: r, opt: opt.withDefaults(), raw: make([]byte, superSize)}
	if size < superOffset+superSize {
		return nil, fmt.Errorf("reading superblock: image of %d bytes is too small: %w", size, ErrCorrupt)
	}
	if _, err := r.ReadAt(f.raw, superOffset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading superblock: %w", err)
	}
	sb, err := parseSuper(f.raw)
	if err != nil {
		return nil, fmt.Errorf("reading superblock: %w", err)
	}
	if need := sb.Blocks; need > uint64(size)/uint64(sb.BlockSize) {
		return nil, fmt.Errorf("reading superblock: %d blocks of %d bytes do not fit in an image of %d bytes: %w",
			need, sb.BlockSize, size, ErrCorrupt)
	}
	f.sb = *sb
	f.seed = crc32c(^uint32(0), sb.UUID[:])
	if sb.has(incompatCsumSeed) {
		f.seed = sb.ChecksumSeed
	}
	if f.opt.Verify && sb.has(roMetadataCsum) && !superChecksumOK(f.raw) {
		return nil, fmt.Errorf("reading superblock: checksum does not match: %w", ErrCorrupt)
	}
	return f, nil
}

const (
	superOffset = 1024 // bytes from the start of the image
	superSize   = 1024 // bytes
	superMagic  = 0xEF53
)

// parseSuper decodes a superblock and refuses what cannot be read safely.
func parseSuper(raw []byte) (*Super, error) {
	if m := le.Uint16(raw[0x38:]); m != superMagic {
		return nil, fmt.Errorf("magic is %#04x, not %#04x: %w", m, superMagic, ErrCorrupt)
	}
	s := decodeSuper(raw)
	if err := s.checkFeatures(); err != nil {
		return nil, err
	}
	if err := s.checkGeometry(raw); err != nil {
		return nil, err
	}
	return s, nil
}

func decodeSuper(raw []byte) *Super {
	u16 := func(at int) uint16 { return le.Uint16(raw[at:]) }
	u32 := func(at int) uint32 { return le.Uint32(raw[at:]) }
	when := func(lo, hi int) time.Time {
		if sec := int64(u32(lo)) | int64(raw[hi])<<32; sec != 0 {
			return time.Unix(sec, 0).UTC()
		}
		return time.Time{}
	}
	s := &Super{
		Inodes: u32(0x00), FreeInodes: u32(0x10), FirstDataBlock: u32(0x14),
		BlocksPerGroup: u32(0x20), InodesPerGroup: u32(0x28),
		MountCount: u16(0x34), MaxMountCount: u16(0x36), State: u16(0x3A), Errors: u16(0x3C),
		Revision: u32(0x4C), FirstInode: 11, InodeSize: 128, DescSize: 32,
		Blocks:         uint64(u32(0x04)),
		ReservedBlocks: uint64(u32(0x08)),
		FreeBlocks:     uint64(u32(0x0C)),
		Mounted:        when(0x2C, 0x275), Written: when(0x30, 0x274), Checked: when(0x40, 0x277),
	}
	if log := u32(0x18); log <= 2 {
		s.BlockSize = 1024 << log
	}
	if s.Revision == 0 {
		return s
	}
	s.FirstInode, s.InodeSize = u32(0x54), u16(0x58)
	s.Compat, s.Incompat, s.ROCompat = u32(0x5C), u32(0x60), u32(0x64)
	copy(s.UUID[:], raw[0x68:])
	s.Label, s.LastMounted = cString(raw[0x78:0x88]), cString(raw[0x88:0xC8])
	s.ReservedGDT = u16(0xCE)
	copy(s.JournalUUID[:], raw[0xD0:])
	s.JournalInode, s.OrphanInode = u32(0xE0), u32(0xE8)
	for i := range s.HashSeed {
		s.HashSeed[i] = u32(0xEC + 4*i)
	}
	s.DefaultHash, s.MountOptions, s.FirstMetaBG = raw[0xFC], u32(0x100), u32(0x104)
	s.Created = when(0x108, 0x276)
	if s.has(incompat64Bit) {
		s.DescSize = u16(0xFE)
		s.Blocks |= uint64(u32(0x150)) << 32
		s.ReservedBlocks |= uint64(u32(0x154)) << 32
		s.FreeBlocks |= uint64(u32(0x158)) << 32
	}
	s.MinExtraIsize, s.Flags, s.KiBWritten = u16(0x15C), u32(0x160), le.Uint64(raw[0x178:])
	if log := raw[0x174]; s.has(incompatFlexBG) && log < 32 {
		s.FlexGroupSize = 1 << log
	}
	s.QuotaInodes = [3]uint32{u32(0x240), u32(0x244), u32(0x26C)}
	s.Overhead = u32(0x248)
	s.BackupGroups = [2]uint32{u32(0x24C), u32(0x250)}
	s.ChecksumSeed = u32(0x270)
	if s.has(compatOrphanFile) {
		s.OrphanFile = u32(0x280)
	}
	return s
}

// checkGeometry refuses numbers that later arithmetic relies on.
func (s *Super) checkGeometry(raw []byte) error {
	wrong := func(what string, got any, why string) error {
		return fmt.Errorf("%s is %v, %s: %w", what, got, why, ErrCorrupt)
	}
	if s.Revision > 1 {
		return fmt.Errorf("revision %d: %w", s.Revision, ErrUnsupported)
	}
	if s.BlockSize == 0 {
		return fmt.Errorf("log block size %d: only 1, 2 and 4 KiB blocks are read: %w", le.Uint32(raw[0x18:]), ErrUnsupported)
	}
	if c := le.Uint32(raw[0x1C:]); c != le.Uint32(raw[0x18:]) {
		return wrong("log cluster size", c, "which is not the block size's")
	}
	first := uint32(0)
	if s.BlockSize == 1024 {
		first = 1
	}
	if s.FirstDataBlock != first {
		return wrong("first data block", s.FirstDataBlock, fmt.Sprintf("want %d", first))
	}
	if s.Blocks <= uint64(first) || s.Blocks >= 1<<48 {
		return wrong("block count", s.Blocks, "out of range")
	}
	if n := s.BlocksPerGroup; n < 8 || n > 8*s.BlockSize || n%8 != 0 {
		return wrong("blocks per group", n, fmt.Sprintf("want a multiple of 8 up to %d", 8*s.BlockSize))
	}
	if n := s.InodesPerGroup; n == 0 || n > 8*s.BlockSize || n%8 != 0 {
		return wrong("inodes per group", n, fmt.Sprintf("want a multiple of 8 up to %d", 8*s.BlockSize))
	}
	if n := uint32(s.InodeSize); n < 128 || n > s.BlockSize || bits.OnesCount32(n) != 1 {
		return wrong("inode size", n, "want a power of two from 128 to the block size")
	}
	if s.has(incompat64Bit) && (s.DescSize < 64 || uint32(s.DescSize) > s.BlockSize || bits.OnesCount16(s.DescSize) != 1) {
		return wrong("descriptor size", s.DescSize, "want a power of two from 64 to the block size")
	}
	groups := s.Groups()
	if groups > 1<<32-1 || groups*uint64(s.InodesPerGroup) != uint64(s.Inodes) {
		return wrong("inode count", s.Inodes, fmt.Sprintf("want %d groups of %d", groups, s.InodesPerGroup))
	}
	if s.FirstInode < 11 || s.FirstInode > s.Inodes {
		return wrong("first inode", s.FirstInode, "out of range")
	}
	return nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

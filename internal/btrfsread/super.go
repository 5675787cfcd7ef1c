package btrfsread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"strings"
	"sync"
)

// ErrCorrupt is wrapped by errors about an image that breaks the format.
var ErrCorrupt = errors.New("btrfs is corrupt")

// ErrUnsupported is wrapped by errors about an image that is not read although it may be
// sound.
var ErrUnsupported = errors.New("btrfs is not supported")

var le = binary.LittleEndian

// Options limits what is read.
type Options struct {
	Verify     bool // refuses nodes of trees that do not match their checksums
	MaxExtents int  // of one file; 0 means 1 Mi
	MaxNames   int  // of one directory; 0 means 1 Mi
}

// Places of the superblock's copies, in bytes.
var superPlaces = []int64{64 << 10, 64 << 20, 256 << 30}

const (
	superSize = 4096
	// Magic is at byte 0x10040 of an image.
	Magic = "_BHRfS_M"

	csumSize     = 32
	maxLevel     = 8 // levels of a tree
	maxBlock     = 64 << 10
	sysChunksMax = 2048

	flagsKnown = 1<<32 - 1 // of the superblock's flags; others are states of tools
	flagError  = 1 << 2
)

// Bits of the superblock's incompat_flags.
const (
	incompatNoHoles      = 1 << 9
	incompatMetadataUUID = 1 << 10
)

// incompatNames are the bits of incompat_flags; those with a "!" are not read.
var incompatNames = []string{
	"mixed-backref", "default-subvol", "mixed-bg", "compress-lzo", "compress-zstd", "big-metadata", "extref", "!raid56", "skinny-metadata", "no-holes",
	"metadata-uuid", "!raid1c34", "!zoned", "!extent-tree-v2", "!raid-stripe-tree", "!bit 15", "squota",
}

// readOnlyNames are the bits of compat_ro_flags.
var readOnlyNames = []string{"free-space-tree", "free-space-tree-valid", "verity", "block-group-tree"}

var checksums = []string{"crc32c", "xxhash64", "sha256", "blake2b"}

// Super is the superblock. Places are logical addresses.
type Super struct {
	FSID, MetadataUUID [16]byte // the second is what nodes have
	Label              string
	Generation         uint64
	TotalBytes         uint64 // of the filesystem
	BytesUsed          uint64
	SectorSize         uint32
	NodeSize           uint32
	Flags              uint64
	Incompat, ReadOnly uint64
	Place              int64 // the byte of the image where this copy is

	root, chunkRoot           uint64
	rootLevel, chunkRootLevel uint8
	chunkRootGeneration       uint64
	rootDir                   uint64
	devid                     uint64
}

// Features lists the features by the names that mkfs.btrfs has for them.
func (s *Super) Features() []string {
	return append(bitNames(s.Incompat, incompatNames), bitNames(s.ReadOnly, readOnlyNames)...)
}

func bitNames(v uint64, names []string) []string {
	list := []string{}
	for i := range 64 {
		switch {
		case v>>i&1 == 0:
		case i < len(names):
			list = append(list, strings.TrimPrefix(names[i], "!"))
		default:
			list = append(list, fmt.Sprintf("bit %d", i))
		}
	}
	return list
}

// FS is an opened image.
type FS struct {
	r      io.ReaderAt
	size   int64
	raw    []byte // the superblock
	sb     Super
	opt    Options
	chunks []chunk
	root   tree
	tree   tree // of the files
	unzstd func(dst, src []byte) ([]byte, error)

	mu    sync.Mutex
	nodes map[uint64]*node
	order []uint64 // of nodes, the oldest first
}

// Open reads the superblock of the size bytes of r, the chunks and where the trees are.
func Open(r io.ReaderAt, size int64, opt Options) (*FS, error) {
	if opt.MaxExtents == 0 {
		opt.MaxExtents = 1 << 20
	}
	if opt.MaxNames == 0 {
		opt.MaxNames = 1 << 20
	}
	f := &FS{r: r, size: size, opt: opt, nodes: map[uint64]*node{}}
	var err error
	if f.unzstd, err = newZstd(); err != nil {
		return nil, err
	}
	if err := f.super(); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	if err := f.readChunks(); err != nil {
		return nil, err
	}
	return f, f.findTree()
}

// Super is the superblock.
func (f *FS) Super() *Super { return &f.sb }

// super takes the first copy that is sound.
func (f *FS) super() error {
	var first error
	for _, at := range superPlaces {
		raw, err := f.superAt(at)
		switch {
		case err == nil:
			f.raw, f.sb.Place = raw, at
			return f.parse()
		case !errors.Is(err, ErrCorrupt):
			return err
		case first == nil:
			first = err
		}
	}
	return first
}

// superAt reads a copy of the superblock. One that is not sound is corrupt.
func (f *FS) superAt(at int64) ([]byte, error) {
	raw := make([]byte, superSize)
	if err := f.readAt(raw, at, "superblock"); err != nil {
		return nil, err
	}
	if string(raw[0x40:0x48]) != Magic {
		return nil, fmt.Errorf("magic %q at byte %d: %w", raw[0x40:0x48], at, ErrCorrupt)
	}
	if v := le.Uint64(raw[0x30:]); v != uint64(at) {
		return nil, fmt.Errorf("the copy at byte %d says that it is at %d: %w", at, v, ErrCorrupt)
	}
	if kind := int(le.Uint16(raw[0xc4:])); kind > 0 && kind < len(checksums) {
		return nil, fmt.Errorf("its checksums are %s, only crc32c is read: make it with mkfs.btrfs --csum crc32c: %w", checksums[kind], ErrUnsupported)
	} else if kind > 0 {
		return nil, fmt.Errorf("csum_type %d: %w", kind, ErrCorrupt)
	}
	if got, want := crc(raw[csumSize:]), le.Uint32(raw); got != want {
		return nil, fmt.Errorf("the copy at byte %d has the checksum %#x, its bytes %#x: %w", at, want, got, ErrCorrupt)
	}
	return raw, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func (f *FS) parse() error {
	b := f.raw
	s := &f.sb
	s.FSID = [16]byte(b[0x20:])
	s.Flags, s.Generation, s.root, s.chunkRoot = le.Uint64(b[0x38:]), le.Uint64(b[0x48:]), le.Uint64(b[0x50:]), le.Uint64(b[0x58:])
	s.TotalBytes, s.BytesUsed, s.rootDir = le.Uint64(b[0x70:]), le.Uint64(b[0x78:]), le.Uint64(b[0x80:])
	s.SectorSize, s.NodeSize, s.chunkRootGeneration = le.Uint32(b[0x90:]), le.Uint32(b[0x94:]), le.Uint64(b[0xa4:])
	s.ReadOnly, s.Incompat = le.Uint64(b[0xb4:]), le.Uint64(b[0xbc:])
	s.rootLevel, s.chunkRootLevel, s.devid = b[0xc6], b[0xc7], le.Uint64(b[0xc9:])
	label, _, _ := strings.Cut(string(b[0x12b:0x22b]), "\x00")
	s.Label, s.MetadataUUID = label, s.FSID
	if s.Incompat&incompatMetadataUUID != 0 {
		s.MetadataUUID = [16]byte(b[0x23b:])
	}
	if err := f.supported(); err != nil {
		return err
	}
	power := func(v uint32) bool { return bits.OnesCount32(v) == 1 && v >= 4096 && v <= maxBlock }
	switch {
	case !power(s.SectorSize) || !power(s.NodeSize) || s.NodeSize < s.SectorSize:
		return fmt.Errorf("sectors of %d bytes, nodes of %d, want powers of two from 4096 to 65536: %w", s.SectorSize, s.NodeSize, ErrCorrupt)
	case s.TotalBytes > uint64(f.size):
		return fmt.Errorf("the filesystem has %d bytes, the image %d: it is cut: %w", s.TotalBytes, f.size, ErrCorrupt)
	case s.BytesUsed > s.TotalBytes:
		return fmt.Errorf("%d bytes used of %d: %w", s.BytesUsed, s.TotalBytes, ErrCorrupt)
	case s.rootLevel >= maxLevel || s.chunkRootLevel >= maxLevel:
		return fmt.Errorf("trees of the levels %d and %d: %w", s.rootLevel, s.chunkRootLevel, ErrCorrupt)
	case s.chunkRootGeneration > s.Generation:
		return fmt.Errorf("generation %d of the chunk tree, %d of all: %w", s.chunkRootGeneration, s.Generation, ErrCorrupt)
	}
	return nil
}

// supported refuses what is not read.
func (f *FS) supported() error {
	if n := le.Uint64(f.raw[0x88:]); n != 1 {
		return fmt.Errorf("the filesystem has %d devices, only one is read: %w", n, ErrUnsupported)
	}
	if bad := f.sb.Flags &^ flagsKnown; bad != 0 {
		return fmt.Errorf("flags %#x: a seed, a metadump, or a change of the whole filesystem that has not ended: %w", bad, ErrUnsupported)
	}
	for i := range 64 {
		if f.sb.Incompat>>i&1 != 0 && (i >= len(incompatNames) || incompatNames[i][0] == '!') {
			return fmt.Errorf("it has the feature %s, which is not read: %w", bitNames(1<<i, incompatNames)[0], ErrUnsupported)
		}
	}
	if le.Uint64(f.raw[0x60:]) != 0 {
		return fmt.Errorf("it was not unmounted, and has a log to replay: mount it once, writable, and unmount it: %w", ErrUnsupported)
	}
	return nil
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

package squashfsread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"time"
)

// ErrCorrupt is wrapped by errors about an image that breaks the format.
var ErrCorrupt = errors.New("squashfs is corrupt")

// ErrUnsupported is wrapped by errors about an image that is not read although it may be
// sound.
var ErrUnsupported = errors.New("squashfs is not supported")

var le = binary.LittleEndian

// Options limits what is read.
type Options struct {
	MaxBlocks int // of one file; 0 means 2 Mi, which are 256 GiB at 128 KiB each
}

// Flags of the superblock.
const (
	FlagNoXattrs          = 0x200
	FlagExport            = 0x80
	FlagCompressorOptions = 0x400
)

// Compressors of the superblock.
const (
	Gzip = 1
	Zstd = 6
)

var compressors = map[uint16]string{1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}

// Super is the superblock. Places are in bytes from the image's start.
type Super struct {
	Inodes    uint32
	Made      time.Time
	BlockSize uint32
	Fragments uint32

	Compressor uint16
	Flags      uint16
	IDs        uint16
	Root       uint64 // reference of the root's inode
	BytesUsed  int64  // without the padding at the end

	IDTable, XattrTable, InodeTable, DirTable, FragmentTable, ExportTable int64 // -1 is none
}

// Compression is the compressor's name.
func (s *Super) Compression() string { return compressors[s.Compressor] }

// FS is an opened image.
type FS struct {
	r    io.ReaderAt
	size int64
	raw  []byte // the superblock
	sb   Super
	opt  Options

	dirEnd               int64 // where the directory table ends
	xattrStart, xattrEnd int64 // of the xattrs themselves
	xattrs               uint32
	unpack               func(dst, src []byte) ([]byte, error)

	mu        sync.Mutex
	meta      cache
	fragments cache
}

const (
	superSize = 96
	noTable   = -1
)

// Open reads the superblock of the size bytes of r, and where the tables are.
func Open(r io.ReaderAt, size int64, opt Options) (*FS, error) {
	if opt.MaxBlocks == 0 {
		opt.MaxBlocks = 2 << 20
	}
	f := &FS{r: r, size: size, opt: opt, raw: make([]byte, superSize), meta: cache{room: 128}, fragments: cache{room: 4}}
	if size < superSize {
		return nil, fmt.Errorf("superblock: the image has %d bytes: %w", size, ErrCorrupt)
	}
	if err := f.readAt(f.raw, 0, "superblock"); err != nil {
		return nil, err
	}
	if err := f.parse(); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	var err error
	if f.unpack, err = newUnpacker(f.sb.Compressor, f.sb.BlockSize); err != nil {
		return nil, err
	}
	return f, f.tables()
}

// Super is the superblock.
func (f *FS) Super() *Super { return &f.sb }

func (f *FS) parse() error {
	b := f.raw
	if string(b[:4]) != "hsqs" {
		return fmt.Errorf("magic %q: %w", b[:4], ErrCorrupt)
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return fmt.Errorf("version %d.%d, 4.0 is read: %w", major, minor, ErrUnsupported)
	}
	place := func(at int) int64 { return int64(le.Uint64(b[at:])) }
	f.sb = Super{
		Inodes: le.Uint32(b[4:]), Made: time.Unix(int64(le.Uint32(b[8:])), 0).UTC(), BlockSize: le.Uint32(b[12:]), Fragments: le.Uint32(b[16:]),
		Compressor: le.Uint16(b[20:]), Flags: le.Uint16(b[24:]), IDs: le.Uint16(b[26:]), Root: le.Uint64(b[32:]), BytesUsed: place(40),
		IDTable: place(48), XattrTable: place(56), InodeTable: place(64), DirTable: place(72), FragmentTable: place(80), ExportTable: place(88),
	}
	s := &f.sb
	switch log := le.Uint16(b[22:]); {
	case bits.OnesCount32(s.BlockSize) != 1 || s.BlockSize < 4096 || s.BlockSize > 1<<20 || bits.TrailingZeros32(s.BlockSize) != int(log):
		return fmt.Errorf("block size %d with logarithm %d, want a power of two from 4096 to 1048576: %w", s.BlockSize, log, ErrCorrupt)
	case s.BytesUsed < superSize || s.BytesUsed > f.size:
		return fmt.Errorf("%d bytes used of an image of %d: %w", s.BytesUsed, f.size, ErrCorrupt)
	case s.IDs == 0 || s.Inodes == 0:
		return fmt.Errorf("%d owners, %d inodes: %w", s.IDs, s.Inodes, ErrCorrupt)
	case s.InodeTable < superSize || s.DirTable < s.InodeTable || s.IDTable < s.DirTable || s.IDTable >= s.BytesUsed:
		return fmt.Errorf("inode table at %d, directory table at %d, id table at %d, %d bytes used: %w", s.InodeTable, s.DirTable, s.IDTable, s.BytesUsed, ErrCorrupt)
	}
	for name, at := range map[string]int64{"xattr table": s.XattrTable, "fragment table": s.FragmentTable, "export table": s.ExportTable} {
		if at != noTable && (at < s.DirTable || at >= s.BytesUsed) {
			return fmt.Errorf("%s at %d: %w", name, at, ErrCorrupt)
		}
	}
	if s.Fragments > 0 && s.FragmentTable == noTable {
		return fmt.Errorf("%d fragments without a table: %w", s.Fragments, ErrCorrupt)
	}
	return nil
}

// tables finds where the directory table and the xattrs end: at what follows them.
func (f *FS) tables() error {
	s := &f.sb
	f.dirEnd = s.BytesUsed
	bound := func(at int64) {
		if at >= s.DirTable {
			f.dirEnd = min(f.dirEnd, at)
		}
	}
	first := func(table int64, what string) error {
		var b [8]byte
		if err := f.readAt(b[:], table, what); err != nil {
			return err
		}
		bound(int64(le.Uint64(b[:])))
		return nil
	}
	if err := first(s.IDTable, "id table"); err != nil {
		return err
	}
	if s.Fragments > 0 {
		if err := first(s.FragmentTable, "fragment table"); err != nil {
			return err
		}
	}
	if s.ExportTable != noTable {
		if err := first(s.ExportTable, "export table"); err != nil {
			return err
		}
	}
	if s.XattrTable == noTable {
		return nil
	}
	var b [24]byte
	n := min(int64(len(b)), s.BytesUsed-s.XattrTable)
	if err := f.readAt(b[:n], s.XattrTable, "xattr table"); err != nil {
		return err
	}
	f.xattrStart, f.xattrs, f.xattrEnd = int64(le.Uint64(b[:])), le.Uint32(b[8:]), s.XattrTable
	bound(f.xattrStart)
	if f.xattrs > 0 {
		f.xattrEnd = int64(le.Uint64(b[16:]))
	}
	if f.xattrStart < s.DirTable || f.xattrEnd < f.xattrStart || f.xattrEnd > s.XattrTable {
		return fmt.Errorf("xattr table: xattrs from %d to %d: %w", f.xattrStart, f.xattrEnd, ErrCorrupt)
	}
	return nil
}

// readAt reads bytes of the image that the superblock says are used.
func (f *FS) readAt(p []byte, at int64, what string) error {
	end := f.size
	if f.sb.BytesUsed > 0 {
		end = f.sb.BytesUsed
	}
	if at < 0 || at > end-int64(len(p)) {
		return fmt.Errorf("%s: %d bytes at %d are behind the end at %d: %w", what, len(p), at, end, ErrCorrupt)
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

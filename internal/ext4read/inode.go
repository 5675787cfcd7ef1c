package ext4read

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"
)

// RootInode is the inode number of the root directory.
const RootInode = 2

// Inode flags that change how an inode is read.
const (
	FlagIndex      = 0x1000     // directory has a hash index
	FlagHugeFile   = 0x40000    // i_blocks counts filesystem blocks
	FlagExtents    = 0x80000    // content is mapped by an extent tree
	FlagEAInode    = 0x200000   // holds an attribute's value
	FlagInlineData = 0x10000000 // content is in the inode
)

// File types in the upper bits of an inode's mode.
const (
	typeFIFO    = 0x1000
	typeChar    = 0x2000
	typeDir     = 0x4000
	typeBlock   = 0x6000
	typeRegular = 0x8000
	typeSymlink = 0xA000
	typeSocket  = 0xC000
	typeMask    = 0xF000
)

// Rdev is a device number.
type Rdev struct{ Major, Minor uint32 }

// Inode is one inode. Two names of one inode (a hard link) give two Inode values
// with the same Number.
type Inode struct {
	Number   uint32
	Mode     fs.FileMode // type, permissions, setuid, setgid, sticky
	RawMode  uint16      // as on disk
	UID, GID uint32
	Size     uint64 // bytes
	Links    uint16 // 1 for a directory with too many subdirectories to count

	// Times are UTC with nanoseconds. Crtime is zero if the inode has no room
	// for it.
	Atime, Ctime, Mtime, Crtime time.Time

	DeletedAt  uint32 // seconds, or the next orphan; 0 for an inode in use
	Flags      uint32
	Generation uint32
	Blocks     uint64 // charged, in units of 512 bytes
	Rdev       Rdev   // character and block devices only
	Target     string // symbolic links only

	// Xattrs maps full names ("security.capability") to values, from the inode
	// and its attribute block. It is nil if there are none.
	Xattrs map[string]string

	f          *FS
	raw        []byte // the whole on-disk record
	xattrBlock uint64 // 0 if none
	inline     []byte // content, if FlagInlineData
}

// Inode reads one inode with its attributes and, for a symbolic link, its
// target. An inode that is not in use is an error.
func (f *FS) Inode(number uint32) (*Inode, error) {
	in, err := f.loadInode(number)
	if err != nil {
		return nil, fmt.Errorf("reading inode %d: %w", number, err)
	}
	return in, nil
}

func (f *FS) loadInode(number uint32) (*Inode, error) {
	raw, err := f.rawInode(number)
	if err != nil {
		return nil, err
	}
	if f.opt.Verify && f.sb.has(roMetadataCsum) && !f.inodeChecksumOK(number, raw) {
		return nil, fmt.Errorf("checksum does not match: %w", ErrCorrupt)
	}
	in, err := f.parseInode(number, raw)
	if err != nil {
		return nil, err
	}
	if err := in.loadXattrs(); err != nil {
		return nil, err
	}
	if in.RawMode&typeMask == typeSymlink {
		if err := in.loadTarget(); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// rawInode reads an inode's record. It does not ask whether it is in use.
func (f *FS) rawInode(number uint32) ([]byte, error) {
	if number == 0 || number > f.sb.Inodes {
		return nil, fmt.Errorf("number is outside the image's %d inodes: %w", f.sb.Inodes, ErrCorrupt)
	}
	g := uint64(number-1) / uint64(f.sb.InodesPerGroup)
	index := uint64(number-1) % uint64(f.sb.InodesPerGroup)
	d, err := f.group(g)
	if err != nil {
		return nil, err
	}
	off := index * uint64(f.sb.InodeSize)
	block := d.inodeTable + off/uint64(f.sb.BlockSize)
	if d.inodeTable == 0 || block >= f.sb.Blocks {
		return nil, fmt.Errorf("inode table of group %d: block %d is outside the image: %w", g, block, ErrCorrupt)
	}
	raw := make([]byte, f.sb.InodeSize)
	if err := f.readAt(raw, int64(block)*int64(f.sb.BlockSize)+int64(off%uint64(f.sb.BlockSize))); err != nil {
		return nil, fmt.Errorf("inode table block %d: %w", block, err)
	}
	return raw, nil
}

// parseInode decodes a record that is in use, all but attributes and target.
func (f *FS) parseInode(number uint32, raw []byte) (*Inode, error) {
	in := f.decodeInode(number, raw)
	switch in.RawMode & typeMask {
	case typeFIFO, typeChar, typeDir, typeBlock, typeRegular, typeSymlink, typeSocket:
	default:
		return nil, fmt.Errorf("mode %#o has no file type: %w", in.RawMode, ErrCorrupt)
	}
	if in.Links == 0 {
		return nil, fmt.Errorf("not in use (link count 0): %w", ErrCorrupt)
	}
	if limit := uint64(f.sb.BlockSize) << 32; in.Size > limit {
		return nil, fmt.Errorf("size %d is over the limit of %d: %w", in.Size, limit, ErrCorrupt)
	}
	if extra := in.extraSize(); extra > 0 && 128+extra > len(raw) {
		return nil, fmt.Errorf("extra size %d does not fit in a record of %d bytes: %w", extra, len(raw), ErrCorrupt)
	}
	return in, nil
}

// extraSize is the number of bytes of fields after the first 128.
func (in *Inode) extraSize() int {
	if len(in.raw) <= 128 {
		return 0
	}
	return int(le.Uint16(in.raw[0x80:]))
}

func (f *FS) decodeInode(number uint32, raw []byte) *Inode {
	u16 := func(at int) uint32 { return uint32(le.Uint16(raw[at:])) }
	u32 := func(at int) uint32 { return le.Uint32(raw[at:]) }
	in := &Inode{
		Number: number, RawMode: uint16(u16(0)), f: f, raw: raw,
		UID: u16(0x02) | u16(0x78)<<16, GID: u16(0x18) | u16(0x7A)<<16,
		Size: uint64(u32(0x04)), Links: uint16(u16(0x1A)),
		DeletedAt: u32(0x14), Flags: u32(0x20), Generation: u32(0x64),
		xattrBlock: uint64(u32(0x68)),
	}
	in.Mode = goMode(in.RawMode)
	kind := in.RawMode & typeMask
	if kind == typeRegular || kind == typeDir && f.sb.has(incompatLargeDir) {
		in.Size |= uint64(u32(0x6C)) << 32
	}
	if f.sb.has(incompat64Bit) {
		in.xattrBlock |= uint64(u16(0x76)) << 32
	}
	in.Blocks = uint64(u32(0x1C))
	if f.sb.has(roHugeFile) {
		in.Blocks |= uint64(u16(0x74)) << 32
		if in.Flags&FlagHugeFile != 0 {
			in.Blocks *= uint64(f.sb.BlockSize) / 512
		}
	}
	in.Atime, in.Ctime, in.Mtime = in.when(0x08, 0x8C), in.when(0x0C, 0x84), in.when(0x10, 0x88)
	if in.hasExtra(0x90) {
		in.Crtime = in.when(0x90, 0x94)
	}
	if kind == typeChar || kind == typeBlock {
		in.Rdev = decodeRdev(u32(0x28), u32(0x2C))
	}
	return in
}

// hasExtra reports whether the inode's own size covers a 4-byte field.
func (in *Inode) hasExtra(at int) bool {
	return at+4 <= 128+in.extraSize() && at+4 <= len(in.raw)
}

// when decodes a time: 32 bits of signed seconds and, in a second field if the
// inode is large enough, two more bits of epoch and 30 of nanoseconds.
func (in *Inode) when(lo, extra int) time.Time {
	sec, nsec := int64(int32(le.Uint32(in.raw[lo:]))), int64(0)
	if in.hasExtra(extra) {
		x := le.Uint32(in.raw[extra:])
		sec += int64(x&3) << 32
		nsec = int64(x >> 2)
	}
	return time.Unix(sec, nsec).UTC()
}

// decodeRdev reads a device number: 8+8 bits in the first word of the block map,
// or if that is zero 12+20 bits in the second.
func decodeRdev(short, long uint32) Rdev {
	if short != 0 {
		return Rdev{Major: short >> 8 & 0xFF, Minor: short & 0xFF}
	}
	return Rdev{Major: long >> 8 & 0xFFF, Minor: long&0xFF | long>>12&0xFFF00}
}

func goMode(raw uint16) fs.FileMode {
	m := fs.FileMode(raw & 0o777)
	for _, b := range []struct {
		raw uint16
		bit fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if raw&b.raw != 0 {
			m |= b.bit
		}
	}
	switch raw & typeMask {
	case typeFIFO:
		m |= fs.ModeNamedPipe
	case typeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case typeDir:
		m |= fs.ModeDir
	case typeBlock:
		m |= fs.ModeDevice
	case typeSymlink:
		m |= fs.ModeSymlink
	case typeSocket:
		m |= fs.ModeSocket
	}
	return m
}

// iblock is the 60 bytes that hold the block map, a short link's target or a
// device number.
func (in *Inode) iblock() []byte { return in.raw[0x28:0x64] }

// isFastLink reports whether a symbolic link's target is in the inode.
func (in *Inode) isFastLink() bool {
	return in.Size < 60 && in.Flags&(FlagExtents|FlagInlineData) == 0
}

// loadTarget reads a symbolic link's target. It is never empty, holds no NUL and
// fits in a block.
func (in *Inode) loadTarget() error {
	if in.Size == 0 || in.Size >= uint64(in.f.sb.BlockSize) {
		return fmt.Errorf("symbolic link's target of %d bytes: want 1 to %d: %w", in.Size, in.f.sb.BlockSize-1, ErrCorrupt)
	}
	target := make([]byte, in.Size)
	if in.isFastLink() {
		copy(target, in.iblock())
	} else {
		r, err := in.open()
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, target); err != nil {
			return fmt.Errorf("symbolic link's target: %w", err)
		}
	}
	if bytes.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("symbolic link's target %q holds a NUL: %w", target, ErrCorrupt)
	}
	in.Target = string(target)
	return nil
}

// inlineContent gives the content of an inode with FlagInlineData: the block
// map's 60 bytes, then the value of the attribute system.data.
func (in *Inode) inlineContent() ([]byte, error) {
	if !in.f.sb.has(incompatInlineData) {
		return nil, fmt.Errorf("inline data without feature inline_data: %w", ErrCorrupt)
	}
	data := append(append([]byte(nil), in.iblock()...), in.inline...)
	if in.Size > uint64(len(data)) {
		return nil, fmt.Errorf("inline data of %d bytes for a size of %d: %w", len(data), in.Size, ErrCorrupt)
	}
	return data[:in.Size], nil
}

// Open gives the content of a regular file, or the entries of a directory as
// stored. Holes and unwritten extents read as zeros. The image is read only as
// the result is.
func (in *Inode) Open() (*io.SectionReader, error) {
	r, err := in.open()
	if err != nil {
		return nil, fmt.Errorf("opening inode %d: %w", in.Number, err)
	}
	return r, nil
}

func (in *Inode) open() (*io.SectionReader, error) {
	if k := in.RawMode & typeMask; k != typeRegular && k != typeDir && k != typeSymlink {
		return nil, fmt.Errorf("%v has no content", in.Mode)
	}
	if in.Flags&FlagInlineData != 0 {
		data, err := in.inlineContent()
		if err != nil {
			return nil, err
		}
		return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), nil
	}
	if in.Size > math.MaxInt64 {
		return nil, fmt.Errorf("size %d: %w", in.Size, ErrCorrupt)
	}
	m, err := in.extents()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(&content{f: in.f, m: m, size: int64(in.Size)}, 0, int64(in.Size)), nil
}

package xfsread

import (
	"fmt"
	"time"
)

// Types of inodes, as the mode has them.
const (
	TypeFIFO    = 0x1000
	TypeChar    = 0x2000
	TypeDir     = 0x4000
	TypeBlock   = 0x6000
	TypeFile    = 0x8000
	TypeSymlink = 0xa000
	TypeSocket  = 0xc000
)

// Formats of forks.
const (
	formatDev     = 0
	formatLocal   = 1
	formatExtents = 2
	formatBtree   = 3
)

const (
	flagRealtime = 1 << 0 // of Flags

	flag2Bigtime  = 1 << 3 // of Flags2
	flag2Reflink  = 1 << 1
	flag2Counters = 1 << 4 // extents are counted in wide fields

	coreSize  = 176
	maxTarget = 1024 // bytes of a symlink's target
)

var formatNames = []string{"device", "local", "extents", "btree"}

// Rdev is a device number.
type Rdev struct{ Major, Minor uint32 }

// Inode is one inode. Fields that its type does not have are zero.
type Inode struct {
	Number     uint64
	Type       uint16
	Mode       uint16 // permissions, setuid, setgid, sticky
	UID, GID   uint32
	Mtime      time.Time
	Links      uint32
	Size       int64 // of content or target; of a directory's names
	Target     string
	Rdev       Rdev
	Xattrs     map[string]string // full names to values as getxattr(2) gives them; nil if none
	Blocks     uint64            // of the image that it has
	Flags      uint16
	Flags2     uint64
	Generation uint32
	Project    uint32

	data, attr fork
	fs         *FS
}

// fork is what an inode has of data or xattrs.
type fork struct {
	format  uint8
	there   bool
	extents uint64
	b       []byte // what is in the inode itself
}

// Inode reads an inode by its number.
func (f *FS) Inode(number uint64) (*Inode, error) {
	in, err := f.inode(number)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	return in, nil
}

// inodePlace is where an inode is in the image.
func (f *FS) inodePlace(number uint64) (int64, error) {
	place, err := f.place(number>>f.sb.inodesLog, 1)
	if err != nil {
		return 0, err
	}
	return place + int64(number&(1<<f.sb.inodesLog-1))*int64(f.sb.InodeSize), nil
}

func (f *FS) inode(number uint64) (*Inode, error) {
	place, err := f.inodePlace(number)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.sb.InodeSize)
	if err := f.readAt(b, place, "inode"); err != nil {
		return nil, err
	}
	in := &Inode{
		fs: f, Number: number, Type: be.Uint16(b[2:]) & 0xf000, Mode: be.Uint16(b[2:]) & 0o7777, UID: be.Uint32(b[8:]), GID: be.Uint32(b[12:]), Links: be.Uint32(b[16:]),
		Project: uint32(be.Uint16(b[22:]))<<16 | uint32(be.Uint16(b[20:])), Size: int64(be.Uint64(b[56:])), Blocks: be.Uint64(b[64:]),
		Flags: be.Uint16(b[90:]), Generation: be.Uint32(b[92:]), Flags2: be.Uint64(b[120:]),
	}
	switch {
	case be.Uint16(b) != 0x494e:
		return nil, fmt.Errorf("magic %#04x: %w", be.Uint16(b), ErrCorrupt)
	case b[4] != 3:
		return nil, fmt.Errorf("version %d: %w", b[4], ErrCorrupt)
	case be.Uint64(b[152:]) != number:
		return nil, fmt.Errorf("it says that it is inode %d: %w", be.Uint64(b[152:]), ErrCorrupt)
	case [16]byte(b[160:]) != f.sb.MetaUUID:
		return nil, fmt.Errorf("it is of another filesystem: %w", ErrCorrupt)
	case be.Uint16(b[2:]) == 0:
		return nil, fmt.Errorf("it is free: %w", ErrCorrupt)
	case in.Size < 0:
		return nil, fmt.Errorf("a size of %d bytes: %w", uint64(in.Size), ErrCorrupt)
	}
	if err := f.verify(b, 100, "core"); err != nil {
		return nil, err
	}
	in.Mtime = mtime(be.Uint64(b[40:]), in.Flags2&flag2Bigtime != 0)
	if err := in.forks(b); err != nil {
		return nil, err
	}
	if err := in.content(); err != nil {
		return nil, err
	}
	in.Xattrs, err = in.readXattrs()
	return in, err
}

// mtime is a time on disk: seconds and nanoseconds since 1970, or nanoseconds since 1901.
func mtime(v uint64, big bool) time.Time {
	if !big {
		return time.Unix(int64(int32(v>>32)), int64(uint32(v))).UTC()
	}
	return time.Unix(int64(v/1e9)-1<<31, int64(v%1e9)).UTC()
}

// forks finds where data and xattrs are in the inode.
func (in *Inode) forks(b []byte) error {
	room := b[coreSize:]
	in.data = fork{format: b[5], there: true, extents: uint64(be.Uint32(b[76:])), b: room}
	in.attr = fork{format: b[83], extents: uint64(be.Uint16(b[80:]))}
	if in.Flags2&flag2Counters != 0 {
		in.data.extents, in.attr.extents = be.Uint64(b[24:]), uint64(be.Uint32(b[76:]))
	}
	if at := int(b[82]) * 8; at > 0 {
		if at >= len(room) {
			return fmt.Errorf("xattrs at byte %d of %d: %w", at, len(room), ErrCorrupt)
		}
		in.data.b, in.attr.b, in.attr.there = room[:at], room[at:], true
	}
	if in.attr.there && (in.attr.format < formatLocal || in.attr.format > formatBtree) {
		return fmt.Errorf("xattrs of format %d: %w", in.attr.format, ErrCorrupt)
	}
	return nil
}

// content reads what depends on the type and is not large.
func (in *Inode) content() error {
	lowest, highest := uint8(formatExtents), uint8(formatBtree)
	switch in.Type {
	case TypeFile:
		if in.Flags&flagRealtime != 0 {
			return fmt.Errorf("its content is in a realtime section: %w", ErrUnsupported)
		}
	case TypeDir, TypeSymlink:
		lowest = formatLocal
	case TypeBlock, TypeChar, TypeFIFO, TypeSocket:
		lowest, highest = formatDev, formatDev
	default:
		return fmt.Errorf("type %#x: %w", in.Type, ErrCorrupt)
	}
	if in.data.format < lowest || in.data.format > highest {
		return fmt.Errorf("data of format %d for type %#x: %w", in.data.format, in.Type, ErrCorrupt)
	}
	switch in.Type {
	case TypeSymlink:
		return in.target()
	case TypeBlock, TypeChar:
		if len(in.data.b) < 4 {
			return fmt.Errorf("a device number in %d bytes: %w", len(in.data.b), ErrCorrupt)
		}
		v := be.Uint32(in.data.b)
		in.Rdev = Rdev{v >> 18 & 0x3fff, v & 0x3ffff}
	}
	return nil
}

// target reads a symlink.
func (in *Inode) target() error {
	if in.Size == 0 || in.Size > maxTarget {
		return fmt.Errorf("a symlink with a target of %d bytes, the limits are 1 and %d: %w", in.Size, maxTarget, ErrCorrupt)
	}
	if in.data.format == formatLocal {
		if in.Size > int64(len(in.data.b)) {
			return fmt.Errorf("a target of %d bytes where there is room for %d: %w", in.Size, len(in.data.b), ErrCorrupt)
		}
		in.Target = string(in.data.b[:in.Size])
		return nil
	}
	list, _, err := in.extents(&in.data)
	if err != nil {
		return err
	}
	var target []byte
	for _, x := range list {
		part, err := in.targetPart(x, len(target))
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if target = append(target, part...); int64(len(target)) >= in.Size {
			break
		}
	}
	if int64(len(target)) != in.Size {
		return fmt.Errorf("a target of %d bytes, its blocks have %d: %w", in.Size, len(target), ErrCorrupt)
	}
	in.Target = string(target)
	return nil
}

const (
	targetMagic = 0x58534c4d // "XSLM"
	valueMagic  = 0x5841524d // "XARM"
	valueHead   = 56         // both have the same
)

// targetPart reads what an extent has of a target.
func (in *Inode) targetPart(x Extent, at int) ([]byte, error) {
	n := x.Count << in.fs.sb.blockLog
	if n > maxTarget+maxBlock || x.Unwritten {
		return nil, fmt.Errorf("an extent of %d bytes: %w", n, ErrCorrupt)
	}
	b := make([]byte, n)
	if err := in.fs.readAt(b, x.place, "target"); err != nil {
		return nil, err
	}
	return in.fs.part(b, targetMagic, x.place, in.Number, at)
}

// part takes what a block has of a target or value, of which it is the part from at on.
func (f *FS) part(b []byte, magic uint32, place int64, owner uint64, at int) ([]byte, error) {
	n := be.Uint32(b[8:])
	switch {
	case be.Uint32(b) != magic:
		return nil, fmt.Errorf("magic %#x, want %#x: %w", be.Uint32(b), magic, ErrCorrupt)
	case uint64(be.Uint32(b[4:])) != uint64(at):
		return nil, fmt.Errorf("a part from byte %d on, want %d: %w", be.Uint32(b[4:]), at, ErrCorrupt)
	case n == 0 || uint64(n) > uint64(len(b)-valueHead):
		return nil, fmt.Errorf("a part of %d bytes: %w", n, ErrCorrupt)
	}
	return b[valueHead : valueHead+n], f.itself(b, valueLayout, place, owner, "a part")
}

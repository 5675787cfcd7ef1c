package btrfsread

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Types of inodes, as directories have them.
const (
	TypeFile    = 1
	TypeDir     = 2
	TypeChar    = 3
	TypeBlock   = 4
	TypeFIFO    = 5
	TypeSocket  = 6
	TypeSymlink = 7
	typeOfXattr = 8
)

// types gives the type of the upper bits of a mode.
var types = map[uint32]uint8{
	0x1000: TypeFIFO, 0x2000: TypeChar, 0x4000: TypeDir, 0x6000: TypeBlock, 0x8000: TypeFile, 0xA000: TypeSymlink, 0xC000: TypeSocket,
}

// Limits, in bytes.
const (
	maxBase       = 255  // a component of a name
	maxName       = 4095 // a whole name
	maxTarget     = 4095 // a symlink's target, as on Linux
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrs     = 16 << 20 // all of one inode
	inodeItemSize = 160
	nameHead      = 30
	minorBits     = 20 // of a device number
)

// Rdev is a device number.
type Rdev struct{ Major, Minor uint32 }

// Inode is one inode. Fields that its type does not have are zero.
type Inode struct {
	Number   uint64
	Type     uint8
	Mode     uint16 // permissions, setuid, setgid, sticky
	UID, GID uint32
	Links    uint32
	Size     uint64 // of content or target; of a directory's names, each twice
	Bytes    uint64 // of the extents that are not holes
	Target   string
	Rdev     Rdev
	Xattrs   map[string]string

	Atime, Ctime, Mtime, Otime time.Time // UTC; the last is when it was made

	Flags, Sequence, Generation, Transid uint64

	fs *FS
}

// Inode reads an inode by its number.
func (f *FS) Inode(number uint64) (*Inode, error) {
	in, err := f.inode(number)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	return in, nil
}

func (f *FS) inode(number uint64) (*Inode, error) {
	b, err := f.tree.get(key{number, typeInode, 0})
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("there is none: %w", ErrCorrupt)
	}
	in, err := f.parseInode(number, b)
	if err != nil {
		return nil, err
	}
	if in.Xattrs, err = f.xattrs(number); err != nil {
		return nil, err
	}
	if in.Type == TypeSymlink {
		in.Target, err = in.target()
	}
	return in, err
}

func (f *FS) parseInode(number uint64, b []byte) (*Inode, error) {
	if len(b) != inodeItemSize {
		return nil, fmt.Errorf("an inode of %d bytes: %w", len(b), ErrCorrupt)
	}
	mode := le.Uint32(b[52:])
	in := &Inode{
		fs: f, Number: number, Type: types[mode&0xF000], Mode: uint16(mode & 0o7777), UID: le.Uint32(b[44:]), GID: le.Uint32(b[48:]), Links: le.Uint32(b[40:]),
		Size: le.Uint64(b[16:]), Bytes: le.Uint64(b[24:]), Generation: le.Uint64(b), Transid: le.Uint64(b[8:]), Flags: le.Uint64(b[64:]), Sequence: le.Uint64(b[72:]),
	}
	switch {
	case in.Type == 0 || mode&^0xFFFF != 0:
		return nil, fmt.Errorf("mode %#o: %w", mode, ErrCorrupt)
	case in.Size > 1<<63-1:
		return nil, fmt.Errorf("size %d: %w", in.Size, ErrCorrupt)
	}
	if in.Type == TypeChar || in.Type == TypeBlock {
		v := le.Uint64(b[56:])
		if v > 1<<32-1 {
			return nil, fmt.Errorf("device number %#x: %w", v, ErrCorrupt)
		}
		in.Rdev = Rdev{uint32(v >> minorBits), uint32(v & (1<<minorBits - 1))}
	}
	for i, t := range []*time.Time{&in.Atime, &in.Ctime, &in.Mtime, &in.Otime} {
		at := b[112+12*i:]
		sec, nsec := int64(le.Uint64(at)), le.Uint32(at[8:])
		if nsec >= 1e9 {
			return nil, fmt.Errorf("a time with %d nanoseconds: %w", nsec, ErrCorrupt)
		}
		*t = time.Unix(sec, int64(nsec)).UTC()
	}
	return in, nil
}

// target reads a symlink's target.
func (in *Inode) target() (string, error) {
	if in.Size == 0 || in.Size > maxTarget {
		return "", fmt.Errorf("a target of %d bytes: %w", in.Size, ErrCorrupt)
	}
	b := make([]byte, in.Size)
	x, err := in.extents()
	if err == nil && (len(x) != 1 || x[0].Kind != Inline || x[0].Compression != 0 || uint64(len(x[0].inline)) < in.Size) {
		err = fmt.Errorf("its target is not in line: %w", ErrCorrupt)
	}
	if err != nil {
		return "", err
	}
	copy(b, x[0].inline) // mkfs.btrfs --rootdir ends it with a NUL
	if slices.Contains(b, 0) {
		return "", fmt.Errorf("the target %q: %w", b, ErrCorrupt)
	}
	return string(b), nil
}

// entry is a name: of an inode in a directory, or of an xattr.
type entry struct {
	base     string
	location key
	transid  uint64
	kind     uint8
	value    string // of an xattr
	index    uint64 // of a directory
}

// parseNames reads the names of an item: as many as have one hash.
func parseNames(b []byte) ([]entry, error) {
	var list []entry
	for len(b) > 0 {
		if len(b) < nameHead {
			return nil, fmt.Errorf("a name: %d bytes are left over: %w", len(b), ErrCorrupt)
		}
		value, base := int(le.Uint16(b[25:])), int(le.Uint16(b[27:]))
		if base == 0 || base > maxBase || len(b) < nameHead+base+value {
			return nil, fmt.Errorf("a name of %d bytes and a value of %d in %d: %w", base, value, len(b), ErrCorrupt)
		}
		end := nameHead + base + value
		list = append(list, entry{
			base: string(b[nameHead : nameHead+base]), location: readKey(b), transid: le.Uint64(b[keySize:]), kind: b[29], value: string(b[nameHead+base : end]),
		})
		b = b[end:]
	}
	return list, nil
}

// xattrs reads an inode's attributes, nil if it has none.
func (f *FS) xattrs(number uint64) (map[string]string, error) {
	var all map[string]string
	total := 0
	s := f.tree.seek(key{number, typeXattr, 0})
	for ; s.more(number, typeXattr); s.next() {
		list, err := parseNames(s.data)
		if err != nil {
			return nil, fmt.Errorf("xattrs: %w", err)
		}
		for _, e := range list {
			switch _, twice := all[e.base]; {
			case twice:
				return nil, fmt.Errorf("xattr %q occurs twice: %w", e.base, ErrCorrupt)
			case strings.IndexByte(e.base, 0) >= 0 || e.kind != typeOfXattr:
				return nil, fmt.Errorf("xattr %q of type %d: %w", e.base, e.kind, ErrCorrupt)
			case uint64(nameHash(e.base)) != s.key.offset:
				return nil, fmt.Errorf("xattr %q with the hash %#x: %w", e.base, s.key.offset, ErrCorrupt)
			}
			if total += len(e.base) + len(e.value); total > maxXattrs {
				return nil, fmt.Errorf("xattrs of more than %d bytes: %w", maxXattrs, ErrUnsupported)
			}
			if all == nil {
				all = map[string]string{}
			}
			all[e.base] = e.value
		}
	}
	return all, s.err
}

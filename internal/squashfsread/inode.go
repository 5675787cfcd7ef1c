package squashfsread

import (
	"fmt"
	"time"
)

// Types of inodes; extended inodes have 7 more.
const (
	TypeDir     = 1
	TypeFile    = 2
	TypeSymlink = 3
	TypeBlock   = 4
	TypeChar    = 5
	TypeFIFO    = 6
	TypeSocket  = 7
)

const (
	none      = 1<<32 - 1 // no fragment, no xattrs
	maxTarget = 4095      // bytes of a symlink's target, as on Linux
)

// Rdev is a device number.
type Rdev struct{ Major, Minor uint32 }

// Inode is one inode. Fields that its type does not have are zero.
type Inode struct {
	Ref      uint64 // where it is in the inode table
	Type     uint16 // the basic one
	Extended bool
	Mode     uint16 // permissions, setuid, setgid, sticky
	UID, GID uint32
	Mtime    time.Time
	Number   uint32
	Links    uint32
	Size     uint64 // of content or target; of a directory's listing, and 3 more
	Target   string
	Rdev     Rdev
	Xattr    uint32 // index; 2^32-1 is none
	Xattrs   map[string]string

	// Of regular files.
	Start            uint64 // of the blocks in the image
	Sparse           uint64 // bytes in holes, by extended inodes
	Fragment, Offset uint32 // 2^32-1 is none
	blocks           cursor // their sizes follow

	// Of directories.
	Parent              uint32
	listBlock, listByte uint32
	indexes             uint16
	index               cursor // follows

	fs *FS
}

// HasFragment tells whether the end of a file is in a block with other files.
func (in *Inode) HasFragment() bool { return in.Fragment != none }

// Inode reads an inode by its reference.
func (f *FS) Inode(ref uint64) (*Inode, error) {
	in, err := f.inode(ref)
	if err != nil {
		return nil, fmt.Errorf("inode %#x: %w", ref, err)
	}
	return in, nil
}

func (f *FS) inode(ref uint64) (*Inode, error) {
	at := f.sb.InodeTable + int64(ref>>16)
	if ref>>48 != 0 || at >= f.sb.DirTable || ref&0xffff >= metaSize {
		return nil, fmt.Errorf("it is not in the inode table: %w", ErrCorrupt)
	}
	c := cursor{fs: f, what: "inode table", at: at, end: f.sb.DirTable, off: int(ref & 0xffff)}
	var b [16]byte
	if err := c.read(b[:]); err != nil {
		return nil, err
	}
	in := &Inode{
		fs: f, Ref: ref, Type: le.Uint16(b[:]), Mode: le.Uint16(b[2:]), Mtime: time.Unix(int64(le.Uint32(b[8:])), 0).UTC(), Number: le.Uint32(b[12:]),
		Xattr: none, Fragment: none, Links: 1,
	}
	if in.Type > TypeSocket {
		in.Type, in.Extended = in.Type-TypeSocket, true
	}
	switch {
	case in.Type < TypeDir || in.Type > TypeSocket:
		return nil, fmt.Errorf("type %d: %w", le.Uint16(b[:]), ErrCorrupt)
	case in.Mode&^0o7777 != 0:
		return nil, fmt.Errorf("mode %#o: %w", in.Mode, ErrCorrupt)
	case in.Number == 0 || in.Number > f.sb.Inodes:
		return nil, fmt.Errorf("number %d of %d: %w", in.Number, f.sb.Inodes, ErrCorrupt)
	}
	var err error
	if in.UID, err = f.id(le.Uint16(b[4:])); err != nil {
		return nil, err
	}
	if in.GID, err = f.id(le.Uint16(b[6:])); err != nil {
		return nil, err
	}
	if err := in.rest(&c); err != nil {
		return nil, err
	}
	if in.Xattr != none {
		in.Xattrs, err = f.readXattrs(in.Xattr)
	}
	return in, err
}

// id is an owner by its index.
func (f *FS) id(i uint16) (uint32, error) {
	if i >= f.sb.IDs {
		return 0, fmt.Errorf("owner %d of %d: %w", i, f.sb.IDs, ErrCorrupt)
	}
	var b [4]byte
	err := f.lookup("id table", f.sb.IDTable, uint32(i), b[:])
	return le.Uint32(b[:]), err
}

// rest reads what depends on the type.
func (in *Inode) rest(c *cursor) error {
	switch in.Type {
	case TypeDir:
		return in.dir(c)
	case TypeFile:
		return in.file(c)
	}
	var b [8]byte
	var rest []byte
	switch in.Type {
	case TypeSymlink, TypeBlock, TypeChar:
		rest = b[:8]
	default:
		rest = b[:4]
	}
	if err := c.read(rest); err != nil {
		return err
	}
	in.Links = le.Uint32(b[:])
	v := le.Uint32(b[4:])
	switch in.Type {
	case TypeSymlink:
		if v == 0 || v > maxTarget {
			return fmt.Errorf("a symlink with a target of %d bytes, the limits are 1 and %d: %w", v, maxTarget, ErrCorrupt)
		}
		target := make([]byte, v)
		if err := c.read(target); err != nil {
			return err
		}
		in.Target, in.Size = string(target), uint64(v)
	case TypeBlock, TypeChar:
		in.Rdev = Rdev{v >> 8 & 0xfff, v&0xff | v>>12&^0xff}
	}
	return in.xattr(c)
}

// xattr reads the index at the end of an extended inode.
func (in *Inode) xattr(c *cursor) error {
	if !in.Extended {
		return nil
	}
	var b [4]byte
	err := c.read(b[:])
	in.Xattr = le.Uint32(b[:])
	return err
}

func (in *Inode) file(c *cursor) error {
	if in.Extended {
		var b [40]byte
		if err := c.read(b[:]); err != nil {
			return err
		}
		in.Start, in.Size, in.Sparse, in.Links = le.Uint64(b[:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint32(b[24:])
		in.Fragment, in.Offset, in.Xattr = le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:])
	} else {
		var b [16]byte
		if err := c.read(b[:]); err != nil {
			return err
		}
		in.Start, in.Fragment, in.Offset, in.Size = uint64(le.Uint32(b[:])), le.Uint32(b[4:]), le.Uint32(b[8:]), uint64(le.Uint32(b[12:]))
	}
	if in.Size > 1<<62 {
		return fmt.Errorf("a file of %d bytes: %w", in.Size, ErrCorrupt)
	}
	if in.HasFragment() && in.Fragment >= in.fs.sb.Fragments {
		return fmt.Errorf("fragment %d of %d: %w", in.Fragment, in.fs.sb.Fragments, ErrCorrupt)
	}
	in.blocks = *c
	return nil
}

func (in *Inode) dir(c *cursor) error {
	if in.Extended {
		var b [24]byte
		if err := c.read(b[:]); err != nil {
			return err
		}
		in.Links, in.Size, in.listBlock, in.Parent = le.Uint32(b[:]), uint64(le.Uint32(b[4:])), le.Uint32(b[8:]), le.Uint32(b[12:])
		in.indexes, in.listByte, in.Xattr = le.Uint16(b[16:]), uint32(le.Uint16(b[18:])), le.Uint32(b[20:])
		in.index = *c
	} else {
		var b [16]byte
		if err := c.read(b[:]); err != nil {
			return err
		}
		in.listBlock, in.Links, in.Size = le.Uint32(b[:]), le.Uint32(b[4:]), uint64(le.Uint16(b[8:]))
		in.listByte, in.Parent = uint32(le.Uint16(b[10:])), le.Uint32(b[12:])
	}
	if in.Size < dirExtra && in.Size != 0 || in.listByte >= metaSize {
		return fmt.Errorf("a directory of %d bytes from byte %d on: %w", in.Size, in.listByte, ErrCorrupt)
	}
	return nil
}

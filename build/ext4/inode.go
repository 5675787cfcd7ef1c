package ext4

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

const (
	inodeSize      = 256 // bytes
	extraSize      = 32  // bytes of i_extra_isize: fields up to i_projid
	inodesPerBlock = blockSize / inodeSize

	rootInode    = 2
	journalInode = 8
	firstInode   = 11 // s_first_ino; lost+found by custom

	maxLinks       = 65000 // EXT4_LINK_MAX
	maxFastSymlink = 59    // bytes that fit in i_block with a NUL
	maxSymlink     = blockSize - 1
	maxMajor       = 1<<12 - 1
	maxMinor       = 1<<20 - 1

	flagExtents = 0x80000 // EXT4_EXTENTS_FL
	flagIndex   = 0x1000  // EXT4_INDEX_FL
)

// Times have 34 bits of seconds counted from 1970, the lower 32 of them signed.
// The last quarter, from 2310-04-04 on, is not used: old kernels wrote times
// before 1970 there, and e2fsck calls what stands there a defect.
var (
	minTime = time.Unix(-1<<31, 0).UTC()
	maxTime = time.Unix(3<<32-1<<31-1, 999999999).UTC()
)

func inRange(t time.Time) bool { return !t.Before(minTime) && !t.After(maxTime) }

// inode is one inode on its way to the inode table.
type inode struct {
	node   *tree.Node
	dir    *inode // where its first name is; the root is in itself
	base   string // its first name there
	number uint32
	links  uint32

	// Filled in by placeInode.
	iblock     [60]byte
	flags      uint32
	size       uint64
	blocks     uint64 // of blockSize, data and metadata
	xattrBlock uint64
}

// name is the inode's first name, for messages.
func (in *inode) name() string {
	if in.dir == nil || in.dir == in {
		return in.base
	}
	name := in.base
	for in = in.dir; in.dir != in; in = in.dir {
		name = in.base + "/" + name
	}
	return name
}

// inodes is every inode of the image.
type inodes struct {
	list    []*inode
	of      map[*tree.Node]*inode
	journal *inode // nil without a journal; not in list
	last    uint32 // the highest number in use
}

// check refuses what an inode cannot hold.
func (in *inode) check() error {
	n := in.node
	limit := func(advice, format string, args ...any) error {
		return &LimitError{in.name(), fmt.Sprintf(format, args...), advice}
	}
	switch mode := n.Mode.Type(); {
	case !n.Mode.IsDir() && n.Links() > maxLinks:
		return limit("", "%d hard links, the limit is %d", n.Links(), maxLinks)
	case !inRange(n.ModTime):
		return limit("set another time in the image", "modification time %s, the limits are %s and %s",
			n.ModTime.UTC().Format(time.RFC3339), minTime.Format(time.RFC3339), maxTime.Format(time.RFC3339))
	case mode == fs.ModeSymlink && (n.Target == "" || len(n.Target) > maxSymlink):
		return limit("", "a symlink target of %d bytes, the limits are 1 and %d", len(n.Target), maxSymlink)
	case strings.IndexByte(n.Target, 0) >= 0:
		return limit("", "a symlink target with a NUL byte")
	case mode == 0 && n.Size() > maxFileSize:
		return limit("", "a file of %d bytes, the limit is %d", n.Size(), int64(maxFileSize))
	case mode&fs.ModeDevice != 0 && (n.Rdev.Major > maxMajor || n.Rdev.Minor > maxMinor):
		return limit("", "device number %d:%d, the limit is %d:%d", n.Rdev.Major, n.Rdev.Minor, maxMajor, maxMinor)
	}
	return nil
}

// placeInode writes the blocks an inode needs beside its record, and remembers
// what the record will say.
func (w *Writer) placeInode(files *inodes, in *inode) error {
	xattrs, err := w.packXattrs(in)
	if err != nil {
		return err
	}
	if xattrs.block != nil {
		if in.xattrBlock, err = w.placeXattrs(xattrs.block); err != nil {
			return err
		}
		in.blocks++
	}
	n := in.node
	switch n.Mode.Type() {
	case fs.ModeDir:
		return w.placeDir(files, in)
	case fs.ModeSymlink:
		return w.placeSymlink(in)
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		in.setRdev(n.Rdev)
		return nil
	case 0:
		return w.placeFile(in)
	}
	return nil // FIFOs and sockets are their inode
}

func (w *Writer) placeFile(in *inode) error {
	c, ok := in.node.Content.(*content)
	if in.node.Content != nil && (!ok || c.w != w) {
		stored, err := w.adoptContent(in.node.Content)
		if err != nil {
			return fmt.Errorf("writing %q: %w", "/"+in.name(), err)
		}
		in.node.Content, c = stored, stored.(*content)
	}
	if c == nil {
		c = &content{}
	}
	in.size = uint64(c.size)
	return w.mapExtents(in, c.extents)
}

// adoptContent copies content that is not in the image yet.
func (w *Writer) adoptContent(c tree.Content) (stored tree.Content, err error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	if stored, err = w.Store(c.Size(), r); err == nil {
		_, err = io.Copy(io.Discard, r) // content that is checked says at its end whether it was right
	}
	if e := r.Close(); err == nil {
		err = e
	}
	return stored, err
}

func (w *Writer) placeSymlink(in *inode) error {
	target := in.node.Target
	in.size = uint64(len(target))
	if len(target) <= maxFastSymlink {
		copy(in.iblock[:], target)
		return nil
	}
	block := make([]byte, blockSize)
	copy(block, target)
	extents, err := w.place(block)
	if err != nil {
		return err
	}
	return w.mapExtents(in, extents)
}

// place writes whole blocks to new places.
func (w *Writer) place(data []byte) ([]extent, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	runs, err := w.alloc.takeAll(uint64(len(data) / blockSize))
	if err != nil {
		return nil, err
	}
	c := &content{}
	logical := uint32(0)
	for _, r := range runs {
		n := int(r.n) * blockSize
		if err := w.writeAt(data[:n], r.start); err != nil {
			return nil, err
		}
		w.appendExtent(c, logical, r)
		data, logical = data[n:], logical+uint32(r.n)
	}
	return c.extents, nil
}

// setRdev stores a device number as the kernel does: the old 16-bit form in the
// first word when it fits, else the 32-bit form in the second.
func (in *inode) setRdev(r tree.Rdev) {
	if r.Major < 256 && r.Minor < 256 {
		binary.LittleEndian.PutUint32(in.iblock[0:], r.Major<<8|r.Minor)
		return
	}
	binary.LittleEndian.PutUint32(in.iblock[4:], r.Minor&0xff|r.Major<<8|(r.Minor&^0xff)<<12)
}

// fileType is how a file type is written in a directory entry.
func fileType(m fs.FileMode) uint8 {
	switch m.Type() {
	case fs.ModeDir:
		return 2
	case fs.ModeSymlink:
		return 7
	case fs.ModeDevice:
		return 4
	case fs.ModeDevice | fs.ModeCharDevice:
		return 3
	case fs.ModeNamedPipe:
		return 5
	case fs.ModeSocket:
		return 6
	}
	return 1
}

// encode writes the inode's record. inline is the xattrs that stand in it.
func (w *Writer) encodeInode(b []byte, in *inode, inline []byte) {
	le := binary.LittleEndian
	n := in.node
	le.PutUint16(b[0:], uint16(tree.UnixMode(n.Mode))) // i_mode
	le.PutUint16(b[2:], uint16(n.UID))                 // i_uid
	le.PutUint32(b[4:], uint32(in.size))               // i_size_lo
	le.PutUint16(b[24:], uint16(n.GID))                // i_gid
	le.PutUint16(b[26:], uint16(in.links))             // i_links_count
	le.PutUint32(b[28:], uint32(in.blocks*8))          // i_blocks_lo, in 512-byte sectors
	le.PutUint32(b[32:], in.flags)                     // i_flags
	copy(b[40:100], in.iblock[:])                      // i_block
	le.PutUint32(b[104:], uint32(in.xattrBlock))
	le.PutUint32(b[108:], uint32(in.size>>32))       // i_size_high
	le.PutUint16(b[116:], uint16(in.blocks*8>>32))   // l_i_blocks_high
	le.PutUint16(b[118:], uint16(in.xattrBlock>>32)) // l_i_file_acl_high
	le.PutUint16(b[120:], uint16(n.UID>>16))         // l_i_uid_high
	le.PutUint16(b[122:], uint16(n.GID>>16))         // l_i_gid_high
	le.PutUint16(b[128:], extraSize)                 // i_extra_isize
	putTime(b, 8, 140, n.ModTime)                    // i_atime
	putTime(b, 12, 132, w.opt.Epoch)                 // i_ctime
	putTime(b, 16, 136, n.ModTime)                   // i_mtime
	putTime(b, 144, 148, w.opt.Epoch)                // i_crtime
	copy(b[128+extraSize:], inline)
	sum := crc32c(w.inodeSeed(in.number), b) // the checksum's own bytes are still zero
	le.PutUint16(b[124:], uint16(sum))       // l_i_checksum_lo
	le.PutUint16(b[130:], uint16(sum>>16))   // i_checksum_hi
}

// putTime writes the low 32 bits of a time's seconds at lo, and two more bits of
// seconds with 30 bits of nanoseconds at extra.
func putTime(b []byte, lo, extra int, t time.Time) {
	sec := t.Unix()
	epoch := uint32((sec-int64(int32(sec)))>>32) & 3
	binary.LittleEndian.PutUint32(b[lo:], uint32(sec))
	binary.LittleEndian.PutUint32(b[extra:], uint32(t.Nanosecond())<<2|epoch)
}

// inodeSeed is what the checksums of an inode and its blocks start from: the
// filesystem's seed, the inode's number and its generation, which is 0.
func (w *Writer) inodeSeed(number uint32) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], number)
	return crc32c(w.seed, b[:])
}

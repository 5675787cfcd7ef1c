package ext4

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Extended attributes: https://docs.kernel.org/filesystems/ext4/attributes.html
const (
	xattrMagic      = 0xea020000
	xattrEntrySize  = 16                              // without the name
	xattrInInode    = inodeSize - 128 - extraSize - 4 // bytes behind the magic number in an inode
	xattrHeaderSize = 32
	xattrInBlock    = blockSize - xattrHeaderSize
	xattrEnd        = 4 // bytes of zeros behind the last entry

	// maxXattrName is XATTR_NAME_MAX, in bytes, the prefix included: on the disk
	// there is room for more, but no program could ask Linux for it.
	maxXattrName = 255
)

// xattrPrefixes are the namespaces ext4 stores as a number. Names without one of
// these prefixes do not exist on Linux.
var xattrPrefixes = []struct {
	prefix string
	index  uint8
}{
	{"user.", 1},
	{"system.posix_acl_access", 2},
	{"system.posix_acl_default", 3},
	{"trusted.", 4},
	{"security.", 6},
}

// xattr is one attribute in its on-disk form.
type xattr struct {
	index uint8
	name  string // without the prefix
	value []byte
}

func (x xattr) entrySize() int { return xattrEntrySize + (len(x.name)+3)&^3 }
func (x xattr) valueSize() int { return (len(x.value) + 3) &^ 3 }

// hash is e_hash, over the name and the value.
func (x xattr) hash() uint32 {
	var h uint32
	for _, c := range []byte(x.name) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	value := append(slices.Clone(x.value), 0, 0, 0)
	for i := range x.valueSize() / 4 {
		h = h<<16 ^ h>>16 ^ binary.LittleEndian.Uint32(value[4*i:])
	}
	return h
}

// packedXattrs is an inode's attributes: what stands in the inode behind its
// fields, and a block that lacks only its address and checksum. Either may be nil.
type packedXattrs struct {
	inline, block []byte
}

// packXattrs lays out an inode's attributes. The inode is filled first, with the
// file capability before anything else: the kernel reads it at every exec.
func (w *Writer) packXattrs(in *inode) (packedXattrs, error) {
	all, err := w.diskXattrs(in)
	if err != nil || len(all) == 0 {
		return packedXattrs{}, err
	}
	var inline, block []xattr
	room, blockRoom := xattrInInode-xattrEnd, xattrInBlock-xattrEnd
	for _, x := range all {
		if size := x.entrySize() + x.valueSize(); size <= room {
			inline, room = append(inline, x), room-size
		} else {
			block, blockRoom = append(block, x), blockRoom-size
		}
	}
	if blockRoom < 0 {
		return packedXattrs{}, &LimitError{in.name(), fmt.Sprintf("xattrs of %d bytes with their names, the limit is %d beside %d in the inode",
			xattrInBlock-xattrEnd-blockRoom, xattrInBlock-xattrEnd, xattrInInode-xattrEnd-room), "remove or shorten some of them"}
	}
	var p packedXattrs
	if inline != nil {
		p.inline = make([]byte, 4+xattrInInode)
		binary.LittleEndian.PutUint32(p.inline, xattrMagic)
		putXattrs(p.inline[4:], inline, 0, 0)
	}
	if block != nil {
		p.block = xattrBlock(block)
	}
	return p, nil
}

// diskXattrs lists an inode's attributes in the order they are given room.
func (w *Writer) diskXattrs(in *inode) ([]xattr, error) {
	var all []xattr
	for full, value := range in.node.Xattrs {
		x, ok := splitXattr(full)
		if !ok {
			continue
		}
		x.value = []byte(value)
		if strings.IndexByte(x.name, 0) >= 0 {
			return nil, &LimitError{in.name(), fmt.Sprintf("an xattr name with a NUL byte, %q", full), ""}
		}
		if len(full) > maxXattrName {
			return nil, &LimitError{in.name(), fmt.Sprintf("an xattr name of %d bytes, the limit is %d", len(full), maxXattrName), ""}
		}
		if x.index == 2 || x.index == 3 {
			acl, err := diskACL(x.value)
			if err != nil {
				return nil, &LimitError{in.name(), fmt.Sprintf("%s: %v", full, err), ""}
			}
			x.value = acl
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b xattr) int {
		return cmp.Or(-cmp.Compare(a.rank(), b.rank()), a.compare(b))
	})
	return all, nil
}

// compare is the order of entries in a block, which the kernel searches by it.
func (x xattr) compare(y xattr) int {
	return cmp.Or(cmp.Compare(x.index, y.index), cmp.Compare(len(x.name), len(y.name)), strings.Compare(x.name, y.name))
}

func (x xattr) rank() int {
	if x.index == 6 && x.name == "capability" {
		return 1
	}
	return 0
}

func splitXattr(full string) (xattr, bool) {
	for _, p := range xattrPrefixes {
		name, ok := strings.CutPrefix(full, p.prefix)
		if !ok {
			continue
		}
		isACL := p.index == 2 || p.index == 3
		if isACL != (name == "") {
			continue
		}
		return xattr{index: p.index, name: name}, true
	}
	return xattr{}, false
}

// warnXattrs tells of attributes that are left out.
func (w *Writer) warnXattrs(in *inode) {
	var dropped []string
	for full := range in.node.Xattrs {
		if _, ok := splitXattr(full); !ok {
			dropped = append(dropped, full)
		}
	}
	if dropped == nil || w.opt.Warn == nil {
		return
	}
	slices.Sort(dropped)
	w.opt.Warn(fmt.Sprintf("dropped xattr %q of %q: Linux has no such namespace", dropped, "/"+in.name()))
}

func xattrBlock(entries []xattr) []byte {
	slices.SortFunc(entries, xattr.compare)
	b := make([]byte, blockSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], xattrMagic)
	le.PutUint32(b[4:], 1) // h_refcount
	le.PutUint32(b[8:], 1) // h_blocks
	var h uint32
	for _, x := range entries {
		h = h<<16 ^ h>>16 ^ x.hash()
	}
	le.PutUint32(b[12:], h) // h_hash
	putXattrs(b, entries, xattrHeaderSize, 0)
	return b
}

// putXattrs writes entries from byte at of b on, and their values from b's end
// backwards. Value offsets count from byte origin.
func putXattrs(b []byte, entries []xattr, at, origin int) {
	le := binary.LittleEndian
	end := len(b)
	for _, x := range entries {
		e := b[at:]
		e[0], e[1] = uint8(len(x.name)), x.index
		if len(x.value) > 0 {
			end -= x.valueSize()
			copy(b[end:], x.value)
			le.PutUint16(e[2:], uint16(end-origin)) // e_value_offs
		}
		le.PutUint32(e[8:], uint32(len(x.value))) // e_value_size
		le.PutUint32(e[12:], x.hash())            // e_hash
		copy(e[xattrEntrySize:], x.name)
		at += x.entrySize()
	}
}

// placeXattrs writes a block of attributes, whose checksum covers its address.
func (w *Writer) placeXattrs(b []byte) (uint64, error) {
	r, err := w.alloc.take(1)
	if err != nil {
		return 0, err
	}
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], r.start)
	sum := crc32c(crc32c(w.seed, at[:]), b) // h_checksum is still zero
	binary.LittleEndian.PutUint32(b[16:], sum)
	return r.start, w.writeAt(b, r.start)
}

// POSIX ACLs. In the xattr that programs see an entry has 8 bytes (tag,
// permissions, id) behind a version of 2; on disk entries that need no id have
// 4 bytes, behind a version of 1.
const (
	aclVersion     = 2
	aclDiskVersion = 1
	aclUser        = 0x02
	aclGroup       = 0x08
)

var aclTags = []uint16{0x01, aclUser, 0x04, aclGroup, 0x10, 0x20}

// diskACL turns an ACL into its on-disk form.
func diskACL(value []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(value) < 4 || (len(value)-4)%8 != 0 || le.Uint32(value) != aclVersion {
		return nil, fmt.Errorf("%d bytes that are not a POSIX ACL of version %d", len(value), aclVersion)
	}
	disk := le.AppendUint32(nil, aclDiskVersion)
	for e := value[4:]; len(e) > 0; e = e[8:] {
		tag := le.Uint16(e)
		if !slices.Contains(aclTags, tag) {
			return nil, fmt.Errorf("an ACL entry with the unknown tag %#x", tag)
		}
		disk = append(disk, e[:4]...)
		if tag == aclUser || tag == aclGroup {
			disk = append(disk, e[4:8]...)
		}
	}
	return disk, nil
}

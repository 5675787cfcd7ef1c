package xfsread

import (
	"fmt"
	"strings"
)

// Limits of an inode's xattrs, in bytes.
const (
	maxXattrName  = 255      // without the namespace
	maxXattrValue = 64 << 10 // Linux
	maxXattrs     = 16 << 20 // all of them together
	xattrOverhead = 64       // what a name counts beside its bytes
	attrLeafMagic = 0x3bee   //
	attrNodeMagic = 0x3ebe   //
	attrLeafHead  = 80       //
	attrNodeHead  = 64       //
	attrLevels    = 5        // of the tree
)

// Flags of an xattr.
const (
	attrLocal      = 1 << 0 // the value follows
	attrRoot       = 1 << 1
	attrSecure     = 1 << 2
	attrParent     = 1 << 3 // a pointer to a parent, which no program sees
	attrIncomplete = 1 << 7 // was being written; there is another one or none
)

// xattrs gathers the attributes of an inode.
type xattrs struct {
	in    *Inode
	p     pieces
	seen  map[uint64]bool // blocks
	all   map[string]string
	total int
}

// readXattrs reads the attributes of an inode, nil if it has none.
func (in *Inode) readXattrs() (map[string]string, error) {
	if !in.attr.there || in.attr.format == formatExtents && in.attr.extents == 0 {
		return nil, nil
	}
	x := xattrs{in: in, seen: map[uint64]bool{}, all: map[string]string{}}
	var err error
	if in.attr.format == formatLocal {
		err = x.short(in.attr.b)
	} else {
		err = x.blocks()
	}
	if err != nil {
		return nil, fmt.Errorf("xattrs: %w", err)
	}
	if len(x.all) == 0 {
		return nil, nil
	}
	return x.all, nil
}

// wanted tells whether an attribute is one that programs see.
func wanted(flags uint8) bool { return flags&(attrParent|attrIncomplete) == 0 }

// add takes an attribute.
func (x *xattrs) add(flags uint8, base, value []byte) error {
	prefix := "user."
	switch flags & (attrRoot | attrSecure) {
	case attrRoot:
		prefix = "trusted."
	case attrSecure:
		prefix = "security."
	case attrRoot | attrSecure:
		return fmt.Errorf("%q is of two namespaces: %w", base, ErrCorrupt)
	}
	name, text := prefix+string(base), string(value)
	if len(base) == 0 || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("the name %q: %w", name, ErrCorrupt)
	}
	var err error
	switch name {
	case "trusted.SGI_ACL_FILE":
		name = "system.posix_acl_access"
		text, err = acl(value)
	case "trusted.SGI_ACL_DEFAULT":
		name = "system.posix_acl_default"
		text, err = acl(value)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if _, twice := x.all[name]; twice {
		return fmt.Errorf("%q occurs twice: %w", name, ErrCorrupt)
	}
	if x.total += len(name) + len(text) + xattrOverhead; x.total > maxXattrs {
		return fmt.Errorf("more than %d bytes: %w", maxXattrs, ErrUnsupported)
	}
	x.all[name] = text
	return nil
}

// acl writes an access control list as getxattr(2) gives it.
func acl(b []byte) (string, error) {
	const head, entry, version, namedUser, namedGroup, nobody = 4, 12, 2, 2, 8, 1<<32 - 1
	if len(b) < head || uint64(len(b)-head) < uint64(be.Uint32(b))*entry {
		return "", fmt.Errorf("an access control list of %d bytes: %w", len(b), ErrCorrupt)
	}
	out := le.AppendUint32(nil, version)
	for i := range int(be.Uint32(b)) {
		e := b[head+i*entry:]
		tag, id := be.Uint32(e), be.Uint32(e[4:])
		if tag != namedUser && tag != namedGroup {
			id = nobody
		}
		if tag > 0xffff {
			return "", fmt.Errorf("an access control list with the tag %#x: %w", tag, ErrCorrupt)
		}
		out = le.AppendUint16(out, uint16(tag))
		out = le.AppendUint16(out, be.Uint16(e[8:]))
		out = le.AppendUint32(out, id)
	}
	return string(out), nil
}

// short reads attributes that are in the inode.
func (x *xattrs) short(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("%d bytes: %w", len(b), ErrCorrupt)
	}
	size, count := int(be.Uint16(b)), int(b[2])
	if size < 4 || size > len(b) {
		return fmt.Errorf("%d bytes where there is room for %d: %w", size, len(b), ErrCorrupt)
	}
	b = b[4:size]
	for range count {
		if len(b) < 3 || len(b) < 3+int(b[0])+int(b[1]) {
			return fmt.Errorf("they are longer than their %d bytes: %w", size, ErrCorrupt)
		}
		n, v := int(b[0]), int(b[1])
		if wanted(b[2]) {
			if err := x.add(b[2], b[3:3+n], b[3+n:3+n+v]); err != nil {
				return err
			}
		}
		b = b[3+n+v:]
	}
	return nil
}

// blocks reads attributes that are in blocks of their own.
func (x *xattrs) blocks() error {
	list, _, err := x.in.extents(&x.in.attr)
	if err != nil {
		return err
	}
	x.p = pieces{x.in.fs, list}
	return x.node(0, -1)
}

// read reads a block.
func (x *xattrs) read(block uint64) ([]byte, error) {
	b := make([]byte, x.in.fs.sb.BlockSize)
	place, err := x.p.read(b, block, "xattr block")
	if err != nil {
		return nil, err
	}
	return b, x.in.fs.itself(b, attrLayout, place, x.in.Number, fmt.Sprintf("xattr block %d", block))
}

// node reads the tree from a block down. The level of the first block is not known: -1.
func (x *xattrs) node(block uint64, level int) error {
	if x.seen[block] {
		return fmt.Errorf("block %d is met twice: %w", block, ErrCorrupt)
	}
	x.seen[block] = true
	b, err := x.read(block)
	if err != nil {
		return err
	}
	magic := be.Uint16(b[8:])
	if magic == attrLeafMagic && level <= 0 {
		return x.leaf(b, block)
	}
	n, is := int(be.Uint16(b[56:])), int(be.Uint16(b[58:]))
	switch {
	case magic != attrNodeMagic || level == 0:
		return fmt.Errorf("block %d: magic %#x: %w", block, magic, ErrCorrupt)
	case is == 0 || is > attrLevels || level > 0 && is != level:
		return fmt.Errorf("block %d: level %d: %w", block, is, ErrCorrupt)
	case n == 0 || n > (len(b)-attrNodeHead)/8:
		return fmt.Errorf("block %d: %d branches: %w", block, n, ErrCorrupt)
	}
	for i := range n {
		e := b[attrNodeHead+8*i:]
		if err := x.node(uint64(be.Uint32(e[4:])), is-1); err != nil {
			return err
		}
	}
	return nil
}

// leaf reads a block of attributes.
func (x *xattrs) leaf(b []byte, block uint64) error {
	n := int(be.Uint16(b[56:]))
	if n > (len(b)-attrLeafHead)/8 {
		return fmt.Errorf("block %d: %d names: %w", block, n, ErrCorrupt)
	}
	for i := range n {
		e := b[attrLeafHead+8*i:]
		at, flags := int(be.Uint16(e[4:])), e[6]
		if at < attrLeafHead+8*n || at > len(b)-4 {
			return fmt.Errorf("block %d: name %d is at %d: %w", block, i, at, ErrCorrupt)
		}
		if !wanted(flags) {
			continue
		}
		name, value, err := x.one(b[at:], flags&attrLocal != 0)
		if err == nil {
			err = x.add(flags, name, value)
		}
		if err != nil {
			return fmt.Errorf("block %d: name %d: %w", block, i, err)
		}
	}
	return nil
}

// one reads a name and its value.
func (x *xattrs) one(b []byte, local bool) (name, value []byte, err error) {
	long := fmt.Errorf("it is longer than the block: %w", ErrCorrupt)
	if local {
		v, n := int(be.Uint16(b)), int(b[2])
		if 3+n+v > len(b) {
			return nil, nil, long
		}
		return b[3 : 3+n], b[3+n : 3+n+v], nil
	}
	if len(b) < 9 || 9+int(b[8]) > len(b) {
		return nil, nil, long
	}
	name = b[9 : 9+int(b[8])]
	value, err = x.remote(uint64(be.Uint32(b)), be.Uint32(b[4:]))
	if err != nil {
		err = fmt.Errorf("value of %q: %w", name, err)
	}
	return name, value, err
}

// remote reads a value that has blocks of its own, each with a header.
func (x *xattrs) remote(block uint64, size uint32) ([]byte, error) {
	if size == 0 || size > maxXattrValue {
		return nil, fmt.Errorf("%d bytes, the limits are 1 and %d: %w", size, maxXattrValue, ErrCorrupt)
	}
	value := make([]byte, 0, size)
	b := make([]byte, x.in.fs.sb.BlockSize)
	for ; len(value) < int(size); block++ {
		place, err := x.p.read(b, block, "value")
		if err != nil {
			return nil, err
		}
		part, err := x.in.fs.part(b, valueMagic, place, x.in.Number, len(value))
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", block, err)
		}
		value = append(value, part...)
	}
	if len(value) != int(size) {
		return nil, fmt.Errorf("%d bytes, its blocks have %d: %w", size, len(value), ErrCorrupt)
	}
	return value, nil
}

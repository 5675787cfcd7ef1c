package ext4read

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// checkXattrBlock claims an inode's attribute block, or counts one more owner of
// it, and examines it once.
func (c *checker) checkXattrBlock(where string, in *Inode) {
	if x := c.xattrs[in.xattrBlock]; x != nil {
		x.owners++
		return
	}
	list, raw, err := in.blockXattrs()
	if err != nil {
		c.bad(where, "%v", err)
		return
	}
	if !c.claim(where, "attribute block", in.xattrBlock, 1) {
		return
	}
	c.xattrs[in.xattrBlock] = &xattrShare{count: le.Uint32(raw[4:]), owners: 1}
	where = fmt.Sprintf("attribute block %d", in.xattrBlock)
	if c.f.sb.has(roMetadataCsum) && !c.f.xattrBlockChecksumOK(in.xattrBlock, raw) {
		c.bad(where, "checksum does not match")
	}
	if !allZero(raw[0x14:0x20]) {
		c.bad(where, "reserved bytes are not zero")
	}
	if len(list) == 0 {
		c.bad(where, "no attributes")
	}
	whole := uint32(0)
	for i, e := range list {
		c.checkXattr(where, &e)
		if i > 0 && compareXattrs(&list[i-1], &e) >= 0 {
			c.bad(where, "attribute %q is not after %q", e.name, list[i-1].name)
		}
		whole = bits.RotateLeft32(whole, 16) ^ e.hash
	}
	if h := le.Uint32(raw[0x0C:]); h != 0 && h != whole {
		c.bad(where, "hash is %#08x, want %#08x or 0", h, whole)
	}
	c.checkValues(where, list)
}

// compareXattrs is the order of attributes in a block.
func compareXattrs(a, b *xattrEntry) int {
	return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
}

// checkXattrBody examines the attributes in the inode itself.
func (c *checker) checkXattrBody(where string, in *Inode) {
	list, err := in.ibodyXattrs()
	if err != nil {
		return // loadXattrs reports it
	}
	start := 128 + in.extraSize()
	if in.extraSize() > 0 && start+4 <= len(in.raw) {
		if m := le.Uint32(in.raw[start:]); m != 0 && m != xattrMagic {
			c.bad(where, "attributes begin with %#08x, want %#08x", m, xattrMagic)
		}
	}
	for _, e := range list {
		if e.hash != 0 {
			c.checkXattr(where, &e)
		}
	}
	c.checkValues(where, list)
}

// checkXattr compares an entry with its hash. Old kernels took the bytes of a
// name for signed.
func (c *checker) checkXattr(where string, e *xattrEntry) {
	if h := xattrHash(e, true); h != e.hash && xattrHash(e, false) != e.hash {
		c.bad(where, "attribute %q has hash %#08x, want %#08x", e.name, e.hash, h)
	}
	if len(e.value) > 0 && e.offset%4 != 0 {
		c.bad(where, "attribute %q has its value at %d, not a multiple of 4", e.name, e.offset)
	}
}

func xattrHash(e *xattrEntry, unsigned bool) uint32 {
	h := uint32(0)
	for _, b := range []byte(e.name) {
		h = bits.RotateLeft32(h, 5) ^ widen(b, unsigned)
	}
	for v := e.value; len(v) > 0; v = v[min(4, len(v)):] {
		var word [4]byte
		copy(word[:], v)
		h = bits.RotateLeft32(h, 16) ^ le.Uint32(word[:])
	}
	return h
}

// checkValues demands that values do not overlap.
func (c *checker) checkValues(where string, list []xattrEntry) {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b xattrEntry) int { return cmp.Compare(a.offset, b.offset) })
	end := 0
	for _, e := range sorted {
		if len(e.value) == 0 {
			continue
		}
		if e.offset < end {
			c.bad(where, "attribute %q has its value at %d, inside another's", e.name, e.offset)
		}
		end = e.offset + len(e.value)
	}
}

func (c *checker) sortedXattrs() iter.Seq2[uint64, *xattrShare] {
	return func(yield func(uint64, *xattrShare) bool) {
		for _, at := range slices.Sorted(maps.Keys(c.xattrs)) {
			if !yield(at, c.xattrs[at]) {
				return
			}
		}
	}
}

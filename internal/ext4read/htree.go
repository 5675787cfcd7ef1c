package ext4read

import (
	"fmt"
)

// A dirBlock is the shape of a directory block.
type dirBlock int

const (
	leafBlock dirBlock = iota
	indexRoot          // "." and "..", then an index
	indexNode          // an index under an unused record
)

// shape tells what a block of a directory looks like. Only a directory with
// FlagIndex has anything but leaves.
func (f *FS) shape(in *Inode, logical uint64, b []byte) dirBlock {
	switch {
	case in.Flags&FlagIndex == 0 || in.Flags&FlagInlineData != 0:
		return leafBlock
	case logical == 0:
		return indexRoot
	case le.Uint32(b) == 0 && int(le.Uint16(b[4:])) == len(b) && b[6] == 0:
		return indexNode
	}
	return leafBlock
}

// indexStart is where the pairs of hash and block begin in a root and in a node.
const (
	rootIndexStart = 32
	nodeIndexStart = 8
)

// dirBlockChecksum compares a directory block with the checksum at its end: in a
// record that looks unused, or after the last possible pair of an index.
func (f *FS) dirBlockChecksum(in *Inode, logical uint64, b []byte) error {
	seed := f.inodeSeed(in.Number, in.Generation)
	mismatch := func(want, stored uint32) error {
		if want != stored {
			return fmt.Errorf("checksum is %#08x, want %#08x: %w", stored, want, ErrCorrupt)
		}
		return nil
	}
	start := nodeIndexStart
	switch f.shape(in, logical, b) {
	case leafBlock:
		tail := b[len(b)-12:]
		if le.Uint32(tail) != 0 || le.Uint32(tail[4:]) != 0xDE00000C {
			return fmt.Errorf("no room for a checksum: %w", ErrCorrupt)
		}
		return mismatch(crc32c(seed, b[:len(b)-12]), le.Uint32(tail[8:]))
	case indexRoot:
		start = rootIndexStart
	}
	limit, count := int(le.Uint16(b[start:])), int(le.Uint16(b[start+2:]))
	tail := start + 8*limit
	if tail+8 > len(b) || count > limit {
		return fmt.Errorf("%d index entries of at most %d leave no room for a checksum: %w", count, limit, ErrCorrupt)
	}
	sum := crc32c(crc32c(seed, b[:start+8*count]), b[tail:tail+4])
	return mismatch(crc32cOf(sum, 0), le.Uint32(b[tail+4:]))
}

// htree verifies the index of one directory against its names. It keeps the
// index blocks and, of each leaf, only the lowest and highest hash.
type htree struct {
	f      *FS
	nodes  map[uint64][]byte    // root and nodes by logical block
	leaves map[uint64]hashRange // by logical block; low above high if empty
	seen   map[uint64]bool
	hash   uint8 // version
}

// hashRange is a range of hashes, both ends included.
type hashRange struct{ low, high uint32 }

// newHtree prepares an index check. The blocks have to be added in logical
// order, the root first, before check.
func newHtree(f *FS) *htree {
	return &htree{f: f, nodes: map[uint64][]byte{}, leaves: map[uint64]hashRange{}, seen: map[uint64]bool{}}
}

// add notes one block of the directory.
func (t *htree) add(in *Inode, logical uint64, b []byte, records []dirent) {
	shape := t.f.shape(in, logical, b)
	if shape == indexRoot {
		if t.hash = b[28]; t.f.sb.Flags&2 != 0 && t.hash <= hashTEA {
			t.hash += hashUnsigned
		}
	}
	if shape != leafBlock {
		t.nodes[logical] = b
	}
	r := hashRange{low: ^uint32(0)}
	for _, d := range records {
		if d.inode != 0 && shape == leafBlock {
			h := dirHash(t.hash, t.f.sb.HashSeed, d.name)
			r.low, r.high = min(r.low, h), max(r.high, h)
		}
	}
	t.leaves[logical] = r
}

// check walks the index from its root: every block but the root is named once,
// and the hashes of a leaf's names lie in the range that its entry covers.
func (t *htree) check(blocks uint64) error {
	root := t.nodes[0]
	if len(root) == 0 || int(le.Uint16(root[4:])) != 12 || int(le.Uint16(root[16:])) != len(root)-12 {
		return fmt.Errorf("index root does not follow \".\" and \"..\": %w", ErrCorrupt)
	}
	info := root[24:32]
	levels := 1
	if t.f.sb.has(incompatLargeDir) {
		levels = 2
	}
	switch {
	case le.Uint32(info) != 0 || info[5] != 8 || info[7] != 0:
		return fmt.Errorf("index root's header is %x: %w", info, ErrCorrupt)
	case info[4] > hashTEA:
		return fmt.Errorf("index root's hash version is %d: %w", info[4], ErrCorrupt)
	case int(info[6]) > levels:
		return fmt.Errorf("index of %d levels, at most %d: %w", info[6], levels, ErrCorrupt)
	}
	t.seen[0] = true
	if err := t.node(0, rootIndexStart, int(info[6]), hashRange{0, ^uint32(0)}); err != nil {
		return err
	}
	if n := uint64(len(t.seen)); n != blocks {
		return fmt.Errorf("index names %d of the directory's %d blocks: %w", n, blocks, ErrCorrupt)
	}
	return nil
}

// node checks the index in one block, with levels below it.
func (t *htree) node(at uint64, start, levels int, within hashRange) error {
	b := t.nodes[at]
	bad := func(format string, args ...any) error {
		return fmt.Errorf("index in directory block %d: %s: %w", at, fmt.Sprintf(format, args...), ErrCorrupt)
	}
	if len(b) == 0 {
		return bad("not an index block")
	}
	room := len(b) - start
	if t.f.sb.has(roMetadataCsum) {
		room -= 8
	}
	limit, count := int(le.Uint16(b[start:])), int(le.Uint16(b[start+2:]))
	if limit != room/8 || count == 0 || count > limit {
		return bad("%d entries of at most %d, want 1 to %d", count, limit, room/8)
	}
	for i := range count {
		pair := b[start+8*i:]
		r := hashRange{within.low, within.high}
		if i > 0 {
			if r.low = le.Uint32(pair); r.low < within.low || r.low > within.high {
				return bad("entry %d begins at hash %#x, outside %#x to %#x", i, r.low, within.low, within.high)
			}
		}
		if i+1 < count {
			next := le.Uint32(pair[8:])
			if next <= r.low {
				return bad("entry %d begins at hash %#x, not after %#x", i+1, next, r.low)
			}
			r.high = next - 1 // a set bit 0 in next means that its hash may begin here
		}
		if err := t.entry(at, uint64(le.Uint32(pair[4:])), levels, r); err != nil {
			return err
		}
	}
	return nil
}

// entry checks what one pair of an index points to.
func (t *htree) entry(from, at uint64, levels int, r hashRange) error {
	if t.seen[at] {
		return fmt.Errorf("index in directory block %d: block %d is named twice: %w", from, at, ErrCorrupt)
	}
	t.seen[at] = true
	if levels > 0 {
		return t.node(at, nodeIndexStart, levels-1, r)
	}
	leaf, ok := t.leaves[at]
	if !ok {
		return fmt.Errorf("index in directory block %d: block %d is not in the directory: %w", from, at, ErrCorrupt)
	}
	if leaf.low <= leaf.high && (leaf.low < r.low&^1 || leaf.high > r.high) {
		return fmt.Errorf("directory block %d: its names have hashes %#x to %#x, the index says %#x to %#x: %w",
			at, leaf.low, leaf.high, r.low&^1, r.high, ErrCorrupt)
	}
	return nil
}

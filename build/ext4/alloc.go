package ext4

import (
	"fmt"
	"math/bits"
	"slices"
)

// Geometry. Everything is in blocks of blockSize bytes unless it says bytes.
const (
	blockSize      = 4096 // bytes
	blocksPerGroup = 8 * blockSize
	descSize       = 64 // bytes in a group descriptor
	descPerBlock   = blockSize / descSize

	// maxGDT is the room kept for group descriptors behind each superblock.
	// Data is placed before the number of groups is known, so the room must be
	// fixed; what is not needed stays free space. 16 blocks describe 1024 groups.
	maxGDT    = 16
	maxGroups = maxGDT * descPerBlock
	maxBlocks = maxGroups * blocksPerGroup
)

// run is a range of blocks.
type run struct{ start, n uint64 }

func (r run) end() uint64 { return r.start + r.n }

// allocator hands out blocks in rising order, stepping over the places where
// superblocks and group descriptors will stand. A block is handed out once: what
// is given back becomes free space, and is never handed out again.
type allocator struct {
	next  uint64 // the first block that was never handed out
	used  bitmap
	freed []run // handed out and given back
}

// bitmap has a bit for each block, the lowest bit of byte 0 first, as on disk.
type bitmap []byte

func (b *bitmap) set(r run, used bool) {
	if grow := int((r.end()+7)/8) - len(*b); grow > 0 {
		*b = append(*b, make([]byte, grow)...)
	}
	for i := r.start; i < r.end(); i++ {
		if used {
			(*b)[i/8] |= 1 << (i % 8)
		} else {
			(*b)[i/8] &^= 1 << (i % 8)
		}
	}
}

// count is the number of set bits.
func (b bitmap) count() uint64 {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return uint64(n)
}

// alike counts the blocks at the start of r that are all used or all free.
func (b bitmap) alike(r run) (n uint64, used bool) {
	used = b.has(r.start)
	for n = 1; n < r.n && b.has(r.start+n) == used; n++ {
	}
	return n, used
}

func (b bitmap) has(block uint64) bool {
	return block/8 < uint64(len(b)) && b[block/8]>>(block%8)&1 == 1
}

// hasSuper tells whether a group holds a copy of the superblock (sparse_super):
// groups 0, 1 and the powers of 3, 5 and 7.
func hasSuper(group uint64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		p := base
		for p < group {
			p *= base
		}
		if p == group {
			return true
		}
	}
	return false
}

// skip moves next past a place kept for a superblock.
func (a *allocator) skip() {
	group, offset := a.next/blocksPerGroup, a.next%blocksPerGroup
	if offset < 1+maxGDT && hasSuper(group) {
		a.next = group*blocksPerGroup + 1 + maxGDT
	}
}

// room is the number of blocks from next to the next kept place.
func (a *allocator) room() uint64 {
	group := a.next/blocksPerGroup + 1
	for !hasSuper(group) {
		group++
	}
	return group*blocksPerGroup - a.next
}

// take hands out at least one and at most n adjoining blocks.
func (a *allocator) take(n uint64) (run, error) {
	a.skip()
	r := run{a.next, min(n, a.room())}
	a.next = r.end()
	if a.next > maxBlocks {
		return run{}, fmt.Errorf("%w: more than %d GiB", ErrTooLarge, maxBlocks*blockSize>>30)
	}
	a.used.set(r, true)
	return r, nil
}

// takeAll hands out n blocks in as few runs as the kept places allow.
func (a *allocator) takeAll(n uint64) ([]run, error) {
	var runs []run
	for n > 0 {
		r, err := a.take(n)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		n -= r.n
	}
	return runs, nil
}

// contiguous hands out n adjoining blocks. Blocks stepped over stay free.
func (a *allocator) contiguous(n uint64) (run, error) {
	a.skip()
	if a.room() < n {
		a.next += a.room()
		a.skip()
	}
	if a.room() < n {
		// Only groups 0, 1 and 3 are this close together; n is at most a group's
		// inode table, 2048 blocks.
		return run{}, fmt.Errorf("placing %d adjoining blocks: no room", n)
	}
	return a.take(n)
}

// give takes blocks back.
func (a *allocator) give(r run) {
	a.freed = append(a.freed, r)
	a.used.set(r, false)
}

// holes lists, in order, the blocks that were given back, with neighbours joined.
func (a *allocator) holes() []run {
	slices.SortFunc(a.freed, func(x, y run) int {
		if x.start < y.start {
			return -1
		}
		return 1
	})
	var out []run
	for _, r := range a.freed {
		if n := len(out); n > 0 && out[n-1].end() == r.start {
			out[n-1].n += r.n
			continue
		}
		out = append(out, r)
	}
	return out
}

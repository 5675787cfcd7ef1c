package ext4

import (
	"fmt"
)

const (
	inodesPerGroupMax = 8 * blockSize // one block of bitmap
	// minLastGroup is the fewest blocks the last group may have, so that it can
	// hold a superblock and group descriptors.
	minLastGroup = 1 + maxGDT + 64
	// bytesPerSpareInode is how much free space comes with each unused inode, as
	// mke2fs has it by default.
	bytesPerSpareInode = 16384
	// slackBlocks is free space for what writing a file takes beside its bytes:
	// extent blocks, directory blocks.
	slackBlocks = 64
	// bytesPerSpareName is free space that comes with each unused inode for its
	// name, in a directory whose blocks are on average three quarters full.
	bytesPerSpareName = 64
	// The kernel withholds a fiftieth of all blocks, this many at most, from
	// everybody (ext4_calculate_resv_clusters), root included.
	kernelShare    = 50
	kernelShareMax = 4096
)

// geometry is the layout of a finished image.
type geometry struct {
	blocks         uint64
	groups         uint64
	inodesPerGroup uint64
	free           uint64 // blocks

	blockBitmaps []uint64 // by group
	inodeBitmaps []uint64
	inodeTables  []uint64
}

func (g geometry) inodes() uint64      { return g.groups * g.inodesPerGroup }
func (g geometry) tableBlocks() uint64 { return g.inodesPerGroup / inodesPerBlock }
func (g geometry) gdtBlocks() uint64   { return ceilDiv(g.groups, descPerBlock) }

// groupBlocks is the number of blocks in a group: the last may be short.
func (g geometry) groupBlocks(group uint64) uint64 {
	return min(blocksPerGroup, g.blocks-group*blocksPerGroup)
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }

func spareInodes(freeBytes int64) uint64 { return uint64(freeBytes) / bytesPerSpareInode }

// layOut decides the image's size and the places of bitmaps and inode tables, and
// allocates them. Their number depends on the number of groups, which depends on
// the room they take: the smallest number that agrees with itself is found by
// trying upwards.
func (w *Writer) layOut(lastInode uint64) (geometry, error) {
	inodes := lastInode + spareInodes(w.opt.FreeBytes)
	data := w.alloc.used.count()
	for groups := max(1, ceilDiv(inodes, inodesPerGroupMax)); groups <= maxGroups; {
		perGroup := ceilDiv(ceilDiv(inodes, groups), inodesPerBlock) * inodesPerBlock
		g := geometry{groups: groups, inodesPerGroup: perGroup}
		trial := allocator{next: w.alloc.next}
		if err := g.allocate(&trial); err != nil {
			return geometry{}, err
		}
		used := data + groups*(2+g.tableBlocks())
		for group := range groups {
			if hasSuper(group) {
				used += 1 + g.gdtBlocks()
			}
		}
		g.blocks = max(trial.next, w.totalBlocks(used), (groups-1)*blocksPerGroup+minLastGroup)
		if need := ceilDiv(g.blocks, blocksPerGroup); need > groups {
			groups = need
			continue
		}
		g.free = g.blocks - used
		if err := g.allocate(&w.alloc); err != nil {
			return geometry{}, err
		}
		return g, nil
	}
	return geometry{}, fmt.Errorf("%w: more than %d GiB", ErrTooLarge, maxBlocks*blockSize>>30)
}

// totalBlocks is the size at which root can still write FreeBytes when used
// blocks are taken.
func (w *Writer) totalBlocks(used uint64) uint64 {
	names := spareInodes(w.opt.FreeBytes) * bytesPerSpareName
	total := used + slackBlocks + ceilDiv(uint64(w.opt.FreeBytes), blockSize) + ceilDiv(names, blockSize)
	share := min(kernelShareMax, ceilDiv(total, kernelShare-1))
	return total + share
}

// allocate places the bitmaps and inode tables.
func (g *geometry) allocate(a *allocator) error {
	for _, part := range []struct {
		at     *[]uint64
		blocks uint64
	}{{&g.blockBitmaps, 1}, {&g.inodeBitmaps, 1}, {&g.inodeTables, g.tableBlocks()}} {
		*part.at = make([]uint64, g.groups)
		for group := range g.groups {
			r, err := a.contiguous(part.blocks)
			if err != nil {
				return err
			}
			(*part.at)[group] = r.start
		}
	}
	return nil
}

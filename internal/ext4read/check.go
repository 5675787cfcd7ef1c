package ext4read

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
)

// A Problem is one thing that Check found wrong.
type Problem struct {
	Where string // "superblock", "group 3", "inode 12", "block 77", ...
	What  string
}

// String gives "where: what".
func (p Problem) String() string { return p.Where + ": " + p.What }

// CheckOptions asks for more than a sound filesystem needs: properties of a
// freshly written image, which use destroys.
type CheckOptions struct {
	// ZeroFree demands that free blocks and free inodes hold only zeros.
	ZeroFree bool

	// ExactBackups demands that backups of the superblock and of the
	// descriptor table equal the primaries in every byte, save a superblock's
	// group number, checksum and clean bit (which mke2fs leaves out of backups).
	// Otherwise only what use does not change has to agree.
	ExactBackups bool
}

// Check examines the whole filesystem and lists what is wrong, in a defined
// order; an empty list means that nothing is. It goes on after a problem as far
// as it can, until Options.MaxProblems. The error is about the check itself: it
// was cancelled, the image is over a limit, or could not be read.
func (f *FS) Check(ctx context.Context, opt CheckOptions) ([]Problem, error) {
	if f.sb.Blocks > f.opt.MaxBlocks || f.sb.Inodes > f.opt.MaxInodes {
		return nil, fmt.Errorf("checking filesystem: %d blocks and %d inodes, at most %d and %d: %w",
			f.sb.Blocks, f.sb.Inodes, f.opt.MaxBlocks, f.opt.MaxInodes, ErrUnsupported)
	}
	lenient := *f
	lenient.opt.Verify = false // a bad checksum is reported, not refused
	c := &checker{
		ctx: ctx, f: &lenient, opt: opt,
		used:   newBitset(f.sb.Blocks),
		meta:   newBitset(f.sb.Blocks),
		inodes: newBitset(uint64(f.sb.Inodes) + 1),
		nodes:  make([]inodeState, uint64(f.sb.Inodes)+1),
		xattrs: map[uint64]*xattrShare{},
	}
	err := c.run()
	if err == nil || errors.Is(err, errTooMany) {
		return c.problems, nil
	}
	return c.problems, fmt.Errorf("checking filesystem: %w", err)
}

var errTooMany = errors.New("too many problems")

// inodeState is what is known of one inode.
type inodeState struct {
	refs   uint32 // names, "." and ".." among them
	links  uint16 // as the inode says
	kind   uint8  // as a directory entry would say; 0 for an inode not in use
	hidden bool   // in use without a name: the journal and its like
}

// xattrShare counts the inodes of one attribute block.
type xattrShare struct{ count, owners uint32 }

// checker is one pass of Check.
type checker struct {
	ctx      context.Context
	f        *FS
	opt      CheckOptions
	problems []Problem
	full     bool // no more problems are wanted

	groups []*group
	used   bitset // blocks that something claims
	meta   bitset // of those, what the layout of groups claims
	inodes bitset // in use, by the inode bitmaps
	nodes  []inodeState
	xattrs map[uint64]*xattrShare
	dirs   []uint32 // directories per group
}

// bad notes a problem.
func (c *checker) bad(where, format string, args ...any) {
	switch n := len(c.problems); {
	case c.full:
		return
	case n == c.f.opt.MaxProblems:
		c.full = true
		c.problems = append(c.problems, Problem{"check", fmt.Sprintf("stopped after %d problems", n)})
		return
	}
	c.problems = append(c.problems, Problem{where, fmt.Sprintf(format, args...)})
}

// goOn reports whether the check should go on.
func (c *checker) goOn() error {
	if c.full {
		return errTooMany
	}
	return c.ctx.Err()
}

func (c *checker) run() error {
	for _, step := range []func() error{
		c.checkSuper,
		c.checkGroups,
		c.checkBackups,
		c.checkInodeBitmaps,
		c.checkInodes,
		c.checkTree,
		c.checkLinks,
		c.checkResizeInode,
		c.checkBlockBitmaps,
		c.checkJournal,
		c.checkOrphanFile,
		c.checkFreeSpace,
	} {
		if err := step(); err != nil {
			return err
		}
		if err := c.goOn(); err != nil {
			return err
		}
	}
	return nil
}

// checkSuper judges what Open let pass.
func (c *checker) checkSuper() error {
	sb, raw := &c.f.sb, c.f.raw
	const where = "superblock"
	if sb.has(roMetadataCsum) {
		if !superChecksumOK(raw) {
			c.bad(where, "checksum does not match")
		}
		if raw[0x175] != 1 {
			c.bad(where, "checksum type is %d, want 1 (crc32c)", raw[0x175])
		}
		if sb.has(roGDTCsum) {
			c.bad(where, "uninit_bg and metadata_csum exclude each other")
		}
	}
	if sb.State&1 == 0 || sb.State&^1 != 0 {
		c.bad(where, "state is %#x, want 1 (clean)", sb.State)
	}
	if sb.OrphanInode != 0 {
		c.bad(where, "orphan list begins at inode %d", sb.OrphanInode)
	}
	if sb.has(roOrphanPresent) {
		c.bad(where, "orphan file may hold orphans")
	}
	if n := le.Uint32(raw[0x24:]); n != sb.BlocksPerGroup {
		c.bad(where, "clusters per group is %d, blocks per group %d", n, sb.BlocksPerGroup)
	}
	if n := le.Uint16(raw[0x5A:]); n != 0 && sb.Revision > 0 {
		c.bad(where, "primary says it is in group %d", n)
	}
	if sb.FreeBlocks > sb.Blocks || sb.ReservedBlocks > sb.Blocks/2 {
		c.bad(where, "%d free and %d reserved of %d blocks", sb.FreeBlocks, sb.ReservedBlocks, sb.Blocks)
	}
	if sb.has(incompatCsumSeed) && !sb.has(roMetadataCsum) {
		c.bad(where, "metadata_csum_seed without metadata_csum")
	}
	if sb.has(compatResizeInode) && sb.has(incompatMetaBG) {
		c.bad(where, "resize_inode and meta_bg exclude each other")
	}
	if sb.ReservedGDT != 0 && !sb.has(compatResizeInode) {
		c.bad(where, "%d reserved descriptor blocks without resize_inode", sb.ReservedGDT)
	}
	if want := le.Uint16(raw[0x15E:]); sb.InodeSize > 128 && (int(want) > int(sb.InodeSize)-128 || sb.MinExtraIsize > want) {
		c.bad(where, "extra inode size is %d to %d in inodes of %d bytes", sb.MinExtraIsize, want, sb.InodeSize)
	}
	if sb.Flags&3 == 3 || sb.Flags&3 == 0 && sb.has(compatDirIndex) {
		c.bad(where, "flags are %#x: directory hashes are neither signed nor unsigned, or both", sb.Flags)
	}
	if sb.has(compatDirIndex) && sb.DefaultHash > hashTEA {
		c.bad(where, "default hash version is %d", sb.DefaultHash)
	}
	return nil
}

// checkGroups reads every descriptor and claims the blocks of the layout.
func (c *checker) checkGroups() error {
	f := c.f
	for g := range f.sb.Groups() {
		if err := c.goOn(); err != nil {
			return err
		}
		raw, err := f.rawDesc(g)
		if err != nil {
			return err
		}
		d := f.decodeDesc(raw)
		c.groups = append(c.groups, d)
		where := fmt.Sprintf("group %d", g)
		if f.hasGroupChecksums() {
			if want := f.descChecksum(uint32(g), raw); want != d.checksum {
				c.bad(where, "descriptor's checksum is %#04x, want %#04x", d.checksum, want)
			}
			if d.flags&^(inodeUninit|blockUninit|inodeZeroed) != 0 {
				c.bad(where, "unknown flags %#x", d.flags)
			}
		} else {
			d.flags, d.unused = 0, 0
		}
		for i, n := range c.f.fixedBlocks(g) {
			if n > 0 {
				c.claimMeta(where, "superblock and descriptors", f.groupStart(g)+uint64(i), 1)
			}
		}
	}
	for g, d := range c.groups { // after the fixed blocks of all
		where := fmt.Sprintf("group %d", g)
		c.claimInGroup(where, "block bitmap", uint64(g), d.blockBitmap, 1)
		c.claimInGroup(where, "inode bitmap", uint64(g), d.inodeBitmap, 1)
		c.claimInGroup(where, "inode table", uint64(g), d.inodeTable, f.inodeTableBlocks())
	}
	c.dirs = make([]uint32, len(c.groups))
	return nil
}

// fixedBlocks marks which blocks at the start of a group the superblock, the
// descriptors and the blocks reserved for more descriptors take.
func (f *FS) fixedBlocks(g uint64) []byte {
	var b []byte
	part := g / f.descsPerBlock()
	old := f.descBlocks()
	if f.sb.has(incompatMetaBG) {
		old = min(old, uint64(f.sb.FirstMetaBG))
	}
	if f.hasSuper(g) {
		b = append(b, 1)
		if !f.sb.has(incompatMetaBG) || part < uint64(f.sb.FirstMetaBG) {
			n := old
			if !f.sb.has(incompatMetaBG) {
				n += uint64(f.sb.ReservedGDT)
			}
			b = append(b, bytes.Repeat([]byte{1}, int(min(n, f.sb.Blocks)))...)
		}
	}
	if f.hasMetaDesc(g) {
		b = append(b, 1)
	}
	return b
}

// hasMetaDesc reports whether a group holds a meta_bg descriptor block: the
// first, second and last of those that the block describes.
func (f *FS) hasMetaDesc(g uint64) bool {
	per := f.descsPerBlock()
	if !f.sb.has(incompatMetaBG) || g/per < uint64(f.sb.FirstMetaBG) {
		return false
	}
	return g%per <= 1 || g%per == per-1
}

func (c *checker) claimInGroup(where, what string, g, first, n uint64) {
	start := c.f.groupStart(g)
	if !c.f.sb.has(incompatFlexBG) && (first < start || first+n > start+c.f.groupBlocks(g)) {
		c.bad(where, "%s at block %d is outside its group", what, first)
	}
	c.claimMeta(where, what, first, n)
}

func (c *checker) claimMeta(where, what string, first, n uint64) {
	if c.claim(where, what, first, n) {
		c.meta.setRange(first, n)
	}
}

// claim marks blocks as used by one structure. It reports false, after noting
// the problem, if they are outside the image or used already.
func (c *checker) claim(where, what string, first, n uint64) bool {
	if first < uint64(c.f.sb.FirstDataBlock) || n > c.f.sb.Blocks || first > c.f.sb.Blocks-n {
		c.bad(where, "%s: blocks %d to %d are outside the image's %d", what, first, first+n-1, c.f.sb.Blocks)
		return false
	}
	for b := first; b < first+n; b++ {
		if c.used.get(b) {
			c.bad(where, "%s: block %d is used twice", what, b)
			return false
		}
		c.used.set(b)
	}
	return true
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n uint64) bitset     { return make(bitset, (n+63)/64) }
func (b bitset) get(i uint64) bool  { return b[i/64]>>(i%64)&1 != 0 }
func (b bitset) set(i uint64)       { b[i/64] |= 1 << (i % 64) }
func bitAt(p []byte, i uint64) bool { return p[i/8]>>(i%8)&1 != 0 }

func (b bitset) setRange(first, n uint64) {
	for i := first; i < first+n; i++ {
		b.set(i)
	}
}

func (b bitset) count() uint64 {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return uint64(n)
}

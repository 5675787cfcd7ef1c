package ext4read

import (
	"context"
	"errors"
	"fmt"
)

// Locate says what lies at a byte of the image, down to the field of a structure
// or the byte of a file: "superblock s_mtime", "inode table of group 0: inode 12
// ("etc/passwd") i_ctime", "data of "etc/passwd", byte 17". Checksums are not
// asked for, since what is looked for may be the damage. Names are quoted. The
// error is that of ctx.
func (f *FS) Locate(ctx context.Context, off int64) (string, error) {
	lenient := *f
	lenient.opt.Verify = false
	l := &locator{ctx: ctx, f: &lenient, off: off, block: uint64(off) / uint64(f.sb.BlockSize), in: int(uint64(off) % uint64(f.sb.BlockSize))}
	switch {
	case off < 0 || l.block >= f.sb.Blocks:
		return "after the filesystem's last block", nil
	case off < superOffset:
		return fmt.Sprintf("boot block, byte %d", off), nil
	case off < superOffset+superSize:
		return "superblock " + superLayout.at(int(off-superOffset)), nil
	}
	if what := l.layout(); what != "" {
		return what, l.ctx.Err()
	}
	what := l.owner()
	return what, l.ctx.Err()
}

// locator is one search for what lies at a byte.
type locator struct {
	ctx   context.Context
	f     *FS
	off   int64
	block uint64 // that off is in
	in    int    // byte of the block
}

// layout looks among the blocks that the layout of groups takes. It gives "" if
// off is in none of them.
func (l *locator) layout() string {
	f := l.f
	for part := range f.descBlocks() {
		if f.descBlock(part) == l.block {
			return l.descriptor(part)
		}
	}
	if l.block >= uint64(f.sb.FirstDataBlock) {
		if what := l.copies((l.block - uint64(f.sb.FirstDataBlock)) / uint64(f.sb.BlocksPerGroup)); what != "" {
			return what
		}
	}
	for g := range f.sb.Groups() {
		if l.ctx.Err() != nil {
			return ""
		}
		d, err := f.group(g)
		if err != nil {
			continue
		}
		switch n := l.block - d.inodeTable; {
		case l.block == d.blockBitmap:
			return fmt.Sprintf("block bitmap of group %d, byte %d", g, l.in)
		case l.block == d.inodeBitmap:
			return fmt.Sprintf("inode bitmap of group %d, byte %d", g, l.in)
		case l.block >= d.inodeTable && n < f.inodeTableBlocks():
			return l.inode(g, n)
		}
	}
	return ""
}

// descriptor names a field of the descriptor table.
func (l *locator) descriptor(part uint64) string {
	size := int(l.f.sb.DescSize)
	g := part*l.f.descsPerBlock() + uint64(l.in/size)
	if g >= l.f.sb.Groups() {
		return fmt.Sprintf("group descriptors, after the last, byte %d of block %d", l.in, l.block)
	}
	return fmt.Sprintf("descriptor of group %d %s", g, descLayout.at(l.in%size))
}

// copies looks among the backups in a group.
func (l *locator) copies(g uint64) string {
	fixed := l.f.fixedBlocks(g)
	n := l.block - l.f.groupStart(g)
	switch {
	case n >= uint64(len(fixed)):
		return ""
	case n == 0 && l.f.hasSuper(g):
		if l.in < superSize {
			return fmt.Sprintf("backup superblock of group %d %s", g, superLayout.at(l.in))
		}
		return fmt.Sprintf("after the superblock of group %d", g)
	}
	return fmt.Sprintf("backup of the group descriptors in group %d, or reserved for more of them, byte %d of block %d", g, l.in, l.block)
}

// inode names a field of an inode and who has it. n is the block of the table.
func (l *locator) inode(g, n uint64) string {
	f := l.f
	at := n*uint64(f.sb.BlockSize) + uint64(l.in)
	index, off := at/uint64(f.sb.InodeSize), int(at%uint64(f.sb.InodeSize))
	if index >= uint64(f.sb.InodesPerGroup) {
		return fmt.Sprintf("after the inode table of group %d", g)
	}
	number := uint32(g*uint64(f.sb.InodesPerGroup) + index + 1)
	known := 128
	if in, err := f.Inode(number); err == nil {
		known += in.extraSize()
	}
	field := inodeLayout.at(off)
	if off >= known || field == "" {
		field = fmt.Sprintf("attributes, byte %d", off)
	}
	return fmt.Sprintf("inode table of group %d: inode %d (%s) %s", g, number, l.holder(number), field)
}

// errFound ends a walk.
var errFound = errors.New("found")

// holder names an inode: its first name, or what it is for.
func (l *locator) holder(number uint32) string {
	who := ""
	err := l.f.Walk(func(name string, in *Inode) error {
		if in.Number == number {
			who = fmt.Sprintf("%q", name)
			return errFound
		}
		return l.ctx.Err()
	})
	switch sb := l.f.sb; {
	case who != "":
		return who
	case number == sb.JournalInode && sb.has(compatHasJournal):
		return "the journal"
	case number == 7 && sb.has(compatResizeInode):
		return "blocks reserved for descriptors"
	case number < sb.FirstInode:
		return "reserved"
	case err != nil:
		return "its name was not found: the tree is damaged"
	}
	return "without a name"
}

// owner finds the file that has the block.
func (l *locator) owner() string {
	what := ""
	err := l.f.Walk(func(name string, in *Inode) error {
		if what = l.holds(in, fmt.Sprintf("%q", name)); what != "" {
			return errFound
		}
		return l.ctx.Err()
	})
	if what != "" {
		return what
	}
	for number := uint32(1); number < l.f.sb.FirstInode; number++ {
		if number == RootInode {
			continue
		}
		in, lost := l.f.Inode(number)
		if lost != nil {
			continue
		}
		if what := l.holds(in, l.holder(number)); what != "" {
			return what
		}
	}
	if err != nil {
		return fmt.Sprintf("block %d, whose owner was not found: the tree is damaged", l.block)
	}
	return fmt.Sprintf("free block %d", l.block)
}

// holds says what the block is for an inode, "" if nothing.
func (l *locator) holds(in *Inode, who string) string {
	if in.xattrBlock == l.block {
		return fmt.Sprintf("attribute block of %s, byte %d", who, l.in)
	}
	what := ""
	_ = l.f.walkMap(in, mapVisitor{ // what a broken map did show still counts
		node: func(block uint64, _ []byte) error {
			if block == l.block {
				what = fmt.Sprintf("block map of %s, byte %d of block %d", who, l.in, block)
				return errFound
			}
			return l.ctx.Err()
		},
		extent: func(e Extent) error {
			if l.block < e.Physical || l.block-e.Physical >= e.Len {
				return nil
			}
			logical := e.Logical + l.block - e.Physical
			at := logical*uint64(l.f.sb.BlockSize) + uint64(l.in)
			switch {
			case in.Number == l.f.sb.JournalInode && at < superSize:
				what = "superblock of the journal, " + journalLayout.at(int(at))
			case in.Mode.IsDir():
				what = fmt.Sprintf("directory block %d of %s, byte %d", logical, who, l.in)
			case at >= in.Size:
				what = fmt.Sprintf("after the end of %s, in its last blocks", who)
			case in.Number == l.f.sb.JournalInode:
				what = fmt.Sprintf("%s, byte %d", who, at)
			default:
				what = fmt.Sprintf("data of %s, byte %d", who, at)
			}
			return errFound
		},
	})
	return what
}

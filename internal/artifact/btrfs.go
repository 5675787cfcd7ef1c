package artifact

import (
	"context"
	"fmt"
	"io"

	"github.com/volant/fledge-action/internal/btrfsread"
)

// btrfsMagicAt is where a btrfs image has its magic.
const btrfsMagicAt = 0x10040

// btrfsTypes gives a btrfs inode's type.
var btrfsTypes = []Type{
	btrfsread.TypeFile: File, btrfsread.TypeDir: Dir, btrfsread.TypeChar: Char, btrfsread.TypeBlock: Block,
	btrfsread.TypeFIFO: FIFO, btrfsread.TypeSocket: Socket, btrfsread.TypeSymlink: Symlink,
}

// openBtrfs reads the tree of a btrfs image.
func (a *Artifact) openBtrfs(ctx context.Context) error {
	f, err := btrfsread.Open(a.source, a.Size, btrfsread.Options{Verify: a.opt.Verify, MaxNames: a.opt.MaxEntries})
	if err != nil {
		return err
	}
	b := budget{opt: &a.opt}
	err = f.Walk(func(name string, in *btrfsread.Inode) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := &Entry{
			Name: name, Type: btrfsTypes[in.Type], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links,
			Inode: in.Number, Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
		}
		if e.Type == File || e.Type == Symlink {
			e.Size = int64(in.Size)
		}
		a.Entries = append(a.Entries, e)
		return b.add(e, len(name))
	})
	if err != nil {
		return err
	}
	sortEntries(a.Entries)
	linkGroups(a.Entries, func(e *Entry) (uint64, bool) { return e.Inode, e.Type != Dir })
	a.Btrfs = f
	return nil
}

// btrfsFile finds the extents of a regular file.
func (a *Artifact) btrfsFile(e *Entry) (*btrfsread.File, error) {
	in, err := a.Btrfs.Inode(e.Inode)
	if err != nil {
		return nil, err
	}
	return in.File()
}

func (a *Artifact) btrfsContent(e *Entry) (io.ReadCloser, error) {
	f, err := a.btrfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	return section{io.NewSectionReader(f, 0, e.Size)}, nil
}

func (a *Artifact) btrfsData(e *Entry) ([]Range, error) {
	f, err := a.btrfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	}
	var list []Range
	for _, r := range f.Data() {
		list = append(list, Range{r[0], r[1]})
	}
	return list, nil
}

// checkBtrfs opens an image without verifying, so that Check finds all that is wrong.
func checkBtrfs(ctx context.Context, r io.ReaderAt, size int64) ([]string, error) {
	f, err := btrfsread.Open(r, size, btrfsread.Options{})
	if err != nil {
		return nil, err
	}
	return f.Check(ctx)
}

package artifact

import (
	"context"
	"fmt"
	"io"

	"github.com/volant/fledge-action/internal/squashfsread"
)

// squashfsTypes gives a squashfs inode's type.
var squashfsTypes = []Type{
	squashfsread.TypeDir: Dir, squashfsread.TypeFile: File, squashfsread.TypeSymlink: Symlink, squashfsread.TypeBlock: Block,
	squashfsread.TypeChar: Char, squashfsread.TypeFIFO: FIFO, squashfsread.TypeSocket: Socket,
}

// openSquashfs reads the tree of a squashfs image.
func (a *Artifact) openSquashfs(ctx context.Context) error {
	f, err := squashfsread.Open(a.source, a.Size, squashfsread.Options{})
	if err != nil {
		return err
	}
	b := budget{opt: &a.opt}
	err = f.Walk(func(name string, in *squashfsread.Inode) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := &Entry{
			Name: name, Type: squashfsTypes[in.Type], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links,
			Inode: uint64(in.Number), Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs, ref: in.Ref,
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
	linkGroups(a.Entries, func(e *Entry) (uint64, bool) { return e.ref, e.Type != Dir })
	a.Squashfs = f
	return nil
}

// SquashfsInode reads the inode of an entry of a squashfs image.
func (a *Artifact) SquashfsInode(e *Entry) (*squashfsread.Inode, error) {
	return a.Squashfs.Inode(e.ref)
}

// squashfsFile finds the blocks of a regular file.
func (a *Artifact) squashfsFile(e *Entry) (*squashfsread.File, error) {
	in, err := a.SquashfsInode(e)
	if err != nil {
		return nil, err
	}
	return in.File()
}

func (a *Artifact) squashfsContent(e *Entry) (io.ReadCloser, error) {
	f, err := a.squashfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	return section{io.NewSectionReader(f, 0, e.Size)}, nil
}

func (a *Artifact) squashfsData(e *Entry) ([]Range, error) {
	f, err := a.squashfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	}
	var list []Range
	for _, r := range f.Data() {
		list = append(list, Range{r[0], r[1]})
	}
	return list, nil
}

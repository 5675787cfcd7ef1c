package artifact

import (
	"context"
	"fmt"
	"io"

	"github.com/volant/fledge-action/internal/xfsread"
)

// openXFS reads the tree of an xfs image.
func (a *Artifact) openXFS(ctx context.Context) error {
	f, err := xfsread.Open(a.source, a.Size, xfsread.Options{Verify: a.opt.Verify})
	if err != nil {
		return err
	}
	b := budget{opt: &a.opt}
	err = f.Walk(func(name string, in *xfsread.Inode) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := &Entry{
			Name: name, Type: typeBits[uint32(in.Type)], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links,
			Inode: in.Number, Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
		}
		if e.Type == File || e.Type == Symlink {
			e.Size = in.Size
		}
		a.Entries = append(a.Entries, e)
		return b.add(e, len(name))
	})
	if err != nil {
		return err
	}
	sortEntries(a.Entries)
	linkGroups(a.Entries, func(e *Entry) (uint64, bool) { return e.Inode, e.Type != Dir })
	a.XFS = f
	return nil
}

// xfsFile finds the extents of a regular file.
func (a *Artifact) xfsFile(e *Entry) (*xfsread.File, error) {
	in, err := a.XFS.Inode(e.Inode)
	if err != nil {
		return nil, err
	}
	return in.File()
}

func (a *Artifact) xfsContent(e *Entry) (io.ReadCloser, error) {
	f, err := a.xfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	return section{io.NewSectionReader(f, 0, e.Size)}, nil
}

func (a *Artifact) xfsData(e *Entry) ([]Range, error) {
	f, err := a.xfsFile(e)
	if err != nil {
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	}
	var list []Range
	for _, r := range f.Data() {
		list = append(list, Range{r[0], r[1]})
	}
	return list, nil
}

package artifact

import (
	"context"

	"github.com/volant/fledge-action/internal/ext4read"
)

// openImage reads the tree of an ext4 image.
func (a *Artifact) openImage(ctx context.Context) error {
	f, err := OpenImage(a.source, a.Size, a.opt.Verify)
	if err != nil {
		return err
	}
	b := budget{opt: &a.opt}
	err = f.Walk(func(name string, in *ext4read.Inode) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := imageEntry(name, in)
		a.Entries = append(a.Entries, e)
		return b.add(e, len(name))
	})
	if err != nil {
		return err
	}
	sortEntries(a.Entries)
	linkGroups(a.Entries, func(e *Entry) (uint64, bool) { return e.Inode, e.Type != Dir })
	a.Image = f
	return nil
}

func imageEntry(name string, in *ext4read.Inode) *Entry {
	e := &Entry{
		Name: name, Type: typeBits[uint32(in.RawMode)&0xF000], Mode: uint32(in.RawMode) & 0o7777,
		UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: uint32(in.Links), Inode: uint64(in.Number),
		Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
	}
	switch e.Type {
	case File:
		e.Size = int64(in.Size)
	case Symlink:
		e.Size = int64(len(in.Target))
	}
	return e
}

package artifact

import (
	"context"

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
	a.Squashfs = f
	return a.gather(ctx, func(add func(*Entry) error) error {
		return f.Walk(func(name string, in *squashfsread.Inode) error {
			kind := squashfsTypes[in.Type]
			return add(&Entry{
				Name: name, Type: kind, Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links, Size: sizeOf(kind, int64(in.Size)),
				Inode: uint64(in.Number), Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs, ref: in.Ref,
			})
		})
	}, func(e *Entry) uint64 { return e.ref })
}

// SquashfsInode reads the inode of an entry of a squashfs image.
func (a *Artifact) SquashfsInode(e *Entry) (*squashfsread.Inode, error) {
	return a.Squashfs.Inode(e.ref)
}

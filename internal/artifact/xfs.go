package artifact

import (
	"context"

	"github.com/volant/fledge-action/internal/xfsread"
)

// openXFS reads the tree of an xfs image.
func (a *Artifact) openXFS(ctx context.Context) error {
	f, err := xfsread.Open(a.source, a.Size, xfsread.Options{Verify: a.opt.Verify})
	if err != nil {
		return err
	}
	a.XFS = f
	return a.gather(ctx, func(add func(*Entry) error) error {
		return f.Walk(func(name string, in *xfsread.Inode) error {
			kind := typeBits[uint32(in.Type)]
			return add(&Entry{
				Name: name, Type: kind, Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links, Size: sizeOf(kind, in.Size),
				Inode: in.Number, Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
			})
		})
	}, byNumber)
}

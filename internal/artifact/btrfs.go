package artifact

import (
	"context"

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
	a.Btrfs = f
	return a.gather(ctx, func(add func(*Entry) error) error {
		return f.Walk(func(name string, in *btrfsread.Inode) error {
			kind := btrfsTypes[in.Type]
			return add(&Entry{
				Name: name, Type: kind, Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: in.Links, Size: sizeOf(kind, int64(in.Size)),
				Inode: in.Number, Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
			})
		})
	}, byNumber)
}

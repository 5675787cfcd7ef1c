package build

import (
	"context"

	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
)

// typeSquashfs is a value of filesystem.type.
const typeSquashfs = "squashfs"

// squashfsNeeds is what every build of a squashfs says: the artifact is for people who
// have more than stock Volant.
const squashfsNeeds = "stock Volant will not boot this squashfs: give each VM a kernel with squashfs (CONFIG_SQUASHFS, and CONFIG_SQUASHFS_ZSTD or _ZLIB) and " +
	"overlayfs (CONFIG_OVERLAY_FS), --kernel-cmdline \"volant.rootfs_fstype=squashfs\", and an initramfs of your own that lays a writable overlay over it, " +
	"because the agent copies itself into the root; see docs/squashfs.md"

// readOnly is the medium of a filesystem that is written in one piece.
type readOnly struct{ pending }

// write writes the filesystem, then reads it once more for its digest: the superblock
// is known last and stands first.
func (r *readOnly) write(ctx context.Context, t *tree.Tree, _ string) (Artifact, error) {
	b := r.b
	b.stage("writing the squashfs filesystem")
	st, err := squashfs.Write(ctx, r.out, t, squashfs.Options{
		Compression: squashfs.Compression(b.Config.Filesystem.Compression), Level: b.Config.Filesystem.CompressionLevel,
		Epoch: b.epoch, Warn: b.warn,
		Progress: func(done, total int64) { b.event(Event{Kind: Progress, Done: done, Total: total}) },
	})
	if err != nil {
		return Artifact{}, err
	}
	b.detail("%d inodes, %d bytes, %d of files before compression, %d files the same as others", st.Inodes, st.Size, st.Content, st.Duplicates)
	if err := b.checkSize(st.Size, 0); err != nil {
		return Artifact{}, err
	}
	digest, err := b.seal(ctx, r.out, r.out, st.Size)
	if err != nil {
		return Artifact{}, err
	}
	b.result.Squashfs = &st
	return Artifact{Path: b.path, Format: typeSquashfs, Size: st.Size, Digest: digest}, nil
}

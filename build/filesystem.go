package build

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// minFree is what every image leaves free, in bytes: Volant copies its agent into
// the root filesystem at each boot, and a boot fails when it does not fit.
const minFree = 16 << 20

// freeBytes is the space that the filesystem leaves for files.
func (b *builder) freeBytes() int64 {
	return max(int64(b.Config.Filesystem.SizeBufferMB)<<20, minFree)
}

// rootfs is the medium of strategy oci_rootfs: contents go to their final place in
// the image at once.
type rootfs struct {
	*ext4.Writer
	b   *builder
	out *outfile.File
}

func (r *rootfs) Close() error { return nil }

// write writes the filesystem around the contents.
func (r *rootfs) write(ctx context.Context, t *tree.Tree, mapped string) (Artifact, error) {
	b := r.b
	b.stage("writing the ext4 filesystem")
	fs := b.Config.Filesystem
	id := b.identity(mapped)
	st, err := r.Finish(ctx, t, ext4.Options{
		UUID: uuid(id[:16]), HashSeed: uuid(id[16:]), Epoch: b.epoch,
		FreeBytes:    b.freeBytes(),
		JournalBytes: int64(fs.JournalMB) << 20,
		Warn:         b.warn,
	})
	if err != nil {
		return Artifact{}, err
	}
	b.detail("%d inodes, %d bytes, %d of them free", st.Inodes, st.Size, st.Free)
	if err := b.checkSize(st.Size, st.Free); err != nil {
		return Artifact{}, err
	}
	if fs.Preallocate {
		if err := preallocate(r.out.File, st.Size); err != nil {
			return Artifact{}, fmt.Errorf("preallocating %s: %w", b.path, err)
		}
	}
	digest, err := b.seal(ctx, r.out, r.Writer, st.Size)
	if err != nil {
		return Artifact{}, err
	}
	b.result.Filesystem = &st
	return Artifact{Path: b.path, Format: "ext4", Size: st.Size, Digest: digest}, nil
}

// identity is a digest of everything the filesystem is made from. It uses the
// image's config digest, which is the same for one image in a registry, in a
// layout and in an archive, and not where the image came from.
func (b *builder) identity(mapped string) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "fledge filesystem 1\nepoch %d\nimage %s\n", b.epoch.Unix(), b.image.ConfigDigest)
	if b.parts.agent.Content != nil {
		fmt.Fprintf(h, "agent %s\n", b.parts.agent.Digest)
	}
	if len(b.Config.Mappings) > 0 {
		fmt.Fprintf(h, "mappings %s\n", mapped)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// uuid makes a UUID of digest bytes: version 8, "custom", of RFC 9562.
func uuid(b []byte) [16]byte {
	u := [16]byte(b)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

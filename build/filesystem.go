package build

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/mapping"
	"github.com/volant/fledge-action/build/tree"
)

// minFree is what every image leaves free, in bytes: Volant copies its agent into
// the root filesystem at each boot, and a boot fails when it does not fit.
const minFree = 16 << 20

// finish writes the filesystem around the contents.
func (b *builder) finish(ctx context.Context, w *ext4.Writer, t *tree.Tree, mapped string) (ext4.Stats, error) {
	b.stage("writing the ext4 filesystem")
	fs := b.Config.Filesystem
	id := b.identity(mapped)
	st, err := w.Finish(ctx, t, ext4.Options{
		UUID: uuid(id[:16]), HashSeed: uuid(id[16:]), Epoch: b.epoch,
		FreeBytes:    max(int64(fs.SizeBufferMB)<<20, minFree),
		JournalBytes: int64(fs.JournalMB) << 20,
		Warn:         b.warn,
	})
	if err != nil {
		return ext4.Stats{}, err
	}
	b.detail("%d inodes, %d bytes, %d of them free", st.Inodes, st.Size, st.Free)
	if limit := int64(b.Config.Build.MaxSizeMB) << 20; limit > 0 && st.Size > limit {
		return ext4.Stats{}, fmt.Errorf("the artifact has %d bytes, more than build.max_size_mb = %d allows", st.Size, b.Config.Build.MaxSizeMB)
	}
	return st, nil
}

// materials lists what was read. Their order is fixed.
func (b *builder) materials(mapped mapping.Report) []Material {
	im := b.image
	var all []Material
	if im.Digest != "" { // a Docker archive has none
		all = append(all, Material{Name: "image", URI: im.Ref, Digest: im.Digest})
	}
	all = append(all, Material{Name: "image config", URI: im.Ref, Digest: im.ConfigDigest})
	if b.agent.Content != nil {
		all = append(all, Material{Name: "agent", URI: b.agent.URI, Digest: b.agent.Digest})
	}
	if len(b.Config.Mappings) > 0 {
		all = append(all, Material{Name: "mappings", URI: ".", Digest: mapped.Digest})
	}
	return all
}

// identity is a digest of everything the filesystem is made from. It uses the
// image's config digest, which is the same for one image in a registry, in a
// layout and in an archive, and not where the image came from.
func (b *builder) identity(mapped string) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "fledge filesystem 1\nepoch %d\nimage %s\n", b.epoch.Unix(), b.image.ConfigDigest)
	if b.agent.Content != nil {
		fmt.Fprintf(h, "agent %s\n", b.agent.Digest)
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

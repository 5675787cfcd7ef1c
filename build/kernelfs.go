package build

import (
	"context"
	"fmt"

	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/build/tree"
)

// kernelNeeds is what every build of an xfs or btrfs says.
func kernelNeeds(t loop.Type) string {
	config, since := "CONFIG_XFS_FS=y (CONFIG_XFS_POSIX_ACL=y for ACLs)", "5.10"
	if t == loop.Btrfs {
		config, since = "CONFIG_BTRFS_FS=y (CONFIG_BTRFS_FS_POSIX_ACL=y for ACLs)", "4.9"
	}
	return fmt.Sprintf("stock Volant will not boot this %s: give each VM --kernel-cmdline \"volant.rootfs_fstype=%s\" and a kernel of your own, Linux %s or later with "+
		"%s; the kernel writes it, so its bytes are not reproducible, only what is in it: two builds have the same content digest; see docs/loop.md", t, t, since, config)
}

// checkKernel finds out before anything is fetched whether this machine can write the
// filesystem.
func (b *builder) checkKernel(ctx context.Context) error {
	if !b.Config.ByKernel() {
		return nil
	}
	return loop.Check(ctx, loop.Options{Type: loop.Type(b.Config.Filesystem.Type), Mounter: b.Mounter, Path: b.ToolPath})
}

// kernelFS is the medium of a filesystem that the kernel writes.
type kernelFS struct{ pending }

// write has the filesystem written and reads it once more for its digest.
func (k *kernelFS) write(ctx context.Context, t *tree.Tree, mapped string) (Artifact, error) {
	b := k.b
	kind := loop.Type(b.Config.Filesystem.Type)
	b.stage("writing the %s filesystem", kind)
	id := b.identity(mapped)
	st, err := loop.Write(ctx, k.out.File, t, loop.Options{
		Type: kind, UUID: uuid(id[:16]), Epoch: b.epoch, FreeBytes: b.freeBytes(),
		Mounter: b.Mounter, Path: b.ToolPath, Warn: b.warn,
		Detail:   func(text string) { b.detail("%s", text) },
		Progress: func(done, total int64) { b.event(Event{Kind: Progress, Done: done, Total: total}) },
	})
	if err != nil {
		return Artifact{}, err
	}
	b.detail("%d inodes, %d bytes, %d of them free", st.Inodes, st.Size, st.Free)
	if err := b.checkSize(st.Size, st.Free); err != nil {
		return Artifact{}, err
	}
	if b.Config.Filesystem.Preallocate {
		if err := preallocate(k.out.File, st.Size); err != nil {
			return Artifact{}, fmt.Errorf("preallocating %s: %w", b.path, err)
		}
	}
	digest, err := b.seal(ctx, k.out, k.out, st.Size)
	if err != nil {
		return Artifact{}, err
	}
	b.result.Kernel = &st
	return Artifact{Path: b.path, Format: string(kind), Size: st.Size, Digest: digest}, nil
}

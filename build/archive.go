package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/tree"
)

// archive is the medium of strategy initramfs.
type archive struct{ pending }

func (b *builder) compression() initramfs.Compression {
	return initramfs.Compression(b.Config.Initramfs.Compression)
}

// write writes the archive, hashing it on its way.
func (a *archive) write(ctx context.Context, t *tree.Tree, _ string) (Artifact, error) {
	b := a.b
	c := b.compression()
	b.stage("writing the initramfs (%s)", c)
	h := sha256.New()
	st, err := initramfs.Write(ctx, io.MultiWriter(a.out, h), t, initramfs.Options{
		Compression: c, Level: b.Config.Initramfs.Level, Warn: b.warn,
		Progress: func(done, total int64) { b.event(Event{Kind: Progress, Done: done, Total: total}) },
	})
	if err != nil {
		return Artifact{}, err
	}
	b.detail("%d entries, %d bytes, %d before compression", st.Entries, st.Size, st.Unpacked)
	if err := b.checkSize(st.Size, 0); err != nil {
		return Artifact{}, err
	}
	if err := a.out.Sync(); err != nil {
		return Artifact{}, fmt.Errorf("syncing %s: %w", b.path, err)
	}
	b.result.Archive = &st
	return Artifact{Path: b.path, Format: c.Extension()[1:], Size: st.Size, Digest: fmt.Sprintf("sha256:%x", h.Sum(nil))}, nil
}

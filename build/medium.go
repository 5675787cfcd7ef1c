package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/layer"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// A medium is the form of an artifact: it stores contents while the tree comes
// about, and writes the artifact when it is complete.
type medium interface {
	layer.Sink
	write(ctx context.Context, t *tree.Tree, mapped string) (Artifact, error)
	Close() error
}

// medium makes the one of the strategy.
func (b *builder) medium(out *outfile.File) (medium, error) {
	var of func(pending) medium
	switch {
	case b.Config.Strategy == config.Initramfs:
		of = func(p pending) medium { return &archive{p} }
	case b.Config.Filesystem.Type == typeSquashfs:
		of = func(p pending) medium { return &readOnly{p} }
	case b.Config.ByKernel():
		of = func(p pending) medium { return &kernelFS{p} }
	default:
		return &rootfs{Writer: ext4.NewWriter(out), b: b, out: out}, nil
	}
	s, err := newSpool(b.TempDir)
	if err != nil {
		return nil, err
	}
	return of(pending{s, b, out}), nil
}

// extension is what the artifact's name ends with.
func (b *builder) extension() string {
	if b.Config.Strategy == config.Initramfs {
		return b.compression().Extension()
	}
	return ".img"
}

// checkSize holds the artifact against build.max_size_mb. empty is what of it is
// free space.
func (b *builder) checkSize(size, empty int64) error {
	if limit := int64(b.Config.Build.MaxSizeMB) << 20; limit > 0 && size > limit {
		return fmt.Errorf("the artifact has %d bytes, more than build.max_size_mb = %d allows; %s", size, b.Config.Build.MaxSizeMB, b.largest(empty))
	}
	return nil
}

// largest says where the bytes of an artifact that is too large are.
func (b *builder) largest(empty int64) string {
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	var parts []string
	if empty > 0 {
		parts = append(parts, "free space takes "+mib(empty))
	}
	dirs := b.result.Size.Directories
	for _, d := range dirs[:min(len(dirs), 3)] {
		parts = append(parts, fmt.Sprintf("%q %s", d.Path, mib(d.Bytes)))
	}
	text := strings.Join(parts, ", ")
	if s := b.result.Size.Strippable; s >= 1<<20 {
		text += "; strip -s on programs and libraries would save " + mib(s)
	}
	return text
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

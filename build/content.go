package build

import (
	"context"

	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/build/tree"
)

// reproducible tells whether the bytes of a format are the same in each build. A filesystem
// that a kernel writes has times, random numbers and an order that are the kernel's.
func reproducible(format string) bool { return format != "xfs" && format != "btrfs" }

// digestContent makes the content digest, while the contents of the tree can be read, for
// who has asked and for artifacts that nothing else can be compared by.
func (b *builder) digestContent(ctx context.Context, t *tree.Tree, format string) error {
	b.result.Reproducible = reproducible(format)
	if b.result.Reproducible && !b.Request.ContentDigest {
		return nil
	}
	b.stage("digesting what the artifact holds")
	d, err := content.OfTree(ctx, t, format)
	if err != nil {
		return err
	}
	b.result.ContentDigest = d
	b.detail("content digest %s", d)
	if !b.result.Reproducible {
		b.detail("two builds make other bytes of this %s, but the same content digest", format)
	}
	return nil
}

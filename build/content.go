package build

import (
	"context"

	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/build/tree"
)

// digestContent makes the content digest, while the contents of the tree can be read, for
// who has asked and for artifacts that nothing else can be compared by.
func (b *builder) digestContent(ctx context.Context, t *tree.Tree, format string) error {
	b.result.Reproducible = !b.Config.ByKernel()
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

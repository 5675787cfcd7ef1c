package build

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/ocitest"
)

func TestContentDigestIsThatOfTheArtifact(t *testing.T) {
	digests := map[string]bool{}
	for _, kind := range []string{"ext4", "squashfs"} {
		r := project(t, ocitest.Spec{}, noAgent+"[filesystem]\ntype = \""+kind+"\"\n")
		result, err := Build(t.Context(), r)
		if err != nil || result.ContentDigest != "" || !result.Reproducible {
			t.Fatalf("%s: not asked for: %q, %v, %v", kind, result.ContentDigest, result.Reproducible, err)
		}
		var said []string
		r.ContentDigest, r.Report = true, func(e Event) { said = append(said, e.Message) }
		if result, err = Build(t.Context(), r); err != nil || result.ContentDigest == "" || !result.Reproducible {
			t.Fatalf("%s: asked for: %q, %v, %v", kind, result.ContentDigest, result.Reproducible, err)
		}
		if !strings.Contains(strings.Join(said, "\n"), "content digest "+result.ContentDigest) {
			t.Errorf("%s: it is not told in %q", kind, said)
		}
		f, err := os.Open(result.Artifact.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		a, err := artifact.Open(t.Context(), f, result.Artifact.Size, artifact.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.ContentDigest(t.Context(), content.Options{}); err != nil || got != result.ContentDigest {
			t.Errorf("%s: read %q, %v, want %q", kind, got, err, result.ContentDigest)
		}
		digests[result.ContentDigest] = true
	}
	if len(digests) != 1 {
		t.Errorf("the formats have different digests: %v", digests)
	}
}

func TestWhatAKernelWritesAlwaysHasAContentDigest(t *testing.T) {
	for _, format := range []string{"xfs", "btrfs"} {
		r := Request{Config: &config.Config{Strategy: config.OCIRootfs, Filesystem: config.Filesystem{Type: format}}}
		b := &builder{Request: r}
		if err := b.digestContent(t.Context(), tree.New(), format); err != nil || b.result.Reproducible || !strings.HasPrefix(b.result.ContentDigest, "sha256:") {
			t.Errorf("%s: %+v, %v", format, b.result, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b = &builder{Request: r}
		if err := b.digestContent(ctx, tree.New(), format); !errors.Is(err, context.Canceled) || b.result.ContentDigest != "" {
			t.Errorf("%s, cancelled: %+v, %v", format, b.result, err)
		}
	}
}

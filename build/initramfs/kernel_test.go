package initramfs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

// The kernel is who archives are made for. It unpacks each compression at boot, and what
// it then says about every name has to be what the tree says.
func TestTheKernelUnpacksTheTree(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: boots a machine; not with -short")
	}
	testneed.Tool(t, vmtest.Program)
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	dir := t.TempDir()
	if err := vmtest.BuildLister(t.Context(), filepath.Join(dir, "lister")); err != nil {
		t.Fatal(err)
	}
	lister, err := os.ReadFile(filepath.Join(dir, "lister"))
	if err != nil {
		t.Fatal(err)
	}
	tr := sample(t)
	put(t, tr, "init", &tree.Node{Mode: 0o755, Content: memory(lister)})
	// With its slash in front this is as long as a path can be, and one longer than that could
	// be unpacked but not looked at.
	put(t, tr, strings.Repeat(strings.Repeat("d", 199)+"/", 20)+strings.Repeat("f", maxName-1-20*200), &tree.Node{Mode: 0o644})
	want := archived(t, tr)
	separate(want)
	for _, o := range []Options{{Compression: None}, {Compression: Gzip}, {Compression: Zstd, Level: 19}} {
		t.Run(string(o.Compression), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "initramfs")
			if err := os.WriteFile(path, archive(t, tr, o), 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			got, err := vmtest.List(ctx, kernel, path)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, want, got)
		})
	}
}

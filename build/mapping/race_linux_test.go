package mapping

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
)

// While the project is read, somebody exchanges files and directories of it with
// links that leave it. Apply may fail or take what was there before, but never
// what the links lead to.
func TestAnExchangeInTheMiddleLeaksNothing(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "outside/sub"), 0o755))
	for _, name := range []string{"outside/f", "outside/sub/f"} {
		must(os.WriteFile(filepath.Join(dir, name), []byte("leaked"), 0o644))
	}
	must(os.MkdirAll(filepath.Join(dir, "project/d/sub"), 0o755))
	for _, name := range []string{"project/d/f", "project/d/sub/f"} {
		must(os.WriteFile(filepath.Join(dir, name), []byte("public"), 0o644))
	}
	must(os.Symlink(filepath.Join(dir, "outside/f"), filepath.Join(dir, "project/evil-f")))
	must(os.Symlink("../../outside/sub", filepath.Join(dir, "project/evil-sub")))
	root, err := os.OpenRoot(filepath.Join(dir, "project"))
	must(err)
	defer root.Close()

	stop := make(chan struct{})
	var flipping sync.WaitGroup
	defer flipping.Wait()
	defer close(stop)
	for name, evil := range map[string]string{"d/f": "evil-f", "d/sub": "evil-sub"} {
		flipping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "project", name), unix.AT_FDCWD, filepath.Join(dir, "project", evil), unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	outcomes := map[bool]int{}
	for i := 0; i < 1000 || i < 100_000 && len(outcomes) < 2; i++ {
		tr, sink := tree.New(), &memorySink{}
		_, err := Apply(t.Context(), tr, root, []Mapping{{"d", "/srv"}, {"d/f", "/one"}}, Options{Sink: sink})
		outcomes[err == nil]++
		for _, b := range sink.stored {
			if string(b) != "public" {
				t.Fatalf("the sink got %q", b)
			}
		}
		if err != nil {
			if errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), "leaked") {
				t.Errorf("error %v", err)
			}
			continue
		}
		for name, n := range tr.Walk() {
			if n.Mode&fs.ModeSymlink != 0 {
				t.Fatalf("%q is a link to %q", name, n.Target)
			}
		}
	}
	if len(outcomes) < 2 {
		t.Errorf("succeeded %v: the exchanges never met a read, or always", outcomes)
	}
	t.Logf("succeeded %v", outcomes)
}

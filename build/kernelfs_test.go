package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// noMounter cannot mount, and says so when it is asked.
type noMounter struct{}

var errNoMounter = errors.New("nothing can be mounted")

func (noMounter) Available() error { return errNoMounter }

func (noMounter) Mount(context.Context, *os.File, loop.Mount) (loop.Mounted, error) {
	return nil, errors.New("it was asked to mount")
}

func needTools(t *testing.T, kind string) {
	if kind == "xfs" {
		testneed.Tool(t, "mkfs.xfs", "xfs_repair")
	} else {
		testneed.Tool(t, "mkfs.btrfs", "btrfs")
	}
}

func TestWhatCannotBeMountedIsToldFirst(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		needTools(t, kind)
		r := project(t, ocitest.Spec{}, noAgent+"[filesystem]\ntype = \""+kind+"\"\n")
		r.Mounter = noMounter{}
		r.Report = func(e Event) {
			if e.Kind == StageBegins {
				t.Errorf("%q began", e.Message)
			}
		}
		if _, err := Build(t.Context(), r); !errors.Is(err, errNoMounter) {
			t.Error(err)
		}
	}
}

// TestKernelFilesystemsAreBuilt builds each twice into one place: the second replaces the
// first.
func TestKernelFilesystemsAreBuilt(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			testneed.Root(t)
			needTools(t, kind)
			if err := (loop.Local{}).Available(); err != nil {
				testneed.Missing(t, "loop", err.Error())
			}
			r := project(t, ocitest.Spec{}, noAgent+"[filesystem]\ntype = \""+kind+"\"\nbuilder = \"loop\"\nsize_buffer_mb = 20\n")
			for range 2 {
				result, err := Build(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if result.Artifact.Format != kind || result.Reproducible || result.Kernel == nil || result.Kernel.Free < 20<<20 || result.Size.Empty != result.Kernel.Free {
					t.Errorf("%+v, %+v", result.Artifact, result.Kernel)
				}
				if text := strings.Join(result.Warnings, "\n"); !strings.Contains(text, `--kernel-cmdline "volant.rootfs_fstype=`+kind+`"`) || !strings.Contains(text, "not reproducible") {
					t.Errorf("warnings %s", text)
				}
				dir, unmount := testneed.Mount(t, result.Artifact.Path, map[string]string{"xfs": "ro,nouuid", "btrfs": "ro"}[kind])
				if got, err := os.ReadFile(filepath.Join(dir, "etc/data")); string(got) != "old data" {
					t.Errorf("%q, %v", got, err)
				}
				unmount()
			}
		})
	}
}

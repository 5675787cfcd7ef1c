package e2e

import (
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

var squashed shared[build]

// needSquashed returns what fledge builds from the registry as a squashfs, twice, run by a
// user without rights.
func needSquashed(t *testing.T) build {
	t.Helper()
	source, fledge, kestrel := needRegistry(t), needProgram(t), needAgent(t)
	return squashed.get(t, func() (build, error) {
		return runFledgeFor(`type = "squashfs"`, fledge, kestrel, source, filepath.Join(scratch, "squashed"), nobody, "--check-reproducible", "--locked=false")
	})
}

// inSquashfs is what a squashfs can hold of what is known about a name.
func inSquashfs(s facts.Set) facts.Set {
	out := facts.Set{}
	for name, f := range s {
		f.Mtime = facts.Time{Sec: min(max(f.Mtime.Sec, 0), math.MaxUint32)}
		kept := map[string]string{}
		for key, value := range f.Xattrs {
			if !strings.HasPrefix(key, "system.posix_acl_") {
				kept[key] = value
			}
		}
		if f.Xattrs = kept; len(kept) == 0 {
			f.Xattrs = nil
		}
		out[name] = f
	}
	return out
}

func TestRealImageAsSquashfsMatchesUmoci(t *testing.T) {
	b := needSquashed(t)
	want := umociFacts(t)
	lost := len(facts.Diff(want, inSquashfs(want)))
	if lost < 10 || lost > 14000 {
		t.Errorf("%d facts would be lost", lost)
	}
	// umoci cannot unpack this time.
	last := want["awkward/last-time"]
	last.Mtime = facts.Time{Sec: lastTime.Unix()}
	want["awkward/last-time"] = last

	dir, unmount := testneed.Mount(t, b.image, "ro")
	kernel := readDir(t, dir, facts.Options{Content: true})
	wantEqual(t, "umoci, then kernel", inSquashfs(want), kernel.Without(isAdded), facts.Fields(facts.Data)...)
	kestrel := kernel["usr/bin/kestrel"]
	if got, want := "sha256:"+kestrel.SHA256, digest(t, needAgent(t)); got != want || kestrel.Mode != 0o755 || kestrel.UID != 0 || kestrel.GID != 0 {
		t.Errorf("agent is %+v, want %s with mode 0755 of root", kestrel, want)
	}
	unmount()

	out, err := exec.CommandContext(t.Context(), needProgram(t), "inspect", "--check", b.image).CombinedOutput()
	if err != nil || string(out) != "no problems found\n" {
		t.Errorf("fledge inspect --check: %v: %s", err, out)
	}
}

// TestUnsquashfsUnpacksTheRealImage is the opinion of squashfs-tools.
func TestUnsquashfsUnpacksTheRealImage(t *testing.T) {
	testneed.Tool(t, "unsquashfs")
	b := needSquashed(t)
	dir := filepath.Join(t.TempDir(), "out")
	if out, err := exec.CommandContext(t.Context(), "unsquashfs", "-strict-errors", "-no-progress", "-d", dir, b.image).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v: %s", err, tail(string(out), 20))
	}
	got := readDir(t, dir, facts.Options{Content: true})
	mount, unmount := testneed.Mount(t, b.image, "ro")
	wantEqual(t, "kernel, then unsquashfs", readDir(t, mount, facts.Options{Content: true}), got, facts.Fields(facts.Data)...)
	unmount()
}

func TestManifestOfASquashfsIsRaw(t *testing.T) {
	b := needSquashed(t)
	if want := digest(t, b.image); !strings.Contains(string(b.manifest), want) || !strings.Contains(string(b.manifest), `"format": "raw"`) {
		t.Errorf("manifest lacks %s or raw:\n%s", want, b.manifest)
	}
}

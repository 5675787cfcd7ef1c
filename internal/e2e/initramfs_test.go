package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// busyboxSum is the digest of the distribution's static busybox, as fledge.toml
// wants it.
func busyboxSum(t *testing.T) (path, sum string) {
	t.Helper()
	testneed.Tool(t, "busybox")
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%x", sha256.Sum256(b))
}

// buildInitramfs makes an archive of the real image.
func buildInitramfs(t *testing.T) string {
	t.Helper()
	source, fledge, kestrel := needRegistry(t), needProgram(t), needAgent(t)
	busybox, sum := busyboxSum(t)
	dir := t.TempDir()
	config := fmt.Sprintf(`version = "1"
strategy = "initramfs"
[plugin]
name = "nginx"
[source]
image = %q
busybox_url = %q
busybox_sha256 = %q
[agent]
source_strategy = "local"
path = "kestrel"
[initramfs]
level = 1
`, source, busybox, sum)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(config), 0o644),
		exec.Command("cp", kestrel, filepath.Join(dir, "kestrel")).Run(),
	); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, fledge, "build", "-q")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + searchPath, "HOME=" + dir, "TMPDIR=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("fledge build: %v: %s", err, out)
	}
	for _, want := range []string{"extended attributes", "time"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no warning about %s:\n%s", want, out)
		}
	}
	return filepath.Join(dir, "nginx.cpio.gz")
}

// extract unpacks an archive with libarchive, which unlike GNU cpio gives folders
// their times after they have been filled.
func extract(t *testing.T, archive string) string {
	t.Helper()
	testneed.Tool(t, "bsdtar")
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bsdtar", "-C", root, "--numeric-owner", "-xpf", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bsdtar: %v: %s", err, out)
	}
	return root
}

// TestInitramfsOfARealImageMatchesUmoci: everything of an image is in the archive
// that newc can hold. It has no xattrs, no nanoseconds, no holes, and no time before
// 1970 or after 2106.
func TestInitramfsOfARealImageMatchesUmoci(t *testing.T) {
	testneed.Root(t)
	want := umociFacts(t)
	got := readDir(t, extract(t, buildInitramfs(t)), facts.Options{Content: true})
	for name, f := range want {
		f.Mtime = facts.Time{Sec: min(max(f.Mtime.Sec, 0), math.MaxUint32)}
		f.Xattrs = nil
		if strings.HasSuffix(name, "awkward/last-time") { // umoci cannot unpack this time
			f.Mtime.Sec = math.MaxUint32
		}
		want[name] = f
	}
	// libarchive gives the folder that it unpacks into no time.
	root := got["."]
	root.Mtime = want["."].Mtime
	got["."] = root
	added := map[string]string{}
	for name, f := range got {
		if _, ok := want[name]; !ok {
			added[name] = f.Type
		}
	}
	fields := facts.Fields(facts.Data, facts.Xattrs)
	if diff := facts.Diff(want, got.Without(func(name string) bool { return added[name] != "" }), fields...); len(diff) > 0 {
		t.Errorf("%d differences between umoci and the archive:\n%s", len(diff), strings.Join(diff[:min(len(diff), 30)], "\n"))
	}
	for name, kind := range map[string]string{"init": "file", "usr/bin/kestrel": "file", "usr/bin/busybox": "file", "usr/bin/vi": "symlink", "dev/console": "char"} {
		if f, ok := got[name]; !ok || f.Type != kind {
			t.Errorf("%s is %+v, want a %s", name, f, kind)
		}
	}
	if f := got["usr/bin/sh"]; f.Target == "busybox" {
		t.Errorf("busybox took the image's own sh: %+v", f)
	}
}

package ext4read

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// run runs a program in the C locale and returns what it printed.
func run(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

func tryRun(t testing.TB, program string, args ...string) (string, error) {
	t.Helper()
	testneed.Tool(t, program)
	path, err := testneed.Look(program)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MKE2FS_SYNC=0"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mke2fs makes an image of the given size with mke2fs and returns its path.
func mke2fs(t testing.TB, size string, args ...string) string {
	t.Helper()
	testneed.Tool(t, "mke2fs")
	path := filepath.Join(t.TempDir(), "image")
	run(t, "mke2fs", append(append([]string{"-q", "-F"}, args...), path, size)...)
	return path
}

// debugfs runs requests on an image.
func debugfs(t testing.TB, image string, requests ...string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(strings.Join(requests, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, "debugfs", "-w", "-f", script, image)
}

// mount mounts an image by a loop device for as long as fill runs.
func mount(t testing.TB, image string, fill func(dir string)) {
	t.Helper()
	dir, unmount := testneed.Mount(t, image, "noatime")
	fill(dir)
	unmount()
}

// open opens an image of a test.
func open(t testing.TB, image string, opt Options) *FS {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(file, info.Size(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// check runs Check and gives its problems as lines.
func check(t testing.TB, f *FS, opt CheckOptions) string {
	t.Helper()
	problems, err := f.Check(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// wantClean demands that both this package and e2fsck find nothing.
func wantClean(t testing.TB, image string, opt CheckOptions) {
	t.Helper()
	if got := check(t, open(t, image, Options{}), opt); got != "" {
		t.Errorf("Check found:\n%s", got)
	}
	if out, err := tryRun(t, "e2fsck", "-fn", image); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

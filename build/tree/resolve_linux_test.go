package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/testneed"
)

// Linux itself resolves names below a directory as if that were the root, with
// openat2 and RESOLVE_IN_ROOT. Resolve must agree with it about every name that
// exists, and about what is a loop or no directory.
func TestResolveAgreesWithTheKernel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	parts := []string{"a", "b", "c", "l", "m", "..", ".", "", "f"}
	path := func() string {
		var p []string
		for range 1 + rnd.IntN(5) {
			p = append(p, parts[rnd.IntN(len(parts))])
		}
		return strings.Join(p, "/")
	}
	found := 0
	for range 60 {
		tr, host := New(), filepath.Join(t.TempDir(), "root")
		if err := os.Mkdir(host, 0o755); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			grow(t, rnd, tr, host, path())
		}
		dirfd, err := unix.Open(host, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			name := path()
			want, kernelErr := kernelResolve(t, dirfd, host, name)
			got, err := tr.Resolve(name, true)
			switch {
			case kernelErr == nil:
				found++
				if err != nil || got != want {
					t.Fatalf("Resolve(%q) = %q, %v; the kernel says %q; tree:\n%s", name, got, err, want, show(tr))
				}
			case errors.Is(kernelErr, unix.ENOENT): // Resolve keeps what is missing
			case errors.Is(kernelErr, unix.ELOOP) && errors.Is(err, ErrLoop):
			case errors.Is(kernelErr, unix.ENOTDIR) && (errors.Is(err, ErrNotDir) || endsOnFile(tr, got)):
			default:
				t.Fatalf("Resolve(%q) = %q, %v; the kernel says %v; tree:\n%s", name, got, err, kernelErr, show(tr))
			}
		}
		unix.Close(dirfd)
	}
	if found < 1000 {
		t.Errorf("only %d names existed: the test says little", found)
	}
}

// endsOnFile: the kernel refuses a slash after a file, which Resolve, for names
// as users write them, does not look at.
func endsOnFile(tr *Tree, got string) bool {
	n, err := tr.Lookup(got)
	return err == nil && !n.Mode.IsDir()
}

// grow makes one name in both, if it can be made.
func grow(t *testing.T, rnd *rand.Rand, tr *Tree, host, target string) {
	t.Helper()
	dir := "."
	for name, n := range tr.Walk() {
		if n.Mode.IsDir() && rnd.IntN(2) == 0 {
			dir = name
		}
	}
	at := filepath.Join(dir, string("abclm"[rnd.IntN(5)]))
	if _, err := tr.Lookup(at); err == nil {
		return
	}
	full := filepath.Join(host, at)
	var n *Node
	var err error
	switch {
	case strings.HasSuffix(at, "l") || strings.HasSuffix(at, "m"):
		if rnd.IntN(2) == 0 {
			target = "/" + target
		}
		if target == "" {
			target = "."
		}
		n, err = link(target), os.Symlink(target, full)
	case rnd.IntN(4) == 0:
		n, err = file("x"), os.WriteFile(full, []byte("x"), 0o644)
	default:
		n, err = &Node{Mode: fs.ModeDir | 0o755}, os.Mkdir(full, 0o755)
	}
	if err == nil {
		err = tr.Put(at, n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kernelResolve returns the name below host that the kernel finds.
func kernelResolve(t *testing.T, dirfd int, host, name string) (string, error) {
	t.Helper()
	if name == "" {
		name = "."
	}
	// EAGAIN: something was renamed, anywhere on the machine, while ".." was walked.
	fd, err := -1, error(unix.EAGAIN)
	for range 10_000 {
		fd, err = unix.Openat2(dirfd, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
		runtime.Gosched()
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		testneed.Missing(t, "openat2", fmt.Sprintf("openat2 is not available: %v", err))
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.EvalSymlinks(host)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(root, real)
	if err != nil {
		t.Fatal(err)
	}
	return rel, nil
}

func show(tr *Tree) string {
	var b strings.Builder
	for name, n := range tr.Walk() {
		fmt.Fprintf(&b, "%v %s %s\n", n.Mode, name, n.Target)
	}
	return b.String()
}

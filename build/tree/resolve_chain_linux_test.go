package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The limit on links, slashes and dots at the end of names and of targets, and
// what is asked of a file: all where the kernel has them, to the link.
func TestResolveAgreesWithTheKernelAtTheBounds(t *testing.T) {
	agree, loops, notDirs := 0, 0, 0
	for _, end := range []string{"d/", "f"} { // what the chain leads to
		for _, suffix := range []string{"", "/", "//", "/.", "/./", "/./.", "/..", "/../" + strings.TrimSuffix(end, "/")} { // of every target
			for _, n := range []int{1, 2, MaxSymlinks - 1, MaxSymlinks, MaxSymlinks + 1, MaxSymlinks + 2} {
				target := strings.TrimSuffix(end, "/")
				lines := []string{end}
				for i := range n {
					to := fmt.Sprintf("l%d", i+1)
					if i == n-1 {
						to = target
					}
					lines = append(lines, fmt.Sprintf("l%d->%s%s", i, to, suffix))
				}
				tr, host := build(t, lines...), t.TempDir()
				for name, node := range tr.Walk() {
					var err error
					switch full := filepath.Join(host, name); {
					case node.Target != "":
						err = os.Symlink(node.Target, full)
					case name != "." && node.Mode.IsDir():
						err = os.Mkdir(full, 0o755)
					case name != ".":
						err = os.WriteFile(full, nil, 0o644)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				dirfd, err := unix.Open(host, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"l0", "l0/", "l0//", "l0/.", "l0/./", "l0/..", "/l0", "//l0", "./l0", "../l0", "../../l0/..//l0"} {
					want, kernelErr := kernelResolve(t, dirfd, host, name)
					got, err := tr.Resolve(name, true)
					switch {
					case kernelErr == nil && err == nil && got == want:
						agree++
					case errors.Is(kernelErr, unix.ELOOP) && errors.Is(err, ErrLoop):
						loops++
					case errors.Is(kernelErr, unix.ENOTDIR) && (errors.Is(err, ErrNotDir) || endsOnFile(tr, got)):
						notDirs++
					default:
						t.Errorf("%d links with targets ending in %q to %q: Resolve(%q) = %q, %v; the kernel says %q, %v", n, suffix, end, name, got, err, want, kernelErr)
					}
				}
				unix.Close(dirfd)
			}
		}
	}
	if agree < 200 || loops < 100 || notDirs < 100 {
		t.Errorf("%d names agreed upon, %d loops, %d not below a directory: the test says little", agree, loops, notDirs)
	}
}

// Package testneed lets a test say what it needs from the machine.
//
// Where the need is not met the test is skipped aloud. FLEDGE_TEST_REQUIRE, a
// comma-separated list of needs or "all", turns such a skip into a failure, so a
// CI job that lost a package or a privilege cannot pass by skipping.
//
// The names of needs are the programs' names, plus "root" (uid 0), "loop" (loop
// devices can be mounted), "xattrs" (the temporary folder takes them), "data"
// (FLEDGE_TEST_DATA names a folder with the published schemas), "glibc" and "musl" (a
// dynamic loader of theirs), "kernel" (a guest
// kernel for QEMU), "fledge" (cmd/fledge can be built), "npm" (the modules of
// tools/npm are installed), "schemas" (the modules of tools/schemas are in Go's
// module cache), "act" (make e2e-act-tools has built it), "debs" (make tools has
// fetched the Debian packages of the action's image), "sigstore" and "cosign" (make e2e-sigstore-tools has built its
// programs), "docker" (a Docker daemon can be started, see internal/dockertest),
// "programs" (the machine's own are ELF files with libraries), "proc" and
// "full" (/proc, /dev/full), "xfs" and "btrfs" (the kernel has them), "fifo", "tmpfile" and "sparse" (the temporary folder
// takes FIFOs, O_TMPFILE, files of 2 TiB).
package testneed

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Require is the environment variable that turns skips into failures.
const Require = "FLEDGE_TEST_REQUIRE"

// Tool skips t unless every program is on PATH or in the sbin folders that
// ordinary users' PATH lacks.
func Tool(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := Look(p); err != nil {
			Missing(t, p, p+" not found")
		}
	}
}

// Look finds a program on PATH or in /usr/sbin and /sbin.
func Look(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p, nil
		}
	}
	return "", err
}

// Root skips t unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "root", "not running as root")
	}
}

// Data returns the path of name in the folder of published schemas, which
// FLEDGE_TEST_DATA names.
func Data(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("FLEDGE_TEST_DATA")
	if dir == "" {
		Missing(t, "data", "FLEDGE_TEST_DATA is not set")
	}
	return filepath.Join(dir, name)
}

// Node returns the path of a script in tools/npm, for the program node, and skips t
// unless the module that it uses is installed there.
func Node(t testing.TB, script, module string) string {
	t.Helper()
	Tool(t, "node")
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "tools", "npm")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", filepath.FromSlash(module), "package.json")); err != nil {
		Missing(t, "npm", "tools/npm/node_modules has no "+module)
	}
	return filepath.Join(dir, script)
}

// Missing skips t aloud, or fails it when FLEDGE_TEST_REQUIRE names need.
func Missing(t testing.TB, need, why string) {
	t.Helper()
	required := strings.Split(os.Getenv(Require), ",")
	if slices.Contains(required, need) || slices.Contains(required, "all") {
		t.Fatalf("%s is required here: %s", need, why)
	}
	t.Skipf("SKIP: %s; set %s=%s to fail instead", why, Require, need)
}

package compare

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// btrfsOf has mkfs.btrfs make an image of files, with a UUID.
func btrfsOf(t *testing.T, uuid string, files map[string]string) []byte {
	t.Helper()
	testneed.Tool(t, "mkfs.btrfs")
	program, err := testneed.Look("mkfs.btrfs")
	do(t, err)
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	for name, text := range files {
		path := filepath.Join(dir, name)
		do(t, os.WriteFile(path, []byte(text), 0o644))
		do(t, os.Chtimes(path, epoch, epoch))
	}
	do(t, os.Chtimes(dir, epoch, epoch))
	do(t, os.WriteFile(image, nil, 0o644))
	do(t, os.Truncate(image, 32<<20))
	out, err := exec.CommandContext(t.Context(), program, "-q", "--mixed", "-U", uuid, "--rootdir", dir, image).CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.btrfs: %v: %s", err, out)
	}
	b, err := os.ReadFile(image)
	do(t, err)
	return b
}

// below leaves out the root folder, whose time some versions of mkfs.btrfs make.
func below(lines []string) []string {
	return slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, ".: ") })
}

func TestBtrfsDifferences(t *testing.T) {
	const one, two = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"
	files := map[string]string{"a": "text\n", "b": strings.Repeat("long", 20000)}
	base := btrfsOf(t, one, files)
	if r := difference(t, base, bytes.Clone(base)); !r.Same() || len(r.Paths)+len(r.Structures) > 0 {
		t.Errorf("the same image: %+v", r)
	}
	r := difference(t, base, btrfsOf(t, two, files))
	wantLines(t, below(pathLines(r)), nil)
	if lines := structureLines(r); !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "555555555555") && strings.Contains(s, "666666666666") }) {
		t.Errorf("structures %q", lines)
	}
	files["a"], files["c"] = "texT\n", ""
	r = difference(t, base, btrfsOf(t, one, files))
	if got := below(pathLines(r)); len(got) != 2 || !strings.HasPrefix(got[0], "a: content") || !strings.HasPrefix(got[1], "c: only in b") {
		t.Errorf("paths %q", got)
	}
}

package compare

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// xfsImage is an xfs image of one file.
func xfsImage(t testing.TB, uuid, content string) []byte {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "mkfs.xfs")
	program, err := testneed.Look("mkfs.xfs")
	do(t, err)
	img := filepath.Join(t.TempDir(), "img")
	do(t, errors.Join(os.WriteFile(img, nil, 0o644), os.Truncate(img, 16<<20)))
	if out, err := exec.Command(program, "--unsupported", "-q", "-m", "uuid="+uuid, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, unmount := testneed.Mount(t, img, "")
	do(t, os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644))
	unmount()
	b, err := os.ReadFile(img)
	do(t, err)
	return b
}

func TestXFSDifferences(t *testing.T) {
	const one, two = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666"
	a := xfsImage(t, one, "content")
	if r := difference(t, a, bytes.Clone(a)); !r.Same() || len(r.Paths)+len(r.Structures) > 0 {
		t.Errorf("the same image: %+v", r)
	}
	r := difference(t, a, xfsImage(t, two, strings.Repeat("longer", 1000)))
	got := structureLines(r)
	for _, want := range []string{"superblock: uuid: " + one + ", then " + two, `inode of "file": blocks: 1, then 2`} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
	if paths := pathLines(r); !slices.ContainsFunc(paths, func(s string) bool { return strings.HasPrefix(s, "file: size: 7, then 6000") }) {
		t.Errorf("%q", paths)
	}
}

package artifact

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// btrfsImage is an image that mkfs.btrfs makes by itself of a few files.
func btrfsImage(t testing.TB) string {
	t.Helper()
	testneed.Tool(t, "mkfs.btrfs")
	program, err := testneed.Look("mkfs.btrfs")
	root, img := t.TempDir(), filepath.Join(t.TempDir(), "img")
	err = errors.Join(err, os.Mkdir(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc/one"), []byte("content"), 0o644),
		os.Link(filepath.Join(root, "etc/one"), filepath.Join(root, "etc/two")), os.Symlink("etc/one", filepath.Join(root, "link")),
		os.WriteFile(img, nil, 0o600), os.Truncate(img, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-q", "-M", "-n", "4096", "-m", "single", "-d", "single", "--rootdir", root, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBtrfsIsRead(t *testing.T) {
	data := btrfsImage(t)
	a, err := open(data, Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, a)
	var names []string
	for _, e := range a.Entries {
		names = append(names, string(e.Type)+" "+e.Name+" "+e.LinkOf+e.Target)
	}
	if got := strings.Join(names, "\n"); a.Format() != "btrfs" || got != "dir . \ndir etc \nfile etc/one etc/one\nfile etc/two etc/one\nsymlink link etc/one" {
		t.Errorf("%s is\n%s", a.Format(), got)
	}
	e, err := a.Resolve("/link", true)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Content(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "content" || err != nil {
		t.Errorf("content %q, %v", b, err)
	}
	if list, err := a.Data(e); err != nil || len(list) != 1 || list[0] != (Range{0, 7}) {
		t.Errorf("data %v, %v", list, err)
	}
	for off, want := range map[int64]string{65536: "superblock csum", 0: "space in no chunk", 16 << 20: "the end"} {
		if what, err := a.Locate(context.Background(), off); err != nil || what != want {
			t.Errorf("at %d: %q, %v", off, what, err)
		}
	}
	problems, err := Check(context.Background(), strings.NewReader(data), int64(len(data)), Options{})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %q", err, problems)
	}
	if _, err := open(data, Options{MaxEntries: 4}); !errors.Is(err, ErrLimit) {
		t.Errorf("5 names of 4: %v", err)
	}
}

func TestABtrfsThatBeginsLikeAnArchiveIsRefused(t *testing.T) {
	for _, magic := range []string{"07070", "\x1f\x8b"} {
		if _, err := open(magic+btrfsImage(t)[len(magic):], Options{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "begin like an archive") {
			t.Errorf("%q: %v", magic, err)
		}
	}
}

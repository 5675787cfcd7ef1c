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
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

// xfsImage is an xfs image of a small tree, which the kernel made.
func xfsImage(t testing.TB) []byte {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "mkfs.xfs")
	program, err := testneed.Look("mkfs.xfs")
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "img")
	if err := errors.Join(os.WriteFile(img, nil, 0o644), os.Truncate(img, 16<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "--unsupported", "-q", img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, unmount := testneed.Mount(t, img, "")
	at := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(
		os.Mkdir(at("etc"), 0o755), os.WriteFile(at("etc/one"), []byte("content"), 0o644), os.Link(at("etc/one"), at("etc/two")), os.Symlink("etc/one", at("link")),
		os.WriteFile(at("sparse"), nil, 0o600), os.Truncate(at("sparse"), 1<<20),
	)
	for _, name := range []string{"etc/one", "sparse", "etc", "."} {
		err = errors.Join(err, os.Chtimes(at(name), time.Unix(9, 0), time.Unix(9, 5)))
	}
	if err != nil {
		t.Fatal(err)
	}
	unmount()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestXFSIsRead(t *testing.T) {
	b := xfsImage(t)
	a, err := open(string(b), Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, a)
	if a.Format() != "xfs" || len(a.Entries) != 6 {
		t.Errorf("%s of %d names", a.Format(), len(a.Entries))
	}
	e, err := a.Resolve("/link", true)
	if err != nil || e.Name != "etc/one" || e.Links != 2 || e.LinkOf != "etc/one" || !e.Mtime.Equal(time.Unix(9, 5)) {
		t.Fatalf("link leads to %+v, %v", e, err)
	}
	r, err := a.Content(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "content" || err != nil {
		t.Errorf("content %q, %v", b, err)
	}
	if data, err := a.Data(a.Lookup("sparse")); err != nil || len(data) != 0 {
		t.Errorf("data %v, %v", data, err)
	}
	if data, err := a.Data(e); err != nil || len(data) != 1 || data[0] != (Range{0, 7}) {
		t.Errorf("data %v, %v", data, err)
	}
	if what, err := a.Locate(context.Background(), 0); err != nil || what != "superblock magicnum" {
		t.Errorf("at 0: %q, %v", what, err)
	}
	check := func() []string {
		problems, err := Check(context.Background(), strings.NewReader(string(b)), int64(len(b)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return problems
	}
	if problems := check(); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	b[512+200]++ // of the first group's free space header
	if problems := check(); len(problems) == 0 {
		t.Error("a damaged header is not seen")
	}
	if _, err := open(string(b), Options{MaxEntries: 5}); !errors.Is(err, ErrLimit) {
		t.Errorf("six names of five: %v", err)
	}
}

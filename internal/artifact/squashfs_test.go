package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
)

// squashed is a squashfs image of a small tree.
func squashed(t testing.TB, o squashfs.Options) string {
	t.Helper()
	tr := tree.New()
	put := func(name string, n tree.Node) *tree.Node {
		if err := errors.Join(tr.MkdirAll(filepath.Dir(name), tree.Node{Mode: 0o755, ModTime: time.Unix(7, 0)}), tr.Put(name, &n)); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	hard := put("etc/one", tree.Node{Mode: fs.ModeSetuid | 0o755, UID: 1000, GID: 4000000000, ModTime: time.Unix(4000000000, 0), Content: tree.Bytes("content"), Xattrs: map[string]string{"user.a": "b"}})
	if err := tr.Put("etc/two", hard); err != nil {
		t.Fatal(err)
	}
	put("dev/sda1", tree.Node{Mode: fs.ModeDevice | 0o660, Rdev: tree.Rdev{Major: 8, Minor: 1048575}, ModTime: time.Unix(8, 0)})
	put("link", tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "etc/one", ModTime: time.Unix(9, 0)})
	put("sparse", tree.Node{Mode: 0o644, Content: append(tree.Bytes(make([]byte, 131072)), "end"...), ModTime: time.Unix(9, 0)})
	var m memory
	if _, err := squashfs.Write(context.Background(), writerAt{&m}, tr, o); err != nil {
		t.Fatal(err)
	}
	return m.String()
}

// writerAt writes to memory.
type writerAt struct{ m *memory }

func (w writerAt) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p) - w.m.Len(); need > 0 {
		w.m.Write(make([]byte, need))
	}
	return copy(w.m.Bytes()[off:], p), nil
}

func TestSquashfsIsRead(t *testing.T) {
	for _, c := range []squashfs.Compression{squashfs.Zstd, squashfs.Gzip, squashfs.None} {
		a, err := open(squashed(t, squashfs.Options{Compression: c}), Options{Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		sane(t, a)
		want := `. dir 0755 0:0 0 size 0 links 4
dev dir 0755 0:0 7 size 0 links 2
dev/sda1 block 0660 0:0 8 size 0 links 1 rdev 8:1048575
etc dir 0755 0:0 7 size 0 links 2
etc/one file 4755 1000:4000000000 4000000000 size 7 links 2 = etc/one
etc/two file 4755 1000:4000000000 4000000000 size 7 links 2 = etc/one
link symlink 0777 0:0 9 size 7 links 1 -> etc/one
sparse file 0644 0:0 9 size 131075 links 1
`
		if got := lines(a); got != want || a.Format() != "squashfs" {
			t.Errorf("%s is\n%s\nwant\n%s", a.Format(), got, want)
		}
		e, err := a.Resolve("/link", true)
		if err != nil || e.Name != "etc/one" || e.Xattrs["user.a"] != "b" {
			t.Fatalf("link leads to %+v, %v", e, err)
		}
		r, err := a.Content(context.Background(), e)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); string(b) != "content" || err != nil {
			t.Errorf("content %q, %v", b, err)
		}
		data, err := a.Data(a.Lookup("sparse"))
		if err != nil || fmt.Sprint(data) != "[{131072 131075}]" {
			t.Errorf("data %v, %v", data, err)
		}
		if what, err := a.Locate(context.Background(), 0); err != nil || what != "superblock magic" {
			t.Errorf("at 0: %q, %v", what, err)
		}
		b := squashed(t, squashfs.Options{Compression: c})
		problems, err := Check(context.Background(), strings.NewReader(b), int64(len(b)), Options{})
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %q", err, problems)
		}
	}
}

func TestSquashfsHasTheSameLimits(t *testing.T) {
	data := squashed(t, squashfs.Options{})
	for _, tt := range []struct {
		opt Options
		ok  bool
	}{
		{Options{MaxEntries: 8}, true}, {Options{MaxEntries: 7}, false}, {Options{MaxMetadata: 60}, true}, {Options{MaxMetadata: 50}, false},
	} {
		_, err := open(data, tt.opt)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: %v", tt.opt, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, strings.NewReader(data), int64(len(data)), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzOpenSquashfs is FuzzOpen for images.
func FuzzOpenSquashfs(f *testing.F) {
	for _, c := range []squashfs.Compression{squashfs.Zstd, squashfs.None} {
		f.Add([]byte(squashed(f, squashfs.Options{Compression: c})))
	}
	f.Fuzz(func(t *testing.T, data []byte) { exercise(t, data) })
}

package artifact

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/build/squashfs"
	nc "github.com/volant/fledge-action/internal/newctest"
)

func digestOf(t *testing.T, data string, o Options) string {
	t.Helper()
	a, err := Open(context.Background(), strings.NewReader(data), int64(len(data)), o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.ContentDigest(context.Background(), content.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContentDigestDoesNotDependOnThePacking(t *testing.T) {
	hard := func(name, body string) nc.Record {
		return nc.Record{Name: name, Mode: 0o100644, Nlink: 2, Ino: 9, Mtime: 5, Body: body}
	}
	plain := nc.Archive(nc.File("b", "body"), nc.File("a", "other"), hard("y", ""), hard("x", "shared"))
	want := digestOf(t, plain, Options{})
	for name, data := range map[string]string{
		"another order":                   nc.Archive(hard("x", ""), hard("y", "shared"), nc.File("a", "other"), nc.File("b", "body")),
		"compressed, and without a spool": gz(plain),
	} {
		if got := digestOf(t, data, Options{}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := digestOf(t, nc.Archive(nc.File("b", "body"), nc.File("a", "other"), hard("y", ""), hard("x", "sharee")), Options{}); got == want {
		t.Error("another content has the same digest")
	}
}

func TestContentDigestOfADamagedImageIsAnError(t *testing.T) {
	img := []byte(squashed(t, squashfs.Options{Compression: squashfs.Zstd}))
	whole := bytes.Clone(img)
	errs := 0
	for at := 96; at < len(img); at += 7 { // behind the superblock
		img[at] ^= 0xff
		a, err := Open(context.Background(), bytes.NewReader(img), int64(len(img)), Options{})
		if err == nil {
			var d string
			if d, err = a.ContentDigest(context.Background(), content.Options{MaxBytes: 1 << 30}); err != nil && d != "" {
				t.Errorf("byte %d: a digest %q beside %v", at, d, err)
			}
		}
		if err != nil {
			errs++
		}
		img[at] = whole[at]
	}
	if errs == 0 {
		t.Error("no damage was an error")
	}
}

func TestContentDigestHasALimitAndCanBeCancelled(t *testing.T) {
	data := nc.Archive(nc.File("a", "12345"), nc.File("b", "123"))
	a, err := Open(context.Background(), strings.NewReader(data), int64(len(data)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ContentDigest(context.Background(), content.Options{MaxBytes: 8}); err != nil {
		t.Error(err)
	}
	if d, err := a.ContentDigest(context.Background(), content.Options{MaxBytes: 7}); !errors.Is(err, content.ErrLimit) || d != "" {
		t.Errorf("one byte over the limit: %q, %v", d, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := a.ContentDigest(ctx, content.Options{}); !errors.Is(err, context.Canceled) || d != "" {
		t.Errorf("cancelled: %q, %v", d, err)
	}
}

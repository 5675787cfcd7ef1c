package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// scratch is where tests put what several of them share.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "fledge-e2e"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// shared is a thing that is made for the first test that wants it.
type shared[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (s *shared[T]) get(t *testing.T, make func() (T, error)) T {
	t.Helper()
	s.once.Do(func() { s.value, s.err = make() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.value
}

var (
	realImage shared[Layout]
	unpacked  shared[string]
)

// needImage returns the real image, from the cache if it is there.
func needImage(t *testing.T) Layout {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: makes an image; not with -short")
	}
	testneed.Root(t)
	testneed.Tool(t, Tools...)
	return realImage.get(t, func() (Layout, error) {
		cache, err := testneed.CacheDir()
		if err != nil {
			cache = filepath.Join(scratch, "cache")
		}
		return Maker{Cache: cache, Log: io.Discard}.Image(context.Background(), Real)
	})
}

// needUnpacked returns the folder in which umoci unpacked the real image.
func needUnpacked(t *testing.T) string {
	t.Helper()
	layout := needImage(t)
	return unpacked.get(t, func() (string, error) {
		bundle := filepath.Join(scratch, "bundle")
		err := run(context.Background(), io.Discard, nil, "umoci", "unpack", "--image", layout.Dir+":"+layout.Tag, bundle)
		return filepath.Join(bundle, "rootfs"), err
	})
}

// umociFacts returns what umoci made of the real image. Blocks of zeros count as holes,
// which umoci does not make.
func umociFacts(t *testing.T) facts.Set {
	t.Helper()
	return readDir(t, needUnpacked(t), facts.Options{Content: true, Extents: facts.NonZero})
}

func readDir(t *testing.T, dir string, o facts.Options) facts.Set {
	t.Helper()
	s, err := facts.FromDir(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readImage(t *testing.T, image string) facts.Set {
	t.Helper()
	testneed.Tool(t, "debugfs")
	debugfs, _ := testneed.Look("debugfs")
	s, err := facts.FromDebugfs(t.Context(), debugfs, image, t.TempDir(), facts.Options{Content: true, Extents: facts.Mapped})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What e2fsck prints about a filesystem without faults.
var cleanLine = regexp.MustCompile(`^(e2fsck \d.*|Pass [1-5]: .*|.*: \d+/\d+ files \(.*\), \d+/\d+ blocks)?$`)

// checkClean wants e2fsck to find nothing.
func checkClean(t *testing.T, image string) {
	t.Helper()
	testneed.Tool(t, "e2fsck")
	e2fsck, _ := testneed.Look("e2fsck")
	out, err := exec.CommandContext(t.Context(), e2fsck, "-fn", image).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v: %s", err, tail(string(out), 30))
		return
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if !cleanLine.MatchString(line) {
			t.Errorf("e2fsck: %s", line)
		}
	}
}

// wantEqual reports how got differs, the first lines of it.
func wantEqual(t *testing.T, what string, want, got facts.Set, fields ...facts.Field) {
	t.Helper()
	lines := facts.Diff(want, got, fields...)
	for i, line := range lines {
		if i == 40 {
			t.Errorf("%s: and %d more", what, len(lines)-i)
			return
		}
		t.Errorf("%s: %s", what, line)
	}
}

func copySparse(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.img")
	if out, err := exec.CommandContext(t.Context(), "cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

package ext4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

var testEpoch = time.Unix(1700000000, 0)

// makeImage builds an image of t in a temporary file.
func makeImage(t testing.TB, tr *tree.Tree, opt Options) (string, Stats) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if opt.Epoch.IsZero() {
		opt.Epoch = testEpoch
	}
	st, err := NewWriter(f).Finish(context.Background(), tr, opt)
	if err != nil {
		t.Fatal(err)
	}
	return path, st
}

// fsck fails the test unless e2fsck finds nothing to say about the image.
func fsck(t testing.TB, img string) {
	t.Helper()
	e2fsck, err := testneed.Look("e2fsck")
	if err != nil {
		testneed.Missing(t, "e2fsck", "e2fsck not found")
	}
	out, err := exec.Command(e2fsck, "-fn", img).CombinedOutput()
	if err != nil || len(complaints(out)) > 0 {
		t.Fatalf("e2fsck -fn: %v\n%s", err, out)
	}
}

// complaints are the lines of e2fsck's output that are not its progress.
func complaints(out []byte) []string {
	var bad []string
	for line := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(line, "e2fsck "), strings.HasPrefix(line, "Pass "), strings.Contains(line, " files ("), line == "\n":
		default:
			bad = append(bad, line)
		}
	}
	return bad
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if dir := filepath.Dir(name); dir != "." {
		if err := tr.MkdirAll(dir, tree.Node{Mode: 0o755, ModTime: testEpoch}); err != nil {
			t.Fatal(err)
		}
	}
	if n.ModTime.IsZero() {
		n.ModTime = testEpoch
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

// awkward is a tree with every kind of node and value that has a special case.
func awkward(t testing.TB) *tree.Tree {
	tr := tree.New()
	put(t, tr, "etc/hostname", &tree.Node{Mode: 0o644, Content: memory("plugin\n")})
	put(t, tr, "empty", &tree.Node{Mode: 0o600})
	hard := &tree.Node{Mode: 0o755 | fs.ModeSetuid, UID: 70000, GID: 80000, Content: memory(bytes.Repeat([]byte("x"), 10000))}
	put(t, tr, "bin/a", hard)
	put(t, tr, "usr/bin/b", hard)
	put(t, tr, "tmp", &tree.Node{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
	put(t, tr, "dev/null", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put(t, tr, "dev/big", &tree.Node{Mode: fs.ModeDevice | 0o660, Rdev: tree.Rdev{Major: 259, Minor: 70000}})
	put(t, tr, "run/fifo", &tree.Node{Mode: fs.ModeNamedPipe | 0o600})
	put(t, tr, "run/sock", &tree.Node{Mode: fs.ModeSocket | 0o600})
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "usr/bin/b"})
	put(t, tr, "link59", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("a", 59)})
	put(t, tr, "link60", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("b", 60)})
	put(t, tr, "link4095", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("c/", 2047) + "d"})
	put(t, tr, "old", &tree.Node{Mode: 0o644, ModTime: time.Unix(-631152000, 500)})
	put(t, tr, "new", &tree.Node{Mode: 0o644, ModTime: time.Unix(4102444800, 999999999)})
	put(t, tr, "cap", &tree.Node{Mode: 0o755, Content: memory("#!"), Xattrs: map[string]string{
		"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"user.note":           strings.Repeat("n", 2000), "user.empty": "", "trusted.overlay": "y",
	}})
	acl := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	put(t, tr, "acl", &tree.Node{Mode: 0o640, Xattrs: map[string]string{"system.posix_acl_access": acl}})
	sparse := make([]byte, 3<<20)
	copy(sparse[1<<20:], "middle")
	copy(sparse[len(sparse)-3:], "end")
	put(t, tr, "sparse", &tree.Node{Mode: 0o644, Content: memory(sparse)})
	put(t, tr, "zeros", &tree.Node{Mode: 0o644, Content: memory(make([]byte, 100000))})
	var holes []byte
	for range 1500 {
		holes = append(append(holes, bytes.Repeat([]byte{1}, blockSize)...), make([]byte, blockSize)...)
	}
	put(t, tr, "extents", &tree.Node{Mode: 0o644, Content: memory(holes)})
	put(t, tr, strings.Repeat("n", 255), &tree.Node{Mode: 0o644})
	put(t, tr, "bad\xff\nname", &tree.Node{Mode: 0o644})
	for i := range 3000 {
		put(t, tr, fmt.Sprintf("many/file number %d", i), &tree.Node{Mode: 0o644, Content: memory("y")})
	}
	return tr
}

func TestImageSatisfiesE2fsck(t *testing.T) {
	for _, test := range []struct {
		name string
		opt  Options
		tree *tree.Tree
	}{
		{"empty tree", Options{}, tree.New()},
		{"awkward", Options{JournalBytes: 4 << 20, FreeBytes: 16 << 20, UUID: [16]byte{1, 2, 3}, HashSeed: [16]byte{9}}, awkward(t)},
		{"no journal", Options{FreeBytes: 100 << 20}, awkward(t)},
		{"several groups", Options{FreeBytes: 1 << 30, JournalBytes: 64 << 20}, awkward(t)},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, st := makeImage(t, test.tree, test.opt)
			t.Logf("%+v", st)
			fsck(t, img)
		})
	}
}

// TestGolden compares images with committed digests. A change of bytes is a
// reviewed line there and an entry of CHANGELOG.md under "Artifact bytes";
// UPDATE_GOLDEN=1 writes it.
func TestGolden(t *testing.T) {
	const file = "testdata/golden.sha256"
	var got strings.Builder
	for _, test := range []struct {
		name string
		opt  Options
		tree *tree.Tree
	}{
		{"empty", Options{}, tree.New()},
		{"awkward", Options{JournalBytes: MinJournalBytes, FreeBytes: 16 << 20, UUID: [16]byte{1, 2, 3}, HashSeed: [16]byte{9}}, awkward(t)},
		{"awkward-in-groups", Options{JournalBytes: 200 << 20, FreeBytes: 1 << 30, UUID: [16]byte{4}, HashSeed: [16]byte{5}}, awkward(t)},
	} {
		img, _ := makeImage(t, test.tree, test.opt)
		f, err := os.Open(img)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		fmt.Fprintf(&got, "%x  %s\n", h.Sum(nil), test.name)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the images are\n%s, want\n%s", &got, want)
	}
}

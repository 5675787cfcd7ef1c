package content_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/testneed"
)

// acl is one of a tree: of the owner, user 5, the group, the mask and others; the ids of
// those that have none are not as the kernel gives them.
const acl = "\x02\x00\x00\x00" + "\x01\x00\x06\x00\x00\x00\x00\x00" + "\x02\x00\x06\x00\x05\x00\x00\x00" + "\x04\x00\x04\x00\x00\x00\x00\x00" +
	"\x10\x00\x06\x00\x00\x00\x00\x00" + "\x20\x00\x04\x00\x00\x00\x00\x00"

// richTree has everything that a digest is made of.
func richTree(t testing.TB) *tree.Tree {
	t.Helper()
	tr := tree.New()
	at := time.Unix(1600000000, 123456789)
	put := func(name string, n tree.Node) *tree.Node {
		if n.ModTime.IsZero() {
			n.ModTime = at
		}
		if err := tr.Put(name, &n); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	tr.Root().ModTime, tr.Root().Mode, tr.Root().GID = at, fs.ModeDir|0o775, 3
	tr.Root().Xattrs = map[string]string{"user.root": "yes"}
	put("a", tree.Node{Mode: fs.ModeDir | fs.ModeSetgid | 0o755, Xattrs: map[string]string{"system.posix_acl_default": acl, "com.apple.provenance": "x"}})
	put("a-b", tree.Node{Mode: 0o644, UID: 70000, GID: 80000, Content: tree.Bytes("between a and a/b")})
	put("a/b", tree.Node{Mode: 0o664, Content: tree.Bytes("acl"), Xattrs: map[string]string{"system.posix_acl_access": acl, "user.a=b": "=\n\x00", "trusted.x": ""}})
	link := put("a/z", tree.Node{Mode: fs.ModeSetuid | 0o755, Content: tree.Bytes(strings.Repeat("0123456789abcdef", 20000)), Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00" + strings.Repeat("\x00", 12)}})
	for _, name := range []string{"a.link", "zz"} {
		if err := tr.Put(name, link); err != nil {
			t.Fatal(err)
		}
	}
	soft := put("soft", tree.Node{Mode: fs.ModeSymlink | 0o700, Target: "a/b c%\xff\n"})
	if err := tr.Put("soft2", soft); err != nil {
		t.Fatal(err)
	}
	put("empty", tree.Node{Mode: 0o600})
	put("holes", tree.Node{Mode: 0o600, Content: tree.Bytes(strings.Repeat("\x00", 300000) + "end")})
	put("names \xff\n%20", tree.Node{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
	put("old", tree.Node{Mode: 0o644, ModTime: time.Unix(-1000, 5)})
	put("new", tree.Node{Mode: 0o644, ModTime: time.Unix(1<<33, 5)})
	put("null", tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put("disk", tree.Node{Mode: fs.ModeDevice | 0o660, GID: 6, Rdev: tree.Rdev{Major: 259, Minor: 70000}})
	put("fifo", tree.Node{Mode: fs.ModeNamedPipe | 0o622})
	put("sock", tree.Node{Mode: fs.ModeSocket | 0o755})
	return tr
}

func ofTree(t testing.TB, tr *tree.Tree, format string) string {
	t.Helper()
	d, err := content.OfTree(context.Background(), tr, format)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// made is an artifact of each format: a path.
func made(t testing.TB, tr *tree.Tree, format string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "test."+format))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) // the contents of an ext4 are read from it
	ctx, epoch := context.Background(), time.Unix(1500000000, 0)
	switch format {
	case "ext4":
		_, err = storeAll(t, ext4.NewWriter(f), tr).Finish(ctx, tr, ext4.Options{Epoch: epoch, FreeBytes: 1 << 20})
	case "squashfs":
		_, err = squashfs.Write(ctx, f, tr, squashfs.Options{Epoch: epoch})
	default:
		_, err = initramfs.Write(ctx, f, tr, initramfs.Options{Compression: map[string]initramfs.Compression{
			"cpio": initramfs.None, "cpio.gz": initramfs.Gzip, "cpio.zst": initramfs.Zstd,
		}[format]})
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// storeAll gives the contents of a tree to an ext4.
func storeAll(t testing.TB, w *ext4.Writer, tr *tree.Tree) *ext4.Writer {
	t.Helper()
	seen := map[*tree.Node]bool{}
	for _, n := range tr.Walk() {
		if n.Content == nil || seen[n] {
			continue
		}
		seen[n] = true
		r, err := n.Content.Open()
		if err != nil {
			t.Fatal(err)
		}
		if n.Content, err = w.Store(n.Content.Size(), r); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func read(t testing.TB, path string) (string, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	spool, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	a, err := artifact.Open(context.Background(), f, info.Size(), artifact.Options{Verify: true, Spool: spool})
	if err != nil {
		t.Fatal(err)
	}
	return a.ContentDigest(context.Background(), content.Options{})
}

var formats = []string{"ext4", "squashfs", "cpio", "cpio.gz", "cpio.zst"}

func TestABuildAndItsArtifactHaveTheSameDigest(t *testing.T) {
	digests := map[string]string{}
	for _, format := range formats {
		tr := richTree(t)
		before := ofTree(t, tr, format)
		path := made(t, tr, format)
		got, err := read(t, path)
		if err != nil || got != before {
			t.Errorf("%s: read %q, %v, want %q", format, got, err, before)
		}
		if after := ofTree(t, tr, format); after != before {
			t.Errorf("%s: %q after it was written", format, after)
		}
		digests[before] = format
	}
	if len(digests) != 3 { // with ACLs, without, without any attribute
		t.Errorf("digests of what the formats hold: %v", digests)
	}
}

func TestWhatEveryFormatHoldsHasOneDigest(t *testing.T) {
	want := ""
	for _, format := range formats {
		tr := richTree(t)
		for _, n := range tr.Walk() {
			n.Xattrs = nil
		}
		got, err := read(t, made(t, tr, format))
		if err != nil || want != "" && got != want {
			t.Errorf("%s: %q, %v, want %q", format, got, err, want)
		}
		want = got
	}
}

func TestTheTreeOfXFSAndBtrfsHasTheDigestOfExt4(t *testing.T) {
	tr := richTree(t)
	for _, format := range []string{"xfs", "btrfs"} {
		if got, want := ofTree(t, tr, format), ofTree(t, tr, "ext4"); got != want {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
	}
}

// TestTheKernelSeesTheDigest runs the program of the definition over an image that the
// kernel has mounted.
func TestTheKernelSeesTheDigest(t *testing.T) {
	testneed.Tool(t, "python3")
	page, err := os.ReadFile("../../docs/content-digest.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no program")
	}
	for name, change := range map[string]func(tr *tree.Tree) error{
		"as it is": func(*tree.Tree) error { return nil },
		"a file below lost+found": func(tr *tree.Tree) error {
			return errors.Join(tr.MkdirAll("lost+found", tree.Node{Mode: 0o700, ModTime: time.Unix(1, 0)}), tr.Put("lost+found/#12", &tree.Node{ModTime: time.Unix(1, 0)}))
		},
		"a lost+found of the image": func(tr *tree.Tree) error {
			return tr.MkdirAll("lost+found", tree.Node{Mode: 0o755, ModTime: time.Unix(1, 0)})
		},
	} {
		tr := richTree(t)
		if err := change(tr); err != nil {
			t.Fatal(err)
		}
		want := ofTree(t, tr, "ext4")
		dir, unmount := testneed.Mount(t, made(t, tr, "ext4"), "ro")
		c := exec.Command("python3", "-c", string(m[1]), dir)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, stderr.Bytes())
		}
		unmount()
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: the program makes %q, fledge %q", name, got, want)
		}
	}
}

func TestEveryChangeOfANodeChangesTheDigest(t *testing.T) {
	seen := map[string]string{ofTree(t, richTree(t), "ext4"): "nothing"}
	for name, change := range map[string]func(n *tree.Node){
		"a mode":    func(n *tree.Node) { n.Mode |= 0o002 },
		"a sticky":  func(n *tree.Node) { n.Mode |= fs.ModeSticky },
		"a uid":     func(n *tree.Node) { n.UID = 9 },
		"a gid":     func(n *tree.Node) { n.GID = 9 },
		"a time":    func(n *tree.Node) { n.ModTime = n.ModTime.Add(time.Second) },
		"a content": func(n *tree.Node) { n.Content = tree.Bytes("acL") },
		"an xattr":  func(n *tree.Node) { n.Xattrs = withXattr(n, "user.more", "") },
		"an ACL": func(n *tree.Node) {
			n.Xattrs = withXattr(n, "system.posix_acl_access", strings.Replace(acl, "\x05", "\x07", 1))
		},
		"soft target": func(n *tree.Node) { n.Target = "b" },
		"soft uid":    func(n *tree.Node) { n.UID = 1 },
		"null major":  func(n *tree.Node) { n.Rdev.Major++ },
		"null minor":  func(n *tree.Node) { n.Rdev.Minor++ },
	} {
		tr := richTree(t)
		at := "a/b"
		if what, _, _ := strings.Cut(name, " "); what == "soft" || what == "null" {
			at = what
		}
		n, err := tr.Lookup(at)
		if err != nil {
			t.Fatal(err)
		}
		change(n)
		got := ofTree(t, tr, "ext4")
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[got] = name
	}
}

func withXattr(n *tree.Node, name, value string) map[string]string {
	all := maps.Clone(n.Xattrs)
	all[name] = value
	return all
}

func TestATreeOfAnUnknownTypeIsAnError(t *testing.T) {
	tr := tree.New()
	if err := tr.Put("a", &tree.Node{Mode: fs.ModeIrregular}); err != nil {
		t.Fatal(err)
	}
	if got, err := content.OfTree(context.Background(), tr, "ext4"); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("got %q, %v", got, err)
	}
}

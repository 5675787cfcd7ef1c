package initramfs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/facts"
)

type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

var epoch = time.Unix(1700000000, 999)

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if dir := path.Dir(name); dir != "." {
		if err := tr.MkdirAll(dir, tree.Node{Mode: 0o755, ModTime: epoch}); err != nil {
			t.Fatal(err)
		}
	}
	if n.ModTime.IsZero() {
		n.ModTime = epoch
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

func archive(t testing.TB, tr *tree.Tree, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	st, err := Write(context.Background(), &b, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size != int64(b.Len()) {
		t.Errorf("Stats.Size is %d, %d bytes were written", st.Size, b.Len())
	}
	return b.Bytes()
}

// noise is n bytes that do not compress well and are always the same.
func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x>>24) & 0x7f
	}
	return b
}

// sample is a tree with every kind of node and value that has a special case. The
// names dev, dev/console and root are also in the kernel's own first archive.
func sample(t testing.TB) *tree.Tree {
	tr := tree.New()
	tr.Root().Mode, tr.Root().ModTime = fs.ModeDir|0o711, time.Unix(1600000000, 0)
	char := fs.ModeDevice | fs.ModeCharDevice
	put(t, tr, "dev", &tree.Node{Mode: fs.ModeDir | 0o750})
	put(t, tr, "dev/console", &tree.Node{Mode: char | 0o620, GID: 5, Rdev: tree.Rdev{Major: 5, Minor: 1}})
	put(t, tr, "dev/null", &tree.Node{Mode: char | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put(t, tr, "dev/most", &tree.Node{Mode: fs.ModeDevice | 0o660, GID: 6, Rdev: tree.Rdev{Major: 4095, Minor: 1<<20 - 1}})
	put(t, tr, "root", &tree.Node{Mode: fs.ModeDir | 0o700})
	put(t, tr, "tmp", &tree.Node{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
	put(t, tr, "run/fifo", &tree.Node{Mode: fs.ModeNamedPipe | 0o600, UID: 7})
	put(t, tr, "srv/group", &tree.Node{Mode: fs.ModeDir | fs.ModeSetgid | 0o2775, UID: 70000, GID: 80000})

	hard := &tree.Node{Mode: 0o755 | fs.ModeSetuid, UID: 70000, GID: 80000, Content: memory("#!/bin/sh\nexit 0\n")}
	put(t, tr, "bin/middle", hard)
	put(t, tr, "a first", hard)
	put(t, tr, "zz/last", hard)
	locked := &tree.Node{Mode: 0o400, Content: memory(noise(70000))} // written when it cannot be opened for writing any more
	put(t, tr, "locked/a", locked)
	put(t, tr, "locked/b", locked)
	nothing := &tree.Node{Mode: 0o640, GID: 9}
	put(t, tr, "empty/one", nothing)
	put(t, tr, "empty/two", nothing)
	pipe := &tree.Node{Mode: fs.ModeNamedPipe | 0o622}
	put(t, tr, "pipes/a", pipe)
	put(t, tr, "pipes/b", pipe)

	put(t, tr, "sh", &tree.Node{Mode: 0o755 | fs.ModeSetuid | fs.ModeSetgid, Content: memory("x")})
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "bin/middle", UID: 3, GID: 4, ModTime: time.Unix(1, 0)})
	put(t, tr, "dangling", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "/no \xff\n where"})
	put(t, tr, "longest link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("t/", maxTarget/2) + "t"})
	for size := range 9 {
		put(t, tr, fmt.Sprintf("sizes/%d", size), &tree.Node{Mode: 0o644, Content: memory(noise(size))})
		put(t, tr, "names/"+strings.Repeat("n", size+1), &tree.Node{Mode: 0o644, Content: memory("y")})
	}
	put(t, tr, "sizes/large", &tree.Node{Mode: 0o644, Content: memory(noise(5<<19 + 1))})
	put(t, tr, "sizes/zeros", &tree.Node{Mode: 0o644, Content: memory(make([]byte, 3<<20))})
	put(t, tr, "names/"+strings.Repeat("N", 255), &tree.Node{Mode: 0o644})
	put(t, tr, "names/bad\xff\xfe\nname", &tree.Node{Mode: 0o644, Content: memory("z")})
	put(t, tr, "names/-n", &tree.Node{Mode: 0o644})
	put(t, tr, "names/TRAILER!!!", &tree.Node{Mode: 0o644, Content: memory("no end")})
	put(t, tr, "times/first", &tree.Node{Mode: 0o644, ModTime: time.Unix(0, 0)})
	put(t, tr, "times/last", &tree.Node{Mode: 0o644, ModTime: time.Unix(1<<32-1, 0)})
	put(t, tr, "times/before", &tree.Node{Mode: 0o644, ModTime: time.Unix(-1, 0)})
	put(t, tr, "times/after", &tree.Node{Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1<<32, 0)})
	put(t, tr, "owner", &tree.Node{Mode: 0o600, UID: maxOwner, GID: maxOwner})
	put(t, tr, "cap", &tree.Node{Mode: 0o755, Content: memory("#!"), Xattrs: map[string]string{"security.capability": "c", "user.x": "y"}})
	return tr
}

// archived is what an archive of tr has to become.
func archived(t testing.TB, tr *tree.Tree) facts.Set {
	t.Helper()
	set, names := facts.Set{}, map[*tree.Node][]string{}
	for name, n := range tr.Walk() {
		f := facts.Fact{Name: name, Mode: tree.UnixMode(n.Mode) & 0o7777, UID: n.UID, GID: n.GID, Links: uint64(n.Links())}
		f.Mtime.Sec = min(max(n.ModTime.Unix(), 0), 1<<32-1)
		switch n.Mode.Type() {
		case fs.ModeDir:
			f.Type, f.Links = "dir", 0
		case fs.ModeSymlink:
			f.Type, f.Target = "symlink", n.Target
		case fs.ModeNamedPipe:
			f.Type = "fifo"
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			f.Type, f.Rdev = "block", fmt.Sprintf("%d:%d", n.Rdev.Major, n.Rdev.Minor)
			if n.Mode&fs.ModeCharDevice != 0 {
				f.Type = "char"
			}
		case 0:
			var body memory
			if n.Content != nil {
				body = n.Content.(memory)
			}
			sum := sha256.Sum256(body)
			f.Type, f.Size, f.SHA256 = "file", n.Size(), hex.EncodeToString(sum[:])
		default:
			t.Fatalf("%q: unexpected type %v", name, n.Mode)
		}
		set[name] = f
		names[n] = append(names[n], name)
	}
	for _, group := range names {
		slices.SortFunc(group, cmp.Compare[string])
		for _, name := range group {
			if f := set[name]; len(group) > 1 {
				f.LinkGroup = group
				set[name] = f
			}
		}
	}
	return set
}

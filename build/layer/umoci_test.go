package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// umociSeeds names the number of random images to compare; the default keeps the
// package's tests short.
const umociSeeds = "FLEDGE_TEST_UMOCI_SEEDS"

// TestFlattenAgreesWithUmoci unpacks random images by Flatten and by umoci, and
// compares every name.
//
// The two may differ where the specification is silent:
//   - A directory that no entry describes has the epoch here and the time of
//     unpacking there, and so has an existing directory in which umoci made one
//     on the way to a deeper name.
//   - Such a directory is 0755 root here. There the kernel makes it, so below a
//     setgid directory it has that one's group and is setgid too.
//   - umoci removes what has an entry's name before it looks for a hard link's
//     target, so a link to itself, or to something inside the directory that it
//     replaces, is an error there. Here it is the file it links to.
//
// Left out is a link target with ".." behind a file, "file/../x". It leads nowhere
// here, as in Linux; umoci drops both components.
func TestFlattenAgreesWithUmoci(t *testing.T) {
	testneed.Root(t)
	testneed.Tool(t, "umoci")
	n := 150
	if s := os.Getenv(umociSeeds); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	defer syscall.Umask(syscall.Umask(0o022))
	dir := t.TempDir()
	outcomes := map[string]int{}
	for seed := range n {
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(seed), 0))}
		g.image(t)
		outcomes[g.compare(t, dir, seed)]++
		if t.Failed() {
			break
		}
	}
	t.Logf("%d images: %v", n, outcomes)
	if agreed := outcomes["same tree"]; agreed < n*9/10 {
		t.Errorf("%d of %d images were compared to the end, want nine in ten", agreed, n)
	}
}

// generator makes one image. Few names and many layers make entries meet.
type generator struct {
	*rand.Rand
	layers [][]tar.Header
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// image makes 2 to 5 layers. An entry that makes the image invalid is mostly left
// out again: such images are compared in one thing only, that both refuse them.
func (g *generator) image(t *testing.T) {
	for range 2 + g.IntN(4) {
		g.layers = append(g.layers, nil)
		top := len(g.layers) - 1
		for range 1 + g.IntN(14) {
			g.layers[top] = append(g.layers[top], g.entry())
			if _, err := Flatten(t.Context(), g.sources(t), &spool{}, Options{}); err != nil {
				if g.IntN(300) == 0 {
					return
				}
				g.layers[top] = g.layers[top][:len(g.layers[top])-1]
			}
		}
	}
}

func (g *generator) name() string {
	var parts []string
	for range 1 + g.IntN(3) {
		parts = append(parts, pick(g, "a", "b", "c", "usr", "bin", "\xffx"))
	}
	return strings.Join(parts, "/")
}

func (g *generator) entry() tar.Header {
	name := g.name()
	h := tar.Header{
		Name: name, Format: tar.FormatPAX,
		Mode: pick[int64](g, 0o644, 0o755, 0o600, 0, 0o777, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777),
		Uid:  pick(g, 0, 0, 1, 101, 70000, 4294967294), Gid: pick(g, 0, 0, 1, 102, 3000000),
		ModTime: g.time(), PAXRecords: map[string]string{},
	}
	switch k := g.IntN(100); {
	case k < 28:
		h.Typeflag, h.Size = tar.TypeReg, int64(g.IntN(3)*8)
	case k < 46:
		h.Typeflag, h.Name = tar.TypeDir, name+pick(g, "", "/", "/./")
	case k < 50:
		h.Typeflag, h.Name = tar.TypeDir, pick(g, ".", "./", "/")
	case k < 64:
		h.Typeflag = tar.TypeSymlink
		h.Linkname = pick(g, "a", "b", "../b", "/usr", "usr/bin", "/usr/bin", "../..", "/", ".", "missing", "/missing/too", "./../c/", "../usr/./bin/", "/../../a")
	case k < 75:
		h.Typeflag, h.Linkname = tar.TypeLink, pick(g, "", "./", "/")+g.name()
	case k < 78:
		h.Typeflag = tar.TypeFifo
	case k < 81:
		h.Typeflag, h.Devmajor, h.Devminor = pick[byte](g, tar.TypeChar, tar.TypeBlock), int64(g.IntN(300)), int64(g.IntN(70000))
	case k < 92:
		dir, base := split(name)
		h.Typeflag, h.Name = tar.TypeReg, join(dir, whiteoutPrefix+base)
	default:
		h.Typeflag, h.Name = tar.TypeReg, pick(g, "", name+"/", "a/", "usr/")+opaqueName
	}
	h.Name = pick(g, "", "", "./", "/", ".//") + h.Name
	g.xattrs(&h)
	return h
}

// time is before 1970, between, and after 2038, never about now and never one
// that ext4 cannot hold. It is never the epoch either, which marks directories
// that no entry describes.
func (g *generator) time() time.Time {
	sec := pick[int64](g, 0, 1, 1_000_000_000, -1_000_000_000, -1, 3_000_000_000, 8_000_000_000) + 1 + g.Int64N(1000)
	return time.Unix(sec, pick[int64](g, 0, 0, 1, 500_000_000, 999_999_999))
}

// xattrs adds what the kernel lets root set on the type.
func (g *generator) xattrs(h *tar.Header) {
	set := func(name, value string) {
		if g.IntN(5) == 0 {
			h.PAXRecords[xattrPrefix+name] = value
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		set("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		fallthrough
	case tar.TypeDir:
		set("user.one", pick(g, "1", "\x00\xff\n=", strings.Repeat("v", 300)))
		set("user.\xfe", "2")
		fallthrough
	case tar.TypeSymlink, tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		set("trusted.t", pick(g, "3", "\x00"))
	}
}

// tars writes the layers. A file holds its place in the image, so every one is
// unlike the others.
func (g *generator) tars(t *testing.T) (out [][]byte) {
	t.Helper()
	for i, headers := range g.layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for j, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatalf("%q: %v", h.Name, err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := io.WriteString(w, strings.Repeat(fmt.Sprintf("%03d-%03d\n", i, j), int(h.Size/8))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Bytes())
	}
	return out
}

func (g *generator) sources(t *testing.T) []Source { return layersOf(g.tars(t)...) }

// String shows the image for a message.
func (g *generator) String() string {
	var b strings.Builder
	for i, headers := range g.layers {
		fmt.Fprintf(&b, "layer %d\n", i)
		for _, h := range headers {
			fmt.Fprintf(&b, "  %c %q %q %04o %d:%d %d bytes, %v %q\n", h.Typeflag, h.Name, h.Linkname, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.UTC(), h.PAXRecords)
		}
	}
	return b.String()
}

// compare unpacks the image both ways and tells how that went.
func (g *generator) compare(t *testing.T, dir string, seed int) string {
	t.Helper()
	sink := &spool{}
	tr, ours := Flatten(t.Context(), g.sources(t), sink, Options{Epoch: time.Unix(0, 0)})
	rootfs, theirs := g.umoci(t, filepath.Join(dir, strconv.Itoa(seed)))
	defer os.RemoveAll(filepath.Join(dir, strconv.Itoa(seed)))
	switch {
	case ours != nil && theirs != nil:
		return "both refuse it"
	case ours != nil:
		t.Errorf("seed %d: refused here, not by umoci: %v\n%v", seed, ours, g)
		return "refused here"
	case theirs != nil:
		if strings.Contains(theirs.Error(), ": link: no such file or directory") {
			return "refused by umoci: hard link to what it replaces"
		}
		t.Errorf("seed %d: refused by umoci, not here: %v\n%v", seed, theirs, g)
		return "refused by umoci"
	}
	if diffs := differences(t, rootfs, tr); diffs != nil {
		t.Errorf("seed %d:\n%s\n%v", seed, strings.Join(diffs, "\n"), g)
	}
	return "same tree"
}

// umoci writes the image as an OCI layout and has umoci unpack it.
func (g *generator) umoci(t *testing.T, dir string) (rootfs string, err error) {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, b := range g.tars(t) {
		if img, err = mutate.AppendLayers(img, static.NewLayer(b, types.OCIUncompressedLayer)); err != nil {
			t.Fatal(err)
		}
	}
	path, err := layout.Write(filepath.Join(dir, "image"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"})); err != nil {
		t.Fatal(err)
	}
	rootfs = filepath.Join(dir, "rootfs")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "umoci", "raw", "unpack", "--image", filepath.Join(dir, "image")+":latest", rootfs).CombinedOutput()
	if err != nil {
		return rootfs, fmt.Errorf("%w: %s", err, out)
	}
	return rootfs, nil
}

// differences compares a tree with what umoci unpacked, in everything but the
// times that umoci takes from the clock.
func differences(t *testing.T, rootfs string, tr *tree.Tree) (out []string) {
	t.Helper()
	differ := func(name, what string, want, got any) {
		out = append(out, fmt.Sprintf("%q: %s is %v, umoci has %v", name, what, got, want))
	}
	nodes := maps.Collect(tr.Walk())
	inodes := map[uint64]*tree.Node{}
	err := filepath.WalkDir(rootfs, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		n := nodes[name]
		if n == nil {
			differ(name, "the name", "one", "missing")
			return nil
		}
		delete(nodes, name)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		isLink := info.Mode()&fs.ModeSymlink != 0
		inherits := n.Mode.IsDir() && n.ModTime.Equal(time.Unix(0, 0)) && info.Mode() == n.Mode|fs.ModeSetgid
		if n.Mode.Type() != info.Mode().Type() || n.Mode != info.Mode() && !isLink && !inherits {
			differ(name, "mode", info.Mode(), n.Mode)
		}
		if n.UID != st.Uid || n.GID != st.Gid && !inherits {
			differ(name, "owner", []uint32{st.Uid, st.Gid}, []uint32{n.UID, n.GID})
		}
		if !n.ModTime.Equal(info.ModTime()) && !(info.IsDir() && isNow(info.ModTime())) {
			differ(name, "time", info.ModTime().UTC(), n.ModTime.UTC())
		}
		if want := xattrsOf(t, path); !maps.Equal(want, n.Xattrs) {
			differ(name, "xattrs", want, n.Xattrs)
		}
		if !info.IsDir() && int(st.Nlink) != n.Links() {
			differ(name, "number of links", st.Nlink, n.Links())
		}
		if first := inodes[st.Ino]; first != nil && first != n {
			differ(name, "inode", "that of another name", "its own")
		}
		inodes[st.Ino] = n
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if got := contentOf(t, n); got != string(b) {
				differ(name, "content", string(b), got)
			}
		case isLink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if n.Target != target {
				differ(name, "target", target, n.Target)
			}
		case info.Mode()&fs.ModeDevice != 0:
			if want := (tree.Rdev{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}); n.Rdev != want {
				differ(name, "device", want, n.Rdev)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		differ(name, "the name", "none", nodes[name].Mode)
	}
	return out
}

func isNow(mtime time.Time) bool { return time.Since(mtime).Abs() < time.Hour }

// TestDifferencesSeesEachField plants one difference at a time.
func TestDifferencesSeesEachField(t *testing.T) {
	testneed.Root(t)
	defer syscall.Umask(syscall.Umask(0o022))
	rootfs := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(rootfs, 0o755))
	must(os.WriteFile(filepath.Join(rootfs, "f"), []byte("c"), 0o644))
	must(os.Link(filepath.Join(rootfs, "f"), filepath.Join(rootfs, "h")))
	must(os.Symlink("t", filepath.Join(rootfs, "s")))
	must(unix.Mknod(filepath.Join(rootfs, "n"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
	must(os.Mkdir(filepath.Join(rootfs, "d"), 0o755))
	for _, name := range []string{"f", "s", "n", "d", "."} {
		ts := []unix.Timespec{{Sec: 1000}, {Sec: 1000}}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(rootfs, name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	same := func() *tree.Tree {
		return flatten(t, archive(rawHeader('5', ".", octal(offMode, 8, 0o755)), rawFile("f", "c"), rawHeader('1', "h", put(offLink, "f")), rawHeader('2', "s", put(offLink, "t")),
			rawHeader('3', "n", octal(offDevMajor, 8, 1), octal(offDevMinor, 8, 3)), rawHeader('5', "d", octal(offMode, 8, 0o755))))
	}
	if diffs := differences(t, rootfs, same()); diffs != nil {
		t.Fatalf("differences where there are none: %q", diffs)
	}
	for what, change := range map[string]func(tr *tree.Tree, n *tree.Node){
		"mode":            func(_ *tree.Tree, n *tree.Node) { n.Mode |= fs.ModeSetuid },
		"owner":           func(_ *tree.Tree, n *tree.Node) { n.GID++ },
		"time":            func(_ *tree.Tree, n *tree.Node) { n.ModTime = n.ModTime.Add(1) },
		"xattrs":          func(_ *tree.Tree, n *tree.Node) { n.Xattrs = map[string]string{"user.a": ""} },
		"content":         func(_ *tree.Tree, n *tree.Node) { n.Content = &text{"d"} },
		"target":          func(tr *tree.Tree, _ *tree.Node) { lookup(t, tr, "s").Target = "u" },
		"device":          func(tr *tree.Tree, _ *tree.Node) { lookup(t, tr, "n").Rdev.Minor++ },
		"number of links": func(tr *tree.Tree, n *tree.Node) { must(tr.Put("d/h", n)) },
		"inode":           func(tr *tree.Tree, n *tree.Node) { c := *n; must(tr.Put("h", &c)) },
		"the name":        func(tr *tree.Tree, _ *tree.Node) { must(tr.Remove("d")) },
	} {
		tr := same()
		change(tr, lookup(t, tr, "f"))
		if diffs := differences(t, rootfs, tr); !strings.Contains(strings.Join(diffs, "\n"), ": "+what+" is ") {
			t.Errorf("%s: not seen among %q", what, diffs)
		}
	}
}

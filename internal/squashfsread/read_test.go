package squashfsread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// factsOf is what the reader says of an image, in the words of internal/facts.
func factsOf(t testing.TB, f *FS) facts.Set {
	t.Helper()
	types := []string{TypeDir: "dir", TypeFile: "file", TypeSymlink: "symlink", TypeBlock: "block", TypeChar: "char", TypeFIFO: "fifo", TypeSocket: "socket"}
	s, inodes := facts.Set{}, map[string]uint64{}
	err := f.Walk(func(name string, in *Inode) error {
		x := facts.Fact{
			Name: name, Type: types[in.Type], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: facts.Time{Sec: in.Mtime.Unix()},
			Xattrs: in.Xattrs, Target: in.Target,
		}
		if in.Type != TypeDir {
			x.Links = uint64(in.Links)
			inodes[name] = in.Ref
		}
		if in.Type == TypeBlock || in.Type == TypeChar {
			x.Rdev = fmt.Sprintf("%d:%d", in.Rdev.Major, in.Rdev.Minor)
		}
		if in.Type == TypeFile {
			r, err := in.Open()
			if err != nil {
				return err
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			x.Size, x.SHA256 = int64(in.Size), sum(b)
		}
		s[name] = x
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	facts.Group(s, inodes)
	return s
}

func openFile(t testing.TB, path string) *FS {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return openBytes(t, b)
}

func openBytes(t testing.TB, b []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sound demands that Check finds nothing.
func sound(t testing.TB, f *FS) {
	t.Helper()
	problems, err := f.Check(context.Background())
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %q", err, problems)
	}
}

// awkwardDir makes a folder of everything that an image may hold.
func awkwardDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name string, b []byte) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), b, 0o644))
	}
	must(os.MkdirAll(dir, 0o755))
	for _, size := range []int{0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 1 << 20, 1<<20 + 1, 3 << 20} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i * i >> 7)
		}
		write(fmt.Sprintf("sizes/%d", size), b)
	}
	noise := make([]byte, 500000)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	write("noise", noise)
	sparse := make([]byte, 2<<20+99)
	copy(sparse[1<<20:], "middle")
	write("sparse", sparse)
	write("zeros", make([]byte, 1<<20))
	for i := range 3000 {
		write(fmt.Sprintf("many/%s-%d", strings.Repeat("n", i%200), i), []byte(fmt.Sprint(i)))
	}
	write("hard/one", []byte("linked"))
	must(os.Link(at("hard/one"), at("hard/two")), os.Symlink("one", at("hard/link")), os.Symlink(strings.Repeat("t/", 2000), at("hard/long")))
	must(unix.Mknod(at("fifo"), unix.S_IFIFO|0o600, 0), unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0),
		unix.Mknod(at("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))), unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(os.Lchown(at("hard/one"), 70000, 4000000000), os.Chmod(at("hard"), 0o755|fs.ModeSticky|fs.ModeSetgid))
	for _, name := range []string{"noise", "hard", "many", "sizes/1", "sizes/3145728"} {
		must(unix.Setxattr(at(name), "user.note", []byte("value of "+name[:4]), 0), unix.Setxattr(at(name), "trusted.x", nil, 0), unix.Setxattr(at(name), "user.same", bytes.Repeat([]byte("same"), 200), 0))
	}
	write("bad\xff\nname", nil)
	when := time.Unix(1600000000, 0)
	return dir + setTimes(t, dir, when)
}

func setTimes(t *testing.T, dir string, when time.Time) string {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		at := []unix.Timespec{{Sec: when.Unix()}, {Sec: when.Unix()}}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, at, unix.AT_SYMLINK_NOFOLLOW))
	})
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

// TestReadsWhatMksquashfsMakes compares the reader with the kernel, on images of another
// writer.
func TestReadsWhatMksquashfsMakes(t *testing.T) {
	testneed.Root(t)
	testneed.Tool(t, "mksquashfs")
	dir := awkwardDir(t)
	for _, args := range []string{
		"-comp gzip", "-comp zstd -Xcompression-level 3", "-comp zstd -b 4096", "-comp gzip -b 1M -always-use-fragments", "-comp gzip -noI -noD -noF -noX -noId",
		"-comp gzip -no-fragments -no-exports -no-duplicates", "-comp zstd -no-xattrs", "-comp gzip -no-sparse -Xcompression-level 2",
	} {
		t.Run(args, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "img")
			out, err := exec.Command("mksquashfs", append([]string{dir, img, "-no-progress"}, strings.Fields(args)...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			mount, unmount := testneed.Mount(t, img, "ro")
			want, err := facts.FromDir(t.Context(), mount, facts.Options{Content: true})
			if err != nil {
				t.Fatal(err)
			}
			unmount()
			f := openFile(t, img)
			compare(t, want, factsOf(t, f))
			if len(want) < 3000 {
				t.Errorf("%d names", len(want))
			}
			sound(t, f)
		})
	}
}

func compare(t *testing.T, want, got facts.Set) {
	t.Helper()
	for i, line := range facts.Diff(want, got, facts.Fields(facts.Data)...) {
		if i == 20 {
			t.Fatal("and more")
		}
		t.Error(line)
	}
}

// TestReadsOtherCompressors names what it does not read.
func TestRefusesOtherCompressors(t *testing.T) {
	testneed.Tool(t, "mksquashfs")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"xz", "lz4", "lzo"} {
		img := filepath.Join(t.TempDir(), "img")
		if out, err := exec.Command("mksquashfs", dir, img, "-no-progress", "-comp", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bytes.NewReader(b), int64(len(b)), Options{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// image is an image in memory.
type image struct{ b []byte }

func (m *image) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if dir := filepath.Dir(name); dir != "." {
		if err := tr.MkdirAll(dir, tree.Node{Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

// sample is a small tree of everything.
func sample(t testing.TB) *tree.Tree {
	tr := tree.New()
	put(t, tr, "etc/hostname", &tree.Node{Mode: 0o644, Content: tree.Bytes("plugin\n")})
	put(t, tr, "etc/same", &tree.Node{Mode: 0o600, UID: 7, Content: tree.Bytes("plugin\n")})
	b := bytes.Repeat([]byte("some text "), 30000)
	put(t, tr, "large", &tree.Node{Mode: 0o644, Content: tree.Bytes(b)})
	put(t, tr, "large-again", &tree.Node{Mode: 0o644, Content: tree.Bytes(b)})
	put(t, tr, "sparse", &tree.Node{Mode: 0o644, Content: tree.Bytes(append(make([]byte, 300000), "end"...))})
	put(t, tr, "empty", &tree.Node{Mode: 0o644})
	hard := &tree.Node{Mode: 0o755, Content: tree.Bytes("hard"), Xattrs: map[string]string{"user.a": "b", "security.c": "\x00"}}
	put(t, tr, "hard1", hard)
	put(t, tr, "hard2", hard)
	put(t, tr, "dev/null", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "etc/hostname"})
	put(t, tr, "run/fifo", &tree.Node{Mode: fs.ModeNamedPipe | 0o600})
	put(t, tr, "run/socket", &tree.Node{Mode: fs.ModeSocket | 0o600})
	for i := range 400 {
		put(t, tr, fmt.Sprintf("many/%030d", i), &tree.Node{Mode: 0o644, Content: tree.Bytes(fmt.Sprint(i % 9))})
	}
	return tr
}

func sampleImage(t testing.TB, o squashfs.Options) []byte {
	t.Helper()
	o.Epoch = time.Unix(1700000000, 0)
	var m image
	if _, err := squashfs.Write(context.Background(), &m, sample(t), o); err != nil {
		t.Fatal(err)
	}
	return m.b
}

// TestReadsWhatTheWriterMakes compares with the tree that an image was made of.
func TestReadsWhatTheWriterMakes(t *testing.T) {
	for _, o := range []squashfs.Options{{}, {Compression: squashfs.Gzip}, {Compression: squashfs.None}} {
		f := openBytes(t, sampleImage(t, o))
		sound(t, f)
		got := factsOf(t, f)
		seen := 0
		for name, n := range sample(t).Walk() {
			seen++
			x := got[name]
			if x.Mode != uint32(tree.UnixMode(n.Mode)&0o7777) || x.UID != n.UID || x.Target != n.Target || len(x.Xattrs) != len(n.Xattrs) || n.Mode.IsRegular() && x.Size != n.Size() {
				t.Errorf("%q: %+v", name, x)
			}
			for k, v := range n.Xattrs {
				if x.Xattrs[k] != v {
					t.Errorf("%q: xattr %q is %q", name, k, x.Xattrs[k])
				}
			}
			if n.Mode.IsRegular() && n.Content != nil {
				r, _ := n.Content.Open()
				b, _ := io.ReadAll(r)
				if x.SHA256 != sum(b) {
					t.Errorf("%q: another content", name)
				}
			}
		}
		if seen != len(got) {
			t.Errorf("%d names, the tree has %d", len(got), seen)
		}
	}
}

func TestReadAtGivesEveryPart(t *testing.T) {
	f := openBytes(t, sampleImage(t, squashfs.Options{}))
	want := map[string][]byte{"large": bytes.Repeat([]byte("some text "), 30000), "sparse": append(make([]byte, 300000), "end"...), "etc/hostname": []byte("plugin\n")}
	err := f.Walk(func(name string, in *Inode) error {
		b, ok := want[name]
		if !ok {
			return nil
		}
		r, err := in.File()
		if err != nil {
			return err
		}
		for off := 0; off < len(b)+2; off += len(b)/7 + 1 {
			for _, n := range []int{0, 1, 5, 131072, 400000} {
				p := make([]byte, n)
				got, err := r.ReadAt(p, int64(off))
				rest := b[min(off, len(b)):]
				if (err == io.EOF) != (n > len(rest)) || !bytes.Equal(p[:got], rest[:min(n, len(rest))]) {
					t.Errorf("%q: %d bytes at %d: %d, %v", name, n, off, got, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLocateNamesEveryByte(t *testing.T) {
	b := sampleImage(t, squashfs.Options{})
	f := openBytes(t, b)
	seen := map[string]bool{}
	for off := range int64(len(b)) + 1 {
		if off > 200 && off < f.sb.InodeTable-3000 && off%997 != 0 {
			continue
		}
		what, err := f.Locate(context.Background(), off)
		if err != nil {
			t.Fatal(err)
		}
		seen[what] = true
	}
	for _, want := range []string{
		"superblock magic", "superblock export_table", "compressor options", `block 0 of "large"`, "fragment 0", "inode table", "directory table", "fragment table",
		"list of the blocks of the fragment table", "export table", "id table", "list of the blocks of the id table", "xattrs", "xattr table",
		"list of the blocks of the xattr table", "padding", "the end",
	} {
		if !seen[want] {
			t.Errorf("no byte is %q; there are %v", want, seen)
		}
	}
	if seen["data of no file"] {
		t.Error("a byte is of no file")
	}
}

// imageOf is an image of one file.
func imageOf(t testing.TB, c squashfs.Compression, content []byte) []byte {
	t.Helper()
	tr := tree.New()
	put(t, tr, "f", &tree.Node{Mode: 0o644, Content: tree.Bytes(content)})
	var m image
	if _, err := squashfs.Write(context.Background(), &m, tr, squashfs.Options{Compression: c}); err != nil {
		t.Fatal(err)
	}
	return m.b
}

// tiny is an image that fuzzing gets through.
func tiny(t testing.TB, o squashfs.Options) []byte {
	t.Helper()
	tr := tree.New()
	put(t, tr, "d/f", &tree.Node{Mode: 0o644, Content: tree.Bytes("small"), Xattrs: map[string]string{"user.a": "b"}})
	if o.Compression != squashfs.None { // it would be most of the image
		put(t, tr, "d/g", &tree.Node{Mode: 0o644, Content: tree.Bytes(append(make([]byte, 131072), bytes.Repeat([]byte("x"), 140000)...))})
	}
	put(t, tr, "l", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "d"})
	var m image
	if _, err := squashfs.Write(context.Background(), &m, tr, o); err != nil {
		t.Fatal(err)
	}
	return m.b
}

package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// TestKernelSeesTheTree mounts images and compares every inode with the tree.
func TestKernelSeesTheTree(t *testing.T) {
	tr := awkward(t)
	for _, o := range allOptions {
		t.Run(o.name(), func(t *testing.T) {
			dir, unmount := testneed.Mount(t, imageFile(t, tr, o), "ro")
			compareTree(t, dir, tr)
			unmount()
		})
	}
}

// reporter is told each difference: a test, or what controls one.
type reporter interface {
	Errorf(format string, args ...any)
}

func compareTree(t reporter, dir string, tr *tree.Tree) {
	inodes := map[uint64]*tree.Node{}
	for name, n := range tr.Walk() {
		path := filepath.Join(dir, name)
		compareInode(t, path, n)
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			continue // compareInode told it
		}
		if other := inodes[st.Ino]; other != nil && other != n {
			t.Errorf("%q: inode %d is another file's too", name, st.Ino)
		}
		inodes[st.Ino] = n
		if n.Mode.IsDir() {
			compareNames(t, path, n)
		}
	}
}

// compareNames compares what a directory says of its names: it has another record of
// types and inode numbers than the inodes.
func compareNames(t reporter, path string, dir *tree.Node) {
	names, err := listNames(path)
	if err != nil {
		t.Errorf("%q: %v", path, err)
	}
	for base, n := range dir.Children() {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(path, base), &st); err != nil {
			continue
		}
		if got, want := names[base], (entry{st.Ino, uint8(tree.UnixMode(n.Mode) & unix.S_IFMT >> 12)}); got != want {
			t.Errorf("%q: its directory has inode and type %v, want %v", filepath.Join(path, base), got, want)
		}
		delete(names, base)
	}
	if len(names) > 0 {
		t.Errorf("%q: names that the tree lacks: %v", path, names)
	}
}

// entry is what a directory says of a name.
type entry struct {
	inode uint64
	kind  uint8
}

// listNames asks the kernel, since os.ReadDir keeps no numbers.
func listNames(path string) (map[string]entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names := map[string]entry{}
	for buf := make([]byte, 1<<15); ; {
		n, err := unix.Getdents(int(f.Fd()), buf)
		if n <= 0 || err != nil {
			return names, err
		}
		for b := buf[:n]; len(b) > 0; { // struct linux_dirent64
			size := binary.NativeEndian.Uint16(b[16:])
			base, _, _ := bytes.Cut(b[19:size], []byte{0})
			if string(base) != "." && string(base) != ".." {
				names[string(base)] = entry{binary.NativeEndian.Uint64(b), b[18]}
			}
			b = b[size:]
		}
	}
}

func compareInode(t reporter, path string, n *tree.Node) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%q: %v", path, err)
		return
	}
	if st.Mode != tree.UnixMode(n.Mode) || st.Uid != n.UID || st.Gid != n.GID {
		t.Errorf("%q: mode %o owner %d:%d, want %o %d:%d", path, st.Mode, st.Uid, st.Gid, tree.UnixMode(n.Mode), n.UID, n.GID)
	}
	if got := time.Unix(st.Mtim.Unix()); got.Unix() != n.ModTime.Unix() {
		t.Errorf("%q: modified %v, want %v", path, got, n.ModTime)
	}
	links := n.Links()
	if n.Mode.IsDir() {
		links = 2
		for _, c := range n.Children() {
			if c.Mode.IsDir() {
				links++
			}
		}
	}
	if int(st.Nlink) != links {
		t.Errorf("%q: %d links, want %d", path, st.Nlink, links)
	}
	if n.Mode&fs.ModeDevice != 0 && (unix.Major(st.Rdev) != n.Rdev.Major || unix.Minor(st.Rdev) != n.Rdev.Minor) {
		t.Errorf("%q: device %d:%d, want %d:%d", path, unix.Major(st.Rdev), unix.Minor(st.Rdev), n.Rdev.Major, n.Rdev.Minor)
	}
	if n.Mode&fs.ModeSymlink != 0 {
		if target, _ := os.Readlink(path); target != n.Target {
			t.Errorf("%q: link to %.40q, want %.40q", path, target, n.Target)
		}
	}
	compareXattrs(t, path, n.Xattrs)
	if n.Mode.IsRegular() && n.Content != nil {
		got, err := os.ReadFile(path)
		r, _ := n.Content.Open()
		want, _ := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes differ from %d (%v)", path, len(got), len(want), err)
		}
	}
}

func compareXattrs(t reporter, path string, want map[string]string) {
	size, err := unix.Llistxattr(path, nil)
	if size == 0 && err == nil || errors.Is(err, unix.ENOTSUP) { // the kernel's word for a squashfs in which no inode has any
		if len(want) > 0 {
			t.Errorf("%q: no xattrs (%v), want %d", path, err, len(want))
		}
		return
	}
	buf := make([]byte, 1<<17)
	size, err = unix.Llistxattr(path, buf)
	if err != nil || bytes.Count(buf[:max(size, 0)], []byte{0}) != len(want) {
		t.Errorf("%q: xattrs %q (%v), want %d", path, buf[:max(size, 0)], err, len(want))
	}
	for key, value := range want {
		if size, err := unix.Lgetxattr(path, key, buf); err != nil || string(buf[:max(size, 0)]) != value {
			t.Errorf("%q: xattr %s is %.40q (%v), want %.40q", path, key, buf[:max(size, 0)], err, value)
		}
	}
}

// TestRandomTreesAgainstTheKernel makes trees of all kinds of nodes, names and sizes.
func TestRandomTreesAgainstTheKernel(t *testing.T) {
	testneed.Root(t)
	for seed := range uint64(len(allOptions)) {
		tr := randomTree(t, seed)
		o := allOptions[seed]
		dir, unmount := testneed.Mount(t, imageFile(t, tr, o), "ro")
		compareTree(t, dir, tr)
		unmount()
		if t.Failed() {
			t.Fatalf("seed %d, %s", seed, o.name())
		}
	}
}

func randomTree(t testing.TB, seed uint64) *tree.Tree {
	rng := rand.New(rand.NewPCG(seed, 3))
	tr := tree.New()
	dirs, files := []string{""}, []*tree.Node{}
	text := words(seed, 8*blockSize) // of which contents are pieces
	piece := func(at, most int) []byte {
		return bytes.Clone(text[at : at+rng.IntN(most)])
	}
	for range 200 + rng.IntN(800) {
		base := make([]byte, 1+rng.IntN(1+rng.IntN(255)))
		for i := range base {
			for base[i] == 0 || base[i] == '/' {
				base[i] = byte(rng.Uint32())
			}
		}
		dir := dirs[rng.IntN(len(dirs))]
		name := dir + string(base)
		if tree.CheckName(name) != nil || name == "." {
			continue
		}
		if _, err := tr.Lookup(name); err == nil {
			continue
		}
		n := &tree.Node{UID: rng.Uint32N(1 << 31), GID: rng.Uint32N(4), ModTime: time.Unix(int64(rng.Uint32()), 0)}
		n.Mode = fs.FileMode(rng.Uint32()) & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		if rng.IntN(10) == 0 {
			n.Xattrs = map[string]string{"user.a": string(noise(rng.Uint64(), rng.IntN(3000))), "trusted.b": fmt.Sprint(rng.IntN(3))}
		}
		switch rng.IntN(10) {
		case 0, 1:
			n.Mode |= fs.ModeDir
			if len(name) < 3000 {
				dirs = append(dirs, name+"/")
			}
		case 2:
			n.Mode |= fs.ModeSymlink | 0o777
			n.Xattrs = nil
			n.Target = "t" + strings.ReplaceAll(string(piece(rng.IntN(blockSize), 4000)), "\x00", "0")
		case 3:
			n.Mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeSocket, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}[rng.IntN(4)]
			delete(n.Xattrs, "user.a")
			n.Rdev = tree.Rdev{Major: rng.Uint32N(4096), Minor: rng.Uint32N(1 << 20)}
			if n.Mode&fs.ModeDevice == 0 {
				n.Rdev = tree.Rdev{}
			}
		case 4:
			if len(files) > 0 {
				n = files[rng.IntN(len(files))]
			}
		case 5:
			b := tree.Bytes(piece(rng.IntN(blockSize), 3*blockSize))
			for at := 0; at+blockSize <= len(b); at += blockSize {
				if rng.IntN(2) == 0 {
					clear(b[at : at+blockSize])
				}
			}
			n.Content = b
		default:
			n.Content = tree.Bytes(piece(rng.IntN(300), 1+rng.IntN(20000)))
		}
		if n.Mode.IsRegular() {
			files = append(files, n)
		}
		put(t, tr, name, n)
	}
	return tr
}

// TestManyNames has 3,000 names in one directory, which is 40 metadata blocks with an
// index, and 33,000 in many, behind which there is a file whose number is too far from
// the directory's for one run, although their inodes are in one block.
func TestManyNames(t *testing.T) {
	testneed.Root(t)
	tr := tree.New()
	for i := range 33_000 {
		if i < 3_000 {
			put(t, tr, fmt.Sprintf("one/%06d-%s", i*7919%3_000, strings.Repeat("x", i%200)), &tree.Node{Mode: 0o644, Content: tree.Bytes(fmt.Sprint(i))})
		}
		put(t, tr, fmt.Sprintf("many/%d/%d/%d", i%10, i%100, i), &tree.Node{Mode: 0o644, UID: uint32(i % 20_000)})
	}
	put(t, tr, "many-behind", &tree.Node{Mode: 0o644})
	dir, unmount := testneed.Mount(t, imageFile(t, tr, Options{Level: 1}), "ro")
	compareTree(t, dir, tr)
	for _, name := range []string{"one/-", "one/000000", "one/001500-y", "one/002999-", "one/zzz", "many/1/1/2"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
	unmount()
}

// holey is a large file: a few words at some places, zeros elsewhere.
type holey struct {
	size int64
	at   []int64
}

func (h holey) Size() int64 { return h.size }
func (h holey) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(h, 0, h.size)), nil
}

func (h holey) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for _, at := range h.at {
		if at >= off && at < off+int64(len(p)) {
			copy(p[at-off:], fmt.Sprintf("at %d", at))
		}
	}
	return len(p), nil
}

// TestLargeXattrs is about values that other filesystems do not take.
func TestLargeXattrs(t *testing.T) {
	tr := tree.New()
	put(t, tr, "at-the-limit", &tree.Node{Mode: 0o644, Xattrs: map[string]string{"user.a": string(noise(1, maxXattrValue)), "user.b": string(noise(2, maxXattrValue))}})
	for i := range 1000 {
		put(t, tr, fmt.Sprint("many/", i), &tree.Node{Mode: 0o644, Xattrs: map[string]string{"user.a": fmt.Sprint(i), "user.same": "same"}})
	}
	dir, unmount := testneed.Mount(t, imageFile(t, tr, Options{}), "ro")
	compareTree(t, dir, tr)
	unmount()
}

func TestFileOfMoreThan4GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: reads 5 GiB of zeros; run without -short")
	}
	testneed.Root(t)
	h := holey{5<<30 + 77, []int64{0, 1 << 30, 1<<32 - 20, 1<<32 + 5, 5<<30 + 30}}
	tr := tree.New()
	put(t, tr, "large", &tree.Node{Mode: 0o644, Content: h})
	img := imageFile(t, tr, Options{})
	if info, err := os.Stat(img); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v, %d bytes", err, info.Size())
	}
	dir, unmount := testneed.Mount(t, img, "ro")
	f, err := os.Open(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != h.size {
		t.Fatalf("%v, %d bytes", err, info.Size())
	}
	got, want := make([]byte, 300000), make([]byte, 300000)
	for _, at := range append(h.at, 12345678, h.size-1000) {
		at = max(0, at-1000)
		n, _ := f.ReadAt(got, at)
		h.ReadAt(want[:n], at)
		if n == 0 || !bytes.Equal(got[:n], want[:n]) {
			t.Errorf("at %d: %d bytes differ", at, n)
		}
	}
	f.Close()
	unmount()
}

// TestUnsquashfsAgrees lets squashfs-tools unpack images, and compares what it made.
func TestUnsquashfsAgrees(t *testing.T) {
	testneed.Root(t)
	testneed.Tool(t, "unsquashfs")
	tr := awkward(t)
	for _, o := range allOptions {
		t.Run(o.name(), func(t *testing.T) {
			img := imageFile(t, tr, o)
			if o.Level == 0 { // the level is not the reader's business
				compareUnpacked(t, img, tr)
			}
			super, err := exec.Command("unsquashfs", "-s", img).CombinedOutput()
			if err != nil {
				t.Fatalf("unsquashfs -s: %v\n%s", err, super)
			}
			for _, want := range []string{
				"Creation or last append time Tue Nov 14 22:13:20 2023", "Block size 131072", "Duplicates are removed",
				"Filesystem is exportable via NFS", fmt.Sprintf("Number of inodes %d\n", inodeCount(tr)),
			} {
				if !strings.Contains(string(super), want) {
					t.Errorf("unsquashfs -s lacks %q:\n%s", want, super)
				}
			}
			if level := fmt.Sprintf("compression-level %d\n", o.level()); compressorOptions(o) != nil && !strings.Contains(string(super), level) {
				t.Errorf("unsquashfs -s lacks %q:\n%s", level, super)
			}
		})
	}
}

func compareUnpacked(t *testing.T, img string, tr *tree.Tree) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if out, err := unsquashfs(t, img, dir); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	for name, n := range tr.Walk() {
		if n.Mode.IsDir() { // their link counts are the folder's
			continue
		}
		compareInode(t, filepath.Join(dir, name), n)
	}
}

func inodeCount(tr *tree.Tree) int {
	seen := map[*tree.Node]bool{}
	for _, n := range tr.Walk() {
		seen[n] = true
	}
	return len(seen)
}

// differences collects what a comparison finds.
type differences []string

func (d *differences) Errorf(format string, args ...any) {
	*d = append(*d, fmt.Sprintf(format, args...))
}

// small is a tree in which each value of its controls is once.
func small(t *testing.T) *tree.Tree {
	tr := tree.New()
	put(t, tr, "content", &tree.Node{Mode: 0o644, Content: tree.Bytes("plugin\n")})
	put(t, tr, "target", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "usr/bin/b"})
	put(t, tr, "emptydir", &tree.Node{Mode: fs.ModeDir | 0o755})
	put(t, tr, "xattr", &tree.Node{Mode: 0o644, Xattrs: map[string]string{"user.note": "noted"}})
	put(t, tr, "owner", &tree.Node{Mode: 0o644, UID: 70000})
	put(t, tr, "time", &tree.Node{Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1234567890, 0)})
	return tr
}

// TestComparisonSeesWhatAReaderTakes is the control of the tests above: images that are
// whole for every reader, and of which one value is another than the tree's.
func TestComparisonSeesWhatAReaderTakes(t *testing.T) {
	testneed.Root(t)
	testneed.Tool(t, "unsquashfs")
	tr := small(t)
	whole, _ := makeImage(t, tr, Options{Compression: None})
	le := binary.LittleEndian
	for _, tt := range []struct{ what, from, to, path string }{
		{"content", "plugin\n", "plugiN\n", "content"},
		{"target", "usr/bin/b", "usr/bin/c", "target"},
		{"name", "emptydir", "emptydis", "emptydir"},
		{"xattr", "noted", "noteD", "xattr"},
		{"owner", string(le.AppendUint32(nil, 70000)), string(le.AppendUint32(nil, 70001)), "owner"},
		{"time", string(le.AppendUint32(nil, 1234567890)), string(le.AppendUint32(nil, 1234567891)), "time"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if n := bytes.Count(whole, []byte(tt.from)); n != 1 {
				t.Fatalf("%.20q is %d times in the image", tt.from, n)
			}
			img := filepath.Join(t.TempDir(), "test.img")
			if err := os.WriteFile(img, bytes.Replace(whole, []byte(tt.from), []byte(tt.to), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			mounted, unmount := testneed.Mount(t, img, "ro")
			defer unmount()
			unpacked := filepath.Join(t.TempDir(), "out")
			if out, err := unsquashfs(t, img, unpacked); err != nil {
				t.Fatalf("unsquashfs: %v\n%s", err, out)
			}
			for _, dir := range []string{mounted, unpacked} {
				var got differences
				n, err := tr.Lookup(tt.path)
				if err != nil {
					t.Fatal(err)
				}
				compareInode(&got, filepath.Join(dir, tt.path), n)
				if len(got) != 1 {
					t.Errorf("%s: the differences are %q, want one", dir, got)
				}
			}
		})
	}
}

// TestReadersSeeDamage breaks the first block of the directories, which no reader can do without.
func TestReadersSeeDamage(t *testing.T) {
	testneed.Root(t)
	testneed.Tool(t, "unsquashfs")
	tr := small(t)
	img := imageFile(t, tr, Options{})
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at [8]byte
	if _, err := f.ReadAt(at[:], 72); err != nil { // where the directories begin
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), int64(binary.LittleEndian.Uint64(at[:]))+2); err != nil {
		t.Fatal(err)
	}
	if out, err := unsquashfs(t, img, filepath.Join(t.TempDir(), "out")); err == nil {
		t.Errorf("unsquashfs has nothing to say:\n%s", out)
	}
	dir, unmount := testneed.Mount(t, img, "ro")
	defer unmount()
	var got differences
	if compareTree(&got, dir, tr); len(got) == 0 {
		t.Error("the kernel shows the whole tree")
	}
}

// unsquashfs unpacks an image into a new folder.
func unsquashfs(t *testing.T, img, dir string) ([]byte, error) {
	return exec.CommandContext(t.Context(), "unsquashfs", "-strict-errors", "-no-progress", "-d", dir, img).CombinedOutput()
}

package xfsread

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// factsOf is what the reader says of an image, in the words of internal/facts.
func factsOf(t testing.TB, f *FS) facts.Set {
	t.Helper()
	types := map[uint16]string{TypeDir: "dir", TypeFile: "file", TypeSymlink: "symlink", TypeBlock: "block", TypeChar: "char", TypeFIFO: "fifo", TypeSocket: "socket"}
	s, inodes := facts.Set{}, map[string]uint64{}
	err := f.Walk(func(name string, in *Inode) error {
		x := facts.Fact{
			Name: name, Type: types[in.Type], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Mtime: facts.Time{Sec: in.Mtime.Unix(), Nsec: int64(in.Mtime.Nanosecond())},
			Xattrs: in.Xattrs, Target: in.Target,
		}
		if in.Type != TypeDir {
			x.Links = uint64(in.Links)
			inodes[name] = in.Number
		}
		if in.Type == TypeBlock || in.Type == TypeChar {
			x.Rdev = fmt.Sprintf("%d:%d", in.Rdev.Major, in.Rdev.Minor)
		}
		if in.Type == TypeFile {
			var err error
			if x.Size, x.SHA256, x.Data, err = content(in); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
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

func content(in *Inode) (size int64, sum string, data []facts.Extent, err error) {
	file, err := in.File()
	if err != nil {
		return 0, "", nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, in.Size)); err != nil {
		return 0, "", nil, err
	}
	for _, r := range file.Data() {
		start, end := r[0]/facts.Block*facts.Block, (r[1]+facts.Block-1)/facts.Block*facts.Block
		if n := len(data); n > 0 && data[n-1].End >= start {
			data[n-1].End = end
		} else {
			data = append(data, facts.Extent{Start: start, End: end})
		}
	}
	return in.Size, hex.EncodeToString(h.Sum(nil)), data, nil
}

// format makes an image. Args are those of mkfs.xfs.
func format(t testing.TB, mib int64, args string) string {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "mkfs.xfs")
	program, err := testneed.Look("mkfs.xfs")
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "img")
	if err := errors.Join(os.WriteFile(img, nil, 0o644), os.Truncate(img, mib<<20)); err != nil {
		t.Fatal(err)
	}
	if mib < 300 {
		args += " --unsupported" // so small
	}
	if out, err := exec.Command(program, append(strings.Fields(args), "-q", img)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return img
}

func openFile(t testing.TB, path string, opt Options) *FS {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	st, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(r, st.Size(), opt)
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

// filler puts things into a mounted filesystem.
type filler struct {
	t   testing.TB
	dir string
}

func (p filler) at(name string) string { return filepath.Join(p.dir, name) }

func (p filler) must(errs ...error) {
	p.t.Helper()
	if err := errors.Join(errs...); err != nil {
		p.t.Fatal(err)
	}
}

func (p filler) write(name string, b []byte) {
	p.t.Helper()
	p.must(os.MkdirAll(filepath.Dir(p.at(name)), 0o755), os.WriteFile(p.at(name), b, 0o644))
}

func (p filler) xattr(name, attr string, value []byte) {
	p.t.Helper()
	p.must(unix.Lsetxattr(p.at(name), attr, value, 0))
}

func noise(n int, seed uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return b
}

// everything fills in whatever an image may hold, names many of one directory.
func (p filler) everything(names int) {
	p.contents()
	p.names(names)
	p.special()
	p.xattrs()
	p.times()
}

func (p filler) contents() {
	for _, size := range []int{0, 1, 511, 1023, 1024, 1025, 4095, 4096, 4097, 65536, 1<<20 + 1} {
		p.write(fmt.Sprintf("sizes/%d", size), noise(size, uint32(size)))
	}
	f, err := os.Create(p.at("fragmented"))
	p.must(err)
	for i := range int64(2500) {
		_, err := f.WriteAt(noise(1000, uint32(i)), i*8192)
		p.must(err)
	}
	p.must(f.Truncate(2500*8192+5000), f.Close())
	f, err = os.Create(p.at("sparse"))
	p.must(err)
	_, err = f.WriteAt([]byte("middle"), 40<<20+5)
	p.must(err, f.Truncate(64<<20+7), f.Close())
	f, err = os.Create(p.at("unwritten"))
	p.must(err, unix.Fallocate(int(f.Fd()), 0, 0, 300000))
	_, err = f.WriteAt([]byte("written"), 100000)
	p.must(err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 300000, 100000), f.Close())
}

func (p filler) names(many int) {
	for i := range many {
		p.write(fmt.Sprintf("many/%s-%d", strings.Repeat("n", i%50), i), nil)
	}
	for i := range 3000 {
		p.write(fmt.Sprintf("some/%d", i), nil)
	}
	for i := range 2900 { // leaves blocks that are empty, and holes for them
		p.must(os.Remove(p.at(fmt.Sprintf("some/%d", i))))
	}
	for i := range 40 {
		p.write(fmt.Sprintf("few/%d", i), nil)
	}
	p.write("short/1", nil)
	p.write("long/"+strings.Repeat("l", 255), nil)
	p.write("long/"+strings.Repeat("ü", 127), nil)
	p.write("bad\xff\xfe\nname", nil)
	deep := strings.Repeat("deep/", 100)
	p.write(deep+"end", []byte("end"))
	p.must(os.MkdirAll(p.at("empty"), 0o700))
}

func (p filler) special() {
	p.write("hard/one", []byte("linked"))
	p.must(os.Link(p.at("hard/one"), p.at("hard/two")), os.Link(p.at("hard/one"), p.at("three")))
	for _, n := range []int{1, 50, 300, 400, 900, 1000, 1022, 1023} {
		p.must(os.Symlink(strings.Repeat("t", n), p.at(fmt.Sprintf("hard/link%d", n))))
	}
	p.must(unix.Mknod(p.at("fifo"), unix.S_IFIFO|0o600, 0), unix.Mknod(p.at("socket"), unix.S_IFSOCK|0o600, 0),
		unix.Mknod(p.at("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))), unix.Mknod(p.at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 200000))))
	p.must(os.Lchown(p.at("hard/one"), 70000, 4000000000), unix.Chmod(p.at("hard"), 0o3755), unix.Chmod(p.at("hard/one"), 0o6755))
}

// list is an access control list as setxattr(2) takes it.
func list(entries ...[3]uint32) []byte {
	b := le.AppendUint32(nil, 2)
	for _, e := range entries {
		b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, uint16(e[0])), uint16(e[1])), e[2])
	}
	return b
}

func (p filler) xattrs() {
	rights := list([3]uint32{1, 7, noID}, [3]uint32{2, 5, 1234}, [3]uint32{4, 5, noID}, [3]uint32{8, 4, 70000}, [3]uint32{16, 5, noID}, [3]uint32{32, 1, noID})
	p.xattr("few", "system.posix_acl_default", rights)
	p.xattr("few", "system.posix_acl_access", rights)
	p.xattr("few/1", "system.posix_acl_access", rights)
	p.xattr("sizes/4096", "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	for _, name := range []string{"fragmented", "hard", "hard/one", "hard/link50", "hard/link1023", "fifo", "sizes/0", "some"} {
		space := "trusted."
		if fi, err := os.Lstat(p.at(name)); err == nil && (fi.Mode().IsRegular() || fi.IsDir()) {
			p.xattr(name, "user.note", []byte("value of "+name))
			space = "user."
		}
		p.xattr(name, "trusted.empty", nil)
		p.xattr(name, space+strings.Repeat("x", 100), bytes.Repeat([]byte("same"), 60))
	}
	p.xattr("sizes/1", "user.large", noise(64<<10, 1))
	p.xattr("sizes/1", "user."+strings.Repeat("n", 250), noise(5000, 1))
	p.xattr("sizes/511", "user.leaf", noise(700, 1)) // one block
	p.xattr("sizes/1023", "user.remote", noise(4000, 1))
	for i := range 700 { // a tree
		p.xattr("sizes/65536", fmt.Sprintf("user.attribute-%d", i), noise(i, uint32(i)))
	}
	for i := range 60 { // in turn, so that neither is in one piece
		p.xattr("sizes/4095", fmt.Sprintf("user.%d", i), noise(20000, uint32(i)))
		p.xattr("sizes/4097", fmt.Sprintf("user.%d", i), noise(20000, uint32(i)))
	}
}

const noID = 1<<32 - 1

func (p filler) times() {
	for i, sec := range []int64{-1 << 31, -1, 0, 1<<31 - 1, 1 << 31, 1 << 33, 16299260424} {
		name := fmt.Sprintf("sizes/time%d", i)
		p.write(name, nil)
		at := []unix.Timespec{{Sec: sec}, {Sec: sec, Nsec: 999999999}}
		p.must(unix.UtimesNanoAt(unix.AT_FDCWD, p.at(name), at, 0))
	}
}

// kernelSays is what the kernel shows of an image.
func kernelSays(t testing.TB, img string) facts.Set {
	t.Helper()
	dir, unmount := testneed.Mount(t, img, "ro")
	// What is in the page cache counts as data, so the map is made before content is read.
	mapped, err := facts.FromDir(t.Context(), dir, facts.Options{Extents: facts.Mapped})
	if err != nil {
		t.Fatal(err)
	}
	want, err := facts.FromDir(t.Context(), dir, facts.Options{Content: true})
	if err != nil {
		t.Fatal(err)
	}
	unmount()
	for name, x := range want {
		x.Data = mapped[name].Data
		want[name] = x
		delete(x.Xattrs, "trusted.SGI_ACL_FILE") // shown twice
		delete(x.Xattrs, "trusted.SGI_ACL_DEFAULT")
	}
	return want
}

// TestReadsWhatTheKernelWrites compares the reader with the kernel.
func TestReadsWhatTheKernelWrites(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Cleanup(func() { complete(t, seen) })
	for _, args := range []string{
		"-m reflink=1,rmapbt=1,bigtime=1 -i size=512",
		"-b size=1024 -m reflink=0,bigtime=0,finobt=0 -i size=512,nrext64=1",
		"-b size=4096 -n size=8192 -i size=2048,sparse=0 -m bigtime=1",
		"-b size=1024 -n size=16384 -d agcount=3",
		"-b size=2048 -m rmapbt=1,uuid=11111111-2222-3333-4444-555555555555 -i size=1024,nrext64=1",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			img := format(t, 320, args)
			dir, unmount := testneed.Mount(t, img, "")
			const many = 2500
			p := filler{t, dir}
			p.everything(many)
			if strings.Contains(args, "reflink=1") {
				p.clone("sizes/1048577", "clone")
			}
			unmount()
			want := kernelSays(t, img)
			f := openFile(t, img, Options{Verify: true})
			for i, line := range facts.Diff(want, factsOf(t, f)) {
				if i == 20 {
					t.Fatal("and more")
				}
				t.Error(line)
			}
			if len(want) < many+200 {
				t.Errorf("%d names", len(want))
			}
			sound(t, f)
			mu.Lock()
			defer mu.Unlock()
			forms(t, f, seen)
		})
	}
}

// complete demands that the images had every structure.
func complete(t *testing.T, seen map[string]bool) {
	if t.Failed() || t.Skipped() || len(seen) == 0 {
		return
	}
	for _, want := range []string{
		"dir local", "dir extents", "dir btree", "file extents", "file btree", "symlink local", "symlink extents", "xattrs local", "xattrs extents", "xattrs btree",
		"block directory", "data directory", "level 2 tree", "xattr leaf", "xattr node",
	} {
		if !seen[want] {
			t.Errorf("no image has %s; there are %v", want, seen)
		}
	}
}

// TestReadsALargeDirectory compares names with what was made.
func TestReadsALargeDirectory(t *testing.T) {
	t.Parallel()
	const n = 70000
	img := format(t, 320, "-b size=1024")
	dir, unmount := testneed.Mount(t, img, "")
	p := filler{t, dir}
	p.must(os.Mkdir(p.at("many"), 0o755))
	for i := range n {
		p.must(unix.Mknod(p.at(fmt.Sprintf("many/%s%d", strings.Repeat("n", i%90), i)), unix.S_IFIFO|0o600, 0))
	}
	unmount()
	f := openFile(t, img, Options{Verify: true})
	got := map[string]bool{}
	err := f.Walk(func(name string, _ *Inode) error {
		got[name] = true
		return nil
	})
	if err != nil || len(got) != n+2 {
		t.Errorf("%d names, want %d; %v", len(got), n+2, err)
	}
	for i := range n {
		if name := fmt.Sprintf("many/%s%d", strings.Repeat("n", i%90), i); !got[name] {
			t.Fatalf("%q is not there", name)
		}
	}
	sound(t, f)
}

// clone makes a file that has its blocks in common with another.
func (p filler) clone(from, to string) {
	p.t.Helper()
	a, err := os.Open(p.at(from))
	p.must(err)
	b, err := os.Create(p.at(to))
	p.must(err, unix.IoctlFileClone(int(b.Fd()), int(a.Fd())), a.Close(), b.Close())
}

// forms notes which structures an image has.
func forms(t *testing.T, f *FS, seen map[string]bool) {
	t.Helper()
	types := map[uint16]string{TypeDir: "dir ", TypeFile: "file ", TypeSymlink: "symlink ", TypeFIFO: "", TypeSocket: "", TypeBlock: "", TypeChar: ""}
	magic := func(in *Inode, k *fork) []byte {
		list, _, err := in.extents(k)
		b := make([]byte, 16)
		if err == nil && len(list) > 0 {
			err = f.readAt(b, list[0].place, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	err := f.Walk(func(_ string, in *Inode) error {
		seen[types[in.Type]+formatNames[in.data.format]] = true
		if in.data.format == formatBtree && in.data.b[1] >= 2 {
			seen["level 2 tree"] = true
		}
		if in.Type == TypeDir && in.data.format > formatLocal {
			seen[map[uint32]string{dirBlockMagic: "block directory", dirDataMagic: "data directory"}[be.Uint32(magic(in, &in.data))]] = true
		}
		if in.attr.there {
			seen["xattrs "+formatNames[in.attr.format]] = true
			if in.attr.format > formatLocal && in.attr.extents > 0 {
				seen[map[uint16]string{attrLeafMagic: "xattr leaf", attrNodeMagic: "xattr node"}[be.Uint16(magic(in, &in.attr)[8:])]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

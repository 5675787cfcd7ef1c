package btrfsread

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
			Name: name, Type: types[in.Type], Mode: uint32(in.Mode), UID: in.UID, GID: in.GID, Target: in.Target, Xattrs: in.Xattrs,
			Mtime: facts.Time{Sec: in.Mtime.Unix(), Nsec: int64(in.Mtime.Nanosecond())},
		}
		if in.Type != TypeDir {
			x.Links = uint64(in.Links)
			inodes[name] = in.Number
		}
		if in.Type == TypeBlock || in.Type == TypeChar {
			x.Rdev = fmt.Sprintf("%d:%d", in.Rdev.Major, in.Rdev.Minor)
		}
		s[name] = x
		if in.Type != TypeFile {
			return nil
		}
		x.Size = int64(in.Size)
		file, err := in.File()
		if err != nil {
			return err
		}
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(file, 0, x.Size)); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		x.SHA256 = fmt.Sprintf("%x", h.Sum(nil))
		for _, r := range file.Data() {
			x.Data = append(x.Data, facts.Extent{Start: r[0], End: (r[1] + facts.Block - 1) / facts.Block * facts.Block})
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
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	st, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(file, st.Size(), Options{Verify: true})
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

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// noise gives bytes that do not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// makeImage makes an image with mkfs.btrfs and lets fill put files into it through the
// kernel. It gives what the kernel sees when the image is mounted again.
func makeImage(t testing.TB, size int64, mkfs, mount string, fill func(dir string)) (string, facts.Set) {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "mkfs.btrfs")
	img := filepath.Join(fastDir(t), "img")
	must(t, os.WriteFile(img, nil, 0o600), os.Truncate(img, size))
	program, err := testneed.Look("mkfs.btrfs")
	must(t, err)
	if out, err := exec.Command(program, append(strings.Fields(mkfs), "-q", img)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, unmount := testneed.Mount(t, img, "nobarrier,"+mount)
	fill(dir)
	unmount()
	dir, unmount = testneed.Mount(t, img, "ro")
	want, err := facts.FromDir(context.Background(), dir, facts.Options{Content: true, Extents: facts.Mapped})
	must(t, err)
	unmount()
	return img, want
}

// fastDir is a folder in memory where there is one: the kernel waits for the image's disk at
// each of the many syncs.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "btrfsread-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
}

// fillAwkward makes everything that an image may hold.
func fillAwkward(t testing.TB, dir string, many int) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, size := range []int{0, 1, 100, 2047, 2048, 2049, 4000, 4095, 4096, 4097, 131071, 131072, 131073, 1 << 20, 1<<20 + 1, 3 << 20} {
		write(t, at(fmt.Sprintf("sizes/noise-%d", size)), noise(size))
		write(t, at(fmt.Sprintf("sizes/text-%d", size)), bytes.Repeat([]byte("some text "), size/10+1)[:size])
	}
	fillContent(t, at)
	for i := range many {
		write(t, at(fmt.Sprintf("many/%s-%d", strings.Repeat("n", i%200), i)), fmt.Append(nil, i))
	}
	write(t, at("hard/one"), []byte("linked"))
	for i := range 350 { // more than the references of one item
		must(t, os.Link(at("hard/one"), at(fmt.Sprintf("hard/%0200d", i))))
	}
	must(t, os.Symlink("one", at("hard/link")), os.Symlink(strings.Repeat("t/", 1900), at("hard/long")))
	must(t, unix.Mknod(at("fifo"), unix.S_IFIFO|0o600, 0), unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0),
		unix.Mknod(at("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))), unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(t, os.Lchown(at("hard/one"), 70000, 4000000000), os.Chmod(at("hard"), 0o755|fs.ModeSticky|fs.ModeSetgid))
	write(t, at(strings.Repeat("\xff", 255)), nil)
	write(t, at("bad\xff\nname"), nil)
	fillXattrs(t, at)
	for i, sec := range []int64{-1, -2147483649, -62135596800, 0, 4294967296, 253402300800} {
		name := at(fmt.Sprintf("times/%d", i))
		write(t, name, nil)
		when := []unix.Timespec{{Sec: sec, Nsec: 999999999}, {Sec: sec, Nsec: 999999999}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, when, 0))
	}
	must(t, os.Mkdir(at("gone"), 0o755), os.Remove(at("gone")), os.Rename(at("sizes/noise-1"), at("renamed")))
}

// fillContent makes files whose content is in pieces.
func fillContent(t testing.TB, at func(string) string) {
	t.Helper()
	open := func(name string) *os.File {
		file, err := os.OpenFile(at(name), os.O_CREATE|os.O_RDWR, 0o644)
		must(t, err)
		t.Cleanup(func() { file.Close() })
		return file
	}
	put := func(file *os.File, b []byte, off int64) {
		_, err := file.WriteAt(b, off)
		must(t, err)
	}
	write(t, at("zeros"), make([]byte, 1<<20))
	sparse := open("sparse")
	put(sparse, []byte("middle"), 1<<20)
	must(t, sparse.Truncate(5<<20+99), sparse.Close())
	inline := open("inline-grown")
	put(inline, []byte("small"), 0)
	must(t, inline.Sync(), inline.Truncate(3<<20), inline.Close())
	alloc := open("preallocated")
	must(t, unix.Fallocate(int(alloc.Fd()), 0, 0, 1<<20), unix.Fallocate(int(alloc.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 1<<20))
	put(alloc, noise(5000), 100000)
	must(t, alloc.Sync(), alloc.Close())
	pieces := open("pieces")
	put(pieces, bytes.Repeat([]byte("abcd"), 100000), 0)
	must(t, pieces.Sync())
	for i := range 60 {
		put(pieces, noise(4096), int64(i)*9000)
		must(t, pieces.Sync())
	}
	must(t, unix.Fallocate(int(pieces.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 40960, 81920), pieces.Truncate(450001), pieces.Close())
}

// fillXattrs makes names with all sorts of xattrs.
func fillXattrs(t testing.TB, at func(string) string) {
	t.Helper()
	for _, name := range []string{"zeros", "hard", "many", "sizes/noise-4096"} {
		must(t, unix.Setxattr(at(name), "user.note", []byte("value of "+name[:4]), 0), unix.Setxattr(at(name), "trusted.x", nil, 0),
			unix.Setxattr(at(name), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x09\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
		must(t, unix.Setxattr(at(name), "system.posix_acl_access", acl, 0))
	}
	write(t, at("xattrs/large"), nil)
	size := 0 // the largest value that this node size takes
	for try := 1 << 16; try > 0; try /= 2 {
		if unix.Setxattr(at("xattrs/large"), "user.large", noise(size+try), 0) == nil {
			size += try
		}
	}
	if size < 2000 {
		t.Fatalf("the largest xattr has %d bytes", size)
	}
	must(t, unix.Setxattr(at("xattrs/large"), "user.large", noise(size), 0))
	write(t, at("xattrs/many"), nil)
	for i := range 300 {
		must(t, unix.Setxattr(at("xattrs/many"), fmt.Sprintf("user.%s-%d", strings.Repeat("x", i%240), i), noise(i), 0))
	}
}

// TestReadsWhatTheKernelWrites compares the reader with the kernel, on images that the kernel has
// filled.
func TestReadsWhatTheKernelWrites(t *testing.T) {
	for _, v := range []struct{ mkfs, mount string }{
		{"-m single -d single", ""},
		{"-m dup -n 4096", "compress-force=zlib"},
		{"-m dup -d dup -n 65536", "compress-force=zstd:1"},
		{"-m single -O ^no-holes", "compress=zstd"},
		{"-M -n 4096 -m dup -d dup -O ^no-holes,^extref", "max_inline=0"},
		{"-M -m single -d single -R ^free-space-tree -L some-label", "compress-force=zlib:9"},
	} {
		t.Run(v.mkfs+" "+v.mount, func(t *testing.T) {
			many := 700
			img, want := makeImage(t, 400<<20, v.mkfs, v.mount, func(dir string) {
				if strings.Contains(v.mkfs, "^extref") {
					fillPlain(t, dir)
					return
				}
				fillAwkward(t, dir, many)
			})
			f := openFile(t, img)
			compare(t, want, factsOf(t, f))
			sound(t, f)
			if len(want) < 12 {
				t.Errorf("%d names", len(want))
			}
		})
	}
}

// fillPlain is fillAwkward without hard links.
func fillPlain(t testing.TB, dir string) {
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, size := range []int{0, 1, 4095, 4096, 131073, 1 << 20} {
		write(t, at(fmt.Sprintf("sizes/%d", size)), noise(size))
	}
	fillContent(t, at)
}

func compare(t *testing.T, want, got facts.Set) {
	t.Helper()
	for i, line := range facts.Diff(want, got) {
		if i == 20 {
			t.Fatal("and more")
		}
		t.Error(line[:min(len(line), 500)])
	}
}

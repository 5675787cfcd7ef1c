package ext4read

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/testneed"
)

// facts is what a name is, as the kernel or this package sees it.
type facts struct {
	Mode          string
	UID, GID      uint32
	Size, Blocks  uint64
	Links         uint32
	Inode         uint32
	Mtime, Crtime time.Time
	Atime, Ctime  time.Time
	Rdev          Rdev
	Target        string
	Xattrs        map[string]string
	Content       string // digest, regular files only
	Extents       []Extent
}

// kernelFacts reads what the kernel says of everything under dir.
func kernelFacts(t *testing.T, dir string) map[string]facts {
	t.Helper()
	unix.Sync()
	all := map[string]facts{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &st); err != nil {
			return fmt.Errorf("statx %q: %w", name, err)
		}
		x := facts{
			Mode: fmt.Sprintf("%#o", st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size, Blocks: st.Blocks,
			Links: st.Nlink, Inode: uint32(st.Ino), Rdev: Rdev{st.Rdev_major, st.Rdev_minor},
			Mtime: statxTime(st.Mtime), Ctime: statxTime(st.Ctime), Atime: statxTime(st.Atime),
		}
		if st.Mask&unix.STATX_BTIME != 0 {
			x.Crtime = statxTime(st.Btime)
		}
		if d.Type() == fs.ModeSymlink {
			if x.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		if x.Xattrs, err = kernelXattrs(path); err != nil {
			return err
		}
		if d.Type().IsRegular() {
			if x.Content, x.Extents, err = kernelContent(path); err != nil {
				return err
			}
		}
		all[name] = x
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func statxTime(s unix.StatxTimestamp) time.Time { return time.Unix(s.Sec, int64(s.Nsec)).UTC() }

func kernelXattrs(path string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		all[name] = string(value[:n])
	}
	return all, nil
}

// digest hashes content. Blocks of zeros are hashed by their number, so that
// huge sparse files cost little on both sides.
func digest(r io.ReaderAt, size int64, extents []Extent, bs int64) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, size)
	for _, e := range extents {
		if e.Unwritten {
			continue
		}
		start := int64(e.Logical) * bs
		end := min(size, int64(e.Logical+e.Len)*bs)
		if start >= end {
			continue
		}
		fmt.Fprintln(h, start, end)
		if _, err := io.Copy(h, io.NewSectionReader(r, start, end-start)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// kernelContent gives a digest of a file and its extents by FIEMAP.
func kernelContent(path string) (string, []Extent, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	var vfs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &vfs); err != nil {
		return "", nil, err
	}
	extents, err := fiemap(file, uint64(vfs.Bsize))
	if err != nil {
		return "", nil, err
	}
	if info.Size() < 1<<20 { // small: every byte
		all, err := io.ReadAll(file)
		return fmt.Sprintf("%x", sha256.Sum256(all)), extents, err
	}
	sum, err := digest(file, info.Size(), extents, vfs.Bsize)
	return sum, extents, err
}

// fiemap asks the kernel where a file is, in blocks of bs bytes.
func fiemap(file *os.File, bs uint64) ([]Extent, error) {
	const request, batch = 0xC020660B, 512
	type fiemapExtent struct {
		Logical, Physical, Length uint64
		_                         [2]uint64
		Flags                     uint32
		_                         [3]uint32
	}
	type fiemapRequest struct {
		Start, Length               uint64
		Flags, Mapped, Count, spare uint32
		Extents                     [batch]fiemapExtent
	}
	var all []Extent
	for start := uint64(0); ; {
		req := &fiemapRequest{Start: start, Length: ^uint64(0) - start, Flags: 1, Count: batch}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, file.Fd(), request, uintptr(unsafe.Pointer(req))); e != 0 {
			return nil, fmt.Errorf("fiemap: %w", e)
		}
		if req.Mapped == 0 {
			return all, nil
		}
		for _, e := range req.Extents[:req.Mapped] {
			start = e.Logical + e.Length
			if e.Flags&0x200 != 0 { // inline
				continue
			}
			all = appendExtent(all, Extent{e.Logical / bs, e.Physical / bs, e.Length / bs, e.Flags&0x800 != 0})
		}
	}
}

func appendExtent(m []Extent, e Extent) []Extent {
	if n := len(m) - 1; n >= 0 && m[n].Unwritten == e.Unwritten &&
		m[n].Logical+m[n].Len == e.Logical && m[n].Physical+m[n].Len == e.Physical {
		m[n].Len += e.Len
		return m
	}
	return append(m, e)
}

// readFacts reads the same of an image with this package.
func readFacts(t *testing.T, f *FS) map[string]facts {
	t.Helper()
	all := map[string]facts{}
	last := ""
	err := f.Walk(func(name string, in *Inode) error {
		x := facts{
			Mode: fmt.Sprintf("%#o", in.RawMode), UID: in.UID, GID: in.GID, Size: in.Size, Blocks: in.Blocks,
			Links: uint32(in.Links), Inode: in.Number, Rdev: in.Rdev, Target: in.Target, Xattrs: in.Xattrs,
			Mtime: in.Mtime, Ctime: in.Ctime, Atime: in.Atime, Crtime: in.Crtime,
		}
		if _, dup := all[name]; dup {
			return fmt.Errorf("%q comes twice", name)
		}
		if parent := filepath.Dir(name); name != "." {
			if _, ok := all[parent]; !ok {
				return fmt.Errorf("%q comes before its parent", name)
			}
			if filepath.Dir(last) == parent && last > name {
				return fmt.Errorf("%q comes after %q", name, last)
			}
		}
		if !in.Mode.IsDir() {
			last = name
		}
		if in.Mode.IsRegular() {
			if in.Flags&FlagInlineData != 0 {
				x.Blocks += (in.Size + 511) / 512 // as the kernel does in stat(2)
			}
			var err error
			if x.Content, x.Extents, err = readContent(f, in); err != nil {
				return err
			}
		}
		all[name] = x
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readContent(f *FS, in *Inode) (string, []Extent, error) {
	extents, err := in.Extents()
	if err != nil {
		return "", nil, err
	}
	r, err := in.Open()
	if err != nil {
		return "", nil, err
	}
	if r.Size() < 1<<20 {
		all, err := io.ReadAll(r)
		return fmt.Sprintf("%x", sha256.Sum256(all)), extents, err
	}
	sum, err := digest(r, r.Size(), extents, int64(f.Super().BlockSize))
	return sum, extents, err
}

// try fails the test, with the step that failed, unless err is nil.
func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pattern(n int) []byte {
	return bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog\n"), n/44+1)[:n]
}

// fillTree makes every kind of name and inode that the kernel can.
func fillTree(t *testing.T, dir string, many int) {
	p := func(name string) string { return filepath.Join(dir, name) }
	for _, n := range []int{0, 1, 59, 60, 61, 100, 159, 160, 300, 1023, 1024, 1025, 4095, 4096, 4097, 70000, 1 << 20} {
		try(t, os.WriteFile(p(fmt.Sprintf("size-%d", n)), pattern(n), 0o640))
	}
	fillNames(t, dir)
	fillSpecial(t, dir)
	fillSparse(t, dir)
	fillAttributes(t, dir)

	try(t, os.Mkdir(p("many"), 0o755))
	for i := range many {
		try(t, os.WriteFile(p(fmt.Sprintf("many/name num\u00e9ro %d", i)), nil, 0o644))
	}
	for i := 0; i < many; i += 3 {
		try(t, os.Remove(p(fmt.Sprintf("many/name num\u00e9ro %d", i))))
	}
	deep := dir
	for range 60 {
		deep = filepath.Join(deep, "d")
		try(t, os.Mkdir(deep, 0o700))
	}
	try(t, os.WriteFile(p("gone"), pattern(500000), 0o600))
	try(t, os.Remove(p("gone")))
}

func fillNames(t *testing.T, dir string) {
	try(t, os.Mkdir(filepath.Join(dir, "names"), 0o755))
	for _, name := range []string{"a", "A", strings.Repeat("x", 255), "\xff\xfe\x80", "new\nline", "back\\slash", " ", "é", "...", "lost+found", "a.b", "a-b", "a0"} {
		try(t, os.WriteFile(filepath.Join(dir, "names", name), []byte(name), 0o644))
	}
	try(t, os.Mkdir(filepath.Join(dir, "names", "a/../dir"), 0o755))
	try(t, os.WriteFile(filepath.Join(dir, "names/dir/f"), nil, 0o644))
	try(t, os.Link(filepath.Join(dir, "names/a"), filepath.Join(dir, "names/dir/link")))
	try(t, os.Link(filepath.Join(dir, "names/a"), filepath.Join(dir, "another name of a")))
}

func fillSpecial(t *testing.T, dir string) {
	p := func(name string) string { return filepath.Join(dir, name) }
	for name, dev := range map[string]uint64{"console": unix.Mkdev(5, 1), "large": unix.Mkdev(259, 300000), "largest": unix.Mkdev(4095, 1<<20-1), "zero": 0} {
		try(t, unix.Mknod(p("c-"+name), unix.S_IFCHR|0o620, int(dev)))
		try(t, unix.Mknod(p("b-"+name), unix.S_IFBLK|0o660, int(dev)))
	}
	try(t, unix.Mkfifo(p("fifo"), 0o644))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p("socket")})
	try(t, err)
	l.SetUnlinkOnClose(false)
	try(t, l.Close())
	for _, n := range []int{1, 58, 59, 60, 61, 200, 1000} {
		try(t, os.Symlink("/"+strings.Repeat("t", n-1), p(fmt.Sprintf("link-%d", n))))
	}
	try(t, os.WriteFile(p("setuid"), pattern(100), 0o644))
	try(t, unix.Chmod(p("setuid"), 0o7755))
	try(t, os.Mkdir(p("sticky"), 0o755))
	try(t, unix.Chmod(p("sticky"), 0o3777))
	try(t, os.Chown(p("setuid"), 70000, 4294967294))
	for name, when := range map[string]time.Time{
		"1901": time.Unix(-1<<31, 0), "1969": time.Unix(-1, 123456789), "2038": time.Unix(1<<31, 999999999),
		"2106": time.Unix(1<<32+7, 1), "2446": time.Unix(3<<32+1<<31-1, 0), "1970": time.Unix(0, 0),
	} {
		try(t, os.WriteFile(p(name), nil, 0o644))
		ts := []unix.Timespec{unix.NsecToTimespec(when.UnixNano()), {Sec: when.Unix(), Nsec: int64(when.Nanosecond())}}
		ts[0] = ts[1]
		try(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(name), ts, 0))
	}
}

// fillSparse makes files with holes, many extents and unwritten extents.
func fillSparse(t *testing.T, dir string) {
	write := func(name string, fill func(f *os.File)) {
		f, err := os.Create(filepath.Join(dir, name))
		try(t, err)
		fill(f)
		try(t, f.Close())
	}
	at := func(f *os.File, off int64, n int) {
		_, err := f.WriteAt(pattern(n), off)
		try(t, err)
	}
	write("hole first", func(f *os.File) { at(f, 1<<20, 5000) })
	write("hole last", func(f *os.File) { at(f, 0, 5000); try(t, f.Truncate(3<<20+17)) })
	write("hole only", func(f *os.File) { try(t, f.Truncate(123456)) })
	write("5 GiB", func(f *os.File) { at(f, 5<<30-100, 100); at(f, 2<<30, 10) })
	write("12 extents", func(f *os.File) {
		for i := range int64(12) {
			at(f, i*8192, 4096)
		}
	})
	write("1600 extents", func(f *os.File) {
		for i := range int64(1600) {
			at(f, i*8192, 4096)
		}
	})
	write("triple indirect", func(f *os.File) { // with 1 KiB blocks
		for _, block := range []int64{0, 11, 12, 267, 268, 65803, 65804, 200000} {
			at(f, block*1024, 1024)
		}
	})
	write("unwritten", func(f *os.File) {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, 1<<20); errors.Is(err, unix.EOPNOTSUPP) {
			return // no extents
		} else {
			try(t, err)
		}
		at(f, 40960, 10)
		try(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 2<<20, 1<<20))
	})
}

func fillAttributes(t *testing.T, dir string) {
	set := func(name, attr, value string) {
		t.Helper()
		try(t, unix.Lsetxattr(filepath.Join(dir, name), attr, []byte(value), 0))
	}
	for _, n := range []string{"attr-small", "attr-large", "attr-both", "attr-shared-1", "attr-shared-2", "attr-shared-3"} {
		try(t, os.WriteFile(filepath.Join(dir, n), pattern(100), 0o644))
	}
	set("attr-small", "user.a", "1")
	set("attr-small", "security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	set("attr-large", "user.large", string(pattern(700)))
	set("attr-both", "user.empty", "")
	set("attr-both", "trusted.overlay.opaque", "y")
	for i := range 8 {
		set("attr-both", fmt.Sprintf("user.%d", i), strings.Repeat("v", 10*i+i%4))
	}
	for i := range 3 {
		set(fmt.Sprintf("attr-shared-%d", i+1), "user.same", string(pattern(500)))
	}
	try(t, unix.Lsetxattr(filepath.Join(dir, "link-200"), "trusted.on-link", []byte("x"), 0))
	set("sticky", "security.selinux", "system_u:object_r:tmp_t:s0\x00")
	testneed.Tool(t, "setfacl")
	run(t, "setfacl", "-m", "u:1234:rw,g:99999:r,u:7:x", filepath.Join(dir, "attr-small"))
	run(t, "setfacl", "-m", "u:1234:rwx,d:u:70000:rw,d:g:5:r", filepath.Join(dir, "sticky"))
}

func TestReadsWhatTheKernelWrote(t *testing.T) {
	tests := []struct {
		name, size string
		many       int
		args       []string
		request    string // to debugfs, before the mount
	}{
		{"ext4 4K", "160M", 9000, []string{"-t", "ext4", "-b", "4096", "-N", "20000"}, ""},
		{"ext4 2K", "160M", 3000, []string{"-t", "ext4", "-b", "2048", "-O", "large_dir"}, ""},
		{"ext4 1K", "120M", 9000, []string{"-t", "ext4", "-b", "1024", "-N", "20000"}, ""},
		{"inline data", "160M", 2000, []string{"-t", "ext4", "-b", "4096", "-O", "inline_data"}, ""},
		{"inline data 1K inodes", "120M", 2000, []string{"-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "1024"}, ""},
		{"gdt_csum", "120M", 3000, []string{"-t", "ext4", "-b", "4096", "-O", "^metadata_csum,uninit_bg,^64bit"}, ""},
		{"legacy hash", "120M", 3000, []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum"}, "ssv def_hash_version legacy"},
		{"legacy unsigned hash", "120M", 3000, []string{"-t", "ext4", "-b", "1024"}, "ssv def_hash_version legacy\nssv flags 2"},
		{"tea hash", "120M", 3000, []string{"-t", "ext4", "-b", "1024", "-O", "large_dir"}, "ssv def_hash_version tea"},
		{"tea unsigned hash", "120M", 3000, []string{"-t", "ext4", "-b", "1024"}, "ssv def_hash_version tea\nssv flags 2"},
		{"half MD4 unsigned hash", "120M", 3000, []string{"-t", "ext4", "-b", "1024"}, "ssv flags 2"},
		{"128-byte inodes", "120M", 2000, []string{"-t", "ext4", "-b", "4096", "-I", "128"}, ""},
		{"orphan file", "120M", 2000, []string{"-t", "ext4", "-b", "4096", "-O", "orphan_file"}, ""},
		{"meta_bg", "120M", 2000, []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"}, ""},
		{"ext3", "120M", 3000, []string{"-t", "ext3", "-b", "1024"}, ""},
		{"ext2", "120M", 3000, []string{"-t", "ext2", "-b", "1024"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			image := mke2fs(t, tt.size, tt.args...)
			if tt.request != "" {
				debugfs(t, image, strings.Split(tt.request, "\n")...)
			}
			var want map[string]facts
			mount(t, image, func(dir string) {
				fillTree(t, dir, tt.many)
				want = kernelFacts(t, dir)
			})
			wantClean(t, image, CheckOptions{})
			got := readFacts(t, open(t, image, Options{Verify: true}))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("kernel (-), this package (+):\n%.4000s", d)
			}
			if !maps.EqualFunc(want, got, func(a, b facts) bool { return cmp.Equal(a, b) }) {
				t.Error("facts differ")
			}
		})
	}
}

func TestReadsHugeDirectories(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: a directory of 100,000 names takes seconds; run without -short")
	}
	const names, subdirs = 100000, 65500
	image := mke2fs(t, "260M", "-t", "ext4", "-b", "1024", "-N", "90000", "-E", "lazy_itable_init=1")
	mount(t, image, func(dir string) {
		try(t, os.Mkdir(filepath.Join(dir, "names"), 0o755))
		for i := range names {
			name := filepath.Join(dir, "names", fmt.Sprintf("%d-%x", i, i*i))
			if i%20000 == 0 {
				try(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644))
			}
			try(t, os.Link(filepath.Join(dir, fmt.Sprint(i-i%20000)), name))
		}
		try(t, os.Mkdir(filepath.Join(dir, "subdirs"), 0o755))
		for i := range subdirs {
			try(t, os.Mkdir(filepath.Join(dir, "subdirs", fmt.Sprint(i)), 0o755))
		}
	})
	f := open(t, image, Options{Verify: true})
	got := map[string]int{}
	if err := f.Walk(func(name string, in *Inode) error {
		got[filepath.Dir(name)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got["names"] != names || got["subdirs"] != subdirs {
		t.Errorf("walked %d names and %d subdirectories, want %d and %d", got["names"], got["subdirs"], names, subdirs)
	}
	in, err := f.Lookup("subdirs")
	if err != nil {
		t.Fatal(err)
	}
	if in.Links != 1 {
		t.Errorf("directory with %d subdirectories has %d links, want 1 (dir_nlink)", subdirs, in.Links)
	}
	if in.Flags&FlagIndex == 0 {
		t.Error("directory has no index, so none was checked")
	}
	wantClean(t, image, CheckOptions{})
}

package facts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/testneed"
)

// Each difference is planted in a copy of one tree; exactly the fields that it
// touches have to be reported. An empty list is the control.
var differences = []struct {
	name  string
	root  bool // needs root
	plant func(t *testing.T, dir string)
	want  []string // what Diff reports, up to the values
}{
	{name: "none", plant: func(*testing.T, string) {}},
	{name: "a name more", plant: func(t *testing.T, d string) { write(t, d+"/more", "x") }, want: []string{`"more": only in the second, a file`}},
	{name: "a name less", plant: func(t *testing.T, d string) { remove(t, d+"/link") }, want: []string{`"link": only in the first, a symlink`}},
	{name: "a newline in a name", plant: func(t *testing.T, d string) { write(t, d+"/two\nlines", "") }, want: []string{`"two\nlines": only in the second, a file`}},
	{name: "a name that is no UTF-8", plant: func(t *testing.T, d string) { write(t, d+"/\xff", "") }, want: []string{`"\xff": only in the second, a file`}},
	{name: "type", plant: func(t *testing.T, d string) { remove(t, d+"/fifo"); write(t, d+"/fifo", "") }, want: []string{`"fifo": type`, `"fifo": sha256`}},
	{name: "mode", plant: func(t *testing.T, d string) { do(t, unix.Chmod(d+"/file", 0o600)) }, want: []string{`"file": mode`}},
	{name: "setuid", plant: func(t *testing.T, d string) { do(t, unix.Chmod(d+"/file", 0o4644)) }, want: []string{`"file": mode`}},
	{name: "sticky", plant: func(t *testing.T, d string) { do(t, unix.Chmod(d+"/dir", 0o1755)) }, want: []string{`"dir": mode`}},
	{name: "mode of the root", plant: func(t *testing.T, d string) { do(t, unix.Chmod(d, 0o711)) }, want: []string{`".": mode`}},
	{name: "uid", root: true, plant: func(t *testing.T, d string) { do(t, unix.Lchown(d+"/link", 70000, -1)) }, want: []string{`"link": uid`}},
	{name: "gid", root: true, plant: func(t *testing.T, d string) { do(t, unix.Lchown(d+"/fifo", -1, 4000000000)) }, want: []string{`"fifo": gid`}},
	{name: "size", plant: func(t *testing.T, d string) { do(t, os.Truncate(d+"/dir/deep", 3)) }, want: []string{`"dir/deep": size`, `"dir/deep": sha256`}},
	{name: "content of equal size", plant: func(t *testing.T, d string) { write(t, d+"/dir/deep", "deeq") }, want: []string{`"dir/deep": sha256`}},
	{name: "a last byte", plant: func(t *testing.T, d string) { write(t, d+"/large", strings.Repeat("y", 3<<20-1)+"z") }, want: []string{`"large": sha256`}},
	{name: "a nanosecond", plant: func(t *testing.T, d string) { touch(t, d+"/dir/deep", 1, 2) }, want: []string{`"dir/deep": mtime`}},
	{name: "a time of a link", plant: func(t *testing.T, d string) { touch(t, d+"/link", -5, 7) }, want: []string{`"link": mtime`}},
	{name: "a time after 2038", plant: func(t *testing.T, d string) { touch(t, d+"/dir", 1+1<<32, 1) }, want: []string{`"dir": mtime`}},
	{name: "xattr value", plant: func(t *testing.T, d string) { setxattr(t, d+"/file", "user.a", "2") }, want: []string{`"file": xattrs`}},
	{name: "one more xattr", plant: func(t *testing.T, d string) { setxattr(t, d+"/dir", "user.b", "") }, want: []string{`"dir": xattrs`}},
	{name: "an ACL", plant: func(t *testing.T, d string) { setxattr(t, d+"/dir/deep", "system.posix_acl_access", acl) }, want: []string{`"dir/deep": xattrs`}},
	{name: "a capability", root: true, plant: func(t *testing.T, d string) { setxattr(t, d+"/dir/deep", "security.capability", capability) }, want: []string{`"dir/deep": xattrs`}},
	{name: "a hard link turned into a copy", plant: func(t *testing.T, d string) { remove(t, d+"/hard2"); write(t, d+"/hard2", "hard") }, want: []string{
		`"hard1": links`, `"hard1": link group`, `"hard2": links`, `"hard2": link group`, `"hard3": links`, `"hard3": link group`,
	}},
	{name: "a name moved to another inode", plant: func(t *testing.T, d string) {
		remove(t, d+"/hard3")
		do(t, os.Link(d+"/other1", d+"/hard3"))
	}, want: []string{
		`"hard1": links`, `"hard1": link group`, `"hard2": links`, `"hard2": link group`,
		`"hard3": link group`, `"other1": links`, `"other1": link group`, `"other2": links`, `"other2": link group`,
	}},
	{name: "rdev", root: true, plant: func(t *testing.T, d string) {
		remove(t, d+"/device")
		mknod(t, d+"/device", unix.S_IFCHR, 5, 2)
	}, want: []string{`"device": rdev`}},
	{name: "block for character device", root: true, plant: func(t *testing.T, d string) {
		remove(t, d+"/device")
		mknod(t, d+"/device", unix.S_IFBLK, 5, 1)
	}, want: []string{`"device": type`}},
	{name: "target", plant: func(t *testing.T, d string) { remove(t, d+"/link"); symlink(t, "filf", d+"/link") }, want: []string{`"link": target`}},
	{name: "a filled hole", plant: func(t *testing.T, d string) { patch(t, d+"/sparse", 1<<20, "\x00") }, want: []string{`"sparse": data`}},
}

// acl is a POSIX ACL as the kernel returns it: version 2; user::rw-, user:7:rwx,
// group::r--, mask::rwx, other::r--.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x07\x00\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"

// capability is cap_net_raw+ep, revision 2.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestDiffSeesEveryPlantedDifference(t *testing.T) {
	for _, d := range differences {
		t.Run(d.name, func(t *testing.T) {
			if d.root {
				testneed.Root(t)
			}
			a, b := plantTree(t), plantTree(t)
			d.plant(t, b)
			settle(t, b)
			o := Options{Content: true, Extents: Mapped}
			check(t, Diff(fromDir(t, a, o), fromDir(t, b, o)), d.want)
		})
	}
}

// The same differences, seen by debugfs in images that mke2fs made of the trees.
func TestDebugfsSeesEveryPlantedDifference(t *testing.T) {
	testneed.Tool(t, "mke2fs", "debugfs")
	for _, d := range differences {
		switch d.name {
		case "a nanosecond", "a time after 2038", "mode of the root":
			continue // mke2fs loses these; TestDebugfsTime covers the first two
		}
		t.Run(d.name, func(t *testing.T) {
			if d.root {
				testneed.Root(t)
			}
			a, b := plantTree(t), plantTree(t)
			d.plant(t, b)
			settle(t, b)
			// mke2fs leaves out blocks of zeros, whether or not they were a hole.
			want := slices.DeleteFunc(slices.Clone(d.want), func(s string) bool { return strings.HasSuffix(s, "data") })
			check(t, Diff(fromImage(t, a), fromImage(t, b)), want)
		})
	}
}

func TestDebugfsAgreesWithTheKernel(t *testing.T) {
	testneed.Tool(t, "mke2fs", "debugfs")
	dir := plantTree(t)
	write(t, dir+"/two\nlines", "")
	write(t, dir+"/\xff\xfe", "")
	write(t, dir+"/"+strings.Repeat("n", 255), "")
	symlink(t, strings.Repeat("t", 300), dir+"/long")
	symlink(t, "debugfs: stat <12>\nInode: 5   Type: regular", dir+"/short")
	setxattr(t, dir+"/dir", "system.posix_acl_default", acl)
	setxattr(t, dir+"/file", "system.posix_acl_access", acl)
	setxattr(t, dir+"/dir/deep", "user.binary", "\x00\n  user.no (3) = \xff")
	do(t, os.Mkdir(dir+"/many", 0o700))
	for i := range 700 {
		write(t, dir+"/many/"+strings.Repeat("m", 60)+string(rune('A'+i%26))+strings.Repeat("k", i/26), "")
	}
	settle(t, dir)
	kernel := fromDir(t, dir, Options{Content: true, Extents: NonZero})
	fields := Fields(Mtime) // lost by mke2fs
	for _, diff := range Diff(kernel, fromImage(t, dir), fields...) {
		t.Error(diff)
	}
	if got := kernel["sparse"].Data; !slices.Equal(got, []Extent{{0, 4096}, {2 << 20, 2<<20 + 4096}}) {
		t.Errorf("data of sparse = %v", got)
	}
}

func TestDebugfsTime(t *testing.T) {
	tests := []struct {
		seconds, extra string
		want           Time
	}{
		{"00000001", "00000000", Time{1, 0}},
		{"ffffffff", "00000000", Time{-1, 0}},
		{"00000001", "00000009", Time{1 + 1<<32, 2}}, // 2.3e-9 s: epoch 1, 2 ns
		{"80000000", "00000000", Time{-1 << 31, 0}},  // 1901-12-13
		{"7fffffff", "ee6b27fc", Time{1<<31 - 1, 999999999}},
		{"7fffffff", "00000003", Time{3<<32 + 1<<31 - 1, 0}}, // 2446-05-10
	}
	for _, test := range tests {
		if got := parseTime(test.seconds, test.extra); got != test.want {
			t.Errorf("%s:%s is %v, want %v", test.seconds, test.extra, got, test.want)
		}
	}
}

func TestDebugfsRefusesWhatIsNoImage(t *testing.T) {
	testneed.Tool(t, "debugfs")
	file := filepath.Join(t.TempDir(), "not.img")
	write(t, file, strings.Repeat("no image", 4096))
	program, _ := testneed.Look("debugfs")
	if _, err := FromDebugfs(context.Background(), program, file, t.TempDir(), Options{}); err == nil {
		t.Error("no error")
	}
}

func TestDiffOfChosenFields(t *testing.T) {
	a := Set{"f": {Name: "f", Type: "file", Mode: 0o644, UID: 1}}
	b := Set{"f": {Name: "f", Type: "file", Mode: 0o600, UID: 2}}
	check(t, Diff(a, b, UID), []string{`"f": uid`})
	check(t, Diff(a, b, Fields(Mode, UID)...), nil)
}

func TestWithoutDropsNames(t *testing.T) {
	s := Set{"a": {}, "b": {}}.Without(func(name string) bool { return name == "a" })
	if got := s.Names(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("names %q", got)
	}
}

// plantTree makes a tree with one of everything that the user may make.
func plantTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	do(t, os.Mkdir(dir, 0o755))
	do(t, os.Mkdir(dir+"/dir", 0o755))
	write(t, dir+"/file", "content")
	setxattr(t, dir+"/file", "user.a", "1")
	write(t, dir+"/dir/deep", "deep")
	write(t, dir+"/large", strings.Repeat("y", 3<<20))
	write(t, dir+"/hard1", "hard")
	do(t, os.Link(dir+"/hard1", dir+"/hard2"))
	do(t, os.Link(dir+"/hard1", dir+"/hard3"))
	write(t, dir+"/other1", "hard")
	do(t, os.Link(dir+"/other1", dir+"/other2"))
	symlink(t, "file", dir+"/link")
	do(t, unix.Mkfifo(dir+"/fifo", 0o644))
	if os.Getuid() == 0 {
		mknod(t, dir+"/device", unix.S_IFCHR, 5, 1)
	}
	write(t, dir+"/sparse", "")
	do(t, os.Truncate(dir+"/sparse", 4<<20))
	patch(t, dir+"/sparse", 0, "start")
	patch(t, dir+"/sparse", 2<<20, "middle")
	for _, name := range []string{"dir/deep", "link", "dir", "."} {
		touch(t, dir+"/"+name, 1, 1)
	}
	settle(t, dir)
	return dir
}

// settle gives every name whose time was not chosen the same one, so that only the
// planted difference is left.
func settle(t *testing.T, dir string) {
	t.Helper()
	for name, f := range fromDir(t, dir, Options{}) {
		if f.Mtime.Sec < 1e9 || f.Mtime.Sec > 4e9 {
			continue
		}
		chosen := map[string]bool{"dir/deep": true, "link": true, "dir": true, ".": true}
		if chosen[name] {
			touch(t, dir+"/"+name, 1, 1)
		} else {
			touch(t, dir+"/"+name, 1000, 0)
		}
	}
}

// check wants one line for each prefix, in this order.
func check(t *testing.T, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range got {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func fromDir(t *testing.T, dir string, o Options) Set {
	t.Helper()
	s, err := FromDir(context.Background(), dir, o)
	do(t, err)
	return s
}

// fromImage makes an image of dir and reads it with debugfs.
func fromImage(t *testing.T, dir string) Set {
	t.Helper()
	mke2fs, _ := testneed.Look("mke2fs")
	debugfs, _ := testneed.Look("debugfs")
	image := filepath.Join(t.TempDir(), "image")
	owner := fmt.Sprintf("root_owner=%d:%d", os.Getuid(), os.Getgid())
	cmd := exec.Command(mke2fs, "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-E", owner, "-d", dir, image, "32M")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s, err := FromDebugfs(context.Background(), debugfs, image, t.TempDir(), Options{Content: true, Extents: Mapped})
	do(t, err)
	top := s["."]
	top.Mtime = Time{} // mke2fs takes the clock's
	s["."] = top
	return s.Without(func(name string) bool { return name == "lost+found" })
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	do(t, os.WriteFile(path, []byte(content), 0o644))
}

func patch(t *testing.T, path string, at int64, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	do(t, err)
	_, err = f.WriteAt([]byte(content), at)
	do(t, err)
	do(t, f.Close())
}

func remove(t *testing.T, path string)          { t.Helper(); do(t, os.Remove(path)) }
func symlink(t *testing.T, target, path string) { t.Helper(); do(t, os.Symlink(target, path)) }

func setxattr(t *testing.T, path, name, value string) {
	t.Helper()
	do(t, unix.Lsetxattr(path, name, []byte(value), 0))
}

func mknod(t *testing.T, path string, kind uint32, major, minor uint32) {
	t.Helper()
	do(t, unix.Mknod(path, kind|0o644, int(unix.Mkdev(major, minor))))
}

func touch(t *testing.T, path string, sec, nsec int64) {
	t.Helper()
	times := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
	do(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW))
}

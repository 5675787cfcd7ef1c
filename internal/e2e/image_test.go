package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// The comparison is worth as much as the image: what the recipe promises has to be there.
func TestRealImageHoldsWhatIsAwkward(t *testing.T) {
	got := umociFacts(t)
	is := func(name string, ok func(facts.Fact) bool) {
		t.Helper()
		if f, there := got[name]; !there || !ok(f) {
			t.Errorf("%q: there %v, %+v", name, there, f)
		}
	}
	gone := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if f, there := got[name]; there {
				t.Errorf("%q is there: %+v", name, f)
			}
		}
	}
	is("bin", func(f facts.Fact) bool { return f.Target == "usr/bin" })
	is("tmp", func(f facts.Fact) bool { return f.Mode == 0o1777 })
	is(".", func(f facts.Fact) bool { return f.Mtime == facts.Time{Sec: 1234567890, Nsec: 987654321} })
	is("usr/bin/through-a-link", func(f facts.Fact) bool { return f.Mode == 0o755 })
	is("usr/sbin/nginx", func(f facts.Fact) bool { return f.Xattrs["security.capability"] == string(netBindService) })
	is("usr/bin/getfattr", func(f facts.Fact) bool { return f.Mode == 0o4755 })
	is("usr/local/bin/env-again", func(f facts.Fact) bool { return slices.Contains(f.LinkGroup, "usr/bin/env") })
	is("awkward/setgid", func(f facts.Fact) bool { return f.Mode == 0o2755 })
	is("awkward/none", func(f facts.Fact) bool { return f.Mode == 0 })
	is("awkward/private", func(f facts.Fact) bool { return f.Mode == 0o700 && f.UID == 101 && f.GID == 102 })
	is("awkward/large-ids", func(f facts.Fact) bool { return f.UID == 4000000000 && f.GID == 3000000000 })
	is("awkward/capability-ns", func(f facts.Fact) bool { return f.Xattrs["security.capability"] == capNetRawNS })
	is("awkward/xattrs", func(f facts.Fact) bool { return len(f.Xattrs) == 4 && f.Xattrs["user.binary"] == "\x00\n=\xff" })
	is("awkward/xattr-block", func(f facts.Fact) bool { return len(f.Xattrs["user.large"]) == 3000 })
	is("awkward/acl", func(f facts.Fact) bool { return f.Mode == 0o674 && f.Xattrs["system.posix_acl_access"] == accessACL })
	is("awkward/acl-dir", func(f facts.Fact) bool { return f.Xattrs["system.posix_acl_default"] == accessACL })
	is("awkward/links/deep/third", func(f facts.Fact) bool { return f.Links == 4 && len(f.LinkGroup) == 4 })
	is("awkward/links/survivor", func(f facts.Fact) bool { return f.Size == int64(len("lower content")) && f.Links == 1 })
	is("awkward/links/orphan", func(f facts.Fact) bool { return f.Size == int64(len("hidden content")) && f.Links == 1 })
	is("awkward/links/pipe-again", func(f facts.Fact) bool { return f.Type == "fifo" && f.Links == 2 })
	is("awkward/nodes/large", func(f facts.Fact) bool { return f.Type == "block" && f.Rdev == "259:70000" })
	is("awkward/nodes/zero", func(f facts.Fact) bool { return f.Type == "char" && f.Rdev == "0:0" })
	is("awkward/fragments", func(f facts.Fact) bool { return len(f.Data) == fragments })
	is("awkward/zeros", func(f facts.Fact) bool { return f.Size == 64<<20 && len(f.Data) == 0 })
	is("awkward/swap/link-to-dir/inside", func(f facts.Fact) bool { return f.Size == 3 })
	is("awkward/swap/dir-changed/kept", func(f facts.Fact) bool { return f.Size == 4 })
	is("awkward/gone/back", func(f facts.Fact) bool { return f.Size == int64(len("upper")) })
	is("awkward/opaque/both", func(f facts.Fact) bool { return f.Size == int64(len("upper")) })
	gone("etc/nginx/sites-enabled/default", "awkward/links/hidden", "awkward/swap/dir-to-file/inside", "awkward/names/inside",
		"awkward/gone/file", "awkward/gone/dir", "awkward/gone/dir/inside", "awkward/gone/link", "awkward/opaque/lower",
		"awkward/opaque/dir", "awkward/opaque/.wh..wh..opq", "awkward/gone/.wh.file")
	for _, name := range awkwardNames {
		is("awkward/names/"+name, func(f facts.Fact) bool { return f.Size == 5 })
	}
	for _, at := range awkwardTimes {
		want := facts.Time{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
		is("awkward/times/"+want.String(), func(f facts.Fact) bool { return f.Mtime == want })
	}
	for name, target := range awkwardTargets {
		is("awkward/symlinks/"+name, func(f facts.Fact) bool { return f.Target == target })
	}
	for _, size := range awkwardSizes {
		is(fmt.Sprintf("awkward/sizes/%d", size), func(f facts.Fact) bool { return f.Size == int64(size) })
	}
	for _, format := range []string{"posix", "gnu"} {
		deep := "awkward/" + format + "/" + strings.Repeat("long", 30) + "/" + strings.Repeat("name", 30) + "/"
		is(deep+"holes", func(f facts.Fact) bool { return f.Size == 64<<20 && len(f.Data) == 44 })
		is(deep+"hole-only", func(f facts.Fact) bool { return f.Size == 8<<20 && len(f.Data) == 0 })
		is("awkward/"+format+"/hole-again", func(f facts.Fact) bool { return f.Links == 2 && f.Size == 1<<20+1 })
	}
	many := 0
	for name := range got {
		if strings.HasPrefix(name, "awkward/many/") {
			many++
		}
	}
	if many != manyFiles {
		t.Errorf("awkward/many has %d files", many)
	}
}

// The control: an image by another writer passes the whole comparison, but for what that writer
// is known to lose, and a change made through the kernel does not.
func TestComparisonPassesMke2fsAndSeesAChange(t *testing.T) {
	testneed.Tool(t, "mke2fs", "debugfs", "e2fsck")
	tree := umociFacts(t)
	image := filepath.Join(t.TempDir(), "control.img")
	mke2fs, _ := testneed.Look("mke2fs")
	out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
		"-d", needUnpacked(t), image, "600M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checkClean(t, image)
	dir, unmount := testneed.Mount(t, image, "ro")
	kernel := readDir(t, dir, facts.Options{Content: true, Extents: facts.Mapped})
	wantEqual(t, "umoci, then kernel", tree, kernel.Without(isLostFound), facts.Fields(facts.Mtime)...)
	wantEqual(t, "kernel, then debugfs", kernel, readImage(t, image))
	if lines := facts.Diff(tree, kernel.Without(isLostFound), facts.Mtime); len(lines) == 0 {
		t.Error("mke2fs has kept nanoseconds: the comparison of times is no longer controlled")
	}
	unmount()

	dir, unmount = testneed.Mount(t, image, "rw")
	for _, err := range []error{
		unix.Lchown(filepath.Join(dir, "awkward/names/...", ""), 5, -1),
		os.Remove(filepath.Join(dir, "awkward/many/file-00000-")),
		unix.Lsetxattr(filepath.Join(dir, "awkward/sizes/4097"), "user.new", []byte("x"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	unmount()
	got := facts.Diff(kernel, readImage(t, image), facts.Fields(facts.Mtime)...)
	want := []string{
		`"awkward/many/file-00000-": only in the first, a file`,
		`"awkward/names/...": uid: 0, then 5`,
		`"awkward/sizes/4097": xattrs: , then user.new="x"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Stat(image); err != nil {
		t.Fatal(err)
	}
}

func TestCheckCleanSeesDamage(t *testing.T) {
	for line, clean := range map[string]bool{
		"e2fsck 1.47.0 (5-Feb-2023)":                                           true,
		"Pass 1: Checking inodes, blocks, and sizes":                           true,
		"x.img: 11/128 files (0.0% non-contiguous), 39/512 blocks":             true,
		"Pass 5: Checking group summary information":                           true,
		"Inode 12 has an invalid extent node (blk 1, lblk 0)":                  false,
		"Timestamp(s) on inode 12 beyond 2310-04-04 are likely pre-1970.":      false,
		"x.img: ********** WARNING: Filesystem still has errors **********":    false,
		"Inode 5, i_size is 1, should be 0.  Fix? no":                          false,
		"HTREE directory inode 12 has an invalid root node.":                   false,
		"Block bitmap differences:  +1":                                        false,
		"Free blocks count wrong (1, counted=2).":                              false,
		"x.img: clean, 11/128 files, 39/512 blocks (not forced, so not check)": false,
	} {
		if cleanLine.MatchString(line) != clean {
			t.Errorf("%q: clean should be %v", line, clean)
		}
	}
}

func isLostFound(name string) bool { return name == "lost+found" }

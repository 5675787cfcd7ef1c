package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/facts"
)

// TestKernelSeesTheTree mounts images and compares every name with the tree. A mask of
// modes and a set-group-ID folder of the host must not matter.
func TestKernelSeesTheTree(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		old := unix.Umask(0o77)
		defer unix.Umask(old)
		tr := everything(t, kind)
		var warnings []string
		o := options(kind, 20<<20)
		o.Warn = func(m string) { warnings = append(warnings, m) }
		f, _ := write(t, tr, o)
		unix.Umask(old)
		if len(warnings) != 1 {
			t.Errorf("warnings %q, want that of the size", warnings)
		}
		dir, unmount := mountImage(t, f, kind, "ro")
		defer unmount()
		got, err := facts.FromDir(t.Context(), dir, facts.Options{Content: true, Extents: facts.Mapped})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got { // xfs shows its own form of an ACL to root as well
			maps.DeleteFunc(f.Xattrs, func(x, _ string) bool { return strings.HasPrefix(x, sgiACL) })
		}
		for _, d := range facts.Diff(ofTree(t, tr), got, facts.Fields(facts.Data)...) {
			t.Error(d)
		}
		all, err := facts.FromDir(t.Context(), dir, facts.Options{Extents: facts.NonZero})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range facts.Diff(all, got, facts.Data) {
			t.Error("holes: ", d)
		}
	})
}

func TestSuperblockHasTheUUID(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		o := options(kind, 0)
		f, st := write(t, tree.New(), o)
		at := map[Type]int64{XFS: 32, Btrfs: 64<<10 + 32}[kind]
		got := make([]byte, 16)
		if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, o.UUID[:]) {
			t.Errorf("UUID %x (%v), want %x", got, err, o.UUID)
		}
		if len(st.Tools) != 2 || st.Tools[0].Version == "" || st.Tools[1].Version == "" || st.Inodes != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// manySmall is a tree of n files in folders of 1000.
func manySmall(t testing.TB, n, size int) *tree.Tree {
	tr := tree.New()
	for i := range n {
		put(t, tr, fmt.Sprintf("dir%d/a file with a name of usual length %d", i/1000, i), &tree.Node{Mode: 0o644, Content: noise(uint64(i), size)})
	}
	return tr
}

// TestRootCanWriteFreeBytes fills images until nothing fits, by one file and by many.
func TestRootCanWriteFreeBytes(t *testing.T) {
	trees := map[string]struct {
		tree func(t *testing.T) *tree.Tree
		free int64
		part int64 // size of the files that fill the image
	}{
		"nothing":      {func(*testing.T) *tree.Tree { return tree.New() }, 16 << 20, 64 << 10},
		"nothing, 200": {func(*testing.T) *tree.Tree { return tree.New() }, 200 << 20, 1 << 40},
		"small files":  {func(t *testing.T) *tree.Tree { return manySmall(t, 3000, 700) }, 50 << 20, 1 << 40},
		"large files": {func(t *testing.T) *tree.Tree {
			tr := tree.New()
			for i := range 2 {
				put(t, tr, fmt.Sprint(i), &tree.Node{Mode: 0o644, Content: noise(uint64(i), 30<<20)})
			}
			return tr
		}, 100 << 20, 256 << 10},
		"a sparse file": {func(t *testing.T) *tree.Tree {
			tr := tree.New()
			put(t, tr, "sparse", &tree.Node{Mode: 0o644, Content: sparse(1 << 30)})
			return tr
		}, 16 << 20, 1 << 40},
	}
	both(t, func(t *testing.T, kind Type) {
		for name, c := range trees {
			t.Run(name, func(t *testing.T) {
				o := options(kind, c.free)
				o.Detail = func(s string) { t.Log(s) }
				f, st := write(t, c.tree(t), o)
				dir, unmount := mountImage(t, f, kind, "")
				got := fillUp(t, filepath.Join(dir, "filler"), c.part)
				unmount()
				t.Logf("%d MiB written, %d said, %d wanted, image of %d", got>>20, st.Free>>20, c.free>>20, st.Size>>20)
				if got < c.free {
					t.Errorf("root can write %d bytes, want %d", got, c.free)
				}
				if got < st.Free/100*97 { // small files take metadata too
					t.Errorf("root can write %d bytes, %d are said to be free", got, st.Free)
				}
				if limit := max(2*c.free+c.free/2, 1<<30); st.Free > limit {
					t.Errorf("%d bytes are free, %d were wanted", st.Free, c.free)
				}
			})
		}
	})
}

// fillUp writes files of some size in a new folder until nothing fits, and removes them.
func fillUp(t *testing.T, dir string, part int64) (written int64) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	data := noise(9, 64<<10)
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		for size := int64(0); err == nil && size < part; {
			var n int
			n, err = f.Write(data)
			size += int64(n)
			written += int64(n)
		}
		if f != nil {
			if e := f.Close(); err == nil {
				err = e
			}
		}
		if errors.Is(err, unix.ENOSPC) {
			return written
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyNamesAndLinks(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		tr := tree.New()
		file := put(t, tr, "first", &tree.Node{Mode: 0o644, Content: tree.Bytes("x")})
		const names, links = 66000, 500
		for i := range names {
			n := &tree.Node{Mode: 0o600, ModTime: time.Unix(int64(i), 0)}
			if i < links {
				n = file
			}
			put(t, tr, fmt.Sprintf("many/%d", i), n)
		}
		f, _ := write(t, tr, options(kind, 16<<20))
		dir, unmount := mountImage(t, f, kind, "ro")
		defer unmount()
		list, err := os.ReadDir(filepath.Join(dir, "many"))
		if err != nil || len(list) != names {
			t.Errorf("%d names (%v), want %d", len(list), err, names)
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, "first"), &st); err != nil || int(st.Nlink) != links+1 {
			t.Errorf("%d links (%v), want %d", st.Nlink, err, links+1)
		}
	})
}

// TestLargestXattrsAndLinksFit are the limits that are told to people; TestLimits has one
// past them.
func TestLargestXattrsAndLinksFit(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		l := typeLimits[kind]
		tr := tree.New()
		size := min(maxXattrValue, l.xattr-len("user.x"))
		put(t, tr, "x", &tree.Node{Mode: 0o644, Xattrs: map[string]string{"user.x": string(noise(1, size))}})
		n := put(t, tr, "l/0", &tree.Node{Mode: 0o644})
		for i := range 999 { // more than fit in one inode reference
			put(t, tr, fmt.Sprintf("l/%d", i+1), n)
		}
		f, _ := write(t, tr, options(kind, 0))
		dir, unmount := mountImage(t, f, kind, "ro")
		defer unmount()
		value := make([]byte, 1<<17)
		if got, err := unix.Getxattr(filepath.Join(dir, "x"), "user.x", value); err != nil || got != size {
			t.Errorf("xattr of %d bytes (%v), want %d", got, err, size)
		}
	})
}

// TestImagesOfOneUUIDAreMadeAtOnce: builds of the same image have the same UUID.
func TestImagesOfOneUUIDAreMadeAtOnce(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		var wg sync.WaitGroup
		for range 3 {
			f := newImage(t)
			tr := manySmall(t, 300, 5000)
			wg.Go(func() {
				if _, err := Write(context.Background(), f, tr, options(kind, 0)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestLossesAreWarnedOf(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		tr := tree.New()
		put(t, tr, "link", &tree.Node{Mode: 0o777 | fs.ModeSymlink, Target: "x", Xattrs: map[string]string{"user.a": "1"}})
		put(t, tr, "file", &tree.Node{Mode: 0o644, Xattrs: map[string]string{"com.apple.provenance": "1", aclDefault: acl()}})
		conflict := acl([3]uint32{1, 7, nobody}, [3]uint32{2, 6, 1000}, [3]uint32{4, 5, nobody}, [3]uint32{16, 7, nobody}, [3]uint32{32, 1, nobody})
		put(t, tr, "acl", &tree.Node{Mode: 0o600, Xattrs: map[string]string{aclAccess: conflict}})
		var got []string
		o := options(kind, 200<<20)
		o.Warn = func(m string) { got = append(got, m) }
		write(t, tr, o)
		want := []string{
			`dropped xattr ["com.apple.provenance"] of "/file": Linux has no such namespace`,
			`dropped xattr ["system.posix_acl_default"] of "/file": Linux has them for files and folders only, and default ACLs for folders`,
			`dropped xattr ["user.a"] of "/link": Linux has them for files and folders only, and default ACLs for folders`,
			`"/acl" has mode 0771, not 0600: its ACL says so`,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

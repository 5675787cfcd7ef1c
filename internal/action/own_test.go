//go:build unix

package action

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

// TestTheWorkspacesOwnerGetsEverything also after a step that failed; what was there
// before stays as it is.
func TestTheWorkspacesOwnerGetsEverything(t *testing.T) {
	testneed.Root(t)
	const uid, gid = 1001, 118
	s := newStep(t, "a", "b").with("config", "a/fledge.toml\nb/fledge.toml", "cache-dir", ".cache/fledge")
	s.put(filepath.Join(s.ws, "b", "init.sh"), "") // cannot boot
	s.put(filepath.Join(s.ws, "dist", "old"), "")
	old := filepath.Join(s.ws, "dist", "old")
	if err := os.Chmod(old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.ws, uid, gid); err != nil {
		t.Fatal(err)
	}
	s.run(2)
	seen := 0
	for _, dir := range []string{"dist", ".cache"} {
		err := filepath.WalkDir(filepath.Join(s.ws, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			if path == old || path == filepath.Dir(old) {
				if st.Uid != 0 && path == old {
					t.Errorf("%s was there before and has another owner now", path)
				}
				return nil
			}
			seen++
			want := fs.FileMode(0o644)
			if d.IsDir() {
				want = 0o755
			}
			if st.Uid != uid || st.Gid != gid || info.Mode().Perm() != want {
				t.Errorf("%s belongs to %d:%d, mode %v", path, st.Uid, st.Gid, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 8 {
		t.Errorf("only %d files", seen)
	}
}

// TestANewFileWithAnOldInodeIsGiven: a file system gives the number of a file that is
// gone to the next one. Here it is the same file with another time.
func TestANewFileWithAnOldInodeIsGiven(t *testing.T) {
	testneed.Root(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "dist", "web.img")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 1001, 118); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o, err := newOwner(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.folder("dist"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint32{0, 1001} {
		if err := o.give(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != want {
			t.Errorf("it belongs to %d, want %d", uid, want)
		}
		if err := os.Chtimes(file, time.Time{}, info.ModTime().Add(time.Nanosecond)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFolderDoesNotLeadOutOfTheWorkspace(t *testing.T) {
	s := newStep(t, ".")
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(s.ws, "dist")); err != nil {
		t.Fatal(err)
	}
	s.run(2)
	s.logged("::error [^:]*::input output-dir: ")
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside of the workspace there is %v", left)
	}
}

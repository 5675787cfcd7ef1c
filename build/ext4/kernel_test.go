package ext4

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// TestKernelSeesTheTree mounts an image and compares every inode with the tree.
func TestKernelSeesTheTree(t *testing.T) {
	tr := awkward(t)
	img, _ := makeImage(t, tr, Options{JournalBytes: MinJournalBytes, FreeBytes: 16 << 20, UUID: [16]byte{7}, HashSeed: [16]byte{8}})
	dir, unmount := testneed.Mount(t, img, "ro")
	seen := 0
	for name, n := range tr.Walk() {
		seen++
		compareInode(t, filepath.Join(dir, name), n)
	}
	onDisk := 0
	filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { onDisk++; return nil })
	if onDisk != seen {
		t.Errorf("the kernel lists %d names, the tree has %d", onDisk, seen)
	}
	unmount()
}

func compareInode(t *testing.T, path string, n *tree.Node) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%q: %v", path, err)
		return
	}
	if st.Mode != tree.UnixMode(n.Mode) || st.Uid != n.UID || st.Gid != n.GID {
		t.Errorf("%q: mode %o owner %d:%d, want %o %d:%d", path, st.Mode, st.Uid, st.Gid, tree.UnixMode(n.Mode), n.UID, n.GID)
	}
	if got := time.Unix(st.Mtim.Unix()); !got.Equal(n.ModTime) {
		t.Errorf("%q: modified %v, want %v", path, got, n.ModTime)
	}
	if !n.Mode.IsDir() && int(st.Nlink) != n.Links() {
		t.Errorf("%q: %d links, want %d", path, st.Nlink, n.Links())
	}
	if n.Mode&fs.ModeDevice != 0 && (unix.Major(st.Rdev) != n.Rdev.Major || unix.Minor(st.Rdev) != n.Rdev.Minor) {
		t.Errorf("%q: device %d:%d, want %d:%d", path, unix.Major(st.Rdev), unix.Minor(st.Rdev), n.Rdev.Major, n.Rdev.Minor)
	}
	if n.Mode&fs.ModeSymlink != 0 {
		if target, _ := os.Readlink(path); target != n.Target {
			t.Errorf("%q: link to %.40q, want %.40q", path, target, n.Target)
		}
	}
	for key, want := range n.Xattrs {
		buf := make([]byte, 8192)
		if size, err := unix.Lgetxattr(path, key, buf); err != nil || string(buf[:size]) != want {
			t.Errorf("%q: xattr %s is %q (%v), want %q", path, key, buf[:max(size, 0)], err, want)
		}
	}
	if n.Mode.IsRegular() && n.Content != nil {
		got, err := os.ReadFile(path)
		r, _ := n.Content.Open()
		want, _ := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes differ from %d (%v)", path, len(got), len(want), err)
		}
		if st.Blocks*512 > int64(len(want))+blockSize*16 {
			t.Errorf("%q: %d sectors for %d bytes", path, st.Blocks, len(want))
		}
	}
}

// TestRootCanWriteFreeBytes fills an image until the kernel says it is full.
func TestRootCanWriteFreeBytes(t *testing.T) {
	for _, freeMiB := range []int{1, 16, 100, 900} {
		t.Run(fmt.Sprintf("%d MiB", freeMiB), func(t *testing.T) {
			img, _ := makeImage(t, awkward(t), Options{JournalBytes: MinJournalBytes, FreeBytes: int64(freeMiB) << 20})
			dir, unmount := testneed.Mount(t, img, "rw")
			f, err := os.Create(filepath.Join(dir, "fill"))
			if err != nil {
				t.Fatal(err)
			}
			piece := bytes.Repeat([]byte("fledge.."), 1<<17)
			wrote := 0
			for ; wrote < 2*freeMiB+64; wrote++ {
				if _, err = f.Write(piece); err != nil {
					break
				}
			}
			if e := f.Sync(); err == nil {
				err = e
			}
			f.Close()
			if wrote < freeMiB {
				t.Errorf("the kernel took %d MiB (%v), want %d", wrote, err, freeMiB)
			}
			if wrote > freeMiB+17 {
				t.Errorf("the kernel took %d MiB where %d were asked for: the image is too large", wrote, freeMiB)
			}
			unmount()
			fsck(t, img)
		})
	}
}

// TestFreeBytesHoldSmallFiles fills the free space with files of as many bytes as
// come with each spare inode, all in one directory.
func TestFreeBytesHoldSmallFiles(t *testing.T) {
	for _, freeMiB := range []int{16, 300} {
		t.Run(fmt.Sprintf("%d MiB", freeMiB), func(t *testing.T) {
			img, _ := makeImage(t, awkward(t), Options{JournalBytes: MinJournalBytes, FreeBytes: int64(freeMiB) << 20, HashSeed: [16]byte{1}})
			dir, unmount := testneed.Mount(t, img, "rw")
			body := bytes.Repeat([]byte("x"), bytesPerSpareInode)
			for i := range freeMiB << 20 / bytesPerSpareInode {
				name := filepath.Join(dir, "many", fmt.Sprintf("%039d", i))
				if err := os.WriteFile(name, body, 0o600); err != nil {
					t.Fatalf("after %d files: %v", i, err)
				}
			}
			unmount()
			fsck(t, img)
		})
	}
}

// TestKernelChangesTheImage works in a mounted image: new names in an indexed
// directory, removals, growing a file with many extents.
func TestKernelChangesTheImage(t *testing.T) {
	img, _ := makeImage(t, awkward(t), Options{JournalBytes: MinJournalBytes, FreeBytes: 64 << 20, HashSeed: [16]byte{3}})
	dir, unmount := testneed.Mount(t, img, "rw")
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, "many", fmt.Sprintf("another name %d", i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "many", fmt.Sprintf("file number %d", i*2))); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "extents"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(13 << 20); at < 20<<20; at += 2 * blockSize {
		if _, err := f.WriteAt([]byte("filled"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lsetxattr(filepath.Join(dir, "cap"), "user.more", []byte("and more"), 0); err != nil {
		t.Fatal(err)
	}
	unmount()
	fsck(t, img)
}

// TestGrowsWithResize2fs grows an image within its group descriptors and far
// beyond them.
func TestGrowsWithResize2fs(t *testing.T) {
	testneed.Tool(t, "resize2fs")
	resize2fs, _ := testneed.Look("resize2fs")
	for _, size := range []string{"300M", "20G"} {
		t.Run("offline to "+size, func(t *testing.T) {
			img, _ := makeImage(t, awkward(t), Options{JournalBytes: MinJournalBytes, FreeBytes: 16 << 20})
			if out, err := exec.Command(resize2fs, "-f", img, size).CombinedOutput(); err != nil {
				t.Fatalf("resize2fs: %v\n%s", err, out)
			}
			fsck(t, img)
		})
	}
}

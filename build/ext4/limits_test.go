package ext4

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// huge is content whose size is a claim; it is never read.
type huge int64

func (h huge) Size() int64                { return int64(h) }
func (huge) Open() (io.ReadCloser, error) { return nil, errors.New("opened") }

func acl(entries ...string) string { return "\x02\x00\x00\x00" + strings.Join(entries, "") }

// TestLimits puts each value at what ext4 can hold and one past it.
func TestLimits(t *testing.T) {
	user := func(n int) map[string]string { return map[string]string{"user.x": strings.Repeat("v", n)} }
	for _, test := range []struct {
		name string
		node tree.Node
		want string // part of the message, "" when it fits
	}{
		{"first second", tree.Node{ModTime: time.Unix(-1<<31, 0)}, ""},
		{"before it", tree.Node{ModTime: time.Unix(-1<<31-1, 999999999)}, "modification time 1901-12-13"},
		{"last nanosecond", tree.Node{ModTime: time.Unix(3<<32-1<<31-1, 999999999)}, ""},
		{"after it", tree.Node{ModTime: time.Unix(3<<32-1<<31, 0)}, "modification time 2310-04-04"},
		{"longest symlink", tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4095)}, ""},
		{"longer", tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4096)}, "target of 4096 bytes"},
		{"empty symlink", tree.Node{Mode: fs.ModeSymlink}, "target of 0 bytes"},
		{"NUL in a symlink", tree.Node{Mode: fs.ModeSymlink, Target: "a\x00b"}, "NUL"},
		{"NUL in an xattr name", tree.Node{Xattrs: map[string]string{"user.a\x00": "v"}}, "NUL"},
		{"largest device", tree.Node{Mode: fs.ModeDevice, Rdev: tree.Rdev{Major: 4095, Minor: 1<<20 - 1}}, ""},
		{"major", tree.Node{Mode: fs.ModeDevice, Rdev: tree.Rdev{Major: 4096}}, "device number 4096:0"},
		{"minor", tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice, Rdev: tree.Rdev{Minor: 1 << 20}}, "device number 0:1048576"},
		{"a file too large", tree.Node{Content: huge(maxFileSize + 1)}, "a file of 17592186040321 bytes"},
		{"largest xattr", tree.Node{Xattrs: user(4096 - 32 - 16 - 4 - 4)}, ""},
		{"larger", tree.Node{Xattrs: user(4096 - 32 - 16 - 4 - 4 + 1)}, "xattrs of 4064 bytes with their names, the limit is 4060"},
		{"longest xattr name", tree.Node{Xattrs: map[string]string{"user." + strings.Repeat("n", 250): "v"}}, ""},
		{"longer name", tree.Node{Xattrs: map[string]string{"user." + strings.Repeat("n", 251): "v"}}, "xattr name of 256 bytes"},
		{"empty ACL", tree.Node{Xattrs: map[string]string{"system.posix_acl_access": acl()}}, ""},
		{"not an ACL", tree.Node{Xattrs: map[string]string{"system.posix_acl_default": "\x03\x00\x00\x00"}}, "not a POSIX ACL"},
		{"half an ACL", tree.Node{Xattrs: map[string]string{"system.posix_acl_access": acl("\x01\x00\x06\x00")}}, "not a POSIX ACL"},
		{"ACL tag", tree.Node{Xattrs: map[string]string{"system.posix_acl_access": acl("\x03\x00\x06\x00\xff\xff\xff\xff")}}, "unknown tag 0x3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := tree.New()
			n := test.node
			put(t, tr, "dir/entry", &n)
			f, err := os.Create(filepath.Join(t.TempDir(), "img"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w := NewWriter(f)
			_, err = w.Finish(context.Background(), tr, Options{Epoch: testEpoch})
			if test.want == "" {
				if err != nil {
					t.Fatalf("Finish: %v", err)
				}
				fsck(t, f.Name())
				return
			}
			var limit *LimitError
			if !errors.As(err, &limit) || limit.Name != "dir/entry" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Finish = %v, want a LimitError of dir/entry with %q", err, test.want)
			}
		})
	}
}

func TestHardLinkLimit(t *testing.T) {
	for _, test := range []struct {
		links int
		ok    bool
	}{{65000, true}, {65001, false}} {
		tr := tree.New()
		n := &tree.Node{Mode: 0o644, ModTime: testEpoch}
		put(t, tr, "d/first", n)
		for i := 1; i < test.links; i++ {
			if err := tr.Put("d/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+itoa(i), n); err != nil {
				t.Fatal(err)
			}
		}
		w := NewWriter(scratch(t))
		if _, err := w.Finish(context.Background(), tr, Options{Epoch: testEpoch}); (err == nil) != test.ok {
			t.Errorf("%d links: %v", test.links, err)
		}
	}
}

func TestLostFoundMustBeADirectory(t *testing.T) {
	tr := tree.New()
	put(t, tr, "lost+found", &tree.Node{Mode: 0o644})
	w := NewWriter(scratch(t))
	if _, err := w.Finish(context.Background(), tr, Options{Epoch: testEpoch}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("Finish = %v", err)
	}
}

func TestFinishRefusesOptions(t *testing.T) {
	for _, opt := range []Options{
		{JournalBytes: MinJournalBytes - blockSize},
		{JournalBytes: MinJournalBytes + 1},
		{JournalBytes: MaxJournalBytes + blockSize},
		{FreeBytes: -1},
		{Epoch: time.Unix(1<<35, 0)},
	} {
		if opt.Epoch.IsZero() {
			opt.Epoch = testEpoch
		}
		if _, err := NewWriter(scratch(t)).Finish(t.Context(), tree.New(), opt); err == nil {
			t.Errorf("Finish with %+v succeeded", opt)
		}
	}
}

// TestLinuxOnlyXattrs drops what macOS leaves in images, and says so once.
func TestForeignXattrsAreDroppedAloud(t *testing.T) {
	tr := tree.New()
	put(t, tr, "app", &tree.Node{Mode: 0o755, Xattrs: map[string]string{"com.apple.provenance": "x", "user.ok": "y"}})
	var warned []string
	img, _ := makeImage(t, tr, Options{Warn: func(s string) { warned = append(warned, s) }})
	fsck(t, img)
	if len(warned) != 1 || !strings.Contains(warned[0], `"/app"`) || !strings.Contains(warned[0], "com.apple.provenance") {
		t.Errorf("warned %q", warned)
	}
}

// TestHashAgreesWithDebugfs compares directory hashes with e2fsprogs' own.
func TestHashAgreesWithDebugfs(t *testing.T) {
	testneed.Tool(t, "debugfs")
	debugfs, _ := testneed.Look("debugfs")
	seed := [16]byte{0x27, 0x4f, 0x9f, 0xd0, 0x3e, 0x00, 0x4b, 0xc8, 0x98, 0xc6, 0x36, 0x1f, 0xb3, 0x07, 0xe3, 0x70}
	for _, name := range []string{"a", "abc", "abcd", "abcde", strings.Repeat("x", 31), strings.Repeat("y", 32), strings.Repeat("z", 33), strings.Repeat("w", 255)} {
		out, err := exec.Command(debugfs, "-R", "dx_hash -h half_md4 -s 274f9fd0-3e00-4bc8-98c6-361fb307e370 "+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		hash, minor := hashName(seed, name)
		want := "0x" + hex8(hash) + " (minor 0x" + hex8(minor) + ")"
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%.10s… (%d bytes): got %s, debugfs says %s", name, len(name), want, out)
		}
	}
}

// TestComplaintsSeesDamage breaks an image and expects fsck's helper to notice.
func TestComplaintsSeesDamage(t *testing.T) {
	testneed.Tool(t, "e2fsck")
	e2fsck, _ := testneed.Look("e2fsck")
	img, _ := makeImage(t, awkward(t), Options{})
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{77}, superOffset+0x10) // s_free_inodes_count
	f.Close()
	out, err := exec.Command(e2fsck, "-fn", img).CombinedOutput()
	if err == nil && len(complaints(out)) == 0 {
		t.Errorf("damage was not seen:\n%s", out)
	}
}

// TestSubdirectoriesBeyondTheLinkCount: up to 65000 links are counted, more are
// written as 1. e2fsck may not want to change either.
func TestSubdirectoriesBeyondTheLinkCount(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: makes 65,000 directories; run without -short")
	}
	testneed.Tool(t, "e2fsck")
	e2fsck, _ := testneed.Look("e2fsck")
	for _, dirs := range []int{64998, 64999} {
		tr := tree.New()
		for i := range dirs {
			put(t, tr, "d/"+itoa(i), &tree.Node{Mode: fs.ModeDir | 0o755})
		}
		img, _ := makeImage(t, tr, Options{})
		fsck(t, img)
		if out, err := exec.Command(e2fsck, "-fy", img).CombinedOutput(); err != nil || len(complaints(out)) > 0 {
			t.Errorf("%d directories: e2fsck -fy: %v\n%s", dirs, err, out)
		}
	}
}

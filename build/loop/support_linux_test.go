package loop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

var types = []Type{XFS, Btrfs}

// needKernel skips t where images cannot be mounted.
func needKernel(t testing.TB, kind Type) {
	t.Helper()
	testneed.Root(t)
	for _, p := range kind.programs() {
		testneed.Tool(t, p.name)
	}
	if err := (Local{}).Available(); err != nil {
		testneed.Missing(t, "loop", err.Error())
	}
	fd, err := unix.Fsopen(string(kind), unix.FSOPEN_CLOEXEC)
	if err != nil {
		testneed.Missing(t, string(kind), explainFsopen(string(kind), err).Error())
	}
	unix.Close(fd)
}

// both runs a test for each type.
func both(t *testing.T, test func(t *testing.T, kind Type)) {
	for _, kind := range types {
		t.Run(string(kind), func(t *testing.T) {
			needKernel(t, kind)
			test(t, kind)
		})
	}
}

// newImage is a file in a folder of its own, in memory: the kernel syncs it often.
func newImage(t testing.TB) *os.File {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1g"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	f, err := os.Create(filepath.Join(dir, "test.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func options(kind Type, free int64) Options {
	return Options{Type: kind, UUID: [16]byte{1, 2, 3, 4, 5, 6, 0x80, 8, 0x80, 10}, Epoch: time.Unix(1700000000, 0), FreeBytes: free}
}

// write makes an image and looks for what it may have left.
func write(t testing.TB, tr *tree.Tree, o Options) (*os.File, Stats) {
	t.Helper()
	f := newImage(t)
	st, err := Write(context.Background(), f, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, f.Name())
	if info, err := f.Stat(); err != nil || info.Size() != st.Size || st.Free < o.FreeBytes {
		t.Errorf("%v: %+v (%v), want %d free at least", info.Size(), st, err, o.FreeBytes)
	}
	return f, st
}

// attachedTo lists the loop devices that have a file in a folder.
func attachedTo(t testing.TB, path string) []string {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var devices []string
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), filepath.Dir(path)+"/") {
			devices = append(devices, f+" has "+string(text))
		}
	}
	return devices
}

// nothingLeft fails t when a loop device has the image, which it would if there were a
// mount of it anywhere.
func nothingLeft(t testing.TB, path string) {
	t.Helper()
	for _, d := range attachedTo(t, path) {
		t.Errorf("left behind: %s", d)
	}
}

// mountImage mounts an image by mount(8).
func mountImage(t testing.TB, f *os.File, kind Type, options string) (string, func()) {
	t.Helper()
	if kind == XFS {
		options += ",nouuid"
	}
	return testneed.Mount(t, f.Name(), strings.Trim(options, ","))
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) *tree.Node {
	t.Helper()
	if n.ModTime.IsZero() {
		n.ModTime = time.Unix(1600000000, 123456789)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := tr.MkdirAll(dir, tree.Node{Mode: 0o755, ModTime: time.Unix(1500000000, 7)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
	return n
}

// noise has no zeros and does not compress.
func noise(seed uint64, size int) tree.Bytes {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := 0; i < size; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rng.Uint64()|0x0101010101010101)
		copy(b[i:], word[:])
	}
	return b
}

func hashed(c tree.Content) (string, error) {
	h := sha256.New()
	if c != nil {
		r, err := c.Open()
		if err != nil {
			return "", err
		}
		defer r.Close()
		if _, err := io.Copy(h, r); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// ofTree is what the kernel has to say of a tree.
func ofTree(t testing.TB, tr *tree.Tree) facts.Set {
	t.Helper()
	kinds := map[fs.FileMode]string{
		0: "file", fs.ModeDir: "dir", fs.ModeSymlink: "symlink", fs.ModeDevice: "block", fs.ModeDevice | fs.ModeCharDevice: "char",
		fs.ModeNamedPipe: "fifo", fs.ModeSocket: "socket",
	}
	set, names := facts.Set{}, map[*tree.Node][]string{}
	for name, n := range tr.Walk() {
		names[n] = append(names[n], name)
		f := facts.Fact{
			Name: name, Type: kinds[n.Mode.Type()], Mode: tree.UnixMode(n.Mode) & 0o7777, UID: n.UID, GID: n.GID, Target: n.Target,
			Mtime: facts.Time{Sec: n.ModTime.Unix(), Nsec: int64(n.ModTime.Nanosecond())}, Xattrs: n.Xattrs, Links: uint64(n.Links()),
		}
		switch n.Mode.Type() {
		case fs.ModeDir:
			f.Links = 0
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			f.Rdev = fmt.Sprintf("%d:%d", n.Rdev.Major, n.Rdev.Minor)
		case 0:
			var err error
			if f.Size, f.SHA256, err = n.Size(), "", nil; err == nil {
				f.SHA256, err = hashed(n.Content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		set[name] = f
	}
	for n, list := range names {
		if len(list) > 1 {
			for _, name := range list {
				f := set[name]
				f.LinkGroup = names[n]
				set[name] = f
			}
		}
	}
	return set
}

// acl is an ACL of entries of tag, permissions and id.
func acl(entries ...[3]uint32) string {
	b := []byte{2, 0, 0, 0}
	for _, e := range entries {
		b = append(b, byte(e[0]), 0, byte(e[1]), 0, byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	return string(b)
}

const nobody = 1<<32 - 1

// capability is cap_net_bind_service+ep.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// everything is a tree of all that Linux files can be.
func everything(t testing.TB, kind Type) *tree.Tree {
	tr := tree.New()
	*tr.Root() = func(r tree.Node) tree.Node {
		r.Mode, r.UID, r.GID, r.ModTime = fs.ModeDir|0o751, 12, 34, time.Unix(1234567890, 987654321)
		r.Xattrs = map[string]string{"user.root": "yes", "trusted.root": "\x00\xff"}
		return r
	}(*tr.Root())
	withACL := acl([3]uint32{1, 7, nobody}, [3]uint32{2, 6, 1000}, [3]uint32{4, 5, nobody}, [3]uint32{16, 7, nobody}, [3]uint32{32, 1, nobody})
	put(t, tr, "bin/setuid", &tree.Node{Mode: fs.ModeSetuid | 0o755, UID: 5, GID: 6, Content: noise(1, 3*bufferSize+17), Xattrs: map[string]string{"security.capability": capability}})
	put(t, tr, "bin/setgid", &tree.Node{Mode: fs.ModeSetgid | 0o711, GID: 1 << 31, UID: 1<<32 - 2, Content: tree.Bytes("x")})
	put(t, tr, "bin/mandatory", &tree.Node{Mode: fs.ModeSetgid | fs.ModeSetuid | fs.ModeSticky | 0o600, UID: 1})
	put(t, tr, "bin/nothing", &tree.Node{Mode: 0, Content: noise(2, 4096)})
	put(t, tr, "empty", &tree.Node{Mode: 0o444})
	put(t, tr, "inline", &tree.Node{Mode: 0o644, Content: noise(3, 1500)})
	put(t, tr, "xattrs", &tree.Node{Mode: 0o640, Xattrs: map[string]string{
		"user.empty": "", "user." + strings.Repeat("n", 250): "long name", "user.large": string(noise(4, 12000)), "trusted.overlay.opaque": "y",
		"security.selinux": "system_u:object_r:bin_t:s0\x00", "user.\xff\n": "\x00",
	}})
	put(t, tr, "acl", &tree.Node{Mode: 0o771, UID: 3, Xattrs: map[string]string{aclAccess: withACL}})
	put(t, tr, "shared/default", &tree.Node{Mode: 0o600, Content: tree.Bytes("not inherited")})
	put(t, tr, "shared/sub", &tree.Node{Mode: fs.ModeDir | 0o700})
	put(t, tr, "shared/fifo", &tree.Node{Mode: fs.ModeNamedPipe | 0o622, UID: 9})
	shared := tr.Root().Child("shared")
	shared.Mode, shared.GID, shared.Xattrs = fs.ModeDir|fs.ModeSetgid|fs.ModeSticky|0o771, 77, map[string]string{aclAccess: withACL, aclDefault: withACL}
	put(t, tr, "tmp", &tree.Node{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
	put(t, tr, "dev/console", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o620, Rdev: tree.Rdev{Major: 5, Minor: 1}, GID: 5})
	put(t, tr, "dev/large", &tree.Node{Mode: fs.ModeDevice | 0o660, Rdev: tree.Rdev{Major: typeLimits[kind].major, Minor: typeLimits[kind].minor}, Xattrs: map[string]string{"trusted.device": "1", "security.other": "2"}})
	put(t, tr, "dev/whiteout", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice, Rdev: tree.Rdev{}})
	put(t, tr, "run/socket", &tree.Node{Mode: fs.ModeSocket | 0o777, UID: 8})
	put(t, tr, "run/fifo", &tree.Node{Mode: fs.ModeNamedPipe | fs.ModeSetuid | 0o600, Xattrs: map[string]string{aclAccess: acl([3]uint32{1, 6, nobody}, [3]uint32{2, 6, 1}, [3]uint32{4, 0, nobody}, [3]uint32{16, 0, nobody}, [3]uint32{32, 0, nobody})}})
	put(t, tr, "link/absolute", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "/etc/passwd", UID: 1, GID: 2, Xattrs: map[string]string{"trusted.link": "l"}})
	put(t, tr, "link/up", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "../../../../../..", ModTime: time.Unix(-5, 6)})
	put(t, tr, "link/bytes", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "\xff\n \x01"})
	put(t, tr, "link/long", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("t", typeLimits[kind].target)})
	hard := put(t, tr, "hard/a", &tree.Node{Mode: fs.ModeSetuid | 0o755, Content: noise(5, 5000), UID: 4, Xattrs: map[string]string{"user.h": "1"}})
	put(t, tr, "hard/b", hard)
	put(t, tr, "a hard link before its first", hard)
	put(t, tr, "zz/deep/er/c", hard)
	put(t, tr, "hard/symlink", put(t, tr, "hard/symlink2", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "x"}))
	put(t, tr, "hard/device", put(t, tr, "hard/device2", &tree.Node{Mode: fs.ModeDevice | 0o600, Rdev: tree.Rdev{Major: 1, Minor: 256}}))
	put(t, tr, "names/"+strings.Repeat("\xfe", 255), &tree.Node{Mode: 0o644, Content: tree.Bytes("255 bytes")})
	put(t, tr, "names/\x01\n\\\"' %s\xc3\x28", &tree.Node{Mode: 0o644})
	put(t, tr, "times/early", &tree.Node{Mode: 0o644, ModTime: time.Unix(-1<<31, 0)})
	put(t, tr, "times/late", &tree.Node{Mode: 0o644, ModTime: time.Unix(16299260424, 0)})
	put(t, tr, "times/1969", &tree.Node{Mode: fs.ModeDir | 0o755, ModTime: time.Unix(-1, 999999999)})
	holes := make([]byte, 5*bufferSize+100)
	copy(holes[block-1:], "x")
	copy(holes[2*bufferSize-3:], "across")
	put(t, tr, "holes/some", &tree.Node{Mode: 0o644, Content: tree.Bytes(holes)})
	put(t, tr, "holes/only", &tree.Node{Mode: 0o644, Content: tree.Bytes(make([]byte, 3*bufferSize+1))})
	put(t, tr, "holes/end", &tree.Node{Mode: 0o644, Content: tree.Bytes(append(make([]byte, 9*block), 1))})
	put(t, tr, "holes/start", &tree.Node{Mode: 0o644, Content: tree.Bytes(append([]byte{1}, make([]byte, 20*block)...))})
	deep := strings.TrimSuffix(strings.Repeat("d/", 300), "/")
	put(t, tr, deep+"/f", &tree.Node{Mode: 0o644, Content: tree.Bytes("deep")})
	return tr
}

// sparse is a file of zeros but for its end.
type sparse int64

func (s sparse) Size() int64 { return int64(s) }
func (s sparse) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(io.LimitReader(zeroReader{}, int64(s)-1), bytes.NewReader([]byte{1}))), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var errBroken = errors.New("a broken layer")

// broken is content that ends in an error.
type broken int64

func (b broken) Size() int64 { return int64(b) }
func (b broken) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(io.LimitReader(zeroReader{}, int64(b)/2), errReader{})), nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

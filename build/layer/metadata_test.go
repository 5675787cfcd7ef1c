package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// pack writes headers without content by archive/tar.
func pack(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%q: %v", h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFlattenKeepsModeBits(t *testing.T) {
	special := []struct {
		unix int64
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}
	types := map[byte]fs.FileMode{
		tar.TypeReg: 0, tar.TypeCont: 0, tar.TypeDir: fs.ModeDir, tar.TypeFifo: fs.ModeNamedPipe,
		tar.TypeChar: fs.ModeDevice | fs.ModeCharDevice, tar.TypeBlock: fs.ModeDevice,
	}
	for typ, typeBits := range types {
		for i := range 8 {
			for _, perm := range []int64{0, 0o640, 0o777} {
				unixMode, want := perm, fs.FileMode(perm)|typeBits
				for bit, s := range special {
					if i&(1<<bit) != 0 {
						unixMode |= s.unix
						want |= s.mode
					}
				}
				// Some writers put the type bits of st_mode beside the permissions.
				for _, extra := range []int64{0, 0o100000, 0o040000} {
					tr := flatten(t, archive(rawHeader(typ, "x", octal(offMode, 8, unixMode|extra))))
					if got := lookup(t, tr, "x").Mode; got != want {
						t.Errorf("type %q, mode %#o: got %v, want %v", typ, unixMode|extra, got, want)
					}
				}
			}
		}
	}
}

func TestFlattenKeepsOwners(t *testing.T) {
	for _, id := range []int64{0, 1, 65534, 1<<21 - 1, 1 << 21, 1<<31 - 1, 1 << 31, maxID} {
		for name, layer := range map[string][]byte{
			"PAX":      archive(pax("uid", fmt.Sprint(id), "gid", fmt.Sprint(maxID-id)), rawHeader('0', "x")),
			"base-256": archive(rawHeader('0', "x", put(offMagic, magicGNU), base256(offUID, 8, id), base256(offGID, 8, maxID-id))),
			"writer":   pack(t, tar.Header{Name: "x", Uid: int(id), Gid: int(maxID - id)}),
		} {
			n := lookup(t, flatten(t, layer), "x")
			if int64(n.UID) != id || int64(n.GID) != maxID-id {
				t.Errorf("%s: owner %d:%d, want %d:%d", name, n.UID, n.GID, id, maxID-id)
			}
		}
	}
}

func TestFlattenKeepsTimes(t *testing.T) {
	x := rawHeader('0', "x")
	gnu := func(sec int64) []byte {
		return archive(rawHeader('0', "x", put(offMagic, magicGNU), base256(offMTime, 12, sec)))
	}
	for _, test := range []struct {
		name  string
		layer []byte
		want  time.Time
	}{
		{"octal", archive(rawHeader('0', "x", octal(offMTime, 12, 1700000000))), time.Unix(1700000000, 0)},
		{"octal after 2038", archive(rawHeader('0', "x", octal(offMTime, 12, 8589934591))), time.Unix(8589934591, 0)},
		{"base-256 after 2242", gnu(8589934592), time.Unix(8589934592, 0)},
		{"base-256 before 1970", gnu(-1), time.Unix(-1, 0)},
		{"base-256 before 1901", gnu(-1 << 33), time.Unix(-1<<33, 0)},
		{"PAX nanoseconds", archive(pax("mtime", "1700000000.123456789"), x), time.Unix(1700000000, 123456789)},
		{"PAX tenth", archive(pax("mtime", "1.1"), x), time.Unix(1, 100000000)},
		{"PAX finer than a nanosecond is cut", archive(pax("mtime", "1.1234567899"), x), time.Unix(1, 123456789)},
		{"PAX before 1970", archive(pax("mtime", "-1.25"), x), time.Unix(-2, 750000000)},
		{"PAX just before 1970", archive(pax("mtime", "-0.5"), x), time.Unix(-1, 500000000)},
		{"PAX after 2038", archive(pax("mtime", "2147483648.5"), x), time.Unix(2147483648, 500000000)},
		{"PAX of the year 9999", archive(pax("mtime", "253402300799"), x), time.Unix(253402300799, 0)},
	} {
		if got := lookup(t, flatten(t, test.layer), "x").ModTime; !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestFlattenKeepsXattrs(t *testing.T) {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	want := map[string]string{
		"security.capability":     "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"user.every.byte":         all.String(),
		"user.empty":              "",
		"user.newline":            "a\nb=c\n",
		"user.non-utf8-\xff":      "v",
		"system.posix_acl_access": "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff",
		"user.64k":                strings.Repeat("x", 64<<10),
	}
	var records []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		records = append(records, "SCHILY.xattr."+k, want[k])
	}
	// Neither of these is an xattr.
	records = append(records, "comment", "c", "LIBARCHIVE.xattr.user.b64", "eA==")
	for typ, arg := range map[byte]edit{'0': put(0, "x"), '2': put(offLink, "t"), '3': put(0, "x"), '5': put(0, "x"), '6': put(0, "x")} {
		tr := flatten(t, archive(pax(records...), rawHeader(typ, "x", arg)))
		if diff := cmp.Diff(want, lookup(t, tr, "x").Xattrs); diff != "" {
			t.Errorf("type %q: xattrs differ (-want +got):\n%s", typ, diff)
		}
	}
	// What tells about one entry says nothing of the next.
	tr := flatten(t, archive(pax("SCHILY.xattr.user.a", "1"), rawHeader('0', "x"), rawHeader('0', "y")))
	if got := lookup(t, tr, "y").Xattrs; got != nil {
		t.Errorf("an entry without xattrs has %q", got)
	}
}

func TestFlattenKeepsDevicesAndFIFOs(t *testing.T) {
	for _, dev := range []tree.Rdev{{}, {Major: 5, Minor: 1}, {Major: 4095, Minor: 1<<20 - 1}, {Major: 1<<32 - 1, Minor: 1<<32 - 1}} {
		for typ, mode := range map[byte]fs.FileMode{'3': fs.ModeDevice | fs.ModeCharDevice, '4': fs.ModeDevice} {
			n := lookup(t, flatten(t, archive(rawHeader(typ, "dev/x", put(offMagic, magicGNU),
				base256(offDevMajor, 8, int64(dev.Major)), base256(offDevMinor, 8, int64(dev.Minor))))), "dev/x")
			if n.Rdev != dev || n.Mode != mode|0o644 {
				t.Errorf("got %v %v, want %v %v", n.Mode, n.Rdev, mode|0o644, dev)
			}
		}
	}
	// A number on anything else is padding.
	n := lookup(t, flatten(t, archive(rawHeader('6', "p", octal(offDevMajor, 8, 1), octal(offDevMinor, 8, 3)))), "p")
	if n.Rdev != (tree.Rdev{}) || n.Mode != fs.ModeNamedPipe|0o644 {
		t.Errorf("FIFO is %v %v", n.Mode, n.Rdev)
	}
}

func TestFlattenKeepsNames(t *testing.T) {
	long := strings.Repeat("n", 255)
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 63)+"/", 64), "/") // 4095 bytes
	names := []string{
		long, long[:100], long[:101], deep, "\xff\xfe\x80", "caf\u00e9", "cafe\u0301", "new\nline", "tab\t", "a b", "*?[", "\\", "-rf", "...", "..a", "a..",
		"..." + "/.." + "a", " ", "~", "$HOME", "%s", ".wh", "a.wh.b", "wh.", "C:", "CON", "a\x7fb", "\x01",
	}
	for _, name := range names {
		spellings := map[string][]byte{
			"PAX": archive(pax("path", name), rawFile("short", "c")),
			"GNU": archive(meta('L', name+"\x00"), rawFile("short", "c", put(offMagic, magicGNU))),
		}
		if len(name) <= 100 {
			for format, magic := range map[string]string{"v7": magicV7, "ustar": magicUSTAR, "gnu": magicGNU} {
				spellings[format] = archive(rawFile(name, "c", put(offMagic, magic)))
			}
		}
		for format, layer := range spellings {
			n := lookup(t, flatten(t, layer), name)
			if got := contentOf(t, n); got != "c" {
				t.Errorf("%s: %.40q holds %q", format, name, got)
			}
		}
	}
	n := lookup(t, flatten(t, archive(rawFile("base", "c", put(offPrefix, "dir/"+long[:140])))), "dir/"+long[:140]+"/base")
	if got := contentOf(t, n); got != "c" {
		t.Errorf("a name with a ustar prefix holds %q", got)
	}
}

func TestFlattenKeepsLinkTargets(t *testing.T) {
	targets := []string{
		"t", "/t", "../t", "../../../../../../t", ".", "..", "/", "//", "a//b/", "a/./b", "\xff\xfe", " ", "a\nb",
		strings.Repeat("t", 100), strings.Repeat("t", 101), strings.Repeat("t/", 2047) + "t",
	}
	for _, target := range targets {
		layers := map[string][]byte{
			"PAX": archive(pax("linkpath", target), rawHeader('2', "x")),
			"GNU": archive(meta('K', target+"\x00"), rawHeader('2', "x", put(offMagic, magicGNU))),
		}
		if len(target) <= 100 {
			layers["ustar"] = archive(rawHeader('2', "x", put(offLink, target)))
			layers["v7"] = archive(rawHeader('2', "x", put(offLink, target), put(offMagic, magicV7)))
		}
		for format, layer := range layers {
			n := lookup(t, flatten(t, layer), "x")
			if n.Target != target || n.Mode.Type() != fs.ModeSymlink {
				t.Errorf("%s: %v to %.40q, want a link to %.40q", format, n.Mode, n.Target, target)
			}
		}
	}
	// Hard links have long targets too.
	long := strings.Repeat("n", 200)
	for format, layer := range map[string][]byte{
		"PAX": archive(pax("path", long), rawFile("x", "c"), pax("linkpath", long), rawHeader('1', "y")),
		"GNU": archive(meta('L', long), rawFile("x", "c", put(offMagic, magicGNU)), meta('K', long), rawHeader('1', "y", put(offMagic, magicGNU))),
	} {
		tr := flatten(t, layer)
		if n := lookup(t, tr, "y"); n != lookup(t, tr, long) || n.Links() != 2 {
			t.Errorf("%s: a hard link with a long target is another inode", format)
		}
	}
}

func TestFlattenReadsEveryTarFormat(t *testing.T) {
	for format, magic := range map[string]string{"v7": magicV7, "ustar": magicUSTAR, "gnu": magicGNU} {
		t.Run(format, func(t *testing.T) {
			m := put(offMagic, magic)
			owned := func(b []byte) { octal(offUID, 8, 101)(b); octal(offGID, 8, 102)(b) }
			layer := []byte{}
			layer = append(layer, rawHeader('5', "d/", m, owned, octal(offMode, 8, 0o2750))...)
			layer = append(layer, rawFile("d/f", "content", m, owned)...)
			layer = append(layer, rawFile("d/old", "v7 file", m, put(offType, "\x00"))...)
			layer = append(layer, rawHeader(0, "olddir/", m)...)
			layer = append(layer, rawHeader('1', "d/h", m, put(offLink, "d/f"))...)
			layer = append(layer, rawHeader('2', "d/s", m, owned, put(offLink, "../x"))...)
			layer = append(layer, rawHeader('6', "d/p", m, owned)...)
			tr := flatten(t, archive(layer))
			want := []string{"d d", "f d/f content", "= d/h d/f", "f d/old v7 file", "p d/p", "l d/s ../x", "d olddir"}
			if diff := cmp.Diff(want, list(t, tr)); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
			for _, name := range []string{"d", "d/f", "d/s", "d/p"} {
				if n := lookup(t, tr, name); n.UID != 101 || n.GID != 102 || !n.ModTime.Equal(time.Unix(1000, 0)) {
					t.Errorf("%s: owner %d:%d, time %v", name, n.UID, n.GID, n.ModTime)
				}
			}
			if got, want := lookup(t, tr, "d").Mode, fs.ModeDir|fs.ModeSetgid|0o750; got != want {
				t.Errorf("d is %v, want %v", got, want)
			}
		})
	}
}

// sparse is a file of 5000 bytes with data at 10-13, 1024-1027 and 4990-4999.
func sparse() (data, want string) {
	b := make([]byte, 5000)
	copy(b[10:], "abc")
	copy(b[1024:], "def")
	copy(b[4990:], "0123456789")
	return "abcdef0123456789", string(b)
}

func TestFlattenReadsSparseFiles(t *testing.T) {
	data, want := sparse()
	oldGNU := func(realSize int64, extended bool, pairs ...int64) []byte {
		edits := []edit{put(offMagic, magicGNU), octal(offSize, 12, int64(len(data))), octal(offGNURealSize, 12, realSize)}
		for i, v := range pairs {
			edits = append(edits, octal(offGNUSparse+12*i, 12, v))
		}
		if extended {
			edits = append(edits, put(offGNUExtended, "\x01"))
		}
		return rawHeader('S', "x", edits...)
	}
	extension := make([]byte, 512)
	for i, v := range []int64{4990, 10, 5000, 0} {
		octal(12*i, 12, v)(extension)
	}
	sized := octal(offSize, 12, int64(len(data)))
	map10 := padded("3\n10\n3\n1024\n3\n4990\n10\n")
	layers := map[string][]byte{
		"old GNU":               archive(oldGNU(5000, false, 10, 3, 1024, 3, 4990, 10), padded(data)),
		"old GNU with an end":   archive(oldGNU(5000, false, 10, 3, 1024, 3, 4990, 10, 5000, 0), padded(data)),
		"old GNU, extension":    archive(oldGNU(5000, true, 10, 3, 1024, 3), extension, padded(data)),
		"old GNU, no extension": archive(oldGNU(5000, true, 10, 3, 1024, 3, 4990, 10), make([]byte, 512), padded(data)),
		"PAX 0.0": archive(meta('x', paxRecord("GNU.sparse.size", "5000")+paxRecord("GNU.sparse.numblocks", "3")+
			paxRecord("GNU.sparse.offset", "10")+paxRecord("GNU.sparse.numbytes", "3")+
			paxRecord("GNU.sparse.offset", "1024")+paxRecord("GNU.sparse.numbytes", "3")+
			paxRecord("GNU.sparse.offset", "4990")+paxRecord("GNU.sparse.numbytes", "10")),
			rawHeader('0', "x", sized), padded(data)),
		"PAX 0.1": archive(pax("GNU.sparse.name", "x", "GNU.sparse.size", "5000", "GNU.sparse.numblocks", "3", "GNU.sparse.map", "10,3,1024,3,4990,10"),
			rawHeader('0', "GNUSparseFile.1/x", sized), padded(data)),
		"PAX 1.0": archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "x", "GNU.sparse.realsize", "5000"),
			rawHeader('0', "GNUSparseFile.1/x", octal(offSize, 12, int64(len(map10)+len(data)))), map10, padded(data)),
	}
	for format, layer := range layers {
		t.Run(format, func(t *testing.T) {
			tr := flatten(t, layer)
			if diff := cmp.Diff([]string{"x"}, names(tr)); diff != "" {
				t.Fatalf("names differ (-want +got):\n%s", diff)
			}
			n := lookup(t, tr, "x")
			if got := contentOf(t, n); got != want || n.Size() != 5000 {
				t.Errorf("%d bytes %q, want the 5000 bytes of the file with its holes", n.Size(), got)
			}
		})
	}
	t.Run("nothing but a hole", func(t *testing.T) {
		tr := flatten(t, archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "x", "GNU.sparse.realsize", "70000"),
			rawHeader('0', "GNUSparseFile.1/x", octal(offSize, 12, 512)), padded("0\n")))
		if got := contentOf(t, lookup(t, tr, "x")); got != strings.Repeat("\x00", 70000) {
			t.Errorf("%d bytes, want 70000 zeros", len(got))
		}
	})
}

// names is every name but the root.
func names(tr *tree.Tree) []string {
	var out []string
	for name := range tr.Walk() {
		if name != "." {
			out = append(out, name)
		}
	}
	return out
}

func TestFlattenDirectoryOverDirectoryTakesAllMetadata(t *testing.T) {
	for _, name := range []string{"d", "."} {
		tr := flatten(t,
			archive(pax("mtime", "5.5", "SCHILY.xattr.user.a", "1", "SCHILY.xattr.user.b", "2"),
				rawHeader('5', name, octal(offMode, 8, 0o1777), octal(offUID, 8, 1), octal(offGID, 8, 2)), rawFile("d/x", "stays")),
			archive(pax("mtime", "6.5", "SCHILY.xattr.user.b", "3"),
				rawHeader('5', name, octal(offMode, 8, 0o700), octal(offUID, 8, 3), octal(offGID, 8, 4))))
		n := lookup(t, tr, name)
		if n.Mode != fs.ModeDir|0o700 || n.UID != 3 || n.GID != 4 || !n.ModTime.Equal(time.Unix(6, 5e8)) {
			t.Errorf("%s: %v %d:%d %v", name, n.Mode, n.UID, n.GID, n.ModTime)
		}
		if diff := cmp.Diff(map[string]string{"user.b": "3"}, n.Xattrs); diff != "" {
			t.Errorf("%s: xattrs differ (-want +got):\n%s", name, diff)
		}
		if got := contentOf(t, lookup(t, tr, "d/x")); got != "stays" {
			t.Errorf("%s: the file below holds %q", name, got)
		}
	}
}

func TestFlattenReplacedFileKeepsNothingOfTheOld(t *testing.T) {
	tr := flatten(t,
		archive(pax("SCHILY.xattr.user.a", "1"), rawFile("x", "old", octal(offMode, 8, 0o4755), octal(offUID, 8, 7)), rawHeader('1', "y", put(offLink, "x"))),
		archive(rawHeader('0', "x")))
	x, y := lookup(t, tr, "x"), lookup(t, tr, "y")
	if x.Mode != 0o644 || x.UID != 0 || x.Xattrs != nil || x.Size() != 0 || x.Links() != 1 {
		t.Errorf("x: %v, owner %d, xattrs %v, %d bytes, %d links", x.Mode, x.UID, x.Xattrs, x.Size(), x.Links())
	}
	if y.Mode != fs.ModeSetuid|0o755 || y.UID != 7 || y.Xattrs["user.a"] != "1" || contentOf(t, y) != "old" || y.Links() != 1 {
		t.Errorf("y: %v, owner %d, xattrs %v, %d links", y.Mode, y.UID, y.Xattrs, y.Links())
	}
}

func TestFlattenHardLinkTakesNoMetadata(t *testing.T) {
	// Tars repeat the inode's metadata on its other names, or leave it out.
	tr := flatten(t, archive(rawFile("x", "c", octal(offMode, 8, 0o4755), octal(offUID, 8, 7)),
		rawHeader('1', "y", put(offLink, "x"), octal(offMode, 8, 0), octal(offMTime, 12, 0), octal(offUID, 8, 9))))
	n := lookup(t, tr, "y")
	if n.Mode != fs.ModeSetuid|0o755 || n.UID != 7 || !n.ModTime.Equal(time.Unix(1000, 0)) || n.Links() != 2 {
		t.Errorf("%v, owner %d, %v, %d links", n.Mode, n.UID, n.ModTime, n.Links())
	}
}

func TestFlattenImpliedDirectories(t *testing.T) {
	epoch := time.Unix(1234567890, 5)
	tr, err := Flatten(t.Context(), layersOf(archive(rawFile("a/b/x", "c"))), &spool{}, Options{Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "a", "a/b"} {
		n := lookup(t, tr, name)
		if n.Mode != fs.ModeDir|0o755 || n.UID != 0 || n.GID != 0 || n.Xattrs != nil || !n.ModTime.Equal(epoch) {
			t.Errorf("%s: %v %d:%d %v %v", name, n.Mode, n.UID, n.GID, n.Xattrs, n.ModTime)
		}
	}
}

// TestFlattenReadsGNUTar compares what GNU tar packs, in each of its formats,
// with what the kernel says of the files.
func TestFlattenReadsGNUTar(t *testing.T) {
	testneed.Tool(t, "tar")
	if out, _ := exec.Command("tar", "--version").Output(); !strings.Contains(string(out), "GNU tar") {
		testneed.Missing(t, "tar", "tar is not GNU tar")
	}
	dir := t.TempDir()
	hasXattrs := fillWithAwkwardFiles(t, dir)
	for _, test := range []struct {
		name    string
		args    []string
		nanos   bool
		xattrs  bool
		exclude []string // beginnings of names that the format cannot hold
	}{
		{name: "v7", args: []string{"--format=v7"}, exclude: []string{"long", "before", "owned", "fifo", "null"}},
		{name: "oldgnu", args: []string{"--format=oldgnu"}},
		{name: "oldgnu sparse", args: []string{"--format=oldgnu", "--sparse"}},
		{name: "gnu", args: []string{"--format=gnu"}},
		{name: "gnu sparse", args: []string{"--format=gnu", "--sparse"}},
		{name: "ustar", args: []string{"--format=ustar"}, exclude: []string{"long", "before", "owned"}},
		{name: "posix", args: []string{"--format=posix"}, nanos: true},
		{name: "posix xattrs", args: []string{"--format=posix", "--xattrs", "--xattrs-include=*"}, nanos: true, xattrs: true},
		{name: "posix sparse 0.0", args: []string{"--format=posix", "--sparse-version=0.0"}, nanos: true},
		{name: "posix sparse 0.1", args: []string{"--format=posix", "--sparse-version=0.1"}, nanos: true},
		{name: "posix sparse 1.0", args: []string{"--format=posix", "--sparse-version=1.0"}, nanos: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.xattrs && !hasXattrs {
				testneed.Missing(t, "xattrs", "no user xattrs in the temporary folder")
			}
			args := append([]string{"--create", "--directory=" + dir, "--sort=name", "--numeric-owner"}, test.args...)
			for _, name := range test.exclude {
				args = append(args, "--exclude="+name+"*")
			}
			var out, stderr bytes.Buffer
			cmd := exec.Command("tar", append(args, ".")...)
			cmd.Env = append(os.Environ(), "LC_ALL=C")
			cmd.Stdout, cmd.Stderr = &out, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			if strings.Contains(test.name, "sparse 0") || strings.Contains(test.name, "sparse 1") {
				if !bytes.Contains(out.Bytes(), []byte("GNU.sparse.")) {
					t.Error("tar packed no file as a sparse one")
				}
			}
			compareWithDisk(t, dir, flatten(t, out.Bytes()), test.nanos, test.xattrs, test.exclude)
		})
	}
}

// fillWithAwkwardFiles makes every kind of file an ordinary user can, and tells
// whether the filesystem took an xattr.
func fillWithAwkwardFiles(t *testing.T, dir string) (hasXattrs bool) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	must(os.Mkdir(in("sub"), 0o755))
	must(os.WriteFile(in("sub/file"), []byte("content"), 0o600))
	must(os.Link(in("sub/file"), in("sub/hard")))
	must(os.Symlink("../sub/file", in("sub/soft")))
	must(os.Symlink(strings.Repeat("t/", 60), in("longlink")))
	must(os.WriteFile(in("long"+strings.Repeat("n", 251)), []byte("c"), 0o644))
	must(os.Mkdir(in("longdir"+strings.Repeat("d", 200)), 0o755))
	must(os.WriteFile(in("longdir"+strings.Repeat("d", 200)+"/"+strings.Repeat("f", 200)), []byte("c"), 0o644))
	must(os.WriteFile(in("\xff\xfe"), nil, 0o644))
	must(unix.Mkfifo(in("fifo"), 0o622))
	must(os.WriteFile(in("setuid"), []byte("#!"), 0o755))
	must(os.Chmod(in("setuid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	must(os.Mkdir(in("tmp"), 0o755))
	must(os.Chmod(in("tmp"), 0o777|fs.ModeSticky))
	must(os.WriteFile(in("before1970"), nil, 0o644))
	must(os.Chtimes(in("before1970"), time.Unix(0, 0), time.Unix(-86400, 0)))
	must(os.WriteFile(in("nanos"), nil, 0o644))
	must(os.Chtimes(in("nanos"), time.Unix(0, 0), time.Unix(1700000000, 123456789)))
	must(os.WriteFile(in("after2038"), nil, 0o644))
	must(os.Chtimes(in("after2038"), time.Unix(0, 0), time.Unix(1<<32, 0)))
	for name, pieces := range map[string]int{"sparse1": 1, "sparse4": 4, "sparse5": 5, "sparse40": 40, "hole": 0} {
		f, err := os.Create(in(name))
		must(err)
		for i := range pieces {
			_, err := f.WriteAt([]byte(name+strconv.Itoa(i)), int64(i+1)<<16)
			must(err)
		}
		must(f.Truncate(int64(pieces+2) << 16))
		must(f.Close())
	}
	if os.Getuid() == 0 {
		must(unix.Mknod(in("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(os.WriteFile(in("owned"), nil, 0o644))
		must(os.Lchown(in("owned"), 70000, 3000000))
		must(os.Lchown(in("sub/soft"), 5, 6))
	}
	err := unix.Setxattr(in("sub/file"), "user.binary", []byte("\x00\xff\n=v"), 0)
	if errors.Is(err, unix.ENOTSUP) {
		return false
	}
	must(err)
	must(unix.Setxattr(in("sub"), "user.dir", []byte("d"), 0))
	return true
}

// compareWithDisk compares a tree with a directory, name by name.
func compareWithDisk(t *testing.T, dir string, tr *tree.Tree, nanos, xattrs bool, exclude []string) {
	t.Helper()
	want := 0
	inodes := map[uint64]*tree.Node{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(exclude, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			return nil
		}
		want++
		n := lookup(t, tr, name)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if n.Mode != info.Mode() && info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%q: mode %v, want %v", name, n.Mode, info.Mode())
		}
		if n.UID != st.Uid || n.GID != st.Gid {
			t.Errorf("%q: owner %d:%d, want %d:%d", name, n.UID, n.GID, st.Uid, st.Gid)
		}
		mtime := info.ModTime()
		if !nanos {
			mtime = time.Unix(mtime.Unix(), 0)
		}
		if !n.ModTime.Equal(mtime) {
			t.Errorf("%q: time %v, want %v", name, n.ModTime, mtime)
		}
		if other, ok := inodes[st.Ino]; ok && other != n {
			t.Errorf("%q: not the inode of its other name", name)
		}
		inodes[st.Ino] = n
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if got := contentOf(t, n); got != string(b) {
				t.Errorf("%q: %d bytes differ from the %d on disk", name, len(got), len(b))
			}
			if n.Links() != int(st.Nlink) {
				t.Errorf("%q: %d links, want %d", name, n.Links(), st.Nlink)
			}
		case fs.ModeSymlink:
			if target, _ := os.Readlink(path); n.Target != target {
				t.Errorf("%q: target %q, want %q", name, n.Target, target)
			}
		case fs.ModeDevice | fs.ModeCharDevice:
			if want := (tree.Rdev{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}); n.Rdev != want {
				t.Errorf("%q: device %v, want %v", name, n.Rdev, want)
			}
		}
		if onDisk := xattrsOf(t, path); xattrs && !maps.Equal(onDisk, n.Xattrs) {
			t.Errorf("%q: xattrs %q, want %q", name, n.Xattrs, onDisk)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(names(tr)) + 1; got != want {
		t.Errorf("%d names, want %d", got, want)
	}
}

// xattrsOf reads the xattrs of a name on disk; of what security modules add on
// their own account it takes no notice.
func xattrsOf(t testing.TB, path string) map[string]string {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var out map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" || name == "security.selinux" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = string(value[:n])
	}
	return out
}

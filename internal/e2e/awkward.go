package e2e

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// awkward adds four layers: what is to be hidden and what is hard to keep; what
// hides; and two that GNU tar writes, for its ways to store holes and long names.
func (w workshop) awkward(ctx context.Context) error {
	for i, write := range []func(*layerWriter){lowerLayer, upperLayer} {
		path := filepath.Join(w.scratch, fmt.Sprintf("layer%d.tar", i))
		if err := writeLayer(path, write); err != nil {
			return err
		}
		if err := w.add(ctx, path); err != nil {
			return err
		}
	}
	for _, format := range []string{"posix", "gnu"} {
		path := filepath.Join(w.scratch, format+".tar")
		tree := filepath.Join(w.scratch, format)
		if err := gnuTree(filepath.Join(tree, "awkward", format)); err != nil {
			return err
		}
		err := run(ctx, w.Log, nil, "tar", "--format="+format, "--sparse", "--xattrs", "--acls", "--numeric-owner",
			"-C", tree, "-cf", path, "awkward/"+format)
		if err != nil {
			return err
		}
		if err := w.add(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// Names that are hard to keep, all in awkward/names.
var awkwardNames = []string{
	strings.Repeat("n", 255),
	"\xff\xfe no UTF-8 \x80",
	"two\nlines",
	"tab\there",
	" leading and trailing ",
	"-rf",
	`back\slash "quotes" $HOME *`,
	"\x01\x7f",
	strings.Repeat("\xc3\xa9", 127), // 254 bytes of UTF-8
	".wh",
	"a.wh.b",
	"...",
}

// Times that are hard to keep, in awkward/times under their own names. ext4 reaches from
// 1901-12-13 to 2446-05-10, and the kernel drops the nanoseconds of the first second.
var awkwardTimes = []time.Time{
	time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 999999999), time.Unix(-1, 0),
	time.Unix(-631152000, 250), // 1950
	time.Unix(-1<<31, 0), time.Unix(-1<<31+1, 999999999),
	time.Unix(1<<31-1, 0), time.Unix(1<<31, 0), time.Unix(1<<31, 500), // 2038-01-19
	time.Unix(1<<32, 0), time.Unix(4102444800, 123456789), // 2106, 2100
	time.Unix(9000000000, 999999999), // 2255
	time.Unix(1700000000, 123456700),
}

// lastTime is the last that e2fsck lets pass, 2310-04-04. It is the time of
// awkward/last-time. umoci cannot unpack it, as it counts in nanoseconds.
var lastTime = time.Unix(2<<32+1<<31-1, 0)

// Symbolic links in awkward/symlinks, by name. ext4 keeps targets of up to 59 bytes in the
// inode.
var awkwardTargets = map[string]string{
	"dangling": "/no/such/file", "relative": "../names", "self": "self", "parent": "../../..", "outside": "../../../../../../etc/passwd",
	"59": strings.Repeat("a", 59), "60": strings.Repeat("b", 60), "61": strings.Repeat("c", 61),
	"200": strings.Repeat("d", 200), "4000": strings.Repeat("e/", 2000), "bytes": "\xff\n\x01",
}

// Sizes of files around blocks, in awkward/sizes under the names of the sizes.
var awkwardSizes = []int{0, 1, 59, 60, 61, 160, 4095, 4096, 4097, 1<<20 - 1, 1 << 20}

// A POSIX ACL as the kernel takes it, version 2: user::rw-, user:7:rwx, group::r--,
// mask::rwx, other::r--. The mode that goes with it is 0674.
const accessACL = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x07\x00\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"

// cap_net_raw+ep, revision 2, and the same of revision 3 for the user namespace of uid 1000.
const (
	capNetRaw   = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	capNetRawNS = "\x01\x00\x00\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe8\x03\x00\x00"
)

// The number of files in awkward/many.
const manyFiles = 3000

// The number of data blocks in awkward/fragments, each followed by a block of zeros.
const fragments = 3000

func lowerLayer(w *layerWriter) {
	w.dir("./", 0o755)
	w.dir("awkward", 0o755)
	w.file("awkward/setuid", "x", mode(0o4755))
	w.file("awkward/setgid", "x", mode(0o2755))
	w.file("awkward/none", "x", mode(0))
	w.dir("awkward/sticky", 0o1777)
	w.dir("awkward/setgid-dir", 0o2775)
	w.dir("awkward/private", 0o700, owner(101, 102))
	w.file("awkward/private/key", "x", mode(0o600), owner(101, 102))
	w.file("awkward/large-ids", "x", owner(4000000000, 3000000000))
	w.file("awkward/ids-65536", "x", owner(65536, 65535))

	w.file("awkward/capability", "x", mode(0o755), xattr("security.capability", capNetRaw))
	w.file("awkward/capability-ns", "x", mode(0o755), xattr("security.capability", capNetRawNS))
	w.file("awkward/xattrs", "x", xattr("user.text", "value"), xattr("user.binary", "\x00\n=\xff"),
		xattr("user.long.name."+strings.Repeat("x", 200), "1"), xattr("trusted.overlay.note", "y"))
	w.file("awkward/xattr-block", "x", xattr("user.large", strings.Repeat("large ", 500)))
	w.dir("awkward/xattr-dir", 0o755, xattr("user.dir", "d"))
	w.file("awkward/acl", "x", mode(0o674), xattr("system.posix_acl_access", accessACL))
	w.dir("awkward/acl-dir", 0o755, xattr("system.posix_acl_default", accessACL))

	w.dir("awkward/links", 0o755)
	w.dir("awkward/links/deep", 0o755)
	w.file("awkward/links/first", "one inode")
	w.link("awkward/links/second", "awkward/links/first")
	w.link("awkward/links/deep/third", "awkward/links/second")
	w.file("awkward/links/replaced", "lower content")
	w.link("awkward/links/survivor", "awkward/links/replaced")
	w.file("awkward/links/hidden", "hidden content")
	w.link("awkward/links/orphan", "awkward/links/hidden")
	w.node("awkward/links/pipe", tar.TypeFifo, 0, 0)
	w.link("awkward/links/pipe-again", "awkward/links/pipe")

	w.dir("awkward/nodes", 0o755)
	w.node("awkward/nodes/console", tar.TypeChar, 5, 1)
	w.node("awkward/nodes/zero", tar.TypeChar, 0, 0)
	w.node("awkward/nodes/large", tar.TypeBlock, 259, 70000)
	w.node("awkward/nodes/loop", tar.TypeBlock, 7, 0)
	w.node("awkward/nodes/fifo", tar.TypeFifo, 0, 0)

	w.dir("awkward/names", 0o755)
	for _, name := range awkwardNames {
		w.file("awkward/names/"+name, "named")
	}
	w.dir("awkward/names/\xff dir", 0o755)
	w.file("awkward/names/\xff dir/\xfe", "deep")
	deep := "awkward"
	for range 60 {
		deep += "/deep"
		w.dir(deep, 0o755)
	}
	w.file(deep+"/leaf", "leaf")

	w.dir("awkward/times", 0o755)
	for _, at := range awkwardTimes {
		w.file(fmt.Sprintf("awkward/times/%d.%09d", at.Unix(), at.Nanosecond()), "x", mtime(at))
	}
	w.dir("awkward/times/dir", 0o755, mtime(awkwardTimes[11]))
	w.symlink("awkward/times/link", "x", mtime(awkwardTimes[4]))

	w.file("awkward/last-time", "x", mtime(lastTime))

	w.dir("awkward/symlinks", 0o755)
	for _, name := range slices.Sorted(maps.Keys(awkwardTargets)) {
		w.symlink("awkward/symlinks/"+name, awkwardTargets[name])
	}

	w.dir("awkward/sizes", 0o755)
	for _, size := range awkwardSizes {
		w.file(fmt.Sprintf("awkward/sizes/%d", size), strings.Repeat("s", size))
	}
	w.file("awkward/fragments", strings.Repeat("f"+strings.Repeat("\x00", 8191), fragments))
	w.zeros("awkward/zeros", 64<<20)

	w.dir("awkward/many", 0o755)
	for i := range manyFiles {
		w.file(fmt.Sprintf("awkward/many/file-%05d-%s", i, strings.Repeat("m", i%40)), "")
	}

	w.dir("awkward/swap", 0o755)
	w.file("awkward/swap/file-to-dir", "file")
	w.dir("awkward/swap/dir-to-file", 0o755)
	w.file("awkward/swap/dir-to-file/inside", "x")
	w.dir("awkward/swap/dir-to-link", 0o755)
	w.file("awkward/swap/dir-to-link/inside", "x")
	w.symlink("awkward/swap/link-to-dir", "../names")
	w.symlink("awkward/swap/link-to-file", "../setuid")
	w.dir("awkward/swap/dir-changed", 0o755, owner(1, 1))
	w.file("awkward/swap/dir-changed/kept", "kept")

	w.dir("awkward/gone", 0o755)
	w.file("awkward/gone/file", "x")
	w.dir("awkward/gone/dir", 0o755)
	w.file("awkward/gone/dir/inside", "x")
	w.file("awkward/gone/back", "lower")
	w.symlink("awkward/gone/link", "../names")
	w.file("awkward/gone/kept", "kept")
	w.dir("awkward/opaque", 0o755)
	w.file("awkward/opaque/lower", "x")
	w.dir("awkward/opaque/dir", 0o755)
	w.file("awkward/opaque/dir/inside", "x")
	w.file("awkward/opaque/both", "lower")

	// The base has /bin as a link to usr/bin.
	w.file("bin/through-a-link", "#!/bin/sh\n", mode(0o755))
}

func upperLayer(w *layerWriter) {
	w.link("awkward/links/fourth", "awkward/links/first") // to an inode of the layer below
	w.file("awkward/links/replaced", "upper content")
	w.file("awkward/links/.wh.hidden", "")

	w.dir("awkward/swap/file-to-dir", 0o750)
	w.file("awkward/swap/file-to-dir/inside", "new")
	w.file("awkward/swap/dir-to-file", "now a file")
	w.symlink("awkward/swap/dir-to-link", "file-to-dir")
	w.dir("awkward/swap/link-to-dir", 0o711)
	w.file("awkward/swap/link-to-dir/inside", "new")
	w.file("awkward/swap/link-to-file", "now a file")
	w.dir("awkward/swap/dir-changed", 0o2700, owner(7, 8), mtime(time.Unix(1e9, 1)))

	w.file("awkward/gone/.wh.file", "")
	w.file("awkward/gone/.wh.dir", "")
	w.file("awkward/gone/.wh.link", "")
	w.file("awkward/gone/.wh.back", "")
	w.file("awkward/gone/back", "upper")
	w.file("awkward/gone/.wh.never-was", "")
	w.dir("awkward/opaque", 0o755)
	w.file("awkward/opaque/.wh..wh..opq", "")
	w.file("awkward/opaque/upper", "upper")
	w.file("awkward/opaque/both", "upper")

	// Parents whose times the entries above would change get them again at the end.
	for _, dir := range []string{"awkward/links", "awkward/swap", "awkward/gone", "awkward/opaque", "awkward"} {
		w.dir(dir, 0o755)
	}
	w.dir("./", 0o755, mtime(time.Unix(1234567890, 987654321)))
}

// gnuTree makes what only GNU tar can put into a layer.
func gnuTree(dir string) error {
	long := filepath.Join(dir, strings.Repeat("long", 30), strings.Repeat("name", 30))
	if err := os.MkdirAll(long, 0o755); err != nil {
		return err
	}
	files := []struct {
		name string
		size int64
		at   []int64 // where "data" is written
	}{
		{"holes", 64 << 20, []int64{0, 5 << 20, 5<<20 + 8192, 64<<20 - 4}},
		{"hole-only", 8 << 20, nil},
		{"hole-last", 1<<20 + 1, []int64{4096}},
	}
	for i := range int64(40) { // more holes than fit into one header
		files[0].at = append(files[0].at, 10<<20+i<<18)
	}
	for _, file := range files {
		if err := writeSparse(filepath.Join(long, file.name), file.size, file.at); err != nil {
			return err
		}
	}
	if err := os.Symlink(strings.Repeat("target", 40), filepath.Join(long, "link")); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(long, "hole-last"), filepath.Join(dir, "hole-again")); err != nil {
		return err
	}
	if err := unix.Setxattr(filepath.Join(long, "holes"), "user.gnu", []byte("g"), 0); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := []unix.Timespec{{Sec: 1600000000}, {Sec: 1600000000}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, at, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func writeSparse(path string, size int64, at []int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	for _, offset := range at {
		if _, err := f.WriteAt([]byte("data"), offset); err != nil {
			return err
		}
	}
	return f.Close()
}

// A layerWriter writes a layer archive entry by entry. The first error stays.
type layerWriter struct {
	tar *tar.Writer
	err error
}

func writeLayer(path string, write func(*layerWriter)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &layerWriter{tar: tar.NewWriter(f)}
	write(w)
	if w.err == nil {
		w.err = w.tar.Close()
	}
	if w.err != nil {
		return w.err
	}
	return f.Close()
}

// An option changes an entry's header.
type option func(*tar.Header)

func mode(m int64) option          { return func(h *tar.Header) { h.Mode = m } }
func owner(uid, gid int) option    { return func(h *tar.Header) { h.Uid, h.Gid = uid, gid } }
func mtime(t time.Time) option     { return func(h *tar.Header) { h.ModTime = t } }
func xattr(k, v string) option     { return func(h *tar.Header) { h.PAXRecords["SCHILY.xattr."+k] = v } }
func defaultTime(t byte) time.Time { return time.Unix(1500000000+int64(t), 0) }

func (w *layerWriter) entry(h tar.Header, body io.Reader, options ...option) {
	if w.err != nil {
		return
	}
	h.Format = tar.FormatPAX
	h.ModTime = defaultTime(h.Typeflag)
	h.PAXRecords = map[string]string{}
	for _, o := range options {
		o(&h)
	}
	if err := w.tar.WriteHeader(&h); err != nil {
		w.err = fmt.Errorf("writing header of %q: %w", h.Name, err)
		return
	}
	if body != nil {
		if _, err := io.Copy(w.tar, body); err != nil {
			w.err = fmt.Errorf("writing %q: %w", h.Name, err)
		}
	}
}

func (w *layerWriter) dir(name string, mode int64, options ...option) {
	w.entry(tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimSuffix(name, "/") + "/", Mode: mode}, nil, options...)
}

func (w *layerWriter) file(name, content string, options ...option) {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
	w.entry(h, strings.NewReader(content), options...)
}

func (w *layerWriter) zeros(name string, size int64) {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}
	w.entry(h, io.LimitReader(zeroReader{}, size))
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (w *layerWriter) symlink(name, target string, options ...option) {
	w.entry(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil, options...)
}

func (w *layerWriter) link(name, target string) {
	w.entry(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, nil)
}

func (w *layerWriter) node(name string, kind byte, major, minor int64) {
	w.entry(tar.Header{Typeflag: kind, Name: name, Mode: 0o620, Devmajor: major, Devminor: minor}, nil)
}

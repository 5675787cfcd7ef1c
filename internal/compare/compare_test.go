package compare

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/ext4read"
	nc "github.com/volant/fledge-action/internal/newctest"
)

// content is bytes of a tree's file.
type content string

func (c content) Size() int64 { return int64(len(c)) }
func (c content) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}

var epoch = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// baseTree is the tree that differences are planted in.
func baseTree(t testing.TB) *tree.Tree {
	tr := tree.New()
	tr.Root().Mode, tr.Root().ModTime = fs.ModeDir|0o755, epoch
	for _, dir := range []string{"etc", "dev", "var"} {
		put(t, tr, dir, &tree.Node{Mode: fs.ModeDir | 0o755})
	}
	put(t, tr, "etc/passwd", &tree.Node{Mode: 0o644, Content: content("root:x:0:0\n"), Xattrs: map[string]string{"user.a": "1", "user.b": "2"}})
	put(t, tr, "etc/hosts", &tree.Node{Mode: 0o644, Content: content(strings.Repeat("127.0.0.1 localhost\n", 1000))})
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "etc/passwd"})
	put(t, tr, "dev/null", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put(t, tr, "var/sparse", &tree.Node{Mode: 0o644, Content: content("start" + strings.Repeat("\x00", 100_000) + "end")})
	shared := &tree.Node{Mode: 0o644, Content: content("shared")}
	put(t, tr, "var/a", shared)
	put(t, tr, "var/b", shared)
	return tr
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if n.ModTime.IsZero() {
		n.ModTime = epoch
	}
	do(t, tr.Put(name, n))
}

// image writes a tree with the project's writer.
func image(t testing.TB, tr *tree.Tree, opt ext4.Options) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	do(t, err)
	defer f.Close()
	if opt.Epoch.IsZero() {
		opt.Epoch = epoch
	}
	_, err = ext4.NewWriter(f).Finish(context.Background(), tr, opt)
	do(t, err)
	b, err := os.ReadFile(f.Name())
	do(t, err)
	return b
}

// memory is a spool in memory.
type memory struct{ bytes.Buffer }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(p, off)
}

func open(t testing.TB, b []byte) *artifact.Artifact {
	t.Helper()
	a, err := artifact.Open(context.Background(), bytes.NewReader(b), int64(len(b)), artifact.Options{Spool: &memory{}})
	do(t, err)
	return a
}

func difference(t testing.TB, a, b []byte) *Result {
	t.Helper()
	r, err := Artifacts(context.Background(), open(t, a), open(t, b), Options{})
	do(t, err)
	return r
}

// pathLines gives what differs in the tree, one difference a line.
func pathLines(r *Result) []string {
	var list []string
	for _, p := range r.Paths {
		if p.Only != "" {
			list = append(list, fmt.Sprintf("%s: only in %s, a %s", p.Name, p.Only, p.Type))
		}
		for _, c := range p.Changes {
			list = append(list, p.Name+": "+changeLine(c))
		}
	}
	return list
}

func structureLines(r *Result) []string {
	var list []string
	for _, s := range r.Structures {
		list = append(list, s.Where+": "+changeLine(s.Change))
	}
	return list
}

func changeLine(c Change) string {
	at := ""
	if c.Offset != nil {
		at = fmt.Sprintf(" at %d", *c.Offset)
	}
	return fmt.Sprintf("%s%s: %s, then %s", c.Field, at, c.A, c.B)
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantAmong demands that each line is there.
func wantAmong(t *testing.T, got, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("%q is not among\n\t%s", w, strings.Join(got, "\n\t"))
		}
	}
}

// TestEveryPlantedDifferenceOfATreeIsNamed plants one difference of each kind in
// an image.
func TestEveryPlantedDifferenceOfATreeIsNamed(t *testing.T) {
	base := image(t, baseTree(t), ext4.Options{})
	node := func(tr *tree.Tree, name string) *tree.Node {
		n, err := tr.Lookup(name)
		do(t, err)
		return n
	}
	tests := []struct {
		name       string
		plant      func(tr *tree.Tree)
		paths      []string
		structures []string // among others
	}{
		{"name more", func(tr *tree.Tree) { put(t, tr, "etc/new", &tree.Node{Mode: 0o600}) }, []string{"etc/new: only in b, a file"}, []string{"superblock: s_free_inodes_count: "}},
		{"name less", func(tr *tree.Tree) { do(t, tr.Remove("link")) }, []string{"link: only in a, a symlink"}, nil},
		{"type", func(tr *tree.Tree) {
			put(t, tr, "link", &tree.Node{Mode: fs.ModeNamedPipe | 0o777})
		}, []string{"link: type: symlink, then fifo"}, nil},
		{"mode", func(tr *tree.Tree) { node(tr, "etc/passwd").Mode = 0o600 | fs.ModeSetuid }, []string{"etc/passwd: mode: 0644, then 4600"}, nil},
		{"owner", func(tr *tree.Tree) { node(tr, "etc").UID, node(tr, "etc").GID = 1, 70000 }, []string{"etc: owner: 0:0, then 1:70000"}, nil},
		{"mtime", func(tr *tree.Tree) { node(tr, "etc").ModTime = epoch.Add(5) }, []string{"etc: mtime: 2024-05-06T07:08:09Z, then 2024-05-06T07:08:09.000000005Z"}, []string{"inode of \"etc\": atime: "}},
		{"xattr changed", func(tr *tree.Tree) { node(tr, "etc/passwd").Xattrs["user.a"] = "x\x00y" }, []string{`etc/passwd: xattr user.a: "1", then "x\x00y"`}, nil},
		{"xattr gone", func(tr *tree.Tree) { delete(node(tr, "etc/passwd").Xattrs, "user.a") }, []string{`etc/passwd: xattr user.a: "1", then none`}, nil},
		{"xattr new", func(tr *tree.Tree) { node(tr, "etc/passwd").Xattrs["user.c d"] = "" }, []string{`etc/passwd: xattr "user.c d": none, then ""`}, nil},
		{"link target", func(tr *tree.Tree) { node(tr, "link").Target = "etc/hosts" }, []string{`link: target: "etc/passwd", then "etc/hosts"`}, nil},
		{"device", func(tr *tree.Tree) { node(tr, "dev/null").Rdev.Minor = 5 }, []string{"dev/null: rdev: 1:3, then 1:5"}, nil},
		{"hard link less", func(tr *tree.Tree) {
			put(t, tr, "var/b", &tree.Node{Mode: 0o644, Content: content("shared")})
		}, []string{"var/a: links: 2, then 1", `var/a: hard link: "var/a", then none`, "var/b: links: 2, then 1", `var/b: hard link: "var/a", then none`}, []string{`inode of "var/b": number: `}},
		{"hard link more", func(tr *tree.Tree) { put(t, tr, "var/c", node(tr, "var/a")) }, []string{"var/a: links: 2, then 3", "var/b: links: 2, then 3", "var/c: only in b, a file"}, nil},
		{"size", func(tr *tree.Tree) { node(tr, "etc/passwd").Content = content("root:x:0:0\n#") }, []string{
			"etc/passwd: size: 11, then 12",
			"etc/passwd: content at 11",
		}, nil},
		{"content", func(tr *tree.Tree) {
			node(tr, "etc/hosts").Content = content(strings.Repeat("127.0.0.1 localhost\n", 999) + "127.0.0.1 localhosT\n")
		}, []string{"etc/hosts: content at 19998"}, nil},
		{"holes", func(tr *tree.Tree) {
			node(tr, "var/sparse").Content = content("start" + strings.Repeat("\x00", 50_000) + "x" + strings.Repeat("\x00", 49_999) + "end")
		}, []string{"var/sparse: content at 50005", "var/sparse: holes: 4096-98304 (94208 bytes in 1), then 4096-49152 53248-98304 (90112 bytes in 2)"}, []string{`inode of "var/sparse": data placed at: `}},
		{"directory that becomes a file", func(tr *tree.Tree) {
			for _, name := range []string{"etc/passwd", "etc/hosts", "etc"} {
				do(t, tr.Remove(name))
			}
			put(t, tr, "etc", &tree.Node{Mode: 0o755})
		}, []string{".: links: 6, then 5", "etc: type: dir, then file", "etc: links: 2, then 1", "etc/hosts: only in a, a file", "etc/passwd: only in a, a file"}, nil},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			tr := baseTree(t)
			x.plant(tr)
			other := image(t, tr, ext4.Options{})
			r := difference(t, base, other)
			got := pathLines(r)
			for i, line := range got { // digests are the business of TestDigests
				if before, _, found := strings.Cut(line, ": sha256:"); found {
					got[i] = before
				}
			}
			wantLines(t, got, x.paths)
			wantAmong(t, structureLines(r), x.structures)
			if r.Same() {
				t.Error("no byte differs")
			}
			back := difference(t, other, base)
			if len(back.Paths) != len(r.Paths) || len(back.Structures) != len(r.Structures) {
				t.Error("the other way round something else differs")
			}
		})
	}
}

func TestDigestsAreThoseOfTheContent(t *testing.T) {
	a, b := nc.Archive(nc.File("f", "abc")), nc.Archive(nc.File("f", "abd"))
	wantLines(t, pathLines(difference(t, []byte(a), []byte(b))), []string{"f: content at 2: " + // of FIPS 180-2, and of sha256sum
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, then " +
		"sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"})
}

func TestSameBytesDoNotDiffer(t *testing.T) {
	for _, data := range [][]byte{image(t, baseTree(t), ext4.Options{}), []byte(nc.Archive(nc.File("f", "x")))} {
		if r := difference(t, data, data); !r.Same() || r.Paths != nil || r.Structures != nil {
			t.Errorf("%+v", r)
		}
	}
}

// TestOptionsOfAnImageAreNamed builds the same tree in other ways.
func TestOptionsOfAnImageAreNamed(t *testing.T) {
	base := image(t, baseTree(t), ext4.Options{})
	for _, x := range []struct {
		name string
		opt  ext4.Options
		want []string
	}{
		{"UUID", ext4.Options{UUID: [16]byte{0xAB}}, []string{"superblock: s_uuid: 0, then ab000000000000000000000000000000", "superblock: s_checksum: ", "group 0: bg_checksum: "}},
		{"hash seed", ext4.Options{HashSeed: [16]byte{1}}, []string{"superblock: s_hash_seed: 0, then 01000000000000000000000000000000"}},
		{"epoch", ext4.Options{Epoch: epoch.Add(time.Hour)}, []string{
			"superblock: s_mkfs_time: 1714979289 (2024-05-06T07:08:09Z), then 1714982889 (2024-05-06T08:08:09Z)",
			`inode of "etc/passwd": ctime: 2024-05-06T07:08:09Z, then 2024-05-06T08:08:09Z`,
			`inode of "etc/passwd": crtime: 2024-05-06T07:08:09Z, then 2024-05-06T08:08:09Z`,
		}},
		{"free space", ext4.Options{FreeBytes: 1 << 20}, []string{"image: size: ", "superblock: s_blocks_count_lo: ", "superblock: s_free_blocks_count_lo: ", "group 0: bg_free_blocks_count_lo: "}},
		{"groups", ext4.Options{FreeBytes: 200 << 20}, []string{"image: groups: 1, then 2"}},
		{"journal", ext4.Options{JournalBytes: ext4.MinJournalBytes}, []string{"superblock: s_journal_inum: 0, then 8", "journal: s_maxlen: none, then 1024", "superblock: features: "}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := difference(t, base, image(t, baseTree(t), x.opt))
			wantAmong(t, structureLines(r), x.want)
			for _, p := range pathLines(r) {
				if !strings.HasPrefix(p, "lost+found: mtime") { // it has no other time
					t.Errorf("differs: %s", p)
				}
			}
		})
	}
}

// TestEveryByteOfAnImageIsExplained changes single bytes by hand.
func TestEveryByteOfAnImageIsExplained(t *testing.T) {
	base := image(t, baseTree(t), ext4.Options{JournalBytes: ext4.MinJournalBytes, FreeBytes: 1 << 20})
	f, err := ext4read.Open(bytes.NewReader(base), int64(len(base)), ext4read.Options{})
	do(t, err)
	placed := func(number uint32) int64 {
		in, err := f.Inode(number)
		do(t, err)
		e, err := in.Extents()
		do(t, err)
		return int64(e[0].Physical) * 4096
	}
	number := func(name string) uint32 {
		in, err := f.Lookup(name)
		do(t, err)
		return in.Number
	}
	table := int64(binary.LittleEndian.Uint32(base[4096+8:])) * 4096
	record := func(name string) int64 { return table + int64(number(name)-1)*256 }
	free := int64(len(base)) - 4096
	for free > 0 && base[free] != 0 {
		free -= 4096
	}
	for _, x := range []struct {
		name       string
		at         int64
		paths      []string
		structures []string
		first      string
	}{
		{"superblock time", 1024 + 0x30, nil, []string{"superblock: s_wtime: "}, "superblock s_wtime"},
		{"last mounted", 1024 + 0x88, nil, []string{`superblock: s_last_mounted: "", then "\x10"`}, "superblock s_last_mounted"},
		{"reserved bytes of the superblock", 1024 + 0x300, nil, []string{"superblock: s_reserved: "}, "superblock s_reserved"},
		{"boot block", 100, nil, nil, "boot block, byte 100"},
		{"descriptor", 4096 + 0x1C, nil, []string{"group 0: bg_itable_unused_lo: "}, "descriptor of group 0 bg_itable_unused_lo"},
		{"change time", record("etc/passwd") + 0x0C, nil, []string{`inode of "etc/passwd": ctime: `}, fmt.Sprintf(`inode table of group 0: inode %d ("etc/passwd") i_ctime`, number("etc/passwd"))},
		{"generation", record("etc") + 0x64, nil, []string{`inode of "etc": i_generation: 0, then 16`}, fmt.Sprintf(`inode table of group 0: inode %d ("etc") i_generation`, number("etc"))},
		{"mode", record("etc") + 0, []string{"etc: mode: 0755, then 0775"}, nil, fmt.Sprintf(`inode table of group 0: inode %d ("etc") i_mode`, number("etc"))},
		{"data", placed(number("etc/passwd")) + 3, []string{"etc/passwd: content at 3: "}, nil, `data of "etc/passwd", byte 3`},
		{"after the end of a file", placed(number("etc/passwd")) + 2000, nil, nil, `after the end of "etc/passwd", in its last blocks`},
		{"journal's superblock", placed(8) + 0x30, nil, []string{"journal: s_uuid: "}, "superblock of the journal, s_uuid"},
		{"journal", placed(8) + 5000, nil, []string{"journal: stored bytes at 5000: "}, "the journal, byte 5000"},
		{"padding of a directory", placed(number("etc")) + 4000, nil, []string{`inode of "etc": stored bytes at 4000: `}, `directory block 0 of "etc", byte 4000`},
		{"free block", free + 9, nil, nil, fmt.Sprintf("free block %d", free/4096)},
	} {
		t.Run(x.name, func(t *testing.T) {
			other := bytes.Clone(base)
			other[x.at] ^= 0x10
			r := difference(t, base, other)
			paths := pathLines(r)
			if len(paths) != len(x.paths) {
				t.Errorf("paths: %q", paths)
			}
			wantAmong(t, paths, x.paths)
			wantAmong(t, structureLines(r), x.structures)
			if len(r.Structures) != len(x.structures) {
				t.Errorf("structures: %q", structureLines(r))
			}
			if r.First == nil || r.First.Offset != x.at || r.First.A != x.first {
				t.Errorf("first is %+v, want %s", r.First, x.first)
			}
		})
	}
}

func gz(t testing.TB, s string, level int, header gzip.Header) string {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	do(t, err)
	w.Header = header
	_, err = w.Write([]byte(s))
	do(t, err)
	do(t, w.Close())
	return b.String()
}

func TestEveryPlantedDifferenceOfAnArchiveIsNamed(t *testing.T) {
	long := nc.File("long", strings.Repeat("abcabcabd", 5000))
	base := []nc.Record{nc.Dir("."), nc.Dir("etc"), nc.File("etc/passwd", "root"), nc.Link("l", "etc/passwd"), nc.Device("null", 1, 3), long}
	plain := nc.Archive(base...)
	with := func(i int, change func(*nc.Record)) string {
		list := slices.Clone(base)
		for j := range list {
			list[j].Ino = uint32(j + 1)
		}
		change(&list[i])
		return nc.Archive(list...)
	}
	swapped := slices.Clone(base)
	for i := range swapped {
		swapped[i].Ino = uint32(i + 1)
	}
	swapped[3], swapped[4] = swapped[4], swapped[3]
	z := gz(t, plain, 9, gzip.Header{OS: 255})
	tests := []struct {
		name, a, b string
		paths      []string
		structures []string
		first      string
	}{
		{"mode", plain, with(2, func(r *nc.Record) { r.Mode = 0o100600 }), []string{"etc/passwd: mode: 0644, then 0600"}, nil, `header of record 3 ("etc/passwd") c_mode`},
		{"owner", plain, with(1, func(r *nc.Record) { r.GID = 7 }), []string{"etc: owner: 0:0, then 0:7"}, nil, `header of record 2 ("etc") c_gid`},
		{"mtime", plain, with(2, func(r *nc.Record) { r.Mtime = 1 }), []string{"etc/passwd: mtime: 1970-01-01T00:00:00Z, then 1970-01-01T00:00:01Z"}, nil, `header of record 3 ("etc/passwd") c_mtime`},
		{"content", plain, with(2, func(r *nc.Record) { r.Body = "rooT" }), []string{"etc/passwd: content at 3: "}, nil, `data of "etc/passwd", byte 3`},
		{"target", plain, with(3, func(r *nc.Record) { r.Body = "etc/passwD" }), []string{`l: target: "etc/passwd", then "etc/passwD"`}, nil, `target of record 4 ("l")`},
		{"device", plain, with(4, func(r *nc.Record) { r.Minor = 5 }), []string{"null: rdev: 1:3, then 1:5"}, nil, `header of record 5 ("null") c_rdevminor`},
		{"link count", plain, with(2, func(r *nc.Record) { r.Nlink = 2 }), []string{"etc/passwd: links: 1, then 2"}, nil, `header of record 3 ("etc/passwd") c_nlink`},
		{"inode number", plain, with(2, func(r *nc.Record) { r.Ino = 99 }), nil, []string{`header of "etc/passwd": c_ino: 3, then 99`}, `header of record 3 ("etc/passwd") c_ino`},
		{"device of the filesystem", plain, with(2, func(r *nc.Record) { r.DevMinor = 4 }), nil, []string{`header of "etc/passwd": c_devminor: 0, then 4`}, `header of record 3 ("etc/passwd") c_devminor`},
		{"device number of a file", plain, with(2, func(r *nc.Record) { r.Major = 4 }), nil, []string{`header of "etc/passwd": c_rdevmajor: 0, then 4`}, `header of record 3 ("etc/passwd") c_rdevmajor`},
		{"spelling", plain, with(1, func(r *nc.Record) { r.Name = "etc/" }), nil, []string{`header of "etc": name: "etc", then "etc/"`}, `header of record 2 ("etc") c_namesize`},
		{"padding", plain, with(2, func(r *nc.Record) { r.Fill = 1 }), nil, nil, `padding after the name of record 3 ("etc/passwd")`},
		{"checksums", plain, with(2, func(r *nc.Record) { r.Magic, r.Check = "070702", "000001C4" }), nil, []string{`header of "etc/passwd": c_magic: 070701, then 070702`, `header of "etc/passwd": c_check: 0, then 452`}, `header of record 3 ("etc/passwd") c_magic`},
		{"case of digits", with(2, func(r *nc.Record) { r.Ino = 10 }), strings.Replace(with(2, func(r *nc.Record) { r.Ino = 10 }), "0000000A", "0000000a", 1), nil, []string{`header of "etc/passwd": case of digits: upper, then lower`}, `header of record 3 ("etc/passwd") c_ino`},
		{"order", plain, nc.Archive(swapped...), nil, []string{`archive: order of records: common record 4 is "l", then "null"`}, `header of record 4 ("l") c_ino`},
		{"padding after the trailer", plain, plain + strings.Repeat("\x00", 100), nil, []string{"archive: size: ", "archive: uncompressed size: ", "archive: padding after the trailer: 0, then 100"}, "the end"},
		{"trailer", plain, nc.Records(append(slices.Clone(base), nc.Record{Name: "TRAILER!!!", Ino: 7})...), nil, []string{`header of "TRAILER!!!": c_ino: 0, then 7`}, `header of record 7 ("TRAILER!!!") c_ino`},
		{"compression", plain, z, nil, []string{"archive: compression: none, then gzip", "archive: size: ", "archive: compressed data: "}, `header of record 1 (".") c_magic`},
		{"gzip time", z, gz(t, plain, 9, gzip.Header{OS: 255, ModTime: time.Unix(77, 0)}), nil, []string{"gzip header: MTIME: 0, then 77", "archive: compressed data: "}, "gzip header MTIME"},
		{"gzip system", z, gz(t, plain, 9, gzip.Header{OS: 3}), nil, []string{"gzip header: OS: 255, then 3", "archive: compressed data: "}, "gzip header OS"},
		{"gzip name", z, gz(t, plain, 9, gzip.Header{OS: 255, Name: "x.cpio"}), nil, []string{`gzip header: FLG: 0x00, then 0x08`, `gzip header: FNAME: none, then "x.cpio"`, "archive: size: ", "archive: compressed data: "}, "gzip header FLG"},
		{"gzip padding", z, z + "\x00\x00", nil, []string{"archive: padding after the gzip data: 0, then 2", "archive: size: ", "archive: compressed data: "}, "the end"},
		{"content in gzip", z, gz(t, with(2, func(r *nc.Record) { r.Body = "rooT" }), 9, gzip.Header{OS: 255}), []string{"etc/passwd: content at 3: "}, nil, "gzip compressed data"},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			r := difference(t, []byte(x.a), []byte(x.b))
			paths, structures := pathLines(r), structureLines(r)
			wantAmong(t, paths, x.paths)
			wantAmong(t, structures, x.structures)
			structures = slices.DeleteFunc(structures, func(s string) bool {
				return x.name == "content in gzip" && strings.HasPrefix(s, "archive: size: ")
			})
			if len(paths) != len(x.paths) || len(structures) != len(x.structures) {
				t.Errorf("paths %q, structures %q", paths, structures)
			}
			if r.First.A != x.first {
				t.Errorf("first is %+v, want %s", *r.First, x.first)
			}
		})
	}
	r := difference(t, []byte(z), []byte(gz(t, with(2, func(r *nc.Record) { r.Body = "rooT" }), 1, gzip.Header{})))
	if u := r.First.Uncompressed; u == nil || u.A != `data of "etc/passwd", byte 3` || u.B != u.A {
		t.Errorf("uncompressed, first is %+v", u)
	}
}

// TestDifferentFormatsAreComparedByTheirPaths has one tree as an image and as an
// archive.
func TestDifferentFormatsAreComparedByTheirPaths(t *testing.T) {
	tr := tree.New()
	tr.Root().Mode, tr.Root().ModTime = fs.ModeDir|0o755, epoch
	put(t, tr, "dir", &tree.Node{Mode: fs.ModeDir | 0o755, ModTime: epoch.Add(5)})
	put(t, tr, "dir/file", &tree.Node{Mode: 0o644, Content: content("hello" + strings.Repeat("\x00", 20000))})
	put(t, tr, "lost+found", &tree.Node{Mode: fs.ModeDir | 0o700})
	img := image(t, tr, ext4.Options{})
	at := uint32(epoch.Unix())
	records := []nc.Record{
		{Name: ".", Mode: 0o040755, Mtime: at},
		{Name: "dir", Mode: 0o040755, Mtime: at},
		{Name: "dir/file", Mode: 0o100644, Mtime: at, Body: "hello" + strings.Repeat("\x00", 20000)},
		{Name: "lost+found", Mode: 0o040700, Mtime: at},
	}
	r := difference(t, img, []byte(nc.Archive(records...)))
	if r.Same() || r.Paths != nil || r.Structures != nil {
		t.Errorf("%+v", r)
	}
	records[2].Body = "hellO"
	wantAmong(t, pathLines(difference(t, img, []byte(nc.Archive(records...)))), []string{"dir/file: size: 20005, then 5", "dir/file: content at 4: "})
}

func TestContentOverTheLimitIsAnError(t *testing.T) {
	a, b := open(t, []byte(nc.Archive(nc.File("f", "12345678"), nc.File("g", "1")))), open(t, []byte(nc.Archive(nc.File("f", "12345678"), nc.File("g", "2"))))
	if _, err := Artifacts(context.Background(), a, b, Options{MaxContent: 11}); err != nil { // f, g, and g twice to hash
		t.Errorf("at the limit: %v", err)
	}
	if _, err := Artifacts(context.Background(), a, b, Options{MaxContent: 10}); !errors.Is(err, artifact.ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
}

// TestHolesAreNotRead compares files of 1 TiB.
func TestHolesAreNotRead(t *testing.T) {
	tr := baseTree(t)
	base := image(t, tr, ext4.Options{})
	f, err := ext4read.Open(bytes.NewReader(base), int64(len(base)), ext4read.Options{})
	do(t, err)
	in, err := f.Lookup("var/sparse")
	do(t, err)
	table := int64(binary.LittleEndian.Uint32(base[4096+8:])) * 4096
	binary.LittleEndian.PutUint32(base[table+int64(in.Number-1)*256+0x6C:], 256) // i_size_high
	other := bytes.Clone(base)
	other[1024+0x88] = 'x'
	r := difference(t, base, other)
	if len(r.Paths) != 0 {
		t.Errorf("%q", pathLines(r))
	}
	if e := open(t, base).Lookup("var/sparse"); e.Size < 1<<40 {
		t.Errorf("the file has only %d bytes", e.Size)
	}
}

func TestCancelledComparisonStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	a, b := open(t, []byte(nc.Archive(nc.File("f", "1")))), open(t, []byte(nc.Archive(nc.File("f", "2"))))
	cancel()
	if _, err := Artifacts(ctx, a, b, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestUnionOfRanges(t *testing.T) {
	list := func(bounds ...int64) (l []artifact.Range) {
		for i := 0; i < len(bounds); i += 2 {
			l = append(l, artifact.Range{Start: bounds[i], End: bounds[i+1]})
		}
		return l
	}
	for _, x := range []struct {
		a, b []artifact.Range
		end  int64
		want []artifact.Range
	}{
		{nil, nil, 100, nil},
		{list(0, 10), list(20, 30), 100, list(0, 10, 20, 30)},
		{list(0, 10), list(5, 30), 100, list(0, 30)},
		{list(0, 10, 20, 90), list(10, 20), 50, list(0, 50)},
		{list(60, 90), list(0, 1), 50, list(0, 1)},
		{list(0, 90), list(5, 6, 50, 60), 100, list(0, 90)},
	} {
		if got := union(x.a, x.b, x.end); !slices.Equal(got, x.want) {
			t.Errorf("%v and %v: %v, want %v", x.a, x.b, got, x.want)
		}
	}
}

// FuzzArtifacts compares an artifact with a changed one: the result says that they
// differ if and only if they do, and is the same each time.
func FuzzArtifacts(f *testing.F) {
	img := image(f, baseTree(f), ext4.Options{})
	arc := []byte(nc.Archive(nc.Dir("etc"), nc.File("etc/passwd", "root"), nc.Link("l", "etc")))
	for _, kind := range []byte{0, 1, 2, 3} {
		f.Add(kind, []byte(nil))
		f.Add(kind, []byte{4, 56, 1, 2, 16, 30, 7, 1})
	}
	var places []int
	for i, b := range img {
		if b != 0 {
			places = append(places, i)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, edits []byte) {
		base := img
		if kind&1 != 0 {
			base = arc
		}
		other := bytes.Clone(base)
		for ; len(edits) >= 4; edits = edits[4:] {
			at := int(binary.LittleEndian.Uint16(edits))
			if kind&1 == 0 {
				at = places[at%len(places)] + int(edits[2]>>4)
			}
			other[at%len(other)] = edits[3]
		}
		compareHostile(t, base, other, kind)
	})
}

func compareHostile(t *testing.T, base, other []byte, kind byte) (compared bool) {
	if kind&2 != 0 {
		base, other = other, base
	}
	read := func(b []byte) *artifact.Artifact {
		a, err := artifact.Open(context.Background(), bytes.NewReader(b), int64(len(b)), artifact.Options{Spool: &memory{}})
		if err != nil {
			return nil
		}
		return a
	}
	a, b := read(base), read(other)
	if a == nil || b == nil {
		return false
	}
	opt := Options{MaxContent: 16 << 20}
	r, err := Artifacts(context.Background(), a, b, opt)
	if err != nil {
		return false
	}
	if r.Same() != bytes.Equal(base, other) {
		t.Errorf("same is %v", r.Same())
	}
	again, err := Artifacts(context.Background(), a, b, opt)
	if err != nil || fmt.Sprint(pathLines(r), structureLines(r), *first(r)) != fmt.Sprint(pathLines(again), structureLines(again), *first(again)) {
		t.Errorf("another result the second time: %v", err)
	}
	return true
}

func first(r *Result) *First {
	if r.First == nil {
		return &First{}
	}
	return &First{Offset: r.First.Offset, A: r.First.A, B: r.First.B}
}

func TestFuzzSeedsAreCompared(t *testing.T) {
	img := image(t, baseTree(t), ext4.Options{})
	arc := []byte(nc.Archive(nc.Dir("etc"), nc.File("etc/passwd", "root"), nc.Link("l", "etc")))
	compared := 0
	for _, base := range [][]byte{img, arc} {
		for i := 0; i < len(base); i += max(1, len(base)/300) {
			other := bytes.Clone(base)
			other[i] ^= 1
			if compareHostile(t, base, other, byte(i&2)) {
				compared++
			}
		}
	}
	if compared < 200 {
		t.Errorf("only %d pairs are compared", compared)
	}
}

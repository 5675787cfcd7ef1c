package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	nc "github.com/volant/fledge-action/internal/newctest"
)

// memory is a spool in memory.
type memory struct{ bytes.Buffer }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(p, off)
}

func open(data string, opt Options) (*Artifact, error) {
	return Open(context.Background(), strings.NewReader(data), int64(len(data)), opt)
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// plainEncoder is made once: fuzzing makes many frames.
var plainEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))

func zst(s string, opts ...zstd.EOption) string {
	if len(opts) == 0 {
		return string(plainEncoder.EncodeAll([]byte(s), nil))
	}
	e, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		panic(err)
	}
	return string(e.EncodeAll([]byte(s), nil))
}

// lines describes entries, one a line.
func lines(a *Artifact) string {
	var b strings.Builder
	for _, e := range a.Entries {
		fmt.Fprintf(&b, "%s %s %04o %d:%d %d size %d links %d", e.Name, e.Type, e.Mode, e.UID, e.GID, e.Mtime.Unix(), e.Size, e.Links)
		if e.Target != "" {
			fmt.Fprintf(&b, " -> %s", e.Target)
		}
		if e.LinkOf != "" {
			fmt.Fprintf(&b, " = %s", e.LinkOf)
		}
		if e.Rdev != (Rdev{}) {
			fmt.Fprintf(&b, " rdev %d:%d", e.Rdev.Major, e.Rdev.Minor)
		}
		b.WriteString("\n")
	}
	return b.String()
}

var sample = nc.Archive(
	nc.Dir("."), nc.Dir("dev/"), nc.Device("dev/console", 5, 1),
	nc.Record{Name: "dev/sda1", Mode: 0o060660, Major: 8, Minor: 1048575, GID: 6},
	nc.Dir("./etc"), nc.Dir("etc-x"),
	nc.Record{Name: "etc/one", Mode: 0o104755, UID: 1000, GID: 4294967295, Mtime: 4000000000, Nlink: 3, Ino: 77},
	nc.Record{Name: "etc/two", Mode: 0o104755, UID: 1000, GID: 4294967295, Mtime: 4000000000, Nlink: 3, Ino: 77, Body: "content"},
	nc.Record{Name: "etc/other device", Mode: 0o100644, Nlink: 2, Ino: 77, DevMinor: 1},
	nc.Record{Name: "a", Mode: 0o104755, UID: 1000, GID: 4294967295, Mtime: 4000000000, Nlink: 3, Ino: 77},
	nc.Link("lib", "usr/lib"), nc.Record{Name: "sticky link", Mode: 0o121777, Body: "odd"},
	nc.Record{Name: "fifo", Mode: 0o010600}, nc.Record{Name: "sock", Mode: 0o140755},
	nc.File("empty", ""), nc.Record{Name: "summed", Mode: 0o100600, Magic: "070702", Check: "00000083", Body: "AB"},
)

const sampleLines = `. dir 0755 0:0 0 size 0 links 1
a file 4755 1000:4294967295 4000000000 size 7 links 3 = a
dev dir 0755 0:0 0 size 0 links 1
dev/console char 0600 0:0 0 size 0 links 1 rdev 5:1
dev/sda1 block 0660 0:6 0 size 0 links 1 rdev 8:1048575
empty file 0644 0:0 0 size 0 links 1
etc dir 0755 0:0 0 size 0 links 1
etc-x dir 0755 0:0 0 size 0 links 1
etc/one file 4755 1000:4294967295 4000000000 size 7 links 3 = a
etc/other device file 0644 0:0 0 size 0 links 2
etc/two file 4755 1000:4294967295 4000000000 size 7 links 3 = a
fifo fifo 0600 0:0 0 size 0 links 1
lib symlink 0777 0:0 0 size 7 links 1 -> usr/lib
sock socket 0755 0:0 0 size 0 links 1
sticky link symlink 1777 0:0 0 size 3 links 1 -> odd
summed file 0600 0:0 0 size 2 links 1
`

// packed gives an archive in every form.
func packed(plain string) map[string]string {
	return map[string]string{
		"none": plain, "gzip": gz(plain), "zstd": zst(plain),
		"zstd without sizes": zst(plain, zstd.WithSingleSegment(false), zstd.WithEncoderCRC(false)),
	}
}

func TestOpenReadsEveryKindOfRecord(t *testing.T) {
	for name, data := range packed(sample) {
		for _, padding := range []int{0, 1, 512, 70000} {
			a, err := open(data+strings.Repeat("\x00", padding), Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := lines(a); got != sampleLines {
				t.Errorf("%s, padding %d: got\n%s", name, padding, got)
			}
			kind, _, _ := strings.Cut(name, " ")
			if a.Format() != "cpio" || a.Archive.Compression.Kind != kind || len(a.Archive.Records) != 17 {
				t.Errorf("%s: %s, %+v", name, a.Format(), a.Archive.Compression)
			}
			if kind != "none" && a.Archive.Compression.End != int64(len(data)) {
				t.Errorf("%s ends at %d, want %d", name, a.Archive.Compression.End, len(data))
			}
		}
	}
}

func TestContentIsFoundWithAndWithoutASpool(t *testing.T) {
	for name, data := range packed(sample) {
		for _, opt := range []Options{{}, {Spool: &memory{}}} {
			a, err := open(data, opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Plain() != nil; got != (opt.Spool != nil || name == "none") {
				t.Errorf("%s: the uncompressed bytes are at hand: %v", name, got)
			}
			for file, want := range map[string]string{"a": "content", "etc/one": "content", "etc/two": "content", "empty": "", "summed": "AB"} {
				r, err := a.Content(context.Background(), a.Lookup(file))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || string(got) != want {
					t.Errorf("%s: %s is %q, %v", name, file, got, err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := a.Content(context.Background(), a.Lookup("lib")); err == nil {
				t.Error("a link has content")
			}
		}
	}
}

func TestProblemsOfAnArchive(t *testing.T) {
	a, err := open(nc.Archive(
		nc.File("etc/early", ""), nc.Dir("etc"), nc.File("no/parent/at all", ""),
		nc.Record{Name: "one of two", Mode: 0o100644, Nlink: 2}, nc.Record{Name: "dirt", Mode: 0o100644, Body: "x", Fill: 1},
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"etc/early": its directory "etc" does not come before it`,
		`"no/parent/at all": its directory "no/parent" does not come before it`,
		`"dirt": padding is not zero`, // after the name
		`"dirt": padding is not zero`, // after the content
		`"one of two": 1 of 2 hard links are in the archive`,
	}
	if !slices.Equal(a.Archive.Problems, want) {
		t.Errorf("problems are %q", a.Archive.Problems)
	}
	if a, err := open(nc.Archive(nc.Dir("."), nc.Dir("etc"), nc.File("etc/x", "")), Options{}); err != nil || a.Archive.Problems != nil {
		t.Errorf("a sound archive: %v, %v", a, err)
	}
}

func TestResolve(t *testing.T) {
	a, err := open(nc.Archive(
		nc.Dir("."), nc.Dir("usr"), nc.Dir("usr/bin"), nc.File("usr/bin/sh", "shell"), nc.Link("bin", "usr/bin"),
		nc.Link("usr/abs", "/usr/bin"), nc.Link("usr/up", "../../../usr/bin/../bin/sh"), nc.Link("loop", "loop"),
		nc.Link("l1", "l2"), nc.Link("l2", "l1"), nc.Link("gone", "nowhere"), nc.Link("usr/bin/me", "."), nc.File("implied/file", ""),
		nc.Link("toroot", "/"),
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": ".", "/": ".", ".": ".", "..": ".", "usr": "usr", "/usr/bin/sh": "usr/bin/sh", "bin/sh": "usr/bin/sh", "usr/abs/sh": "usr/bin/sh",
		"usr/up": "usr/bin/sh", "bin": "usr/bin", "usr//bin/./sh": "usr/bin/sh", "usr/bin/me/me/sh": "usr/bin/sh", "implied": "implied",
		"implied/file": "implied/file", "toroot/usr": "usr", "bin/../bin/sh": "usr/bin/sh", "toroot": ".",
	} {
		if e, err := a.Resolve(path, true); err != nil || e.Name != want {
			t.Errorf("%q: %v, %v; want %q", path, e, err, want)
		}
	}
	if e, err := a.Resolve("bin", false); err != nil || e.Type != Symlink {
		t.Errorf("bin not followed: %v, %v", e, err)
	}
	for path, want := range map[string]string{
		"nope": "does not exist", "usr/bin/sh/x": "is no directory", "usr/bin/sh/.": "is no directory", "loop": "more than 40", "l1": "more than 40",
		"gone": "does not exist", "loop/x": "more than 40", "impl": "does not exist", "implied/": "",
	} {
		_, err := a.Resolve(path, true)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
}

// TestResolveFollowsFortyLinks is at the limit; one more is over it.
func TestResolveFollowsFortyLinks(t *testing.T) {
	records := []nc.Record{nc.File("l0", "end")}
	for i := 1; i <= 41; i++ {
		records = append(records, nc.Link(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i-1)))
	}
	a, err := open(nc.Archive(records...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := a.Resolve("l40", true); err != nil || e.Name != "l0" {
		t.Errorf("40 links: %v, %v", e, err)
	}
	if _, err := a.Resolve("l41", true); err == nil {
		t.Error("41 links are followed")
	}
}

func TestLimitsOfAnArchive(t *testing.T) {
	plain := nc.Archive(nc.Dir("a"), nc.File("a/b", "12345678"), nc.Link("c", "abc"))
	metadata := int64(len("a") + len("a/b") + len("c") + len("abc"))
	for _, data := range packed(plain) {
		if _, err := open(data, Options{MaxEntries: 3, MaxMetadata: metadata, MaxUnpacked: int64(len(plain))}); err != nil {
			t.Errorf("at the limits: %v", err)
		}
		for _, opt := range []Options{{MaxEntries: 2}, {MaxMetadata: metadata - 1}, {MaxUnpacked: int64(len(plain)) - 1}} {
			if _, err := open(data, opt); !errors.Is(err, ErrLimit) {
				t.Errorf("over %+v: %v", opt, err)
			}
		}
	}
}

func TestCancelledOpenStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, data := range packed(sample) {
		if _, err := Open(ctx, strings.NewReader(data), int64(len(data)), Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failing gives an error instead of the bytes from a place on.
type failing struct {
	s    string
	from int64
}

var errDisk = errors.New("disk trouble")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		n := max(f.from-off, 0)
		copy(p[:n], f.s[off:])
		return int(n), errDisk
	}
	return copy(p, f.s[off:]), nil
}

func TestReadErrorIsNotTheArchivesFault(t *testing.T) {
	long := nc.Archive(nc.File("big", strings.Repeat("0123456789abcdef", 1<<16)))
	for name, data := range packed(long) {
		r := failing{data + strings.Repeat("\x00", 1<<17), int64(len(data)) / 2}
		r.from = max(r.from, 0x10048)
		_, err := Open(context.Background(), r, int64(len(r.s)), Options{})
		if !errors.Is(err, errDisk) || errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(context.Background(), failing{sample, 3}, int64(len(sample)), Options{}); !errors.Is(err, errDisk) {
		t.Errorf("first bytes: %v", err)
	}
}

// fullSpool has no room.
type fullSpool struct{ memory }

func (*fullSpool) Write([]byte) (int, error) { return 0, errDisk }

func TestFullSpoolIsNotTheArchivesFault(t *testing.T) {
	if _, err := open(gz(sample), Options{Spool: &fullSpool{}}); !errors.Is(err, errDisk) || errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestLocateNamesEveryPartOfAnArchive(t *testing.T) {
	plain := nc.Archive(nc.Dir("etc"), nc.File("etc/passwd", "root\n"), nc.Link("l", "etc/passwd")) + "\x00\x00\x00\x00"
	a, err := open(plain, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for off := range int64(len(plain)) {
		s, err := a.Locate(context.Background(), off)
		if err != nil {
			t.Fatal(err)
		}
		seen[s] = true
	}
	second := int64(len(nc.Records(nc.Dir("etc"))))
	for off, want := range map[int64]string{
		0:                       `header of record 1 ("etc") c_magic`,
		6:                       `header of record 1 ("etc") c_ino`,
		second + 6 + 8*5:        `header of record 2 ("etc/passwd") c_mtime`,
		second + 6 + 8*12 + 7:   `header of record 2 ("etc/passwd") c_check`,
		second + 110:            `name of record 2 ("etc/passwd")`,
		second + 110 + 11:       `padding after the name of record 2 ("etc/passwd")`,
		second + 124 + 4:        `data of "etc/passwd", byte 4`,
		second + 124 + 5:        `padding after the content of record 2 ("etc/passwd")`,
		second + 132 + 112 + 3:  `target of record 3 ("l")`,
		int64(len(plain)) - 1:   "padding after the trailer",
		int64(len(plain)) - 5:   `padding after the name of record 4 ("TRAILER!!!")`,
		int64(len(plain)):       "the end",
		int64(len(plain)) + 100: "the end",
	} {
		if got, _ := a.Locate(context.Background(), off); got != want {
			t.Errorf("at %d: %s, want %s", off, got, want)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d different places: %q", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

func TestLocateNamesPartsOfCompressedFiles(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "x", "about", []byte("ab\x02\x00zz")
	_, _ = w.Write([]byte(sample))
	_ = w.Close()
	g := b.String()
	z := zst(sample, zstd.WithSingleSegment(true))
	for _, x := range []struct {
		data string
		off  int
		want string
	}{
		{g, 1, "gzip magic"},
		{g, 2, "gzip header CM"},
		{g, 7, "gzip header MTIME"},
		{g, 9, "gzip header OS"},
		{g, 10, "gzip header FEXTRA"},
		{g, 18, "gzip header FNAME"},
		{g, 20, "gzip header FCOMMENT"},
		{g, 26, "gzip compressed data"},
		{g, len(g) - 9, "gzip compressed data"},
		{g, len(g) - 8, "gzip trailer CRC32"},
		{g, len(g) - 1, "gzip trailer ISIZE"},
		{g + "\x00", len(g), "padding after the gzip data"},
		{z, 0, "zstd magic"},
		{z, 4, "zstd header Frame_Header_Descriptor"},
		{z, 5, "zstd header Frame_Content_Size"},
		{z, 7, "zstd compressed data"},
		{z, len(z) - 5, "zstd compressed data"},
		{z, len(z) - 4, "zstd Content_Checksum"},
	} {
		a, err := open(x.data, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := a.Locate(context.Background(), int64(x.off)); got != x.want {
			t.Errorf("at %d: %s, want %s", x.off, got, x.want)
		}
	}
}

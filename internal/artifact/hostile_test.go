package artifact

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/internal/ext4read"
	nc "github.com/volant/fledge-action/internal/newctest"
	"github.com/volant/fledge-action/internal/squashfsread"
)

// patched gives a string with other bytes at a place.
func patched(s string, at int, with string) string { return s[:at] + with + s[at+len(with):] }

func TestHostileArchivesAreRefused(t *testing.T) {
	file := nc.File("f", "body")
	one := nc.Archive(file)
	hard := func(name string, change func(*nc.Record)) nc.Record {
		r := nc.Record{Name: name, Mode: 0o100644, Nlink: 2, Ino: 9, Mtime: 5}
		if change != nil {
			change(&r)
		}
		return r
	}
	zeros := strings.Repeat("\x00", 1<<20)
	long := strings.Repeat("n", 4095)
	tests := []struct {
		name, data string
		want       string // part of the message
		is         error
	}{
		{"empty file", "", "neither an ext4 or squashfs image nor a newc archive", ErrUnsupported},
		{"one byte", "0", "neither", ErrUnsupported},
		{"magic alone", "070701", "record 1 at byte 6 of the archive: the archive ends inside a header", ErrMalformed},
		{"half a header", one[:60], "ends inside a header", ErrMalformed},
		{"header without its name", one[:110], `record 1 at byte 110 of the archive: the archive ends inside a name`, ErrMalformed},
		{"name without its padding", nc.Archive(nc.File("fi", ""))[:114], "ends inside a name", ErrMalformed},
		{"body cut", one[:114], `record 1 ("f") at byte 114 of the archive: the archive ends inside the content, 2 of 4 bytes before its end`, ErrMalformed},
		{"body without its padding", nc.Records(nc.File("f", "x"))[:113], "ends inside the padding after the content", ErrMalformed},
		{"no trailer", nc.Records(file), `record 2 at byte 116 of the archive: the archive ends without a trailer`, ErrMalformed},
		{"no trailer, but zeros", nc.Records(file) + zeros, `magic is "\x00\x00\x00\x00\x00\x00"`, ErrMalformed},
		{"trailer cut", one[:len(one)-5], "ends inside a name", ErrMalformed},
		{"trailer with content", nc.Records(file, nc.Record{Name: "TRAILER!!!", Body: "hidden"}), "the trailer has 6 bytes of content", ErrMalformed},
		{"data after the trailer", one + "hidden", fmt.Sprintf("data after the trailer, at byte %d of the archive", len(one)), ErrMalformed},
		{"data after the trailer and zeros", one + zeros + "x", "data after the trailer", ErrMalformed},
		{"two archives", one + one, "another archive after the trailer", ErrMalformed},
		{"two archives, in one gzip member", gz(one + one), "another archive after the trailer", ErrMalformed},

		{"binary cpio", "\xc7\x71" + one, "old binary cpio", ErrUnsupported},
		{"binary cpio, other order", "\x71\xc7" + one, "old binary cpio", ErrUnsupported},
		{"odc", "070707" + one[6:], "odc", ErrUnsupported},
		{"odc as second record", nc.Records(file) + "070707" + one[6:], "record 2 at byte 116 of the archive is of the old portable format", ErrUnsupported},
		{"magic 070703", "070703" + one[6:], `magic is "070703"`, ErrMalformed},
		{"second record is shifted", nc.Records(file) + "x" + one, `record 2 at byte 116 of the archive: magic is "x07070"`, ErrMalformed},

		{"letter in c_ino", patched(one, 8, "G"), `at byte 8 of the archive: c_ino is "00G00001": not 8 hexadecimal digits`, ErrMalformed},
		{"sign in c_mode", patched(one, 14, "-"), "c_mode", ErrMalformed},
		{"plus in c_uid", patched(one, 22, "+"), "c_uid", ErrMalformed},
		{"space in c_gid", patched(one, 30, " "), "c_gid", ErrMalformed},
		{"0x in c_nlink", patched(one, 38, "0x"), "c_nlink", ErrMalformed},
		{"NUL in c_mtime", patched(one, 46, "\x00"), "c_mtime", ErrMalformed},
		{"underscore in c_filesize", patched(one, 55, "_"), "c_filesize", ErrMalformed},
		{"control byte that looks like a digit", patched(one, 56, "\x10"), "c_filesize", ErrMalformed},
		{"at sign in c_namesize", patched(one, 100, "@"), "c_namesize", ErrMalformed},
		{"letter in c_check", patched(one, 109, "z"), "c_check", ErrMalformed},
		{"letter in c_rdevminor", patched(one, 86, "\xff"), "c_rdevminor", ErrMalformed},

		{"c_namesize 0", patched(one, 94, "00000000"), "c_namesize is 0: want 2 to 4096", ErrMalformed},
		{"empty name", nc.Archive(nc.Record{Mode: 0o100644, RawName: "\x00"}), "c_namesize is 1", ErrMalformed},
		{"name of 4097 bytes", nc.Archive(nc.File(long+"n", "")), "c_namesize is 4097", ErrMalformed},
		{"huge c_namesize", patched(one, 94, "FFFFFFFF"), "c_namesize is 4294967295", ErrMalformed},
		{"name without NUL", nc.Archive(nc.Record{Mode: 0o100644, RawName: "abcd"}), "do not end with a NUL", ErrMalformed},
		{"name with a NUL inside", nc.Archive(nc.Record{Mode: 0o100644, RawName: "a\x00b\x00"}), "holds a NUL", ErrMalformed},
		{"trailer's name with a NUL inside", nc.Records(file, nc.Record{RawName: "TRAILER!!!\x00x\x00"}), "holds a NUL", ErrMalformed},
		{"c_namesize one less", patched(one, 101, "1"), "c_namesize is 1", ErrMalformed},
		{"c_namesize one more", patched(nc.Archive(nc.File("fi", "body")), 101, "4"), "holds a NUL", ErrMalformed},

		{"absolute name", nc.Archive(nc.File("/etc/shadow", "")), `record 1 ("/etc/shadow") at byte 0 of the archive: the name is absolute`, ErrMalformed},
		{"name that leads out", nc.Archive(nc.File("../x", "")), `the name holds ".."`, ErrMalformed},
		{"name that leads out inside", nc.Archive(nc.File("a/../../x", "")), `the name holds ".."`, ErrMalformed},
		{"name is ..", nc.Archive(nc.Dir("..")), `the name holds ".."`, ErrMalformed},
		{"name twice", nc.Archive(file, file), `record 2 ("f") at byte 116 of the archive: the name occurs a second time, first at byte 0`, ErrMalformed},
		{"name twice, spelled otherwise", nc.Archive(file, nc.File(".//f", "")), "occurs a second time", ErrMalformed},
		{"root twice", nc.Archive(nc.Dir("."), nc.Dir("./")), "occurs a second time", ErrMalformed},
		{"root is a file", nc.Archive(nc.File(".", "x")), "the root is a file", ErrMalformed},
		{"file with a slash", nc.Archive(nc.File("f/", "x")), "ends with a slash", ErrMalformed},
		{"entry below a file", nc.Archive(file, nc.File("f/x", "")), `record "f/x" at byte 116 of the archive: it is below "f", which is a file`, ErrMalformed},
		{"entry through a link", nc.Archive(nc.Link("etc", "/tmp"), nc.File("etc/passwd", "")), `it is below "etc", which is a symlink`, ErrMalformed},
		{"entry through a link that comes later", nc.Archive(nc.File("etc/passwd", ""), nc.Link("etc", "/tmp")), `it is below "etc"`, ErrMalformed},
		{"entry two levels below a link", nc.Archive(nc.Link("a", "b"), nc.File("a/x/y", ""), nc.File("a-b", "")), `it is below "a"`, ErrMalformed},

		{"no type", nc.Archive(nc.Record{Name: "f", Mode: 0o644}), "c_mode is 0644: no type of file", ErrMalformed},
		{"unknown type", nc.Archive(nc.Record{Name: "f", Mode: 0o170644}), "no type of file", ErrMalformed},
		{"mode of more than 16 bits", nc.Archive(nc.Record{Name: "f", Mode: 0o1100644}), "no type of file", ErrMalformed},
		{"directory with content", nc.Archive(nc.Record{Name: "d", Mode: 0o040755, Body: "hidden"}), "a dir with 6 bytes of content", ErrMalformed},
		{"device with content", nc.Archive(nc.Record{Name: "d", Mode: 0o020600, Body: "x"}), "a char with 1 bytes of content", ErrMalformed},
		{"FIFO with content", nc.Archive(nc.Record{Name: "d", Mode: 0o010600, Body: "x"}), "a fifo with 1 bytes of content", ErrMalformed},
		{"link without a target", nc.Archive(nc.Link("l", "")), "symbolic link's target of 0 bytes: want 1 to 4095", ErrMalformed},
		{"link with a target of 4096 bytes", nc.Archive(nc.Link("l", long+"x")), "symbolic link's target of 4096 bytes", ErrMalformed},
		{"link with a NUL in its target", nc.Archive(nc.Link("l", "a\x00b")), "holds a NUL", ErrMalformed},
		{"link's target cut", nc.Records(nc.Link("l", "target"))[:114], "ends inside the content", ErrMalformed},

		{"size to the next record", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Size: "0000007C", Body: "body"}), "ends inside a header", ErrMalformed},
		{"size of 4 GiB", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Size: "FFFFFFFF", Body: "body"}), "ends inside the content", ErrMalformed},
		{"size one less", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Size: "00000004", Body: "body+"}), "magic is", ErrMalformed},

		{"checksum without 070702", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Check: "00000001"}), "c_check is 00000001: want 0", ErrMalformed},
		{"wrong checksum", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Magic: "070702", Check: "00000084", Body: "AB"}), "c_check is 00000084, the content's sum 00000083", ErrMalformed},
		{"checksum of nothing", nc.Archive(nc.Record{Name: "f", Mode: 0o100644, Magic: "070702", Check: "00000084"}), "without content", ErrMalformed},

		{"hard links with other owners", nc.Archive(hard("a", nil), hard("b", func(r *nc.Record) { r.UID = 1 })), `hard link of "a" (inode 9): c_uid is 0x1 here and 0x0 there`, ErrMalformed},
		{"hard links with other modes", nc.Archive(hard("a", nil), hard("b", func(r *nc.Record) { r.Mode = 0o104644 })), "c_mode", ErrMalformed},
		{"hard links of other types", nc.Archive(hard("a", nil), hard("b", func(r *nc.Record) { r.Mode = 0o010644 })), "c_mode", ErrMalformed},
		{"hard links with other times", nc.Archive(hard("a", nil), hard("b", func(r *nc.Record) { r.Mtime = 6 })), "c_mtime", ErrMalformed},
		{"hard links with other counts", nc.Archive(hard("a", nil), hard("b", func(r *nc.Record) { r.Nlink = 3 })), "c_nlink", ErrMalformed},
		{"hard links with other devices", nc.Archive(hard("a", func(r *nc.Record) { r.Mode = 0o020600; r.Major = 1 }), hard("b", func(r *nc.Record) { r.Mode = 0o020600; r.Major = 2 })), "c_rdevmajor", ErrMalformed},
		{"more hard links than counted", nc.Archive(hard("a", nil), hard("b", nil), hard("c", nil)), "name 3 of 2", ErrMalformed},
		{"hard links with other contents", nc.Archive(hard("a", func(r *nc.Record) { r.Body = "1" }), hard("b", func(r *nc.Record) { r.Body = "2" })), `another content than at "a"`, ErrMalformed},
		{"hard links with contents of other sizes", nc.Archive(hard("a", func(r *nc.Record) { r.Body = "1" }), hard("b", func(r *nc.Record) { r.Body = "1\x00" })), "another content", ErrMalformed},

		{"gzip in gzip", gz(gz(one)), "compressed with gzip, and inside again with gzip", ErrUnsupported},
		{"zstd in gzip", gz(zst(nc.Archive(nc.File("f", strings.Repeat("a long content ", 100)))) + zeros), "inside again with zstd", ErrUnsupported},
		{"gzip of text", gz(strings.Repeat("hello, world ", 20)), `magic is "hello,"`, ErrMalformed},
		{"gzip of nothing", gz(""), "ends without a trailer", ErrMalformed},
		{"gzip magic alone", "\x1f\x8b", "the file ends at byte 0, inside the gzip data", ErrMalformed},
		{"gzip header cut", gz(one)[:9], "inside the gzip data", ErrMalformed},
		{"gzip data cut", gz(one)[:40], "inside the gzip data", ErrMalformed},
		{"gzip trailer cut", gz(one)[:len(gz(one))-1], "inside the gzip data", ErrMalformed},
		{"gzip of another method", patched(gz(one), 2, "\x07"), "uncompressing gzip", ErrMalformed},
		{"gzip with reserved flags", patched(gz(one), 3, "\x20"), "reserved flags", ErrMalformed},
		{"gzip with an endless name", "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03" + strings.Repeat("n", 1<<17), "more than 65536 bytes", ErrLimit},
		{"gzip with a lying extra field", "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x03\xff\xff", "the file ends", ErrMalformed},
		{"gzip with a wrong sum", patched(gz(one), len(gz(one))-8, "\x00\x01\x02\x03"), "uncompressing gzip", ErrMalformed},
		{"gzip with a wrong size", patched(gz(one), len(gz(one))-4, "\xff\xff\xff\xff"), "uncompressing gzip", ErrMalformed},
		{"gzip with broken data", patched(gz(one), 10, "\xff\xff\xff\xff"), "uncompressing gzip", ErrMalformed},
		{"bytes after the gzip member", gz(one) + "x", fmt.Sprintf("bytes after the gzip member, from byte %d of the file on", len(gz(one))), ErrMalformed},
		{"two gzip members", gz(one[:50]) + gz(one[50:]), "ends inside a header", ErrMalformed},
		{"two archives in two gzip members", gz(one) + gz(one), "bytes after the gzip member", ErrMalformed},

		{"zstd magic alone", "\x28\xb5\x2f\xfd", "inside the zstd data", ErrMalformed},
		{"zstd header cut", zst(one)[:5], "inside the zstd data", ErrMalformed},
		{"zstd cut", zst(one)[:20], "inside the zstd data", ErrMalformed},
		{"zstd checksum cut", zst(one)[:len(zst(one))-1], "inside the zstd data", ErrMalformed},
		{"zstd with a wrong checksum", patched(zst(one), len(zst(one))-4, "\x00\x01\x02\x03"), "uncompressing zstd", ErrMalformed},
		{"zstd with the reserved bit", patched(zst(one), 4, "\x08"), "the reserved bit is set", ErrMalformed},
		{"zstd with a reserved block", "\x28\xb5\x2f\xfd\x20\x04\x07\x00\x00", "reserved type", ErrMalformed},
		{"zstd with a huge block", "\x28\xb5\x2f\xfd\x00\x58\xfd\xff\xff" + zeros, "zstd block of", ErrMalformed},
		{"zstd with a dictionary", "\x28\xb5\x2f\xfd\x21\x07\x04\x01\x00\x00", "needs dictionary 7", ErrUnsupported},
		{"zstd window of 256 MiB", "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00", "zstd window of 268435456 bytes: the kernel takes at most 134217728", ErrLimit},
		{"zstd window of 3.75 TiB", "\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00", "zstd window of", ErrLimit},
		{"zstd content of 16 EiB", "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", "zstd window of 18446744073709551615 bytes", ErrLimit},
		{"bytes after the zstd frame", zst(one) + "x", fmt.Sprintf("bytes after the zstd frame, from byte %d of the file on", len(zst(one))), ErrMalformed},
		{"two zstd frames", zst(one[:50]) + zst(one[50:]), "ends inside a header", ErrMalformed},
		{"skippable zstd frame", "\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zst(one), "neither", ErrUnsupported},

		{"xz", "\xfd7zXZ\x00" + one, "xz", ErrUnsupported},
		{"xfs", "XFSB" + one, "an xfs filesystem", ErrUnsupported},
		{"squashfs that is none", "hsqs" + one, "superblock: version", squashfsread.ErrUnsupported},
		{"squashfs cut", "hsqs", "superblock", squashfsread.ErrCorrupt},
		{"btrfs", strings.Repeat("\x00", 0x10040) + "_BHRfS_M", "a btrfs filesystem", ErrUnsupported},
		{"tar", strings.Repeat("a", 257) + "ustar\x00", "a tar archive", ErrUnsupported},
		{"text", "hello, world\n", "neither", ErrUnsupported},
	}
	if len(tests) < 60 {
		t.Errorf("only %d cases", len(tests))
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			a, err := open(x.data, Options{})
			if err == nil {
				t.Fatalf("read as\n%s", lines(a))
			}
			if !strings.Contains(err.Error(), x.want) || !errors.Is(err, x.is) {
				t.Errorf("got: %v\nwant: %s (%v)", err, x.want, x.is)
			}
		})
	}
}

func TestAtTheLimitsOfTheFormat(t *testing.T) {
	long := strings.Repeat("n", 4095)
	for name, data := range map[string]string{
		"name of 4096 bytes":         nc.Archive(nc.File(long, "")),
		"target of 4095 bytes":       nc.Archive(nc.Link("l", long)),
		"same content at both links": nc.Archive(nc.Record{Name: "a", Mode: 0o100644, Nlink: 2, Ino: 1, Body: "x"}, nc.Record{Name: "b", Mode: 0o100644, Nlink: 2, Ino: 1, Body: "x"}),
		"links counted once":         nc.Archive(nc.Record{Name: "a", Mode: 0o100644, Ino: 1, Body: "x"}, nc.Record{Name: "b", Mode: 0o100644, Ino: 1, Body: "y"}),
		"no entries":                 nc.Archive(),
		"upper and lower digits":     nc.Archive(nc.Record{Name: "a", Mode: 0o100644, UID: 0xABCDEF01}, nc.Record{Header: "070701" + strings.Repeat("00000000", 1) + "000081a4" + strings.Repeat("00000000", 9) + "00000002" + "00000000", Name: "b"}),
		"zstd window of 128 MiB":     "\x28\xb5\x2f\xfd\x00\x88" + rawBlock(nc.Archive(nc.File("f", ""))),
	} {
		if _, err := open(data, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rawBlock is the last block of a zstd frame, not compressed.
func rawBlock(s string) string {
	n := uint32(len(s))<<3 | 1
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16)}) + s
}

func TestTruncatedArchivesAreRefusedEverywhere(t *testing.T) {
	for name, data := range packed(sample) {
		for n := range len(data) {
			if _, err := open(data[:n], Options{}); err == nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("%s, %d of %d bytes: %v", name, n, len(data), err)
			}
		}
	}
}

// TestFlippedBytesAreRefusedOrRead changes every byte: what is read still has
// sane entries, and what is refused says that it is the archive's fault.
func TestFlippedBytesAreRefusedOrRead(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: opens thousands of archives; not with -short")
	}
	for name, data := range packed(sample) {
		read := 0
		for i := range len(data) {
			for _, bit := range []byte{1, 0x80} {
				b := []byte(data)
				b[i] ^= bit
				a, err := open(string(b), Options{})
				switch {
				case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrLimit):
					t.Fatalf("%s, byte %d: %v", name, i, err)
				case err == nil:
					read++
					sane(t, a)
				}
			}
		}
		t.Logf("%s: %d of %d changed archives are read", name, read, 2*len(data))
		if name == "none" && read < 100 || name == "gzip" && read > 200 {
			t.Errorf("%s: %d changed archives are read", name, read)
		}
	}
}

// sane checks what every opened artifact promises, and reads all of it.
func sane(t testing.TB, a *Artifact) {
	t.Helper()
	before := ""
	for i, e := range a.Entries {
		if i > 0 && e.Name <= before {
			t.Fatalf("%q comes after %q", e.Name, before)
		}
		before = e.Name
		if e.Name == "" || strings.HasPrefix(e.Name, "/") || strings.Contains("/"+e.Name+"/", "/../") || strings.IndexByte(e.Name, 0) >= 0 {
			t.Fatalf("name %q", e.Name)
		}
		if e.LinkOf > e.Name {
			t.Fatalf("%q is a link of %q", e.Name, e.LinkOf)
		}
		if _, err := a.Resolve(e.Name, true); err != nil && e.Type != Symlink && a.Image == nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if e.Type != File {
			continue
		}
		r, err := a.Content(context.Background(), e)
		if err != nil {
			continue // an image's broken map
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		if a.Archive != nil && (err != nil || n != min(e.Size, 1<<20)) {
			t.Fatalf("%q: %d of %d bytes, %v", e.Name, n, e.Size, err)
		}
		r.Close()
		ranges, err := a.Data(e)
		for i, x := range ranges {
			if err == nil && (x.Start >= x.End || x.End > e.Size || i > 0 && ranges[i-1].End >= x.Start) {
				t.Fatalf("%q: data %v of %d bytes", e.Name, ranges, e.Size)
			}
		}
	}
}

// heapOf measures how much memory fn leaves in use, and the most it took.
func heapOf(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsStopAtTheLimitInLittleMemory(t *testing.T) {
	const unpacked = 1 << 28
	head := nc.Record{Name: "bomb", Mode: 0o100644, Size: fmt.Sprintf("%08X", unpacked)}
	zeros := make([]byte, 1<<20)
	fill := func(w io.WriteCloser) {
		_, _ = w.Write([]byte(nc.Records(head)))
		for range unpacked / len(zeros) {
			_, _ = w.Write(zeros)
		}
		_, _ = w.Write([]byte(nc.Archive()))
		_ = w.Close()
	}
	var g, z bytes.Buffer
	fill(gzip.NewWriter(&g))
	e, err := zstd.NewWriter(&z, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	fill(e)
	for name, data := range map[string]string{"gzip": g.String(), "zstd": z.String()} {
		if len(data) > 4<<20 {
			t.Fatalf("%s: a bomb of %d bytes", name, len(data))
		}
		used := heapOf(func() {
			if _, err := open(data, Options{MaxUnpacked: 1 << 26}); !errors.Is(err, ErrLimit) {
				t.Errorf("%s: %v", name, err)
			}
			a, err := open(data, Options{})
			if err != nil || a.Lookup("bomb").Size != unpacked {
				t.Errorf("%s within the limit: %v", name, err)
			}
		})
		if used > 64<<20 {
			t.Errorf("%s: %d bytes allocated for 256 MiB of content", name, used)
		}
	}
}

func TestManyEntriesTakeLittleMemoryAndTime(t *testing.T) {
	const n = 100_000
	var records []nc.Record
	for i := range n {
		records = append(records, nc.File(fmt.Sprintf("file %06d", i), "x"))
	}
	data := nc.Archive(records...)
	used := heapOf(func() {
		a, err := open(data, Options{})
		if err != nil || len(a.Entries) != n {
			t.Fatal(err)
		}
	})
	if used/n > 4096 {
		t.Errorf("%d bytes allocated for an entry", used/n)
	}
	if _, err := open(data, Options{MaxEntries: n - 1}); !errors.Is(err, ErrLimit) {
		t.Errorf("one entry too many: %v", err)
	}
}

// TestDeepNamesTakeLinearTime has names of thousands of parts and none of the
// directories.
func TestDeepNamesTakeLinearTime(t *testing.T) {
	var records []nc.Record
	for i := range 5000 {
		records = append(records, nc.File(fmt.Sprintf("%05d", i)+strings.Repeat("/a", 2000), ""))
	}
	if _, err := open(nc.Archive(records...), Options{}); err != nil {
		t.Fatal(err)
	}
}

// golden is a small image with every structure, which mke2fs and e2fsck made.
func golden(t testing.TB, flavour int) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("../ext4read/testdata", fmt.Sprintf("rich-%d.img.gz", flavour)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func isVerdict(err error) bool {
	for _, is := range []error{ErrMalformed, ErrUnsupported, ErrLimit, ext4read.ErrCorrupt, ext4read.ErrUnsupported, squashfsread.ErrCorrupt, squashfsread.ErrUnsupported} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func TestDamagedImagesAreRefusedOrRead(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: opens thousands of images; not with -short")
	}
	for flavour := range 5 {
		image := golden(t, flavour)
		read, refused := 0, 0
		for at, b := range image {
			if b == 0 || at%31 != flavour { // one in 31 of what holds anything
				continue
			}
			damaged := bytes.Clone(image)
			damaged[at] ^= 1 << (at % 8)
			begin := time.Now()
			a, err := Open(context.Background(), bytes.NewReader(damaged), int64(len(damaged)), Options{Verify: at%2 == 0})
			switch {
			case err == nil:
				read++
				if read%50 == 0 {
					sane(t, a)
				}
			case isVerdict(err):
				refused++
			default:
				t.Fatalf("flavour %d, byte %d: %v", flavour, at, err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Fatalf("flavour %d, byte %d: took %v", flavour, at, d)
			}
		}
		if read < 50 || refused < 20 {
			t.Errorf("flavour %d: %d read, %d refused", flavour, read, refused)
		}
	}
}

func TestTruncatedImagesAreRefused(t *testing.T) {
	image := golden(t, 0)
	for _, n := range []int{0, 1, 1023, 1024, 1080, 1081, 1082, 2047, 2048, 4096, len(image) / 2, len(image) - 1024, len(image) - 1} {
		if _, err := Open(context.Background(), bytes.NewReader(image[:n]), int64(n), Options{}); !isVerdict(err) {
			t.Errorf("%d of %d bytes: %v", n, len(image), err)
		}
	}
}

func TestLimitsOfAnImage(t *testing.T) {
	image := golden(t, 0)
	a, err := Open(context.Background(), bytes.NewReader(image), int64(len(image)), Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	sane(t, a)
	metadata := int64(0)
	for _, e := range a.Entries {
		metadata += int64(len(e.Name) + len(e.Target))
		for k, v := range e.Xattrs {
			metadata += int64(len(k) + len(v))
		}
	}
	opt := Options{MaxEntries: len(a.Entries), MaxMetadata: metadata}
	if _, err := Open(context.Background(), bytes.NewReader(image), int64(len(image)), opt); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	for _, opt := range []Options{{MaxEntries: len(a.Entries) - 1}, {MaxMetadata: metadata - 1}} {
		if _, err := Open(context.Background(), bytes.NewReader(image), int64(len(image)), opt); !errors.Is(err, ErrLimit) {
			t.Errorf("over %+v: %v", opt, err)
		}
	}
}

// TestImageThatLooksLikeAnArchiveIsRefused puts an archive's magic into the boot
// block, which ext4 does not use; one reader would see an image, another an
// archive.
func TestImageThatLooksLikeAnArchiveIsRefused(t *testing.T) {
	image := golden(t, 0)
	for _, magic := range []string{"070701", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd"} {
		both := append([]byte(magic), image[len(magic):]...)
		if _, err := Open(context.Background(), bytes.NewReader(both), int64(len(both)), Options{}); err == nil || !strings.Contains(err.Error(), "begin like an archive") {
			t.Errorf("%q: %v", magic, err)
		}
	}
	// An archive whose content has the superblock's magic by chance is one.
	body := []byte(strings.Repeat("a", 4000))
	binary.LittleEndian.PutUint16(body[1024+0x38-112:], 0xEF53)
	if _, err := open(nc.Archive(nc.File("f", string(body))), Options{}); err != nil {
		t.Errorf("archive with the magic inside: %v", err)
	}
}

func TestCheckTellsWhatIsWrong(t *testing.T) {
	image := golden(t, 0)
	check := func(data []byte) ([]string, error) {
		return Check(context.Background(), bytes.NewReader(data), int64(len(data)), Options{})
	}
	if got, err := check(image); err != nil || got != nil {
		t.Errorf("sound image: %q, %v", got, err)
	}
	damaged := bytes.Clone(image)
	damaged[1024+0x78] ^= 1 // the label
	if got, err := check(damaged); err != nil || len(got) == 0 || got[0] != "superblock: checksum does not match" {
		t.Errorf("damaged image: %q, %v", got, err)
	}
	if got, err := check([]byte(nc.Archive(nc.File("a/b", "")))); err != nil || len(got) != 1 {
		t.Errorf("archive: %q, %v", got, err)
	}
	for _, data := range []string{"", "hello", "070701", "\x1f\x8b"} {
		if _, err := check([]byte(data)); err == nil {
			t.Errorf("%q is checked", data)
		}
	}
}

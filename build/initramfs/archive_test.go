package initramfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

func TestHeaderEncode(t *testing.T) {
	tests := []struct {
		name      string
		in        header
		want      string // the whole record, with padding
		wantField string // field named by the FieldError, "" for success
	}{
		{
			name: "console device",
			in:   header{ino: 1, mode: 0o020600, nlink: 1, rdevMajor: 5, rdevMinor: 1, name: "dev/console"},
			want: "070701" +
				"00000001" + "00002180" + "00000000" + "00000000" + "00000001" +
				"00000000" + "00000000" + "00000000" + "00000000" +
				"00000005" + "00000001" + "0000000C" + "00000000" + "dev/console\x00" + "\x00\x00",
		},
		{
			name: "setuid file",
			in:   header{ino: 0xabcdef, mode: 0o104755, uid: 1000, gid: 0xfffffffe, nlink: 3, mtime: 0x6553f100, filesize: 0xffffffff, name: "a"},
			want: "070701" +
				"00ABCDEF" + "000089ED" + "000003E8" + "FFFFFFFE" + "00000003" +
				"6553F100" + "FFFFFFFF" + "00000000" + "00000000" +
				"00000000" + "00000000" + "00000002" + "00000000" + "a\x00",
		},
		{name: "trailer", in: header{nlink: 1, name: "TRAILER!!!"}, want: "070701" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000001" +
			"00000000" + "00000000" + "00000000" + "00000000" +
			"00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"},
		{name: "4 GiB body", in: header{filesize: 1 << 32, name: "big"}, wantField: "c_filesize"},
		{name: "body of less than nothing", in: header{filesize: -1, name: "odd"}, wantField: "c_filesize"},
		{name: "before 1970", in: header{mtime: -1, name: "old"}, wantField: "c_mtime"},
		{name: "after 2106", in: header{mtime: 1 << 32, name: "new"}, wantField: "c_mtime"},
		{name: "nobody at all", in: header{uid: 1<<32 - 1, name: "x"}, wantField: "c_uid"},
		{name: "no group at all", in: header{gid: 1<<32 - 1, name: "x"}, wantField: "c_gid"},
		{name: "inodes", in: header{ino: 1 << 32, name: "x"}, wantField: "c_ino"},
		{name: "links", in: header{nlink: 1 << 32, name: "x"}, wantField: "c_nlink"},
		{name: "major", in: header{rdevMajor: 4096, name: "x"}, wantField: "c_rdevmajor"},
		{name: "minor", in: header{rdevMinor: 1 << 20, name: "x"}, wantField: "c_rdevminor"},
		{name: "name", in: header{name: strings.Repeat("x", 4096)}, wantField: "c_namesize"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.in.append(nil)
			var field *FieldError
			if errors.As(err, &field) != (test.wantField != "") || field != nil && (field.Field != test.wantField || field.Name != test.in.name) {
				t.Fatalf("error %v, want one about %q", err, test.wantField)
			}
			if string(got) != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// A whole archive, byte by byte.
func TestWholeArchive(t *testing.T) {
	tr := tree.New()
	put(t, tr, "d", &tree.Node{Mode: fs.ModeDir | 0o700, ModTime: time.Unix(2, 0)})
	hard := &tree.Node{Mode: 0o644, ModTime: time.Unix(3, 0), Content: memory("hello")}
	put(t, tr, "d/b", hard)
	put(t, tr, "a", hard)
	put(t, tr, "l", &tree.Node{Mode: fs.ModeSymlink | 0o777, ModTime: time.Unix(4, 0), Target: "d/b"})
	z := "00000000"
	want := "070701" + "00000001" + "000041ED" + z + z + "00000003" + z + z + z + z + z + z + "00000002" + z + ".\x00" +
		"070701" + "00000002" + "000081A4" + z + z + "00000002" + "00000003" + z + z + z + z + z + "00000002" + z + "a\x00" +
		"070701" + "00000003" + "000041C0" + z + z + "00000002" + "00000002" + z + z + z + z + z + "00000002" + z + "d\x00" +
		"070701" + "00000002" + "000081A4" + z + z + "00000002" + "00000003" + "00000005" + z + z + z + z + "00000004" + z + "d/b\x00" + "\x00\x00" +
		"hello\x00\x00\x00" +
		"070701" + "00000004" + "0000A1FF" + z + z + "00000001" + "00000004" + "00000003" + z + z + z + z + "00000002" + z + "l\x00" +
		"d/b\x00" +
		"070701" + z + z + z + z + "00000001" + z + z + z + z + z + z + "0000000B" + z + "TRAILER!!!\x00" + "\x00\x00\x00"
	var b bytes.Buffer
	st, err := Write(t.Context(), &b, tr, Options{Compression: None})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := int64(len(want)); st != (Stats{Size: n, Unpacked: n, Entries: 5, Inodes: 4}) {
		t.Errorf("%+v", st)
	}
}

// fake is content that claims a size and has other bytes, or none.
type fake struct {
	size int64
	open func() (io.Reader, error)
}

func (f fake) Size() int64 { return f.size }
func (f fake) Open() (io.ReadCloser, error) {
	r, err := f.open()
	return io.NopCloser(r), err
}

func claims(size int64, text string) fake {
	return fake{size, func() (io.Reader, error) { return strings.NewReader(text), nil }}
}

func TestWriteRefuses(t *testing.T) {
	char := fs.ModeDevice | fs.ModeCharDevice
	tests := []struct {
		name string
		node tree.Node
		want string // the error, "" for none
	}{
		{"most", tree.Node{Mode: char, Rdev: tree.Rdev{Major: 4095, Minor: 1048575}}, ""},
		{"major", tree.Node{Mode: char, Rdev: tree.Rdev{Major: 4096}}, `an initramfs cannot hold "/major": c_rdevmajor 4096, the limits are 0 and 4095`},
		{"minor", tree.Node{Mode: fs.ModeDevice, Rdev: tree.Rdev{Minor: 1048576}}, `an initramfs cannot hold "/minor": c_rdevminor 1048576, the limits are 0 and 1048575`},
		{"owner", tree.Node{UID: 4294967294, GID: 4294967294}, ""},
		{"uid", tree.Node{UID: 4294967295}, `an initramfs cannot hold "/uid": c_uid 4294967295, the limits are 0 and 4294967294`},
		{"gid", tree.Node{GID: 4294967295}, `an initramfs cannot hold "/gid": c_gid 4294967295, the limits are 0 and 4294967294`},
		{"d/big", tree.Node{Content: claims(1<<32, "")}, `an initramfs cannot hold "/d/big": c_filesize 4294967296, the limits are 0 and 4294967295`},
		{"link", tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4095)}, ""},
		{"link", tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4096)}, `an initramfs cannot hold "/link": c_filesize of a symlink 4096, the limits are 0 and 4095`},
		{"link", tree.Node{Mode: fs.ModeSymlink}, `an initramfs cannot hold "/link": a symlink without a target`},
		{"link", tree.Node{Mode: fs.ModeSymlink, Target: "a\x00b"}, `an initramfs cannot hold "/link": a symlink target with a NUL byte`},
		{"TRAILER!!!", tree.Node{}, `an initramfs cannot hold "/TRAILER!!!": the name ends every archive`},
		{"d/TRAILER!!!", tree.Node{}, ""},
		{"socket", tree.Node{Mode: fs.ModeSocket}, ""},
		{"odd", tree.Node{Mode: fs.ModeIrregular}, `an initramfs cannot hold "/odd": the file type ?--------- does not exist on Linux`},
		{"short", tree.Node{Content: claims(5, "1234")}, `archiving "/short": the content ends after 4 of its 5 bytes`},
		{"long", tree.Node{Content: claims(5, "123456")}, `archiving "/long": the content has more than its 5 bytes`},
		{"closed", tree.Node{Content: fake{5, func() (io.Reader, error) { return nil, fs.ErrPermission }}}, `archiving "/closed": permission denied`},
		{
			"broken",
			tree.Node{Content: fake{5, func() (io.Reader, error) {
				return io.MultiReader(strings.NewReader("12"), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
			}}},
			`archiving "/broken": reading the content at byte 2 of 5: unexpected EOF`,
		},
	}
	for _, test := range tests {
		for _, c := range []Compression{None, Gzip, Zstd} {
			tr := tree.New()
			node := test.node
			put(t, tr, test.name, &node)
			_, err := Write(t.Context(), io.Discard, tr, Options{Compression: c})
			if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
				t.Errorf("%s: %s: got %s, want %s", c, test.name, got, test.want)
			}
		}
	}
}

// What a tree cannot hold anyway is still checked: the longest name of a tree is
// the longest of an archive.
func TestLongestName(t *testing.T) {
	tr := tree.New()
	name := strings.Repeat("d/", tree.MaxName/2) + "f"
	put(t, tr, name, &tree.Node{})
	got, err := readArchive(bytes.NewReader(archive(t, tr, Options{Compression: None})))
	if err != nil {
		t.Fatal(err)
	}
	if last := got[len(got)-1].name; last != name || len(last) != maxName {
		t.Errorf("the last name has %d bytes", len(last))
	}
}

// A file of the largest size is written and read, without its bytes being kept.
func TestLargestFile(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: writes 4 GiB to nowhere; not with -short")
	}
	tr := tree.New()
	put(t, tr, "big", &tree.Node{Content: fake{maxField, func() (io.Reader, error) { return io.LimitReader(zeros{}, maxField), nil }}})
	st, err := Write(t.Context(), io.Discard, tr, Options{Compression: None})
	if want := int64(112 + 116 + 1<<32 + 124); err != nil || st.Unpacked != want {
		t.Errorf("%+v, %v, want %d bytes", st, err, want)
	}
}

// Buffers are used again: what is allocated does not grow with the bytes.
func TestMemoryIsBounded(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const size = 192 << 20
	for _, test := range []struct {
		o     Options
		limit uint64
	}{
		{Options{Compression: None}, 1 << 20},
		{Options{Compression: Gzip, Level: 1}, 24 << 20},
		{Options{Compression: Zstd, Level: 1}, 64 << 20},
		{Options{Compression: Zstd, Level: 19}, 100 << 20},
	} {
		o, limit := test.o, test.limit
		tr := tree.New()
		put(t, tr, "big", &tree.Node{Content: fake{size, func() (io.Reader, error) { return io.LimitReader(zeros{}, size), nil }}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Write(t.Context(), io.Discard, tr, o); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > limit {
			t.Errorf("%s level %d allocates %d bytes for an archive of %d, the limit is %d", o.Compression, o.Level, used, size, limit)
		} else {
			t.Logf("%s level %d allocates %d bytes", o.Compression, o.Level, used)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestWarnings(t *testing.T) {
	tr := tree.New()
	for i := range 22 {
		put(t, tr, fmt.Sprintf("bin/%02d", i), &tree.Node{Mode: 0o755, Xattrs: map[string]string{"security.capability": "x"}})
	}
	hard := &tree.Node{ModTime: time.Unix(-5, 0), Xattrs: map[string]string{"user.a": "1", "user.b": "2"}}
	put(t, tr, "x", hard)
	put(t, tr, "y", hard)
	put(t, tr, "z", &tree.Node{ModTime: time.Unix(1<<32, 0), Xattrs: map[string]string{"user.a": "1", "security.capability": "x"}})
	put(t, tr, "fine", &tree.Node{ModTime: time.Unix(1<<32-1, 999999999)})
	put(t, tr, "fine too", &tree.Node{ModTime: time.Unix(0, 5)})
	var got []string
	if _, err := Write(t.Context(), io.Discard, tr, Options{Warn: func(m string) { got = append(got, m) }}); err != nil {
		t.Fatal(err)
	}
	list := make([]string, 20)
	for i := range list {
		list[i] = fmt.Sprintf(`"/bin/%02d"`, i)
	}
	want := []string{
		"an initramfs cannot hold file capabilities; these 23 programs will run without them: " + strings.Join(list, ", ") + " and 3 more",
		`an initramfs cannot hold extended attributes; 2 paths lose theirs, the first is "/x"`,
		`an initramfs holds times from 1970-01-01 to 2106-02-07; the modification times of 2 paths become the nearer of the two, the first is "/x"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = nil
	plain := tree.New()
	put(t, plain, "a", &tree.Node{})
	if _, err := Write(t.Context(), io.Discard, plain, Options{Warn: func(m string) { got = append(got, m) }}); err != nil || got != nil {
		t.Errorf("%v, %q", err, got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{}, ""},
		{Options{Level: 9}, ""},
		{Options{Level: 10}, `compression level 10: "gzip" has levels 1 to 9`},
		{Options{Level: -1}, `compression level -1: "gzip" has levels 1 to 9`},
		{Options{Compression: Zstd, Level: 19}, ""},
		{Options{Compression: Zstd, Level: 20}, `compression level 20: "zstd" has levels 1 to 19`},
		{Options{Compression: None}, ""},
		{Options{Compression: None, Level: 1}, `compression level 1: compression "none" has no levels`},
		{Options{Compression: "xz"}, `compression "xz": want "gzip", "zstd" or "none"`},
	} {
		err := test.o.Check()
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("%+v: got %s, want %s", test.o, got, test.want)
		}
		if _, writeErr := Write(t.Context(), io.Discard, tree.New(), test.o); (writeErr == nil) != (err == nil) {
			t.Errorf("%+v: Write says %v", test.o, writeErr)
		}
	}
	for c, want := range map[Compression]string{Gzip: ".cpio.gz", "": ".cpio.gz", Zstd: ".cpio.zst", None: ".cpio"} {
		if got := c.Extension(); got != want {
			t.Errorf("%q: %q, want %q", c, got, want)
		}
	}
}

// limited takes n bytes and then fails, or takes less without a word.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) <= l.n {
		l.n -= len(p)
		return len(p), nil
	}
	n := l.n
	l.n = 0
	return n, l.err
}

func TestWriteReportsWhatTheOutputDoes(t *testing.T) {
	tr := sample(t)
	full := errors.New("disk full")
	for _, c := range []Compression{None, Gzip, Zstd} {
		size := len(archive(t, tr, Options{Compression: c}))
		for _, at := range []int{0, size / 2, size - 1} {
			if _, err := Write(t.Context(), &limited{at, full}, tr, Options{Compression: c}); !errors.Is(err, full) {
				t.Errorf("%s: full after %d of %d bytes: error %v", c, at, size, err)
			}
			if _, err := Write(t.Context(), &limited{at, nil}, tr, Options{Compression: c}); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("%s: short after %d of %d bytes: error %v", c, at, size, err)
			}
		}
		if _, err := Write(t.Context(), &limited{size, full}, tr, Options{Compression: c}); err != nil {
			t.Errorf("%s: room for %d bytes: %v", c, size, err)
		}
	}
}

func TestProgressEndsWithTheWholeArchive(t *testing.T) {
	for _, c := range []Compression{None, Gzip, Zstd} {
		tr := sample(t)
		put(t, tr, "large", &tree.Node{Content: tree.Bytes(noise(3*copyBytes + 1))})
		var calls, last, total int64
		st, err := Write(t.Context(), io.Discard, tr, Options{Compression: c, Progress: func(d, all int64) {
			if calls++; d < last || d > all || total != 0 && all != total {
				t.Errorf("%s: %d of %d bytes after %d of %d", c, d, all, last, total)
			}
			last, total = d, all
		}})
		if err != nil || calls < 4 || last != st.Unpacked || total != st.Unpacked {
			t.Errorf("%s: %v, %d calls, the last with %d of %d bytes; the archive has %d", c, err, calls, last, total, st.Unpacked)
		}
	}
}

func TestWriteStopsWithItsContext(t *testing.T) {
	before := runtime.NumGoroutine()
	defer func() {
		for range 100 { // those that have nothing left to do take a moment
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%d goroutines run on", runtime.NumGoroutine()-before)
	}()
	for _, c := range []Compression{None, Gzip, Zstd} {
		ctx, cancel := context.WithCancel(t.Context())
		read := 0
		endless := readerFunc(func(p []byte) (int, error) {
			if read += len(p); read > 8<<20 {
				cancel()
			}
			return len(p), nil
		})
		tr := tree.New()
		put(t, tr, "endless", &tree.Node{Content: fake{maxField, func() (io.Reader, error) { return endless, nil }}})
		if _, err := Write(ctx, io.Discard, tr, Options{Compression: c}); err != context.Canceled || read > 9<<20 {
			t.Errorf("%s: %v after %d bytes", c, err, read)
		}
		if _, err := Write(ctx, io.Discard, tree.New(), Options{Compression: c}); err != context.Canceled {
			t.Errorf("%s: %v", c, err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

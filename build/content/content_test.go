package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func opened(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// sample is the example of docs/content-digest.md.
func sample() []Entry {
	at := time.Unix(1700000000, 999)
	return []Entry{
		{Name: ".", Type: Dir, Mode: 0o755, Mtime: at},
		{Name: "bin", Type: Dir, Mode: 0o755, Mtime: at},
		{
			Name: "bin/ping", Type: File, Mode: 0o755, Mtime: at, Size: 5, Open: opened("hello"), LinkOf: "bin/ping",
			Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		},
		{Name: "bin/ping6", Type: File, Mode: 0o755, Mtime: at, LinkOf: "bin/ping"},
		{Name: "dev", Type: Dir, Mode: 0o755, Mtime: at},
		{Name: "dev/null", Type: Char, Mode: 0o666, Mtime: at, Major: 1, Minor: 3},
		{Name: "with blank", Type: Symlink, Mode: 0o755, Mtime: at, Target: "bin/ping"},
	}
}

func textOf(t *testing.T, entries ...Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := Text(context.Background(), &b, slices.Values(entries), Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func digest(entries []Entry) (string, error) {
	return Digest(context.Background(), slices.Values(entries), Options{})
}

func TestTheTextIsTheExampleOfTheDefinition(t *testing.T) {
	page, err := os.ReadFile("../../docs/content-digest.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)For example:\n\n```\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	if got := textOf(t, sample()...); got != string(m[1]) {
		t.Errorf("got\n%s\nwant\n%s", got, m[1])
	}
}

func TestEveryFieldIsInTheDigest(t *testing.T) {
	want, err := digest(sample())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{want: "the sample"}
	for name, change := range map[string]func(e []Entry) []Entry{
		"name":            func(e []Entry) []Entry { e[6].Name = "with-blank"; return e },
		"escaped name":    func(e []Entry) []Entry { e[6].Name = "with%20blank"; return e },
		"a name less":     func(e []Entry) []Entry { return e[:6] },
		"a name more":     func(e []Entry) []Entry { return append(e, Entry{Name: "x", Type: Dir}) },
		"type":            func(e []Entry) []Entry { e[5].Type = Block; return e },
		"permission":      func(e []Entry) []Entry { e[1].Mode = 0o750; return e },
		"setuid":          func(e []Entry) []Entry { e[2].Mode |= 0o4000; return e },
		"setgid":          func(e []Entry) []Entry { e[2].Mode |= 0o2000; return e },
		"sticky":          func(e []Entry) []Entry { e[1].Mode |= 0o1000; return e },
		"uid":             func(e []Entry) []Entry { e[0].UID = 1; return e },
		"gid":             func(e []Entry) []Entry { e[0].GID = 1; return e },
		"mtime":           func(e []Entry) []Entry { e[4].Mtime = time.Unix(1700000001, 0); return e },
		"content":         func(e []Entry) []Entry { e[2].Open = opened("hullo"); return e },
		"size":            func(e []Entry) []Entry { e[2].Open, e[2].Size = opened("hello\x00"), 6; return e },
		"target":          func(e []Entry) []Entry { e[6].Target = "bin/ping6"; return e },
		"major":           func(e []Entry) []Entry { e[5].Major = 2; return e },
		"minor":           func(e []Entry) []Entry { e[5].Minor = 4; return e },
		"xattr value":     func(e []Entry) []Entry { e[2].Xattrs = map[string]string{"security.capability": "\x01"}; return e },
		"no xattr":        func(e []Entry) []Entry { e[2].Xattrs = nil; return e },
		"xattr of a link": func(e []Entry) []Entry { e[6].Xattrs = map[string]string{"trusted.a": ""}; return e },
		"no hard link": func(e []Entry) []Entry {
			e[2].LinkOf, e[3].LinkOf, e[3].Size, e[3].Open, e[3].Xattrs = "", "", 5, e[2].Open, e[2].Xattrs
			return e
		},
	} {
		got, err := digest(change(sample()))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if other, ok := seen[got]; ok {
			t.Errorf("%s: the same digest as %s", name, other)
		}
		seen[got] = name
	}
}

func TestWhatFormatsDoNotAgreeOnIsNotInTheDigest(t *testing.T) {
	want, err := digest(sample())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(e []Entry) []Entry{
		"parts of a second": func(e []Entry) []Entry { e[1].Mtime = time.Unix(1700000000, 0); return e },
		"mode of a link":    func(e []Entry) []Entry { e[6].Mode = 0o777; return e },
		"file type in mode": func(e []Entry) []Entry { e[1].Mode |= 0o40000; return e },
		"foreign xattr": func(e []Entry) []Entry {
			e[1].Xattrs = map[string]string{"com.apple.provenance": "x", "user.": "", "btrfs.compression": "zstd"}
			return e
		},
		"names of a link":    func(e []Entry) []Entry { e[6].LinkOf = "a"; return e },
		"device of a folder": func(e []Entry) []Entry { e[1].Major = 3; return e },
		"lost+found":         func(e []Entry) []Entry { return slices.Insert(e, 6, lostAndFound()) },
		"lost+found's foreign": func(e []Entry) []Entry {
			x := lostAndFound()
			x.Xattrs = map[string]string{"a": "b"}
			return slices.Insert(e, 6, x)
		},
	} {
		if got, err := digest(change(sample())); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func lostAndFound() Entry {
	return Entry{Name: "lost+found", Type: Dir, Mode: 0o700, Mtime: time.Unix(1, 0)}
}

func TestALostAndFoundThatIsNotMke2fsIsInTheDigest(t *testing.T) {
	for name, change := range map[string]func(e *Entry){
		"mode": func(e *Entry) { e.Mode = 0o755 }, "uid": func(e *Entry) { e.UID = 1 }, "gid": func(e *Entry) { e.GID = 1 },
		"xattr": func(e *Entry) { e.Xattrs = map[string]string{"user.a": ""} }, "type": func(e *Entry) { e.Type = FIFO },
		"name": func(e *Entry) { e.Name = "a/lost+found" },
	} {
		e := lostAndFound()
		change(&e)
		if got := textOf(t, e); !strings.Contains(got, "lost+found") {
			t.Errorf("%s: it is left out of %q", name, got)
		}
	}
	between := Entry{Name: "lost+found-2", Type: Dir} // "-" is before "/"
	if got := textOf(t, lostAndFound(), between, Entry{Name: "lost+found/#12", Type: FIFO}); !strings.Contains(got, "\nlost+found d 0700") {
		t.Errorf("with something in it, it is left out of %q", got)
	}
	if got := textOf(t, lostAndFound(), between); strings.Contains(got, "\nlost+found ") {
		t.Errorf("without anything in it, it is in %q", got)
	}
}

func TestTimesAreClampedToWhatEveryFormatHolds(t *testing.T) {
	for at, want := range map[time.Time]int64{
		time.Unix(-1, 0): 0, time.Unix(-1, 999): 0, time.Unix(0, 999_999_999): 0, time.Unix(1, 999_999_999): 1,
		time.Unix(1<<32-1, 5): 1<<32 - 1, time.Unix(1<<32, 0): 1<<32 - 1, time.Unix(1<<40, 0): 1<<32 - 1, {}: 0,
	} {
		if got := Seconds(at); got != want {
			t.Errorf("%v is %d, want %d", at, got, want)
		}
	}
}

func TestWordsAreUnambiguous(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	got := string(escape(nil, string(all)))
	if strings.ContainsAny(got, " \n\x00\x7f") || !strings.HasPrefix(got, "%00%01") || !strings.Contains(got, "%20!\"#$%25&'") || !strings.HasSuffix(got, "}~%7F"+got[len(got)-128*3:]) || !strings.HasSuffix(got, "%FF") {
		t.Errorf("escaped: %s", got)
	}
	x := Entry{Name: "a", Type: FIFO, Xattrs: map[string]string{"user.b=": "=\n", "user.a b": "", "user.a": "\x00"}}
	if got := textOf(t, x); got != header+"a p 0000 0 0 0 user.a=00 user.a%20b= user.b==3d0a\n" {
		t.Errorf("got %q", got)
	}
}

func TestAnACLIsAsTheKernelGivesIt(t *testing.T) {
	set := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\x00\x00\x00\x00" + "\x02\x00\x07\x00\x05\x00\x00\x00" + "\x08\x00\x07\x00\x06\x00\x00\x00" + "\x10\x00\x07\x00\x01\x02\x03\x04"
	given := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x05\x00\x00\x00" + "\x08\x00\x07\x00\x06\x00\x00\x00" + "\x10\x00\x07\x00\xff\xff\xff\xff"
	if got := kernelACL(set); got != given {
		t.Errorf("got %x, want %x", got, given)
	}
	for _, broken := range []string{"", "\x02", set[:11]} {
		if got := kernelACL(broken); got != broken {
			t.Errorf("%x became %x", broken, got)
		}
	}
}

func TestContentIsReadOnceAndOnlyUnderItsFirstName(t *testing.T) {
	opens := 0
	list := sample()
	list[2].Open = func() (io.ReadCloser, error) { opens++; return opened("hello")() }
	list[3].Open = list[2].Open
	if _, err := digest(list); err != nil || opens != 1 {
		t.Errorf("opened %d times, %v", opens, err)
	}
}

func TestWhatCannotBeDigestedIsAnError(t *testing.T) {
	broken := errors.New("broken disk")
	file := func(size int64, open func() (io.ReadCloser, error)) []Entry {
		return []Entry{{Name: "a", Type: File, Size: size, Open: open}}
	}
	for name, c := range map[string]struct {
		list []Entry
		want string
	}{
		"order":        {[]Entry{{Name: "b", Type: Dir}, {Name: "a", Type: Dir}}, `"a" comes after "b"`},
		"name twice":   {[]Entry{{Name: "b", Type: Dir}, {Name: "b", Type: Dir}}, `"b" comes after "b"`},
		"no name":      {[]Entry{{Type: Dir}}, `"" comes after ""`},
		"no type":      {[]Entry{{Name: "a"}}, "none of Linux"},
		"short":        {file(6, opened("hello")), "does not have the 6 bytes"},
		"long":         {file(4, opened("hello")), "does not have the 4 bytes"},
		"endless":      {file(4, func() (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }), "does not have the 4 bytes"},
		"nothing":      {file(4, nil), "no content of 4 bytes"},
		"negative":     {file(-1, opened("")), "more than"},
		"cannot open":  {file(1, func() (io.ReadCloser, error) { return nil, broken }), "broken disk"},
		"cannot read":  {file(1, func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }), "broken disk"},
		"hostile name": {[]Entry{{Name: "a\nb", Type: File, Size: 1}}, `"a\nb"`},
	} {
		if got, err := digest(c.list); err == nil || got != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v, want an error with %q", name, got, err, c.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestContentsHaveALimit(t *testing.T) {
	list := []Entry{{Name: "a", Type: File, Size: 3, Open: opened("abc")}, {Name: "b", Type: File, Size: 2, Open: opened("de")}}
	if _, err := Digest(context.Background(), slices.Values(list), Options{MaxBytes: 5}); err != nil {
		t.Error(err)
	}
	if _, err := Digest(context.Background(), slices.Values(list), Options{MaxBytes: 4}); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "4 bytes") {
		t.Errorf("one byte over the limit: %v", err)
	}
	huge := []Entry{{Name: "a", Type: File, Size: 1 << 62, Open: func() (io.ReadCloser, error) { t.Error("opened"); return nil, io.EOF }}}
	if _, err := Digest(context.Background(), slices.Values(huge), Options{MaxBytes: 1 << 40}); !errors.Is(err, ErrLimit) {
		t.Errorf("4 EiB: %v", err)
	}
}

func TestCancelledDigestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	list := []Entry{{Name: "a", Type: File, Size: 1 << 60, Open: func() (io.ReadCloser, error) { cancel(); return io.NopCloser(zeros{}), nil }}}
	if got, err := Digest(ctx, slices.Values(list), Options{}); !errors.Is(err, context.Canceled) || got != "" {
		t.Errorf("within a file: %q, %v", got, err)
	}
	if got, err := Digest(ctx, slices.Values(sample()), Options{}); !errors.Is(err, context.Canceled) || got != "" {
		t.Errorf("at the start: %q, %v", got, err)
	}
}

func TestAWriterThatFailsIsAnError(t *testing.T) {
	var many iter.Seq[Entry] = func(yield func(Entry) bool) {
		for i := range 256 {
			if !yield(Entry{Name: strings.Repeat("a", 1000+i), Type: Dir}) {
				return
			}
		}
	}
	r, w := io.Pipe()
	r.Close()
	for _, entries := range []iter.Seq[Entry]{many, slices.Values(sample())} {
		if err := Text(context.Background(), w, entries, Options{}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	}
}

package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build"
)

// clock is a time that moves by a second at each look.
func clock() func() time.Time {
	at := time.Unix(0, 0)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

func TestReporterWritesOneLineAStage(t *testing.T) {
	for _, test := range []struct {
		name           string
		verbose, quiet bool
		want           string
	}{
		{"usual", false, false, "reading layers                                      1.0s\nwarning: beware\nwriting                                             1.0s\n"},
		{"verbose", true, false, "reading layers ...\n  layer 1\nreading layers                                      1.0s\nwriting ...\nwarning: beware\nwriting                                             1.0s\n"},
		{"quiet", false, true, "warning: beware\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := &reporter{w: &out, verbose: test.verbose, quiet: test.quiet, now: clock()}
			for _, e := range []build.Event{
				{Kind: build.StageBegins, Message: "reading layers"},
				{Kind: build.Detail, Message: "layer 1"},
				{Kind: build.StageBegins, Message: "writing"},
				{Kind: build.Warning, Message: "beware"},
			} {
				r.event(e)
			}
			r.end(true)
			if got := out.String(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestReporterDrawsABarOnATerminal(t *testing.T) {
	var out strings.Builder
	r := &reporter{w: &out, terminal: true, width: 200, now: clock()}
	r.event(build.Event{Kind: build.StageBegins, Message: "hashing"})
	r.event(build.Event{Kind: build.Progress, Done: 5 << 20, Total: 10 << 20})
	r.event(build.Event{Kind: build.Warning, Message: "beware"})
	r.end(true)
	got := out.String()
	if !strings.Contains(got, "hashing  [============            ] 5.0 MiB of 10.0 MiB") {
		t.Errorf("no bar in %q", got)
	}
	if !strings.Contains(got, "\r\x1b[Kwarning: beware\n") {
		t.Errorf("the warning does not stand on a line of its own: %q", got)
	}
	if !strings.HasSuffix(got, "\n") {
		t.Errorf("the last line is open: %q", got)
	}
}

func TestReporterSaysNothingMoreOfAFailedStage(t *testing.T) {
	var out strings.Builder
	r := &reporter{w: &out, now: clock()}
	r.event(build.Event{Kind: build.StageBegins, Message: "reading"})
	r.end(false)
	if out.String() != "" {
		t.Errorf("output %q", out.String())
	}
}

func TestPrintableDisarmsControlCharacters(t *testing.T) {
	if got := printable("a\x1b[2Jb\rc\x07\u009bd\te\nf"); got != "a\ufffd[2Jb\ufffdc\ufffd\ufffdd\te\nf" {
		t.Errorf("printable = %q", got)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"a/b.c": "a/b.c", "": "''", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestCacheDir(t *testing.T) {
	for _, test := range []struct{ flag, xdg, home, want string }{
		{"none", "/x", "/h", ""},
		{"/flag", "/x", "/h", "/flag"},
		{"", "/x", "/h", "/x/fledge"},
		{"", "relative", "/h", "/h/.cache/fledge"},
		{"", "", "/h", "/h/.cache/fledge"},
		{"", "", "", ""},
	} {
		p := &Program{Getenv: func(name string) string {
			return map[string]string{"XDG_CACHE_HOME": test.xdg, "HOME": test.home}[name]
		}}
		if got := p.cacheDir(test.flag); got != test.want {
			t.Errorf("cacheDir(%+v) = %q", test, got)
		}
	}
}

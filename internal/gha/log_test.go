package gha

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// env returns a lookup of name, value, name, value...
func env(pairs ...string) func(string) string {
	values := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

// logged is what the log has after write and Flush.
func logged(t *testing.T, write func(w *Workflow)) string {
	t.Helper()
	var out bytes.Buffer
	w := New(env("GITHUB_WORKSPACE", "/workspace"), &out)
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLogMakesCommandsHarmlessAndReadable(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n":                       "plain\n",
		"no end":                        "no end\n",
		"std::vec::Vec a::b\n":          "std::vec::Vec a::b\n",
		"::error::x\n":                  "\\::error::x\n",
		"\t ::add-mask::x\n":            "\t \\::add-mask::x\n",
		"a\r::error::x\r\nb\n":          "a\n\\::error::x\nb\n",
		"a ##[error]x\n":                "a ##\\[error]x\n",
		"###[[error]x\n":                "###\\[[error]x\n",
		":\u00ad:error::x\n":            ":\\u00ad:error::x\n",
		"\u200b::error::x\n":            "\\u200b::error::x\n",
		"\u3000::error::x\n":            "\u3000\\::error::x\n",
		"#\u200d#[error]x\n":            "#\\u200d#[error]x\n",
		"\x1b[1;31m::error::x\x1b[0m\n": "\\::error::x\n",
		"#\x1b[0m#[error]x\n":           "##\\[error]x\n",
		"\x1b]0;title\x07\x08\n":        "\\x1b]0;title\\x07\\x08\n",
		"\x00::error::x\n":              "\\x00::error::x\n",
		"a\u2028::error::x\n":           "a\\u2028::error::x\n",
		"a\xff\xfe\u009bb\ufffd\n":      "a\\xff\\xfe\\u009bb\ufffd\n",
		"\U000e0041\u202eevil\n":        "\\U000e0041\\u202eevil\n",
		":\u0591:error::x\n":            ":\\u0591:error::x\n",
		"\u0591::error::x\n":            "\\u0591::error::x\n",
		"#\u034f#[error]x\n":            "#\\u034f#[error]x\n",
		"e\u0301 \u05d0\u0591\u05d1\n":  "e\u0301 \u05d0\u0591\u05d1\n",
		"\u00a0\u0591::error::x\n":      "\u00a0\\u0591::error::x\n",
		"x:\u0640:\n":                   "x:\\u0640:\n",
		"⚠\ufe0f 👩\u200d💻\n":            "⚠\ufe0f 👩\u200d💻\n",
		":\ufe0f:error::x\n":            ":\\ufe0f:error::x\n",
		"Käse 日本 🧀\ttab\n":              "Käse 日本 🧀\ttab\n",
		"\n\n":                          "\n\n",
		"":                              "",
		"100%25 %0A::error::x\n":        "100%25 %0A::error::x\n",
	} {
		got := logged(t, func(w *Workflow) { _, _ = io.WriteString(w.Log(), text) })
		if got != want {
			t.Errorf("%q is logged as %q, want %q", text, got, want)
		}
		if c := runnerCommands(got); c != nil {
			t.Errorf("%q is logged as the command %v", text, c)
		}
		bytewise := logged(t, func(w *Workflow) {
			log := w.Log()
			for i := range len(text) {
				_, _ = log.Write([]byte{text[i]})
			}
		})
		if bytewise != got {
			t.Errorf("%q byte by byte is %q, at once %q", text, bytewise, got)
		}
	}
}

// TestHiddenIsWhatCollationOverlooks compares with the tables of Unicode's collation.
func TestHiddenIsWhatCollationOverlooks(t *testing.T) {
	collator := collate.New(language.Und)
	var buffer collate.Buffer
	key := func(s string) string {
		buffer.Reset()
		return string(collator.KeyFromString(&buffer, s))
	}
	marks := map[string]string{}
	for _, mark := range []string{"::", "##[", ":", "##", "#", "#[", "["} {
		marks[key(mark)] = mark
	}
	overlooked := 0
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if r >= 0xD800 && r < 0xE000 {
			continue
		}
		same, ok := marks[key(string(r))]
		for _, text := range []string{":" + string(r) + ":", string(r) + "::", "#" + string(r) + "#["} {
			mark, equal := marks[key(text)]
			if equal {
				overlooked++
			}
			if ok || equal && visible(text) == text {
				t.Errorf("%U in %q is not seen: it equals %q%q", r, text, mark, same)
			}
		}
	}
	if overlooked < 300 {
		t.Errorf("collation overlooks %d characters: these are other tables", overlooked)
	}
}

func TestLogShowsNoSecret(t *testing.T) {
	const secret, other = "s3cret-token", "token-x"
	for _, write := range []func(w *Workflow, log io.Writer){
		func(_ *Workflow, log io.Writer) { _, _ = io.WriteString(log, "a "+secret+" b\n") },
		func(_ *Workflow, log io.Writer) { _, _ = io.WriteString(log, "a s3\x1b[1mcret-token b\n") },
		func(_ *Workflow, log io.Writer) { _, _ = io.WriteString(log, secret) },
		func(w *Workflow, log io.Writer) {
			_, _ = io.WriteString(log, "a s3cre")
			w.Notice(Annotation{Message: "between"})
			_, _ = io.WriteString(log, "t-token b\n")
		},
		func(w *Workflow, log io.Writer) { // the end of one secret is the beginning of another
			_, _ = io.WriteString(log, "a "+secret)
			w.Notice(Annotation{Message: "between"})
			_, _ = io.WriteString(log, " b\n")
		},
		func(_ *Workflow, log io.Writer) {
			_, _ = io.WriteString(log, strings.Repeat("x", MaxLine-5)+secret+strings.Repeat("x", 2*MaxLine-3)+secret)
		},
		func(w *Workflow, _ io.Writer) { w.Group("a " + secret) },
		func(w *Workflow, _ io.Writer) {
			w.Error(Annotation{File: secret, Line: 1, Title: secret, Message: secret + "\n" + secret})
		},
		func(w *Workflow, _ io.Writer) { w.Error(Annotation{File: "/etc/" + secret, Message: "a"}) },
	} {
		mask := ""
		got := logged(t, func(w *Workflow) {
			w.Mask(secret)
			w.Mask(other)
			mask = "::add-mask::" + secret + "\n::add-mask::" + other + "\n"
			write(w, w.Log())
		})
		rest, ok := strings.CutPrefix(got, mask)
		if !ok {
			t.Fatalf("the log begins with %.80q, want the masks", got)
		}
		if strings.Contains(rest, secret) || !strings.Contains(rest, masked) {
			t.Errorf("the log has %.300q", rest)
		}
		if strings.Contains(rest, "s3cret") || strings.Contains(rest, "-token") {
			t.Errorf("the log has a piece of the secret: %.300q", rest)
		}
	}
}

func TestMaskTakesEachLineOfASecret(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nMIGHAgEAMBMG\r\n  kQ==\n\n-----END KEY-----\n"
	got := logged(t, func(w *Workflow) {
		w.Mask(pem)
		w.Mask("ab") // a whole secret may be short
		w.Mask("ab")
		w.Mask("\n ")
		w.Mask(`quo"ted&ok`)
		w.Mask("long")
		w.Mask("longer-secret") // begins with another
		log := w.Log()
		_, _ = fmt.Fprintf(log, "MIGHAgEAMBMG kQ== cab %q quo%%22ted%%26ok longer-secret long\n", `quo"ted&ok`)
	})
	want := "::add-mask::-----BEGIN KEY-----\n::add-mask::MIGHAgEAMBMG\n::add-mask::-----END KEY-----\n::add-mask::ab\n" +
		"::add-mask::quo\"ted&ok\n::add-mask::long\n::add-mask::longer-secret\n*** kQ== c*** \"***\" *** *** ***\n"
	if got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

func TestLinesAreCutAtTheBound(t *testing.T) {
	for n, want := range map[int]int{MaxLine: 1, MaxLine + 1: 2} {
		got := logged(t, func(w *Workflow) { _, _ = io.WriteString(w.Log(), strings.Repeat("x", n)+"\n") })
		if lines := runnerLines(got); len(lines) != want || strings.Join(lines, "") != strings.Repeat("x", n) {
			t.Errorf("%d bytes are %d lines, want %d", n, len(lines), want)
		}
	}
	// The piece behind a cut begins a line: what it begins with may be a command there.
	got := logged(t, func(w *Workflow) { _, _ = io.WriteString(w.Log(), strings.Repeat("x", MaxLine)+"::error::a") })
	if c := runnerCommands(got); c != nil || !strings.HasSuffix(got, "x\n\\::error::a\n") {
		t.Errorf("cut into the command %v: %q", c, got[len(got)-30:])
	}
	text := "x" + strings.Repeat("ü", MaxLine)
	got = logged(t, func(w *Workflow) { _, _ = io.WriteString(w.Log(), text) })
	if strings.ReplaceAll(got, "\n", "") != text {
		t.Error("a character is cut")
	}
}

func TestLogKeepsABoundedLine(t *testing.T) {
	w := New(env(), io.Discard)
	w.Mask("aa")
	log := w.Log()
	for range 64 {
		_, _ = log.Write(bytes.Repeat([]byte("a"), MaxLine/4))
		if n := cap(w.logs[0].line); n > 2*MaxLine {
			t.Fatalf("the log keeps %d bytes", n)
		}
	}
}

func TestTwoStreamsHaveLinesOfTheirOwn(t *testing.T) {
	got := logged(t, func(w *Workflow) {
		stdout, stderr := w.Log(), w.Log()
		_, _ = io.WriteString(stdout, "one ")
		_, _ = io.WriteString(stderr, "two\n")
		_, _ = io.WriteString(stdout, "line\n")
		_, _ = io.WriteString(stdout, "waiting")
		w.Group("title")
		_, _ = io.WriteString(stdout, "\nnext\n")
		w.EndGroup()
	})
	if want := "two\none line\nwaiting\n::group::title\nnext\n::endgroup::\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestABrokenLogIsAnErrorOfFlush(t *testing.T) {
	w := New(env(), brokenPipe{})
	w.Error(Annotation{Message: "a"})
	w.Group("a")
	if n, err := io.WriteString(w.Log(), "a\n"); n != 2 || err != nil {
		t.Errorf("writing to the log: %d, %v", n, err)
	}
	if err := w.Flush(); err == nil || err.Error() != "writing to the step's log: broken pipe" {
		t.Errorf("Flush: %v", err)
	}
}

func TestAnnotations(t *testing.T) {
	for _, c := range []struct {
		a          Annotation
		properties map[string]string
		data       string
	}{
		{Annotation{Message: "a"}, nil, "a"},
		{Annotation{Title: "t"}, map[string]string{"title": "t"}, "t"},
		{Annotation{File: "fledge.toml", Line: 3, Column: 4, Message: "a\nb"}, map[string]string{"file": "fledge.toml", "line": "3", "col": "4"}, "a\nb"},
		{Annotation{File: "/workspace/a/../b/c.toml", Line: 3, Message: "a"}, map[string]string{"file": "b/c.toml", "line": "3"}, "a"},
		{Annotation{File: "./x", Column: 4, Message: "a"}, map[string]string{"file": "x"}, "a"},
		{Annotation{File: "/etc/passwd", Line: 3, Message: "a"}, nil, "/etc/passwd:3: a"},
		{Annotation{File: "/workspace2/x", Message: "a"}, nil, "/workspace2/x: a"},
		{Annotation{File: "../x", Message: "a"}, nil, "../x: a"},
		{
			Annotation{File: "a,line=9::b", Title: "x,y::z%0A\r\nnext", Message: "100%\r::set-output name=a::b"},
			map[string]string{"file": "a,line=9::b", "title": "x,y::z%0A next"},
			"100%\n\\::set-output name=a::b",
		},
	} {
		for name, write := range map[string]func(*Workflow, Annotation){"error": (*Workflow).Error, "warning": (*Workflow).Warning, "notice": (*Workflow).Notice} {
			got := runnerCommands(logged(t, func(w *Workflow) { write(w, c.a) }))
			if len(got) != 1 || got[0].name != name || got[0].data != c.data || fmt.Sprint(got[0].properties) != fmt.Sprint(mapOf(c.properties)) {
				t.Errorf("%+v: the runner hears %q, want %s of %q with %q", c.a, got, name, c.data, c.properties)
			}
		}
	}
}

func mapOf(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func TestMessagesAreCutOnACharacter(t *testing.T) {
	for _, c := range []struct {
		text string
		want int // characters kept, -1 for all
	}{
		{strings.Repeat("a", MaxMessage), -1},
		{strings.Repeat("a", MaxMessage+1), MaxMessage - 1},
		{strings.Repeat("ü", MaxMessage), -1},
		{strings.Repeat("🧀", MaxMessage/2), -1},
		{"a" + strings.Repeat("🧀", MaxMessage/2), MaxMessage/2 - 1 + 1 - 0},
	} {
		data := runnerCommands(logged(t, func(w *Workflow) { w.Error(Annotation{Message: c.text}) }))[0].data
		if c.want < 0 {
			if data != c.text {
				t.Errorf("%d bytes are changed", len(c.text))
			}
			continue
		}
		want := string([]rune(c.text)[:c.want]) + "…"
		if data != want {
			t.Errorf("%d bytes are cut to %d characters, want %d", len(c.text), len([]rune(data)), len([]rune(want)))
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add("a\r::error::x\n##[group]", "secret", uint8(3))
	f.Add(":\u00ad:add-mask::x\x1b[0m", "tok", uint8(1))
	f.Add("#\x1b[0m#[set-output name=a]b", "b", uint8(0))
	f.Fuzz(func(t *testing.T, text, secret string, size uint8) {
		letters := strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return -1
			}
			return r
		}, secret)
		var out bytes.Buffer
		w := New(env(), &out)
		w.Mask(letters)
		out.Reset()
		log := w.Log()
		for piece := range slices.Chunk([]byte(text), int(size)+1) {
			_, _ = log.Write(piece)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if c := runnerCommands(out.String()); c != nil {
			t.Errorf("%q is logged as the command %v", text, c)
		}
		if lines := runnerLines(out.String()); letters != "" && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, letters) }) {
			t.Errorf("%q is logged with the secret %q: %q", text, letters, out.String())
		}
	})
}

func FuzzAnnotation(f *testing.F) {
	f.Add("a,line=1::x", "t,u", "m\r\n::error::##[group]")
	f.Add("/workspace/a=b", "=", "%25%0A")
	f.Fuzz(func(t *testing.T, file, title, message string) {
		got := logged(t, func(w *Workflow) { w.Warning(Annotation{File: file, Line: 7, Title: title, Message: message}) })
		lines := runnerLines(got)
		if len(lines) != 1 {
			t.Fatalf("%d lines: %q", len(lines), got)
		}
		c := runnerCommand(lines[0])
		if c == nil || c.name != "warning" {
			t.Fatalf("%q is the command %v", got, c)
		}
		for name, value := range c.properties {
			if !slices.Contains([]string{"file", "title", "line"}, name) || name == "line" && value != "7" {
				t.Errorf("%q has the property %s=%s", got, name, value)
			}
		}
		if n := len([]rune(c.data)); n > MaxMessage {
			t.Errorf("a message of %d characters", n)
		}
	})
}

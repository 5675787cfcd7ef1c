package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/compare"
)

func TestLsModeIsThatOfLs(t *testing.T) {
	for want, e := range map[string]artifact.Entry{
		"-rw-r--r--": {Type: artifact.File, Mode: 0o644},
		"-rwsr-sr-t": {Type: artifact.File, Mode: 0o7755},
		"-rwSr-Sr-T": {Type: artifact.File, Mode: 0o7644},
		"drwxrwxrwt": {Type: artifact.Dir, Mode: 0o1777},
		"crw-------": {Type: artifact.Char, Mode: 0o600},
		"brw-rw----": {Type: artifact.Block, Mode: 0o660},
		"lrwxrwxrwx": {Type: artifact.Symlink, Mode: 0o777},
		"p---------": {Type: artifact.FIFO},
		"s--x--x--x": {Type: artifact.Socket, Mode: 0o111},
	} {
		if got := lsMode(&e); got != want {
			t.Errorf("%s %04o is shown as %s, want %s", e.Type, e.Mode, got, want)
		}
	}
}

// nasty are names that would work a terminal or pass for something else.
var nasty = []string{"\x1b[2J", "a\nb", "a\tb", "\u202eexe", "\u009bA", "\xff", "\xc3", "\u2028", "\x7f", " a", "a ", "a -> b", `a"b`, `a\b`, "", "\ufffd", "\u00a0x", "\U000e0041"}

func TestShownNamesAreHarmless(t *testing.T) {
	seen := map[string]string{}
	for _, name := range append([]string{"etc/passwd", "a b", "größe", "日本", "-rf", "'q'"}, nasty...) {
		got := shown(name)
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is shown with %q", name, r)
			}
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both shown as %s", name, other, got)
		}
		seen[got] = name
	}
	for _, plain := range []string{"etc/passwd", "a b", "größe", "日本", "-rf", "'q'"} {
		if shown(plain) != plain {
			t.Errorf("%q is shown as %s", plain, shown(plain))
		}
	}
}

func TestJSONIsHarmlessAndComesBack(t *testing.T) {
	for _, name := range nasty {
		text, encoded := text(name)
		b, err := marshal(struct{ Name, Base64 string }{text, encoded}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(b) {
			if r < 0x20 || !unicode.IsPrint(r) {
				t.Errorf("JSON of %q holds %q", name, r)
			}
		}
		var back struct {
			Name   string
			Base64 []byte
		}
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if len(back.Base64) > 0 {
			back.Name = string(back.Base64)
		}
		if back.Name != name {
			t.Errorf("%q comes back as %q", name, back.Name)
		}
	}
}

func TestDifferencesAreCappedAndCounted(t *testing.T) {
	r := &compare.Result{First: &compare.First{Offset: 7, A: "x", B: "x"}}
	for i := range shownDifferences + 5 {
		change := compare.Change{Field: "mode", A: "0644", B: "0600"}
		r.Paths = append(r.Paths, compare.Path{Name: fmt.Sprintf("file %03d", i), Changes: []compare.Change{change}})
		r.Structures = append(r.Structures, compare.Structure{Where: fmt.Sprintf("inode of %d", i), Change: change})
	}
	side := side{name: "a", a: &artifact.Artifact{Archive: &artifact.Archive{}}}
	show := func(n int, all bool) string {
		cut := *r
		cut.Paths, cut.Structures = r.Paths[:n], r.Structures[:n]
		var b strings.Builder
		printDiff(&b, &side, &side, &cut, all)
		return b.String()
	}
	got := show(shownDifferences+5, false)
	for _, want := range []string{"file 099: ", "\n... and 5 more paths; --all shows them\n", "inode of 99: ", "\n... and 5 more fields; --all shows them\n", "paths: 105 differ (mode 105)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "file 100") {
		t.Error("more than the cap is shown")
	}
	for _, got := range []string{show(shownDifferences+5, true), show(shownDifferences, false)} {
		if strings.Contains(got, "more") {
			t.Errorf("capped:\n%s", got)
		}
	}
}

func TestNamesInDifferencesAreHarmless(t *testing.T) {
	side := side{name: "a\x1b", a: &artifact.Artifact{Archive: &artifact.Archive{}}}
	for _, name := range nasty {
		r := &compare.Result{First: &compare.First{A: fmt.Sprintf("data of %q", name)}, Paths: []compare.Path{{Name: name, Only: "a", Type: "file"}}}
		var b strings.Builder
		printDiff(&b, &side, &side, r, false)
		for _, x := range b.String() {
			if x != '\n' && !unicode.IsPrint(x) {
				t.Errorf("%q is shown as %q", name, b.String())
			}
		}
	}
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/volant/fledge-action/internal/testneed"
)

// sameShape compares the scanner's nodes with the decoder's values.
func sameShape(n *node, value any, path string) error {
	if n == nil {
		return fmt.Errorf("%s: no node for %v", path, value)
	}
	if m, ok := value.(map[string]any); ok {
		if n.kind != table || len(n.table) != len(m) || len(n.keys) != len(m) {
			return fmt.Errorf("%s: kind %d with %d keys, want a table of %d", path, n.kind, len(n.keys), len(m))
		}
		for k, v := range m {
			if err := sameShape(n.table[k], v, path+"."+k); err != nil {
				return err
			}
		}
		return nil
	}
	if list, ok := elements(value); ok {
		if n.kind != array || len(n.items) != len(list) {
			return fmt.Errorf("%s: kind %d with %d elements, want an array of %d", path, n.kind, len(n.items), len(list))
		}
		for i, v := range list {
			if err := sameShape(n.items[i], v, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if n.kind != scalar {
		return fmt.Errorf("%s: kind %d for %v", path, n.kind, value)
	}
	return nil
}

// agree: what the decoder reads, the scanner reads in the same shape.
func agree(text []byte) error {
	var values map[string]any
	_, err := toml.Decode(string(text), &values)
	root, stopped := scan(text)
	switch {
	case err != nil || invalidUTF8(text) >= 0 || stopped != nil && stopped.limit:
		return nil
	case stopped != nil:
		return fmt.Errorf("the scanner stops at %d: %w", stopped.offset, stopped)
	}
	return sameShape(root, map[string]any(values), "")
}

var awkward = []string{
	"a.b.c = 1\na.b.d = 2\n[a.x]\ny = 3\n",
	"\"a.b\".'c d'.\"\" = 1\n\"\\u00e9\\t\\\"\\\\\" = 2\n'\\' = 3\n",
	"a = {b = {c = [1, {d = 2}]}, e.f = 3}\n",
	"a = [ # comment ]\n 1, 2, # ,\n [3, 4,],\n]\nb = 1",
	"a = '''\n[x]\nb = 1 # '''' \n'''\nc = 2",
	"a = \"\"\"\\\"\"\" \" \"\" [y] \"\"\"\"\"\nc = 2",
	"a = ''''x'''''\nb = \"\"\"\"\"\"\nc = ''\nd = \"\"\n",
	"[[a]]\nb = 1\n[[a.c]]\nd = 1\n[[a.c]]\n[[a]]\n[a.c]\ne = 1\n",
	"[a]\n[a.b]\nx = 1\n[b]\n [ a . c ] # d\nx = 1\n[[ d . e ]]\n",
	"[a.b.c]\nx=1\n[a]\ny=2\n",
	"a = 1979-05-27 07:32:00Z # x\nb = 07:32:00\nc = [1979-05-27, 1_000 , +inf ]\r\nd = -0.1e+3\r\n",
	"\ta\t=\ttrue\t\t# x\n\n   \r\nb=[]\nc={}\nd={ }\ne=[[],[{}]]\n",
	"a = {\n b = 1, # x\n c = [\n 2\n ],\n}\n",
	bom + "a = 1\n",
	"", "#", "\n", "a = \"\\x41\\e\"\n",
	"1 = 1\n1.2 = 2\n"[:6],
	"3.14 = 1\n",
}

func TestScannerAgreesWithTheDecoder(t *testing.T) {
	read := 0
	for _, text := range awkward {
		if err := agree([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		var v map[string]any
		if _, err := toml.Decode(text, &v); err == nil {
			read++
		}
	}
	if read < len(awkward)-1 {
		t.Errorf("the decoder reads only %d of %d texts, so the others compare nothing", read, len(awkward))
	}
}

// The decoder's own test files are a few hundred valid documents.
func TestScannerAgreesOnTheDecodersTestFiles(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/BurntSushi/toml").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		testneed.Missing(t, "go", "the module's folder is not known")
	}
	files, valid := 0, 0
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".toml" {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err == nil {
			var values map[string]any
			if _, err := toml.Decode(string(text), &values); err == nil {
				valid++
			}
			err = agree(text)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files > 0 && valid < 100 {
		t.Errorf("only %d of %d files are valid TOML, so the others compare nothing", valid, files)
	}
	t.Logf("%d files, %d of them valid", files, valid)
}

func TestSameShapeSeesDifferences(t *testing.T) {
	var values map[string]any
	if _, err := toml.Decode("a = 1\nb = [1, 2]\n[c]\nd = 1\n", &values); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a = 1", "a = 1\nb = [1]\n[c]\nd = 1", "a = [1]\nb = [1, 2]\n[c]\nd = 1", "a = 1\nb = [1, 2]\n[c]\ne = 1", "a = 1\nb = 1\n[c]\nd = 1"} {
		root, stopped := scan([]byte(text))
		if stopped != nil {
			t.Fatal(stopped)
		}
		if sameShape(root, values, "") == nil {
			t.Errorf("%q passes for another document", text)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range awkward {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := agree(text); err != nil {
			t.Error(err)
		}
	})
}

func TestScannerKnowsWhereThingsStand(t *testing.T) {
	text := bom + "a.\"é\" . c = 'x' \r\n[ t.u ]\nl = [\n  1, {k = \"\"\"\n\"\"\", m = 2}]\n[[s]]\n[[s]]\n'x' = 1\n"
	doc, bad := read("f", []byte(text))
	if bad != nil {
		t.Fatal(bad)
	}
	at := func(offset int) Position { return doc.position(offset) }
	get := func(path ...string) *node {
		n := doc.root
		for _, p := range path {
			if n.kind == array {
				n = n.items[p[0]-'0']
			} else {
				n = n.table[p]
			}
		}
		return n
	}
	tests := []struct {
		path       string
		key, value Position
	}{
		{"a", Position{1, 1}, Position{1, 1}},
		{"a é", Position{1, 3}, Position{1, 3}},
		{"a é c", Position{1, 9}, Position{1, 13}},
		{"t", Position{2, 1}, Position{2, 1}},
		{"t u", Position{2, 1}, Position{2, 1}},
		{"t u l", Position{3, 1}, Position{3, 5}},
		{"t u l 0", Position{4, 3}, Position{4, 3}},
		{"t u l 1", Position{4, 6}, Position{4, 6}},
		{"t u l 1 k", Position{4, 7}, Position{4, 11}},
		{"t u l 1 m", Position{5, 6}, Position{5, 10}},
		{"s 0", Position{6, 1}, Position{6, 1}},
		{"s 1", Position{7, 1}, Position{7, 1}},
		{"s 1 x", Position{8, 1}, Position{8, 7}},
	}
	for _, tt := range tests {
		n := get(strings.Fields(tt.path)...)
		if got := at(n.key); got != tt.key {
			t.Errorf("key of %s at %v, want %v", tt.path, got, tt.key)
		}
		if got := at(n.value); got != tt.value {
			t.Errorf("value of %s at %v, want %v", tt.path, got, tt.value)
		}
	}
}

func TestSyntaxErrorsBehindAByteOrderMarkKeepTheirPlace(t *testing.T) {
	for _, start := range []string{"", bom} {
		_, bad := read("f", []byte(start+"a = 1\nb = ?\n"))
		if bad == nil || bad.Line != 2 || bad.Column != 5 {
			t.Errorf("error = %v, want it at 2:5", bad)
		}
	}
	if _, bad := read("f", []byte(bom+"a = ?\n")); bad == nil || bad.Line != 1 || bad.Column != 5 {
		t.Errorf("error = %v, want it at 1:5", bad)
	}
}

func TestATableStandsAtItsOwnHeader(t *testing.T) {
	doc, bad := read("f", []byte("[a.b]\nx = 1\n [a]\ny = 1\n"))
	if bad != nil {
		t.Fatal(bad)
	}
	for name, want := range map[string]Position{"a": {3, 2}, "b": {1, 1}} {
		n := doc.root.table["a"]
		if name == "b" {
			n = n.table["b"]
		}
		if got := doc.position(n.key); got != want {
			t.Errorf("[%s] at %v, want %v", name, got, want)
		}
	}
}

func TestErrorForms(t *testing.T) {
	e := &Error{File: "f", Line: 1, Column: 2, Message: "m"}
	errs := Errors{e, {File: "f", Message: "n"}, {Message: "o"}}
	if got, want := errs.Error(), "f:1:2: m\nf: n\no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if first, ok := errors.AsType[*Error](error(errs)); !ok || first != e {
		t.Errorf("first = %v", first)
	}
}

package runnertest

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPairsAreReadAsTheRunnerReadsThem(t *testing.T) {
	for _, test := range []struct {
		text  string
		pairs []pair
		wrong string
	}{
		{"", nil, ""},
		{"a=b\n\nc=\n", []pair{{"a", "b"}, {"c", ""}}, ""},
		{"a=b<<c\n", []pair{{"a", "b<<c"}}, ""},
		{"=b\n", []pair{{"", "b"}}, ""},
		{"a<<X\nX\n", []pair{{"a", ""}}, ""},
		{"a<<X\n1\r\n2\nX", []pair{{"a", "1\r\n2"}}, ""},
		{"a<<=X\nv\n=X\n", []pair{{"a", "v"}}, ""},
		{"a=1\nb<<X\n X\nX \n", []pair{{"a", "1"}}, "not found"},
		{"<<X\nX\n", nil, "empty"},
		{"a<<\n", nil, "empty"},
		{"a=1\nword\n", []pair{{"a", "1"}}, "invalid format"},
		{"a<<X\nlast line", nil, "not found"},
	} {
		pairs, err := readPairs(test.text)
		if (err != nil) != (test.wrong != "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%q: %v, want %q", test.text, err, test.wrong)
		}
		if diff := cmp.Diff(test.pairs, pairs, cmp.AllowUnexported(pair{})); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
}

func TestCommandsAreReadAsTheRunnerReadsThem(t *testing.T) {
	for line, want := range map[string]*Command{
		"::error::a%25%0Ab%3A":                   {"error", map[string]string{}, "a%\nb%3A"},
		"\t ::ERROR Line=1,=x,y,file=a%2Cb::c":   {"error", map[string]string{"line": "1", "file": "a,b"}, "c"},
		"::error ::::":                           {"error", map[string]string{}, "::"},
		"x ##[group]y":                           {"group", map[string]string{}, "y"},
		"##[warning file=a%3Bb;line=2]c%5D":      {"warning", map[string]string{"file": "a;b", "line": "2"}, "c]"},
		"::nothing::##[error]x":                  {"error", map[string]string{}, "x"},
		"::error":                                nil,
		"a::error::b":                            nil,
		"##[error":                               nil,
		"##[nothing]x":                           nil,
		"::internal-set-repo-path repoFullName=": nil,
	} {
		c, ok := parseCommand(line, known)
		if ok != (want != nil) {
			t.Errorf("%q: a command %v", line, ok)
		} else if ok {
			if diff := cmp.Diff(*want, c); diff != "" {
				t.Errorf("%q: %s", line, diff)
			}
		}
	}
}

func TestLinesAndColumnsThatDoNotGoTogetherAreDropped(t *testing.T) {
	for properties, want := range map[string]Annotation{
		"endLine=3":                   {Line: 3, EndLine: 3},
		"col=2":                       {},
		"line=1,endColumn=4":          {Line: 1, Column: 4, EndCol: 4},
		"line=1,endLine=2,col=3":      {Line: 1, EndLine: 2},
		"line=5,endLine=4":            {},
		"line=1,col=9,endColumn=3":    {Line: 1},
		"line=1,endLine=1,col=2":      {Line: 1, EndLine: 1, Column: 2},
		"line=x,col=1":                {},
		"file=/github/workspace/a/b":  {File: "a/b"},
		"file=/github/workspaces/a/b": {File: "/github/workspaces/a/b"},
	} {
		c, _ := parseCommand("::error "+properties+"::m", known)
		want.Level, want.Message = "error", "m"
		if diff := cmp.Diff(want, annotation(c, func(file string) string { return within("/github/workspace", file) })); diff != "" {
			t.Errorf("%s: %s", properties, diff)
		}
	}
	long, _ := parseCommand("::error::"+strings.Repeat("é", maxMessage+1), known)
	if n := len([]rune(annotation(long, nil).Message)); n != maxMessage {
		t.Errorf("%d characters of a message are kept, want %d", n, maxMessage)
	}
}

func TestLinesEndWhereTheRunnerEndsThem(t *testing.T) {
	r := &Result{}
	(&stream{result: r}).read(&oneByOne{"a\r\nb\rc\n\nd\r"})
	if diff := cmp.Diff([]string{"a", "b", "c", "", "d"}, r.Raw); diff != "" {
		t.Error(diff)
	}
}

// oneByOne gives a text byte by byte, so that \r and \n come apart.
type oneByOne struct{ text string }

func (o *oneByOne) Read(p []byte) (int, error) {
	n := copy(p[:min(1, len(p))], o.text)
	o.text = o.text[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

package gha

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// This file is the runner's half of the protocol, made from its documentation and
// from what it does with a line, a file and a list; none of it uses what it reads from.

// command is what the runner makes of a line.
type command struct {
	name       string
	properties map[string]string
	data       string
}

var commands = []string{
	"stop-commands", "set-env", "set-output", "save-state", "add-mask", "add-path", "add-matcher", "remove-matcher",
	"debug", "warning", "error", "notice", "group", "endgroup", "echo",
}

// runnerLines are the lines of a stream, as .NET's reader has them.
func runnerLines(stream string) []string {
	var lines []string
	for stream != "" {
		i := strings.IndexAny(stream, "\r\n")
		if i < 0 {
			return append(lines, stream)
		}
		lines = append(lines, stream[:i])
		if strings.HasPrefix(stream[i:], "\r\n") {
			i++
		}
		stream = stream[i+1:]
	}
	return lines
}

// overlooked reports whether a comparison by culture takes no notice of r.
func overlooked(r rune) bool {
	return r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.M, r) || strings.ContainsRune("ـߺ᠊᳓ﹳ", r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) ||
		unicode.Is(unicode.Variation_Selector, r))
}

// find is where sub begins and ends in text, with what is overlooked between its
// characters; -1 if it does not.
func find(text []rune, from int, sub string) (int, int) {
	want := []rune(sub)
	for start := from; start < len(text); start++ {
		at, matched := start, 0
		for at < len(text) && matched < len(want) && (text[at] == want[matched] || matched > 0 && overlooked(text[at])) {
			if text[at] == want[matched] {
				matched++
			}
			at++
		}
		if matched == len(want) {
			return start, at
		}
	}
	return -1, -1
}

// runnerCommand is the command that a line is, nil if it is text.
func runnerCommand(line string) *command {
	text := []rune(strings.TrimLeftFunc(line, unicode.IsSpace))
	begin := 0
	for begin < len(text) && overlooked(text[begin]) {
		begin++
	}
	if start, end := find(text, begin, "::"); start >= 0 && start == begin {
		if close, after := find(text, end, "::"); close >= 0 {
			unescape := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
			if c := newCommand(string(text[end:close]), ",", unescape); c != nil {
				c.data = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(string(text[after:]))
				return c
			}
		}
	}
	text = []rune(line)
	if start, end := find(text, 0, "##["); start >= 0 {
		if close, after := find(text, end, "]"); close >= 0 {
			unescape := strings.NewReplacer("%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%25", "%")
			if c := newCommand(string(text[end:close]), ";", unescape); c != nil {
				c.data = unescape.Replace(string(text[after:]))
				return c
			}
		}
	}
	return nil
}

func newCommand(info, separator string, unescape *strings.Replacer) *command {
	name, properties, _ := strings.Cut(info, " ")
	if !slices.ContainsFunc(commands, func(c string) bool { return strings.EqualFold(c, strings.TrimFunc(name, overlooked)) }) {
		return nil
	}
	c := &command{name: strings.ToLower(name), properties: map[string]string{}}
	for _, property := range strings.Split(strings.TrimSpace(properties), separator) {
		if key, value, ok := strings.Cut(property, "="); ok && key != "" && value != "" {
			c.properties[key] = unescape.Replace(value)
		}
	}
	return c
}

// runnerCommands are the commands of a stream.
func runnerCommands(stream string) []command {
	var all []command
	for _, line := range runnerLines(stream) {
		if c := runnerCommand(line); c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// pair is one entry of a file of names and values.
type pair struct{ name, value string }

// runnerFile reads a file of names and values, as the runner does after a step.
func runnerFile(text string) ([]pair, error) {
	var pairs []pair
	next := func() (line, end string, ok bool) {
		if text == "" {
			return "", "", false
		}
		line, rest, found := strings.Cut(text, "\n")
		text = rest
		if !found {
			return line, "", true
		}
		return line, "\n", true
	}
	for {
		line, _, ok := next()
		if !ok {
			return pairs, nil
		}
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			pairs = append(pairs, pair{line[:equals], line[equals+1:]})
		case heredoc < 0:
			return pairs, fmt.Errorf("invalid format %q", line)
		default:
			name, delimiter := line[:heredoc], line[heredoc+2:]
			if name == "" || delimiter == "" {
				return pairs, fmt.Errorf("no name or delimiter: %q", line)
			}
			var value strings.Builder
			for {
				l, end, ok := next()
				if !ok {
					return pairs, fmt.Errorf("matching delimiter %q not found", delimiter)
				}
				if l == delimiter {
					break
				}
				value.WriteString(l + end)
			}
			pairs = append(pairs, pair{name, strings.TrimSuffix(value.String(), "\n")})
		}
	}
}

var (
	scheme    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	container = regexp.MustCompile(`^.+@sha(256|384|512):[0-9a-fA-F]+$`)
)

// runnerArtifacts reads a list of artifacts: names of files below the workspace.
func runnerArtifacts(text string) ([]string, error) {
	if len(text) > 1<<20 {
		return nil, errors.New("more than 1 MiB")
	}
	var files []string
	for _, line := range runnerLines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.Contains(line, "="):
			return nil, fmt.Errorf("%q: '=' is reserved", line)
		case scheme.MatchString(line) || container.MatchString(line) || strings.HasPrefix(line, "/"):
			return nil, fmt.Errorf("%q is no path below the workspace", line)
		default:
			files = append(files, line)
		}
	}
	if len(files) > 500 {
		return nil, errors.New("more than 500 lines")
	}
	return files, nil
}

func TestRunnerHearsCommands(t *testing.T) {
	for line, want := range map[string]string{
		"::error::a":                  "error",
		" \t\u3000::error::a":         "error",
		"::ERROR file=a,line=1::b":    "error",
		"::err\u00ador::a":            "",
		":\u00ad:error::a":            "error",
		"\u200b::error::a":            "error",
		"\x00::error::a":              "error",
		"x ##[error]a":                "error",
		"x #\u200d#[add-mask]a":       "add-mask",
		"##[Group name=1;b=2]a":       "group",
		"x ::error::a":                "",
		"::nothing::a":                "",
		"::error a":                   "",
		"## [error]a":                 "",
		"std::vec::Vec":               "",
		"::nothing:: ##[set-output]a": "set-output",
	} {
		got := ""
		if c := runnerCommand(line); c != nil {
			got = c.name
		}
		if got != want {
			t.Errorf("%q is command %q, want %q", line, got, want)
		}
	}
	if got := runnerLines("a\rb\r\nc\n\n\r\rd"); !slices.Equal(got, []string{"a", "b", "c", "", "", "", "d"}) {
		t.Errorf("lines %q", got)
	}
}

package runnertest

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Command is a line of the log that the runner obeyed.
type Command struct {
	Name       string            // in lower case
	Properties map[string]string // by their names in lower case
	Data       string
}

// An Annotation is what the runner shows at a file of the repository.
type Annotation struct {
	Level   string // error, warning or notice
	File    string // relative to the workspace; a path elsewhere stays as it is
	Line    int    // 0 for none, as in the following
	EndLine int
	Column  int
	EndCol  int
	Title   string
	Message string // at most 4096 characters
}

// known are the commands that a runner obeys; all others are text.
var known = []string{
	"set-env", "set-output", "save-state", "add-mask", "add-path", "add-matcher", "remove-matcher",
	"debug", "warning", "error", "notice", "group", "endgroup", "echo", "stop-commands",
}

// maxMessage is how many characters of an annotation the runner keeps.
const maxMessage = 4096

// A replacement of escapes; the order is the runner's, "%25" last.
var (
	dataEscapes     = []string{"%0D", "\r", "%0A", "\n", "%25", "%"}
	propertyEscapes = []string{"%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%"}
	oldEscapes      = []string{"%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%25", "%"}
)

func unescape(text string, escapes []string) string {
	for pair := range slices.Chunk(escapes, 2) {
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}

// parseCommand reads a line in either of the two forms, "::name k=v,k=v::data" after
// white space alone, and "##[name k=v;k=v]data" anywhere. A name that is not in names
// makes it no command.
func parseCommand(line string, names []string) (Command, bool) {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " \t\v\f\u0085\u00a0"), "::"); ok {
		if info, data, ok := strings.Cut(rest, "::"); ok {
			if c, ok := parseInfo(info, ",", propertyEscapes, names); ok {
				c.Data = unescape(data, dataEscapes)
				return c, true
			}
		}
	}
	if _, rest, ok := strings.Cut(line, "##["); ok {
		if info, data, ok := strings.Cut(rest, "]"); ok {
			if c, ok := parseInfo(info, ";", oldEscapes, names); ok {
				c.Data = unescape(data, oldEscapes)
				return c, true
			}
		}
	}
	return Command{}, false
}

func parseInfo(info, separator string, escapes, names []string) (Command, bool) {
	name, properties, _ := strings.Cut(info, " ")
	name = strings.ToLower(name)
	if !slices.Contains(names, name) {
		return Command{}, false
	}
	c := Command{Name: name, Properties: map[string]string{}}
	for property := range strings.SplitSeq(strings.TrimSpace(properties), separator) {
		if key, value, ok := strings.Cut(property, "="); ok && key != "" && value != "" {
			c.Properties[strings.ToLower(key)] = unescape(value, escapes)
		}
	}
	return c, true
}

// annotation is what a command "error", "warning" or "notice" becomes. relative makes
// the path of a container one of the repository.
func annotation(c Command, relative func(string) string) Annotation {
	number := func(key string) int {
		n, err := strconv.Atoi(strings.TrimSpace(c.Properties[key]))
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	a := Annotation{
		Level: c.Name, Title: c.Properties["title"], Message: c.Data,
		Line: number("line"), EndLine: number("endline"), Column: number("col"), EndCol: number("endcolumn"),
	}
	if file := c.Properties["file"]; file != "" {
		a.File = relative(file)
	}
	if runes := []rune(a.Message); len(runes) > maxMessage {
		a.Message = string(runes[:maxMessage])
	}
	a.settle()
	return a
}

// settle drops lines and columns that do not go together.
func (a *Annotation) settle() {
	a.Line = cmp.Or(a.Line, a.EndLine)
	a.Column = cmp.Or(a.Column, a.EndCol)
	if a.Line == 0 || a.EndLine != 0 && a.EndLine != a.Line || a.EndCol != 0 && a.EndCol < a.Column {
		a.Column, a.EndCol = 0, 0
	}
	if a.EndLine != 0 && a.EndLine < a.Line {
		a.Line, a.EndLine = 0, 0
	}
}

// within gives the path of a file below the folder dir relative to it.
func within(dir, file string) string {
	clean := path.Clean(file)
	if below, ok := strings.CutPrefix(clean, dir+"/"); ok {
		return below
	}
	return file
}

package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a configuration file. They are checked before the TOML decoder runs,
// whose cost grows with the square of the depth.
const (
	MaxSize  = 1 << 20 // bytes of the file
	MaxDepth = 32      // nested tables, arrays and parts of a dotted key
	MaxItems = 20000   // keys, table headers and array elements
)

// A node is where one key, table or array element stands. The decoder knows the
// values and, for syntax errors only, positions; the scanner knows the positions.
type node struct {
	key   int // offset of the key, or of the "[" of the table's header
	value int // offset of the value; key for tables made by a header
	kind  kind
	keys  []string         // of a table, in the order of the file
	table map[string]*node // members of a table
	items []*node          // elements of an array
}

type kind byte

const (
	scalar kind = iota
	table
	array
)

// A scanError is where the scanner had to stop.
type scanError struct {
	offset int
	reason string
	limit  bool // a bound was passed; otherwise the text is not TOML
}

func (e *scanError) Error() string { return e.reason }

// scan finds the position of everything in a TOML text. It accepts all of TOML
// 1.1 and more: that names, numbers and dates are valid, and nothing is defined
// twice, is left to the decoder, which reads the same text afterwards.
func scan(text []byte) (*node, *scanError) {
	s := &scanner{text: text}
	root := &node{kind: table}
	if err := s.document(root); err != nil {
		return root, err
	}
	return root, nil
}

type scanner struct {
	text  []byte
	pos   int
	items int
}

func (s *scanner) document(root *node) *scanError {
	if bytes.HasPrefix(s.text, []byte("\xef\xbb\xbf")) {
		s.pos = 3
	}
	current := root
	for {
		s.blank()
		if s.pos >= len(s.text) {
			return nil
		}
		var err *scanError
		if s.text[s.pos] == '[' {
			current, err = s.header(root)
		} else {
			err = s.keyValue(current, 0)
		}
		if err == nil {
			err = s.endOfLine()
		}
		if err != nil {
			return err
		}
	}
}

func (s *scanner) stop(format string, args ...any) *scanError {
	return &scanError{offset: s.pos, reason: fmt.Sprintf(format, args...)}
}

func (s *scanner) bound(at int, format string, args ...any) *scanError {
	return &scanError{offset: at, reason: fmt.Sprintf(format, args...), limit: true}
}

func (s *scanner) peek(prefix string) bool {
	return bytes.HasPrefix(s.text[s.pos:], []byte(prefix))
}

func (s *scanner) space() {
	for s.pos < len(s.text) && (s.text[s.pos] == ' ' || s.text[s.pos] == '\t') {
		s.pos++
	}
}

func (s *scanner) comment() {
	if s.peek("#") {
		if end := bytes.IndexByte(s.text[s.pos:], '\n'); end >= 0 {
			s.pos += end
		} else {
			s.pos = len(s.text)
		}
	}
}

// blank skips spaces, comments and line ends.
func (s *scanner) blank() {
	for start := -1; start != s.pos; {
		start = s.pos
		s.space()
		s.comment()
		if s.peek("\n") || s.peek("\r\n") {
			s.pos++
		}
	}
}

func (s *scanner) endOfLine() *scanError {
	s.space()
	s.comment()
	if s.pos < len(s.text) && !s.peek("\n") && !s.peek("\r\n") {
		return s.stop("expected the end of the line")
	}
	return nil
}

// count keeps the number of items below its bound.
func (s *scanner) count(at int) *scanError {
	if s.items++; s.items > MaxItems {
		return s.bound(at, "more than %d keys and array elements", MaxItems)
	}
	return nil
}

// header reads "[a.b]" or "[[a.b]]" and returns the table that it opens.
func (s *scanner) header(root *node) (*node, *scanError) {
	at := s.pos
	closing := "]"
	if s.peek("[[") {
		closing = "]]"
	}
	s.pos += len(closing)
	path, _, err := s.path(0)
	if err != nil {
		return nil, err
	}
	if !s.peek(closing) {
		return nil, s.stop("expected %q", closing)
	}
	s.pos += len(closing)
	if err := s.count(at); err != nil {
		return nil, err
	}
	parent := root
	for _, name := range path[:len(path)-1] {
		parent = parent.open(name, at)
	}
	last := path[len(path)-1]
	if closing == "]" {
		t := parent.open(last, at)
		t.key, t.value = at, at
		return t, nil
	}
	return parent.appendTable(last, at), nil
}

// open returns the table name of n, made at offset at if it is not there. In a
// list of tables it is the last one, as TOML has it.
func (n *node) open(name string, at int) *node {
	m := n.member(name, at)
	if m.kind == array && len(m.items) > 0 {
		m = m.items[len(m.items)-1]
	}
	m.kind = table
	return m
}

func (n *node) appendTable(name string, at int) *node {
	list := n.member(name, at)
	list.kind = array
	t := &node{key: at, value: at, kind: table}
	list.items = append(list.items, t)
	return t
}

// member returns the node of key name in n, made if it is not there.
func (n *node) member(name string, at int) *node {
	if m := n.table[name]; m != nil {
		return m
	}
	if n.table == nil {
		n.table = map[string]*node{}
	}
	m := &node{key: at, value: at}
	n.table[name] = m
	n.keys = append(n.keys, name)
	return m
}

// path reads a dotted key and the space behind it, and returns its parts with
// their offsets. depth is what surrounds it.
func (s *scanner) path(depth int) (names []string, at []int, err *scanError) {
	for {
		s.space()
		start := s.pos
		if depth+len(names) >= MaxDepth {
			return nil, nil, s.bound(start, "nested more than %d levels deep", MaxDepth)
		}
		name, err := s.simpleKey()
		if err != nil {
			return nil, nil, err
		}
		names, at = append(names, name), append(at, start)
		s.space()
		if !s.peek(".") {
			return names, at, nil
		}
		s.pos++
	}
}

func (s *scanner) simpleKey() (string, *scanError) {
	start := s.pos
	switch {
	case s.peek(`"`):
		if err := s.quoted('"'); err != nil {
			return "", err
		}
		return unescape(string(s.text[start+1 : s.pos-1])), nil
	case s.peek("'"):
		if err := s.quoted('\''); err != nil {
			return "", err
		}
		return string(s.text[start+1 : s.pos-1]), nil
	}
	for s.pos < len(s.text) && isBareKey(s.text[s.pos]) {
		s.pos++
	}
	if s.pos == start {
		return "", s.stop("expected a key")
	}
	return string(s.text[start:s.pos]), nil
}

func isBareKey(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// quoted skips a string of one line that is quoted by quote.
func (s *scanner) quoted(quote byte) *scanError {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '\n':
			return s.stop("a string ends at the end of its line")
		case c == '\\' && quote == '"':
			s.pos++
		case c == quote:
			s.pos++
			return nil
		}
	}
	s.pos = len(s.text)
	return s.stop("a string has no end")
}

// multiline skips a string between three quotes each, to which up to two more of
// the content may stick at the end.
func (s *scanner) multiline(quote string) *scanError {
	for s.pos += 3; s.pos < len(s.text); s.pos++ {
		switch {
		case s.text[s.pos] == '\\' && quote == `"`:
			s.pos++
		case s.peek(quote + quote + quote):
			s.pos += 3
			for range 2 {
				if s.peek(quote) {
					s.pos++
				}
			}
			return nil
		}
	}
	s.pos = len(s.text)
	return s.stop("a string has no end")
}

// keyValue reads "a.b = value" into the table t.
func (s *scanner) keyValue(t *node, depth int) *scanError {
	names, at, err := s.path(depth)
	if err != nil {
		return err
	}
	if !s.peek("=") {
		return s.stop("expected '=' after a key")
	}
	s.pos++
	if err := s.count(at[0]); err != nil {
		return err
	}
	for i, name := range names[:len(names)-1] {
		t = t.open(name, at[i])
	}
	last := len(names) - 1
	n := t.member(names[last], at[last])
	s.space()
	return s.value(n, depth+len(names))
}

func (s *scanner) value(n *node, depth int) *scanError {
	n.value = s.pos
	switch {
	case s.peek("["):
		return s.array(n, depth+1)
	case s.peek("{"):
		return s.inlineTable(n, depth)
	case s.peek(`"""`):
		return s.multiline(`"`)
	case s.peek("'''"):
		return s.multiline("'")
	case s.peek(`"`):
		return s.quoted('"')
	case s.peek("'"):
		return s.quoted('\'')
	}
	for s.pos < len(s.text) && strings.IndexByte(",]}#\r\n", s.text[s.pos]) < 0 {
		s.pos++
	}
	if s.pos == n.value {
		return s.stop("expected a value")
	}
	return nil
}

func (s *scanner) array(n *node, depth int) *scanError {
	if depth > MaxDepth {
		return s.bound(s.pos, "nested more than %d levels deep", MaxDepth)
	}
	n.kind = array
	return s.list('[', ']', func() *scanError {
		item := &node{key: s.pos}
		n.items = append(n.items, item)
		if err := s.count(s.pos); err != nil {
			return err
		}
		return s.value(item, depth)
	})
}

// inlineTable adds no level by itself: the keys in it do.
func (s *scanner) inlineTable(n *node, depth int) *scanError {
	n.kind = table
	return s.list('{', '}', func() *scanError { return s.keyValue(n, depth) })
}

// list reads elements with commas between them, the last one optional.
func (s *scanner) list(open, end byte, element func() *scanError) *scanError {
	s.pos++
	for {
		s.blank()
		if s.peek(string(end)) {
			s.pos++
			return nil
		}
		if err := element(); err != nil {
			return err
		}
		s.blank()
		switch {
		case s.peek(","):
			s.pos++
		case !s.peek(string(end)):
			return s.stop("expected ',' or %q after what %q began", end, open)
		}
	}
}

// unescape decodes the escapes of a basic string. What is not an escape stays.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found || after == "" {
			return b.String()
		}
		if i := strings.IndexByte(`btnfre"\`, after[0]); i >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[i])
			s = after[1:]
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[after[0]]
		if digits == 0 || len(after) <= digits {
			b.WriteByte('\\')
			s = after
			continue
		}
		code, err := strconv.ParseUint(after[1:1+digits], 16, 32)
		if err != nil {
			code = utf8.RuneError
		}
		b.WriteRune(rune(code))
		s = after[1+digits:]
	}
}

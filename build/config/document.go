package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

const bom = "\xef\xbb\xbf"

// A document is a TOML text with its values, which the TOML decoder found, and
// their places, which the scanner found.
type document struct {
	file   string
	text   []byte
	lines  []int // offset of each line
	root   *node
	values map[string]any
}

// read parses text. file names it in the error.
func read(file string, text []byte) (*document, *Error) {
	d := &document{file: file, text: text, lines: []int{0}}
	if len(text) > MaxSize {
		return nil, d.errorf(0, "", "the file has more than %d bytes, which is the limit", MaxSize)
	}
	for i, c := range text {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	if i := invalidUTF8(text); i >= 0 {
		return nil, d.errorf(i, "", "not UTF-8")
	}
	if i := controlCharacter(text); i >= 0 {
		return nil, d.errorf(i, "", "the control character %U, which TOML does not allow", text[i])
	}
	root, stopped := scan(text)
	if stopped != nil && stopped.limit {
		return nil, d.errorf(stopped.offset, "", "%s", stopped.reason)
	}
	d.root = root
	if stopped != nil {
		// Not TOML. The decoder explains it better, but must not be led into a
		// depth that was not measured: it gets little more than was scanned.
		const glance = 256
		text = text[:min(stopped.offset+glance, len(text))]
	}
	_, err := toml.Decode(string(text), &d.values)
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, d.syntaxError(pe)
	}
	if err != nil {
		return nil, d.errorf(0, "", "%v", err)
	}
	if stopped != nil {
		return nil, d.errorf(stopped.offset, "", "%s", stopped.reason)
	}
	return d, nil
}

func (d *document) syntaxError(pe toml.ParseError) *Error {
	at := pe.Position.Start
	if strings.HasPrefix(string(d.text), bom) {
		at += len(bom) // the decoder does not count it
	}
	message := strings.TrimSuffix(pe.Message, ".")
	if r, n := utf8.DecodeRuneInString(message); unicode.IsUpper(r) && !strings.HasPrefix(message, "TOML") {
		message = string(unicode.ToLower(r)) + message[n:]
	}
	return d.errorf(at, "", "%s", message)
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// controlCharacter finds a character that is allowed nowhere in a TOML text, not
// even in comments: all controls but tabs and line ends.
func controlCharacter(text []byte) int {
	for i, c := range text {
		switch {
		case c == '\t', c == '\n', c == '\r' && i+1 < len(text) && text[i+1] == '\n':
		case c < 0x20, c == 0x7f:
			return i
		}
	}
	return -1
}

// position converts an offset; one past the end stands for the end.
func (d *document) position(offset int) Position {
	offset = min(max(offset, 0), len(d.text))
	for offset < len(d.text) && !utf8.RuneStart(d.text[offset]) && offset > 0 {
		offset-- // the decoder may point into a character
	}
	line := sort.SearchInts(d.lines, offset+1) - 1
	before := strings.TrimPrefix(string(d.text[d.lines[line]:offset]), bom)
	return Position{Line: line + 1, Column: utf8.RuneCountInString(before) + 1}
}

func (d *document) errorf(offset int, key, format string, args ...any) *Error {
	p := d.position(offset)
	return &Error{File: d.file, Line: p.Line, Column: p.Column, Key: key, Message: fmt.Sprintf(format, args...)}
}

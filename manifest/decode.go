package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest manifest that Decode reads, in bytes.
const MaxSize = 1 << 20

// MaxProblems is how many problems Decode tells of; further ones are passed over.
const MaxProblems = 100

// A DecodeError is one thing that [Decode] refuses.
type DecodeError struct {
	Line, Column int    // where, from 1; columns count characters
	Key          string // key as JoinKey writes it, "" for the manifest as a whole
	Unknown      bool   // there is no such key
	Message      string
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

// Decode reads one manifest. It checks form, not sense: required keys may be
// missing, which [Manifest.Validate] reports.
//
// The error joins one [*DecodeError] for each of the first [MaxProblems]; after a syntax error
// nothing more is looked at. Empty maps and lists are decoded as nil, so that a
// manifest equals what [Manifest.Encode] writes of it.
func Decode(r io.Reader) (*Manifest, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("reading manifest: more than %d bytes", MaxSize)
	}
	if err := checkForm(data); err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("decoding manifest: %w", err)
	}
	m.dropEmpty()
	return m, nil
}

// A Place is where something stands in a text, counted from 1; columns count
// characters.
type Place struct{ Line, Column int }

// Places tells where the value of each key stands in a text that [Decode] reads
// without an error. Keys are written as by [JoinKey].
func Places(data []byte) map[string]Place {
	type value struct {
		key    string
		offset int
	}
	var values []value // in the order of their offsets
	f := newFormer(data)
	f.seen = func(path []string, offset int) { values = append(values, value{JoinKey(path...), offset}) }
	_ = f.value(reflect.TypeFor[Manifest](), nil) // which Decode has found to be right
	places := make(map[string]Place, len(values))
	at, p := 0, Place{Line: 1, Column: 1}
	for _, v := range values {
		between := data[at:v.offset]
		if end := bytes.LastIndexByte(between, '\n'); end >= 0 {
			p.Line += bytes.Count(between, []byte("\n"))
			p.Column, between = 1, between[end+1:]
		}
		p.Column += utf8.RuneCount(between)
		at, places[v.key] = v.offset, p
	}
	return places
}

func (m *Manifest) dropEmpty() {
	if len(m.Labels) == 0 {
		m.Labels = nil
	}
	if len(m.Workload.Env) == 0 {
		m.Workload.Env = nil
	}
	if len(m.Workload.Entrypoint) == 0 {
		m.Workload.Entrypoint = nil
	}
	if len(m.Actions) == 0 {
		m.Actions = nil
	}
	if len(m.Disks) == 0 {
		m.Disks = nil
	}
	if d := m.Devices; d != nil && len(d.PCIPassthrough) == 0 {
		d.PCIPassthrough = nil
	}
	if d := m.Devices; d != nil && len(d.Allowlist) == 0 {
		d.Allowlist = nil
	}
}

// A former compares the tokens of a JSON text with a Go type. encoding/json
// itself matches names without regard to case, takes the last of repeated keys
// and ignores null, none of which an exact reader may do.
type former struct {
	data []byte
	dec  *json.Decoder
	errs []error

	seen func(path []string, offset int) // is told of every value, if not nil
}

func newFormer(data []byte) *former {
	f := &former{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	f.dec.UseNumber()
	return f
}

func checkForm(data []byte) error {
	f := newFormer(data)
	if bad := firstInvalid(data); bad >= 0 {
		f.fail(bad, nil, "not UTF-8")
		return f.errs[0]
	}
	// This finds every syntax error, data after the manifest among them, and
	// limits the depth, so that the tokens below can be taken as they come.
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		f.syntax(err)
		return f.errs[0]
	}
	if err := f.value(reflect.TypeFor[Manifest](), nil); err != nil {
		f.syntax(err)
	}
	return errors.Join(f.errs...)
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// value reads one value of type t at path.
func (f *former) value(t reflect.Type, path []string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	at := f.next()
	if f.seen != nil {
		f.seen(path, at)
	}
	tok, err := f.dec.Token()
	if err != nil {
		return err
	}
	if !fits(tok, t) {
		f.fail(at, path, fmt.Sprintf("%s is %s, want %s", f.label(path), tokenName(tok), typeName(t)))
		return f.skip(tok)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return f.object(t, path)
	case reflect.Slice:
		return f.array(t, path)
	}
	return nil
}

func (f *former) object(t reflect.Type, path []string) error {
	seen := map[string]bool{}
	for f.dec.More() {
		at := f.next()
		tok, err := f.dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		sub := append(path[:len(path):len(path)], name)
		elem, known := member(t, name)
		switch {
		case seen[name]:
			f.fail(at, sub, fmt.Sprintf("key %q is repeated", JoinKey(sub...)))
		case !known:
			f.fail(at, sub, fmt.Sprintf("unknown key %q", JoinKey(sub...))).Unknown = true
		}
		seen[name] = true
		if !known {
			err = f.skipValue()
		} else {
			err = f.value(elem, sub)
		}
		if err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

func (f *former) array(t reflect.Type, path []string) error {
	for i := 0; f.dec.More(); i++ {
		if err := f.value(t.Elem(), append(path[:len(path):len(path)], index(i))); err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

// member returns the type of t's key name.
func member(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for i := range t.NumField() {
		if jsonName(t.Field(i)) == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func (f *former) skipValue() error {
	tok, err := f.dec.Token()
	if err != nil {
		return err
	}
	return f.skip(tok)
}

// skip reads the rest of the value that began with tok.
func (f *former) skip(tok json.Token) error {
	for depth := 0; ; {
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if tok, err = f.dec.Token(); err != nil {
			return err
		}
	}
}

func fits(tok json.Token, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return tok == json.Delim('{')
	case reflect.Slice:
		return tok == json.Delim('[')
	case reflect.Int:
		n, ok := tok.(json.Number)
		if !ok {
			return false
		}
		_, err := strconv.ParseInt(n.String(), 10, strconv.IntSize)
		return err == nil
	case reflect.Bool:
		_, ok := tok.(bool)
		return ok
	default:
		_, ok := tok.(string)
		return ok
	}
}

func tokenName(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case json.Delim:
		if v == '{' {
			return "an object"
		}
		return "an array"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	default:
		return fmt.Sprintf("the number %v", v)
	}
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a string"
	}
}

func (f *former) label(path []string) string {
	if len(path) == 0 {
		return "the manifest"
	}
	return strconv.Quote(JoinKey(path...))
}

// next is the offset of the next token.
func (f *former) next() int {
	at := int(f.dec.InputOffset())
	for at < len(f.data) && strings.IndexByte(" \t\r\n:,", f.data[at]) >= 0 {
		at++
	}
	return at
}

func (f *former) syntax(err error) {
	at := len(f.data)
	var se *json.SyntaxError
	if errors.As(err, &se) && se.Offset > 0 {
		at = int(se.Offset) - 1
	}
	f.fail(at, nil, err.Error())
}

// fail notes a problem, whose fields the caller may add to.
func (f *former) fail(at int, path []string, message string) *DecodeError {
	if len(f.errs) == MaxProblems {
		return new(DecodeError)
	}
	before := f.data[:min(max(at, 0), len(f.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	e := &DecodeError{Line: line, Column: column, Key: JoinKey(path...), Message: message}
	f.errs = append(f.errs, e)
	return e
}

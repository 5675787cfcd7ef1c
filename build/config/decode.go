package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/volant/fledge-action/manifest"
)

// A field is one key of a table, as its struct tags describe it.
type field struct {
	name string
	tag  reflect.StructTag
	typ  reflect.Type
	pos  int // in the struct
}

// fields returns the keys of a struct type in the order of its fields. Types of
// package manifest name theirs by their json tags.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("toml")
		if !ok {
			name = f.Tag.Get("json")
		}
		name, _, _ = strings.Cut(name, ",")
		if f.IsExported() && name != "" && name != "-" {
			all = append(all, field{name: name, tag: f.Tag, typ: f.Type, pos: i})
		}
	}
	return all
}

// A custom type reads values of more than one form.
type custom interface {
	decodeTOML(d *decoder, n *node, value any, path []string)
}

// A decoder fills a struct from a document and gathers every problem on the way.
type decoder struct {
	doc    *document
	root   reflect.Type // what the document is decoded into
	known  []string     // its keys, for suggestions
	places Places       // of every known key that the document has
	errs   Errors
}

// decode fills the struct that v points to, defaults first.
func decode(doc *document, v any) *decoder {
	target := reflect.ValueOf(v).Elem()
	d := &decoder{doc: doc, root: target.Type(), known: knownKeys(target.Type()), places: Places{}}
	setDefaults(target)
	d.table(target, doc.root, doc.values, nil)
	return d
}

// Decode reads a TOML text into the struct that v points to, as strictly as [Parse]
// reads a fledge.toml: the struct's tags say which keys there are, an unknown key
// is an error, and every error has its place. What was right is in v even when
// something else was not. The error is [Errors].
func Decode(file string, text []byte, v any) (Places, error) {
	doc, bad := read(file, text)
	if bad != nil {
		return nil, Errors{bad}
	}
	d := decode(doc, v)
	if len(d.errs) > 0 {
		return d.places, d.errs.sorted()
	}
	return d.places, nil
}

// Places are where a file gives its keys; tables at their header.
type Places map[string]Position

// Of is where the file gives key, or the nearest table around it; the beginning
// of the file when it has neither.
func (p Places) Of(key string) Position {
	for path := manifest.SplitKey(key); len(path) > 0; path = path[:len(path)-1] {
		if at, ok := p[manifest.JoinKey(path...)]; ok {
			return at
		}
	}
	return Position{Line: 1, Column: 1}
}

func (d *decoder) fail(offset int, path []string, format string, args ...any) {
	d.errs = append(d.errs, d.doc.errorf(offset, manifest.JoinKey(path...), format, args...))
}

func (d *decoder) mark(offset int, path []string) {
	d.places[manifest.JoinKey(path...)] = d.doc.position(offset)
}

// setDefaults fills in the defaults that do not depend on anything else.
func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		def, ok := f.tag.Lookup("default")
		switch target := v.Field(f.pos); {
		case f.typ.Kind() == reflect.Struct:
			setDefaults(target)
		case !ok:
		case f.typ.Kind() == reflect.String:
			target.SetString(def)
		case f.typ.Kind() == reflect.Int:
			n, err := strconv.Atoi(def)
			if err != nil {
				panic("config: default of " + f.name + " is no number") // a mistake in this package's tags
			}
			target.SetInt(int64(n))
		case f.typ.Kind() == reflect.Bool:
			target.SetBool(def == "true")
		}
	}
}

func join(path []string, name string) []string {
	return append(path[:len(path):len(path)], name)
}

func (d *decoder) table(v reflect.Value, n *node, values map[string]any, path []string) {
	byName := map[string]field{}
	for _, f := range fields(v.Type()) {
		byName[f.name] = f
	}
	for _, name := range n.keys {
		sub, member := join(path, name), n.table[name]
		f, ok := byName[name]
		if !ok {
			d.unknown(member, sub)
			continue
		}
		d.mark(member.value, sub)
		d.value(v.Field(f.pos), f.tag, member, values[name], sub)
	}
	for _, f := range fields(v.Type()) {
		if f.tag.Get("required") == "true" && n.table[f.name] == nil {
			d.fail(n.key, join(path, f.name), "missing key %q%s", manifest.JoinKey(join(path, f.name)...), d.misplaced(path, f.name))
		}
	}
}

// value decodes one value into v.
func (d *decoder) value(v reflect.Value, tag reflect.StructTag, n *node, value any, path []string) {
	if c, ok := v.Addr().Interface().(custom); ok {
		c.decodeTOML(d, n, value, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(v.Elem(), tag, n, value, path)
	case reflect.Struct:
		if m, ok := d.wantTable(n, value, path); ok {
			d.table(v, n, m, path)
		}
	case reflect.Map:
		d.mapOf(v, tag, n, value, path)
	case reflect.Slice:
		d.listOf(v, tag, n, value, path)
	case reflect.String:
		if s, ok := d.wantString(n, value, path); ok && d.checkString(s, tag, n, path) {
			v.SetString(s)
		}
	case reflect.Int:
		d.integer(v, tag, n, value, path)
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			v.SetBool(b)
		} else {
			d.wrongType(n, path, "true or false", value)
		}
	}
}

func (d *decoder) mapOf(v reflect.Value, tag reflect.StructTag, n *node, value any, path []string) {
	m, ok := d.wantTable(n, value, path)
	if !ok || len(m) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, name := range n.keys {
		sub, member := join(path, name), n.table[name]
		d.mark(member.value, sub)
		elem := reflect.New(v.Type().Elem()).Elem()
		if elem.Kind() == reflect.String {
			if s, ok := d.wantString(member, m[name], sub); ok {
				elem.SetString(s) // an empty value is a value here
			}
		} else {
			d.value(elem, "", member, m[name], sub)
		}
		v.SetMapIndex(reflect.ValueOf(name), elem)
	}
}

func (d *decoder) listOf(v reflect.Value, tag reflect.StructTag, n *node, value any, path []string) {
	values, ok := elements(value)
	if !ok {
		want := "an array of strings"
		if v.Type().Elem().Kind() == reflect.Struct {
			want = fmt.Sprintf("a list of tables: write [[%s]]", manifest.JoinKey(path...))
		}
		d.wrongType(n, path, want, value)
		return
	}
	if len(values) == 0 && tag.Get("nonempty") == "true" {
		d.fail(n.value, path, "%q is empty (fill it, or remove the key)", manifest.JoinKey(path...))
	}
	for i, value := range values {
		sub, member := join(path, "["+strconv.Itoa(i)+"]"), n.items[i]
		d.mark(member.value, sub)
		elem := reflect.New(v.Type().Elem()).Elem()
		if elem.Kind() == reflect.String && tag.Get("format") == "" {
			if s, ok := d.wantString(member, value, sub); ok {
				elem.SetString(s)
			}
		} else {
			d.value(elem, tag, member, value, sub)
		}
		v.Set(reflect.Append(v, elem))
	}
}

// elements returns the elements of a list of values or of tables.
func elements(value any) ([]any, bool) {
	switch list := value.(type) {
	case []any:
		return list, true
	case []map[string]any:
		all := make([]any, len(list))
		for i, m := range list {
			all[i] = m
		}
		return all, true
	}
	return nil, false
}

func (d *decoder) wantTable(n *node, value any, path []string) (map[string]any, bool) {
	m, ok := value.(map[string]any)
	if _, list := value.([]map[string]any); list {
		key := manifest.JoinKey(path...)
		d.fail(n.items[0].key, path, "%q is one table: write [%s], not [[%s]]", key, key, key)
	} else if !ok {
		d.wrongType(n, path, "a table", value)
	}
	return m, ok
}

func (d *decoder) wantString(n *node, value any, path []string) (string, bool) {
	s, ok := value.(string)
	switch {
	case !ok:
		d.wrongType(n, path, "a string", value)
	case strings.ContainsRune(s, 0):
		d.fail(n.value, path, "%q contains a NUL character", manifest.JoinKey(path...))
		return "", false
	}
	return s, ok
}

func (d *decoder) wrongType(n *node, path []string, want string, value any) {
	key := manifest.JoinKey(path...)
	hint := ""
	switch v := value.(type) {
	case string:
		if _, err := strconv.Atoi(v); want == "a whole number" && err == nil || want == "true or false" && (v == "true" || v == "false") {
			hint = fmt.Sprintf(" (write %s without quotes)", v)
		}
		if want == "an array of strings" {
			hint = fmt.Sprintf(" (write [%q])", v)
		}
	case map[string]any:
		ownName := strings.HasSuffix(generic(d.root, path), "."+anyName)
		byDot := n.value == n.key && d.doc.text[n.key] != '[' // not by braces or a header
		if want == "a string" && ownName && byDot {
			hint = fmt.Sprintf(" (a name with a dot needs quotes: write %q)", path[len(path)-1]+"."+dottedName(n))
		}
	case int64, float64, bool:
		if want == "a string" {
			hint = fmt.Sprintf(` (write "%v")`, v)
		}
	}
	d.fail(n.value, path, "%q is %s, want %s%s", key, typeName(value), want, hint)
}

// dottedName is the rest of the key that made the table n: "conf" of a.conf = "x".
func dottedName(n *node) string {
	var names []string
	for n.kind == table && len(n.keys) > 0 {
		names = append(names, n.keys[0])
		n = n.table[n.keys[0]]
	}
	return strings.Join(names, ".")
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	default:
		return "an array"
	}
}

func (d *decoder) integer(v reflect.Value, tag reflect.StructTag, n *node, value any, path []string) {
	i, ok := value.(int64)
	if !ok {
		d.wrongType(n, path, "a whole number", value)
		return
	}
	lo, hi := bounds(tag)
	zero := tag.Get("zero") == "true"
	switch {
	case zero && i == 0, lo <= i && i <= hi:
		v.SetInt(i)
	case zero:
		d.fail(n.value, path, "%q is %d, want 0 or %d to %d", manifest.JoinKey(path...), i, lo, hi)
	default:
		d.fail(n.value, path, "%q is %d, want %d to %d", manifest.JoinKey(path...), i, lo, hi)
	}
}

// bounds are the least and the largest value that the tags allow. Every number
// has both.
func bounds(tag reflect.StructTag) (lo, hi int64) {
	lo, errLo := strconv.ParseInt(tag.Get("min"), 10, 64)
	hi, errHi := strconv.ParseInt(tag.Get("max"), 10, 64)
	if errLo != nil || errHi != nil {
		panic("config: a number without bounds") // a mistake in this package's tags
	}
	return lo, hi
}

// checkString applies the tags enum and format.
func (d *decoder) checkString(s string, tag reflect.StructTag, n *node, path []string) bool {
	key := manifest.JoinKey(path...)
	if s == "" {
		d.fail(n.value, path, "%q is empty", key)
		return false
	}
	if enum := tag.Get("enum"); enum != "" {
		values := strings.Split(enum, ",")
		for _, v := range values {
			if s == v {
				return true
			}
		}
		hint := ""
		if len(values) > 1 {
			hint = didYouMean(nearest(s, values))
		}
		d.fail(n.value, path, "%q is %q, want %s%s", key, s, strings.Join(values, " or "), hint)
		return false
	}
	if f, ok := formats[tag.Get("format")]; ok && !f.matches(s) {
		d.fail(n.value, path, "%q is %q, want %s", key, s, f.want)
		return false
	}
	return true
}

// decodeTOML reads the table of mappings.
func (m *Mappings) decodeTOML(d *decoder, n *node, value any, path []string) {
	values, ok := d.wantTable(n, value, path)
	if !ok {
		return
	}
	for _, source := range n.keys {
		sub, member := join(path, source), n.table[source]
		d.mark(member.key, sub)
		dest, ok := d.wantString(member, values[source], sub)
		if !ok {
			continue
		}
		if why := badSource(source); why != "" {
			d.fail(member.key, sub, "mapping source %q %s", source, why)
		}
		if why := badDest(dest); why != "" {
			d.fail(member.value, sub, "mapping destination %q %s", dest, why)
		}
		p := d.doc.position(member.key)
		*m = append(*m, Mapping{Source: source, Dest: dest, Line: p.Line, Column: p.Column})
	}
	m.sort()
}

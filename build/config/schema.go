package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
)

// SchemaURL is where editors find the schema that [Schema] returns. A fledge.toml
// that begins with "#:schema " and this URL is checked by Taplo as it is typed.
const SchemaURL = "https://raw.githubusercontent.com/volant/fledge-action/main/docs/schema/fledge-v1.schema.json"

// A row is one key of the table of keys.
type row struct {
	path []string // dotted key; anyName for a name of the author's own
	field
}

// rows yields every key of the struct type t, tables before what is in them.
func rows(t reflect.Type, path []string) iter.Seq[row] {
	return func(yield func(row) bool) { walkRows(t, path, yield) }
}

func walkRows(t reflect.Type, path []string, yield func(row) bool) bool {
	for _, f := range fields(t) {
		sub := join(path, f.name)
		if !yield(row{path: sub, field: f}) {
			return false
		}
		elem := f.typ
		switch {
		case isCustom(elem):
			continue
		case elem.Kind() == reflect.Map || elem.Kind() == reflect.Slice:
			elem, sub = elem.Elem(), join(sub, anyName)
		case elem.Kind() == reflect.Pointer:
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct && !walkRows(elem, sub, yield) {
			return false
		}
	}
	return true
}

func isCustom(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[custom]())
}

// Schema is the JSON Schema of fledge.toml for editors, made from the types of
// this package. It says what a schema can: [Parse] checks more.
//
// The keywords are those that draft 4 and draft 7 share as far as possible, since
// Taplo knows no newer ones.
func Schema() []byte {
	s := object(reflect.TypeFor[Config]())
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["$id"] = SchemaURL
	s["title"] = "fledge.toml, version 1"
	s["description"] = "How fledge builds a Volant plugin."
	s["allOf"] = []any{
		when("strategy", OCIRootfs, map[string]any{
			"required":   []string{"source"},
			"properties": map[string]any{"source": map[string]any{"required": []string{"image"}}},
		}),
	}
	agent := s["properties"].(map[string]any)["agent"].(map[string]any)
	agent["allOf"] = []any{
		when("source_strategy", AgentLocal, map[string]any{"required": []string{"path"}}),
		when("source_strategy", AgentHTTP, map[string]any{"required": []string{"url", "checksum"}}),
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		panic(err) // maps of strings and numbers encode
	}
	return b.Bytes()
}

// when says: a table whose key is value must also match then. It avoids the
// newer if/then.
func when(key, value string, then map[string]any) map[string]any {
	isValue := map[string]any{"required": []string{key}, "properties": map[string]any{key: map[string]any{"enum": []string{value}}}}
	return map[string]any{"anyOf": []any{map[string]any{"not": isValue}, then}}
}

func object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, f := range fields(t) {
		properties[f.name] = property(f)
		if f.tag.Get("required") == "true" {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		s["required"] = required
	}
	return s
}

func property(f field) map[string]any {
	s := typeSchema(f.typ, f.tag)
	s["description"] = describe(f.tag)
	if def, ok := f.tag.Lookup("default"); ok {
		s["default"] = defaultValue(f.typ, def)
	}
	return s
}

func describe(tag reflect.StructTag) string {
	text := tag.Get("doc")
	if fallback := tag.Get("fallback"); fallback != "" {
		text += " Default: " + fallback + "."
	}
	return text
}

func defaultValue(t reflect.Type, text string) any {
	switch t.Kind() {
	case reflect.Int:
		n, _ := strconv.Atoi(text)
		return n
	case reflect.Bool:
		return text == "true"
	default:
		return text
	}
}

func typeSchema(t reflect.Type, tag reflect.StructTag) map[string]any {
	if t == reflect.TypeFor[Mappings]() {
		return mappingsSchema()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), tag)
	case reflect.Struct:
		return object(t)
	case reflect.Map:
		elem := typeSchema(t.Elem(), "")
		if t.Elem().Kind() == reflect.String {
			elem = map[string]any{"type": "string"}
		}
		return map[string]any{"type": "object", "additionalProperties": elem}
	case reflect.Slice:
		elem := map[string]any{"type": "string"}
		if t.Elem().Kind() != reflect.String || tag.Get("format") != "" {
			elem = typeSchema(t.Elem(), tag)
		}
		list := map[string]any{"type": "array", "items": elem}
		if tag.Get("nonempty") == "true" {
			list["minItems"] = 1
		}
		return list
	case reflect.Int:
		lo, hi := bounds(tag)
		r := map[string]any{"minimum": lo, "maximum": hi}
		if tag.Get("zero") == "true" {
			return map[string]any{"type": "integer", "anyOf": []any{map[string]any{"enum": []int{0}}, r}}
		}
		r["type"] = "integer"
		return r
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	default:
		return stringSchema(tag)
	}
}

func stringSchema(tag reflect.StructTag) map[string]any {
	s := map[string]any{"type": "string", "minLength": 1}
	if enum := tag.Get("enum"); enum != "" {
		return map[string]any{"type": "string", "enum": strings.Split(enum, ",")}
	}
	if f, ok := formats[tag.Get("format")]; ok {
		s["pattern"] = f.pattern
	}
	return s
}

func mappingsSchema() map[string]any {
	return map[string]any{
		"type":          "object",
		"propertyNames": map[string]any{"minLength": 1, "pattern": "^[^/]"},
		"additionalProperties": map[string]any{
			"type":    "string",
			"pattern": "^/",
			"not":     map[string]any{"pattern": `(^|/)\.\.(/|$)`},
		},
	}
}

// Reference is the table of keys of docs/fledge-toml.md, in Markdown.
func Reference() string {
	var b strings.Builder
	section := "-"
	for r := range rows(reflect.TypeFor[Config](), nil) {
		if isTable(r.typ) {
			continue
		}
		name, parent := r.path[len(r.path)-1], r.path[:len(r.path)-1]
		if r.typ == reflect.TypeFor[Mappings]() {
			name, parent = `"SOURCE"`, r.path
		}
		if table := header(parent); table != section {
			section = table
			title, text := "`"+table+"`", tableDoc(parent)
			if table == "" {
				title, text = "Top of the file", "Before the first `[table]`."
			}
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title, text)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, cellType(r.field), cellDefault(r.field), cell(r.tag.Get("doc")))
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// isTable reports whether a key is a table with keys of its own.
func isTable(t reflect.Type) bool {
	if isCustom(t) {
		return false
	}
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// header is path as the header of its table.
func header(path []string) string {
	if len(path) == 0 {
		return ""
	}
	if path[len(path)-1] == anyName && path[0] == "disks" {
		return "[[disks]]"
	}
	return "[" + strings.ReplaceAll(strings.Join(path, "."), anyName, "NAME") + "]"
}

func tableDoc(path []string) string {
	if n := len(path); n > 0 && path[n-1] == anyName {
		path = path[:n-1]
	}
	for r := range rows(reflect.TypeFor[Config](), nil) {
		if strings.Join(r.path, ".") == strings.Join(path, ".") {
			return r.tag.Get("doc")
		}
	}
	return ""
}

func cellType(f field) string {
	switch f.typ.Kind() {
	case reflect.Map:
		return "table of strings"
	case reflect.Slice:
		if f.typ == reflect.TypeFor[Mappings]() {
			return "an absolute path"
		}
		return "array of strings"
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		lo, hi := bounds(f.tag)
		if f.tag.Get("zero") == "true" {
			return fmt.Sprintf("0 or %d to %d", lo, hi)
		}
		return fmt.Sprintf("%d to %d", lo, hi)
	}
	if enum := f.tag.Get("enum"); enum != "" {
		return "`\"" + strings.ReplaceAll(enum, ",", "\"` or `\"") + "\"`"
	}
	if fm, ok := formats[f.tag.Get("format")]; ok {
		return cell(fm.want)
	}
	return "string"
}

func cellDefault(f field) string {
	def, ok := f.tag.Lookup("default")
	switch {
	case f.typ == reflect.TypeFor[Mappings]():
		return ""
	case f.tag.Get("required") == "true":
		return "**required**"
	case ok && f.typ.Kind() == reflect.String:
		return "`\"" + def + "\"`"
	case ok:
		return "`" + def + "`"
	}
	return cell(f.tag.Get("fallback"))
}

// cell escapes text for a cell of a Markdown table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

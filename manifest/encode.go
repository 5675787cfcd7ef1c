package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"
)

// Encode writes m in the canonical form that the package comment describes. It
// does not validate. A string that is not UTF-8, which JSON cannot hold, is an
// error that names its key.
func (m *Manifest) Encode() ([]byte, error) {
	for key, s := range m.strings {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("encoding manifest: %s: %q is not UTF-8", key, s)
		}
	}
	c := *m
	if c.Workload.Entrypoint == nil {
		c.Workload.Entrypoint = []string{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&c); err != nil {
		return nil, fmt.Errorf("encoding manifest: %w", err)
	}
	return b.Bytes(), nil
}

// strings yields every string of m with its key, in the order of Encode. The
// keys of maps are yielded as strings too.
func (m *Manifest) strings(yield func(key, value string) bool) {
	walkStrings(reflect.ValueOf(m).Elem(), nil, yield)
}

func walkStrings(v reflect.Value, path []string, yield func(key, value string) bool) bool {
	switch v.Kind() {
	case reflect.String:
		return yield(JoinKey(path...), v.String())
	case reflect.Pointer:
		return v.IsNil() || walkStrings(v.Elem(), path, yield)
	case reflect.Slice:
		for i := range v.Len() {
			if !walkStrings(v.Index(i), append(path[:len(path):len(path)], index(i)), yield) {
				return false
			}
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
		for _, k := range keys {
			sub := append(path[:len(path):len(path)], k.String())
			if !yield(JoinKey(sub...), k.String()) || !walkStrings(v.MapIndex(k), sub, yield) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !walkStrings(v.Field(i), append(path[:len(path):len(path)], jsonName(v.Type().Field(i))), yield) {
				return false
			}
		}
	}
	return true
}

package config

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/volant/fledge-action/manifest"
)

// asMap is v as the tables of a TOML file: what keep wants of it.
func asMap(v reflect.Value, path []string, keep func(path []string, v reflect.Value) bool) map[string]any {
	m := map[string]any{}
	for _, f := range fields(v.Type()) {
		sub, value := join(path, f.name), v.Field(f.pos)
		if !keep(sub, value) {
			continue
		}
		m[f.name] = asValue(value, sub, keep)
	}
	return m
}

func asValue(v reflect.Value, path []string, keep func([]string, reflect.Value) bool) any {
	if mappings, ok := v.Interface().(Mappings); ok {
		m := map[string]string{}
		for _, e := range mappings {
			m[e.Source] = e.Dest
		}
		return m
	}
	switch v.Kind() {
	case reflect.Pointer:
		return asValue(v.Elem(), path, keep)
	case reflect.Struct:
		return asMap(v, path, keep)
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(k))
			m[k.String()] = asValue(elem, join(path, k.String()), keep)
		}
		return m
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			list := []map[string]any{}
			for i := range v.Len() {
				list = append(list, asMap(v.Index(i), join(path, "["+string(rune('0'+i%10))+"]"), func([]string, reflect.Value) bool { return true }))
			}
			return dropZero(list)
		}
		return v.Interface()
	}
	return v.Interface()
}

func dropZero(list []map[string]any) []map[string]any {
	for _, m := range list {
		for k, v := range m {
			if reflect.ValueOf(v).IsZero() {
				delete(m, k)
			}
		}
	}
	return list
}

// encode writes the keys that c's file had as TOML.
func encode(t testing.TB, c *Config) []byte {
	t.Helper()
	m := asMap(reflect.ValueOf(c).Elem(), nil, func(path []string, v reflect.Value) bool {
		return c.IsSet(manifest.JoinKey(path...)) && (v.Kind() != reflect.Pointer || !v.IsNil())
	})
	var b bytes.Buffer
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(m); err != nil {
		t.Fatalf("encoding %v: %v", m, err)
	}
	return b.Bytes()
}

// notZero keeps what a Config says, for the golden files.
func notZero(_ []string, v reflect.Value) bool {
	return !v.IsZero()
}

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/volant/fledge-action/internal/spelling"
	"github.com/volant/fledge-action/manifest"
)

// anyName stands in a row's path for a name of the author's own: of an action, or the
// number of a list's element.
const anyName = "*"

// knownKeys are all keys of the struct type t and the tables below it, dotted.
func knownKeys(t reflect.Type) []string {
	var keys []string
	for r := range rows(t, nil) {
		keys = append(keys, strings.Join(r.path, "."))
	}
	return keys
}

// generic is path as knownKeys writes it.
func generic(t reflect.Type, path []string) string {
	var names []string
	for _, name := range path {
		if t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t != nil && t.Kind() == reflect.Struct:
			names = append(names, name)
			t = memberType(t, name)
		case t != nil && (t.Kind() == reflect.Map || t.Kind() == reflect.Slice):
			names = append(names, anyName)
			t = t.Elem()
		default:
			names, t = append(names, name), nil
		}
	}
	return strings.Join(names, ".")
}

func memberType(t reflect.Type, name string) reflect.Type {
	for _, f := range fields(t) {
		if f.name == name {
			return f.typ
		}
	}
	return nil
}

// replaced are keys that other tools or earlier versions know, and what to write
// instead.
var replaced = map[string]string{
	"args":                    "append the arguments to workload.entrypoint",
	"workload.args":           "append the arguments to workload.entrypoint",
	"workload.command":        "write workload.entrypoint",
	"workload.cmd":            "write workload.entrypoint",
	"env":                     "write [workload.env]",
	"environment":             "write [workload.env]",
	"network.expose":          "write workload.base_url with the port",
	"workload.working_dir":    "write workload.workdir",
	"workload.cwd":            "write workload.workdir",
	"workload.user":           "Volant runs every workload as root",
	"health_check.path":       "write health_check.endpoint",
	"health_check.url":        "write health_check.endpoint, a path below workload.base_url",
	"manifest":                "its tables stand in this file themselves: [plugin], [resources], [workload]",
	"workload.port":           "write workload.base_url with the port",
	"source.dockerfile":       "build the image first and name it in source.image, as oci:DIR, oci-archive:FILE or docker-daemon:NAME",
	"source.context":          "build the image first and name it in source.image",
	"source.target":           "build the image first and name it in source.image",
	"source.build_args":       "build the image first and name it in source.image",
	"filesystem.overlay_size": "nothing in a squashfs says how large an overlay is; what mounts it at boot decides",
	"enabled":                 "a plugin is always enabled",
	"plugin.enabled":          "a plugin is always enabled",
	"plugin.description":      "write a label in [plugin.labels]",
	"schema_version":          `the manifest's is always "1.0"`,
	"rootfs":                  "the build writes it; plugin.url sets its URL",
	"rootfs.url":              "write plugin.url",
}

// unknown reports a key that no table has, with the best guess at what was meant.
func (d *decoder) unknown(n *node, path []string) {
	key := manifest.JoinKey(path...)
	d.fail(n.key, path, "unknown key %q%s", key, d.advice(path))
}

func (d *decoder) advice(path []string) string {
	key, name := manifest.JoinKey(path...), path[len(path)-1]
	if why := replaced[key]; why != "" {
		return " (" + why + ")"
	}
	if len(path) > 1 && d.doc != nil && (name == "version" || name == "strategy") && slices.Contains(d.known, name) {
		return fmt.Sprintf(" (%s belongs above the first [table]: a key below a header is part of that table)", name)
	}
	var same, others []string // names in the same table, full keys elsewhere
	table := generic(d.root, path[:len(path)-1])
	for _, k := range d.known {
		parent, last := cutLast(k)
		if parent == table {
			same = append(same, last)
		} else if last == name && !strings.Contains(k, anyName) {
			others = append(others, k)
		}
	}
	if near := nearest(name, same); near != "" {
		return didYouMean(near)
	}
	if len(others) == 0 {
		others = d.nearElsewhere(name)
	}
	return didYouMean(others...)
}

// cutLast splits a dotted key before its last part.
func cutLast(key string) (parent, last string) {
	i := strings.LastIndexByte(key, '.')
	return key[:max(i, 0)], key[i+1:]
}

// nearElsewhere finds keys of any table whose last part is one slip from name.
func (d *decoder) nearElsewhere(name string) []string {
	var near []string
	for _, k := range d.known {
		_, last := cutLast(k)
		if len(name) > 3 && !strings.Contains(k, anyName) && spelling.Distance(name, last) == 1 {
			near = append(near, k)
		}
	}
	return near
}

// misplaced explains why the required key name is missing from the table path,
// when it stands in another table where it means nothing or something else.
func (d *decoder) misplaced(path []string, name string) string {
	if len(path) > 0 {
		return ""
	}
	for _, table := range d.doc.root.keys {
		if n := d.doc.root.table[table].table[name]; n != nil {
			return fmt.Sprintf(" (the %q on line %d is part of the table [%s]: write it above the first [table])",
				name, d.doc.position(n.key).Line, manifest.JoinKey(table))
		}
	}
	if f, ok := reflect.TypeFor[Config]().FieldByName(strings.ToUpper(name[:1]) + name[1:]); ok {
		enum, _, _ := strings.Cut(f.Tag.Get("enum"), ",")
		return fmt.Sprintf(" (write %s = %q in the first lines)", name, enum)
	}
	return ""
}

func didYouMean(names ...string) string {
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	if len(names) == 0 {
		return ""
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%q", n)
	}
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(names[:min(3, len(names))], " or "))
}

// nearest returns the name that s was probably meant to be, "" if none is near:
// at most one slip in three letters, in the whole name, in its beginning or in
// its end ("sise" for "size_buffer_mb", "url" for "busybox_url").
func nearest(s string, names []string) string {
	best, bestDistance := "", 1+max(1, len(s)/3)
	for _, name := range names {
		if d := partDistance(strings.ToLower(s), name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// partDistance is the distance of s to name or to a run of its words at either
// end. An exact part counts as one slip, so that a whole name wins.
func partDistance(s, name string) int {
	d := spelling.Distance(s, name)
	if len(s) > 2 && len(name) > 2 && (strings.HasPrefix(name, s) || strings.HasPrefix(s, name)) {
		d = min(d, 1) // "vers" for "version", "environment" for "env"
	}
	words := strings.Split(name, "_")
	for i := 1; i < len(words); i++ {
		head, tail := strings.Join(words[:i], "_"), strings.Join(words[i:], "_")
		if len(s) > 2 {
			d = min(d, max(1, spelling.Distance(s, head)), max(1, spelling.Distance(s, tail)))
		}
	}
	return d
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// TemplateName is the file beside fledge.toml that is read when it is there.
const TemplateName = "manifest.toml"

// A Template is a file other than fledge.toml that says something of the
// manifest: a manifest.toml, or a manifest.json in which what the build writes
// may be missing.
type Template struct {
	File     string
	Manifest *manifest.Manifest // zero values say nothing
	Ports    []int              // TCP ports of network.expose, in ascending order
	Digest   string             // "sha256:" and hex, of the file's bytes
	Warnings Errors

	places Places // of the keys
	legacy bool   // the keys are those of manifest.toml
}

// LoadTemplate reads a manifest.toml, or a manifest in JSON when the name ends in
// ".json". The returned error is [Errors] when the file could be read.
func LoadTemplate(path string) (*Template, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading manifest template: %w", err)
	}
	return ParseTemplate(path, text)
}

// FindTemplate reads the manifest.toml in the folder dir. It returns nil when
// there is none.
func FindTemplate(dir string) (*Template, error) {
	t, err := LoadTemplate(filepath.Join(dir, TemplateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return t, err
}

// ParseTemplate reads a template from text; see [LoadTemplate].
func ParseTemplate(file string, text []byte) (*Template, error) {
	parse := parseTOMLTemplate
	if strings.EqualFold(filepath.Ext(file), ".json") {
		parse = parseJSONTemplate
	}
	t, err := parse(file, text)
	if err != nil {
		return nil, err
	}
	t.Digest = digest(text)
	return t, nil
}

func parseJSONTemplate(file string, text []byte) (*Template, error) {
	text = bytes.TrimPrefix(text, []byte(bom))
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, decodeErrors(file, err)
	}
	t := &Template{File: file, Manifest: m, places: Places{}}
	for key, p := range manifest.Places(text) {
		t.places[key] = Position(p)
	}
	var enabled struct{ Enabled *bool }
	if json.Unmarshal(text, &enabled) == nil && enabled.Enabled != nil && !*enabled.Enabled {
		return nil, Errors{t.errorf("enabled", `"enabled" is false, and Volant refuses VMs of a plugin that is not enabled (remove it: the build writes true)`)}
	}
	return t, t.check()
}

// decodeErrors puts the file's name before each problem of manifest.Decode, and
// what was probably meant behind a key that it does not know.
func decodeErrors(file string, err error) error {
	root := reflect.TypeFor[manifest.Manifest]()
	keys := &decoder{root: root, known: knownKeys(root)}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var errs Errors
	for _, err := range list {
		e := &Error{File: file, Message: err.Error()}
		if de, ok := errors.AsType[*manifest.DecodeError](err); ok {
			e = &Error{File: file, Line: de.Line, Column: de.Column, Key: de.Key, Message: de.Message}
			if de.Unknown {
				e.Message += keys.advice(manifest.SplitKey(de.Key))
			}
		}
		errs = append(errs, e)
	}
	return errs
}

// templateFile is a manifest.toml: the keys that the original fledge reads, and
// the other words of the manifest at the places they have in JSON.
type templateFile struct {
	SchemaVersion string                     `toml:"schema_version" doc:"Ignored."`
	Name          string                     `toml:"name" format:"name" doc:"Name."`
	Version       string                     `toml:"version" format:"version" doc:"Version."`
	Runtime       string                     `toml:"runtime" format:"name" doc:"Runtime."`
	Labels        map[string]string          `toml:"labels" doc:"Labels."`
	OpenAPI       string                     `toml:"openapi" doc:"OpenAPI document."`
	Resources     manifest.Resources         `toml:"resources" doc:"Resources."`
	Workload      templateWorkload           `toml:"workload" doc:"Program."`
	Env           map[string]string          `toml:"env" doc:"Environment."`
	Network       *templateNetwork           `toml:"network" doc:"Network."`
	HealthCheck   *manifest.HealthCheck      `toml:"health_check" doc:"Health check."`
	Actions       map[string]manifest.Action `toml:"actions" doc:"Actions."`
	Disks         []manifest.Disk            `toml:"disks" doc:"Disks."`
	CloudInit     *manifest.CloudInit        `toml:"cloud_init" doc:"cloud-init."`
	Devices       *manifest.Devices          `toml:"devices" doc:"Devices."`
}

type templateWorkload struct {
	Type       string            `toml:"type" enum:"http" doc:"Type."`
	Entrypoint program           `toml:"entrypoint" doc:"Program, or program and arguments."`
	Args       []string          `toml:"args" doc:"Further arguments."`
	BaseURL    string            `toml:"base_url" format:"http-url" doc:"Base URL."`
	Env        map[string]string `toml:"env" doc:"Environment."`
	Workdir    string            `toml:"workdir" format:"absolute" doc:"Working directory."`
}

type templateNetwork struct {
	Mode       string `toml:"mode" enum:"vsock,bridged,dhcp" doc:"Mode."`
	Subnet     string `toml:"subnet" doc:"Subnet."`
	Gateway    string `toml:"gateway" doc:"Gateway."`
	AutoAssign bool   `toml:"auto_assign" doc:"Automatic address."`
	Expose     ports  `toml:"expose" doc:"Ports."`
}

// program is an entrypoint: one string, which may be empty for none, or a list.
type program []string

func (p *program) decodeTOML(d *decoder, n *node, value any, path []string) {
	if list, ok := elements(value); ok {
		for i, v := range list {
			if s, ok := d.wantString(n.items[i], v, join(path, "["+strconv.Itoa(i)+"]")); ok {
				*p = append(*p, s)
			}
		}
		return
	}
	s, ok := d.wantString(n, value, path)
	switch {
	case !ok || s == "":
	case strings.ContainsAny(s, " \t\n"):
		d.fail(n.value, path, "%q is %q: no shell splits it (write the arguments in args, or a list)", manifest.JoinKey(path...), s)
	default:
		*p = program{s}
	}
}

// ports are the TCP ports of network.expose. An element is a number, "80",
// "80/tcp" or a table with port and protocol; those of other protocols are left
// out.
type ports []int

type exposed struct {
	Port     int    `toml:"port" required:"true" min:"1" max:"65535" doc:"Port."`
	Protocol string `toml:"protocol" enum:"tcp,udp" default:"tcp" doc:"Protocol."`
	HostPort int    `toml:"host_port" min:"0" max:"65535" doc:"Ignored."`
}

func (p *ports) decodeTOML(d *decoder, n *node, value any, path []string) {
	list, ok := elements(value)
	if !ok {
		d.wrongType(n, path, "an array of ports", value)
		return
	}
	for i, v := range list {
		sub, member := join(path, "["+strconv.Itoa(i)+"]"), n.items[i]
		if _, isTable := v.(map[string]any); isTable {
			e := exposed{Protocol: "tcp"}
			d.value(reflect.ValueOf(&e).Elem(), "", member, v, sub)
			if e.Protocol == "tcp" && e.Port > 0 {
				*p = append(*p, e.Port)
			}
			continue
		}
		port, tcp, ok := parsePort(fmt.Sprint(v))
		if !ok {
			d.fail(member.value, sub, "%q is %v, want a port such as 80 or \"80/tcp\"", manifest.JoinKey(sub...), v)
		} else if tcp {
			*p = append(*p, port)
		}
	}
}

// parsePort reads "80" or "80/tcp".
func parsePort(s string) (port int, tcp, ok bool) {
	number, protocol, found := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || found && protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return 0, false, false
	}
	return int(n), !found || protocol == "tcp", true
}

func parseTOMLTemplate(file string, text []byte) (*Template, error) {
	doc, bad := read(file, text)
	if bad != nil {
		return nil, Errors{bad}
	}
	var f templateFile
	d := decode(doc, &f)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	t := &Template{File: file, Manifest: f.manifest(), places: d.places, legacy: true}
	if len(f.Workload.Args) > 0 && len(f.Workload.Entrypoint) == 0 {
		return nil, Errors{t.errorf("workload.args", `"workload.args" without "workload.entrypoint": they follow a program of this file, not the image's (write entrypoint = "/path/to/program")`)}
	}
	if f.Network != nil {
		t.Ports = slices.Sorted(slices.Values(f.Network.Expose))
	}
	return t, t.check()
}

// manifest translates the file: args follow the entrypoint, [env] goes into the
// workload's, and of network only what Volant knows is kept.
func (f *templateFile) manifest() *manifest.Manifest {
	env := maps.Clone(f.Workload.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, f.Env)
	m := &manifest.Manifest{
		Name: f.Name, Version: f.Version, Runtime: f.Runtime, Labels: f.Labels, OpenAPI: f.OpenAPI,
		Resources: f.Resources,
		Workload: manifest.Workload{
			Type:       f.Workload.Type,
			Entrypoint: slices.Concat(f.Workload.Entrypoint, f.Workload.Args),
			BaseURL:    f.Workload.BaseURL,
			Env:        env,
			Workdir:    f.Workload.Workdir,
		},
		HealthCheck: f.HealthCheck, Actions: f.Actions, Disks: f.Disks, CloudInit: f.CloudInit, Devices: f.Devices,
	}
	if n := f.Network; n != nil {
		known := manifest.Network{Mode: n.Mode, Subnet: n.Subnet, Gateway: n.Gateway, AutoAssign: n.AutoAssign}
		if known != (manifest.Network{}) {
			m.Network = &known
		}
	}
	return m
}

// check applies the manifest's rules to what the template says.
func (t *Template) check() error {
	probe := *t.Manifest
	probe.Workload.Env = maps.Clone(probe.Workload.Env)
	fill(&probe)
	if probe.Rootfs != nil && probe.Initramfs != nil {
		return Errors{t.errorf("initramfs", "rootfs and initramfs are both given (remove one of the two)")}
	}
	// What the build writes is not judged here, nor a URL that another source may replace.
	probe.Rootfs, probe.Initramfs = &manifest.Rootfs{URL: "/a", Checksum: sampleChecksum}, nil
	probe.Image, probe.ImageDigest = "", ""
	var errs Errors
	for _, p := range probe.Validate() {
		if p.Key == "runtime" && t.Manifest.Runtime == "" {
			continue // it is the name, which has the same problem
		}
		text := fmt.Sprintf("%q: %s", p.Key, p.Message)
		if p.Fix != "" {
			text += " (" + p.Fix + ")"
		}
		if p.Warning {
			t.Warnings = append(t.Warnings, t.errorf(p.Key, "%s", text))
		} else {
			errs = append(errs, t.errorf(p.Key, "%s", text))
		}
	}
	t.Warnings = t.Warnings.sorted()
	if len(errs) > 0 {
		return errs.sorted()
	}
	return nil
}

// errorf makes an *Error at the place of a key of the manifest.
func (t *Template) errorf(key, format string, args ...any) *Error {
	p := t.place(key)
	return &Error{File: t.File, Line: p.Line, Column: p.Column, Key: key, Message: fmt.Sprintf(format, args...)}
}

// place is where the template gives a key of the manifest, or the nearest table
// around it; zero if it has neither.
func (t *Template) place(key string) Position {
	path := manifest.SplitKey(key)
	if t.legacy && len(path) > 2 && path[0] == "workload" && path[1] == "env" {
		if p, ok := t.places[manifest.JoinKey("env", path[2])]; ok {
			return p
		}
	}
	for ; len(path) > 0; path = path[:len(path)-1] {
		if p, ok := t.places[manifest.JoinKey(path...)]; ok {
			return p
		}
	}
	return Position{}
}

package config

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// What the manifest says when no source does.
const (
	defaultVersion  = "0.0.0"
	defaultCPUCores = 2
	defaultMemoryMB = 1024
	defaultBaseURL  = "http://127.0.0.1:80"
	defaultPath     = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Image is what an OCI image's configuration says of its program.
type Image struct {
	Name         string   // last part of its name: "nginx" of "docker.io/library/nginx:1.27"
	Tag          string   // "1.27", or ""
	Reference    string   // what the manifest shall call it
	Digest       string   // "sha256:..." of the image
	Entrypoint   []string // ENTRYPOINT
	Cmd          []string // CMD
	Env          []string // ENV, as KEY=VALUE
	WorkingDir   string   // WORKDIR
	User         string   // USER
	ExposedPorts []string // EXPOSE, as "80/tcp"
}

// Inputs are the sources of a manifest, in descending precedence. Each may be nil.
type Inputs struct {
	Flags    *manifest.Manifest // what the command line or the action's inputs say
	Config   *Config
	Template *Template
	Image    *Image

	// DefaultName is the plugin's name when no source gives one.
	DefaultName string

	// Executable reports whether an absolute path names an executable file in the
	// artifact. Without it a program without a slash is taken as it is.
	Executable func(name string) bool
}

// A Draft is a manifest without its artifact, and what it was made from.
type Draft struct {
	Manifest *manifest.Manifest // Rootfs and Initramfs are nil
	URL      string             // where the artifact will be, "" if no source says
	Warnings Errors

	inputs        Inputs
	origins       map[string]source // of the keys of Manifest
	runtimeIsName bool              // no source gives a runtime
}

// A source is where a value comes from.
type source byte

const (
	fromDefault source = iota
	fromMappings
	fromImage
	fromTemplate
	fromConfig
	fromFlags
)

// Merge makes the manifest: for each key the value of the highest source that
// gives one. Labels and env are merged key by key and actions name by name; the
// tables health_check, network, cloud_init and devices, the list of disks and the
// entrypoint are taken whole from one source.
//
// The error is [Errors].
func Merge(in Inputs) (*Draft, error) {
	d := &Draft{inputs: in, origins: map[string]source{}, Manifest: &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion,
		Enabled:       true,
	}}
	d.defaults()
	if in.Image != nil {
		d.image(in.Image)
	}
	for _, layer := range []struct {
		from source
		m    *manifest.Manifest
	}{{fromTemplate, in.template()}, {fromConfig, in.config()}, {fromFlags, in.Flags}} {
		if layer.m != nil {
			d.overlay(layer.from, layer.m)
		}
	}
	d.artifactURL()
	d.derive()
	if err := d.program(); err != nil {
		return nil, Errors{err}
	}
	return d, nil
}

func (in *Inputs) template() *manifest.Manifest {
	if in.Template == nil {
		return nil
	}
	return in.Template.Manifest
}

func (in *Inputs) config() *manifest.Manifest {
	if in.Config == nil {
		return nil
	}
	return in.Config.manifest()
}

func (d *Draft) defaults() {
	m := d.Manifest
	m.Name = d.inputs.DefaultName
	m.Version = defaultVersion
	m.Resources = manifest.Resources{CPUCores: defaultCPUCores, MemoryMB: defaultMemoryMB}
	m.Workload.Type = manifest.WorkloadHTTP
}

// versionTag matches tags that begin like a version: 1, v1.2, 1.27-alpine.
var versionTag = regexp.MustCompile(`^v?([0-9]+(\.[0-9]+)*([._+-][0-9A-Za-z._+-]*)?)$`)

func (d *Draft) image(i *Image) {
	m := d.Manifest
	m.Image, m.ImageDigest = i.Reference, i.Digest
	d.set("image", fromImage)
	d.set("image_digest", fromImage)
	if i.Name != "" {
		m.Name = i.Name
		d.set("name", fromImage)
	}
	if match := versionTag.FindStringSubmatch(i.Tag); match != nil {
		m.Version = match[1]
		d.set("version", fromImage)
	}
	m.Workload.Entrypoint = slices.Concat(i.Entrypoint, i.Cmd)
	d.set("workload.entrypoint", fromImage)
	m.Workload.Workdir = i.WorkingDir
	if i.WorkingDir != "" {
		m.Workload.Workdir = path.Join("/", i.WorkingDir)
	}
	d.set("workload.workdir", fromImage)
	for _, e := range i.Env {
		name, value, _ := strings.Cut(e, "=")
		d.setEnv(name, value, fromImage)
	}
	if !isRoot(i.User) {
		d.warn("source.image", "the image's USER is %q, but Volant runs every workload as root", i.User)
	}
}

func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	return name == "" || name == "root" || name == "0"
}

// set notes that a key has its value from s.
func (d *Draft) set(key string, s source) { d.origins[key] = s }

func (d *Draft) setEnv(name, value string, s source) {
	env := &d.Manifest.Workload.Env
	if *env == nil {
		*env = map[string]string{}
	}
	(*env)[name] = value
	d.set(manifest.JoinKey("workload", "env", name), s)
}

// warn notes a problem that fledge.toml can solve.
func (d *Draft) warn(configKey, format string, args ...any) {
	e := &Error{Key: configKey, Message: fmt.Sprintf(format, args...)}
	if c := d.inputs.Config; c != nil {
		e = c.Errorf(configKey, "%s", e.Message)
	}
	d.Warnings = append(d.Warnings, e)
}

// put overwrites *to with a value that says something.
func put[T comparable](d *Draft, from source, key string, to *T, value T) {
	var nothing T
	if value != nothing {
		*to = value
		d.set(key, from)
	}
}

func (d *Draft) overlay(from source, o *manifest.Manifest) {
	m := d.Manifest
	put(d, from, "name", &m.Name, o.Name)
	put(d, from, "version", &m.Version, o.Version)
	put(d, from, "runtime", &m.Runtime, o.Runtime)
	put(d, from, "openapi", &m.OpenAPI, o.OpenAPI)
	put(d, from, "resources.cpu_cores", &m.Resources.CPUCores, o.Resources.CPUCores)
	put(d, from, "resources.memory_mb", &m.Resources.MemoryMB, o.Resources.MemoryMB)
	put(d, from, "workload.type", &m.Workload.Type, o.Workload.Type)
	put(d, from, "workload.base_url", &m.Workload.BaseURL, o.Workload.BaseURL)
	put(d, from, "workload.workdir", &m.Workload.Workdir, o.Workload.Workdir)
	put(d, from, "health_check", &m.HealthCheck, o.HealthCheck)
	put(d, from, "network", &m.Network, o.Network)
	put(d, from, "cloud_init", &m.CloudInit, o.CloudInit)
	put(d, from, "devices", &m.Devices, o.Devices)
	if len(o.Workload.Entrypoint) > 0 {
		m.Workload.Entrypoint = slices.Clone(o.Workload.Entrypoint)
		d.set("workload.entrypoint", from)
	}
	if len(o.Disks) > 0 {
		m.Disks = slices.Clone(o.Disks)
		d.set("disks", from)
	}
	for name, value := range o.Workload.Env {
		d.setEnv(name, value, from)
	}
	for name, value := range o.Labels {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[name] = value
		d.set(manifest.JoinKey("labels", name), from)
	}
	for name, a := range o.Actions {
		if m.Actions == nil {
			m.Actions = map[string]manifest.Action{}
		}
		m.Actions[name] = a
		d.set(manifest.JoinKey("actions", name), from)
	}
}

// artifactURL takes the URL from the highest manifest that has one for the medium
// which the strategy builds.
func (d *Draft) artifactURL() {
	in := d.inputs
	key := "rootfs.url"
	if in.Config != nil && in.Config.Strategy == Initramfs {
		key = "initramfs.url"
	}
	urlOf := func(m *manifest.Manifest) string {
		switch {
		case m != nil && key == "rootfs.url" && m.Rootfs != nil:
			return m.Rootfs.URL
		case m != nil && key == "initramfs.url" && m.Initramfs != nil:
			return m.Initramfs.URL
		}
		return ""
	}
	put(d, fromTemplate, key, &d.URL, urlOf(in.template()))
	if in.Config != nil {
		put(d, fromConfig, key, &d.URL, in.Config.Plugin.URL)
	}
	put(d, fromFlags, key, &d.URL, urlOf(in.Flags))
}

// derive fills in what follows from other values.
func (d *Draft) derive() {
	m := d.Manifest
	if m.Runtime == "" {
		m.Runtime = m.Name
		d.runtimeIsName = true
	}
	if m.Workload.BaseURL != "" {
		return
	}
	from, port := d.port()
	switch {
	case port > 0:
		m.Workload.BaseURL = fmt.Sprintf("http://127.0.0.1:%d", port)
		d.set("workload.base_url", from)
	default:
		m.Workload.BaseURL = defaultBaseURL
		why := ""
		if d.inputs.Image != nil {
			why = "the image has no EXPOSE; "
		}
		d.warn("workload.base_url", "no port is known, so workload.base_url becomes %s (%swrite base_url in [workload])", defaultBaseURL, why)
	}
}

// port is the lowest TCP port that a source names, 0 if none does.
func (d *Draft) port() (source, int) {
	if t := d.inputs.Template; t != nil && len(t.Ports) > 0 {
		return fromTemplate, t.Ports[0]
	}
	lowest := 0
	if i := d.inputs.Image; i != nil {
		for _, s := range i.ExposedPorts {
			first, protocol := s, ""
			if spec, p, ok := strings.Cut(s, "/"); ok {
				first, protocol = spec, "/"+p
			}
			first, _, _ = strings.Cut(first, "-") // a range of ports
			port, tcp, ok := parsePort(first + protocol)
			if ok && tcp && (lowest == 0 || port < lowest) {
				lowest = port
			}
		}
	}
	return fromImage, lowest
}

// program makes the first element of the entrypoint absolute.
func (d *Draft) program() *Error {
	m := d.Manifest
	if len(m.Workload.Entrypoint) == 0 {
		d.guessProgram()
	}
	argv := m.Workload.Entrypoint
	switch {
	case len(argv) == 0:
		return d.noProgram()
	case argv[0] == "" || path.IsAbs(argv[0]):
		return nil
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		argv[0] = path.Join("/", m.Workload.Workdir, name)
		return nil
	}
	if d.inputs.Executable == nil {
		return nil
	}
	search := cmp.Or(m.Workload.Env["PATH"], defaultPath)
	for dir := range strings.SplitSeq(search, ":") {
		if candidate := path.Join(dir, name); path.IsAbs(candidate) && d.inputs.Executable(candidate) {
			argv[0] = candidate
			return nil
		}
	}
	return d.Explain(manifest.Problem{
		Key:     "workload.entrypoint[0]",
		Message: fmt.Sprintf("no executable %q in PATH (%s) of the artifact", name, search),
		Fix:     "give the program's absolute path",
	})
}

// noProgram says that no source names what the VM runs.
func (d *Draft) noProgram() *Error {
	text := "no program is named: write entrypoint = [\"/path/to/program\", \"argument\"] in [workload]"
	if d.inputs.Image != nil {
		text = "the image has neither ENTRYPOINT nor CMD: write entrypoint = [\"/path/to/program\", \"argument\"] in [workload]"
	}
	if c := d.inputs.Config; c != nil {
		return c.Errorf("workload.entrypoint", "%s", text)
	}
	return &Error{Key: "workload.entrypoint", Message: text}
}

// binDirs are the folders whose files are taken for programs, best guess first.
var binDirs = []string{"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"}

// idle is the workload of an initramfs with nothing but the agent: Volant wants
// a program, and busybox is always there.
var idle = []string{"/bin/busybox", "sleep", "2147483647"}

// ProjectInit is where an init goes that is a file of the project.
const ProjectInit = "/sbin/init"

// guessProgram finds an entrypoint where no source gives one: the author's init,
// else a program among the mappings, else, in an initramfs, none that does a thing.
func (d *Draft) guessProgram() {
	c := d.inputs.Config
	if c == nil {
		return
	}
	w := &d.Manifest.Workload
	programs := c.mappedPrograms()
	switch {
	case c.Strategy == Initramfs && path.IsAbs(c.Init.Path):
		w.Entrypoint = []string{c.Init.Path}
	case c.Strategy == Initramfs && c.Init.Path != "":
		w.Entrypoint = []string{ProjectInit}
	case c.Strategy == Initramfs && c.Init.None:
		w.Entrypoint = []string{"/init"}
	case len(programs) > 0:
		w.Entrypoint = programs[:1]
		d.set("workload.entrypoint", fromMappings)
		if len(programs) > 1 {
			d.warn("workload.entrypoint", "no entrypoint is given, so the workload is %s, one of the mapped programs %s (write entrypoint in [workload])",
				programs[0], strings.Join(programs, ", "))
		}
	case c.Strategy == Initramfs && d.inputs.Image == nil && c.Source.Busybox:
		w.Entrypoint = slices.Clone(idle)
		d.warn("workload.entrypoint", "no entrypoint is given and no program is mapped, so the VM runs the agent and sleeps (write entrypoint in [workload])")
	}
}

// mappedPrograms are the destinations of single files in folders for programs,
// best guess first.
func (c *Config) mappedPrograms() []string {
	var programs []string
	for _, dir := range binDirs {
		for _, m := range c.Mappings {
			dest := m.Dest
			if strings.HasSuffix(dest, "/") {
				dest = path.Join(dest, path.Base(m.Source))
			}
			if !strings.HasSuffix(m.Source, "/") && path.Dir(path.Clean(dest)) == dir {
				programs = append(programs, path.Clean(dest))
			}
		}
	}
	return programs
}

// Check validates the manifest, with its artifact once that is known, and returns
// the warnings. The error is [Errors]. Problems say where the value comes from,
// and stand at the place that changes it.
func (d *Draft) Check() (Errors, error) {
	var warnings, errs Errors
	for _, p := range d.Manifest.Validate() {
		if p.Key == "runtime" && d.runtimeIsName {
			continue // the name has the same problem
		}
		if p.Warning {
			warnings = append(warnings, d.Explain(p))
		} else {
			errs = append(errs, d.Explain(p))
		}
	}
	if len(errs) > 0 {
		return warnings.sorted(), errs.sorted()
	}
	return warnings.sorted(), nil
}

// Explain turns a problem of the manifest into one of the file that decides it.
func (d *Draft) Explain(p manifest.Problem) *Error {
	from := d.origin(p.Key)
	text := fmt.Sprintf("manifest %s: %s", p.Key, p.Message)
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	key := configKey(p.Key)
	switch t := d.inputs.Template; {
	case from == fromFlags:
		return &Error{Key: p.Key, Message: text + " (from the command line)"}
	case from == fromTemplate && t != nil:
		return t.errorf(p.Key, "%s", text)
	case from == fromConfig:
		return d.inputs.Config.Errorf(key, "%s", text)
	}
	text += fmt.Sprintf(" (from %s; set %s)", originName(p.Key, from), writable(key))
	if c := d.inputs.Config; c != nil {
		return c.Errorf(key, "%s", text)
	}
	return &Error{Key: key, Message: text}
}

// writable is the key to write for a change of key: of a list, all of it.
func writable(key string) string {
	path := manifest.SplitKey(key)
	for len(path) > 1 && strings.HasPrefix(path[len(path)-1], "[") {
		path = path[:len(path)-1]
	}
	return manifest.JoinKey(path...)
}

// origin is the source of a key, or of the nearest table around it.
func (d *Draft) origin(key string) source {
	for path := manifest.SplitKey(key); len(path) > 0; path = path[:len(path)-1] {
		if s, ok := d.origins[manifest.JoinKey(path...)]; ok {
			return s
		}
	}
	return fromDefault
}

func originName(key string, s source) string {
	switch s {
	case fromDefault:
		return "the default"
	case fromMappings:
		return "the mappings"
	}
	for prefix, name := range map[string]string{
		"name":                "the image's name",
		"version":             "the image's tag",
		"workload.entrypoint": "the image's ENTRYPOINT and CMD",
		"workload.env":        "the image's ENV",
		"workload.workdir":    "the image's WORKDIR",
		"workload.base_url":   "the image's EXPOSE",
	} {
		if key == prefix || strings.HasPrefix(key, prefix+".") || strings.HasPrefix(key, prefix+"[") {
			return name
		}
	}
	return "the image"
}

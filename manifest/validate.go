package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Labels that Volant writes itself at install.
const (
	labelPlugin  = "volant.plugin"
	labelRuntime = "volant.runtime"
)

// agentPort is the port on which Volant's agent serves its API inside the VM.
const agentPort = "8080"

// A Problem is one rule that a manifest breaks.
type Problem struct {
	Key     string // key to change, as JoinKey writes it
	Message string // what is wrong with it
	Fix     string // what to do, "" when Message says it
	Warning bool   // it installs and boots, but not as its author may think
}

func (p Problem) String() string {
	s := p.Key + ": " + p.Message
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Validate returns every rule of Volant's that m breaks, in the order of the
// manifest's keys, the command line's length last. Without a problem that is
// not a Warning, Volant installs the manifest and can launch it.
func (m *Manifest) Validate() []Problem {
	c := &checker{}
	c.text(m)
	c.identity(m)
	c.artifact(m)
	c.resources(m.Resources)
	c.workload(&m.Workload)
	c.health(m.HealthCheck)
	c.network(m.Network)
	c.actions(m.Actions)
	c.labels(m)
	c.openAPI(m.OpenAPI)
	c.disks(m)
	c.cloudInit(m)
	c.devices(m.Devices)
	c.commandLine(m)
	return c.problems
}

type checker struct{ problems []Problem }

func (c *checker) fail(key, fix, format string, args ...any) {
	c.problems = append(c.problems, Problem{Key: key, Message: fmt.Sprintf(format, args...), Fix: fix})
}

func (c *checker) warn(key, fix, format string, args ...any) {
	c.problems = append(c.problems, Problem{Key: key, Message: fmt.Sprintf(format, args...), Fix: fix, Warning: true})
}

// text checks what holds for every string: JSON can carry it and a C program
// can take it as an argument.
func (c *checker) text(m *Manifest) {
	for key, s := range m.strings {
		switch {
		case !utf8.ValidString(s):
			c.fail(key, "write it in UTF-8", "%q is not UTF-8", s)
		case strings.ContainsRune(s, 0):
			c.fail(key, "remove it", "%q contains a NUL byte", s)
		}
	}
}

func (c *checker) identity(m *Manifest) {
	switch m.SchemaVersion {
	case SchemaVersion:
	case "":
		c.fail("schema_version", `write "`+SchemaVersion+`"`, "missing")
	default:
		c.warn("schema_version", `write "`+SchemaVersion+`"`, "%q is not a version Volant documents", m.SchemaVersion)
	}
	c.name("name", m.Name)
	switch {
	case m.Version == "":
		c.fail("version", "give the application's version", "missing")
	case strings.ContainsFunc(m.Version, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }):
		c.fail("version", "use letters, digits, dots and hyphens", "%q contains a space, a slash or a control character", m.Version)
	}
	c.name("runtime", m.Runtime)
	if !m.Enabled {
		c.fail("enabled", "write true", "must be true: Volant refuses VMs of a plugin that is not enabled")
	}
	if d := m.ImageDigest; d != "" && !digestForm.MatchString(d) {
		c.warn("image_digest", `write "sha256:" and 64 lower-case hex digits`, "%q is not a digest", d)
	}
}

var (
	nameForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*$`)
	digestForm   = regexp.MustCompile(`^[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-f]{32,}$`)
	checksumForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	methodForm   = regexp.MustCompile(`^[A-Z]+$`)
	pciForm      = regexp.MustCompile(`^([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
)

// name checks a value that is a kernel parameter and a URL path segment.
func (c *checker) name(key, s string) {
	const fix = "use letters, digits, '.', '_', '-' and '~', a letter or digit first"
	switch {
	case s == "":
		c.fail(key, fix, "missing")
	case !nameForm.MatchString(s):
		c.fail(key, fix, "%q does not fit on a kernel command line and in a URL path", s)
	}
}

func (c *checker) artifact(m *Manifest) {
	switch {
	case m.Rootfs == nil && m.Initramfs == nil:
		c.fail("rootfs", "give rootfs or initramfs", "neither rootfs nor initramfs is given")
	case m.Rootfs != nil && m.Initramfs != nil:
		c.fail("initramfs", "remove one of the two", "rootfs and initramfs are both given")
	}
	if r := m.Rootfs; r != nil {
		c.artifactURL("rootfs.url", r.URL)
		c.checksum("rootfs.checksum", r.Checksum)
		c.format("rootfs.format", r.Format)
	}
	if i := m.Initramfs; i != nil {
		c.artifactURL("initramfs.url", i.URL)
		c.checksum("initramfs.checksum", i.Checksum)
	}
}

func (c *checker) artifactURL(key, s string) {
	const fix = "give an https URL or an absolute path on the Volant host"
	u, err := url.Parse(s)
	switch {
	case s == "":
		c.fail(key, fix, "missing")
	case s != strings.TrimSpace(s):
		c.fail(key, "remove the space", "%q begins or ends with white space", s)
	case strings.HasPrefix(s, "/"):
		return
	case err != nil:
		c.fail(key, fix, "%q is not a URL", s)
	case u.Scheme == "file":
		c.fail(key, fix, "%q installs and cannot be launched: Volant opens it as a file name", s)
	case u.Scheme == "":
		c.fail(key, fix, "%q is relative, which Volant refuses or resolves by where volar was started", s)
	case u.Scheme != "http" && u.Scheme != "https":
		c.fail(key, fix, "%q: Volant cannot fetch %s URLs", s, u.Scheme)
	case u.Hostname() == "":
		c.fail(key, fix, "%q has no host", s)
	case u.User != nil:
		c.warn(key, "remove them", "the URL contains credentials, which everyone who reads the manifest gets")
	}
}

func (c *checker) checksum(key, s string) {
	const fix = `write "sha256:" and 64 lower-case hex digits`
	switch {
	case s == "":
		c.warn(key, fix, "missing: Volant boots whatever the URL answers")
	case !checksumForm.MatchString(s):
		c.fail(key, fix, "%q would be accepted or refused at install and fail at launch", s)
	}
}

func (c *checker) format(key, s string) {
	if s != "" && s != "raw" && s != "qcow2" {
		c.fail(key, "write raw; the file system is not named here", "%q is not raw or qcow2", s)
	}
}

func (c *checker) resources(r Resources) {
	if r.CPUCores <= 0 {
		c.fail("resources.cpu_cores", "give 1 or more", "%d is not a number of CPUs", r.CPUCores)
	}
	if r.MemoryMB <= 0 {
		c.fail("resources.memory_mb", "give 1 or more", "%d is not a size of memory", r.MemoryMB)
	}
}

func (c *checker) workload(w *Workload) {
	if w.Type != WorkloadHTTP {
		c.fail("workload.type", `write "http"; a worker is an http workload without health_check`, "%q is not a type that Volant runs", w.Type)
	}
	c.entrypoint(w.Entrypoint)
	c.baseURL(w.BaseURL)
	for _, k := range slices.Sorted(maps.Keys(w.Env)) {
		c.env(k, w.Env[k])
	}
	if w.Workdir != "" && !path.IsAbs(w.Workdir) {
		c.fail("workload.workdir", "give an absolute path", "%q is relative", w.Workdir)
	}
}

func (c *checker) entrypoint(argv []string) {
	if len(argv) == 0 {
		c.fail("workload.entrypoint", "give the program and its arguments as a list", "missing")
		return
	}
	for i, arg := range argv {
		key := JoinKey("workload", "entrypoint", index(i))
		switch trimmed := strings.TrimSpace(arg); {
		case trimmed == "":
			c.fail(key, "remove it, or pass the value another way", "%q would be dropped by Volant, which shifts the arguments behind it", arg)
		case i == 0 && !path.IsAbs(arg):
			c.fail(key, "give the program's absolute path", "%q is not absolute, and PID 1 has no PATH to search", arg)
		case trimmed != arg:
			c.warn(key, "remove the space", "Volant trims the white space around %q", arg)
		}
	}
}

func (c *checker) baseURL(s string) {
	const fix = "give the URL on which the workload answers inside the VM, such as http://127.0.0.1:80"
	u, err := url.Parse(s)
	switch {
	case s == "":
		c.fail("workload.base_url", fix, "missing")
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		c.fail("workload.base_url", fix, "%q is not an http URL", s)
	case u.Port() == agentPort:
		c.warn("workload.base_url", "let the workload listen on another port",
			"port %s is the agent's own: it listens there once the workload is healthy, on every address", agentPort)
	}
}

var secretWords = []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY", "ACCESS_KEY", "CREDENTIAL"}

func (c *checker) env(name, value string) {
	key := JoinKey("workload", "env", name)
	switch {
	case name == "" || strings.ContainsRune(name, '='):
		c.fail(key, "rename it", "%q cannot be the name of an environment variable", name)
	case name != strings.TrimSpace(name):
		c.fail(key, "remove the space", "the name %q begins or ends with white space", name)
	}
	if value != strings.TrimSpace(value) {
		c.warn(key, "remove the space", "Volant trims the white space around %q", value)
	}
	upper := strings.ToUpper(name)
	secret := slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(upper, w) })
	if secret && value != "" && !path.IsAbs(value) {
		c.warn(key, "give it to the VM another way", "looks like a secret; the manifest is public and stands in /proc/cmdline of the VM")
	}
}

func (c *checker) health(h *HealthCheck) {
	if h == nil {
		return
	}
	switch {
	case h.Endpoint == "":
		c.fail("health_check.endpoint", `give a path such as "/", or leave health_check out`, "missing")
	case !strings.HasPrefix(h.Endpoint, "/"):
		c.fail("health_check.endpoint", "give a path below base_url", "%q does not begin with a slash", h.Endpoint)
	case strings.ContainsAny(h.Endpoint, "?# \t\n"):
		c.fail("health_check.endpoint", "give a plain path", "%q would be escaped, and the query or fragment with it", h.Endpoint)
	}
	if h.TimeoutMS <= 0 {
		c.fail("health_check.timeout_ms", "give milliseconds, such as 10000", "%d is not a time; the schema requires both keys of health_check", h.TimeoutMS)
	}
}

func (c *checker) network(n *Network) {
	if n == nil {
		return
	}
	switch n.Mode {
	case "bridged":
	case "vsock", "dhcp":
		c.warn("network.mode", "use bridged, or leave network out", "only one VM of mode %s can exist on a host", n.Mode)
	default:
		c.fail("network.mode", "write bridged, dhcp or vsock, or leave network out", "%q is not a mode", n.Mode)
	}
	subnet, subnetErr := netip.ParsePrefix(n.Subnet)
	if n.Subnet != "" && subnetErr != nil {
		c.fail("network.subnet", "write it as 192.168.127.0/24", "%q is not a subnet", n.Subnet)
	}
	if n.Mode == "bridged" && n.Subnet != "" && n.Gateway == "" && !n.AutoAssign {
		c.fail("network.gateway", "give gateway, or auto_assign = true", "missing: a bridged subnet needs a gateway or auto_assign")
	}
	if n.Gateway == "" {
		return
	}
	switch gw, err := netip.ParseAddr(n.Gateway); {
	case err != nil:
		c.fail("network.gateway", "write it as 192.168.127.1", "%q is not an address", n.Gateway)
	case subnetErr == nil && !subnet.Contains(gw):
		c.fail("network.gateway", "give an address of the subnet", "%s is not in %s", gw, subnet)
	}
}

func (c *checker) actions(actions map[string]Action) {
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		a, key := actions[name], JoinKey("actions", name)
		if !nameForm.MatchString(name) {
			c.fail(key, "use letters, digits, '.', '_' and '-'", "%q does not fit in a URL path", name)
		}
		if !methodForm.MatchString(a.Method) {
			c.fail(key+".method", "write GET, POST or another method in capitals", "%q is not an HTTP method", a.Method)
		}
		if !strings.HasPrefix(a.Path, "/") {
			c.fail(key+".path", "give a path below base_url", "%q does not begin with a slash", a.Path)
		}
		if a.TimeoutMS < 0 {
			c.fail(key+".timeout_ms", "give milliseconds", "%d is negative", a.TimeoutMS)
		}
	}
}

func (c *checker) labels(m *Manifest) {
	for _, k := range slices.Sorted(maps.Keys(m.Labels)) {
		key := JoinKey("labels", k)
		switch {
		case strings.TrimSpace(k) != k || k == "":
			c.fail(key, "rename it", "%q begins or ends with white space or is empty", k)
		case k == labelPlugin && m.Labels[k] != m.Name, k == labelRuntime && m.Labels[k] != m.Runtime:
			c.warn(key, "remove it", "Volant overwrites this label")
		}
	}
}

func (c *checker) openAPI(s string) {
	u, err := url.Parse(s)
	switch {
	case s == "" || strings.HasPrefix(s, "/"):
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		c.warn("openapi", "give an http URL or a path that begins with a slash", "%q is neither a URL nor an absolute path", s)
	}
}

func (c *checker) disks(m *Manifest) {
	seen := map[string]bool{}
	for i, d := range m.Disks {
		key := JoinKey("disks", index(i))
		switch {
		case strings.TrimSpace(d.Name) == "":
			c.fail(key+".name", "name the disk", "missing")
		case seen[d.Name]:
			c.fail(key+".name", "give each disk a name of its own", "%q is the name of another disk", d.Name)
		}
		seen[d.Name] = true
		switch {
		case d.Source == "":
			c.fail(key+".source", "give the absolute path of the disk image on the Volant host", "missing")
		case !path.IsAbs(d.Source):
			c.fail(key+".source", "give the absolute path of the disk image on the Volant host", "%q is not an absolute path, and Volant does not download disks", d.Source)
		}
		if d.Checksum != "" && !checksumForm.MatchString(d.Checksum) {
			c.warn(key+".checksum", `write "sha256:" and 64 lower-case hex digits`, "%q is not a sha256 checksum", d.Checksum)
		}
		c.format(key+".format", d.Format)
	}
	if len(m.Disks) > 0 && m.Initramfs != nil {
		c.fail("disks", "remove them, or build a rootfs", "an initramfs plugin with a disk cannot boot: the agent takes the disk for its root file system")
	}
}

func (c *checker) cloudInit(m *Manifest) {
	ci := m.CloudInit
	if ci == nil {
		return
	}
	if ci.Datasource != "" && ci.Datasource != "NoCloud" {
		c.warn("cloud_init.datasource", "write NoCloud", "%q is not the datasource that Volant provides", ci.Datasource)
	}
	if ci.SeedMode != "" && ci.SeedMode != "vfat" {
		c.fail("cloud_init.seed_mode", "write vfat", "%q is not a mode that Volant knows", ci.SeedMode)
	}
	c.document("cloud_init.user_data", ci.UserData)
	c.document("cloud_init.meta_data", ci.MetaData)
	c.document("cloud_init.network_config", ci.NetworkConfig)
	if m.Initramfs != nil {
		c.fail("cloud_init", "remove it, or build a rootfs", "an initramfs plugin with cloud_init cannot boot: the agent takes the seed disk for its root file system")
	}
}

func (c *checker) document(key string, d *Document) {
	switch {
	case d == nil:
	case d.Content != "" && d.Path != "":
		c.fail(key+".path", "remove one of the two", "content and path are both given")
	case d.Content != "" && !d.Inline:
		c.fail(key+".inline", "set inline to true", "content needs inline to be true")
	case d.Inline && d.Content == "":
		c.fail(key+".content", "give content, or path instead of inline", "missing, although inline is true")
	}
}

func (c *checker) devices(d *Devices) {
	if d == nil {
		return
	}
	for i, s := range d.PCIPassthrough {
		if !pciForm.MatchString(strings.ToLower(s)) {
			c.warn(JoinKey("devices", "pci_passthrough", index(i)), "write it as 0000:01:00.0", "%q is not a PCI address", s)
		}
	}
	for i, s := range d.Allowlist {
		if strings.TrimSpace(s) == "" {
			c.fail(JoinKey("devices", "allowlist", index(i)), "remove it", "%q names no device", s)
		}
	}
}

func (c *checker) commandLine(m *Manifest) {
	if m.plainSize()+encodedSize(m) <= CommandLineLimit {
		return
	}
	line := m.CommandLine() // measures the parts too, which takes longer
	key := "workload"
	var parts []string
	for i, p := range line.Largest[:min(5, len(line.Largest))] {
		if i == 0 {
			key = p.Key
		}
		parts = append(parts, fmt.Sprintf("%s %d", p.Key, p.Bytes))
	}
	c.fail(key, fmt.Sprintf("save %d bytes", line.Used-line.Limit),
		"the kernel command line, which carries the whole manifest, needs up to %d bytes and the kernel keeps %d; most of them: %s",
		line.Used, line.Limit, cmp.Or(strings.Join(parts, ", "), "name and runtime"))
}

package config

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// check applies the rules between keys, and those of the manifest for the words
// that the file has for it. earlier are the problems of single keys; what
// follows from one of them is not reported again.
func (c *Config) check(earlier Errors) Errors {
	k := &checker{Config: c, earlier: earlier}
	k.source()
	k.agent()
	k.init()
	k.archive()
	k.filesystem()
	k.unused()
	k.normalize()
	k.words()
	return k.errs
}

type checker struct {
	*Config
	earlier, errs Errors
}

// fail reports a problem at key, unless the key or a table around it has one.
func (k *checker) fail(key, format string, args ...any) {
	if !k.spoiled(key) {
		k.errs = append(k.errs, k.Errorf(key, format, args...))
	}
}

func (k *checker) warn(key, format string, args ...any) {
	k.Warnings = append(k.Warnings, k.Errorf(key, format, args...))
}

func (k *checker) spoiled(key string) bool {
	return slices.ContainsFunc(k.earlier, func(e *Error) bool {
		return e.Key == key || strings.HasPrefix(key, e.Key+".") || strings.HasPrefix(key, e.Key+"[") || strings.HasPrefix(e.Key, key+"[")
	})
}

func (k *checker) source() {
	if k.Strategy == OCIRootfs && !k.IsSet("source.image") {
		k.fail("source.image", `missing key "source.image": strategy oci_rootfs is made from an image (write image = "nginx:alpine" in [source])`)
	}
	if !k.Source.Busybox {
		for _, key := range []string{"source.busybox_url", "source.busybox_sha256", "source.busybox_mirrors"} {
			if k.IsSet(key) {
				k.fail(key, "%q has no meaning with busybox = false", key)
			}
		}
	}
	if k.IsSet("source.busybox_sha256") && !k.IsSet("source.busybox_url") && len(k.Source.BusyboxMirrors) == 0 {
		k.warn("source.busybox_sha256", `"source.busybox_sha256" without "source.busybox_url" must be that of the pinned busybox`)
	}
}

// agentKeys are the keys of [agent] that each strategy uses.
var agentKeys = map[string][]string{
	AgentRelease: {"version", "checksum", "base_url"},
	AgentLocal:   {"path", "checksum"},
	AgentHTTP:    {"url", "checksum"},
	AgentNone:    {},
}

func (k *checker) agent() {
	a := &k.Agent
	if k.Strategy == Initramfs && (k.IsSet("init.path") || k.Init.None) {
		k.agentBesideInit()
		return
	}
	for _, name := range []string{"version", "path", "url", "checksum", "base_url"} {
		key := "agent." + name
		if k.IsSet(key) && !slices.Contains(agentKeys[a.SourceStrategy], name) && !k.spoiled("agent.source_strategy") {
			k.fail(key, "%q has no meaning with source_strategy = %q%s", key, a.SourceStrategy, strategyFor(name))
		}
	}
	switch a.SourceStrategy {
	case AgentRelease:
		if a.Version == "" {
			a.Version = "latest"
		}
	case AgentLocal:
		k.needed("agent.path", `write path = "kestrel"`)
	case AgentHTTP:
		k.needed("agent.url", `write url = "https://..."`)
		k.needed("agent.checksum", "the agent is PID 1 of every VM, so it is not taken unchecked")
	}
}

func strategyFor(name string) string {
	for _, s := range []string{AgentLocal, AgentHTTP, AgentRelease} {
		if slices.Contains(agentKeys[s], name) {
			return fmt.Sprintf(" (it belongs to source_strategy = %q)", s)
		}
	}
	return ""
}

func (k *checker) needed(key, why string) {
	if !k.IsSet(key) {
		k.fail(key, "missing key %q: source_strategy = %q needs it (%s)", key, k.Agent.SourceStrategy, why)
	}
}

// agentBesideInit: with an init of the author's own there is no agent.
func (k *checker) agentBesideInit() {
	if k.IsSet("agent") && k.Agent.SourceStrategy != AgentNone {
		k.fail("agent", `[agent] and [init] exclude each other: an init of your own runs instead of the agent (remove [agent], or [init])`)
	}
	k.Agent = Agent{SourceStrategy: AgentNone}
}

func (k *checker) init() {
	if k.IsSet("init.path") && k.Init.None {
		k.fail("init.none", `"init.path" and "init.none" exclude each other: none means that /init in the artifact is already yours`)
	}
	if p := k.Init.Path; p != "" {
		if why := badInit(p); why != "" {
			k.fail("init.path", `"init.path" is %q, which %s`, p, why)
		}
	}
	if k.Strategy != Initramfs {
		return
	}
	if k.Init.None || k.Init.Path != "" {
		k.ownInit()
	} else if k.IsSet("agent.source_strategy") && k.Agent.SourceStrategy == AgentNone {
		k.fail("agent.source_strategy", `without an agent nothing runs in the VM: write [init] path = "..." for an init of your own, or none = true to map an /init`)
	}
	k.mappedInit()
}

// ownInit looks at what a project's own init needs.
func (k *checker) ownInit() {
	if k.Init.None && !k.IsSet("source.image") && !k.mapsInit() {
		k.fail("init.none", `"init.none" needs an /init in the artifact: map one ("my-init" = "/init") or name an image that has it`)
	}
}

// mappedInit refuses mappings to names that fledge itself fills. What a mapped
// folder brings is seen when it is read.
func (k *checker) mappedInit() {
	reserved := k.Reserved()
	for _, m := range k.Mappings {
		if why := reserved[path.Clean(m.Dest)]; why != "" {
			k.errs = append(k.errs, &Error{File: k.File, Line: m.Line, Column: m.Column, Key: "mappings", Message: why})
		}
	}
}

// Reserved are the paths of the artifact that no mapping may fill, each with the
// reason.
func (c *Config) Reserved() map[string]string {
	names := map[string]string{}
	if c.Strategy != Initramfs {
		return names
	}
	if !c.Init.None {
		names["/init"] = `"/init" is fledge's own, which mounts file systems first: write [init] none = true to bring the whole /init, or [init] path = "..." to have yours started by it`
	}
	if p := c.Init.Path; p != "" && !path.IsAbs(p) {
		names[ProjectInit] = fmt.Sprintf(`%q is where "init.path" = %q goes already`, ProjectInit, p)
	}
	return names
}

func badInit(p string) string {
	if strings.HasPrefix(p, "/") {
		return badDest(p)
	}
	return badSource(p)
}

// mapsInit reports whether a mapping may bring an /init: itself, or with a folder.
func (k *checker) mapsInit() bool {
	return slices.ContainsFunc(k.Mappings, func(m Mapping) bool {
		dest := path.Clean(m.Dest)
		return dest == "/init" || dest == "/"
	})
}

// byKernel tells whether the type is one that only the kernel writes.
func (f Filesystem) byKernel() bool { return f.Type == "xfs" || f.Type == "btrfs" }

// ByKernel tells whether the artifact is a filesystem that only the kernel writes: it takes
// privileges, and its bytes are others in each build.
func (c *Config) ByKernel() bool { return c.Strategy == OCIRootfs && c.Filesystem.byKernel() }

// checkBuilder refuses a builder that does not write the type.
func (f Filesystem) checkBuilder() error {
	switch {
	case f.Builder == "loop" && !f.byKernel():
		return fmt.Errorf("%s is written without a loop device; remove builder", f.Type)
	case f.Builder == "userspace" && f.byKernel():
		return fmt.Errorf("only the kernel writes %s; remove builder, or use type = \"ext4\" or \"squashfs\"", f.Type)
	}
	return nil
}

// SetBuilder replaces filesystem.builder, if builder is not "", under the same rules. It
// changes nothing of a configuration that makes no filesystem.
func (c *Config) SetBuilder(builder string) error {
	if builder == "" {
		return nil
	}
	if !slices.Contains(builders, builder) {
		return fmt.Errorf("%q is none: want %s", builder, strings.Join(builders, ", "))
	}
	if c.Strategy != OCIRootfs {
		return nil
	}
	c.Filesystem.Builder = builder
	return c.Filesystem.checkBuilder()
}

// builders are the values of filesystem.builder.
var builders = []string{"auto", "userspace", "loop"}

func (k *checker) archive() {
	i := k.Initramfs
	switch {
	case !k.IsSet("initramfs.level"):
	case i.Compression == "none":
		k.fail("initramfs.level", `"initramfs.level" has no meaning with compression = "none"`)
	case i.Compression == "gzip" && i.Level > 9:
		k.fail("initramfs.level", `"initramfs.level" is %d, want 1 to 9 for gzip`, i.Level)
	}
}

// filesystem looks at what belongs to one type of file system only. Settings of another
// are warned of: people switch between types.
func (k *checker) filesystem() {
	f := k.Filesystem
	if k.Strategy != OCIRootfs {
		return
	}
	if f.Type != "ext4" {
		k.warn("filesystem.type", "stock Volant boots only ext4, not %s", f.Type)
	}
	if err := f.checkBuilder(); err != nil {
		k.fail("filesystem.builder", "%v", err)
	}
	if k.IsSet("filesystem.journal_mb") && f.Type != "ext4" {
		k.warn("filesystem.journal_mb", `"filesystem.journal_mb" is for ext4 only`)
	}
	if f.Type != "squashfs" {
		for _, key := range []string{"filesystem.compression", "filesystem.compression_level"} {
			if k.IsSet(key) {
				k.warn(key, "%q is for squashfs only", key)
			}
		}
		return
	}
	for _, key := range []string{"filesystem.size_buffer_mb", "filesystem.preallocate"} {
		if k.IsSet(key) {
			k.warn(key, "%q has no effect with squashfs, which is read-only and has no free space", key)
		}
	}
	switch {
	case !k.IsSet("filesystem.compression_level"):
	case f.Compression == "none":
		k.fail("filesystem.compression_level", `"filesystem.compression_level" has no meaning with compression = "none"`)
	case f.Compression == "gzip" && f.CompressionLevel > 9:
		k.fail("filesystem.compression_level", `"filesystem.compression_level" is %d, want 1 to 9 for gzip`, f.CompressionLevel)
	}
}

// unused warns of tables and keys that the strategy does not look at.
func (k *checker) unused() {
	var keys []string
	switch k.Strategy {
	case OCIRootfs:
		keys = []string{"init", "initramfs", "source.busybox", "source.busybox_url", "source.busybox_sha256", "source.busybox_mirrors"}
	case Initramfs:
		keys = []string{"filesystem"}
		if !k.IsSet("source.image") {
			keys = append(keys, "source.plain_http")
		}
	}
	for _, key := range keys {
		if k.IsSet(key) {
			k.warn(key, "%q has no effect with strategy = %q", key, k.Strategy)
		}
	}
}

// normalize gives checksums their one form: agent and disk as the manifest has
// it, busybox as bare hex digits, all in lower case.
func (k *checker) normalize() {
	if s := &k.Agent.Checksum; *s != "" {
		*s = "sha256:" + bareSHA256(*s)
	}
	if s := &k.Source.BusyboxSHA256; *s != "" {
		*s = bareSHA256(*s)
	}
	for i := range k.Disks {
		if s := &k.Disks[i].Checksum; *s != "" {
			*s = "sha256:" + bareSHA256(*s)
		}
	}
}

func bareSHA256(s string) string { return strings.ToLower(strings.TrimPrefix(s, "sha256:")) }

// words applies the manifest's rules to what the file says of the manifest. What
// it does not say is filled in with something valid first.
func (k *checker) words() {
	m := k.manifest()
	if k.Strategy == Initramfs {
		m.Initramfs = &manifest.Initramfs{URL: cmp.Or(k.Plugin.URL, "/a"), Checksum: sampleChecksum}
	} else {
		m.Rootfs = &manifest.Rootfs{URL: cmp.Or(k.Plugin.URL, "/a"), Checksum: sampleChecksum}
	}
	fill(m)
	for _, p := range m.Validate() {
		key := configKey(p.Key)
		if !k.says(key) {
			continue
		}
		text := fmt.Sprintf("%q: %s", key, p.Message)
		if p.Fix != "" {
			text += " (" + p.Fix + ")"
		}
		if p.Warning {
			k.warn(key, "%s", text)
		} else {
			k.fail(key, "%s", text)
		}
	}
}

// says reports whether the file has key or a table around it.
func (k *checker) says(key string) bool {
	for path := manifest.SplitKey(key); len(path) > 0; path = path[:len(path)-1] {
		if k.IsSet(manifest.JoinKey(path...)) {
			return true
		}
	}
	return false
}

const sampleChecksum = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// fill gives m what later sources would, so that only what is there is judged.
func fill(m *manifest.Manifest) {
	m.SchemaVersion, m.Enabled = manifest.SchemaVersion, true
	m.Name, m.Version = cmp.Or(m.Name, "a"), cmp.Or(m.Version, "0")
	m.Runtime = cmp.Or(m.Runtime, m.Name)
	m.Resources.CPUCores = cmp.Or(m.Resources.CPUCores, 1)
	m.Resources.MemoryMB = cmp.Or(m.Resources.MemoryMB, 1)
	m.Workload.Type = cmp.Or(m.Workload.Type, manifest.WorkloadHTTP)
	m.Workload.BaseURL = cmp.Or(m.Workload.BaseURL, defaultBaseURL)
	argv := slices.Clone(m.Workload.Entrypoint)
	switch {
	case len(argv) == 0:
		argv = []string{"/a"}
	case argv[0] != "" && !strings.HasPrefix(argv[0], "/"):
		argv[0] = "/" + argv[0] // made absolute by the image's PATH or WORKDIR
	}
	m.Workload.Entrypoint = argv
}

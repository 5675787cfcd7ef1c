package manifest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// CommandLineLimit is the longest kernel command line that an x86 kernel keeps,
// in bytes (COMMAND_LINE_SIZE is 2048 with the final NUL). It drops the rest
// without a word; a manifest cut short cannot be decoded and the VM halts.
const CommandLineLimit = 2047

// What the command line says besides the manifest, with everything that the
// Volant host decides at its longest: IPv4 addresses of 15 bytes, a VM name of
// 63 bytes (a DNS label), an API address of 15 and a port of 5.
var (
	fixedPart = "console=ttyS0 reboot=k panic=1 quiet loglevel=1 i8042.noaux i8042.nokbd pci=lastbus=0" +
		" ip=255.255.255.255::255.255.255.255:255.255.255.255:" + strings.Repeat("v", 63) + ":eth0:off" +
		" volant.api_host=255.255.255.255 volant.api_port=65535 volant.runtime= volant.plugin= volant.manifest="
	rootfsPart = " volant.rootfs_device=vda volant.rootfs_fstype=ext4"
)

// encodingMargin is added to the compressed size, in bytes: Volant writes the
// JSON keys in an order of its own, which moves the result by a few bytes.
const encodingMargin = 24

// CommandLine is the room that a manifest takes on the kernel command line.
type CommandLine struct {
	Used     int            // bytes of the whole line, as estimated
	Limit    int            // CommandLineLimit
	Manifest int            // bytes of the encoded manifest in it
	Largest  []Contribution // what takes most of the manifest's bytes, largest first
}

// Contribution is what leaving one part out would save.
type Contribution struct {
	Key   string
	Bytes int
}

// CommandLine estimates the kernel command line of a VM of this plugin, on the
// safe side: the manifest as Volant normalizes it, encoded as compact JSON with
// HTML escapes, compressed by gzip at the weaker of its usual levels, in padded
// base64url, plus a margin, and everything that the host decides at its longest.
// Arguments that a VM's creator adds come on top.
func (m *Manifest) CommandLine() CommandLine {
	size := encodedSize(m)
	line := CommandLine{Used: m.plainSize() + size, Limit: CommandLineLimit, Manifest: size}
	for _, p := range m.largestParts() {
		saved := size - encodedSize(p.without)
		if saved > 0 {
			line.Largest = append(line.Largest, Contribution{Key: p.key, Bytes: saved})
		}
	}
	slices.SortStableFunc(line.Largest, func(a, b Contribution) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return line
}

// plainSize is the length of the line without the encoded manifest.
func (m *Manifest) plainSize() int {
	size := len(fixedPart) + len(m.Name) + len(m.Runtime)
	if m.Rootfs != nil {
		size += len(rootfsPart)
	}
	return size
}

// encodedSize is the length of the value of volant.manifest.
func encodedSize(m *Manifest) int {
	text, err := json.Marshal(normalized(m))
	if err != nil { // no field of a Manifest can fail
		return 0
	}
	size := max(gzipSize(text, gzip.DefaultCompression), gzipSize(text, gzip.BestSpeed))
	return base64.URLEncoding.EncodedLen(size + encodingMargin)
}

func gzipSize(text []byte, level int) int {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil { // both levels exist
		return len(text)
	}
	_, _ = w.Write(text) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Len()
}

// normalized is m with what Volant adds at install: its two labels and the
// defaults of the optional tables.
func normalized(m *Manifest) *Manifest {
	c := *m
	c.Labels = maps.Clone(m.Labels)
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	c.Labels[labelPlugin], c.Labels[labelRuntime] = m.Name, m.Runtime
	if m.Rootfs != nil {
		r := *m.Rootfs
		r.Format = cmp.Or(r.Format, "raw")
		c.Rootfs = &r
	}
	if m.CloudInit != nil {
		ci := *m.CloudInit
		ci.Datasource, ci.SeedMode = cmp.Or(ci.Datasource, "NoCloud"), cmp.Or(ci.SeedMode, "vfat")
		c.CloudInit = &ci
	}
	return &c
}

// A part is something that an author can leave out of a manifest.
type part struct {
	key     string
	without *Manifest // the manifest without it
}

const partsMeasured = 8

// largestParts returns at most partsMeasured parts, which is what keeps
// CommandLine quick on a manifest with very many.
func (m *Manifest) largestParts() []part {
	type candidate struct {
		key    string
		length int // bytes before compression, to find the large ones cheaply
		remove func(c *Manifest)
	}
	var all []candidate
	add := func(length int, remove func(c *Manifest), path ...string) {
		all = append(all, candidate{JoinKey(path...), length, remove})
	}
	for k, v := range m.Workload.Env {
		add(len(k)+len(v), func(c *Manifest) { c.Workload.Env = without(m.Workload.Env, k) }, "workload", "env", k)
	}
	for k, v := range m.Labels {
		add(len(k)+len(v), func(c *Manifest) { c.Labels = without(m.Labels, k) }, "labels", k)
	}
	for k, v := range m.Actions {
		add(len(k)+jsonSize(v), func(c *Manifest) { c.Actions = without(m.Actions, k) }, "actions", k)
	}
	add(jsonSize(m.Workload.Entrypoint), func(c *Manifest) { c.Workload.Entrypoint = nil }, "workload", "entrypoint")
	add(len(m.OpenAPI), func(c *Manifest) { c.OpenAPI = "" }, "openapi")
	add(jsonSize(m.CloudInit), func(c *Manifest) { c.CloudInit = nil }, "cloud_init")
	add(jsonSize(m.Disks), func(c *Manifest) { c.Disks = nil }, "disks")
	add(jsonSize(m.Devices), func(c *Manifest) { c.Devices = nil }, "devices")
	if m.Rootfs != nil {
		add(len(m.Rootfs.URL), func(c *Manifest) { c.Rootfs = &Rootfs{Checksum: m.Rootfs.Checksum} }, "rootfs", "url")
	}
	if m.Initramfs != nil {
		add(len(m.Initramfs.URL), func(c *Manifest) { c.Initramfs = &Initramfs{Checksum: m.Initramfs.Checksum} }, "initramfs", "url")
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.length, a.length), cmp.Compare(a.key, b.key))
	})
	var parts []part
	for _, c := range all[:min(partsMeasured, len(all))] {
		rest := *m
		c.remove(&rest)
		parts = append(parts, part{c.key, &rest})
	}
	return parts
}

func without[V any](m map[string]V, key string) map[string]V {
	c := maps.Clone(m)
	delete(c, key)
	return c
}

func jsonSize(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	return len(text)
}

package manifest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// CommandLineLimit is the longest kernel command line that an x86 kernel keeps,
// in bytes (COMMAND_LINE_SIZE is 2048 with the final NUL). It drops the rest
// without a word; a manifest cut short cannot be decoded and the VM halts.
const CommandLineLimit = 2047

// Host is what a Volant host decides when it starts a VM, as far as the kernel
// command line tells it. No field may hold white space, Extra aside.
type Host struct {
	VM                        string // name of the VM, which is the guest's host name
	Address, Gateway, Netmask string // IPv4, of the guest's eth0
	APIHost                   string // where the guest reaches volantd
	APIPort                   int
	Console                   string // "ttyS0" on Volant, which "" means too
	Extra                     string // arguments that the VM's creator adds
}

// longestHost has everything that the host decides at its longest: a VM name of
// 63 bytes (a DNS label), IPv4 addresses of 15 and a port of 5.
var longestHost = Host{
	VM:      strings.Repeat("v", 63),
	Address: longestAddress, Gateway: longestAddress, Netmask: longestAddress,
	APIHost: longestAddress, APIPort: 65535,
}

const longestAddress = "255.255.255.255"

// KernelCommandLine returns the line with which a host boots a VM of this plugin.
// The words and their order are Volant's (it varies that of the last seven); the
// first of two words with one name counts, so Extra overrides what follows it. A
// line of more than CommandLineLimit bytes is an error that names what takes most.
func (m *Manifest) KernelCommandLine(h Host) (string, error) {
	encoded, err := m.encodeForCommandLine()
	if err != nil {
		return "", fmt.Errorf("making the kernel command line: %w", err)
	}
	line := m.commandLineWith(h, encoded)
	if len(line) > CommandLineLimit {
		largest := ""
		for _, part := range m.CommandLine().Largest[:min(3, len(m.CommandLine().Largest))] {
			largest += fmt.Sprintf(", %s %d", part.Key, part.Bytes)
		}
		return "", fmt.Errorf("making the kernel command line: it has %d bytes, the kernel keeps %d; the manifest takes %d of them%s",
			len(line), CommandLineLimit, len(encoded), largest)
	}
	return line, nil
}

func (m *Manifest) commandLineWith(h Host, encoded string) string {
	words := []string{
		"console=" + cmp.Or(h.Console, "ttyS0"),
		"reboot=k panic=1 quiet loglevel=1 i8042.noaux i8042.nokbd pci=lastbus=0",
		"ip=" + h.Address + "::" + h.Gateway + ":" + h.Netmask + ":" + h.VM + ":eth0:off",
	}
	if h.Extra != "" {
		words = append(words, h.Extra)
	}
	words = append(words, "volant.runtime="+m.Runtime, "volant.api_host="+h.APIHost, "volant.api_port="+strconv.Itoa(h.APIPort),
		"volant.plugin="+m.Name, "volant.manifest="+encoded)
	if m.Rootfs != nil {
		words = append(words, "volant.rootfs_device=vda", "volant.rootfs_fstype=ext4")
	}
	return strings.Join(words, " ")
}

// encodeForCommandLine is the manifest as Volant hands it to its agent: gzip of
// JSON in base64url without padding.
func (m *Manifest) encodeForCommandLine() (string, error) {
	text, err := json.Marshal(normalized(m))
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(text) // a bytes.Buffer takes everything
	_ = w.Close()
	return base64.RawURLEncoding.EncodeToString(packed.Bytes()), nil
}

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
func (m *Manifest) plainSize() int { return len(m.commandLineWith(longestHost, "")) }

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

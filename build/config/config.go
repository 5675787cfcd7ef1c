package config

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/volant/fledge-action/manifest"
)

// FileName is the configuration that is read when none is named.
const FileName = "fledge.toml"

// Values of Config.Strategy.
const (
	OCIRootfs = "oci_rootfs"
	Initramfs = "initramfs"
)

// Values of Agent.SourceStrategy.
const (
	AgentRelease = "release"
	AgentLocal   = "local"
	AgentHTTP    = "http"
	AgentNone    = "none"
)

// Config is a fledge.toml with its defaults filled in. Where a default depends
// on the image (see [Merge]) the field is zero when the file does not give it.
//
// The struct tags are the one table of keys: messages, the editor schema and the
// reference in docs/fledge-toml.md are made from them.
type Config struct {
	Version     string                     `toml:"version" required:"true" enum:"1" doc:"Version of this file's format."`
	Strategy    string                     `toml:"strategy" required:"true" enum:"oci_rootfs,initramfs" doc:"What is built: a disk image from an OCI image, or an archive that the kernel unpacks into memory."`
	Plugin      Plugin                     `toml:"plugin" doc:"What the plugin is called."`
	Source      Source                     `toml:"source" doc:"What the plugin is made from."`
	Agent       Agent                      `toml:"agent" doc:"The kestrel agent that goes into the artifact. Without this table the latest release."`
	Mappings    Mappings                   `toml:"mappings" doc:"Files of the project and where they go: \"source\" = \"/destination\"."`
	Filesystem  Filesystem                 `toml:"filesystem" doc:"The disk image of strategy oci_rootfs."`
	Init        Init                       `toml:"init" doc:"What runs as PID 1 of an initramfs. Without this table the agent does."`
	Initramfs   Archive                    `toml:"initramfs" doc:"The archive of strategy initramfs."`
	Build       Build                      `toml:"build" doc:"Bounds of the build."`
	Resources   manifest.Resources         `toml:"resources" doc:"What the plugin asks for."`
	Workload    manifest.Workload          `toml:"workload" doc:"The program that the VM runs. What is not given comes from the image."`
	HealthCheck *manifest.HealthCheck      `toml:"health_check" doc:"How the agent finds out that the workload answers. Without this table it does not ask."`
	Network     *manifest.Network          `toml:"network" doc:"How the VM is attached to the network."`
	Actions     map[string]manifest.Action `toml:"actions" doc:"Calls that Volant offers on the plugin's behalf, one table each."`
	Disks       []manifest.Disk            `toml:"disks" doc:"Further disks, one [[disks]] each. Only with strategy oci_rootfs."`
	CloudInit   *manifest.CloudInit        `toml:"cloud_init" doc:"Seed for cloud-init. Only with strategy oci_rootfs."`
	Devices     *manifest.Devices          `toml:"devices" doc:"Host devices of the VM."`

	File     string `toml:"-"` // name of the file, for messages
	Dir      string `toml:"-"` // its folder: paths in it are relative to this
	Digest   string `toml:"-"` // "sha256:" and hex, of the file's bytes
	Warnings Errors `toml:"-"` // what is allowed and probably not meant

	places Places
}

// Plugin names the plugin.
type Plugin struct {
	Name    string            `toml:"name" format:"name" fallback:"the image's name, without registry, folder and tag" doc:"Name of the plugin and of the artifact's file."`
	Version string            `toml:"version" format:"version" fallback:"the image's tag when it begins like a version, else 0.0.0" doc:"Version of the application."`
	Runtime string            `toml:"runtime" format:"name" fallback:"the plugin's name" doc:"Runtime identifier."`
	URL     string            `toml:"url" format:"artifact-url" fallback:"the absolute path of the artifact" doc:"Where Volant will find the artifact: an https URL, or a path on the Volant host."`
	Labels  map[string]string `toml:"labels" doc:"Labels of the plugin. They travel on the kernel command line: keep them short."`
	OpenAPI string            `toml:"openapi" doc:"Where the workload's OpenAPI document is: a URL, or a path below base_url."`
}

// Source says what goes into the artifact besides the project's files.
type Source struct {
	Image          string   `toml:"image" format:"image" doc:"OCI image: a reference such as nginx:alpine, or docker://, oci:, oci-archive:, docker-archive: or docker-daemon: and what it names. Needed with strategy oci_rootfs."`
	Platform       string   `toml:"platform" format:"platform" default:"linux/amd64" doc:"Platform that is chosen from an image index."`
	PlainHTTP      bool     `toml:"plain_http" default:"false" doc:"Talk to the registry without TLS. Loopback registries need no permission."`
	Busybox        bool     `toml:"busybox" default:"true" doc:"Put busybox into an initramfs, with a link for each of its programs. false leaves it out."`
	BusyboxURL     string   `toml:"busybox_url" format:"file-url" fallback:"a pinned release" doc:"Static busybox of an initramfs: a URL or a path relative to this file."`
	BusyboxSHA256  string   `toml:"busybox_sha256" format:"sha256" fallback:"that of the pinned release" doc:"sha256 of busybox. Needed with a busybox_url of your own."`
	BusyboxMirrors []string `toml:"busybox_mirrors" format:"file-url" doc:"Further places of the same file, tried in this order."`
}

// LocalBusybox reports whether busybox is looked for in files only.
func (s Source) LocalBusybox() bool {
	return s.Busybox && s.BusyboxURL != "" && !slices.ContainsFunc(append([]string{s.BusyboxURL}, s.BusyboxMirrors...), func(place string) bool {
		u, err := url.Parse(place)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https")
	})
}

// Agent says where the kestrel agent comes from.
type Agent struct {
	SourceStrategy string `toml:"source_strategy" enum:"release,local,http,none" default:"release" doc:"A release of Volant, a file of yours, a URL, or no agent in the artifact."`
	Version        string `toml:"version" format:"version" fallback:"latest" doc:"With release: the release, with or without 'v', or latest."`
	Path           string `toml:"path" doc:"With local: the file, relative to this file."`
	URL            string `toml:"url" format:"http-url" doc:"With http: where it is."`
	Checksum       string `toml:"checksum" format:"sha256" doc:"sha256 of the agent. Needed with http; with release it is checked besides the release's own list."`
	BaseURL        string `toml:"base_url" format:"api-url" fallback:"https://api.github.com" doc:"With release: the GitHub API that is asked. https, or http on loopback."`
}

// Filesystem is the disk image of strategy oci_rootfs.
type Filesystem struct {
	Type             string `toml:"type" enum:"ext4,xfs,btrfs,squashfs" default:"ext4" doc:"File system of the image. Volant boots only ext4 unless you give it another kernel."`
	Builder          string `toml:"builder" enum:"auto,userspace,loop" fallback:"auto" doc:"How the image is written: by fledge itself, or by the kernel through a loop device. ext4 and squashfs are written by fledge, xfs and btrfs by the kernel."`
	SizeBufferMB     int    `toml:"size_buffer_mb" min:"0" max:"122880" default:"100" doc:"MB that can be written in the VM besides what the image holds. 16 are free at least: the agent copies itself in at boot. Not for squashfs, which is read-only."`
	JournalMB        int    `toml:"journal_mb" min:"4" max:"1024" zero:"true" default:"4" doc:"Size of the ext4 journal in MB, 0 for none. Volant downloads it at every start of a VM."`
	Preallocate      bool   `toml:"preallocate" default:"false" doc:"Write the image's empty blocks instead of leaving holes in the file."`
	Compression      string `toml:"compression" enum:"zstd,gzip,none" fallback:"zstd" doc:"Compression of a squashfs."`
	CompressionLevel int    `toml:"compression_level" min:"1" max:"22" fallback:"3 for zstd, 9 for gzip" doc:"Compression level of a squashfs, 1 to 22 for zstd and 1 to 9 for gzip."`
}

// Init says what is PID 1 of an initramfs.
type Init struct {
	Path string `toml:"path" doc:"Your init, started after the file systems are mounted: an absolute path in the artifact, or a file relative to this one, which becomes /sbin/init."`
	None bool   `toml:"none" default:"false" doc:"No init is added: /init is yours, from a mapping or an image."`
}

// Archive is the archive of strategy initramfs.
type Archive struct {
	Compression string `toml:"compression" enum:"gzip,zstd,none" default:"gzip" doc:"Compression of the archive."`
	Level       int    `toml:"level" min:"1" max:"19" fallback:"the one measured best" doc:"Compression level, 1 to 9 for gzip and 1 to 19 for zstd."`
}

// Build bounds the build.
type Build struct {
	MaxSizeMB int `toml:"max_size_mb" min:"1" max:"16777216" fallback:"no limit" doc:"The build fails when the artifact is larger than this many MB, and names the largest folders."`
}

// Load reads the configuration at path: a file, or a folder with a [FileName].
// The returned error is [Errors] when the file could be read.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	text, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, text)
}

// ReadFile reads a regular file, but no more of it than shows that it is larger
// than [MaxSize].
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	return text, errors.Join(err, f.Close())
}

// Parse reads a configuration. file is its name: messages begin with it, and
// Config.Dir is its folder. The error is [Errors], all of them.
func Parse(file string, text []byte) (*Config, error) {
	doc, bad := read(file, text)
	if bad != nil {
		return nil, Errors{bad}
	}
	c := &Config{File: file, Dir: filepath.Dir(file), Digest: digest(text)}
	d := decode(doc, c)
	c.places = d.places
	errs := append(d.errs, c.check(d.errs)...)
	if len(errs) > 0 {
		return nil, errs.sorted()
	}
	c.Warnings = c.Warnings.sorted()
	return c, nil
}

func digest(text []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(text)) }

// IsSet reports whether the file itself gives the key, which tells a default
// from the same value written down.
func (c *Config) IsSet(key string) bool {
	_, ok := c.places[key]
	return ok
}

// Place is where the file gives key, or the nearest table around it; the
// beginning of the file when it has neither.
func (c *Config) Place(key string) Position {
	return c.places.Of(key)
}

// Errorf makes an *Error at the place of key, for what is found later.
func (c *Config) Errorf(key, format string, args ...any) *Error {
	p := c.Place(key)
	return &Error{File: c.File, Line: p.Line, Column: p.Column, Key: key, Message: fmt.Sprintf(format, args...)}
}

// A Mapping puts a file or folder of the project into the artifact.
type Mapping struct {
	Source string // relative to Config.Dir, as written; a trailing slash is kept
	Dest   string // absolute; with a trailing slash a file goes into that folder
	Line   int    // where the mapping stands, from 1
	Column int
}

// Mappings are sorted by destination, then source: their order in the file has
// no meaning.
type Mappings []Mapping

func (m Mappings) sort() {
	slices.SortFunc(m, func(a, b Mapping) int {
		return cmp.Or(cmp.Compare(a.Dest, b.Dest), cmp.Compare(a.Source, b.Source))
	})
}

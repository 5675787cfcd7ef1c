package plan

import (
	"context"
	"os"
)

// Plugin is one fledge.toml.
type Plugin struct {
	// Name is what a build will call the plugin, and the stem of its files. It has the form
	// [A-Za-z0-9][A-Za-z0-9._-]*, so it can be the name of a job, an artifact or a folder.
	Name string `json:"name"`
	// Config is the path of the fledge.toml, with slashes, relative to the root.
	Config   string `json:"config"`
	Platform string `json:"platform"` // "linux/amd64"
	Runner   string `json:"runner"`   // label of GitHub's runner of that platform, for 'fledge boot'
	Strategy string `json:"strategy"` // "oci_rootfs" or "initramfs"
	// Artifact is the name that a build gives the file by itself: "web.img".
	Artifact string `json:"-"`
	// Dir is the folder of Config, "." for the root.
	Dir string `json:"-"`

	configDigest, lockDigest string // "sha256:" and hex; "" without a fledge.lock
}

// Find reads the fledge.toml files below root that the patterns name, each once. No pattern
// means [DefaultPattern]. A pattern that finds nothing is an error.
func Find(root *os.Root, patterns []string) ([]Plugin, error) { return nil, nil }

// DefaultPattern finds the plugins of a repository.
const DefaultPattern = "**/fledge.toml"

// Comparer tells what changed in a repository between two commits, branches or tags: all
// files whose path, with slashes and relative to the repository, differs or did. all is set
// when they are too many to list.
type Comparer interface {
	Changed(ctx context.Context, base, head string) (files []string, all bool, err error)
}

// Changed are the plugins with a changed file in the folder of their fledge.toml. Prefix is
// the place of the root of [Find] in the repository, "" for the repository itself.
func Changed(plugins []Plugin, prefix string, files []string) []Plugin { return nil }

// Tagged are the plugins that a tag is for, and the version that it gives them: of "web/v1.2.3"
// or "web-v1.2.3" the plugin web, if there is one, and of "v1.2.3" all, with "1.2.3". A tag that
// has no version gives "" and is for all. "lib/v1.2.3" without a plugin lib is for none.
func Tagged(plugins []Plugin, tag string) (selected []Plugin, version string) { return nil, "" }

// Limits of GitHub on a job matrix.
const (
	MaxJobs   = 256
	MaxMatrix = 1 << 20 // bytes of a job's outputs
)

// Matrix is one line of JSON without a line break, for strategy.matrix of GitHub Actions:
//
//	{"include":[{"name":"web","config":"web/fledge.toml","platform":"linux/amd64","runner":"ubuntu-24.04","strategy":"oci_rootfs"}]}
//
// Without plugins the list is empty, with which GitHub would fail the job: do not start it.
func Matrix(plugins []Plugin) ([]byte, error) { return nil, nil }

// CacheKey names what the builds of plugins download: "fledge-" and 64 hex digits. It is
// the sha256 of one line for each plugin: path, digest of its fledge.toml, digest of its
// fledge.lock or "-", with spaces between them. It changes with each of these files.
func CacheKey(plugins []Plugin) string { return "" }

// Limits of Find.
const (
	MaxPatterns = 256
	MaxEntries  = 100_000 // files and folders that are looked at
	MaxDepth    = 32      // folders in one another
	MaxPlugins  = 1000
)

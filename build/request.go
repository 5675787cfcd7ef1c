package build

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/build/size"
	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/manifest"
)

// DefaultEpoch is the time of what has none, when neither the caller nor the image
// gives one: 1980-01-01, the earliest that every archive format can hold.
var DefaultEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// ManifestName is the file that is written beside the artifact.
const ManifestName = "manifest.json"

// ManifestSuffix is behind the Stem of an artifact in the name of its manifest, where there
// are several plugins in one folder or release.
const ManifestSuffix = "." + ManifestName

// Request says what to build and with what.
type Request struct {
	Config   *config.Config
	Template *config.Template // manifest.toml or a JSON template; nil for none

	// Output is the artifact's path. One that ends in a slash is a folder, "" is WorkDir: the
	// artifact is NAME.img or NAME.cpio.gz in it. manifest.json is written beside it.
	Output  string
	WorkDir string // absolute; relative outputs and the manifest's url start here
	// URL is what the manifest says about where the artifact is; "" leaves it to
	// fledge.toml, and then to the artifact's absolute path. To one that ends in a slash
	// the artifact's file name is added.
	URL string
	// Version of the plugin, for the manifest and the SBOM; "" leaves it to fledge.toml,
	// and then to the image's tag. The artifact does not hold it.
	Version string
	Epoch   time.Time // SOURCE_DATE_EPOCH; zero takes it from the image

	Cache      *cache.Cache
	Transport  http.RoundTripper // nil is http.DefaultTransport
	Keychain   authn.Keychain    // registry credentials; nil asks anonymously
	Token      string            // for the GitHub API; "" asks anonymously
	DockerHost string            // for docker-daemon: images
	ProveAgent guest.Prover      // verifies attestations of the agent's release; nil does not look for any
	TempDir    string            // for spooled archives; "" is the system's

	// Mounter lets the kernel write xfs and btrfs; nil is loop.Local. ToolPath is where the
	// programs for them are, as in $PATH, beside the usual folders.
	Mounter  loop.Mounter
	ToolPath string

	// Lock says which image, agent and busybox are taken; nil for what their names
	// stand for at the time. A pin that does not fit Config is not used.
	Lock *lock.Lock
	// Locked makes an error of everything that neither Config nor Lock pins.
	Locked bool
	// Release warns of the same: what is published should be possible to build again.
	Release bool

	// LeaveOut are further files and folders that mapped folders leave out, as they do
	// with the build's own outputs.
	LeaveOut []string
	// Confirm, if not nil, is asked before the artifact and the manifest get their
	// names, which an error keeps from them. The Result is complete, and artifact can
	// be read.
	Confirm func(ctx context.Context, r *Result, artifact *os.File) error

	// AllowUnbootable makes warnings of what keeps the artifact from booting, or its
	// workload from starting.
	AllowUnbootable bool

	// ContentDigest asks for Result.ContentDigest, for which all contents are read once more.
	ContentDigest bool

	// SBOM is the format of the list of software that Result.SBOM is to hold; "" makes none.
	SBOM sbom.Format
	Tool string // version of fledge, for the SBOM

	Report func(Event) // may be nil; called from several goroutines
}

// Event is what a build tells while it runs.
type Event struct {
	Kind        EventKind
	Message     string
	Done, Total int64 // bytes, of Progress
}

// EventKind tells events apart.
type EventKind int

// Kinds of events.
const (
	StageBegins EventKind = iota // Message names a stage; the one before has ended
	Detail                       // Message is for those who want to know more
	Warning                      // Message is for everybody
	Progress                     // Done of Total bytes of the stage
)

// Material is something that a build has read: for provenance.
type Material struct {
	// Name is one of "image" (the platform's image manifest), "image index",
	// "image config", "image layer" (one each, the bottom one first), "agent",
	// "busybox", "init", "init shim", "mappings", "config" (the fledge.toml) and
	// "manifest template", in this order.
	Name    string `json:"name"`
	URI     string `json:"uri"`
	Digest  string `json:"digest"`
	Version string `json:"version,omitempty"` // of an agent from a release: its tag
	Signer  string `json:"signer,omitempty"`  // who signed the attestation of it that was verified
}

// Artifact is what a build has made.
type Artifact struct {
	Path   string `json:"path"`
	Format string `json:"format"` // of the bytes: "ext4", "squashfs", "xfs", "btrfs", "cpio.gz", "cpio.zst" or "cpio"
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
}

// Result describes a finished build.
type Result struct {
	Artifact     Artifact
	ManifestPath string
	Manifest     *manifest.Manifest
	Materials    []Material
	Epoch        time.Time
	Platform     string           // "linux/amd64"
	Filesystem   *ext4.Stats      // of an ext4 image, else nil
	Squashfs     *squashfs.Stats  // of a squashfs image, else nil
	Archive      *initramfs.Stats // of an initramfs, else nil
	Kernel       *loop.Stats      // of an xfs or btrfs image, else nil
	Size         *size.Report     // where the artifact's bytes are
	Warnings     []string
	// ContentDigest is of what the artifact holds, see package content: "sha256:" and hex, "" if
	// it was not asked for. It is always there if not Reproducible.
	ContentDigest string
	Reproducible  bool       // the same inputs give the same bytes; false of xfs and btrfs
	SBOM          *SBOM      // nil without Request.SBOM
	Unpinned      []string   // what neither fledge.toml nor the lock pins: names of package lock
	Tree          *tree.Tree // contents can be opened until the artifact is replaced
}

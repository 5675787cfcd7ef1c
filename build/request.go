package build

import (
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/build/size"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/manifest"
)

// DefaultEpoch is the time of what has none, when neither the caller nor the image
// gives one: 1980-01-01, the earliest that every archive format can hold.
var DefaultEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// ManifestName is the file that is written beside the artifact.
const ManifestName = "manifest.json"

// Request says what to build and with what.
type Request struct {
	Config   *config.Config
	Template *config.Template // manifest.toml or a JSON template; nil for none

	// Output is the artifact's path; "" is NAME.img or NAME.cpio.gz in WorkDir. manifest.json is
	// written beside it.
	Output  string
	WorkDir string // absolute; relative outputs and the manifest's url start here
	// URL is what the manifest says about where the artifact is; "" leaves it to
	// fledge.toml, and then to the artifact's absolute path.
	URL   string
	Epoch time.Time // SOURCE_DATE_EPOCH; zero takes it from the image

	Cache      *cache.Cache
	Transport  http.RoundTripper // nil is http.DefaultTransport
	Keychain   authn.Keychain    // registry credentials; nil asks anonymously
	Token      string            // for the GitHub API; "" asks anonymously
	DockerHost string            // for docker-daemon: images
	ProveAgent guest.Prover      // verifies attestations of the agent's release; nil does not look for any
	TempDir    string            // for spooled archives; "" is the system's

	// AllowUnbootable makes warnings of what keeps the artifact from booting, or its
	// workload from starting.
	AllowUnbootable bool

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
	Name   string `json:"name"` // "image", "image config", "agent", "busybox", "init", "init shim" or "mappings"
	URI    string `json:"uri"`
	Digest string `json:"digest"`
	Signer string `json:"signer,omitempty"` // who signed the attestation of it that was verified
}

// Artifact is what a build has made.
type Artifact struct {
	Path   string `json:"path"`
	Format string `json:"format"` // of the bytes: "ext4", "cpio.gz", "cpio.zst" or "cpio"
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
	Archive      *initramfs.Stats // of an initramfs, else nil
	Size         *size.Report     // where the artifact's bytes are
	Warnings     []string
	SBOM         *SBOM      // nil without Request.SBOM
	Tree         *tree.Tree // contents can be opened until the artifact is replaced
}

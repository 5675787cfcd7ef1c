package summary

// MaxSize is the longest page, in bytes. GitHub refuses a step's summary of more than
// 1 MiB, and shows none of it then.
const MaxSize = 900 << 10

// Page is what a run has to tell. The zero value of a field is nothing, and shows nothing.
// All of it may be hostile.
type Page struct {
	// Repo is the repository, as "owner/name", for verifying what was built in it.
	Repo string
	// Plugins are what was built, in the order to show.
	Plugins []Plugin
	// Previous is the release before this one, which each File is compared with; nil if
	// there is none.
	Previous *Link
	// Release is where the files are; nil if they are on none.
	Release *Release
	// Withheld tells why nothing was uploaded; nil if it was, or was not to be.
	Withheld *Withheld
	// Signature is that of all files; nil if they are unsigned.
	Signature *Signature
	// Unsigned tells why there is no Signature, "" for nothing to say.
	Unsigned string
	// Boots are results of 'fledge boot --json', in any order. Each belongs to the plugin
	// whose artifact has its digest; one without is shown as stale.
	Boots []Boot
	// Warnings are those of the run as a whole.
	Warnings []Message
	// Repeat are the run's commands that belong to no single plugin.
	Repeat []Command
	// Failure is why the run has failed; nil if it has not.
	Failure *Failure
	// Fledge is the version of the program.
	Fledge string
}

// Plugin is one plugin that was built.
type Plugin struct {
	Name     string
	Version  string
	Platform string // "linux/amd64"
	Config   string // path of its fledge.toml, relative to the workspace
	Artifact File
	Manifest File
	// Others are the files beside them: SBOM, build record, checksums, bundles.
	Others []File

	Reproducible Reproducible
	Format       string // of the artifact's bytes, as in build's JSON: "ext4", "cpio.gz" …
	Inputs       []Input
	Epoch        *int64   // seconds since 1970; nil if it is not known
	Unpinned     []string // as in build's JSON: "image", "agent", "busybox"
	SBOM         *SBOM    // nil if none was made
	Warnings     []Message
	Repeat       []Command // what makes the same files by hand

	// CPUs and MemoryMiB are the manifest's resources, for the command that makes a VM.
	// With 0 that command is not shown.
	CPUs, MemoryMiB int
}

// Kind is what a File is for.
type Kind string

// Kinds of files.
const (
	Artifact  Kind = "artifact"
	Manifest  Kind = "manifest"
	SBOMFile  Kind = "sbom"
	Record    Kind = "record"    // NAME.build.json
	Checksums Kind = "checksums" // SHA256SUMS
	Bundle    Kind = "bundle"    // NAME.sigstore.json: the provenance
	Bundles   Kind = "bundles"   // NAME.intoto.jsonl: all that is signed
)

// File is one file.
type File struct {
	// Name is its name on the release, or without one its base name.
	Name string
	// Path is where it lies, relative to the workspace; "" if it lies nowhere.
	Path string
	Kind Kind  // of Others; that of Plugin.Artifact and Plugin.Manifest is known
	Size int64 // bytes
	// Digest is "sha256:" and 64 hex digits.
	Digest string
	// URL is where it is downloaded; "" if it is on no release.
	URL string
	// Before is the file of that name, or for that purpose, on Page.Previous; nil if
	// there was none.
	Before *Before
}

// Before is a file of the release before this one.
type Before struct {
	Size   int64  // bytes
	Digest string // "sha256:" and hex; "" if it is not known
}

// Reproducible is what a second build has shown.
type Reproducible int

// What a second build has shown. One with other bytes is a Failure.
const (
	Unchecked Reproducible = iota // there was none
	SameBytes
	SameContent // in other bytes, as they must be of what a kernel writes
)

// Input is something that a plugin is made from; see build.Material.
type Input struct {
	Name    string // "image", "agent", "busybox" …
	URI     string // for people: an image's reference, an agent's URL
	Version string // "" if it has none
	Digest  string // "sha256:" and hex
	Signer  string // whose attestation of it was verified; "" for nobody's
}

// SBOM is a list of software.
type SBOM struct {
	Format   string // "spdx", "cyclonedx"
	Packages int
}

// Link is a name with a URL.
type Link struct{ Text, URL string }

// Release is a GitHub release.
type Release struct {
	Tag, URL   string
	Draft      bool // nobody sees it but who may write
	Immutable  bool
	Prerelease bool
	DryRun     bool // nothing was written: this is what would be
}

// Withheld is why files that could have been uploaded were not.
type Withheld struct {
	Why string // "this is a pull request of a fork, whose token cannot write"
	Fix string // what to do if it was to be otherwise; "" for nothing
	// Coming is set when a release of this commit will have the same bytes.
	Coming bool
}

// Signature is who signed, and who vouches.
type Signature struct {
	// Identity and Issuer are those of the certificate: the workflow's URL with its ref,
	// and who issued the job's token. Both are empty when a key signed.
	Identity, Issuer string
	// Key is the hint of the key that signed; "" for keyless signing.
	Key string
	// Workflow is what 'fledge verify --signer-workflow' wants, "owner/name/path", when
	// the signer is a workflow of another repository than Page.Repo; else "".
	Workflow string
	// TrustedRoot is set when the signature is verified with a trusted root of one's own.
	TrustedRoot bool
	// Attestations are the pages at GitHub that have the statements, one for each file or
	// one for all.
	Attestations []Link
}

// Boot is what 'fledge boot --json' prints.
type Boot struct {
	Artifact     string // path or name, as it was booted
	Digest       string // "sha256:" and hex, of what was booted
	Result       string // "PASS"; anything else is shown as a failure
	Milliseconds int64
	Kernel       string
	Accelerator  string // "kvm", "tcg"
	CPUs         int
	MemoryMiB    int
}

// Message is a warning or an error.
type Message struct {
	Text string
	Hint string // what to do, "" if Text says it
	Place
}

// Place is where to change something. The zero value is nowhere.
type Place struct {
	File string // relative to the workspace
	Line int    // from 1; 0 for the file as a whole
	// URL shows the place, "" for no link.
	URL string
}

// Failure is why a run failed.
type Failure struct {
	Plugin   string    // name or fledge.toml of the plugin that failed; "" for the whole run
	Stage    string    // what was being done: "building", "signing as …"
	Problems []Message // the causes, each with its fix and place
}

// Command is a command line for people to copy.
type Command struct {
	Dir  string   // relative to the workspace; "" for the workspace
	Env  []string // NAME=value, before the program. Secrets do not belong here
	Argv []string // the program and its arguments
}

package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Limits of a build record.
const (
	MaxRecord       = 4 << 20 // bytes
	MaxDependencies = 4096
	maxOptions      = 256
)

const (
	pluginBuildType = "https://github.com/volant/fledge-action/buildtypes/plugin/v1"
	builderID       = "https://github.com/volant/fledge-action"
)

// A Record is what fledge did in one build, complete enough to do it again.
// Nothing in it tells when or on which machine it was done: a rebuild has the same record.
type Record struct {
	Fledge   Program // what built
	Config   File    // fledge.toml
	Template *File   // manifest.toml or a JSON template; nil without one

	Strategy string // "oci_rootfs" or "initramfs"
	Format   string // of the artifact's bytes: "ext4", "squashfs", "xfs", "btrfs", "cpio.gz", "cpio.zst" or "cpio"
	Platform string // "linux/amd64"
	Epoch    int64  // seconds since 1970: the time of everything that has none

	// ContentDigest is of what the artifact holds, however it is stored: "sha256:" and 64
	// lower-case hex digits, as docs/content-digest.md defines it. "" in records of older versions.
	ContentDigest string
	// Unreproducible says that another build makes other bytes, as with xfs and btrfs. Then
	// ContentDigest is there, and what it makes is compared by that.
	Unreproducible bool

	// Options are those of the command line that change the artifact, the manifest or what is
	// accepted, by the names of the flags; values as fledge writes them.
	Options map[string]string

	// Dependencies are all that the build has read, in the order of the build:
	// an image's layers from the lowest to the topmost.
	Dependencies []Dependency
}

// A Program is an executable.
type Program struct {
	Version string // as "fledge version" tells it
	SHA256  string // of the executable, 64 lower-case hex digits
}

// A File is a file of the project.
type File struct {
	Name   string // below the project folder, with slashes
	SHA256 string // 64 lower-case hex digits
}

// A Dependency is something that a build has read.
type Dependency struct {
	Name    string            // "image", "image index", "layer", "agent", "busybox", "mappings" …
	URI     string            // where from: https, git+https or pkg, as of ImageURI; "" if from the project, the host or fledge itself
	Digest  map[string]string // algorithm to lower-case hex; at least one
	Version string            // of the agent, for instance; "" if unknown
	Proof   string            // how its origin was verified, in words; "" if only by its digest
}

// Names of options: what a build is made again with.
const (
	OptionArtifactURL     = "artifact-url"
	OptionAllowUnbootable = "allow-unbootable" // "true"
	OptionPluginVersion   = "plugin-version"
)

// The types below are the record's JSON. Their shape is that of SLSA provenance.
type record struct {
	BuildDefinition recordDefinition `json:"buildDefinition"`
	RunDetails      recordRun        `json:"runDetails"`
}

type recordDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   recordExternal `json:"externalParameters"`
	InternalParameters   recordInternal `json:"internalParameters"`
	ResolvedDependencies []resource     `json:"resolvedDependencies"`
}

// recordExternal is what the user gave.
type recordExternal struct {
	Config   resource          `json:"config"`
	Template *resource         `json:"template,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
}

// recordInternal is what fledge made of it.
type recordInternal struct {
	Strategy string `json:"strategy"`
	Format   string `json:"format"`
	Platform string `json:"platform"`
	Epoch    int64  `json:"epoch"`

	ContentDigest string `json:"contentDigest,omitempty"`
	Reproducible  *bool  `json:"reproducible,omitempty"` // only false is written
}

type recordRun struct {
	Builder recordBuilder `json:"builder"`
}

type recordBuilder struct {
	ID                  string            `json:"id"`
	BuilderDependencies []resource        `json:"builderDependencies"`
	Version             map[string]string `json:"version"`
}

// resource is in-toto's ResourceDescriptor.
type resource struct {
	Name        string            `json:"name"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations *annotations      `json:"annotations,omitempty"`
}

type annotations struct {
	Version string `json:"version,omitempty"`
	Proof   string `json:"proof,omitempty"`
}

// Build says from what and how the subjects were built.
func Build(r Record, subjects []Subject) (Statement, error) {
	if err := r.Check(); err != nil {
		return Statement{}, fmt.Errorf("making build statement: %w", err)
	}
	s, err := newStatement(TypeBuild, r.wire(), subjects)
	if err != nil {
		return Statement{}, fmt.Errorf("making build statement: %w", err)
	}
	return s, nil
}

// Encode writes NAME.build.json: the predicate of [Build], indented, with a newline
// at its end.
func (r Record) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("encoding build record: %w", err)
	}
	compact, err := encode(r.wire())
	if err != nil {
		return nil, fmt.Errorf("encoding build record: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return nil, fmt.Errorf("encoding build record: %w", err)
	}
	b.WriteByte('\n')
	if b.Len() > MaxRecord {
		return nil, fmt.Errorf("encoding build record: %d bytes, more than the limit of %d", b.Len(), MaxRecord)
	}
	return b.Bytes(), nil
}

// DecodeRecord reads NAME.build.json or the predicate of a build statement. White
// space aside, only what [Record.Encode] can have written is accepted, for a build is made
// from it again.
func DecodeRecord(data []byte) (*Record, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return nil, fmt.Errorf("decoding build record: %w", err)
	}
	return r, nil
}

func decodeRecord(data []byte) (*Record, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(data), MaxRecord)
	}
	if err := checkJSON(data, '{'); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var w record
	if err := d.Decode(&w); err != nil {
		return nil, err
	}
	r, err := w.record()
	if err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, sameBytes(data, r)
}

// sameBytes tells whether data is what a record is encoded to. It finds what
// encoding/json lets pass: keys in another case or order, null, other spellings.
func sameBytes(data []byte, r *Record) error {
	want, err := encode(r.wire())
	if err != nil {
		return err
	}
	var got bytes.Buffer
	if err := json.Compact(&got, data); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		at := 0
		for at < got.Len() && at < len(want) && got.Bytes()[at] == want[at] {
			at++
		}
		from := max(0, at-20)
		return fmt.Errorf("not as fledge writes it: %.60q where %.60q is expected", got.Bytes()[from:], want[from:])
	}
	return nil
}

func (r Record) wire() record {
	var w record
	w.BuildDefinition = recordDefinition{
		BuildType:            pluginBuildType,
		ExternalParameters:   recordExternal{Config: r.Config.wire(), Options: r.Options},
		InternalParameters:   recordInternal{Strategy: r.Strategy, Format: r.Format, Platform: r.Platform, Epoch: r.Epoch},
		ResolvedDependencies: make([]resource, 0, len(r.Dependencies)),
	}
	w.BuildDefinition.InternalParameters.ContentDigest = r.ContentDigest
	if r.Unreproducible {
		w.BuildDefinition.InternalParameters.Reproducible = new(bool)
	}
	if r.Template != nil {
		t := r.Template.wire()
		w.BuildDefinition.ExternalParameters.Template = &t
	}
	for _, d := range r.Dependencies {
		w.BuildDefinition.ResolvedDependencies = append(w.BuildDefinition.ResolvedDependencies, d.wire())
	}
	w.RunDetails.Builder = recordBuilder{
		ID:                  builderID,
		BuilderDependencies: []resource{File{Name: fledge, SHA256: r.Fledge.SHA256}.wire()},
		Version:             map[string]string{fledge: r.Fledge.Version},
	}
	return w
}

// fledge is our name as builder.
const fledge = "fledge"

func (f File) wire() resource {
	return resource{Name: f.Name, Digest: map[string]string{algorithm: f.SHA256}}
}

func (d Dependency) wire() resource {
	w := resource{Name: d.Name, URI: d.URI, Digest: d.Digest}
	if d.Version != "" || d.Proof != "" {
		w.Annotations = &annotations{Version: d.Version, Proof: d.Proof}
	}
	return w
}

// record turns JSON into a Record. What it leaves out, sameBytes finds.
func (w record) record() (*Record, error) {
	definition, builder := w.BuildDefinition, w.RunDetails.Builder
	if definition.BuildType != pluginBuildType {
		return nil, fmt.Errorf("buildType is %q, want %q", definition.BuildType, pluginBuildType)
	}
	if len(builder.BuilderDependencies) != 1 {
		return nil, fmt.Errorf("%d builderDependencies, want fledge alone", len(builder.BuilderDependencies))
	}
	r := &Record{
		Fledge:   Program{Version: builder.Version[fledge], SHA256: builder.BuilderDependencies[0].Digest[algorithm]},
		Config:   definition.ExternalParameters.Config.file(),
		Options:  definition.ExternalParameters.Options,
		Strategy: definition.InternalParameters.Strategy,
		Format:   definition.InternalParameters.Format,
		Platform: definition.InternalParameters.Platform,
		Epoch:    definition.InternalParameters.Epoch,

		ContentDigest: definition.InternalParameters.ContentDigest,
	}
	if ok := definition.InternalParameters.Reproducible; ok != nil {
		r.Unreproducible = !*ok
	}
	if t := definition.ExternalParameters.Template; t != nil {
		f := t.file()
		r.Template = &f
	}
	for _, d := range definition.ResolvedDependencies {
		r.Dependencies = append(r.Dependencies, d.dependency())
	}
	return r, nil
}

func (w resource) file() File { return File{Name: w.Name, SHA256: w.Digest[algorithm]} }

func (w resource) dependency() Dependency {
	d := Dependency{Name: w.Name, URI: w.URI, Digest: w.Digest}
	if w.Annotations != nil {
		d.Version, d.Proof = w.Annotations.Version, w.Annotations.Proof
	}
	return d
}

// Check tells what a record lacks or what in it cannot be.
func (r Record) Check() error {
	if err := r.checkValues(); err != nil {
		return err
	}
	if err := r.Config.check("config"); err != nil {
		return err
	}
	if r.Template != nil {
		if err := r.Template.check("template"); err != nil {
			return err
		}
	}
	if len(r.Dependencies) > MaxDependencies {
		return fmt.Errorf("%d dependencies, more than the limit of %d", len(r.Dependencies), MaxDependencies)
	}
	for i, d := range r.Dependencies {
		if err := d.check(); err != nil {
			return fmt.Errorf("dependency %d (%.100q): %w", i, d.Name, err)
		}
	}
	return nil
}

func (r Record) checkValues() error {
	for _, v := range []struct{ name, value string }{
		{"fledge version", r.Fledge.Version}, {"strategy", r.Strategy}, {"format", r.Format}, {"platform", r.Platform},
	} {
		if v.value == "" || !printable(v.value) {
			return fmt.Errorf("%s: %.100q is not printable text", v.name, v.value)
		}
	}
	if !isHex(r.Fledge.SHA256, hexDigits[algorithm]) {
		return fmt.Errorf("fledge: sha256 %.100q is not 64 lower-case hex digits", r.Fledge.SHA256)
	}
	if r.Epoch < 0 {
		return fmt.Errorf("epoch %d is before 1970", r.Epoch)
	}
	if sum, ok := strings.CutPrefix(r.ContentDigest, algorithm+":"); r.ContentDigest != "" && (!ok || !isHex(sum, hexDigits[algorithm])) {
		return fmt.Errorf("content digest %.100q is not sha256: and 64 lower-case hex digits", r.ContentDigest)
	}
	if r.Unreproducible && r.ContentDigest == "" {
		return errors.New("its bytes are not reproducible, and it has no content digest")
	}
	if len(r.Options) > maxOptions {
		return fmt.Errorf("%d options, more than the limit of %d", len(r.Options), maxOptions)
	}
	for name, value := range r.Options {
		if name == "" || !printable(name) || !printable(value) {
			return fmt.Errorf("option %.100q: %.100q is not printable text", name, value)
		}
	}
	return nil
}

func (f File) check(what string) error {
	if f.Name == "" || !printable(f.Name) {
		return fmt.Errorf("%s: name %.100q is not printable text", what, f.Name)
	}
	if !isHex(f.SHA256, hexDigits[algorithm]) {
		return fmt.Errorf("%s %q: sha256 %.100q is not 64 lower-case hex digits", what, f.Name, f.SHA256)
	}
	return nil
}

func (d Dependency) check() error {
	switch {
	case d.Name == "" || !printable(d.Name):
		return errors.New("name is not printable text")
	case !printable(d.Version):
		return errors.New("version is not printable text")
	case !printable(d.Proof):
		return errors.New("proof is not printable text")
	}
	if err := checkDigests(d.Digest); err != nil {
		return err
	}
	return checkURI(d.URI)
}

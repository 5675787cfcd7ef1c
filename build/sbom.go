package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/mapping"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/build/tree"
)

// SBOM is the software bill of materials of an artifact.
type SBOM struct {
	Format   sbom.Format
	Document *sbom.Document
	Data     []byte // Document in Format
	Digest   string // of Data, "sha256:" and hex
}

// SBOMPath is where the SBOM of an artifact stands: beside it, under its name without
// the extension.
func SBOMPath(artifact string, f sbom.Format) string { return Stem(artifact) + f.Extension() }

// Stem is an artifact's path without the extension that fledge gives artifacts: what
// the names of the files beside it begin with.
func Stem(artifact string) string {
	extensions := []string{".img"}
	for _, c := range []initramfs.Compression{initramfs.Gzip, initramfs.Zstd, initramfs.None} { // .cpio last
		extensions = append(extensions, c.Extension())
	}
	for _, e := range extensions {
		if stem, ok := strings.CutSuffix(artifact, e); ok && filepath.Base(artifact) != e {
			return stem
		}
	}
	return artifact
}

// Names of further files beside an artifact, which are not made here.
const (
	SumsName      = "SHA256SUMS"
	RecordSuffix  = ".build.json"    // behind the artifact's Stem: the record of the build
	BundleSuffix  = ".sigstore.json" // the signed provenance
	BundlesSuffix = ".intoto.jsonl"  // all that is signed
)

// Companions are the paths of everything that may be written about an artifact
// beside it: what is signed first, the checksums last.
func Companions(artifact string) []string {
	stem := Stem(artifact)
	all := []string{stem + BundlesSuffix, stem + BundleSuffix, stem + RecordSuffix}
	for _, f := range sbom.Formats {
		all = append(all, SBOMPath(artifact, f))
	}
	return append(all, filepath.Join(filepath.Dir(artifact), SumsName))
}

// listSoftware makes the SBOM while the contents of the tree can be read.
func (b *builder) listSoftware(ctx context.Context, t *tree.Tree, d *config.Draft, a Artifact, mapped mapping.Report) error {
	if b.Request.SBOM == "" {
		return nil
	}
	b.stage("listing packages")
	arch, err := b.arch()
	if err != nil {
		return err
	}
	in := sbom.Input{
		Tree: t, Name: d.Manifest.Name, Version: d.Manifest.Version, Tool: b.Tool, Created: b.epoch,
		Artifact: sbom.Artifact{Name: filepath.Base(a.Path), Digest: a.Digest},
		Parts:    b.sbomParts(),
		Files:    b.sbomFiles(t, mapped),
	}
	if im := b.image; im != nil {
		in.Image = &sbom.Image{
			Name: im.Name, Tag: im.Tag, Repository: im.Repository, Arch: arch, Digest: im.Digest, ConfigDigest: im.ConfigDigest,
		}
	}
	doc, err := sbom.Scan(ctx, in)
	if err != nil {
		return err
	}
	b.warnAll(doc.Warnings)
	data, err := doc.Encode(b.Request.SBOM)
	if err != nil {
		return err
	}
	b.detail("%d packages, %d bytes", len(doc.Packages), len(data))
	b.result.SBOM = &SBOM{Format: b.Request.SBOM, Document: doc, Data: data, Digest: digestOf(data)}
	return nil
}

// sbomParts are the programs that are put into every tree.
func (b *builder) sbomParts() []sbom.Part {
	p := b.parts
	parts := []sbom.Part{
		{Name: "kestrel", Version: p.agent.Version, Path: guest.AgentPath, Digest: p.agent.Digest},
		{Name: "busybox", Path: guest.BusyboxPath, Digest: p.busybox.Digest},
	}
	if p.shim != nil {
		parts = append(parts, sbom.Part{Name: "fledge-init", Version: b.Tool, Path: guest.InitPath, Digest: digestOf(p.shim)})
	}
	return parts
}

// sbomFiles are the project's files in the tree.
func (b *builder) sbomFiles(t *tree.Tree, mapped mapping.Report) []sbom.File {
	var files []sbom.File
	for _, f := range mapped.Files {
		if f.Mode.IsRegular() {
			files = append(files, sbom.File{Path: f.Dest, Origin: f.Source})
		}
	}
	if b.parts.init.Content == nil {
		return files
	}
	at, err := t.Resolve(config.ProjectInit, true)
	if err != nil {
		return files
	}
	if _, err := t.Lookup(at); err == nil { // no mapping may take its name
		files = append(files, sbom.File{Path: at, Origin: b.parts.init.URI})
	}
	return files
}

// checkSBOM refuses what cannot be the SBOM's place.
func (b *builder) checkSBOM() error {
	if b.Request.SBOM == "" {
		return nil
	}
	if err := checkSums(filepath.Join(filepath.Dir(b.path), SumsName)); err != nil {
		return err
	}
	path := SBOMPath(b.path, b.Request.SBOM)
	f, err := openOutput(path)
	if f == nil {
		return err
	}
	defer f.Close()
	if id, err := sbom.Identify(f); err != nil || !id.Fledge {
		return fmt.Errorf("SBOM %q: it exists and fledge has not written it; remove it or choose another output", path)
	}
	return nil
}

// checkSums refuses to replace checksums that are not fledge's: those list a
// manifest.json.
func checkSums(path string) error {
	data, err := sumsAt(path)
	if err == nil && data != nil && !bytes.Contains(data, []byte("  "+ManifestName+"\n")) {
		err = fmt.Errorf("checksums %q: it exists and fledge has not written it; remove it or choose another output", path)
	}
	return err
}

// checkStale warns of an SBOM of an earlier artifact that stays where one of this
// artifact is looked for. One with checksums beside it is the caller's: they tell
// whether it still holds.
func (b *builder) checkStale(artifact Artifact) {
	if f, _ := openOutput(filepath.Join(filepath.Dir(b.path), SumsName)); f != nil {
		f.Close()
		return
	}
	for _, format := range sbom.Formats {
		if format == b.Request.SBOM {
			continue // it is replaced
		}
		path := SBOMPath(b.path, format)
		f, err := openOutput(path)
		if f == nil || err != nil {
			continue
		}
		id, err := sbom.Identify(f)
		if err = errors.Join(err, f.Close()); err == nil && id.Fledge && id.Artifact != artifact.Digest {
			b.warn(fmt.Sprintf("%s describes an earlier artifact; remove it, or build with --sbom %s", path, format))
		}
	}
}

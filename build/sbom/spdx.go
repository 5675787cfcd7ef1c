package sbom

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

const noAssertion = "NOASSERTION"

// Identifiers of what is there once in a document.
const (
	artifactID = "Artifact"
	imageID    = "BaseImage"
	distroID   = "OperatingSystem"
	filesID    = "ProjectFiles"
)

// The types below have the order of keys that the document has.
type spdxDocument struct {
	SPDXID        string             `json:"SPDXID"`
	Version       string             `json:"spdxVersion"`
	Creation      spdxCreation       `json:"creationInfo"`
	Name          string             `json:"name"`
	DataLicense   string             `json:"dataLicense"`
	Namespace     string             `json:"documentNamespace"`
	Annotations   []spdxAnnotation   `json:"annotations,omitempty"`
	Licences      []spdxLicence      `json:"hasExtractedLicensingInfos,omitempty"`
	Packages      []spdxPackage      `json:"packages"`
	Files         []spdxFile         `json:"files,omitempty"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created     string   `json:"created"`
	Creators    []string `json:"creators"`
	ListVersion string   `json:"licenseListVersion"`
}

type spdxAnnotation struct {
	Date      string `json:"annotationDate"`
	Type      string `json:"annotationType"`
	Annotator string `json:"annotator"`
	Comment   string `json:"comment"`
}

type spdxLicence struct {
	ID   string `json:"licenseId"`
	Text string `json:"extractedText"`
}

type spdxPackage struct {
	SPDXID           string            `json:"SPDXID"`
	Name             string            `json:"name"`
	Version          string            `json:"versionInfo,omitempty"`
	FileName         string            `json:"packageFileName,omitempty"`
	Supplier         string            `json:"supplier,omitempty"`
	DownloadLocation string            `json:"downloadLocation"`
	FilesAnalyzed    bool              `json:"filesAnalyzed"`
	Verification     *spdxVerification `json:"packageVerificationCode,omitempty"`
	Checksums        []spdxChecksum    `json:"checksums,omitempty"`
	Homepage         string            `json:"homepage,omitempty"`
	SourceInfo       string            `json:"sourceInfo,omitempty"`
	Concluded        string            `json:"licenseConcluded"`
	FromFiles        []string          `json:"licenseInfoFromFiles,omitempty"`
	Declared         string            `json:"licenseDeclared"`
	Copyright        string            `json:"copyrightText"`
	Comment          string            `json:"comment,omitempty"`
	Refs             []spdxExternalRef `json:"externalRefs,omitempty"`
	Purpose          string            `json:"primaryPackagePurpose,omitempty"`
}

type spdxVerification struct {
	Value string `json:"packageVerificationCodeValue"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxExternalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxFile struct {
	SPDXID    string         `json:"SPDXID"`
	Name      string         `json:"fileName"`
	Checksums []spdxChecksum `json:"checksums"`
	Concluded string         `json:"licenseConcluded"`
	InFile    []string       `json:"licenseInfoInFiles"`
	Copyright string         `json:"copyrightText"`
	Comment   string         `json:"comment,omitempty"`
}

type spdxRelationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// SPDX writes the document as SPDX 2.3 JSON. When it would be larger than
// [MaxDocument] it leaves out which package needs which, and says so in the document;
// when that is not enough it is an error.
func (d *Document) SPDX() ([]byte, error) {
	return d.fit(func(needs bool, notes []string) ([]byte, error) {
		doc := d.spdx(needs, notes)
		content, err := encode(doc)
		if err != nil || len(content) > MaxDocument {
			return content, err
		}
		// The identity is a digest of everything else.
		doc.Namespace += "/" + percent(cmp.Or(d.in.Name, "sbom")) + "-" + uuid(content)
		return encode(doc)
	})
}

func (d *Document) spdx(needs bool, notes []string) *spdxDocument {
	tool := "Tool: fledge-" + d.tool()
	doc := &spdxDocument{
		SPDXID: "SPDXRef-DOCUMENT", Version: "SPDX-2.3", Name: d.name(), DataLicense: "CC0-1.0",
		Namespace: "https://github.com/volant/fledge-action/spdx",
		Creation:  spdxCreation{Created: d.created(), Creators: []string{tool}, ListVersion: listVersion()},
	}
	for _, note := range notes {
		doc.Annotations = append(doc.Annotations, spdxAnnotation{d.created(), "OTHER", tool, note})
	}
	relate := func(element, kind, related string) {
		doc.Relationships = append(doc.Relationships, spdxRelationship{"SPDXRef-" + element, kind, "SPDXRef-" + related})
	}
	add := func(p spdxPackage) { doc.Packages = append(doc.Packages, p) }
	relate("DOCUMENT", "DESCRIBES", artifactID)
	add(d.spdxArtifact())
	if im := d.in.Image; im != nil {
		add(im.spdx())
		relate(artifactID, "GENERATED_FROM", imageID)
	}
	if d.Distro.ID != "" {
		p := newSPDXPackage(distroID, d.Distro.ID, d.Distro.Version)
		p.Purpose, p.Comment = "OPERATING_SYSTEM", d.Distro.Name
		add(p)
		relate(artifactID, "CONTAINS", distroID)
	}
	if len(d.files) > 0 {
		add(d.spdxProject())
		relate(artifactID, "CONTAINS", filesID)
	}
	for i := range d.Packages {
		p := &d.Packages[i]
		add(p.spdx())
		relate(artifactID, "CONTAINS", p.id)
		if !needs {
			continue
		}
		for _, j := range p.needs {
			relate(p.id, "DEPENDS_ON", d.Packages[j].id)
		}
	}
	for _, f := range d.files {
		doc.Files = append(doc.Files, f.spdx())
		relate(filesID, "CONTAINS", f.id())
	}
	doc.Licences = d.extracted()
	slices.SortFunc(doc.Relationships, func(a, b spdxRelationship) int {
		return cmp.Or(cmp.Compare(a.Element, b.Element), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Related, b.Related))
	})
	return doc
}

// newSPDXPackage is a package of which nothing else is known.
func newSPDXPackage(id, name, version string) spdxPackage {
	return spdxPackage{
		SPDXID: "SPDXRef-" + id, Name: name, Version: version, DownloadLocation: noAssertion,
		Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion,
	}
}

func (d *Document) spdxArtifact() spdxPackage {
	p := newSPDXPackage(artifactID, d.name(), d.in.Version)
	p.FileName, p.Purpose, p.Checksums = d.in.Artifact.Name, "CONTAINER", spdxSHA256(d.in.Artifact.Digest)
	return p
}

func (im *Image) spdx() spdxPackage {
	p := newSPDXPackage(imageID, im.Name, cmp.Or(im.Digest, im.Tag))
	p.Purpose, p.Checksums, p.Refs = "CONTAINER", spdxSHA256(im.Digest), spdxPURL(im.purl().String())
	if im.ConfigDigest != "" {
		p.Comment = "its configuration is " + im.ConfigDigest
	}
	return p
}

// spdxProject is the package of the project's files: the only one whose files are
// listed, so the only one with a verification code.
func (d *Document) spdxProject() spdxPackage {
	p := newSPDXPackage(filesID, d.name()+" project files", d.in.Version)
	p.FilesAnalyzed, p.FromFiles = true, []string{noAssertion}
	var sums []string
	for _, f := range d.files {
		sums = append(sums, f.sha1)
	}
	slices.Sort(sums)
	p.Verification = &spdxVerification{fmt.Sprintf("%x", sha1.Sum([]byte(strings.Join(sums, ""))))}
	return p
}

func (p *Package) spdx() spdxPackage {
	out := newSPDXPackage(p.id, p.Name, p.fullVersion())
	out.Supplier, out.Homepage, out.Refs = p.Supplier, webPage(p.Homepage), spdxPURL(p.PURL)
	out.Declared, _ = p.Licence.declared()
	out.SourceInfo = "listed by " + strings.Join(p.where(), ", ")
	switch p.Kind {
	case KindGo:
		out.Purpose, out.SourceInfo = "LIBRARY", "compiled into "+strings.Join(p.where(), ", ")
	case KindGeneric:
		out.Purpose, out.SourceInfo = "APPLICATION", "added by fledge as "+strings.Join(p.where(), ", ")
		out.Checksums = spdxSHA256(p.Digest)
	}
	return out
}

// maxWhere is how many of the programs that hold a module are named.
const maxWhere = 20

func (p *Package) where() []string {
	if len(p.Where) <= maxWhere {
		return p.Where
	}
	return append(p.Where[:maxWhere:maxWhere], fmt.Sprintf("%d more", len(p.Where)-maxWhere))
}

// fullVersion is the version with rpm's epoch before it.
func (p *Package) fullVersion() string {
	if p.Epoch != 0 {
		return fmt.Sprintf("%d:%s", p.Epoch, p.Version)
	}
	return p.Version
}

func (f *hashedFile) id() string {
	return identifier("File-"+f.Path[strings.LastIndexByte(f.Path, '/')+1:], f.Path)
}

func (f *hashedFile) spdx() spdxFile {
	return spdxFile{
		SPDXID: "SPDXRef-" + f.id(), Name: "./" + f.Path, Checksums: []spdxChecksum{{"SHA1", f.sha1}, {"SHA256", f.sha256}},
		Concluded: noAssertion, InFile: []string{noAssertion}, Copyright: noAssertion, Comment: f.comment(),
	}
}

func (f *hashedFile) comment() string { return fmt.Sprintf("from %q of the project", f.Origin) }

// extracted lists the licences that are not of the SPDX list.
func (d *Document) extracted() []spdxLicence {
	texts := map[string]string{}
	for i := range d.Packages {
		l := d.Packages[i].Licence
		_, refs := l.declared()
		for _, ref := range refs {
			texts[ref] = cmp.Or(l.Text, "The package database names this licence and has no text of it.")
		}
	}
	var all []spdxLicence
	for ref, text := range texts {
		all = append(all, spdxLicence{ref, text})
	}
	slices.SortFunc(all, func(a, b spdxLicence) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// listVersion is the version of the SPDX licence list, of which the document has two
// numbers.
func listVersion() string {
	parts := strings.SplitN(spdxlicenses.LicenseListVersion(), ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

func spdxSHA256(digest string) []spdxChecksum {
	if sum, ok := sha256Of(digest); ok {
		return []spdxChecksum{{"SHA256", sum}}
	}
	return nil
}

// sha256Of cuts the hex digits out of a digest.
func sha256Of(digest string) (string, bool) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	b, err := hex.DecodeString(sum)
	return sum, ok && err == nil && len(b) == 32
}

func spdxPURL(p string) []spdxExternalRef {
	return []spdxExternalRef{{"PACKAGE-MANAGER", "purl", p}}
}

// webPage is a homepage that is a URL, else "".
func webPage(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s, " \t<>\"{}|\\^`") {
		return ""
	}
	return u.String()
}

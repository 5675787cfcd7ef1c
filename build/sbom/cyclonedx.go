package sbom

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The types below have the order of keys that the document has.
type cdxDocument struct {
	Schema       string           `json:"$schema"`
	Format       string           `json:"bomFormat"`
	SpecVersion  string           `json:"specVersion"`
	SerialNumber string           `json:"serialNumber,omitempty"`
	Version      int              `json:"version"`
	Metadata     cdxMetadata      `json:"metadata"`
	Components   []cdxComponent   `json:"components"`
	Dependencies []cdxDependency  `json:"dependencies"`
	Compositions []cdxComposition `json:"compositions,omitempty"`
	Annotations  []cdxAnnotation  `json:"annotations,omitempty"`
}

type cdxMetadata struct {
	Timestamp string       `json:"timestamp"`
	Tools     cdxTools     `json:"tools"`
	Component cdxComponent `json:"component"`
}

type cdxTools struct {
	Components []cdxComponent `json:"components"`
}

type cdxComponent struct {
	Type       string         `json:"type"`
	Ref        string         `json:"bom-ref,omitempty"`
	Supplier   *cdxSupplier   `json:"supplier,omitempty"`
	Name       string         `json:"name"`
	Version    string         `json:"version,omitempty"`
	Hashes     []cdxHash      `json:"hashes,omitempty"`
	Licences   []cdxLicence   `json:"licenses,omitempty"`
	PURL       string         `json:"purl,omitempty"`
	Pedigree   *cdxPedigree   `json:"pedigree,omitempty"`
	References []cdxReference `json:"externalReferences,omitempty"`
	Properties []cdxProperty  `json:"properties,omitempty"`
}

type cdxSupplier struct {
	Name string `json:"name"`
}

type cdxHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type cdxLicence struct {
	Licence    *cdxNamed `json:"license,omitempty"`
	Expression string    `json:"expression,omitempty"`
}

type cdxNamed struct {
	Name string `json:"name"`
}

type cdxPedigree struct {
	Ancestors []cdxComponent `json:"ancestors"`
}

type cdxReference struct {
	URL  string `json:"url"`
	Type string `json:"type"`
}

type cdxProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type cdxDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

type cdxComposition struct {
	Aggregate  string   `json:"aggregate"`
	Assemblies []string `json:"assemblies"`
}

type cdxAnnotation struct {
	Subjects  []string     `json:"subjects"`
	Annotator cdxAnnotator `json:"annotator"`
	Timestamp string       `json:"timestamp"`
	Text      string       `json:"text"`
}

type cdxAnnotator struct {
	Component cdxComponent `json:"component"`
}

// CycloneDX writes the document as CycloneDX 1.6 JSON. Identifiers are those of
// [Document.SPDX], and so is what happens to a document that is too large.
func (d *Document) CycloneDX() ([]byte, error) {
	return d.fit(func(needs bool, notes []string) ([]byte, error) {
		doc := d.cyclonedx(needs, notes)
		content, err := encode(doc)
		if err != nil || len(content) > MaxDocument {
			return content, err
		}
		doc.SerialNumber = "urn:uuid:" + uuid(content)
		return encode(doc)
	})
}

func (d *Document) cyclonedx(needs bool, notes []string) *cdxDocument {
	tool := cdxComponent{Type: "application", Name: "fledge", Version: d.tool()}
	doc := &cdxDocument{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata:   cdxMetadata{Timestamp: d.created(), Tools: cdxTools{[]cdxComponent{tool}}, Component: d.cdxArtifact()},
		Components: []cdxComponent{},
	}
	whole := cdxDependency{Ref: artifactID}
	add := func(c cdxComponent, needs ...string) {
		doc.Components = append(doc.Components, c)
		whole.DependsOn = append(whole.DependsOn, c.Ref)
		doc.Dependencies = append(doc.Dependencies, cdxDependency{c.Ref, needs})
	}
	if d.Distro.ID != "" {
		c := cdxComponent{Type: "operating-system", Ref: distroID, Name: d.Distro.ID, Version: d.Distro.Version}
		if d.Distro.Name != "" {
			c.Properties = []cdxProperty{{"fledge:name", d.Distro.Name}}
		}
		add(c)
	}
	for i := range d.Packages {
		p := &d.Packages[i]
		var on []string
		if needs {
			for _, j := range p.needs {
				on = append(on, d.Packages[j].id)
			}
		}
		add(p.cyclonedx(), on...)
	}
	for _, f := range d.files {
		add(cdxComponent{
			Type: "file", Ref: f.id(), Name: "/" + f.Path, Hashes: []cdxHash{{"SHA-1", f.sha1}, {"SHA-256", f.sha256}},
			Properties: []cdxProperty{{"fledge:origin", f.Origin}},
		})
	}
	doc.Dependencies = append(doc.Dependencies, whole)
	for i := range doc.Dependencies {
		slices.Sort(doc.Dependencies[i].DependsOn)
	}
	slices.SortFunc(doc.Dependencies, func(a, b cdxDependency) int { return cmp.Compare(a.Ref, b.Ref) })
	for _, note := range notes {
		doc.Annotations = append(doc.Annotations, cdxAnnotation{[]string{artifactID}, cdxAnnotator{tool}, d.created(), note})
	}
	if len(notes) > 0 {
		doc.Compositions = []cdxComposition{{"incomplete", []string{artifactID}}}
	}
	return doc
}

func (d *Document) cdxArtifact() cdxComponent {
	c := cdxComponent{
		Type: "container", Ref: artifactID, Name: d.name(), Version: d.in.Version, Hashes: cdxSHA256(d.in.Artifact.Digest),
		Properties: []cdxProperty{{"fledge:file", d.in.Artifact.Name}},
	}
	if im := d.in.Image; im != nil {
		base := cdxComponent{
			Type: "container", Ref: imageID, Name: im.Name, Version: cmp.Or(im.Digest, im.Tag),
			Hashes: cdxSHA256(im.Digest), PURL: im.purl().String(),
		}
		if im.ConfigDigest != "" {
			base.Properties = []cdxProperty{{"fledge:config", im.ConfigDigest}}
		}
		c.Pedigree = &cdxPedigree{[]cdxComponent{base}}
	}
	return c
}

func (p *Package) cyclonedx() cdxComponent {
	c := cdxComponent{Type: "library", Ref: p.id, Name: p.Name, Version: p.fullVersion(), PURL: p.PURL}
	if p.Kind == KindGeneric {
		c.Type, c.Hashes = "application", cdxSHA256(p.Digest)
	}
	if _, name, ok := strings.Cut(p.Supplier, ": "); ok {
		c.Supplier = &cdxSupplier{name}
	}
	switch l := p.Licence; {
	case l.Expression != "":
		c.Licences = []cdxLicence{{Expression: l.Expression}}
	case l.Text != "":
		c.Licences = []cdxLicence{{Licence: &cdxNamed{l.Text}}}
	}
	if page := webPage(p.Homepage); page != "" {
		c.References = []cdxReference{{page, "website"}}
	}
	for i, path := range p.where() {
		c.Properties = append(c.Properties, cdxProperty{"fledge:location:" + strconv.Itoa(i), path})
	}
	return c
}

func cdxSHA256(digest string) []cdxHash {
	if sum, ok := sha256Of(digest); ok {
		return []cdxHash{{"SHA-256", sum}}
	}
	return nil
}

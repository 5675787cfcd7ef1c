package proof

import (
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/image"
)

// NewRecord is the record of a build: of what c and the template said, with the
// options of the command line, by the program fledge.
func NewRecord(fledge statement.Program, c *config.Config, t *config.Template, options map[string]string, r *build.Result) (*statement.Record, error) {
	rec := &statement.Record{
		Fledge: fledge, Config: file(c.File, c.Digest),
		Strategy: string(c.Strategy), Format: r.Artifact.Format, Platform: r.Platform, Epoch: r.Epoch.Unix(),
		Options: options, ContentDigest: r.ContentDigest, Unreproducible: !r.Reproducible,
	}
	if t != nil {
		f := file(t.File, t.Digest)
		rec.Template = &f
	}
	for _, m := range r.Materials {
		if m.Name == "config" || m.Name == "manifest template" {
			continue // said already
		}
		d, err := dependency(m)
		if err != nil {
			return nil, err
		}
		rec.Dependencies = append(rec.Dependencies, d)
	}
	return rec, rec.Check()
}

func file(path, digest string) statement.File {
	return statement.File{Name: filepath.Base(path), SHA256: strings.TrimPrefix(digest, "sha256:")}
}

// dependency is a material in the terms of in-toto. What came from the project or
// from fledge itself has no URI.
func dependency(m build.Material) (statement.Dependency, error) {
	d := statement.Dependency{
		Name: m.Name, Digest: map[string]string{"sha256": strings.TrimPrefix(m.Digest, "sha256:")}, Version: m.Version,
	}
	if m.Signer != "" {
		d.Proof = "signed by " + m.Signer
	}
	switch {
	case strings.HasPrefix(m.URI, "https://"), strings.HasPrefix(m.URI, "http://"):
		d.URI = m.URI
	case m.Name == "image" || m.Name == "image index":
		ref, err := image.Parse(m.URI)
		if err != nil || ref.Repository() == "" {
			return d, err
		}
		if d.URI, err = statement.ImageURI(ref.Repository(), m.Digest); err != nil {
			return d, err
		}
	}
	return d, nil
}

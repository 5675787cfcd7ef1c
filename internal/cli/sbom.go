package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/outfile"
)

// noSBOM is the value of --sbom for none.
const noSBOM = "none"

// sbomFormat reads the value of --sbom; "" is none.
func sbomFormat(flag string) (sbom.Format, error) {
	f := sbom.Format(flag)
	if flag == noSBOM {
		return "", nil
	}
	if !slices.Contains(sbom.Formats, f) {
		return "", usageError{fmt.Errorf("--sbom %q: use %s", flag, sbomValues())}
	}
	return f, nil
}

func sbomValues() string {
	var names []string
	for _, f := range sbom.Formats {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ") + " or " + noSBOM
}

// sbomOutput is the part of --json about the SBOM.
type sbomOutput struct {
	Path     string      `json:"path"`
	Format   sbom.Format `json:"format"`
	Digest   string      `json:"digest"`
	Packages int         `json:"packages"`
}

// writeSBOM writes the SBOM beside the artifact, whole or not at all. Of a build
// without one it is nil.
func writeSBOM(r *build.Result) (*sbomOutput, error) {
	s := r.SBOM
	if s == nil {
		return nil, nil
	}
	path := build.SBOMPath(r.Artifact.Path, s.Format)
	f, err := outfile.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	if _, err := f.Write(s.Data); err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return nil, err
	}
	return &sbomOutput{Path: path, Format: s.Format, Digest: s.Digest, Packages: len(s.Document.Packages)}, nil
}

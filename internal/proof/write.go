package proof

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/outfile"
)

// Documents are what is written about a build before anything is signed.
type Documents struct {
	SBOM   *build.SBOM       // nil for none
	Record *statement.Record // nil for none
}

// Write makes the SBOM, the build record and SHA256SUMS beside an artifact whose
// digest ("sha256:" and hex) is known: it is not read again.
// The files appear together, the checksums last.
func Write(ctx context.Context, artifact, artifactDigest string, d Documents) (Set, error) {
	s := newSet(artifact)
	var files []*outfile.File
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	var subjects []statement.Subject
	add := func(path string, data []byte) error {
		f, err := fill(path, data)
		if err != nil {
			return err
		}
		files = append(files, f)
		sub, err := statement.Digest(ctx, filepath.Base(path), bytes.NewReader(data))
		subjects = append(subjects, sub)
		return err
	}
	if d.SBOM != nil {
		s.SBOM = build.SBOMPath(artifact, d.SBOM.Format)
		if err := add(s.SBOM, d.SBOM.Data); err != nil {
			return Set{}, err
		}
	}
	if d.Record != nil {
		text, err := d.Record.Encode()
		if err != nil {
			return Set{}, err
		}
		s.Record = s.RecordPath()
		if err := add(s.Record, text); err != nil {
			return Set{}, err
		}
	}
	m, err := digest(ctx, s.Manifest)
	if err != nil {
		return Set{}, err
	}
	subjects = append(subjects, m, known(artifact, artifactDigest))
	if err := add(s.Sums(), statement.Sums(subjects)); err != nil {
		return Set{}, err
	}
	return s, outfile.CommitAll(files...)
}

// known is the subject of a file whose digest, "sha256:" and hex, is known.
func known(path, digest string) statement.Subject {
	return statement.Subject{Name: filepath.Base(path), Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}
}

package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/outfile"
)

// Documents are what is written about a build before anything is signed.
type Documents struct {
	SBOM   *build.SBOM       // nil for none
	Record *statement.Record // nil for none
}

// Write makes the SBOM, the build record and SHA256SUMS beside an artifact whose
// digest ("sha256:" and hex) is known: it is not read again.
// The files appear together, the checksums last. A SHA256SUMS of several plugins is not
// replaced.
func Write(ctx context.Context, artifact, artifactDigest string, d Documents) (Set, error) {
	s := newSet(artifact)
	if old, err := read(s.Sums(), statement.MaxSums); err == nil {
		if listed, err := statement.ParseSums(old); err == nil && merged(listed) {
			return Set{}, fmt.Errorf("%s is of several plugins and stays; build into another folder, and run 'fledge release merge' again", s.Sums())
		}
	}
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
	sums := statement.Sums(subjects)
	if err := add(s.Sums(), sums); err != nil {
		return Set{}, err
	}
	if err := s.unsign(sums); err != nil {
		return Set{}, err
	}
	return s, outfile.CommitAll(files...)
}

// unsign removes what was written about other files than those of sums: bundles,
// and a list of the software in another format.
func (s Set) unsign(sums []byte) error {
	old, err := read(s.Sums(), statement.MaxSums)
	if err != nil || bytes.Equal(old, sums) {
		return nil // there were none, or they hold still
	}
	gone := []string{s.Bundles(), s.Bundle()}
	listed, _ := statement.ParseSums(old) // none if they are not ours
	for _, f := range sbom.Formats {
		if path := build.SBOMPath(s.Artifact, f); path != s.SBOM && lists(listed, filepath.Base(path)) {
			gone = append(gone, path)
		}
	}
	for _, path := range gone {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what was written about other files: %w", err)
		}
	}
	return nil
}

// known is the subject of a file whose digest, "sha256:" and hex, is known.
func known(path, digest string) statement.Subject {
	return statement.Subject{Name: filepath.Base(path), Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}
}

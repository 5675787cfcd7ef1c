package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/outfile"
	"github.com/volant/fledge-action/manifest"
)

// Set names the files of one plugin. All are in the artifact's folder.
type Set struct {
	Artifact string // path
	Manifest string
	SBOM     string // "" without one
	Record   string // "" without one
}

// beside is a path in the artifact's folder.
func (s Set) beside(name string) string { return filepath.Join(filepath.Dir(s.Artifact), name) }

// Sums, Bundle and Bundles are the paths of what is made of the set.
func (s Set) Sums() string    { return s.beside(build.SumsName) }
func (s Set) Bundle() string  { return build.Stem(s.Artifact) + build.BundleSuffix }
func (s Set) Bundles() string { return build.Stem(s.Artifact) + build.BundlesSuffix }

// RecordPath is where a build record is written.
func (s Set) RecordPath() string { return build.Stem(s.Artifact) + build.RecordSuffix }

func newSet(artifact string) Set {
	s := Set{Artifact: artifact}
	s.Manifest = s.beside(build.ManifestName)
	return s
}

// Manifest is the path of the manifest of an artifact: NAME.manifest.json, which it has
// among other plugins, if that names the artifact or is alone, else manifest.json.
func Manifest(artifact string) string {
	plain, own := newSet(artifact).Manifest, build.Stem(artifact)+build.ManifestSuffix
	info, err := os.Stat(own)
	if err != nil || !info.Mode().IsRegular() {
		return plain
	}
	if _, err := os.Stat(plain); errors.Is(err, fs.ErrNotExist) {
		return own
	}
	data, err := read(own, manifest.MaxSize)
	if err != nil {
		return plain
	}
	m, err := manifest.Decode(bytes.NewReader(data))
	if err != nil || !names(m, filepath.Base(artifact)) {
		return plain
	}
	return own
}

// names tells whether a manifest with a checksum, as builds write it, is about a file of
// that name.
func names(m *manifest.Manifest, artifact string) bool {
	url, checksum := m.Artifact()
	return path.Base(url) == artifact && checksum != ""
}

// Find names the files beside an artifact as they are.
func Find(artifact string) (Set, error) {
	s := newSet(artifact)
	s.Manifest = Manifest(artifact)
	for _, path := range []string{s.Artifact, s.Manifest} {
		if _, err := os.Stat(path); err != nil {
			return Set{}, fmt.Errorf("looking for the files of a plugin: %w", err)
		}
	}
	for _, f := range sbom.Formats {
		there, err := exists(build.SBOMPath(artifact, f))
		if err != nil {
			return Set{}, err
		}
		switch {
		case there && s.SBOM != "":
			return Set{}, fmt.Errorf("%s and %s are both there; remove the one that is not to be signed", s.SBOM, build.SBOMPath(artifact, f))
		case there:
			s.SBOM = build.SBOMPath(artifact, f)
		}
	}
	there, err := exists(s.RecordPath())
	if there {
		s.Record = s.RecordPath()
	}
	return s, err
}

func exists(path string) (bool, error) {
	switch _, err := os.Stat(path); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("looking for the files of a plugin: %w", err)
	}
}

// subjects hashes the files that exist before the checksums do, the artifact first
// and only if its digest is not known.
func (s Set) subjects(ctx context.Context, artifactDigest string) ([]statement.Subject, error) {
	var all []statement.Subject
	files := []string{s.Artifact, s.Manifest, s.SBOM, s.Record}
	if artifactDigest != "" {
		all, files = append(all, known(s.Artifact, artifactDigest)), files[1:]
	}
	for _, path := range files {
		if path == "" {
			continue
		}
		sub, err := digest(ctx, path)
		if err != nil {
			return nil, err
		}
		all = append(all, sub)
	}
	return all, nil
}

func digest(ctx context.Context, path string) (statement.Subject, error) {
	f, err := os.Open(path)
	if err != nil {
		return statement.Subject{}, fmt.Errorf("hashing: %w", err)
	}
	defer f.Close()
	sub, err := statement.Digest(ctx, filepath.Base(path), f)
	if err != nil {
		return statement.Subject{}, fmt.Errorf("hashing %s: %w", path, err)
	}
	return sub, nil
}

// check refuses a set whose files are not of one build: then nothing that is said of
// all of them can be true.
func (s Set) check(artifact statement.Subject) error {
	f, err := os.Open(s.Manifest)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := manifest.Decode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Manifest, err)
	}
	_, want := m.Artifact()
	if got := "sha256:" + artifact.SHA256(); got != want {
		return fmt.Errorf("%s is about an artifact with checksum %q, but %s has %q; build both again", s.Manifest, want, artifact.Name, got)
	}
	return nil
}

// read reads a small file.
func read(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(f, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case n > int64(most):
		return nil, fmt.Errorf("reading %s: it has more than %d bytes", path, most)
	}
	return b.Bytes(), nil
}

// fill makes a file that has yet to appear.
func fill(path string, data []byte) (*outfile.File, error) {
	f, err := outfile.Create(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		f.Abort()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}

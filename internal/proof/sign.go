package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/outfile"
)

// Signer signs a statement and returns its bundle, which has been verified.
type Signer interface {
	Sign(ctx context.Context, payload []byte) (bundle []byte, err error)
}

// Signed is what [Plan.Sign] has made.
type Signed struct {
	Subjects   []statement.Subject
	Statements []string // predicate types, in the order of the bundles
	Bundle     string   // path of NAME.sigstore.json
	Bundles    string   // path of NAME.intoto.jsonl
	Sums       string   // path of SHA256SUMS
}

// Sign hashes the files of a set, makes the statements about them, signs them and
// writes the bundles. Files that changed after SHA256SUMS was written are refused; a
// missing SHA256SUMS is written. An artifact whose digest ("sha256:" and hex) is known,
// since it has just been made, is not read again; "" reads it.
func (p *Plan) Sign(ctx context.Context, s Set, artifactDigest string) (*Signed, error) {
	r, err := p.prepare(ctx, s, artifactDigest)
	if err != nil {
		return nil, err
	}
	return p.sign(ctx, r)
}

// SignAll signs several plugins, of one folder or of many. Everything is checked before
// anything is signed. After an error those that are returned are signed.
func (p *Plan) SignAll(ctx context.Context, sets []Set) ([]*Signed, error) {
	var all []*ready
	for _, s := range sets {
		r, err := p.prepare(ctx, s, "")
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			switch {
			case other.set.Bundle() == s.Bundle():
				return nil, fmt.Errorf("%s and %s would be signed in one %s; build one of them under another name", other.set.Artifact, s.Artifact, s.Bundle())
			case other.set.Sums() == s.Sums() && !bytes.Equal(other.sums, r.sums):
				return nil, fmt.Errorf("%s and %s are in one folder without a %s that lists both; 'fledge release merge' makes such a folder", other.set.Artifact, s.Artifact, build.SumsName)
			}
		}
		all = append(all, r)
	}
	var signed []*Signed
	for _, r := range all {
		done, err := p.sign(ctx, r)
		if err != nil {
			return signed, err
		}
		signed = append(signed, done)
	}
	return signed, nil
}

// ready is what is going to be signed.
type ready struct {
	set        Set
	subjects   []statement.Subject
	sums       []byte // text of SHA256SUMS
	statements []statement.Statement
}

// prepare checks the files of a set and makes the statements about them.
func (p *Plan) prepare(ctx context.Context, s Set, artifactDigest string) (*ready, error) {
	subjects, err := s.subjects(ctx, artifactDigest)
	if err != nil {
		return nil, err
	}
	if err := s.check(subjects[0]); err != nil {
		return nil, err
	}
	sums, err := s.sums(subjects)
	if err != nil {
		return nil, err
	}
	sub, err := statement.Digest(ctx, build.SumsName, bytes.NewReader(sums))
	if err != nil {
		return nil, err
	}
	subjects = append(subjects, sub)
	statements, err := p.statements(s, subjects)
	return &ready{s, subjects, sums, statements}, err
}

// sign signs the statements and writes the bundles.
func (p *Plan) sign(ctx context.Context, r *ready) (*Signed, error) {
	s := r.set
	signed := &Signed{Subjects: r.subjects, Bundle: s.Bundle(), Bundles: s.Bundles(), Sums: s.Sums()}
	var bundles [][]byte
	for _, st := range r.statements {
		b, err := p.bundle(ctx, st)
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, b)
		signed.Statements = append(signed.Statements, st.PredicateType)
	}
	if err := s.commit(r.sums, bundles); err != nil {
		return nil, err
	}
	return signed, nil
}

func (p *Plan) bundle(ctx context.Context, st statement.Statement) ([]byte, error) {
	payload, err := st.Encode()
	if err != nil {
		return nil, err
	}
	b, err := p.signer.Sign(ctx, payload)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimSpace(b); bytes.ContainsAny(b, "\r\n") || len(b) == 0 {
		return nil, errors.New("signing: the bundle is not one line of JSON")
	}
	return append(b, '\n'), nil
}

// sums is the text of SHA256SUMS, after a look at the one that is there.
func (s Set) sums(subjects []statement.Subject) ([]byte, error) {
	old, err := read(s.Sums(), statement.MaxSums)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return statement.Sums(subjects), nil
	case err != nil:
		return nil, err
	}
	listed, err := statement.ParseSums(old)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.Sums(), err)
	}
	for _, want := range listed {
		for _, got := range subjects {
			if want.Name == got.Name && want.SHA256() != got.SHA256() {
				return nil, fmt.Errorf("%s has changed since it was built: its sha256 is %s, and %s says %s; build again, or remove %s to sign what is there",
					filepath.Join(filepath.Dir(s.Artifact), got.Name), got.SHA256(), build.SumsName, want.SHA256(), build.SumsName)
			}
		}
	}
	if !merged(listed) {
		return statement.Sums(subjects), nil
	}
	for _, sub := range subjects {
		if !lists(listed, sub.Name) {
			return nil, fmt.Errorf("%s is of several plugins and does not list %s; run 'fledge release merge' again", s.Sums(), sub.Name)
		}
	}
	return old, nil // it speaks of the others too
}

// merged tells whether checksums are of several plugins: only then a manifest has the
// name of its artifact before its own.
func merged(listed []statement.Subject) bool {
	return slices.ContainsFunc(listed, func(s statement.Subject) bool { return strings.HasSuffix(s.Name, build.ManifestSuffix) })
}

// statements makes all that is said of the subjects, the most telling first: it is
// the one in NAME.sigstore.json.
func (p *Plan) statements(s Set, subjects []statement.Subject) ([]statement.Statement, error) {
	var all []statement.Statement
	if p.claims != nil {
		st, err := statement.Provenance(*p.claims, subjects)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	if s.Record != "" {
		data, err := read(s.Record, statement.MaxRecord)
		if err != nil {
			return nil, err
		}
		record, err := statement.DecodeRecord(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Record, err)
		}
		st, err := statement.Build(*record, subjects)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	if s.SBOM != "" {
		data, err := read(s.SBOM, statement.MaxPayload)
		if err != nil {
			return nil, err
		}
		st, err := statement.SBOM(data, subjects)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.SBOM, err)
		}
		all = append(all, st)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing is known about how %s was built: %s is not beside it; build with --sbom spdx, which writes it",
			filepath.Base(s.Artifact), filepath.Base(s.RecordPath()))
	}
	return all, nil
}

// commit writes the bundles, and SHA256SUMS before them.
func (s Set) commit(sums []byte, bundles [][]byte) error {
	var files []*outfile.File
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	for _, f := range []struct {
		path string
		data []byte
	}{{s.Sums(), sums}, {s.Bundle(), bundles[0]}, {s.Bundles(), bytes.Join(bundles, nil)}} {
		file, err := fill(f.path, f.data)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	return outfile.CommitAll(files...)
}

// Clear removes what was written and signed about an earlier build of the same
// artifact, when it cannot hold for the files that are there now, and returns the
// names of what it removed. It goes by SHA256SUMS: where that does not list the
// artifact, the files are not ours, and where it is of several plugins, it is kept.
func Clear(ctx context.Context, artifact, artifactDigest string) ([]string, error) {
	s := newSet(artifact)
	data, err := read(s.Sums(), statement.MaxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := digest(ctx, s.Manifest)
	if err != nil {
		return nil, err
	}
	listed, err := statement.ParseSums(data)
	if err != nil || merged(listed) || !lists(listed, filepath.Base(artifact)) || holds(listed, []statement.Subject{known(artifact, artifactDigest), m}) {
		return nil, nil
	}
	var gone []string
	for _, path := range build.Companions(artifact) {
		switch err := os.Remove(path); {
		case err == nil:
			gone = append(gone, filepath.Base(path))
		case !errors.Is(err, fs.ErrNotExist):
			return gone, fmt.Errorf("removing what was written about an earlier build: %w", err)
		}
	}
	return gone, nil
}

func lists(subjects []statement.Subject, name string) bool {
	return slices.ContainsFunc(subjects, func(s statement.Subject) bool { return s.Name == name })
}

// holds tells whether listed has all of want, with their digests.
func holds(listed, want []statement.Subject) bool {
	for _, w := range want {
		if !slices.ContainsFunc(listed, func(s statement.Subject) bool { return s.Name == w.Name && s.SHA256() == w.SHA256() }) {
			return false
		}
	}
	return true
}

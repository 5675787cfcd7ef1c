package cli

import (
	"context"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/proof"
)

// buildInputs are the files that say what to build.
type buildInputs struct {
	config   *config.Config
	template *config.Template // nil without one
}

// documents are what was written about a build. Its zero value is nothing.
type documents struct {
	set    proof.Set
	sbom   *sbomOutput
	signed *proof.Signed // nil if unsigned
	pages  []string      // of what GitHub keeps
}

// prove writes what is known of a build beside it, and signs it.
func (p *Program) prove(ctx context.Context, plan *proof.Plan, keep *keeper, f buildFlags, in buildInputs, r *build.Result, report *reporter) (*documents, error) {
	gone, err := proof.Clear(ctx, r.Artifact.Path, r.Artifact.Digest)
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 {
		report.notice("removed %s: about an earlier build", strings.Join(gone, ", "))
	}
	docs := &documents{}
	format := sbom.Format("")
	if r.SBOM != nil {
		format = r.SBOM.Format
	}
	if !f.recorded(plan, format) {
		return docs, nil
	}
	record, err := p.record(f, in, r)
	if err != nil {
		return nil, err
	}
	if docs.set, err = proof.Write(ctx, r.Artifact.Path, r.Artifact.Digest, proof.Documents{SBOM: r.SBOM, Record: record}); err != nil {
		return nil, err
	}
	if s := r.SBOM; s != nil {
		docs.sbom = &sbomOutput{Path: docs.set.SBOM, Format: s.Format, Digest: s.Digest, Packages: len(s.Document.Packages)}
	}
	if plan.Mode == proof.None {
		return docs, nil
	}
	report.stageBegins("signing as %s", plan.Signer)
	if docs.signed, err = plan.Sign(ctx, docs.set, r.Artifact.Digest); err != nil {
		return nil, &unsignedError{r.Artifact.Path, err}
	}
	docs.pages, err = keep.all(ctx, r.Artifact.Path, docs.signed)
	return docs, err
}

// recorded tells whether a build is going to have a build record.
func (f buildFlags) recorded(plan *proof.Plan, format sbom.Format) bool {
	return plan.Mode != proof.None || format != "" || f.record
}

// record tells what was built from, and by whom.
func (p *Program) record(f buildFlags, in buildInputs, r *build.Result) (*statement.Record, error) {
	digest, err := p.programDigest()
	if err != nil {
		return nil, err
	}
	options := map[string]string{}
	if f.unbootable {
		options[statement.OptionAllowUnbootable] = "true"
	}
	if f.url != "" {
		options[statement.OptionArtifactURL], _ = r.Manifest.Artifact() // the flag's, whole
	}
	if f.version != "" {
		options[statement.OptionPluginVersion] = f.version
	}
	return proof.NewRecord(statement.Program{Version: p.Version, SHA256: digest}, in.config, in.template, options, r)
}

// paths are those of the files, in the order they were written.
func (d *documents) paths() []string {
	var all []string
	for _, path := range []string{d.set.SBOM, d.set.Record, d.sums()} {
		if path != "" {
			all = append(all, path)
		}
	}
	if d.signed != nil {
		all = append(all, d.signed.Bundle, d.signed.Bundles)
	}
	return all
}

func (d *documents) sums() string {
	if d.set.Artifact == "" {
		return ""
	}
	return d.set.Sums()
}

func (d *documents) attestation() *attestation {
	if d.signed == nil {
		return nil
	}
	a := signedOutput(d.signed, d.pages)
	return &a
}

// plan tells how a build will be signed, before it begins. Why it will not is said
// aloud in CI, where one expects a signature.
func (r *reporter) plan(p *proof.Plan, ci bool) {
	switch {
	case p.Signer != "":
		r.notice("to be signed as %s", p.Signer)
	case p.Notice != "" && ci:
		r.notice("%s", p.Notice)
	case p.Notice != "":
		r.detail("%s", p.Notice)
	}
}

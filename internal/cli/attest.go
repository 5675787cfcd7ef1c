package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/proof"
)

type attestFlags struct {
	signFlags
	cacheDir             string
	verbose, quiet, json bool
}

func (p *Program) attestCommand() *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use:   "attest ARTIFACT...",
		Short: "Sign what a build has made",
		Long: `Sign what builds have made: each artifact, the manifest.json (or NAME.manifest.json) beside it and, if they are there, its SBOM (NAME.spdx.json or
NAME.cdx.json) and its build record (NAME.build.json), which 'fledge build --sbom spdx' writes.

Nothing of them is changed. Written beside them are SHA256SUMS, NAME.sigstore.json (the provenance) and NAME.intoto.jsonl (everything that
is signed); their paths are printed on standard output. 'fledge build' does the same after a build; this command is for another job,
or another day. In a folder that 'fledge release merge' has made, SHA256SUMS lists all plugins: it stays as it is and is signed with each.

With --sign none and --github-attestations nothing is signed: GitHub is given what is signed already, and the pages of what it keeps
are printed.

Environment:
` + signEnvironment,
		Example: `  fledge build --sbom spdx --attest off      # in a job without permissions
  fledge attest --attest required web.img    # in a job with "id-token: write"
  fledge attest --key cosign.key web.img     # with a key, anywhere
  fledge attest --sign none --github-attestations required web.img  # only have GitHub keep what is signed`,
		Args: someArtifacts,
		RunE: func(cmd *cobra.Command, args []string) error { return p.attest(cmd, args, f) },
	}
	flags := cmd.Flags()
	addSignFlags(cmd, &f.signFlags)
	flags.StringVar(&f.cacheDir, "cache-dir", "", "`folder` that keeps trusted roots, \"none\" for no cache (default $XDG_CACHE_HOME/fledge)")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every step")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func someArtifacts(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("want artifacts, got no argument (see '%s --help')", cmd.CommandPath())}
	}
	return nil
}

func (p *Program) attest(cmd *cobra.Command, artifacts []string, f attestFlags) error {
	if f.verbose && f.quiet {
		return usageError{errors.New("--verbose and --quiet exclude each other")}
	}
	var sets []proof.Set
	for _, artifact := range artifacts {
		set, err := proof.Find(artifact)
		if errors.Is(err, fs.ErrNotExist) {
			return usageError{fmt.Errorf("%w; a plugin is its artifact and manifest.json in one folder", err)}
		}
		if err != nil {
			return err
		}
		sets = append(sets, set)
	}
	report := p.reporter(f.verbose, f.quiet)
	plan, err := p.plan(cmd.Context(), f.signFlags, f.cacheDir, report.warn)
	if err != nil {
		return err
	}
	keep, err := p.keeper(f.signFlags, plan, f.sign == string(proof.None), report)
	if err != nil {
		return err
	}
	if keep != nil && plan.Mode == proof.None {
		return p.keepOnly(cmd.Context(), keep, sets, f)
	}
	if plan.Mode == proof.None {
		return usageError{errors.New("nothing to sign with: " + reasonUnsigned(plan))}
	}
	report.stageBegins("signing as %s", plan.Signer)
	signed, err := plan.SignAll(cmd.Context(), sets)
	if err != nil {
		report.end(false)
	}
	switch {
	case err != nil && len(signed) == 0:
		return fmt.Errorf("%w; nothing was written: run this again later", err)
	case err != nil:
		return fmt.Errorf("%w; %d of %d artifacts are signed: run this again later", err, len(signed), len(sets))
	}
	pages := make([][]string, len(sets))
	for i, set := range sets {
		if pages[i], err = keep.all(cmd.Context(), set.Artifact, signed[i]); err != nil {
			report.end(false)
			return withRest(err, sets[i+1:])
		}
	}
	report.end(true)
	if f.json {
		return printed(p.encode(attestOutput(sets, signed, pages)))
	}
	var paths []string
	for _, s := range signed {
		for _, path := range []string{s.Sums, s.Bundle, s.Bundles} {
			if !slices.Contains(paths, path) { // one SHA256SUMS may be of several
				paths = append(paths, path)
			}
		}
	}
	_, err = fmt.Fprintln(p.Stdout, strings.Join(paths, "\n"))
	return printed(err)
}

// keepOnly has GitHub keep what is signed already, and signs nothing.
func (p *Program) keepOnly(ctx context.Context, k *keeper, sets []proof.Set, f attestFlags) error {
	var all []artifactAttestation
	for i, set := range sets {
		out, err := k.keepSigned(ctx, set)
		if err != nil {
			k.report.end(false)
			return withRest(err, sets[i+1:])
		}
		all = append(all, artifactAttestation{set.Artifact, *out})
	}
	k.report.end(true)
	if f.json {
		return printed(p.encode(attestedOf(all)))
	}
	for _, out := range all {
		for _, page := range out.Pages {
			if _, err := fmt.Fprintln(p.Stdout, page); err != nil {
				return printed(err)
			}
		}
	}
	return nil
}

// attested is what --json of attest prints: of one artifact its attestation, and a list of
// those of all. Its keys are a promise.
type attested struct {
	*attestation
	Attestations []artifactAttestation `json:"attestations"`
}

type artifactAttestation struct {
	Artifact string `json:"artifact"` // path
	attestation
}

// attestOutput takes the pages of each artifact.
func attestOutput(sets []proof.Set, signed []*proof.Signed, pages [][]string) attested {
	var all []artifactAttestation
	for i, s := range signed {
		all = append(all, artifactAttestation{sets[i].Artifact, signedOutput(s, pages[i])})
	}
	return attestedOf(all)
}

func attestedOf(all []artifactAttestation) attested {
	out := attested{Attestations: all}
	if len(all) == 1 {
		out.attestation = &all[0].attestation
	}
	return out
}

// reasonUnsigned says why a plan signs nothing.
func reasonUnsigned(plan *proof.Plan) string {
	if plan.Notice != "" {
		return plan.Notice + "; give a key with --key"
	}
	return "--sign none or --attest off"
}

// attestation is what --json tells about signatures. Its keys are a promise.
type attestation struct {
	Sums       string          `json:"sums"`
	Bundle     string          `json:"bundle"`
	Bundles    string          `json:"bundles"`
	Statements []string        `json:"statements"` // predicate types, as in bundles
	Subjects   []subjectOutput `json:"subjects"`
	Pages      []string        `json:"github_urls,omitempty"` // of what GitHub keeps, as in statements
}

type subjectOutput struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func signedOutput(s *proof.Signed, pages []string) attestation {
	out := attestation{Sums: s.Sums, Bundle: s.Bundle, Bundles: s.Bundles, Statements: s.Statements, Pages: pages}
	for _, sub := range s.Subjects {
		out.Subjects = append(out.Subjects, subjectOutput{sub.Name, "sha256:" + sub.SHA256()})
	}
	return out
}

func (p *Program) encode(v any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// warn and stageBegins are a build's events, for what is no build.
func (r *reporter) warn(err error) { r.event(build.Event{Kind: build.Warning, Message: err.Error()}) }

func (r *reporter) stageBegins(format string, args ...any) {
	r.event(build.Event{Kind: build.StageBegins, Message: fmt.Sprintf(format, args...)})
}

// unsignedError is a build whose signing failed. What was built is there.
type unsignedError struct {
	artifact string // path
	err      error
}

func (e *unsignedError) Error() string { return e.err.Error() + "; " + e.resume() }
func (e *unsignedError) Unwrap() error { return e.err }

// resume says what there is and what to do with it.
func (e *unsignedError) resume() string {
	return fmt.Sprintf("%s and the files beside it are built and unsigned: sign them later with 'fledge attest %s'", filepath.Base(e.artifact), shellWord(e.artifact))
}

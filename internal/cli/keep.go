package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/internal/proof"
	"github.com/volant/fledge-action/internal/release"
)

// keeper has GitHub keep attestations. A nil one keeps none.
type keeper struct {
	required     bool
	client       *release.Client
	server, repo string
	report       *reporter
}

// keeper decides, before anything is built, whether attestations will be kept at
// GitHub: those that plan signs or, if only keeping is asked for, earlier ones. Where
// they cannot be, that is said, or an error if they have to be.
func (p *Program) keeper(f signFlags, plan *proof.Plan, only bool, report *reporter) (*keeper, error) {
	const flag = "--github-attestations"
	need := proof.Need(f.github)
	if need != proof.AsItGoes && need != proof.Required && need != proof.Off {
		return nil, usageError{fmt.Errorf("%s %q: want auto, required or off", flag, f.github)}
	}
	switch {
	case need == proof.Off:
		return nil, nil
	case plan.Mode == proof.None && !only && need == proof.Required:
		return nil, usageError{fmt.Errorf("%s required: nothing to keep: %s", flag, reasonUnsigned(plan))}
	case plan.Mode == proof.None && !only:
		return nil, nil // why it is unsigned has been said
	}
	k := &keeper{required: need == proof.Required, repo: p.Getenv("GITHUB_REPOSITORY"), server: cmp.Or(p.Getenv("GITHUB_SERVER_URL"), "https://github.com"), report: report}
	if reason := unverifiable(plan.Mode == proof.Key, f.trustedRoot != ""); reason != "" && !k.required {
		k.notice("%s", reason)
		return nil, nil
	}
	var err error
	if k.repo == "" {
		err = errors.New("no repository: GITHUB_REPOSITORY is not set")
	} else {
		k.client, err = p.github(k.repo, "attestations: write", release.Patience{MaxWait: f.budget}, report)
	}
	switch {
	case err != nil && k.required:
		return nil, usageError{fmt.Errorf("%s required: %w", flag, err)}
	case err != nil:
		k.notice("%v", err)
		return nil, nil
	}
	return k, nil
}

// unverifiable says why GitHub would not know who has signed, "" if it does.
func unverifiable(key, custom bool) string {
	switch {
	case key:
		return "it verifies no signature by a key (--github-attestations required has it sent all the same)"
	case custom:
		return "it does not know the Sigstore of --trusted-root (--github-attestations required has it sent all the same)"
	}
	return ""
}

func (k *keeper) notice(format string, args ...any) {
	k.report.notice("attestations are not kept at GitHub: %s", fmt.Sprintf(format, args...))
}

// keep sends all bundles about an artifact and returns their pages. A refusal is an
// error only if they have to be kept.
func (k *keeper) keep(ctx context.Context, artifact string, bundles []verify.Bundle) ([]string, error) {
	k.report.stageBegins("keeping attestations at GitHub")
	var pages []string
	for _, b := range bundles {
		id, err := k.client.KeepAttestation(ctx, b.JSON)
		if err != nil && !k.required && ctx.Err() == nil {
			k.notice("%v", err)
			return pages, nil
		}
		if err != nil {
			return pages, &unkeptError{[]string{artifact}, len(pages), len(bundles), err}
		}
		pages = append(pages, release.AttestationURL(k.server, k.repo, id))
		k.report.notice("attestation kept: %s", pages[len(pages)-1])
	}
	return pages, nil
}

// all sends everything that was just signed.
func (k *keeper) all(ctx context.Context, artifact string, signed *proof.Signed) ([]string, error) {
	if k == nil {
		return nil, nil
	}
	bundles, err := readBundles(signed.Bundles)
	if err != nil {
		return nil, err
	}
	return k.keep(ctx, artifact, bundles)
}

// unkeptError is a build that is signed, and whose attestations GitHub does not have.
type unkeptError struct {
	artifacts []string // paths: the one that failed, and those that had no turn
	kept, all int      // attestations of the first
	err       error
}

func (e *unkeptError) Error() string { return e.err.Error() + "; " + e.resume() }
func (e *unkeptError) Unwrap() error { return e.err }

// resume says what there is and what to do with it.
func (e *unkeptError) resume() string {
	var words []string
	for _, path := range e.artifacts {
		words = append(words, shellWord(path))
	}
	return fmt.Sprintf("%s and the files beside it are built and signed, and %d of %d attestations kept at GitHub: go on with 'fledge attest --sign none --github-attestations required %s'",
		filepath.Base(e.artifacts[0]), e.kept, e.all, strings.Join(words, " "))
}

// withRest has an error of one artifact name those that it kept from their turn.
func withRest(err error, rest []proof.Set) error {
	if unkept := (*unkeptError)(nil); errors.As(err, &unkept) {
		for _, set := range rest {
			unkept.artifacts = append(unkept.artifacts, set.Artifact)
		}
	}
	return err
}

// readBundles reads NAME.intoto.jsonl.
func readBundles(path string) ([]verify.Bundle, error) {
	data, err := readWhole(path, verify.MaxFile)
	if err != nil {
		return nil, err
	}
	return verify.Bundles(path, data)
}

// keepSigned has GitHub keep what is signed already about an artifact. It must be about
// the artifact that is there.
func (k *keeper) keepSigned(ctx context.Context, set proof.Set) (*attestation, error) {
	if _, err := os.Stat(set.Bundles()); errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("%s is not there: nothing is signed yet, so leave --sign none out", set.Bundles())}
	}
	bundles, err := readBundles(set.Bundles())
	if err != nil {
		return nil, err
	}
	digest, err := hashArtifact(ctx, set.Artifact)
	if err != nil {
		return nil, err
	}
	out := &attestation{Sums: set.Sums(), Bundle: set.Bundle(), Bundles: set.Bundles()}
	for _, b := range bundles {
		st, key, err := verify.Claims(b)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(st.Subject, func(s statement.Subject) bool { return s.SHA256() == digest }) {
			return nil, fmt.Errorf("%s is not about %s, which has sha256:%s; sign what is there: leave --sign none out", b.Source, set.Artifact, digest)
		}
		if reason := unverifiable(key, false); reason != "" && !k.required {
			k.notice("%s", reason)
			return out, nil
		}
		out.Statements = append(out.Statements, st.PredicateType)
		if out.Subjects == nil {
			for _, s := range st.Subject {
				out.Subjects = append(out.Subjects, subjectOutput{s.Name, "sha256:" + s.SHA256()})
			}
		}
	}
	out.Pages, err = k.keep(ctx, set.Artifact, bundles)
	return out, err
}

func hashArtifact(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	defer f.Close()
	s, err := statement.Digest(ctx, filepath.Base(path), f)
	if err != nil {
		return "", fmt.Errorf("hashing %s: %w", path, err)
	}
	return s.SHA256(), nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/internal/verifytarget"
)

// ExitNothing is what 'fledge verify' exits with when there is nothing to verify a target
// with.
const ExitNothing = 3

// exitError is the end of a command that has told everything already.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

type verifyFlags struct {
	repos, workflows, keys, roots, bundles, types []string
	owner, issuer, sourceRef, baseURL, cacheDir   string
	rebuild                                       string
	denySelfHosted, offline, json, quiet          bool
}

func (p *Program) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify TARGET...",
		Short: "Tell whether an artifact was built by who it is said to come from",
		Long: `Verify where artifacts come from. A TARGET is an artifact, its manifest.json or a SHA256SUMS, each a path or an
https URL, or the page of a release on GitHub (https://github.com/OWNER/NAME/releases/tag/TAG or …/latest).

Whose signature is accepted has to be said: --repo, --owner or --signer-workflow for what a GitHub workflow has signed, --key
for a key. Bundles are looked for beside the target as NAME.sigstore.json, NAME.intoto.jsonl and FILE.sigstore.json; then, with --repo
and not --offline, GitHub is asked. Remote files are hashed as they come and not stored. See docs/verify.md.

Environment:
  GITHUB_TOKEN       for the GitHub API: releases and attestations
  XDG_CACHE_HOME     where trusted roots are kept, in fledge/ (default ~/.cache)
  HTTPS_PROXY, NO_PROXY  the proxy for what is fetched, and the hosts that need none
  TMPDIR, DOCKER_CONFIG  with --rebuild, as for 'fledge build'`,
		Example: `  fledge verify dist/web.img --repo acme/web
  fledge verify https://github.com/acme/web/releases/tag/v1.2.0 --repo acme/web
  fledge verify manifest.json --repo acme/web --signer-workflow volant/fledge-action/.github/workflows/fledge-release.yml
  fledge verify web.img --key fledge.pub --offline`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("verify wants an artifact, a manifest.json, a SHA256SUMS or a release (see 'fledge verify --help')")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.verify(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.repos, "repo", nil, "`OWNER/NAME` of the repository that it was built from (repeatable: any of them)")
	flags.StringVar(&f.owner, "owner", "", "`OWNER` of the repository, any of whose repositories will do")
	flags.StringArrayVar(&f.workflows, "signer-workflow", nil, "`OWNER/NAME/PATH[@REF]` of the workflow that signed, a reusable one for instance; its own repository is meant if there is no --repo or --owner (repeatable: any of them)")
	flags.StringVar(&f.sourceRef, "source-ref", "", "`ref` that it was built from, such as refs/tags/v1.2.0")
	flags.StringVar(&f.issuer, "cert-oidc-issuer", "", "`URL` of who issued the signer's token, exactly (default "+verify.GitHubIssuer+")")
	flags.BoolVar(&f.denySelfHosted, "deny-self-hosted-runners", false, "accept only what was built on GitHub's own runners")
	flags.StringArrayVar(&f.keys, "key", nil, "`file` with a public key in PEM whose signature is accepted (repeatable: any of them)")
	flags.StringArrayVar(&f.types, "predicate-type", nil, "`type` of a statement that has to be there (repeatable: all of them; default provenance or fledge's build record)")
	flags.StringArrayVar(&f.bundles, "bundle", nil, "`file` with bundles, .json or .jsonl, instead of those beside the target (repeatable)")
	flags.StringArrayVar(&f.roots, "trusted-root", nil, "`file` with trusted roots, .json or .jsonl, of the Sigstore that signed (repeatable; default the public-good Sigstore's and GitHub's)")
	flags.BoolVar(&f.offline, "offline", false, "ask no network: use the trusted roots that fledge brings, and what is on this machine")
	flags.StringVar(&f.baseURL, "base-url", "", "`URL` of the GitHub API (default https://api.github.com)")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "`folder` that keeps trusted roots, \"none\" for no cache (default $XDG_CACHE_HOME/fledge)")
	flags.StringVar(&f.rebuild, "rebuild", "", "`folder` of the project: build the artifact again from what its build record names, and compare")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing of what verified")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (p *Program) verify(ctx context.Context, f verifyFlags, targets []string) error {
	if f.json && f.quiet {
		return usageError{errors.New("--json and --quiet exclude each other")}
	}
	if f.offline && f.rebuild != "" {
		return usageError{errors.New("--rebuild fetches what the build record names, which --offline excludes")}
	}
	options := verifytarget.Options{
		Bundles: f.bundles, Offline: f.offline, Repos: f.repos, BaseURL: f.baseURL, Token: p.Getenv("GITHUB_TOKEN"),
		Fetch: &fetch.Client{Policy: fetch.Policy{Warn: p.warn}},
	}
	policy, err := f.policy()
	if err != nil {
		return err
	}
	if err := policy.Check(); errors.Is(err, verify.ErrNoIdentity) {
		return usageError{noIdentity(ctx, targets[0], options)}
	} else if err != nil {
		return usageError{err}
	}
	if policy.Roots, err = p.trustedRoots(ctx, f); err != nil {
		return err
	}
	var reports []*verifytarget.Report
	var again [][]rebuilt
	for _, target := range targets {
		found, err := verifytarget.Find(ctx, target, options)
		var wrong *verifytarget.UsageError
		if errors.As(err, &wrong) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		r, err := verifytarget.Check(ctx, found, policy)
		if err != nil {
			return err
		}
		var built []rebuilt
		if f.rebuild != "" {
			if built, err = p.rebuild(ctx, f, r); err != nil {
				return err
			}
		}
		reports, again = append(reports, r), append(again, built)
		if !f.json {
			if err := p.printVerified(f, r, built); err != nil {
				return err
			}
		}
	}
	if f.json {
		if err := printed(printVerifyJSON(p.Stdout, reports, again)); err != nil {
			return err
		}
	}
	return verdict(reports)
}

func (p *Program) warn(err error) {
	fmt.Fprintf(p.Stderr, "warning: %s\n", oneLine(err.Error()))
}

// verdict is the exit code of all targets together.
func verdict(reports []*verifytarget.Report) error {
	code := ExitOK
	for _, r := range reports {
		switch {
		case len(r.Problems) > 0:
			code = ExitFailed
		case r.Nothing && code == ExitOK:
			code = ExitNothing
		}
	}
	if code == ExitOK {
		return nil
	}
	return exitError{code}
}

// policy is what the flags say about the signer.
func (f verifyFlags) policy() (verify.Policy, error) {
	p := verify.Policy{
		Owner: f.owner, SourceRef: f.sourceRef, Issuer: f.issuer, DenySelfHosted: f.denySelfHosted, PredicateTypes: f.types,
		OtherRepos: f.repos, OtherSignerWorkflows: f.workflows,
	}
	for _, empty := range [][]string{f.repos, f.workflows, f.types} {
		if slices.Contains(empty, "") {
			return p, usageError{errors.New("--repo, --signer-workflow and --predicate-type may not be empty")}
		}
	}
	for _, name := range f.keys {
		file, size, err := openFile(name)
		if err != nil {
			return p, usageError{err}
		}
		defer file.Close()
		if size > maxKey {
			return p, usageError{fmt.Errorf("%s has %d bytes, which is no public key", shown(name), size)}
		}
		pem, err := io.ReadAll(io.LimitReader(file, maxKey))
		if err != nil {
			return p, usageError{err}
		}
		p.Keys = append(p.Keys, pem)
	}
	return p, nil
}

// noIdentity says what to write, with a hint at who may have signed.
func noIdentity(ctx context.Context, target string, o verifytarget.Options) error {
	say := "say whose signature you accept: --repo OWNER/NAME, --owner OWNER, --signer-workflow OWNER/NAME/PATH or --key FILE"
	signers := verifytarget.Claimed(ctx, target, o)
	if len(signers) == 0 {
		return errors.New(say)
	}
	const most = 3
	more := ""
	if len(signers) > most {
		signers, more = signers[:most], " and others"
	}
	return fmt.Errorf("%s (the bundle says it was signed by %s%s; that is not verified)", say, strings.Join(signers, " and "), more)
}

// trustedRoots are those that certificates are verified with. A key needs none.
func (p *Program) trustedRoots(ctx context.Context, f verifyFlags) ([]*trust.Root, error) {
	var roots []*trust.Root
	for _, name := range f.roots {
		more, err := trust.Files(name)
		if err != nil {
			return nil, usageError{err}
		}
		roots = append(roots, more...)
	}
	if len(roots) > 0 || len(f.repos)+len(f.workflows) == 0 && f.owner == "" {
		return roots, nil
	}
	return trust.Known(ctx, p.trustOptions(f.cacheDir, f.offline, p.warn))
}

// trustOptions say how to come by trusted roots.
func (p *Program) trustOptions(cacheDir string, offline bool, warn func(error)) trust.Options {
	o := trust.Options{Offline: offline, Warn: warn}
	if dir := p.cacheDir(cacheDir); dir != "" {
		o.CacheDir = filepath.Join(dir, "trust")
	}
	return o
}

// printVerified prints one target for people: what verified on standard output, what
// did not on standard error.
func (p *Program) printVerified(f verifyFlags, r *verifytarget.Report, built []rebuilt) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", label, oneLine(fmt.Sprintf(format, args...)))
	}
	if r.OK() {
		if f.quiet {
			return nil
		}
		fmt.Fprintf(&b, "%s: verified\n", shown(r.Target))
		printFiles(line, r)
		printSigners(line, r)
		printRecord(line, r)
		if len(built) > 0 {
			line("rebuilt", "%s", rebuiltText(built))
		}
		for _, n := range r.Notes {
			line("note", "%s", n)
		}
		for _, i := range r.Ignored {
			line("note", "not taken into account: %v", i)
		}
		_, err := io.WriteString(p.Stdout, b.String())
		return printed(err)
	}
	fmt.Fprintf(&b, "%s: not verified\n", shown(r.Target))
	printFiles(line, r)
	for _, x := range r.Problems {
		line("because", "%v", x)
	}
	if r.Nothing {
		line("because", "there is no bundle to verify it with")
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	for _, a := range advice(r) {
		line("do", "%s", a)
	}
	_, err := io.WriteString(p.Stderr, b.String())
	return err
}

// most is how many lines of one kind are printed for people.
const most = 12

func printFiles(line func(label, format string, args ...any), r *verifytarget.Report) {
	for i, f := range r.Files {
		if i == most {
			line("", "and %d further files", len(r.Files)-i)
			return
		}
		state := ""
		if r.OK() && !r.Verified[i] {
			state = " (not signed)"
		}
		line(string(f.Role), "%s%s, %s, sha256:%s", shown(f.Name), state, size(f.Size), f.SHA256)
	}
}

// printSigners prints each signer once, with what it has signed.
func printSigners(line func(label, format string, args ...any), r *verifytarget.Report) {
	var seen []verify.Signer
	for _, b := range r.Bundles {
		if slices.Contains(seen, b.Signer) {
			continue
		}
		seen = append(seen, b.Signer)
		if len(seen) > most {
			line("signed by", "and by others")
			return
		}
		printSigner(line, b)
	}
	for i, b := range r.Bundles {
		if i == most {
			line("", "and %d further statements", len(r.Bundles)-i)
			return
		}
		line("statement", "%s (%s)", b.Statement.PredicateType, b.Source)
	}
}

func printSigner(line func(label, format string, args ...any), b verify.Verified) {
	s := b.Signer
	if s.Identity == "" {
		line("signed by", "the holder of %s", s)
		return
	}
	line("signed by", "%s", s)
	if s.Repository != "" {
		line("source", "%s at %s, commit %s", s.Repository, s.Ref, s.Commit)
	}
	if s.Workflow != "" && s.Workflow != s.Identity {
		line("called by", "%s", s.Workflow)
	}
	if s.Run != "" {
		line("run", "%s (%s, %s)", s.Run, s.Event, s.Runner)
	}
	for _, t := range b.Timestamps {
		line("signed at", "%s (%s)", t.Time.Format("2006-01-02 15:04:05 MST"), t.Source)
	}
	line("trust", "%s", b.Root)
}

// printRecord prints what fledge has built from.
func printRecord(line func(label, format string, args ...any), r *verifytarget.Report) {
	all := recorded(r)
	if len(all) == 1 {
		x := all[0].Record
		line("built by", "fledge %s for %s, %s, epoch %d", x.Fledge.Version, x.Platform, x.Format, x.Epoch)
		if x.ContentDigest != "" {
			line("content", "%s", x.ContentDigest)
		}
		line("config", "%s sha256:%s", shown(x.Config.Name), x.Config.SHA256)
		for i, d := range x.Dependencies {
			if i == most {
				line("", "and %d further materials", len(x.Dependencies)-i)
				break
			}
			line("material", "%s %s %s", d.Name, d.URI, digestText(d.Digest))
		}
		return
	}
	for i, b := range all {
		if i == most {
			line("", "and %d further build records", len(all)-i)
			return
		}
		x := b.Record
		line("built by", "fledge %s for %s, %s, epoch %d: %s", x.Fledge.Version, x.Platform, x.Format, x.Epoch, shown(b.Subject.Name))
	}
}

// recorded are the bundles with the build records of artifacts, one of each.
func recorded(r *verifytarget.Report) []verify.Verified {
	var all []verify.Verified
	seen := map[string]bool{}
	for _, b := range r.Bundles {
		if b.Record != nil && !seen[b.Subject.SHA256()] {
			seen[b.Subject.SHA256()] = true
			all = append(all, b)
		}
	}
	return all
}

// digestText shows the digests of a material in a fixed order.
func digestText(m map[string]string) string {
	var all []string
	for name, value := range m {
		all = append(all, name+":"+value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// advice tells what to do about a target that did not verify.
func advice(r *verifytarget.Report) []string {
	var list []string
	add := func(text string) {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	if r.Nothing {
		add("name the bundle with --bundle; without --offline and with --repo GitHub is asked too")
	}
	for _, p := range r.Problems {
		switch p.Kind {
		case verify.Subject, verifytarget.Checksum, verifytarget.Changed:
			add("do not use it: fetch all files again, from one release")
		case verify.Format, verify.Predicate, verify.Missing:
			add("name a bundle with --bundle that says how it was built")
		case verify.UnknownCA, verify.Expired:
			add("give the trusted root of the Sigstore that signed with --trusted-root, or leave out --offline to refresh it")
		case kindRebuild:
			add("do not use it, unless you know why it differs")
		case verify.Identity, verify.Workflow, verify.Issuer, verify.Key:
			add("do not use it, unless you know that signer: then name it")
		default:
			add("do not use it: fetch it and its bundles again from where they were published")
		}
	}
	return list
}

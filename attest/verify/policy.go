package verify

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
)

// GitHubIssuer is who issues the tokens of GitHub Actions on github.com.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// A Policy says whose signature is accepted. It names a signer, by Repo, Owner or
// SignerWorkflow for certificates, by Keys, or both: then either will do.
type Policy struct {
	// Repo is the repository that a file was built from, "owner/name" or
	// "host/owner/name", in any case. Its own workflows may have signed, and no others
	// unless SignerWorkflow names them.
	Repo string
	// OtherRepos are further ones of which that is accepted.
	OtherRepos []string
	// Owner accepts every repository of a user or an organisation.
	Owner string
	// SignerWorkflow is the workflow that signed, "owner/name/path", perhaps with
	// "@ref": with a reusable workflow another one than that of the repository.
	// Without Repo and Owner, the repository has to be the workflow's own, since anybody may
	// call a public reusable workflow.
	SignerWorkflow string
	// OtherSignerWorkflows are further ones that are accepted.
	OtherSignerWorkflows []string
	// SourceRef is the only ref accepted, such as "refs/heads/main"; "" for any.
	SourceRef string
	// Issuer is the token's issuer, exactly; "" is GitHubIssuer.
	Issuer string
	// DenySelfHosted accepts GitHub's own runners only.
	DenySelfHosted bool

	// Keys are public keys that are accepted, in PEM.
	Keys [][]byte

	// PredicateTypes are those of the statements that there have to be, each of
	// them. Empty means provenance or a build record of fledge.
	PredicateTypes []string

	// Roots are the trusted roots. A certificate has to satisfy one of them.
	Roots []*trust.Root
}

// ErrNoIdentity is the error of a policy that names no signer.
var ErrNoIdentity = errors.New("no signer is named")

// Check tells whether a policy names a signer and what in it cannot be.
func (p Policy) Check() error {
	if !p.certificates() && len(p.Keys) == 0 {
		return fmt.Errorf("checking policy: %w", ErrNoIdentity)
	}
	for _, repo := range p.repos() {
		if _, err := repoURL(repo, p.server()); err != nil {
			return fmt.Errorf("checking policy: %w", err)
		}
	}
	for _, w := range p.workflows() {
		if _, err := parseWorkflow(w, p.server()); err != nil {
			return fmt.Errorf("checking policy: %w", err)
		}
	}
	if p.Owner != "" && !isName(p.Owner) {
		return fmt.Errorf("checking policy: owner %q is not the name of a user or an organisation", p.Owner)
	}
	if p.SourceRef != "" && !strings.HasPrefix(p.SourceRef, "refs/") {
		return fmt.Errorf("checking policy: source ref %q does not begin with \"refs/\"; write refs/heads/BRANCH or refs/tags/TAG", p.SourceRef)
	}
	if p.Issuer != "" {
		if u, err := url.Parse(p.Issuer); err != nil || u.Host == "" {
			return fmt.Errorf("checking policy: issuer %q is not a URL", p.Issuer)
		}
	}
	_, err := parseKeys(p.Keys)
	if err != nil {
		return fmt.Errorf("checking policy: %w", err)
	}
	return nil
}

// certificates tells whether the policy accepts any certificate.
func (p Policy) certificates() bool {
	return p.Owner != "" || len(p.repos()) > 0 || len(p.workflows()) > 0
}

func (p Policy) repos() []string     { return nonEmpty(p.Repo, p.OtherRepos) }
func (p Policy) workflows() []string { return nonEmpty(p.SignerWorkflow, p.OtherSignerWorkflows) }

func nonEmpty(first string, others []string) []string {
	return slices.DeleteFunc(append([]string{first}, others...), func(s string) bool { return s == "" })
}

func (p Policy) issuer() string {
	if p.Issuer == "" {
		return GitHubIssuer
	}
	return p.Issuer
}

// server is the address that repositories have for an issuer: github.com, or the
// enterprise's own host.
func (p Policy) server() string {
	u, err := url.Parse(p.issuer())
	if err == nil && u.Scheme == "https" {
		host, ok := strings.CutPrefix(u.Host, "token.actions.")
		if ok && strings.HasSuffix(host, ".ghe.com") {
			return "https://" + host
		}
	}
	return statement.DefaultServerURL
}

// required tells which of the predicate types are missing in found, in words; ""
// if none is.
func (p Policy) required(found []string) string {
	if len(p.PredicateTypes) == 0 {
		if slices.Contains(found, statement.TypeProvenance) || slices.Contains(found, statement.TypeBuild) {
			return ""
		}
		return "provenance or a build record of fledge"
	}
	var missing []string
	for _, t := range p.PredicateTypes {
		if !slices.Contains(found, t) {
			missing = append(missing, t)
		}
	}
	return strings.Join(missing, " and ")
}

// repoURL is a repository's address.
func repoURL(repo, server string) (string, error) {
	parts := strings.Split(strings.TrimPrefix(repo, "https://"), "/")
	if len(parts) == 3 && strings.Contains(parts[0], ".") && isName(parts[0]) {
		server, parts = "https://"+parts[0], parts[1:]
	}
	if len(parts) != 2 || !isName(parts[0]) || !isName(parts[1]) {
		return "", fmt.Errorf("repository %q is not OWNER/NAME", repo)
	}
	return server + "/" + parts[0] + "/" + parts[1], nil
}

// isName tells whether s can be a user's, a repository's or a host's name.
func isName(s string) bool {
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.:", r)
	}
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, odd)
}

// A workflow is a file in a repository, at a ref.
type workflow struct {
	repo string // its address
	path string // in the repository
	ref  string // "" for any
}

// parseWorkflow reads "[HOST/]OWNER/NAME/PATH[@REF]".
func parseWorkflow(s, server string) (workflow, error) {
	file, ref, hasRef := strings.Cut(strings.TrimPrefix(s, "https://"), "@")
	parts := strings.Split(file, "/")
	owner := 0
	if len(parts) > 3 && strings.Contains(parts[0], ".") {
		owner = 1
	}
	bad := fmt.Errorf("workflow %q is not OWNER/NAME/PATH, such as volant/fledge-action/.github/workflows/build.yml", s)
	if len(parts) < owner+3 || hasRef && ref == "" {
		return workflow{}, bad
	}
	repo, err := repoURL(strings.Join(parts[:owner+2], "/"), server)
	path := strings.Join(parts[owner+2:], "/")
	if err != nil || path == "" || slices.Contains(parts, "..") || strings.HasSuffix(path, "/") {
		return workflow{}, bad
	}
	return workflow{repo: repo, path: path, ref: ref}, nil
}

// splitIdentity takes the address of a workflow, as a certificate has it, apart.
func splitIdentity(identity string) (workflow, bool) {
	file, ref, _ := strings.Cut(identity, "@")
	parts := strings.SplitN(file, "/", 6) // https: "" HOST OWNER NAME PATH
	if len(parts) != 6 || parts[5] == "" {
		return workflow{}, false
	}
	return workflow{repo: strings.Join(parts[:5], "/"), path: parts[5], ref: ref}, true
}

// admits tells whether a workflow that signed is w.
func (w workflow) admits(signer workflow) bool {
	return strings.EqualFold(w.repo, signer.repo) && w.path == signer.path && (w.ref == "" || w.ref == signer.ref)
}

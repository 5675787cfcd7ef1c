package verify

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// A Signer is who has signed: the holder of a key, or whom a certificate names. The
// latter's fields are those of the token that Fulcio saw, "" if it did not say.
type Signer struct {
	Key string // hint of the key, base64 of the sha256 of its DER; all else is empty then

	Identity     string // who signed: the address of a workflow with its ref
	Issuer       string // of the token
	Repository   string // address of the repository that was built
	RepositoryID string
	Owner        string // address of its owner
	OwnerID      string
	Ref          string // that was built, such as "refs/tags/v1"
	Commit       string // that was built
	Workflow     string // address of the workflow that was triggered, with its ref
	Event        string // that triggered it
	Run          string // address of the run and its attempt
	Runner       string // "github-hosted" or "self-hosted"
	CA           string // who issued the certificate
}

func (s Signer) String() string {
	if s.Identity == "" {
		return "key " + s.Key
	}
	return s.Identity
}

// certificateSigner reads whom a certificate names.
func certificateSigner(cert *x509.Certificate) (Signer, error) {
	if n := len(cert.URIs) + len(cert.EmailAddresses) + len(cert.DNSNames) + len(cert.IPAddresses); n > 1 {
		return Signer{}, fmt.Errorf("certificate names %d identities, want one", n)
	}
	c, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		return Signer{}, fmt.Errorf("reading the certificate's identity: %w", err)
	}
	return Signer{
		Identity: c.SubjectAlternativeName, Issuer: c.Issuer,
		Repository: c.SourceRepositoryURI, RepositoryID: c.SourceRepositoryIdentifier,
		Owner: c.SourceRepositoryOwnerURI, OwnerID: c.SourceRepositoryOwnerIdentifier,
		Ref: c.SourceRepositoryRef, Commit: c.SourceRepositoryDigest,
		Workflow: c.BuildConfigURI, Event: c.BuildTrigger, Run: c.RunInvocationURI, Runner: c.RunnerEnvironment,
		CA: c.CertificateIssuer,
	}, nil
}

// admit tells why a certificate's signer is none that the policy accepts.
func (p Policy) admit(s Signer) *Problem {
	if s.Issuer != p.issuer() {
		return problem(Issuer, "signed by %s with a token of issuer %q, expected issuer %q", s, s.Issuer, p.issuer())
	}
	if reason := p.admitSource(s); reason != nil {
		return reason
	}
	if reason := p.admitWorkflow(s); reason != nil {
		return reason
	}
	switch {
	case p.SourceRef != "" && s.Ref != p.SourceRef:
		return problem(Identity, "built from %q of %s, expected %q", s.Ref, s.Repository, p.SourceRef)
	case p.DenySelfHosted && s.Runner != "github-hosted":
		return problem(Identity, "built on a runner that is %q, expected \"github-hosted\"", s.Runner)
	}
	return nil
}

// admitSource checks the repository that was built.
func (p Policy) admitSource(s Signer) *Problem {
	if p.Owner != "" && !strings.EqualFold(s.Owner, p.server()+"/"+p.Owner) {
		return problem(Identity, "signed by %s, expected a repository of %s", s, p.Owner)
	}
	repos := p.repos()
	if len(repos) == 0 {
		return nil
	}
	for _, repo := range repos {
		if url, err := repoURL(repo, p.server()); err == nil && strings.EqualFold(s.Repository, url) {
			return nil
		}
	}
	built := ""
	if w, ok := splitIdentity(s.Identity); ok && s.Repository != "" && !strings.EqualFold(w.repo, s.Repository) {
		built = " in a build of " + s.Repository
	}
	return problem(Identity, "signed by %s%s, expected repository %s", s, built, strings.Join(repos, " or "))
}

// admitWorkflow checks the workflow that signed.
func (p Policy) admitWorkflow(s Signer) *Problem {
	signer, ok := splitIdentity(s.Identity)
	if !ok {
		return problem(Identity, "signed by %s, which is no workflow", s)
	}
	own := strings.EqualFold(signer.repo, s.Repository)
	workflows := p.workflows()
	if len(workflows) == 0 {
		if own {
			return nil
		}
		path := strings.TrimPrefix(signer.repo, p.server()+"/") + "/" + signer.path
		return problem(Workflow, "signed by %s, a workflow of another repository that %s called; if you trust it, add --signer-workflow %s", s, s.Repository, path)
	}
	for _, text := range workflows {
		w, err := parseWorkflow(text, p.server())
		if err == nil && w.admits(signer) && (own || p.Owner != "" || len(p.repos()) > 0) {
			return nil
		}
	}
	if !own && p.Owner == "" && len(p.repos()) == 0 {
		return problem(Workflow, "signed by %s in a build of %s, which is another repository; if you expect that, add --repo", s, s.Repository)
	}
	return problem(Workflow, "signed by %s, expected workflow %s", s, strings.Join(workflows, " or "))
}

// A key is a public key that is accepted.
type key struct {
	hint string
	root.TimeConstrainedVerifier
}

// parseKeys reads public keys in PEM.
func parseKeys(pems [][]byte) ([]key, error) {
	var keys []key
	for i, pem := range pems {
		k, err := parseKey(pem)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(pems), err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseKey(pem []byte) (key, error) {
	if strings.Contains(string(pem), "PRIVATE KEY-----") {
		return key{}, errors.New("it is a private key; give the public one (cosign public-key, openssl pkey -pubout)")
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return key{}, fmt.Errorf("it is no public key in PEM: %w", err)
	}
	verifier, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		return key{}, fmt.Errorf("its kind cannot be used: %w", err)
	}
	hint, err := keyHint(public)
	if err != nil {
		return key{}, err
	}
	return key{hint, root.NewExpiringKey(verifier, time.Time{}, time.Time{})}, nil
}

// keyHint is how cosign calls a key in a bundle.
func keyHint(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

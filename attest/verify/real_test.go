package verify

import (
	"testing"

	"github.com/sigstore/sigstore-go/pkg/testing/data"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/volant/fledge-action/attest/trust"
)

// TestRealCertificate verifies what the real public-good Sigstore has signed for a real
// workflow of GitHub Actions: the requirements that are made of its root are those that its
// bundles fulfil, and their certificates are read as they are.
func TestRealCertificate(t *testing.T) {
	root, err := trust.PublicGood(t.Context(), trust.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	b := data.Bundle(t, "sigstore.js@2.0.0-provenance.sigstore.json")
	verifier, err := verify.NewVerifier(root.Material, requirements(root.Material)...)
	if err != nil {
		t.Fatal(err)
	}
	// Its subject has no sha256.
	result, err := verifier.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		t.Fatal(err)
	}
	content, err := b.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	o := &opened{entity: b, cert: content.Certificate()}
	if reason := unverified(o, root); reason != nil {
		t.Error(reason)
	}
	if times := times(result); len(times) != 1 || times[0].Source != "transparency log" {
		t.Errorf("times %v", times)
	}
	s, err := certificateSigner(o.cert)
	if err != nil {
		t.Fatal(err)
	}
	want := Signer{
		Identity: "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main", Issuer: GitHubIssuer,
		Repository: "https://github.com/sigstore/sigstore-js", RepositoryID: "495574555", Owner: "https://github.com/sigstore", OwnerID: "71096353",
		Ref: "refs/heads/main", Commit: s.Commit, Workflow: "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		Event: "push", Run: s.Run, Runner: "github-hosted", CA: "CN=sigstore-intermediate,O=sigstore.dev",
	}
	if s != want || len(s.Commit) != 40 || workflowPath(s) != ".github/workflows/release.yml" {
		t.Errorf("signer %+v\nwant %+v", s, want)
	}
	for _, tt := range []struct {
		policy Policy
		ok     bool
	}{
		{Policy{Repo: "Sigstore/sigstore-js", DenySelfHosted: true, SourceRef: "refs/heads/main"}, true},
		{Policy{Owner: "sigstore"}, true},
		{Policy{SignerWorkflow: "sigstore/sigstore-js/.github/workflows/release.yml"}, true},
		{Policy{Repo: "sigstore/sigstore"}, false},
	} {
		if reason := tt.policy.admit(s); (reason == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.policy, reason)
		}
	}
	github, err := trust.GitHub(t.Context(), trust.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if reason := explain(o, github, err); reason.Kind != UnknownCA {
		t.Errorf("by GitHub's root: %v", reason)
	}
}

package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
)

// The bundles in testdata/golden were signed once by a real Fulcio, Rekor v2 and
// timestamp authority; its README.md says as whom.
const (
	golden         = "testdata/golden"
	goldenIdentity = "https://github.com/octo-org/plugin/.github/workflows/release.yml@refs/tags/v1.2.3"
)

func goldenFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(golden, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func goldenRoot(t *testing.T, shape string) *trust.Root {
	t.Helper()
	r, err := trust.File(filepath.Join(golden, shape, "trusted_root.json"), "")
	if err != nil {
		t.Fatal(err)
	}
	r.Name = shape
	return r
}

func TestGoldenBundles(t *testing.T) {
	public, github := goldenRoot(t, "public-good"), goldenRoot(t, "github")
	certificate := Policy{
		Repo: "Octo-Org/plugin", SignerWorkflow: "octo-org/plugin/.github/workflows/release.yml", SourceRef: "refs/tags/v1.2.3", DenySelfHosted: true,
		PredicateTypes: []string{statement.TypeProvenance, statement.TypeBuild, statement.TypeSPDX}, Roots: []*trust.Root{public, github},
	}
	key := Policy{Keys: [][]byte{goldenFile(t, "key/cosign.pub")}, Roots: []*trust.Root{public}}
	for _, tt := range []struct {
		bundle string
		policy Policy
		root   string
		many   int
	}{
		{"public-good/plugin.intoto.jsonl", certificate, "public-good", 3},
		{"github/plugin.intoto.jsonl", certificate, "github", 3},
		{"key/build.sigstore.json", key, "", 1},
		{"key/build-logged.sigstore.json", key, "", 1},
	} {
		bundles, err := Bundles(tt.bundle, goldenFile(t, tt.bundle))
		if err != nil {
			t.Fatal(err)
		}
		// Every file of the release is a subject of every statement.
		for _, name := range []string{"plugin.cpio", "manifest.json", "plugin.spdx.json", "plugin.build.json", "SHA256SUMS"} {
			digest := sha256.Sum256(goldenFile(t, name))
			r, err := Digest(t.Context(), hex.EncodeToString(digest[:]), name, bundles, tt.policy)
			if err != nil {
				t.Errorf("%s: %v", tt.bundle, err)
				continue
			}
			if len(r.Bundles) != tt.many || len(r.Problems)+r.Others != 0 {
				t.Errorf("%s: %d verified, problems %v", tt.bundle, len(r.Bundles), r.Problems)
			}
			for _, v := range r.Bundles {
				if v.Root != tt.root || v.Subject.Name != name || tt.root != "" && (v.Signer.Identity != goldenIdentity || len(v.Timestamps) != 1) {
					t.Errorf("%s: root %q, subject %q, signer %+v, times %v", tt.bundle, v.Root, v.Subject.Name, v.Signer, v.Timestamps)
				}
			}
		}
	}
}

func TestGoldenBundlesAreRefusedWhenChanged(t *testing.T) {
	public, github := goldenRoot(t, "public-good"), goldenRoot(t, "github")
	digest := sha256.Sum256(goldenFile(t, "plugin.cpio"))
	material := func(path ...any) []any { return append([]any{"verificationMaterial"}, path...) }
	proof := func(path ...any) []any { return append(material("tlogEntries", 0, "inclusionProof"), path...) }
	key := Policy{Keys: [][]byte{goldenFile(t, "key/cosign.pub")}, Roots: []*trust.Root{public}}
	for _, tt := range []struct {
		bundle string
		path   []any // what is changed; nil for nothing
		policy Policy
		kind   Kind
		want   string
	}{
		{"public-good/provenance.sigstore.json", []any{"dsseEnvelope", "signatures", 0, "sig"}, repo(public), Signature, "one of them was changed after signing"},
		{"public-good/provenance.sigstore.json", material("certificate", "rawBytes"), repo(public), Certificate, ""},
		{"public-good/provenance.sigstore.json", material("timestampVerificationData", "rfc3161Timestamps", 0, "signedTimestamp"), repo(public), Timestamp, "does not verify by the trusted root public-good"},
		{"public-good/provenance.sigstore.json", proof("rootHash"), repo(public), Log, "its transparency log entry does not verify"},
		{"public-good/provenance.sigstore.json", proof("checkpoint", "envelope"), repo(public), Log, "its transparency log entry does not verify"},
		{"public-good/provenance.sigstore.json", material("tlogEntries", 0, "canonicalizedBody"), repo(public), "", ""},
		{"public-good/provenance.sigstore.json", nil, repo(github), UnknownCA, "which no trusted root has (github)"},
		{"public-good/provenance.sigstore.json", nil, Policy{Repo: "octo-org/other", Roots: []*trust.Root{public}}, Identity, "signed by " + goldenIdentity + ", expected repository octo-org/other"},
		{"public-good/sbom.sigstore.json", nil, repo(public), Missing, "no statement that verified is provenance or a build record"},
		{"github/provenance.sigstore.json", material("timestampVerificationData", "rfc3161Timestamps", 0, "signedTimestamp"), repo(github), Timestamp, "does not verify by the trusted root github"},
		{"github/provenance.sigstore.json", nil, repo(public), UnknownCA, "which no trusted root has (public-good)"},
		{"key/build.sigstore.json", []any{"dsseEnvelope", "signatures", 0, "sig"}, key, Signature, "one of them was changed after signing"},
		{"key/build-logged.sigstore.json", proof("rootHash"), key, Log, "its transparency log entry does not verify"},
		{"key/build.sigstore.json", nil, repo(public), Key, "give its public part with --key"},
	} {
		if len(tt.policy.Keys) == 0 && tt.policy.Repo == "o/r" {
			tt.policy.Repo = "octo-org/plugin"
		}
		data := goldenFile(t, tt.bundle)
		if tt.path != nil {
			data = flip(t, data, tt.path...)
		}
		_, err := Digest(t.Context(), hex.EncodeToString(digest[:]), "plugin.cpio", bundleOf(data), tt.policy)
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%s with %v changed: %v", tt.bundle, tt.path, err)
			continue
		}
		if p := e.Problems[0]; tt.kind != "" && p.Kind != tt.kind || !strings.Contains(p.Message, tt.want) {
			t.Errorf("%s with %v changed: %s %v\nwant %s %q", tt.bundle, tt.path, p.Kind, p, tt.kind, tt.want)
		}
	}
}

package proof

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/bundletest"
)

// volant are the claims of the workflow that makes Volant's releases.
func volant(repository string) statement.Claims {
	c := bundletest.Claims()
	c.Repository = repository
	c.JobWorkflowRef = repository + "/.github/workflows/release.yml@" + c.Ref
	c.WorkflowRef = c.JobWorkflowRef
	return c
}

func provenance(t *testing.T, c statement.Claims, subjects ...statement.Subject) []byte {
	t.Helper()
	st, err := statement.Provenance(c, subjects)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestAgentProver(t *testing.T) {
	agent := statement.Subject{Name: "kestrel", Digest: map[string]string{"sha256": sha("kestrel")}}
	other := statement.Subject{Name: "bzImage", Digest: map[string]string{"sha256": sha("kernel")}}
	s := bundletest.New(t)
	signed := func(repository string, subjects ...statement.Subject) []byte {
		c := volant(repository)
		return s.Sign(t, provenance(t, c, subjects...), bundletest.Signed{Leaf: bundletest.Leaf{Claims: c}, Log: true, TSA: true})
	}
	good := signed(AgentRepository, agent, other)
	who := "https://github.com/volantvm/volant/.github/workflows/release.yml@refs/tags/"
	tests := map[string]struct {
		found []guest.Bundle
		want  string // the signer begins with
		err   string
	}{
		"signed by Volant":          {[]guest.Bundle{{Source: "kestrel.sigstore.json", Data: good}}, who, ""},
		"one line of many":          {[]guest.Bundle{{Source: "volant.intoto.jsonl", Data: append(append(signed(AgentRepository, other), '\n'), append(good, '\n')...)}}, who, ""},
		"about another file":        {[]guest.Bundle{{Source: "bzImage.sigstore.json", Data: signed(AgentRepository, other)}}, "", ""},
		"no bundle at all":          {[]guest.Bundle{{Source: "provenance.json", Data: []byte(`{"a": 1}`)}}, "", ""},
		"nothing":                   {nil, "", ""},
		"signed by somebody else":   {[]guest.Bundle{{Source: "kestrel.sigstore.json", Data: signed("mallory/volant", agent)}}, "", "expected repository"},
		"a changed signature":       {[]guest.Bundle{{Source: "kestrel.sigstore.json", Data: []byte(strings.Replace(string(good), `"sig":"M`, `"sig":"N`, 1))}}, "", "signature"},
		"bad beside good is passed": {[]guest.Bundle{{Source: "a.sigstore.json", Data: signed("mallory/volant", agent)}, {Source: "b.sigstore.json", Data: good}}, who, ""},
	}
	prove := AgentProver(func(context.Context) ([]*trust.Root, error) {
		return []*trust.Root{s.Root(t, "test", bundletest.Public)}, nil
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			signer, err := prove(t.Context(), "kestrel", "sha256:"+sha("kestrel"), tt.found)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
			case err != nil || !strings.HasPrefix(signer, tt.want) || (tt.want == "") != (signer == ""):
				t.Errorf("got %q, %v; want %q", signer, err, tt.want)
			}
		})
	}
}

// TestTheLargestSBOMCanBeSignedAndVerified: statement and bundle stay within what
// verifiers read.
func TestTheLargestSBOMCanBeSignedAndVerified(t *testing.T) {
	key := bundletest.NewKey(t)
	signer, err := sign.Key(key.Private(t), nil, nil, sign.Options{})
	if err != nil {
		t.Fatal(err)
	}
	head, tail := `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","comment":"`, `"}`
	doc := head + strings.Repeat("x", sbom.MaxDocument-len(head)-len(tail)) + tail
	artifact := plugin(t, t.TempDir(), "image")
	s, err := Write(t.Context(), artifact, "sha256:"+sha("image"), Documents{SBOM: &build.SBOM{Format: sbom.SPDX, Data: []byte(doc)}, Record: record()})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := (&Plan{signer: signer}).Sign(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(signed.Bundles)
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := verify.Bundles("web.intoto.jsonl", data)
	if err != nil {
		t.Fatal(err)
	}
	p := verify.Policy{Keys: [][]byte{key.Public}, PredicateTypes: []string{statement.TypeSPDX}}
	if _, err := verify.Digest(t.Context(), sha("image"), "web.img", bundles, p); err != nil {
		t.Error(err)
	}
}

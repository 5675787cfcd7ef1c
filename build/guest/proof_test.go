package guest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/ghtest"
)

// asked records what a prover was given and answers as told.
type asked struct {
	signer string
	err    error
	calls  []string
}

func (a *asked) prove(_ context.Context, name, digest string, bundles []Bundle) (string, error) {
	var sources []string
	for _, b := range bundles {
		sources = append(sources, b.Source+"="+string(b.Data))
	}
	a.calls = append(a.calls, name+" "+digest[:13]+" "+strings.Join(sources, ","))
	return a.signer, a.err
}

// withBundles is a release with assets of these names that hold their names as JSON.
func withBundles(tag string, names ...string) ghtest.Release {
	rel := published(tag)
	for _, n := range names {
		rel.Assets = append(rel.Assets, ghtest.Asset{Name: n, Content: fmt.Appendf(nil, "%q", n)})
	}
	return rel
}

func TestAttestationsOfTheAgentAreProved(t *testing.T) {
	digest := "sha256:" + sum(kestrel("v1"))
	tests := map[string]struct {
		assets    []string
		stored    bool
		elsewhere bool     // the API's answer only names where it is
		want      []string // bundles of each call
	}{
		"none":                           {nil, false, false, nil},
		"files that are no attestations": {[]string{"sbom.json", "README.md"}, false, false, nil},
		"of the agent before those of the release": {
			[]string{"volant.intoto.jsonl", "kestrel.sigstore.json"},
			false, false,
			[]string{`kestrel.sigstore.json="kestrel.sigstore.json",volant.intoto.jsonl="volant.intoto.jsonl"`},
		},
		"GitHub's own name": {[]string{"attestation.json"}, false, false, []string{`attestation.json="attestation.json"`}},
		"stored by GitHub":  {nil, true, false, []string{`GitHub's attestations={"n":1}`}},
		"stored elsewhere":  {nil, true, true, []string{`GitHub's attestations={"n":1}`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := ghtest.New(t, "volantvm/volant")
			s.Add(withBundles("v1", tt.assets...))
			if tt.stored {
				s.Attest(digest, tt.elsewhere, []byte(`{"n":1}`))
			}
			p := &asked{signer: "volant's workflow"}
			a, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t), Prove: p.prove})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if tt.want != nil {
				want = "volant's workflow"
			}
			if a.Signer != want {
				t.Errorf("signer %q, want %q", a.Signer, want)
			}
			for i, call := range p.calls {
				if !strings.HasPrefix(call, "kestrel "+digest[:13]) || !strings.HasSuffix(call, tt.want[i]) {
					t.Errorf("asked about %s", call)
				}
			}
			if len(p.calls) != len(tt.want) {
				t.Errorf("asked %d times: %q", len(p.calls), p.calls)
			}
		})
	}
}

func TestAnAttestationThatDoesNotHoldEndsTheBuild(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(withBundles("v1", "kestrel.sigstore.json"))
	p := &asked{err: errors.New("signed by somebody else")}
	_, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t), Prove: p.prove})
	want := `resolving agent: verifying the attestation of kestrel of release "v1": signed by somebody else`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, r := range s.Requests() {
		if r.Server == "download" && strings.HasSuffix(r.Path, "/1001") {
			t.Error("the agent was downloaded")
		}
	}
}

// TestBundlesAboutSomethingElseAreNoProof: the release's bundle is about other files;
// GitHub's store is asked next.
func TestBundlesAboutSomethingElseAreNoProof(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(withBundles("v1", "image.intoto.jsonl"))
	p := &asked{}
	a, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t), Prove: p.prove})
	if err != nil || a.Signer != "" || len(a.Warnings) != 0 {
		t.Errorf("%v, %+v", err, a)
	}
	last := s.Requests()
	if !func() bool {
		for _, r := range last {
			if strings.Contains(r.Path, "/attestations/sha256:") {
				return true
			}
		}
		return false
	}() {
		t.Error("GitHub's attestations were not asked for")
	}
}

func TestAttestationsThatCannotBeHadAreAWarning(t *testing.T) {
	tests := map[string]struct {
		fault ghtest.Fault
		want  string
	}{
		"server error": {ghtest.Fault{Path: "/attestations/", Status: http.StatusBadGateway}, "502"},
		"no JSON":      {ghtest.Fault{Path: "/attestations/", Status: http.StatusOK, Body: "<html>"}, "not what GitHub's API sends"},
		"forbidden":    {ghtest.Fault{Path: "/attestations/", Status: http.StatusForbidden}, "set GITHUB_TOKEN"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := ghtest.New(t, "volantvm/volant")
			s.Add(published("v1"))
			s.Fail(tt.fault)
			a, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t), Prove: (&asked{}).prove})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], tt.want) || !strings.Contains(a.Warnings[0], "only its checksum was checked") {
				t.Errorf("warnings %q, want one with %q", a.Warnings, tt.want)
			}
		})
	}
}

func TestTheTokenReachesOnlyTheAPIForBundles(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant") // its download server refuses any token
	s.SetToken("secret")
	s.Add(withBundles("v1", "kestrel.sigstore.json"))
	p := &asked{signer: "x"}
	if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Token: "secret", Fetch: client(t), Prove: p.prove}); err != nil {
		t.Fatal(err)
	}
}

func TestManyBundlesAreNotAllRead(t *testing.T) {
	var names []string
	for i := range 3 * MaxBundles {
		names = append(names, fmt.Sprintf("%02d.sigstore.json", i))
	}
	s := ghtest.New(t, "volantvm/volant")
	s.Add(withBundles("v1", names...))
	p := &asked{signer: "x"}
	if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t), Prove: p.prove}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(p.calls[0], ".sigstore.json="); n != MaxBundles {
		t.Errorf("%d bundles were read, want %d", n, MaxBundles)
	}
}

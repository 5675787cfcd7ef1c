package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/internal/bundletest"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func subjects(names ...string) []statement.Subject {
	var all []statement.Subject
	for _, n := range names {
		all = append(all, statement.Subject{Name: n, Digest: map[string]string{"sha256": sum(n)}})
	}
	return all
}

// provenance is the payload of provenance of "web.img", whose bytes are its name.
func provenance(t testing.TB, c statement.Claims, names ...string) []byte {
	t.Helper()
	if len(names) == 0 {
		names = []string{"web.img", "manifest.json"}
	}
	s, err := statement.Provenance(c, subjects(names...))
	return encoded(t, s, err)
}

func encoded(t testing.TB, s statement.Statement, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func record() statement.Record {
	return statement.Record{
		Fledge: statement.Program{Version: "1.2.3", SHA256: sum("fledge")}, Config: statement.File{Name: "fledge.toml", SHA256: sum("toml")},
		Strategy: "oci_rootfs", Format: "ext4", Platform: "linux/amd64", Epoch: 1700000000,
		Dependencies: []statement.Dependency{{Name: "image", URI: "pkg:oci/nginx@sha256:" + sum("image"), Digest: map[string]string{"sha256": sum("image")}}},
	}
}

func buildRecord(t testing.TB, names ...string) []byte {
	t.Helper()
	if len(names) == 0 {
		names = []string{"web.img"}
	}
	s, err := statement.Build(record(), subjects(names...))
	return encoded(t, s, err)
}

func sbom(t testing.TB) []byte {
	t.Helper()
	s, err := statement.SBOM([]byte(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}`), subjects("web.img"))
	return encoded(t, s, err)
}

// full is a certificate with everything.
func full() bundletest.Signed {
	return bundletest.Signed{Leaf: bundletest.Leaf{Claims: bundletest.Claims()}, Log: true, TSA: true}
}

func with(change func(*bundletest.Signed)) bundletest.Signed {
	s := full()
	change(&s)
	return s
}

func bundleOf(json []byte) []Bundle { return []Bundle{{Source: "web.sigstore.json", JSON: json}} }

// repo is the policy that most tests have.
func repo(roots ...*trust.Root) Policy { return Policy{Repo: "o/r", Roots: roots} }

func TestEveryShapeOfBundleVerifies(t *testing.T) {
	s := bundletest.New(t)
	key := bundletest.NewKey(t)
	public, private := s.Root(t, "public", bundletest.Public), s.Root(t, "private", bundletest.Private)
	other := bundletest.New(t).Root(t, "other", bundletest.Public)
	c := bundletest.Claims()
	tests := []struct {
		name   string
		bundle []byte
		policy Policy
		root   string
		times  string
	}{
		{"log and timestamp", s.Sign(t, provenance(t, c), full()), repo(public), "public", "transparency log, timestamp authority"},
		{"two log entries", s.Sign(t, provenance(t, c), with(func(s *bundletest.Signed) { s.TwoEntries, s.TSA = true, false })), repo(public), "public", "transparency log"},
		{"log alone", s.Sign(t, provenance(t, c), with(func(s *bundletest.Signed) { s.TSA = false })), repo(public), "public", "transparency log"},
		{"timestamp alone", s.Sign(t, provenance(t, c), with(func(s *bundletest.Signed) { s.Log, s.Leaf.SCT = false, bundletest.NoSCT })), repo(private), "private", "timestamp authority"},
		{"the second of three roots", s.Sign(t, provenance(t, c), full()), repo(other, public, private), "public", "transparency log, timestamp authority"},
		{"a root without the log's key ignores its entry", s.Sign(t, provenance(t, c), full()), repo(private), "private", "timestamp authority"},
		{"key", key.Sign(t, buildRecord(t), key.Hint), Policy{Keys: [][]byte{key.Public}}, "", ""},
		{"key without a hint", key.Sign(t, buildRecord(t), ""), Policy{Keys: [][]byte{key.Public}}, "", ""},
		{"key under a name", key.Sign(t, buildRecord(t), "release key"), Policy{Keys: [][]byte{bundletest.NewKey(t).Public, key.Public}}, "", ""},
		{"one of several keys, beside a repository", key.Sign(t, buildRecord(t), key.Hint), Policy{Repo: "o/r", Roots: []*trust.Root{public}, Keys: [][]byte{bundletest.NewKey(t).Public, key.Public}}, "", ""},
		{"provenance by key", key.Sign(t, provenance(t, c), key.Hint), Policy{Keys: [][]byte{key.Public}}, "", ""},
	}
	for _, tt := range tests {
		r, err := Digest(t.Context(), sum("web.img"), "dist/web.img", bundleOf(tt.bundle), tt.policy)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		v := r.Bundles[0]
		var times []string
		for _, x := range v.Timestamps {
			times = append(times, x.Source)
		}
		if v.Root != tt.root || strings.Join(times, ", ") != tt.times || v.Subject.Name != "web.img" || len(r.Problems)+r.Others != 0 {
			t.Errorf("%s: root %q, times %q, subject %q, problems %v", tt.name, v.Root, times, v.Subject.Name, r.Problems)
		}
		if tt.root == "" && v.Signer != (Signer{Key: key.Hint}) {
			t.Errorf("%s: signer %+v", tt.name, v.Signer)
		}
		if tt.root != "" && (v.Signer.Identity != "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1" || v.Signer.Run != "https://github.com/o/r/actions/runs/789/attempts/2" || v.Signer.Owner != "https://github.com/o") {
			t.Errorf("%s: signer %+v", tt.name, v.Signer)
		}
	}
}

// refused verifies what has to be refused and returns the problems' words and kinds.
func refused(t *testing.T, bundles []Bundle, p Policy) (message string, kinds []Kind) {
	t.Helper()
	r, err := Digest(t.Context(), sum("web.img"), "dist/web.img", bundles, p)
	var e *Error
	if !errors.As(err, &e) || r != nil {
		t.Fatalf("verified, or with another error: %v", err)
	}
	for _, p := range e.Problems {
		kinds = append(kinds, p.Kind)
	}
	return err.Error(), kinds
}

func TestReasonsAreInWords(t *testing.T) {
	s, stranger := bundletest.New(t), bundletest.New(t)
	key, otherKey := bundletest.NewKey(t), bundletest.NewKey(t)
	public, private := s.Root(t, "public", bundletest.Public), s.Root(t, "private", bundletest.Private)
	c := bundletest.Claims()
	good := s.Sign(t, provenance(t, c), full())
	sign := func(change func(*bundletest.Signed)) []byte {
		how := with(change)
		return s.Sign(t, provenance(t, how.Leaf.Claims), how)
	}
	claims := func(change func(*statement.Claims)) []byte {
		return sign(func(s *bundletest.Signed) { change(&s.Leaf.Claims) })
	}
	long := time.Now().Add(-3 * time.Hour)
	reusable := claims(func(c *statement.Claims) { c.JobWorkflowRef = "Volant/fledge-action/.github/workflows/build.yml@v1" })
	tests := []struct {
		name    string
		bundle  []byte
		policy  Policy
		kind    Kind
		message string
	}{
		{"other file", s.Sign(t, provenance(t, c, "a", "b"), full()), repo(public), Subject, "dist/web.img (sha256:" + sum("web.img") + ") is not one of the 2 subjects of web.sigstore.json"},
		{"other repository", good, Policy{Repo: "o/other", Roots: []*trust.Root{public}}, Identity, "signed by https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1, expected repository o/other"},
		{"repository that begins alike", good, Policy{Repo: "o/rr", Roots: []*trust.Root{public}}, Identity, "expected repository o/rr"},
		{"repository with a dot for any letter", claims(func(c *statement.Claims) { c.Repository = "o/rx"; c.JobWorkflowRef = "o/rx/.github/workflows/x.yml@r" }), Policy{Repo: "o/r.", Roots: []*trust.Root{public}}, Identity, "expected repository o/r."},
		{"other owner", good, Policy{Owner: "p", Roots: []*trust.Root{public}}, Identity, "expected a repository of p"},
		{"two repositories", good, Policy{Repo: "a/b", OtherRepos: []string{"c/d"}, Roots: []*trust.Root{public}}, Identity, "expected repository a/b or c/d"},
		{"wrong issuer", claims(func(c *statement.Claims) { c.Issuer = "https://evil.example" }), repo(public), Issuer, `with a token of issuer "https://evil.example", expected issuer "https://token.actions.githubusercontent.com"`},
		{"issuer with a suffix", claims(func(c *statement.Claims) { c.Issuer += "/enterprise" }), repo(public), Issuer, "expected issuer"},
		{"wrong workflow", good, Policy{Repo: "o/r", SignerWorkflow: "o/r/.github/workflows/other.yml", Roots: []*trust.Root{public}}, Workflow, "expected workflow o/r/.github/workflows/other.yml"},
		{"wrong workflow ref", good, Policy{SignerWorkflow: "o/r/.github/workflows/release.yml@refs/tags/v2", Roots: []*trust.Root{public}}, Workflow, "expected workflow"},
		{"reusable workflow, not named", reusable, repo(public), Workflow, "a workflow of another repository that https://github.com/o/r called; if you trust it, add --signer-workflow Volant/fledge-action/.github/workflows/build.yml"},
		{"reusable workflow, no repository", reusable, Policy{SignerWorkflow: "volant/fledge-action/.github/workflows/build.yml", Roots: []*trust.Root{public}}, Workflow, "in a build of https://github.com/o/r, which is another repository; if you expect that, add --repo"},
		{"repository of the reusable workflow", reusable, Policy{Repo: "volant/fledge-action", Roots: []*trust.Root{public}}, Identity, "in a build of https://github.com/o/r, expected repository volant/fledge-action"},
		{"other ref", good, Policy{Repo: "o/r", SourceRef: "refs/heads/main", Roots: []*trust.Root{public}}, Identity, `built from "refs/tags/v1" of https://github.com/o/r, expected "refs/heads/main"`},
		{"self-hosted runner", claims(func(c *statement.Claims) { c.RunnerEnvironment = "self-hosted" }), Policy{Repo: "o/r", DenySelfHosted: true, Roots: []*trust.Root{public}}, Identity, `runner that is "self-hosted"`},
		{"a person", sign(func(s *bundletest.Signed) { s.Leaf.Email = "eve@example.com" }), repo(public), Identity, "signed by eve@example.com, which is no workflow"},
		{"two identities", sign(func(s *bundletest.Signed) {
			s.Leaf.Email, s.Leaf.Identity = "eve@example.com", "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1"
		}), repo(public), Certificate, "certificate names 2 identities, want one"},
		{"second log entry damaged", flip(t, sign(func(s *bundletest.Signed) { s.TwoEntries = true }), "verificationMaterial", "tlogEntries", 1, "inclusionPromise", "signedEntryTimestamp"), repo(public), Log, "the log did not sign its promise"},
		{"wrong key", key.Sign(t, buildRecord(t), key.Hint), Policy{Keys: [][]byte{otherKey.Public}}, Key, "signed with key " + key.Hint + ", which is none of the 1 keys given"},
		{"wrong key under the right hint", key.Sign(t, buildRecord(t), otherKey.Hint), Policy{Keys: [][]byte{otherKey.Public}}, Signature, "changed after signing"},
		{"wrong key without a hint", key.Sign(t, buildRecord(t), ""), Policy{Keys: [][]byte{otherKey.Public}}, Key, "none of the 1 given"},
		{"key for a certificate", key.Sign(t, buildRecord(t), key.Hint), repo(public), Key, "expected a certificate; to accept the key give its public part with --key"},
		{"certificate for a key", good, Policy{Keys: [][]byte{key.Public}}, Key, "says it was signed by https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1 with a certificate, expected one of the 1 keys given"},
		{"no log entry", sign(func(s *bundletest.Signed) { s.Log = false }), repo(public), Log, "bundle has no transparency log entry; the trusted root public requires one"},
		{"no SCT", sign(func(s *bundletest.Signed) { s.Leaf.SCT = bundletest.NoSCT }), repo(public), SCT, "its certificate has no SCT"},
		{"wrong SCT", sign(func(s *bundletest.Signed) { s.Leaf.SCT = bundletest.WrongSCT }), repo(public), SCT, "no CT log of the trusted root public has promised to log its certificate as it is"},
		{"no timestamp", sign(func(s *bundletest.Signed) { s.TSA = false }), repo(private), Timestamp, "bundle has no signed timestamp; the trusted root private requires one"},
		{"certificate expired at the log's time", sign(func(s *bundletest.Signed) { s.Leaf.Start = long; s.LogTime = long.Add(2 * time.Hour) }), repo(public), Expired, "but its certificate is valid only from"},
		{"certificate expired at the timestamp", sign(func(s *bundletest.Signed) { s.Leaf.Start = long }), repo(private), Expired, "but its certificate is valid only from"},
		{"expired root", good, repo(s.Root(t, "old", bundletest.Services{CT: true, Log: true, TSA: true, Until: time.Now().Add(-time.Hour)})), Expired, "was not valid by the trusted root old: get a newer trusted root"},
		{"unknown certificate authority", stranger.Sign(t, provenance(t, c), full()), repo(public, private), UnknownCA, "says it was signed by https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1, but its certificate comes from"},
		{"no root", good, repo(), UnknownCA, "there is no trusted root to check it with"},
		{"other payload type", s.Sign(t, provenance(t, c), with(func(s *bundletest.Signed) { s.PayloadType = "text/plain" })), repo(public), Format, `payload type is "text/plain", want "application/vnd.in-toto+json"`},
		{"SBOM alone", s.Sign(t, sbom(t), full()), repo(public), Missing, `no statement that verified is provenance or a build record of fledge; those that did are of type "https://spdx.dev/Document/v2.3"`},
		{"another type is required", good, Policy{Repo: "o/r", PredicateTypes: []string{statement.TypeSPDX, statement.TypeProvenance}, Roots: []*trust.Root{public}}, Missing, "no statement that verified is https://spdx.dev/Document/v2.3; those"},
		{"predicate of another shape", s.Sign(t, bytes.Replace(provenance(t, c), []byte("actions.github.io"), []byte("example.com"), 1), full()), repo(public), Predicate, `buildType "https://example.com/buildtypes/workflow/v1"`},
	}
	for _, tt := range tests {
		message, kinds := refused(t, bundleOf(tt.bundle), tt.policy)
		if len(kinds) != 1 || kinds[0] != tt.kind || !strings.Contains(message, tt.message) {
			t.Errorf("%s: %v %s\nwant %s: …%s…", tt.name, kinds, message, tt.kind, tt.message)
		}
	}
}

func TestCaseOfNamesIsGitHubs(t *testing.T) {
	s := bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	how := full()
	c := &how.Leaf.Claims
	c.Repository, c.JobWorkflowRef, c.WorkflowRef = "Some-Org/Web", "Volant/Fledge-Action/.github/workflows/build.yml@refs/tags/v1", "Some-Org/Web/.github/workflows/ci.yml@refs/heads/main"
	b := bundleOf(s.Sign(t, provenance(t, *c), how))
	for _, tt := range []struct {
		policy Policy
		ok     bool
	}{
		{Policy{Repo: "some-org/WEB", SignerWorkflow: "volant/fledge-action/.github/workflows/build.yml"}, true},
		{Policy{Repo: "github.com/Some-Org/Web", SignerWorkflow: "https://github.com/volant/fledge-action/.github/workflows/build.yml@refs/tags/v1"}, true},
		{Policy{Owner: "SOME-org", SignerWorkflow: "x/y/z.yml", OtherSignerWorkflows: []string{"volant/fledge-action/.github/workflows/build.yml"}}, true},
		{Policy{Repo: "a/b", OtherRepos: []string{"some-org/web"}, SignerWorkflow: "volant/fledge-action/.github/workflows/build.yml"}, true},
		{Policy{Repo: "some-org/web", SignerWorkflow: "volant/fledge-action/.github/workflows/BUILD.yml"}, false},
		{Policy{Repo: "example.com/some-org/web", SignerWorkflow: "volant/fledge-action/.github/workflows/build.yml"}, false},
	} {
		tt.policy.Roots = []*trust.Root{root}
		if _, err := Digest(t.Context(), sum("web.img"), "web.img", b, tt.policy); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.policy, err)
		}
	}
}

func TestPoliciesThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, "no signer is named"},
		{Policy{Issuer: GitHubIssuer, SourceRef: "refs/heads/main"}, "no signer is named"},
		{Policy{Repo: "o"}, `repository "o" is not OWNER/NAME`},
		{Policy{Repo: "o/r/x"}, "is not OWNER/NAME"},
		{Policy{Repo: "o/.*"}, "is not OWNER/NAME"},
		{Policy{Repo: "../r"}, "is not OWNER/NAME"},
		{Policy{Repo: "o/r", OtherRepos: []string{"p"}}, `repository "p"`},
		{Policy{Owner: "o/r"}, `owner "o/r"`},
		{Policy{SignerWorkflow: "o/r"}, `workflow "o/r" is not OWNER/NAME/PATH`},
		{Policy{SignerWorkflow: "o/r/x.yml@"}, "is not OWNER/NAME/PATH"},
		{Policy{SignerWorkflow: "o/r/../../x/y/z.yml"}, "is not OWNER/NAME/PATH"},
		{Policy{Repo: "o/r", SourceRef: "main"}, "write refs/heads/BRANCH"},
		{Policy{Repo: "o/r", Issuer: "github"}, `issuer "github" is not a URL`},
		{Policy{Keys: [][]byte{[]byte("x")}}, "key 1 of 1: it is no public key in PEM"},
		{Policy{Keys: [][]byte{bundletest.NewKey(t).Private(t)}}, "it is a private key; give the public one"},
	} {
		err := tt.policy.Check()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.policy, err, tt.want)
		}
		if _, digestErr := Digest(t.Context(), sum("x"), "x", bundleOf(nil), tt.policy); digestErr == nil || digestErr.Error() != err.Error() {
			t.Errorf("Digest says %v, Check %v", digestErr, err)
		}
	}
	if err := (Policy{}).Check(); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("no identity: %v", err)
	}
}

func TestEnterpriseServersAreTheirIssuers(t *testing.T) {
	for issuer, want := range map[string]string{
		"":                                      "https://github.com",
		GitHubIssuer:                            "https://github.com",
		"https://token.actions.octo.ghe.com":    "https://octo.ghe.com",
		"https://token.actions.octo.ghe.com/x":  "https://octo.ghe.com",
		"http://token.actions.octo.ghe.com":     "https://github.com",
		"https://token.actions.ghe.com.evil.io": "https://github.com",
	} {
		if got := (Policy{Issuer: issuer}).server(); got != want {
			t.Errorf("server of %q is %q, want %q", issuer, got, want)
		}
	}
}

// edit changes a payload's JSON.
func edit(t *testing.T, payload []byte, change func(predicate map[string]any)) []byte {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(payload, &s); err != nil {
		t.Fatal(err)
	}
	change(s["predicate"].(map[string]any))
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestContradictionsNameBothValues(t *testing.T) {
	s := bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	c := bundletest.Claims()
	claim := func(change func(*statement.Claims)) []byte {
		changed := c
		change(&changed)
		return provenance(t, changed)
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"repository", claim(func(c *statement.Claims) { c.Repository = "o/evil" }), `provenance says repository "https://github.com/o/evil", the certificate "https://github.com/o/r"`},
		{"ref", claim(func(c *statement.Claims) { c.Ref = "refs/heads/x" }), `provenance says ref "refs/heads/x", the certificate "refs/tags/v1"`},
		{"commit", claim(func(c *statement.Claims) { c.SHA = strings.Repeat("f", 40) }), `provenance says commit "` + strings.Repeat("f", 40) + `", the certificate "` + c.SHA + `"`},
		{"workflow", claim(func(c *statement.Claims) { c.WorkflowRef = "o/r/.github/workflows/x.yml@refs/tags/v1" }), `workflow path ".github/workflows/x.yml", the certificate ".github/workflows/release.yml"`},
		{"builder", claim(func(c *statement.Claims) { c.JobWorkflowRef = "o/r/x.yml@refs/tags/v1" }), `builder "https://github.com/o/r/x.yml@refs/tags/v1", the certificate "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1"`},
		{"run", claim(func(c *statement.Claims) { c.RunID = "1" }), `run "https://github.com/o/r/actions/runs/1/attempts/2", the certificate "https://github.com/o/r/actions/runs/789/attempts/2"`},
		{"attempt", claim(func(c *statement.Claims) { c.RunAttempt = "1" }), `/attempts/1", the certificate`},
		{"event", claim(func(c *statement.Claims) { c.EventName = "pull_request" }), `event "pull_request", the certificate "push"`},
		{"repository id", claim(func(c *statement.Claims) { c.RepositoryID = "9" }), `repository id "9", the certificate "1234"`},
		{"owner id", claim(func(c *statement.Claims) { c.RepositoryOwnerID = "9" }), `owner id "9", the certificate "56"`},
		{"runner", claim(func(c *statement.Claims) { c.RunnerEnvironment = "self-hosted" }), `runner environment "self-hosted", the certificate "github-hosted"`},
		{"no source", edit(t, provenance(t, c), func(p map[string]any) {
			p["buildDefinition"].(map[string]any)["resolvedDependencies"] = []any{}
		}), "provenance says no source"},
		{"a further source", edit(t, provenance(t, c), func(p map[string]any) {
			d := p["buildDefinition"].(map[string]any)
			d["resolvedDependencies"] = append(d["resolvedDependencies"].([]any), map[string]any{"uri": "git+https://github.com/x/y@z", "digest": map[string]any{"gitCommit": "1"}})
		}), `source "git+https://github.com/x/y@z"`},
		{"no builder", edit(t, provenance(t, c), func(p map[string]any) { delete(p, "runDetails") }), `builder "", the certificate`},
		{"builder in another case", edit(t, provenance(t, c), func(p map[string]any) {
			run := p["runDetails"].(map[string]any)
			run["Builder"] = run["builder"]
			run["builder"] = map[string]any{"id": "https://github.com/evil"}
		}), `builder "https://github.com/evil"`},
	} {
		message, kinds := refused(t, bundleOf(s.Sign(t, tt.payload, full())), repo(root))
		if kinds[0] != Contradiction || !strings.Contains(message, tt.want) {
			t.Errorf("%s: %v %s\nwant %s", tt.name, kinds, message, tt.want)
		}
	}
	// A certificate that says nothing agrees with nothing.
	if found, err := contradictions([]byte(`{"buildDefinition":{"buildType":"`+workflowBuildType+`"}}`), Signer{}); err != nil || len(found) != 6 {
		t.Errorf("%d contradictions with an empty certificate, %v: %q", len(found), err, found)
	}
	// What was read beside the sources is no contradiction.
	more := edit(t, provenance(t, c), func(p map[string]any) {
		d := p["buildDefinition"].(map[string]any)
		d["resolvedDependencies"] = append(d["resolvedDependencies"].([]any), map[string]any{"uri": "pkg:oci/nginx", "digest": map[string]any{"sha256": sum("x")}})
		delete(d["internalParameters"].(map[string]any)["github"].(map[string]any), "runner_environment")
	})
	if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(s.Sign(t, more, full())), repo(root)); err != nil {
		t.Error(err)
	}
}

func TestBundlesDoNeitherHarmNorGoodToOthers(t *testing.T) {
	s, stranger := bundletest.New(t), bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	c := bundletest.Claims()
	good := s.Sign(t, provenance(t, c), full())
	evil := full()
	evil.Leaf.Claims.Repository, evil.Leaf.Claims.JobWorkflowRef = "eve/r", "eve/r/x.yml@refs/tags/v1"
	lines := map[string][]byte{
		"nonsense":             []byte("nonsense"),
		"about another file":   s.Sign(t, provenance(t, c, "other"), full()),
		"by a stranger":        s.Sign(t, provenance(t, evil.Leaf.Claims), evil),
		"by another authority": stranger.Sign(t, provenance(t, c), full()),
		"of a newer fledge":    s.Sign(t, bytes.Replace(buildRecord(t), []byte("buildtypes/plugin/v1"), []byte("buildtypes/plugin/v9"), 1), full()),
		"damaged":              flip(t, good, "dsseEnvelope", "payload"),
	}
	for name, line := range lines {
		for _, order := range [][][]byte{{line, good}, {good, line}} {
			bundles, err := Bundles("web.intoto.jsonl", bytes.Join(order, []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Digest(t.Context(), sum("web.img"), "web.img", bundles, repo(root))
			if err != nil {
				t.Errorf("a line %s spoils a good one: %v", name, err)
				continue
			}
			if len(r.Bundles) != 1 || len(r.Problems)+r.Others != 1 {
				t.Errorf("a line %s: %d verified, problems %v, %d about others", name, len(r.Bundles), r.Problems, r.Others)
			}
		}
		if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(line), repo(root)); err == nil {
			t.Errorf("a line %s verifies", name)
		}
	}
	// What only the signer can have signed is not passed over.
	wrong := c
	wrong.RunID = "1"
	contradicting := s.Sign(t, provenance(t, wrong), full())
	if _, kinds := refused(t, append(bundleOf(good), bundleOf(contradicting)...), repo(root)); len(kinds) != 1 || kinds[0] != Contradiction {
		t.Errorf("problems %v", kinds)
	}
}

func TestSeveralStatementsAreAllReported(t *testing.T) {
	s := bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	lines := [][]byte{s.Sign(t, provenance(t, bundletest.Claims()), full()), s.Sign(t, sbom(t), full()), {}, s.Sign(t, buildRecord(t), full())}
	bundles, err := Bundles("web.intoto.jsonl", bytes.Join(lines, []byte("\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	p := repo(root)
	p.PredicateTypes = []string{statement.TypeSPDX, statement.TypeBuild, statement.TypeProvenance}
	r, err := Digest(t.Context(), sum("web.img"), "web.img", bundles, p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range r.Bundles {
		got = append(got, v.Source+" "+v.Statement.PredicateType)
	}
	want := []string{"web.intoto.jsonl:1 " + statement.TypeProvenance, "web.intoto.jsonl:2 " + statement.TypeSPDX, "web.intoto.jsonl:4 " + statement.TypeBuild}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("verified %q, want %q", got, want)
	}
	if rec := r.Bundles[2].Record; rec == nil || rec.Fledge.Version != "1.2.3" || len(rec.Dependencies) != 1 {
		t.Errorf("record %+v", rec)
	}
}

func TestFilesThatAreNoBundles(t *testing.T) {
	root := bundletest.New(t).Root(t, "public", bundletest.Public)
	good := bundletest.New(t).Sign(t, provenance(t, bundletest.Claims()), full())
	for _, tt := range []struct{ text, want string }{
		{"", "not a Sigstore bundle"},
		{"[]", "not a Sigstore bundle"},
		{"{}", "not a Sigstore bundle: it has no dsseEnvelope"},
		{`{"dsseEnvelope":{}}`, "not a Sigstore bundle"},
		{`{"base64Signature":"","cert":"","rekorBundle":{}}`, "it is a bundle of cosign before its version 3"},
		{`{"payloadType":"x","payload":"","signatures":[]}`, "it is a bare DSSE envelope"},
		{string(provenance(t, bundletest.Claims())), "it is a statement without a signature"},
		{`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}`, "says nothing of how they were built"},
		{strings.Replace(string(good), "v0.3", "v0.9", 1), "bundle version v0.9 is not yet supported"},
		{strings.Replace(string(good), `"sig":`, `"keyid":"a","keyid":"b","sig":`, 1), "not a Sigstore bundle"},
		{strings.Replace(string(good), `"signatures":[`, `"signatures":[{"sig":""},`, 1), "2 signatures in the envelope, want one"},
		{strings.Repeat("[", 1<<20), "not a Sigstore bundle"},
		{`{"dsseEnvelope":` + strings.Repeat(`{"a":`, 1<<20), "not a Sigstore bundle"},
	} {
		message, kinds := refused(t, bundleOf([]byte(tt.text)), repo(root))
		if kinds[0] != Format || !strings.Contains(message, tt.want) || len(message) > 1000 {
			t.Errorf("%.60q: %v %.300s, want %q", tt.text, kinds, message, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	s := bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	good := s.Sign(t, provenance(t, bundletest.Claims()), full())
	padded := func(n int) []byte { return append(good, bytes.Repeat([]byte(" "), n-len(good))...) }
	if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(padded(MaxBundle)), repo(root)); err != nil {
		t.Errorf("bundle at the limit: %v", err)
	}
	if message, _ := refused(t, bundleOf(padded(MaxBundle+1)), repo(root)); !strings.Contains(message, "16777217 bytes, more than the limit of 16777216") {
		t.Error(message)
	}
	if _, err := Bundles("x.json", make([]byte, MaxFile)); err != nil {
		t.Errorf("file at the limit: %v", err)
	}
	if _, err := Bundles("x.json", make([]byte, MaxFile+1)); err == nil {
		t.Error("a file past the limit is read")
	}
	if b, err := Bundles("x.jsonl", bytes.Repeat([]byte("x\n"), MaxBundles)); err != nil || len(b) != MaxBundles {
		t.Errorf("bundles at the limit: %d, %v", len(b), err)
	}
	if _, err := Bundles("x.jsonl", bytes.Repeat([]byte("x\n"), MaxBundles+1)); err == nil {
		t.Error("more bundles than the limit are read")
	}
	names := make([]string, statement.MaxSubjects)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	names[0] = "web.img"
	payload := provenance(t, bundletest.Claims(), names...)
	if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(s.Sign(t, payload, full())), repo(root)); err != nil {
		t.Errorf("subjects at the limit: %v", err)
	}
	more := bytes.Replace(payload, []byte(`"subject":[`), []byte(`"subject":[{"name":"x","digest":{"sha256":"`+sum("x")+`"}},`), 1)
	if message, _ := refused(t, bundleOf(s.Sign(t, more, full())), repo(root)); !strings.Contains(message, "1025 subjects, more than the limit of 1024") {
		t.Error(message)
	}
}

func TestWithoutBundlesThereIsNothing(t *testing.T) {
	_, err := Digest(t.Context(), sum("x"), "x", nil, Policy{Repo: "o/r"})
	if !errors.Is(err, ErrNothing) {
		t.Errorf("%v, want ErrNothing", err)
	}
	if _, err := Digest(t.Context(), "12", "x", bundleOf(nil), Policy{Repo: "o/r"}); err == nil || !strings.Contains(err.Error(), "no sha256") {
		t.Errorf("a digest that is none: %v", err)
	}
}

func TestCancelledVerificationEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Digest(ctx, sum("x"), "x", bundleOf(nil), Policy{Repo: "o/r"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestClaimedIsWhatTheBundleSays(t *testing.T) {
	s, key := bundletest.New(t), bundletest.NewKey(t)
	for _, tt := range []struct {
		bundle []byte
		want   string
	}{
		{s.Sign(t, provenance(t, bundletest.Claims()), full()), "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1"},
		{key.Sign(t, buildRecord(t), "k"), "key k"},
		{[]byte("x"), ""},
	} {
		if got := Claimed(Bundle{JSON: tt.bundle}); got != tt.want {
			t.Errorf("claimed %q, want %q", got, tt.want)
		}
	}
}

// flip changes a bit in the middle of a value of a bundle, given as base64 or, for a
// log's checkpoint, as text.
func flip(t testing.TB, bundle []byte, path ...any) []byte {
	t.Helper()
	var root any
	if err := json.Unmarshal(bundle, &root); err != nil {
		t.Fatal(err)
	}
	at := root
	for i, key := range path {
		last := i == len(path)-1
		switch k := key.(type) {
		case string:
			m := at.(map[string]any)
			if last {
				m[k] = flipText(t, m[k].(string))
			}
			at = m[k]
		case int:
			l := at.([]any)
			if last {
				l[k] = flipText(t, l[k].(string))
			}
			at = l[k]
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func flipText(t testing.TB, s string) string {
	t.Helper()
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
		raw[len(raw)/2] ^= 1
		return base64.StdEncoding.EncodeToString(raw)
	}
	b := []byte(s)
	b[len(b)-5] ^= 1
	return string(b)
}

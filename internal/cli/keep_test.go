package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/proof"
	"github.com/volant/fledge-action/internal/release"
)

// bundles are two about nothing, which nobody has signed.
func bundles() []verify.Bundle {
	payload := base64.StdEncoding.EncodeToString([]byte(`{"subject":[{"name":"a","digest":{"sha256":"aa"}}]}`))
	b := verify.Bundle{JSON: fmt.Appendf(nil, `{"dsseEnvelope":{"payload":%q}}`, payload)}
	return []verify.Bundle{b, b}
}

// newKeeper is one for a double, in a job that has everything.
func newKeeper(t *testing.T, s *ghrelease.Server, need string, plan *proof.Plan, out *bytes.Buffer) *keeper {
	t.Helper()
	s.Contract = ghrelease.TheContract(t)
	s.Start(t)
	env := map[string]string{"GITHUB_API_URL": s.API, "GITHUB_SERVER_URL": s.Web, "GITHUB_REPOSITORY": "acme/web", "GITHUB_TOKEN": "x"}
	p := &Program{Stderr: out, Getenv: func(k string) string { return env[k] }}
	k, err := p.keeper(signFlags{github: need, budget: time.Second}, plan, false, p.reporter(false, false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, v := range s.Violations() {
			t.Errorf("against GitHub's contract: %s", v)
		}
	})
	return k
}

var keyless = &proof.Plan{Mode: proof.Keyless, Signer: "a job"}

func TestKeptAttestationsHavePages(t *testing.T) {
	for _, need := range []string{"auto", "required"} {
		s, out := ghrelease.New("acme/web"), new(bytes.Buffer)
		pages, err := newKeeper(t, s, need, keyless, out).keep(t.Context(), "web.img", bundles())
		if err != nil || strings.Join(pages, " ") != s.Web+"/acme/web/attestations/1 "+s.Web+"/acme/web/attestations/2" || len(s.Attestations()) != 2 {
			t.Errorf("%s: %q, %v: %s", need, pages, err, out)
		}
	}
}

// TestRefusedAttestationIsANoticeUnlessRequired: what was kept before is told in both.
func TestRefusedAttestationIsANoticeUnlessRequired(t *testing.T) {
	for _, need := range []string{"auto", "required"} {
		s, out := ghrelease.New("acme/web"), new(bytes.Buffer)
		s.OnChange = func(s *ghrelease.Server) { s.SetRefusal(http.StatusForbidden) } // after the first
		pages, err := newKeeper(t, s, need, keyless, out).keep(t.Context(), "web.img", bundles())
		var unkept *unkeptError
		if (need == "required") != errors.As(err, &unkept) || (need == "auto") != (err == nil) || len(pages) != 1 {
			t.Errorf("%s: %q, %v", need, pages, err)
		}
		const why = `403 Resource not accessible by integration; the token lacks "attestations: write" for acme/web: add "permissions: attestations: write" to the job`
		switch need {
		case "auto":
			if !strings.Contains(out.String(), "notice: attestations are not kept at GitHub: keeping an attestation in acme/web: "+why) {
				t.Errorf("it says %q", out)
			}
		case "required":
			if text := err.Error(); !strings.Contains(text, why) || !strings.HasSuffix(text, "1 of 2 attestations kept at GitHub: go on with 'fledge attest --sign none --github-attestations required web.img'") {
				t.Errorf("it says %q", text)
			}
		}
	}
}

// TestInterruptedKeepingIsNoSuccess, not even where a refusal would be none.
func TestInterruptedKeepingIsNoSuccess(t *testing.T) {
	s, out := ghrelease.New("acme/web"), new(bytes.Buffer)
	k := newKeeper(t, s, "auto", keyless, out)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.keep(ctx, "web.img", bundles())
	var unkept *unkeptError
	if !errors.As(err, &unkept) || !errors.Is(err, context.Canceled) || !strings.HasPrefix(unkept.resume(), "web.img and the files beside it are built and signed, and 0 of 2") {
		t.Errorf("error %v", err)
	}
}

// TestLongRateLimitEndsKeeping: it is waited for no longer than for what signs.
func TestLongRateLimitEndsKeeping(t *testing.T) {
	s, out := ghrelease.New("acme/web"), new(bytes.Buffer)
	s.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.Secondary }
	_, err := newKeeper(t, s, "required", keyless, out).keep(t.Context(), "web.img", bundles())
	var e *release.Error
	if !errors.As(err, &e) || e.Reason != release.RateLimited || !strings.Contains(err.Error(), "1m30s") {
		t.Errorf("error %v", err)
	}
}

func TestWhatGitHubCannotVerifyIsNotSentByItself(t *testing.T) {
	for name, tt := range map[string]struct {
		plan *proof.Plan
		root string
		says string
	}{
		"key":    {&proof.Plan{Mode: proof.Key}, "", "no signature by a key"},
		"custom": {keyless, "root.json", "the Sigstore of --trusted-root"},
		"none":   {&proof.Plan{Mode: proof.None, Notice: "unsigned: no token"}, "", ""},
	} {
		out := new(bytes.Buffer)
		env := map[string]string{"GITHUB_REPOSITORY": "acme/web", "GITHUB_TOKEN": "x"}
		p := &Program{Stderr: out, Getenv: func(k string) string { return env[k] }}
		k, err := p.keeper(signFlags{github: "auto", trustedRoot: tt.root}, tt.plan, false, p.reporter(false, false))
		if k != nil || err != nil || !strings.Contains(out.String(), tt.says) || (tt.says == "") != (out.Len() == 0) {
			t.Errorf("%s: %v, %v, %q", name, k, err, out)
		}
		k, err = p.keeper(signFlags{github: "required", trustedRoot: tt.root}, tt.plan, false, p.reporter(false, false))
		if (k != nil) != (name != "none") || (err != nil) != (name == "none") {
			t.Errorf("%s, required: %v, %v", name, k, err)
		}
	}
	for missing, says := range map[string]string{"GITHUB_REPOSITORY": "no repository", "GITHUB_TOKEN": "there is no token"} {
		out := new(bytes.Buffer)
		env := map[string]string{"GITHUB_REPOSITORY": "acme/web", "GITHUB_TOKEN": "x"}
		delete(env, missing)
		p := &Program{Stderr: out, Getenv: func(k string) string { return env[k] }}
		if k, err := p.keeper(signFlags{github: "auto"}, keyless, false, p.reporter(false, false)); k != nil || err != nil || !strings.Contains(out.String(), says) {
			t.Errorf("without %s: %v, %v, %q", missing, k, err, out)
		}
	}
}

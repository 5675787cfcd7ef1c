package oidc

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/testneed"
)

// TestProvenanceIsThatOfGitHubsAction gives the same tokens to GitHub's own
// library, from the same endpoint and issuer, and compares the statements.
func TestProvenanceIsThatOfGitHubsAction(t *testing.T) {
	script := testneed.Node(t, "provenance.mjs", "@actions/attest")
	subjects := []statement.Subject{
		{Name: "manifest.json", Digest: map[string]string{"sha256": "05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"}},
		{Name: "web.img", Digest: map[string]string{"sha256": "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"}},
	}
	tests := map[string]struct {
		server string
		claims map[string]any
	}{
		"tag":           {"https://github.com", nil},
		"tag with at":   {"https://github.com", map[string]any{"ref": "refs/tags/@acme/web@1", "workflow_ref": "acme/web/.github/workflows/release.yml@refs/tags/@acme/web@1"}},
		"pull request":  {"https://github.com", map[string]any{"ref": "refs/pull/7/merge", "event_name": "pull_request", "runner_environment": "self-hosted", "workflow_ref": "acme/web/.github/workflows/ci.yml@refs/pull/7/merge"}},
		"enterprise":    {"https://octo.ghe.com", nil},
		"ruleset":       {"https://github.com", map[string]any{"workflow_ref": "acme/rules/.github/workflows/all.yml@refs/heads/main"}},
		"path again":    {"https://github.com", map[string]any{"workflow_ref": "acme/web/.github/workflows/acme/web/x@y.yml@refs/heads/acme/web/"}},
		"odd ref":       {"https://github.com", map[string]any{"ref": "refs/heads/a<b>&\"ü\\", "workflow_ref": "acme/web/.github/workflows/$&.yml@refs/heads/a<b>&"}},
		"of enterprise": {"https://github.com", map[string]any{"iss": "/octo-corp"}},
	}
	for name, test := range tests {
		i := newIssuer(t)
		i.token = func(w http.ResponseWriter, req *http.Request) {
			c := i.claims(req.FormValue("audience"))
			for claim, value := range test.claims {
				c[claim] = value
			}
			if suffix, ok := test.claims["iss"]; ok {
				c["iss"] = i.URL + suffix.(string)
			}
			c["exp"] = time.Now().Add(time.Hour).Unix() // the library looks at the machine's clock
			i.give(w, i.sign(t, jose.RS256, rsaKey, "rsa", c))
		}
		i.jwks = func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rsaKey.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"}}})
		}
		s := i.source()
		s.ServerURL = test.server
		s.Now = time.Now
		claims, err := s.Claims(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		provenance, err := statement.Provenance(claims, subjects)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ours, err := provenance.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		theirs := actionsStatement(t, script, i, test.server, subjects)
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s (-theirs +ours):\n%s", name, cmp.Diff(string(theirs), string(ours)))
		}
	}
}

func actionsStatement(t *testing.T, script string, i *issuer, server string, subjects []statement.Subject) []byte {
	t.Helper()
	in, err := json.Marshal(subjects)
	if err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "statement.json")
	cmd := exec.Command("node", script, i.URL, output)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "GITHUB_SERVER_URL="+server,
		"ACTIONS_ID_TOKEN_REQUEST_URL="+i.URL+"/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+bearer, "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node: %v: %s", err, out)
	}
	theirs, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return theirs
}

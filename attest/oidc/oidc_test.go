package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/attest/retry"
	"github.com/volant/fledge-action/attest/statement"
)

const bearer = "the-bearer-of-this-job"

// now is when all tests happen.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	rsaKey   = must(rsa.GenerateKey(rand.Reader, 2048))
	otherRSA = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An issuer is a token endpoint and an issuer at one loopback address. Handlers
// may be replaced.
type issuer struct {
	*httptest.Server
	mu     sync.Mutex
	token  http.HandlerFunc // of the endpoint
	config http.HandlerFunc
	jwks   http.HandlerFunc
	asked  []*http.Request
	masked []string
	warned []string
	waits  int
	tokens []string // that it gave
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.token = func(w http.ResponseWriter, req *http.Request) {
		i.give(w, i.sign(t, jose.RS256, rsaKey, "rsa", i.claims(req.FormValue("audience"))))
	}
	i.config = func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	}
	i.jwks = func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: rsaKey.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
			{Key: ecKey.Public(), KeyID: "ec"},
			{Key: rsaKey.Public(), KeyID: "enc", Use: "enc"},
			{Key: rsaKey.Public(), KeyID: "twice"},
			{Key: otherRSA.Public(), KeyID: "twice"},
		}})
	}
	mux := http.NewServeMux()
	for path, h := range map[string]*http.HandlerFunc{"/token": &i.token, "/.well-known/openid-configuration": &i.config, "/keys": &i.jwks} {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			i.mu.Lock()
			i.asked = append(i.asked, req)
			i.mu.Unlock()
			(*h)(w, req)
		})
	}
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// requests is how many have come, for handlers, of which several may run.
func (i *issuer) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// give answers with a token as GitHub does.
func (i *issuer) give(w http.ResponseWriter, token string) {
	i.tokens = append(i.tokens, token)
	_ = json.NewEncoder(w).Encode(map[string]any{"count": len(token), "value": token})
}

// claims are what GitHub says of a job, and some more.
func (i *issuer) claims(audience string) map[string]any {
	return map[string]any{
		"iss": i.URL, "aud": audience, "sub": "repo:acme/web:ref:refs/tags/v1", "jti": "1",
		"exp": now.Add(5 * time.Minute).Unix(), "nbf": now.Add(-time.Second).Unix(), "iat": now.Unix(),
		"ref": "refs/tags/v1", "sha": "0123456789abcdef0123456789abcdef01234567", "repository": "acme/web",
		"event_name": "push", "job_workflow_ref": "volant/fledge-action/.github/workflows/build.yml@refs/tags/v1",
		"workflow_ref": "acme/web/.github/workflows/release.yml@refs/tags/v1", "repository_id": "1001", "repository_owner_id": "2002",
		"runner_environment": "github-hosted", "run_id": "7", "run_attempt": "1", "repository_visibility": "public", "actor": "somebody",
	}
}

func (i *issuer) sign(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Error(err)
		return ""
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	return must(signed.CompactSerialize())
}

func (i *issuer) source() *Source {
	return &Source{
		URL: i.URL + "/token?api-version=2.0", RequestToken: bearer, Issuer: i.URL,
		Mask: func(s string) { i.masked = append(i.masked, s) },
		Now:  func() time.Time { return now },
		Retry: retry.Options{
			Try: 10 * time.Second, Rand: func() float64 { return 1 },
			Sleep: func(ctx context.Context, _ time.Duration) error { i.waits++; return ctx.Err() },
			Warn:  func(err error) { i.warned = append(i.warned, err.Error()) },
		},
	}
}

// silent checks that no text holds the bearer or a token, or the parts of one.
func (i *issuer) silent(t *testing.T, what string, err error) {
	t.Helper()
	secrets := []string{bearer, "api-version"} // of the query, where secrets could be
	for _, token := range i.tokens {
		secrets = append(secrets, token)
		for _, part := range strings.Split(token, ".") {
			if len(part) > 8 {
				secrets = append(secrets, part)
			}
		}
	}
	for _, text := range append(slices.Clone(i.warned), fmt.Sprint(err), fmt.Sprintf("%+v", err)) {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q is in %q", what, secret, text)
			}
		}
	}
}

func TestTokenIsAskedForAsGitHubWantsIt(t *testing.T) {
	i := newIssuer(t)
	s := i.source()
	token, err := s.Token(t.Context(), "sig store&x")
	if err != nil || len(i.tokens) != 1 || token != i.tokens[0] {
		t.Fatalf("%q, %v", token, err)
	}
	req := i.asked[0]
	if got, want := req.URL.RequestURI(), "/token?api-version=2.0&audience=sig+store%26x"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := req.Header.Get("Authorization"); got != "bearer "+bearer {
		t.Errorf("Authorization %q", got)
	}
	if got := req.Header.Get("Accept"); got != "application/json" {
		t.Errorf("Accept %q", got)
	}
	if diff := cmp.Diff([]string{bearer, token}, i.masked); diff != "" {
		t.Errorf("masked (-want +got):\n%s", diff)
	}
	again, err := s.Token(t.Context(), "sigstore")
	if err != nil || again == token {
		t.Errorf("the second token is not fresh: %v", err)
	}
	s.URL = i.URL + "/token" // without a query
	if _, err := s.Token(t.Context(), "sigstore"); err != nil || i.asked[2].URL.RequestURI() != "/token?audience=sigstore" {
		t.Errorf("%s, %v", i.asked[2].URL.RequestURI(), err)
	}
}

func TestBearerIsMaskedBeforeItIsUsed(t *testing.T) {
	i := newIssuer(t)
	s := i.source()
	asked := -1
	s.Mask = func(string) {
		if asked < 0 {
			asked = len(i.asked)
		}
	}
	if _, err := s.Token(t.Context(), "sigstore"); err != nil || asked != 0 {
		t.Errorf("%d requests before, %v", asked, err)
	}
}

func answer(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// jwt is a token's form around other things.
func jwt(parts ...string) string {
	for i, p := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(p))
	}
	return strings.Join(parts, ".")
}

func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	value := func(v string) string { return `{"value":"` + v + `"}` }
	good := jwt(`{"alg":"RS256"}`, `{"iss":"x"}`, "sig")
	pad := func(n int) string { // an answer of n bytes
		text := value(good)
		return text + strings.Repeat(" ", n-len(text))
	}
	tests := []struct {
		name  string
		h     http.HandlerFunc
		asked int
		want  string // "" for success
	}{
		{"401", answer(401, `{"message":"Unauthorized"}`), 1, "OIDC token endpoint: answered 401 Unauthorized: Unauthorized; the request token is good only while its job runs, and the job needs `permissions: id-token: write`"},
		{"403 without JSON", answer(403, `<html>`), 1, "OIDC token endpoint: answered 403 Forbidden; the request token"},
		{"401 that holds the bearer", answer(401, `{"message":"bad token `+strings.Repeat("x", 180)+bearer+`"}`), 1, "answered 401 Unauthorized; the request token"},
		{"404 with control characters", answer(404, `{"message":"a\nb\u001b[31m"}`), 1, "answered 404 Not Found: a b [31m"},
		{"400 with a long message", answer(400, `{"message":"`+strings.Repeat("x", 1000)+`"}`), 1, "xxx…"},
		{"204", answer(204, ``), 1, "answered 204 No Content"},
		{"500 for ever", answer(500, ``), 4, "OIDC token endpoint unreachable for"},
		{"429 with a wait past the budget", answer(429, ``, "Retry-After", "3600"), 1, "last: 429 Too Many Requests, asks to wait 1h0m0s"},
		{"HTML", answer(200, "\n<!DOCTYPE html><p>Unicorn!"), 3, "OIDC token endpoint: the answer is HTML instead of JSON"},
		{"text", answer(200, "OK"), 3, "the answer is not JSON with a token"},
		{"array", answer(200, "[]"), 3, "the answer is not JSON with a token"},
		{"nothing", answer(200, ""), 3, "the answer is not JSON with a token"},
		{"empty value", answer(200, value("")), 3, "the answer has no token: value is missing or empty"},
		{"no value", answer(200, "{}"), 3, "the answer has no token: value is missing or empty"},
		{"null", answer(200, "null"), 3, "the answer has no token"},
		{"value of a number", answer(200, `{"value":7}`), 3, "not JSON with a token"},
		{"token and then rubbish", answer(200, value(good)+"}"), 3, "not JSON with a token"},
		{"word", answer(200, value("none")), 3, "the answer's value is not a token: want a header, claims and a signature"},
		{"two parts", answer(200, value(jwt(`{}`, `{}`))), 3, "want a header, claims and a signature"},
		{"no signature", answer(200, value(jwt(`{}`, `{}`, ``))), 3, "want a header, claims and a signature"},
		{"four parts", answer(200, value(jwt(`{}`, `{}`, `x`, `x`))), 3, "want a header, claims and a signature"},
		{"header of text", answer(200, value(jwt(`x`, `{}`, `x`))), 3, "header is not a JSON object"},
		{"null claims", answer(200, value(jwt(`{}`, `null`, `x`))), 3, "claims is not a JSON object"},
		{"padded", answer(200, value("e30=.e30.e30")), 3, "header is not base64url"},
		{"bad signature part", answer(200, value("e30.e30.+")), 3, "signature is not base64url"},
		{"at the limit", answer(200, pad(MaxAnswer)), 1, ""},
		{"past the limit", answer(200, pad(MaxAnswer+1)), 1, "OIDC token endpoint: the answer is longer than the limit of 65536 bytes"},
		{"same host's redirect", answer(302, ``, "Location", "/other"), 1, "answered 302 Found; redirects are not followed"},
	}
	for _, test := range tests {
		i := newIssuer(t)
		i.token = test.h
		s := i.source()
		clock := now
		s.Retry.Now = func() time.Time { return clock }
		s.Retry.Budget = 7 * time.Second
		s.Retry.Sleep = func(_ context.Context, d time.Duration) error { clock = clock.Add(d); return nil }
		token, err := s.Token(t.Context(), "sigstore")
		i.tokens = append(i.tokens, good)
		i.silent(t, test.name, err)
		if len(i.asked) != test.asked {
			t.Errorf("%s: %d requests, want %d", test.name, len(i.asked), test.asked)
		}
		if test.want == "" {
			if token != good || err != nil {
				t.Errorf("%s: %q, %v", test.name, token, err)
			}
			continue
		}
		if token != "" || err == nil || !strings.HasPrefix(err.Error(), "getting an OIDC token: ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v\nwant in it: %s", test.name, token, err, test.want)
		}
	}
}

func TestFaultsOfTheTokenEndpointPass(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"500":   answer(500, ""),
		"HTML":  answer(200, "<html>"),
		"empty": answer(200, "{}"),
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			w.WriteHeader(200)
		},
		"closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		i := newIssuer(t)
		good := i.token
		i.token = func(w http.ResponseWriter, req *http.Request) {
			if i.requests() == 1 {
				fail(w, req)
				return
			}
			good(w, req)
		}
		token, err := i.source().Token(t.Context(), "sigstore")
		if token == "" || err != nil || i.waits != 1 || len(i.warned) != 1 || !strings.HasPrefix(i.warned[0], "OIDC token endpoint: trying again") {
			t.Errorf("%s: %v after %d waits; %q", name, err, i.waits, i.warned)
		}
		i.silent(t, name, err)
	}
}

func TestBearerFollowsNoRedirect(t *testing.T) {
	var reached []*http.Request
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { reached = append(reached, req) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		i := newIssuer(t)
		i.token = answer(code, "", "Location", other.URL)
		s := i.source()
		s.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		_, err := s.Token(t.Context(), "sigstore")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("answered %d", code)) {
			t.Errorf("%v", err)
		}
		i.silent(t, "redirect", err)
	}
	if len(reached) != 0 {
		t.Errorf("the other host was asked: %v", reached[0].Header)
	}
}

func TestSlowEndpointIsAskedAgain(t *testing.T) {
	i := newIssuer(t)
	good := i.token
	stall := make(chan struct{})
	defer close(stall)
	i.token = func(w http.ResponseWriter, req *http.Request) {
		if i.requests() == 1 {
			<-stall
			return
		}
		good(w, req)
	}
	s := i.source()
	s.Retry.Try = 200 * time.Millisecond
	token, err := s.Token(t.Context(), "sigstore")
	if token == "" || err != nil || len(i.warned) != 1 || !strings.Contains(i.warned[0], "no complete answer within 200ms") {
		t.Errorf("%v; %q", err, i.warned)
	}
}

func TestTokenEndsWithItsContext(t *testing.T) {
	i := newIssuer(t)
	ctx, cancel := context.WithCancel(t.Context())
	i.token = func(w http.ResponseWriter, _ *http.Request) { cancel(); w.WriteHeader(503) }
	if _, err := i.source().Token(ctx, "sigstore"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestURLsThatMayNotHaveTheBearer(t *testing.T) {
	i := newIssuer(t)
	for url, want := range map[string]string{
		"":                               "URL is not https://HOST",
		"token":                          "URL is not https://HOST",
		"https:///x":                     "URL is not https://HOST",
		"http://example.com/":            "URL of host example.com is http, want https",
		"http://localhost.example.com/":  "want https",
		"http://127.0.0.1.example.com/":  "want https",
		"ftp://127.0.0.1/":               "is ftp, want https",
		"https://user:word@example.com/": "user or password",
		"https://exa\nmple.com/":         "URL is not https://HOST",
	} {
		s := i.source()
		s.URL = url
		_, err := s.Token(t.Context(), "sigstore")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "word@") {
			t.Errorf("%q: %v", url, err)
		}
	}
	s := i.source()
	s.RequestToken = ""
	if _, err := s.Token(t.Context(), "sigstore"); err == nil || !strings.Contains(err.Error(), "permissions: id-token: write") {
		t.Errorf("without a request token: %v", err)
	}
	if _, err := i.source().Token(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no audience") {
		t.Errorf("without an audience: %v", err)
	}
	s = i.source()
	s.RequestToken = "two\nlines"
	if _, err := s.Token(t.Context(), "sigstore"); err == nil || strings.Contains(err.Error(), "lines") {
		t.Errorf("bearer of two lines: %v", err)
	}
	if len(i.asked) != 0 {
		t.Errorf("%d requests", len(i.asked))
	}
}

func TestClaimsAreWhatTheTokenSays(t *testing.T) {
	for name, key := range map[string]struct {
		alg jose.SignatureAlgorithm
		key crypto.Signer
		kid string
	}{"RSA": {jose.RS256, rsaKey, "rsa"}, "ECDSA": {jose.ES256, ecKey, "ec"}} {
		i := newIssuer(t)
		i.token = func(w http.ResponseWriter, req *http.Request) {
			i.give(w, i.sign(t, key.alg, key.key, key.kid, i.claims(req.FormValue("audience"))))
		}
		s := i.source()
		s.ServerURL = "https://octo.ghe.com"
		got, err := s.Claims(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := statement.Claims{
			Issuer: i.URL, Subject: "repo:acme/web:ref:refs/tags/v1", Ref: "refs/tags/v1", SHA: "0123456789abcdef0123456789abcdef01234567",
			Repository: "acme/web", EventName: "push", JobWorkflowRef: "volant/fledge-action/.github/workflows/build.yml@refs/tags/v1",
			WorkflowRef: "acme/web/.github/workflows/release.yml@refs/tags/v1", RepositoryID: "1001", RepositoryOwnerID: "2002",
			RunnerEnvironment: "github-hosted", RunID: "7", RunAttempt: "1", RepositoryVisibility: "public", ServerURL: "https://octo.ghe.com",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := i.asked[0].FormValue("audience"); got != "nobody" {
			t.Errorf("audience %q", got)
		}
		for _, req := range i.asked[1:] {
			if got := req.Header.Get("Authorization"); got != "" {
				t.Errorf("%s was sent to %s", got, req.URL)
			}
		}
	}
}

func TestTokensThatAreNotBelieved(t *testing.T) {
	unsigned := func(i *issuer, alg string) string {
		payload := must(json.Marshal(i.claims(Nobody)))
		return jwt(`{"alg":"`+alg+`","kid":"rsa"}`, string(payload), "sig")
	}
	with := func(name string, value any) func(*testing.T, *issuer) string {
		return func(t *testing.T, i *issuer) string {
			c := i.claims(Nobody)
			if c[name] = value; value == nil {
				delete(c, name)
			}
			return i.sign(t, jose.RS256, rsaKey, "rsa", c)
		}
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	tests := []struct {
		name  string
		token func(*testing.T, *issuer) string
		want  string // "" for success
	}{
		{"wrong signature", func(t *testing.T, i *issuer) string {
			return i.sign(t, jose.RS256, otherRSA, "rsa", i.claims(Nobody))
		}, `signature of the OIDC token does not fit the issuer's key "rsa"`},
		{"changed claims", func(t *testing.T, i *issuer) string {
			parts := strings.Split(i.sign(t, jose.RS256, rsaKey, "rsa", i.claims(Nobody)), ".")
			c := i.claims(Nobody)
			c["repository"] = "acme/other"
			parts[1] = base64.RawURLEncoding.EncodeToString(must(json.Marshal(c)))
			return strings.Join(parts, ".")
		}, "signature of the OIDC token does not fit"},
		{"none", func(_ *testing.T, i *issuer) string { return unsigned(i, "none") }, `signed by algorithm "none", want RS256 or ES256`},
		{"HS256 with the public key", func(t *testing.T, i *issuer) string {
			return i.sign(t, jose.HS256, rsaKey.PublicKey.N.Bytes(), "rsa", i.claims(Nobody))
		}, `signed by algorithm "HS256", want RS256 or ES256`},
		{"RS512", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS512, rsaKey, "rsa", i.claims(Nobody)) }, `"RS512"`},
		{"algorithm of another key", func(t *testing.T, i *issuer) string { return i.sign(t, jose.ES256, ecKey, "rsa", i.claims(Nobody)) }, `key "rsa" is not for signatures by ES256`},
		{"RSA by an ECDSA key", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS256, rsaKey, "ec", i.claims(Nobody)) }, `does not fit the issuer's key "ec"`},
		{"unknown key", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS256, rsaKey, "new", i.claims(Nobody)) }, `signed by key "new", of which the issuer has 0`},
		{"key's name twice", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS256, rsaKey, "twice", i.claims(Nobody)) }, `signed by key "twice", of which the issuer has 2`},
		{"key for encryption", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS256, rsaKey, "enc", i.claims(Nobody)) }, `key "enc" is not for signatures`},
		{"no key's name", func(t *testing.T, i *issuer) string { return i.sign(t, jose.RS256, rsaKey, "", i.claims(Nobody)) }, "does not name the key"},
		{"key in the token", func(t *testing.T, i *issuer) string {
			signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: otherRSA}, &jose.SignerOptions{EmbedJWK: true}))
			return must(must(signer.Sign(must(json.Marshal(i.claims(Nobody))))).CompactSerialize())
		}, "does not name the key"},
		{"wrong audience", with("aud", "sigstore"), `is for audience "sigstore", want "nobody"`},
		{"another audience too", with("aud", []string{"nobody", "sigstore"}), `is for audience "nobody, sigstore"`},
		{"list of one audience", with("aud", []string{"nobody"}), ""},
		{"no audience", with("aud", nil), `is for audience ""`},
		{"other issuer", with("iss", "https://example.com"), `is of issuer "https://example.com", want`},
		{"no issuer", with("iss", nil), `is of issuer ""`},
		{"expired", with("exp", at(-61*time.Second)), "OIDC token has expired: it is 2026-03-01T12:00:00Z"},
		{"nearly expired", with("exp", at(-60*time.Second)), ""},
		{"never expires", with("exp", nil), "never expires: exp is missing"},
		{"not yet", with("nbf", at(61*time.Second)), "not valid before 2026-03-01T12:01:01Z"},
		{"nearly", with("nbf", at(60*time.Second)), ""},
		{"from the future", with("iat", at(61*time.Second)), "was issued at 2026-03-01T12:01:01Z"},
		{"from the near future", with("iat", at(60*time.Second)), ""},
		{"time of words", with("exp", "tomorrow"), "malformed claims"},
		{"time past all years", with("exp", 1e300), "times that cannot be"},
		{"time before 1970", with("nbf", -1), "times that cannot be"},
		{"repository of a number", with("repository_id", 1001), "claim repository_id of the OIDC token is not text"},
		{"no repository", with("repository", nil), "OIDC token lacks claims: repository"},
		{"no run", with("run_id", ""), "OIDC token lacks claims: run_id"},
		{"no visibility", with("repository_visibility", nil), ""},
		{"claim in another case", func(t *testing.T, i *issuer) string {
			c := i.claims(Nobody)
			delete(c, "repository")
			c["Repository"] = "acme/web"
			return i.sign(t, jose.RS256, rsaKey, "rsa", c)
		}, "OIDC token lacks claims: repository"},
	}
	for _, test := range tests {
		i := newIssuer(t)
		i.token = func(w http.ResponseWriter, _ *http.Request) { i.give(w, test.token(t, i)) }
		c, err := i.source().Claims(t.Context())
		i.silent(t, test.name, err)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if c != (statement.Claims{}) || err == nil || !strings.HasPrefix(err.Error(), "getting the job's OIDC claims: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant in it: %s", test.name, err, test.want)
		}
	}
}

func TestIssuerMayEndInAnEnterprise(t *testing.T) {
	for suffix, good := range map[string]bool{
		"": true, "/octo-corp": true, "/a.b_c": true, "octo": false, ".example.com": false, "/": false, "/a/b": false, "/..": false, "/a?b": false, "/a@b": false,
	} {
		i := newIssuer(t)
		i.token = func(w http.ResponseWriter, _ *http.Request) {
			c := i.claims(Nobody)
			c["iss"] = i.URL + suffix
			i.give(w, i.sign(t, jose.RS256, rsaKey, "rsa", c))
		}
		c, err := i.source().Claims(t.Context())
		if (err == nil) != good || good && c.Issuer != i.URL+suffix {
			t.Errorf("%q: %v", suffix, err)
		}
	}
}

func TestKeysOfTheIssuer(t *testing.T) {
	other := newIssuer(t)
	tests := []struct {
		name  string
		spoil func(*issuer)
		want  string
	}{
		{"configuration is missing", func(i *issuer) { i.config = answer(404, "") }, "getting /.well-known/openid-configuration: OIDC issuer: answered 404"},
		{"configuration of HTML", func(i *issuer) { i.config = answer(200, "<html>") }, "openid-configuration: OIDC issuer: invalid character"},
		{"configuration of another", func(i *issuer) { i.config = other.config }, "calls itself"},
		{"empty configuration", func(i *issuer) { i.config = answer(200, "{}") }, `calls itself ""`},
		{"keys elsewhere", func(i *issuer) {
			i.config = answer(200, `{"issuer":"`+i.URL+`","jwks_uri":"`+other.URL+`/keys"}`)
		}, "has its keys at another host"},
		{"keys at the same host by another name", func(i *issuer) {
			i.config = answer(200, `{"issuer":"`+i.URL+`","jwks_uri":"`+strings.Replace(i.URL, "127.0.0.1", "localhost", 1)+`/keys"}`)
		}, "has its keys at another host"},
		{"keys by plain http", func(i *issuer) {
			i.config = answer(200, `{"issuer":"`+i.URL+`","jwks_uri":"http://example.com/keys"}`)
		}, "jwks_uri: URL of host example.com is http, want https"},
		{"no place of keys", func(i *issuer) { i.config = answer(200, `{"issuer":"`+i.URL+`"}`) }, "jwks_uri: URL is not https://HOST"},
		{"keys are down", func(i *issuer) { i.jwks = answer(503, "") }, "getting /keys: OIDC issuer unreachable for"},
		{"keys are elsewhere now", func(i *issuer) { i.jwks = answer(302, "", "Location", other.URL+"/keys") }, "getting /keys: OIDC issuer: answered 302 Found; redirects are not followed"},
		{"keys of HTML", func(i *issuer) { i.jwks = answer(200, "<html>") }, "getting /keys: OIDC issuer: invalid character"},
		{"no keys", func(i *issuer) { i.jwks = answer(200, `{"keys":[]}`) }, "of which the issuer has 0"},
		{"too many keys", func(i *issuer) { i.jwks = answer(200, `{"keys":[]}`+strings.Repeat(" ", maxKeys)) }, "longer than the limit of 262144 bytes"},
		{"private key", func(i *issuer) {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rsaKey, KeyID: "rsa"}}})
			}
		}, `key "rsa" is not for signatures`},
	}
	for _, test := range tests {
		i := newIssuer(t)
		test.spoil(i)
		s := i.source()
		clock := now
		s.Retry.Now = func() time.Time { clock = clock.Add(time.Minute); return clock }
		_, err := s.Claims(t.Context())
		i.silent(t, test.name, err)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant in it: %s", test.name, err, test.want)
		}
	}
	if len(other.asked) != 0 {
		t.Errorf("the other issuer was asked for %s", other.asked[0].URL)
	}
}

func TestAvailable(t *testing.T) {
	full := map[string]string{"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://example.com/x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": bearer}
	env := func(without ...string) func(string) string {
		m := maps.Clone(full)
		for _, name := range without {
			delete(m, name)
		}
		return func(name string) string { return m[name] }
	}
	if ok, reason := Available(env()); !ok || reason != "" {
		t.Errorf("%v, %q", ok, reason)
	}
	for _, name := range []string{"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"} {
		ok, reason := Available(env(name))
		if want := "no OIDC token: the job needs `permissions: id-token: write` (pull requests from forks never get one)"; ok || reason != want {
			t.Errorf("without %s: %v, %q", name, ok, reason)
		}
		if _, err := FromEnv(env(name), ""); err == nil || err.Error() != reason {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if ok, reason := Available(env("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL")); ok || !strings.Contains(reason, "no job of GitHub Actions") {
		t.Errorf("%v, %q", ok, reason)
	}
	s, err := FromEnv(env(), "")
	if err != nil || s.URL != "https://example.com/x" || s.RequestToken != bearer || s.Issuer != DefaultIssuer || s.ServerURL != "" {
		t.Errorf("%+v, %v", s, err)
	}
	full["GITHUB_SERVER_URL"] = "https://octo.ghe.com"
	s, err = FromEnv(env(), "")
	if err != nil || s.Issuer != "https://token.actions.octo.ghe.com" || s.ServerURL != "https://octo.ghe.com" {
		t.Errorf("%+v, %v", s, err)
	}
	full["GITHUB_SERVER_URL"] = "https://github.example.com"
	if _, err := FromEnv(env(), ""); err == nil {
		t.Error("a server whose issuer is not known was taken")
	}
	s, err = FromEnv(env(), "https://github.example.com/_services/token")
	if err != nil || s.Issuer != "https://github.example.com/_services/token" || s.ServerURL != "https://github.example.com" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestIssuerOfAServer(t *testing.T) {
	for server, want := range map[string]string{
		"": DefaultIssuer, "https://github.com": DefaultIssuer, "https://octo-1.ghe.com": "https://token.actions.octo-1.ghe.com",
		"http://github.com": "", "github.com": "", "https://github.com/": "", "https://.ghe.com": "", "https://a.b.ghe.com": "",
		"https://ghe.com": "", "https://evil/x.ghe.com": "", "https://x.ghe.com.example.com": "", "https://github.example.com": "", "http://x.ghe.com": "",
	} {
		got, err := IssuerOf(server)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", server, got, err)
		}
	}
}

func TestDescribeShowsNoSecret(t *testing.T) {
	i := newIssuer(t)
	token := i.sign(t, jose.RS256, rsaKey, "rsa", i.claims("sigstore"))
	want := `token of issuer "` + i.URL + `" for audience "sigstore" that expires 2026-03-01T12:05:00Z`
	if got := Describe(token); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for text, want := range map[string]string{
		"":                           "not a token: want a header",
		bearer:                       "not a token: want a header",
		jwt(`{}`, `{"exp":""}`, "x"): "token with malformed claims",
		jwt(`{}`, `{}`, "x"):         `token of issuer "" for audience "" that expires never`,
	} {
		if got := Describe(text); !strings.HasPrefix(got, want) || strings.Contains(got, bearer) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

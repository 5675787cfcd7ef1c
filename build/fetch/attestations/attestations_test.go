package attestations

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/internal/ghtest"
)

const digest = "sha256:0123"

func client() *fetch.Client {
	return &fetch.Client{Policy: fetch.Policy{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}}
}

func api(s *ghtest.Server) API {
	return API{
		Fetch: client(), Repository: s.URL + "/repos/o/r", Host: strings.TrimPrefix(s.URL, "http://"), Token: "secret",
		MaxAnswer: 1 << 20, MaxBundle: 100, Most: 3,
	}
}

func TestBundlesAreInTheAnswerOrInTheStore(t *testing.T) {
	s := ghtest.New(t, "o/r") // whose store refuses any token
	s.SetToken("secret")
	s.Attest(digest, false, []byte(`{"n":1}`))
	s.Attest(digest, true, []byte(`{"n":2}`), []byte(`{"n":3}`))
	s.Attest(digest, false, []byte(`{"n":4}`))
	found, err := api(s).Of(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, b := range found {
		all = append(all, string(b))
	}
	if got := strings.Join(all, " "); got != `{"n":1} {"n":2} {"n":3}` {
		t.Errorf("got %s, want the first three", got)
	}
	if found, err := api(s).Of(t.Context(), "sha256:4567"); err != nil || found != nil {
		t.Errorf("of another digest: %q, %v", found, err)
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		stored string
		fault  ghtest.Fault
		want   string
	}{
		"a stored bundle that is too long": {strings.Repeat(" ", 101), ghtest.Fault{}, "it has 101 bytes uncompressed, the limit is 100"},
		"a stored bundle that is none":     {"{}", ghtest.Fault{Path: "/0", Status: 200, Body: "\xff\xff\xff\xff\xff\xff"}, "unpacking a stored bundle"},
		"HTML":                             {"{}", ghtest.Fault{Path: "/attestations/", Status: 200, Body: "<html>"}, "not what GitHub's API sends"},
		"forbidden":                        {"{}", ghtest.Fault{Path: "/attestations/", Status: 403}, "403"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := ghtest.New(t, "o/r")
			s.Attest(digest, true, []byte(tt.stored))
			if tt.fault.Path != "" {
				s.Fail(tt.fault)
			}
			if found, err := api(s).Of(t.Context(), digest); err == nil || !strings.Contains(err.Error(), tt.want) || found != nil {
				t.Errorf("%q, %v; want %q", found, err, tt.want)
			}
		})
	}
	s := ghtest.New(t, "o/r")
	s.Attest(digest, true, []byte(strings.Repeat(" ", 100)))
	if _, err := api(s).Of(t.Context(), digest); err != nil {
		t.Errorf("a bundle of as many bytes as may be: %v", err)
	}
}

// TestAPublicHostsWordLeadsToNoPrivateAddress plays a public API over a private one.
func TestAPublicHostsWordLeadsToNoPrivateAddress(t *testing.T) {
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer private.Close()
	s := ghtest.New(t, "o/r")
	s.Fail(ghtest.Fault{Path: "/attestations/", Status: 200, Body: `{"attestations":[{"bundle":null,"bundle_url":"` + private.URL + `"}]}`})
	a := api(s)
	a.Host = "api.github.com"
	if _, err := a.Of(t.Context(), digest); !errors.Is(err, fetch.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

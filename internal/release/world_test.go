package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/testneed"
)

// TestContractIsThere skips aloud where requests and answers are not checked against
// GitHub's description.
func TestContractIsThere(t *testing.T) {
	if _, err := ghrelease.ReadContract(testneed.Data(t, ghrelease.DescriptionFile)); err != nil {
		t.Fatal(err)
	}
}

// world is a GitHub, and a clock that only sleeping moves.
type world struct {
	*ghrelease.Server
	t        *testing.T
	patience Patience // attempts and longest wait
	now      time.Time
	slept    []time.Duration
	events   []string
	writes   []string // "METHOD path" of requests that were answered, other than GET
	gets     int
}

func newWorld(t *testing.T) *world {
	w := &world{Server: ghrelease.New("o/r", "v1"), t: t, now: time.Unix(1_700_000_000, 0)}
	w.Server.Token, w.Server.Now, w.Server.Contract = "secret", func() time.Time { return w.now }, ghrelease.TheContract(t)
	w.Server.Log = func(r *http.Request, _ int) {
		if r.URL.Host == "api.github.test" && r.Header.Get("X-Github-Api-Version") == "" {
			t.Errorf("%s %s names no version of the API", r.Method, r.URL)
		}
		if r.Method == http.MethodGet {
			w.gets++
			return
		}
		w.writes = append(w.writes, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/repos/o/r/"))
	}
	t.Cleanup(func() {
		for _, v := range w.Violations() {
			t.Errorf("against GitHub's contract: %s", v)
		}
	})
	return w
}

func (w *world) client() *Client { return w.through(w.Server) }

// through is a client whose requests a transport makes.
func (w *world) through(t http.RoundTripper) *Client {
	w.t.Helper()
	c, err := New(w.config(t))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// config has the world's clock.
func (w *world) config(t http.RoundTripper) Config {
	p := w.patience
	p.Sleep = func(ctx context.Context, d time.Duration) error {
		w.slept, w.now = append(w.slept, d), w.now.Add(d)
		return ctx.Err()
	}
	p.Random = func() float64 { return 0.5 }
	report := func(e Event) {
		if e.Kind != Progress {
			w.events = append(w.events, e.Message)
		}
	}
	return Config{Repo: "o/r", API: w.API, Token: "secret", Transport: t, Patience: p, Report: report}
}

func (w *world) publish(o Options, assets ...Asset) (*Result, error) {
	return w.client().Publish(w.t.Context(), "v1", assets, o)
}

// must publishes what has to succeed.
func (w *world) must(o Options, assets ...Asset) *Result {
	w.t.Helper()
	result, err := w.publish(o, assets...)
	if err != nil {
		w.t.Fatalf("publishing: %v\nevents: %q", err, w.events)
	}
	return result
}

// refused publishes what has to fail, for a reason and with texts in the message.
func (w *world) refused(reason Reason, o Options, assets []Asset, texts ...string) {
	w.t.Helper()
	_, err := w.publish(o, assets...)
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason {
		w.t.Fatalf("error is %v, want one with reason %q", err, reason)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			w.t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// release is the only one.
func (w *world) release() ghrelease.Release {
	w.t.Helper()
	all := w.Releases()
	if len(all) != 1 {
		w.t.Fatalf("%d releases, want 1: %+v", len(all), all)
	}
	return all[0]
}

// contents are an release's assets as "name=content", in order.
func contents(r ghrelease.Release) string {
	var all []string
	for _, a := range r.Assets {
		all = append(all, a.Name+"="+string(a.Content))
	}
	return strings.Join(all, " ")
}

func file(name, content string) Asset {
	return Asset{
		Name: name, Size: int64(len(content)), Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(content))), nil },
	}
}

func done(r *Result) string {
	var all []string
	for _, a := range r.Assets {
		all = append(all, a.Name+" "+string(a.Done))
	}
	return strings.Join(all, ", ")
}

// put is an asset that is there already.
func put(name, content string) ghrelease.Asset {
	return ghrelease.Asset{Name: name, Content: []byte(content)}
}

package release

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "web-1.0+x_y.img": true, "SHA256SUMS": true, "1": true, strings.Repeat("a", MaxName): true, "a.b.c": true, "a.old-x": true, "a.new-12": true,
		"": false, ".a": false, "a.": false, "a..b": false, "a b": false, "a/b": false, "ä": false, "a(1)": false, "a~": false, "-a": false, "_a": false, "a:b": false,
		"a\n": false, strings.Repeat("a", MaxName+1): false, "a.old-12": false, "a.new-0123456789ab": false, "a@b": false,
	} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhatGitHubWouldRefuseIsNotSent(t *testing.T) {
	change := func(f func(*Asset)) []Asset {
		a := file("a", "one")
		f(&a)
		return []Asset{a}
	}
	var many []Asset
	for i := range MaxAssets + 1 {
		many = append(many, file(fmt.Sprint("f", i), "x"))
	}
	tests := []struct {
		assets []Asset
		tag    string
		o      Options
		want   string // "" is good
	}{
		{nil, "v1", Options{}, "no files"},
		{many, "v1", Options{DryRun: true}, "1001 files: GitHub takes 1000 a release"},
		{many[1:], "v1", Options{DryRun: true}, ""},
		{change(func(a *Asset) { a.Name = "a b" }), "v1", Options{}, `asset name "a b": GitHub would rename it`},
		{[]Asset{file("a", "x"), file("A", "y")}, "v1", Options{}, `two files are named "a" and "A"`},
		{change(func(a *Asset) { a.Size = 0 }), "v1", Options{}, "a is empty"},
		{change(func(a *Asset) { a.Size = MaxSize }), "v1", Options{DryRun: true}, ""},
		{change(func(a *Asset) { a.Size = MaxSize + 1 }), "v1", Options{}, "a has 2147483648 bytes (2.0 GiB): GitHub takes files under 2 GiB"},
		{change(func(a *Asset) { a.Digest = "sha256:xyz" }), "v1", Options{}, `digest "sha256:xyz" of a`},
		{change(func(a *Asset) { a.MediaType = "a\nb" }), "v1", Options{}, `media type "a\nb" of a`},
		{change(func(a *Asset) { a.Open = nil }), "v1", Options{}, "cannot be opened"},
		{many[:1], "v1", Options{Body: strings.Repeat("ä", MaxNotes), DryRun: true}, ""},
		{many[:1], "v1", Options{Body: strings.Repeat("a", MaxNotes+1)}, "release notes have 125001 characters"},
		{many[:1], "v1", Options{Notes: strings.Repeat("a", MaxNotes+1)}, "release notes have 125001 characters"},
		{many[:1], "v1", Options{MakeLatest: "yes"}, `make latest is "yes"`},
		{many[:1], "v1", Options{MakeLatest: "true", Prerelease: true}, "a prerelease cannot be the latest"},
		{many[:1], "v1", Options{MakeLatest: "true", Draft: true}, "a draft cannot be the latest"},
		{many[:1], "v1", Options{Clash: "x"}, `clash is "x": want fail, replace or auto`},
	}
	for _, tag := range []string{"", "-v", "a..b", "a b", "/a", "a/", "a//b", "a.lock", ".a", "a/.b", "v1.", "@", "a@{b", "a~1", "a^", "a:b", "a?", "a*", "a[", `a\b`, "a\x7f", "a\n", "\xff", strings.Repeat("a", maxTag+1)} {
		tests = append(tests, struct {
			assets []Asset
			tag    string
			o      Options
			want   string
		}{many[:1], tag, Options{}, "is not a name that git takes"})
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.Tags[tt.tag] = true
		_, err := w.client().Publish(t.Context(), tt.tag, tt.assets, tt.o)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("tag %q, %+v: %v, want %q", tt.tag, tt.o, err, tt.want)
		}
		if tt.want != "" && w.gets+len(w.writes) != 0 {
			t.Errorf("%q: requests were made", tt.want)
		}
	}
}

func TestNewRefusesWhatWouldLeakTheToken(t *testing.T) {
	good := Config{Repo: "o/r", Token: "secret"}
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.API = "http://127.0.0.1:8080/api/v3" }, ""},
		{func(c *Config) { c.API = "http://localhost:8080" }, ""},
		{func(c *Config) { c.API = "https://ghe.example/api/v3/" }, ""},
		{func(c *Config) { c.API = "http://ghe.example/api/v3" }, "want an https URL"},
		{func(c *Config) { c.API = "http://localhost.example" }, "want an https URL"},
		{func(c *Config) { c.API = "https://u:p@ghe.example" }, "want an https URL"},
		{func(c *Config) { c.API = "https://ghe.example/?a=b" }, "want an https URL"},
		{func(c *Config) { c.API = "ftp://x" }, "want an https URL"},
		{func(c *Config) { c.API = ":" }, "want an https URL"},
		{func(c *Config) { c.Repo = "r" }, `repository "r": want owner/name`},
		{func(c *Config) { c.Repo = "o/r/x" }, "want owner/name"},
		{func(c *Config) { c.Repo = "o/.." }, "want owner/name"},
		{func(c *Config) { c.Repo = "../r" }, "want owner/name"},
		{func(c *Config) { c.Token = "" }, "set GITHUB_TOKEN"},
		{func(c *Config) { c.Token = "a\nb" }, "set GITHUB_TOKEN"},
	}
	for i, tt := range tests {
		cfg := good
		tt.change(&cfg)
		_, err := New(cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d: %v, want %q", i, err, tt.want)
		}
	}
}

// changing answers a request in place of GitHub.
type changing struct {
	http.RoundTripper
	answer func(*http.Request, *http.Response) *http.Response
}

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return c.answer(r, resp), nil
}

func publishThrough(t *testing.T, w *world, answer func(*http.Request, *http.Response) *http.Response) error {
	t.Helper()
	_, err := w.through(changing{w.Server, answer}).Publish(t.Context(), "v1", []Asset{file("a", "one")}, Options{})
	return err
}

func withBody(resp *http.Response, body io.Reader) *http.Response {
	resp.Body = io.NopCloser(body)
	return resp
}

func TestUploadURLsWithoutTLSGetNoToken(t *testing.T) {
	for _, bad := range []string{"http://uploads.github.test", "http://127.0.0.1:1", "ftp://x", "https://u:p@x", ""} {
		w := newWorld(t)
		err := publishThrough(t, w, func(_ *http.Request, resp *http.Response) *http.Response {
			body, _ := io.ReadAll(resp.Body)
			return withBody(resp, strings.NewReader(strings.ReplaceAll(string(body), "https://uploads.github.test", bad)))
		})
		var e *Error
		if !errors.As(err, &e) || e.Reason != Rejected || !strings.Contains(err.Error(), "want an https URL") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		w := newWorld(t)
		requests := 0
		err := publishThrough(t, w, func(_ *http.Request, resp *http.Response) *http.Response {
			requests++
			resp.StatusCode = status
			resp.Header.Set("Location", "https://elsewhere.test/repositories/1/releases")
			return resp
		})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d: o/r has moved; use the repository's present name", status)) || requests != 1 {
			t.Errorf("%d: %v after %d requests", status, err, requests)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	var date atomic.Int64
	tests := []struct {
		date   *atomic.Int64
		accept string
		most   int64
	}{
		{&date, "application/vnd.github.v3+json", maxAnswer}, {&date, "application/octet-stream", MaxSize}, {nil, "", MaxSize},
	}
	for _, tt := range tests {
		for _, more := range []int64{0, 1} {
			l := &limited{date: tt.date, base: answering(func(*http.Request) (*http.Response, error) {
				return &http.Response{Header: http.Header{}, Body: http.NoBody}, nil
			})}
			resp, err := l.RoundTrip(&http.Request{Header: http.Header{"Accept": {tt.accept}}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.(*limitedBody).left = 10 // of which most are read
			resp.Body.(*limitedBody).ReadCloser = io.NopCloser(io.LimitReader(blanks{}, 10+more))
			if n, err := io.Copy(io.Discard, resp.Body); n != 10 || errors.Is(err, errLarge) != (more > 0) || resp.Body.(*limitedBody).most != tt.most {
				t.Errorf("%d more than %d bytes: read %d, %v", more, tt.most, n, err)
			}
		}
	}
	// The error is told, and not tried again.
	w := newWorld(t)
	err := publishThrough(t, w, func(_ *http.Request, resp *http.Response) *http.Response {
		return withBody(resp, failing{fmt.Errorf("%w: more than %d bytes", errLarge, maxAnswer)})
	})
	var e *Error
	if !errors.As(err, &e) || e.Reason != Rejected || len(w.slept) != 0 {
		t.Errorf("error %v, slept %v", err, w.slept)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// What GitHub says is shown, but not all of it.
func TestMessagesAreBounded(t *testing.T) {
	w := newWorld(t)
	err := publishThrough(t, w, func(_ *http.Request, resp *http.Response) *http.Response {
		resp.StatusCode = http.StatusTeapot
		return withBody(resp, strings.NewReader(`{"message": "`+strings.Repeat("ä", 1000)+`", "errors": [null, {"message": "more"}]}`))
	})
	if err == nil || len([]rune(err.Error())) > 400 {
		t.Errorf("error %v", err)
	}
}

func FuzzSums(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "  a\n"))
	f.Add([]byte(strings.Repeat("0", 64) + " *a b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sums, err := parseSums(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, s := range sums {
			if !goodDigest.MatchString(s.digest) || s.name == "" {
				t.Fatalf("line %+v", s)
			}
			fmt.Fprintf(&again, "%s  %s\n", strings.TrimPrefix(s.digest, "sha256:"), s.name)
		}
		same, err := parseSums([]byte(again.String()))
		if err != nil || fmt.Sprint(same) != fmt.Sprint(sums) {
			t.Fatalf("%+v becomes %+v, %v", sums, same, err)
		}
	})
}

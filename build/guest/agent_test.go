package guest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/internal/ghtest"
)

func client(t *testing.T) *fetch.Client {
	t.Helper()
	c := cache.New(cache.Options{Dir: t.TempDir(), TempDir: t.TempDir()})
	t.Cleanup(func() { _ = c.Close() })
	return &fetch.Client{Cache: c, Policy: fetch.Policy{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// kestrel makes an agent that differs from one version to the next.
func kestrel(version string) []byte { return append(makeELF(elfSpec{}), version...) }

// published is a release as Volant makes them.
func published(tag string) ghtest.Release {
	k := kestrel(tag)
	return ghtest.Release{Tag: tag, Assets: []ghtest.Asset{
		{Name: "bzImage", Content: []byte("kernel")},
		{Name: "kestrel", Content: k, Digest: "sha256:" + sum(k)},
		{Name: "checksums.txt", Content: []byte(sum([]byte("kernel")) + "  bzImage\n" + sum(k) + " *kestrel\n")},
	}}
}

func readAll(t *testing.T, a Agent) string {
	t.Helper()
	f, err := a.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReleaseByVersion(t *testing.T) {
	tests := []struct{ version, want string }{
		{"", "v0.6.5"},
		{"latest", "v0.6.5"},
		{"v0.6.5", "v0.6.5"},
		{"0.6.5", "v0.6.5"},
		{"0.5.0", "0.5.0"},
		{"v0.5.0", "0.5.0"},
		{"v0.7.0-rc.1", "v0.7.0-rc.1"},
		{"kestrel/v1", "kestrel/v1"},
	}
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("0.5.0"), published("kestrel/v1"), published("v0.6.5"))
	rc := published("v0.7.0-rc.1")
	rc.Prerelease = true
	s.Add(rc)
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			a, err := Resolve(t.Context(), Request{Version: tt.version, Arch: "amd64", BaseURL: s.URL + "/", Fetch: client(t)})
			if err != nil {
				t.Fatal(err)
			}
			want := string(kestrel(tt.want))
			if a.Version != tt.want || a.Digest != "sha256:"+sum([]byte(want)) || readAll(t, a) != want {
				t.Errorf("got %+v, want version %s", a, tt.want)
			}
			if want := s.Download + "/volantvm/volant/releases/download/" + tt.want + "/kestrel"; a.URI != want {
				t.Errorf("URI %q, want %q", a.URI, want)
			}
			if len(a.Warnings) != 0 {
				t.Errorf("warnings %q", a.Warnings)
			}
		})
	}
}

func TestReleaseThatCannotBeUsed(t *testing.T) {
	good := published("v1")
	k := good.Assets[1].Content
	with := func(change func(*ghtest.Release)) ghtest.Release {
		r := published("v1")
		change(&r)
		return r
	}
	tests := []struct {
		name    string
		version string
		arch    string
		release ghtest.Release
		want    []string
	}{
		{"no such tag", "9.9", "amd64", good, []string{`"9.9"`, "no such tag", `"v1"`}},
		{"not a tag", "v1 && rm", "amd64", good, []string{"no tag of a release"}},
		{"a tag that climbs", "../../../user", "amd64", good, []string{"no tag of a release"}},
		{"an endless tag", strings.Repeat("1", 129), "amd64", good, []string{"no tag of a release"}},
		{"no agent for arm64", "v1", "arm64", good, []string{`"kestrel-arm64"`, "amd64 only", "local"}},
		{"no agent for anything else", "v1", "mips", good, []string{`"mips"`, "amd64 and arm64"}},
		{"no agent", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[1].Name = "kestrel2" }), []string{`no asset "kestrel"`, `"kestrel2"`}},
		{"no assets", "v1", "amd64", ghtest.Release{Tag: "v1"}, []string{`no asset "kestrel", nor any other`}},
		{"two agents", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[0].Name = "kestrel" }), []string{`2 assets "kestrel"`}},
		{"half an upload", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[1].State = "starter" }), []string{"not uploaded completely"}},
		{"no checksums", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Name = "SHA256SUMS" }), []string{`"checksums.txt"`, "cannot be verified"}},
		{"not in the checksums", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Content = []byte(sum(k) + "  other\n") }), []string{"checksums.txt", `"kestrel" is not listed`}},
		{"twice in the checksums", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Content = []byte(strings.Repeat(sum(k)+"  kestrel\n", 2)) }), []string{"second time"}},
		{"checksums are a page", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Content = []byte("<html>") }), []string{"line 1"}},
		{"checksums too long", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Content = make([]byte, MaxChecksums+1) }), []string{"1048576"}},
		{"checksums differ from GitHub's digest of them", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[2].Digest = "sha256:" + sum(nil) }), []string{sum(nil)}},
		{"GitHub's digest differs", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[1].Digest = "sha256:" + sum(nil) }), []string{sum(k), sum(nil)}},
		{"another agent than listed", "v1", "amd64", with(func(r *ghtest.Release) {
			r.Assets[1] = ghtest.Asset{Name: "kestrel", Content: kestrel("evil")}
		}), []string{sum(k), sum(kestrel("evil"))}},
		{"too large", "v1", "amd64", with(func(r *ghtest.Release) { r.Assets[1].Size = MaxAgent + 1 }), []string{"268435457", "268435456"}},
		{"an error page, listed", "v1", "amd64", with(func(r *ghtest.Release) {
			page := []byte("<!DOCTYPE html>")
			r.Assets[1] = ghtest.Asset{Name: "kestrel", Content: page}
			r.Assets[2].Content = []byte(sum(page) + "  kestrel\n")
		}), []string{"no ELF executable"}},
		{"for another machine, listed", "v1", "amd64", with(func(r *ghtest.Release) {
			arm := makeELF(elfSpec{machine: 183})
			r.Assets[1] = ghtest.Asset{Name: "kestrel", Content: arm}
			r.Assets[2].Content = []byte(sum(arm) + "  kestrel\n")
		}), []string{"for arm64", "platform is amd64"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := ghtest.New(t, "volantvm/volant")
			s.Add(tt.release)
			a, err := Resolve(t.Context(), Request{Strategy: Release, Version: tt.version, Arch: tt.arch, BaseURL: s.URL, Fetch: client(t)})
			if err == nil {
				t.Fatalf("got %+v", a)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestReleaseOfAnotherArchitecture(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	rel := published("v1")
	arm := makeELF(elfSpec{machine: 183})
	rel.Assets = append(rel.Assets, ghtest.Asset{Name: "kestrel-arm64", Content: arm})
	rel.Assets[2].Content = append(rel.Assets[2].Content, sum(arm)+"  kestrel-arm64\n"...)
	s.Add(rel)
	a, err := Resolve(t.Context(), Request{Arch: "arm64", BaseURL: s.URL, Fetch: client(t)})
	if err != nil || a.Digest != "sha256:"+sum(arm) {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestTheTokenGoesToTheAPIOnly(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	s.SetToken("secret")
	s.LimitAnonymous(0)
	if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Token: "secret", Fetch: client(t)}); err != nil {
		t.Fatal(err)
	}
	downloads := 0
	for _, r := range s.Requests() {
		auth := r.Header.Get("Authorization")
		if (r.Server == "api") != (auth == "Bearer secret") {
			t.Errorf("%s %s has Authorization %q", r.Server, r.Path, auth)
		}
		if r.Server == "download" {
			downloads++
		}
	}
	if downloads != 2 {
		t.Errorf("%d downloads, want those of checksums.txt and kestrel", downloads)
	}
}

// GitHub Enterprise Server has its API below a path, and a renamed repository is
// a redirect within it.
func TestReleaseOfAnEnterpriseServer(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	s.SetToken("secret")
	api, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v3/repos/volantvm/volant/releases/latest"); ok {
			http.Redirect(w, r, "/api/v3/repositories/1/releases/latest"+rest, http.StatusMovedPermanently)
			return
		}
		r.URL.Path = strings.Replace(r.URL.Path, "/api/v3/repositories/1/", "/api/v3/repos/volantvm/volant/", 1)
		http.StripPrefix("/api/v3", httputil.NewSingleHostReverseProxy(api)).ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, base := range []string{server.URL + "/api/v3", server.URL + "/api/v3/"} {
		a, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: base, Token: "secret", Fetch: client(t)})
		if err != nil || a.Version != "v1" || readAll(t, a) != string(kestrel("v1")) {
			t.Errorf("%s: %+v, %v", base, a, err)
		}
	}
	for _, p := range paths {
		if !strings.HasPrefix(p, "/api/v3/") {
			t.Errorf("asked for %q, which is not below the API's path", p)
		}
	}
}

// An API that lies about addresses must not learn the token by it.
func TestAddressesInAnswersGetNoToken(t *testing.T) {
	asked := ""
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked += r.URL.Path + " " }))
	defer thief.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/assets/") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"tag_name":"v1","assets":[{"id":1,"name":"kestrel","url":%q,"browser_download_url":%q},{"id":2,"name":"checksums.txt","url":%q,"browser_download_url":%q}]}`,
			thief.URL+"/a", thief.URL+"/b", thief.URL+"/c", thief.URL+"/d")
	}))
	defer api.Close()
	_, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: api.URL, Token: "secret", Fetch: client(t)})
	if err == nil || asked != "" {
		t.Errorf("error %v; the other server was asked for %q", err, asked)
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("error %q tells the token", err)
	}
}

func TestAnswersOfTheAPI(t *testing.T) {
	tests := []struct {
		name  string
		setup func(*ghtest.Server)
		token string
		want  []string // in the error; nil: none
	}{
		{"limit used up without a token", func(s *ghtest.Server) { s.LimitAnonymous(0) }, "", []string{"rate limit", "set GITHUB_TOKEN"}},
		{"limit used up in the middle", func(s *ghtest.Server) { s.LimitAnonymous(1) }, "", []string{"set GITHUB_TOKEN"}},
		{"limit used up with a token", func(s *ghtest.Server) {
			s.Fail(ghtest.Fault{Path: "/latest", Status: 403, Header: map[string]string{"X-RateLimit-Remaining": "0"}, Body: `{"message":"API rate limit exceeded for user ID 1."}`})
		}, "tok", []string{"rate limit of this token"}},
		{"too many requests", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 429}) }, "tok", []string{"429", "rate limit of this token"}},
		{"a token without permission", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 403}) }, "tok", []string{"allowed to read"}},
		{"a bad token", func(s *ghtest.Server) { s.SetToken("other") }, "tok", []string{"401", "GITHUB_TOKEN"}},
		{"no release", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 404}) }, "", []string{"volantvm/volant has no release", "local"}},
		{"not GitHub", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 200, Body: "<html>"}) }, "", []string{"base URL"}},
		{"no release in it", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 200, Body: "{}"}) }, "", []string{"no description of a release"}},
		{"an endless answer", func(s *ghtest.Server) {
			s.Fail(ghtest.Fault{Path: "/latest", Status: 200, Body: `{"tag_name":"` + strings.Repeat("x", fetch.MaxBytes) + `"}`})
		}, "", []string{"limit"}},
		{"down for good", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 502}) }, "", []string{"502"}},
		{"down for a moment", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Status: 502, Times: 2}) }, "", nil},
		{"a description that breaks off", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/latest", Truncate: true, Times: 1}) }, "", nil},
		{"a download that breaks off", func(s *ghtest.Server) { s.Fail(ghtest.Fault{Path: "/objects/", Truncate: true, Times: 2}) }, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := ghtest.New(t, "volantvm/volant")
			s.Add(published("v1"))
			tt.setup(s)
			a, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Token: tt.token, Fetch: client(t)})
			if tt.want == nil {
				if err != nil || readAll(t, a) != string(kestrel("v1")) {
					t.Errorf("%+v, %v", a, err)
				}
				return
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
		})
	}
}

func TestAChecksumOfTheUserIsCheckedToo(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	own := sum(kestrel("own"))
	for _, tt := range []struct {
		request Request
		ok      bool
		want    string
	}{
		{Request{SHA256: sum(kestrel("v1"))}, true, ""},
		{Request{SHA256: "sha256:" + strings.ToUpper(sum(kestrel("v1")))}, true, ""},
		{Request{SHA256: own}, false, sum(kestrel("v1"))},
		{Request{Strategy: Local, Path: "kestrel", SHA256: own}, true, ""},
		{Request{Strategy: Local, Path: "kestrel", SHA256: sum(nil)}, false, own},
	} {
		r := tt.request
		r.Arch, r.BaseURL, r.Fetch, r.Root = "amd64", s.URL, client(t), projectDir(t)
		_, err := Resolve(t.Context(), r)
		switch {
		case tt.ok && err != nil:
			t.Errorf("%s with %s: %v", r.Strategy, r.SHA256, err)
		case !tt.ok && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), r.SHA256)):
			t.Errorf("%s with %s: error %v, want one with both sums", r.Strategy, r.SHA256, err)
		}
	}
}

func TestAnAnswerForAnotherTagIsRefused(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	s.Fail(ghtest.Fault{Path: "/tags/v2", Status: 200, Body: `{"tag_name":"v1"}`})
	_, err := Resolve(t.Context(), Request{Version: "v2", Arch: "amd64", BaseURL: s.URL, Fetch: client(t)})
	if err == nil || !strings.Contains(err.Error(), `"v2"`) || !strings.Contains(err.Error(), `"v1"`) {
		t.Errorf("error %v, want one with both tags", err)
	}
}

func TestASecondBuildDownloadsTheAgentNoMore(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	c := client(t)
	for range 2 {
		if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: c}); err != nil {
			t.Fatal(err)
		}
	}
	agents := 0
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, "/objects/1001") {
			agents++
		}
	}
	if agents != 1 {
		t.Errorf("the agent was downloaded %d times, want once", agents)
	}
}

func TestBadBaseURL(t *testing.T) {
	for _, base := range []string{"api.github.com", "https://", "https://x/?q=1", ":"} {
		if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: base, Fetch: client(t)}); err == nil || !strings.Contains(err.Error(), "base URL") {
			t.Errorf("%q: error %v", base, err)
		}
	}
	if _, err := Resolve(t.Context(), Request{Arch: "amd64", BaseURL: "http://api.example", Fetch: client(t)}); !errors.Is(err, fetch.ErrRefused) {
		t.Errorf("plain http: error %v, want ErrRefused", err)
	}
}

func projectDir(t *testing.T) *os.Root {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	for name, content := range map[string][]byte{
		"kestrel": kestrel("own"), "text": []byte("hello"), "dynamic": makeELF(elfSpec{interp: "/lib/ld-musl-x86_64.so.1"}),
		"../outside": kestrel("outside"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "kestrel", "leak": "../outside"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if _, err := big.Write(kestrel("big")); err != nil {
		t.Fatal(err)
	}
	if err := big.Truncate(MaxAgent + 1); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestLocalAgent(t *testing.T) {
	tests := []struct {
		path string
		uri  string
		warn string
		err  string
	}{
		{path: "kestrel", uri: "kestrel"},
		{path: "./link", uri: "link"},
		{path: "dynamic", uri: "dynamic", warn: "/lib/ld-musl-x86_64.so.1"},
		{path: "", err: "empty"},
		{path: "/bin/kestrel", err: "absolute"},
		{path: "../outside", err: "out of the project"},
		{path: "leak", err: `"leak" leads to "../outside"`},
		{path: "gone", err: `"gone": no such file`},
		{path: "fifo", err: "named pipe"},
		{path: ".", err: "directory"},
		{path: "text", err: `begins with "hello"`},
		{path: "big", err: "268435457 bytes, the limit is 268435456"},
	}
	root := projectDir(t)
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			a, err := Resolve(t.Context(), Request{Strategy: Local, Path: tt.path, Arch: "amd64", Root: root})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := "sha256:" + sum([]byte(readAll(t, a))); a.URI != tt.uri || a.Digest != got || a.Version != "" {
				t.Errorf("got %+v, content has %s", a, got)
			}
			if got := strings.Join(a.Warnings, "; "); tt.warn == "" && got != "" || !strings.Contains(got, tt.warn) {
				t.Errorf("warnings %q, want %q", got, tt.warn)
			}
		})
	}
}

func TestALocalAgentAtTheLimit(t *testing.T) {
	root := projectDir(t)
	if err := os.Truncate(filepath.Join(root.Name(), "big"), MaxAgent); err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(t.Context(), Request{Strategy: Local, Path: "big", Arch: "amd64", Root: root}); err != nil {
		t.Error(err)
	}
}

func TestALocalAgentThatChangesIsAnError(t *testing.T) {
	root := projectDir(t)
	a, err := Resolve(t.Context(), Request{Strategy: Local, Path: "kestrel", Arch: "amd64", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(root.Name(), "kestrel")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, kestrel("OWN"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil { // only its bytes tell
		t.Fatal(err)
	}
	f, err := a.Content.Open()
	if err == nil {
		_, err = io.ReadAll(f)
		f.Close()
	}
	if !errors.Is(err, hostfile.ErrChanged) {
		t.Errorf("error %v, want ErrChanged", err)
	}
}

func TestHTTPAgent(t *testing.T) {
	k := kestrel("http")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kestrel" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(k)
	}))
	defer server.Close()
	tests := []struct {
		name, url, sha256 string
		err               string
	}{
		{"hex", server.URL + "/kestrel?sig=secret", sum(k), ""},
		{"with its algorithm", server.URL + "/kestrel", "sha256:" + sum(k), ""},
		{"no checksum", server.URL + "/kestrel", "", "needs the sha256"},
		{"a bad checksum", server.URL + "/kestrel", "abc", "abc"},
		{"another checksum", server.URL + "/kestrel", sum(nil), sum(k)},
		{"no URL", "", sum(k), "no URL"},
		{"a path", "/kestrel", sum(k), "no URL"},
		{"a password", strings.Replace(server.URL, "//", "//u:secret@", 1), sum(k), "without user"},
		{"not there", server.URL + "/gone", sum(k), "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Resolve(t.Context(), Request{Strategy: HTTP, URL: tt.url, SHA256: tt.sha256, Arch: "amd64", Fetch: client(t)})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.Digest != "sha256:"+sum(k) || a.URI != server.URL+"/kestrel" || readAll(t, a) != string(k) {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func TestStrategies(t *testing.T) {
	if a, err := Resolve(t.Context(), Request{Strategy: None}); err != nil || a.Content != nil {
		t.Errorf("none: %+v, %v", a, err)
	}
	if _, err := Resolve(t.Context(), Request{Strategy: "magic", Arch: "amd64"}); err == nil || !strings.Contains(err.Error(), `"magic"`) {
		t.Errorf("unknown strategy: %v", err)
	}
}

func TestCancelEndsResolve(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []Request{
		{Strategy: Release, BaseURL: s.URL}, {Strategy: Local, Path: "kestrel"}, {Strategy: HTTP, URL: s.URL + "/x", SHA256: sum(nil)},
	} {
		r.Arch, r.Fetch, r.Root = "amd64", client(t), projectDir(t)
		if _, err := Resolve(ctx, r); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", r.Strategy, err)
		}
	}
}

func TestResolveKernelTakesVolantsOwn(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	s.Add(published("v1"))
	k, err := ResolveKernel(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, SHA256: sum([]byte("an agent's")), Fetch: client(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, Agent{Content: k.Content}); got != "kernel" || k.Version != "v1" || k.Digest != "sha256:"+sum([]byte("kernel")) {
		t.Errorf("%+v with content %q", k, got)
	}
	if want := s.Download + "/volantvm/volant/releases/download/v1/bzImage"; k.URI != want {
		t.Errorf("URI %q, want %q", k.URI, want)
	}
	if _, err := ResolveKernel(t.Context(), Request{Arch: "arm64", BaseURL: s.URL, Fetch: client(t)}); err == nil || !strings.Contains(err.Error(), "amd64 only") {
		t.Errorf("arm64: %v", err)
	}
}

func TestKernelHasALimit(t *testing.T) {
	for size, ok := range map[int64]bool{MaxKernel: true, MaxKernel + 1: false} {
		r := published("v1")
		r.Assets[0].Size = size // as the API tells it
		s := ghtest.New(t, "volantvm/volant")
		s.Add(r)
		_, err := ResolveKernel(t.Context(), Request{Arch: "amd64", BaseURL: s.URL, Fetch: client(t)})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "the limit is 268435456") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

package verifytarget

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/internal/bundletest"
	"github.com/volant/fledge-action/internal/ghtest"
)

// A fixture is a folder and a Sigstore.
type fixture struct {
	*testing.T
	dir   string
	stack *bundletest.Stack
	root  *trust.Root
}

func newFixture(t *testing.T) *fixture {
	s := bundletest.New(t)
	return &fixture{t, t.TempDir(), s, s.Root(t, "public", bundletest.Public)}
}

func (f *fixture) write(name, text string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
		f.Fatal(err)
	}
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func manifestFor(url, checksum string) string {
	return `{"schema_version":"1.0","name":"web","version":"1","runtime":"web","enabled":true,"rootfs":{"url":"` + url + `","checksum":"` + checksum + `"},` +
		`"resources":{"cpu_cores":1,"memory_mb":64},"workload":{"type":"http","entrypoint":["/web"],"base_url":"http://127.0.0.1"}}`
}

// bundle signs provenance of texts, by their names.
func (f *fixture) bundle(files map[string]string) string {
	f.Helper()
	var subjects []statement.Subject
	for name, text := range files {
		subjects = append(subjects, statement.Subject{Name: name, Digest: map[string]string{"sha256": sum(text)}})
	}
	st, err := statement.Provenance(bundletest.Claims(), subjects)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := st.Encode()
	if err != nil {
		f.Fatal(err)
	}
	return string(f.stack.Sign(f, payload, bundletest.Signed{Leaf: bundletest.Leaf{Claims: bundletest.Claims()}, Log: true, TSA: true}))
}

func options() Options {
	return Options{Fetch: &fetch.Client{Policy: fetch.Policy{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}}}
}

// report finds a target and checks it.
func (f *fixture) report(target string, o Options) (*Report, error) {
	f.Helper()
	found, err := Find(f.Context(), target, o)
	if err != nil {
		return nil, err
	}
	r, err := Check(f.Context(), found, verify.Policy{Repo: "o/r", Roots: []*trust.Root{f.root}})
	if err != nil {
		f.Fatal(err)
	}
	return r, nil
}

func (r *Report) words() string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, string(p.Kind)+": "+p.Error())
	}
	return strings.Join(all, "\n")
}

func (r *Report) files() string {
	var all []string
	for i, f := range r.Files {
		text := f.Name + " " + string(f.Role)
		if !r.Verified[i] {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"web.img": "web", "web.cpio.gz": "web", "web.cpio.zst": "web", "web.cpio": "web", "a.b.img": "a.b", ".img": ".img", "web.tar": "web.tar", "web.img.gz": "web.img.gz",
	} {
		if got := stem(name); got != want {
			t.Errorf("stem of %q is %q, want %q", name, got, want)
		}
	}
	if got, want := bundleNames("web.img"), []string{"web.sigstore.json", "web.intoto.jsonl", "web.img.sigstore.json"}; !slices.Equal(got, want) {
		t.Errorf("bundles of web.img: %q, want %q", got, want)
	}
	if got, want := bundleNames("web"), []string{"web.sigstore.json", "web.intoto.jsonl"}; !slices.Equal(got, want) {
		t.Errorf("bundles of web: %q, want %q", got, want)
	}
	for name, want := range map[string]Role{
		"manifest.json": Manifest, "web.manifest.json": Manifest, ".manifest.json": Other, "web.manifest.json.sigstore.json": Other, "SHA256SUMS": Sums, "web.spdx.json": SBOM, "web.cdx.json": SBOM, "web.build.json": Record, "web.img": Artifact, "README.md": Other,
	} {
		if got := role(name); got != want {
			t.Errorf("role of %q is %q, want %q", name, got, want)
		}
	}
}

func TestCompanionsAreComparedWithTheArtifact(t *testing.T) {
	const web = "filesystem"
	good := manifestFor("/srv/web.img", "sha256:"+sum(web))
	tests := []struct {
		name  string
		files map[string]string
		sign  []string // of the files
		want  string   // words of the problems
		found string
		note  string
	}{
		{"alone", nil, nil, "", "web.img artifact", ""},
		{
			"all",
			map[string]string{"manifest.json": good, "web.spdx.json": "{}", "web.cdx.json": "{ }", "web.build.json": "x", "SHA256SUMS": sum(web) + "  web.img\n"},
			[]string{"manifest.json", "web.spdx.json", "web.cdx.json", "web.build.json", "SHA256SUMS"},
			"", "web.img artifact, manifest.json manifest, web.spdx.json sbom, web.cdx.json sbom, web.build.json build record, SHA256SUMS checksums", "",
		},
		{"manifest of another artifact", map[string]string{"manifest.json": manifestFor("/srv/db.img", "sha256:"+sum("x"))}, nil, "", "web.img artifact", `manifest.json is about another artifact, "db.img"`},
		{"manifest with another checksum", map[string]string{"manifest.json": manifestFor("https://x.example/web.img", "sha256:"+sum("x"))}, []string{"manifest.json"}, `checksum: DIR/manifest.json says checksum "sha256:` + sum("x") + `", but web.img has sha256:` + sum(web), "web.img artifact, manifest.json manifest", ""},
		{"manifest without a checksum", map[string]string{"manifest.json": manifestFor("/srv/web.img", "")}, []string{"manifest.json"}, "", "web.img artifact, manifest.json manifest", "has no checksum"},
		{"manifest that was never signed", map[string]string{"manifest.json": good}, nil, "", "web.img artifact, manifest.json manifest!", "manifest.json is not among the files that were signed"},
		{"no manifest at all", map[string]string{"manifest.json": "{"}, nil, "", "web.img artifact", "is no manifest that Volant reads"},
		{"checksums of another artifact", map[string]string{"SHA256SUMS": sum("x") + "  db.img\n"}, nil, "", "web.img artifact", ""},
		{"wrong checksums", map[string]string{"SHA256SUMS": sum("x") + "  web.img\n"}, []string{"SHA256SUMS"}, "checksum: DIR/SHA256SUMS says " + sum("x") + " of web.img, but the file has " + sum(web), "web.img artifact, SHA256SUMS checksums", ""},
		{"wrong checksum of the SBOM", map[string]string{"web.spdx.json": "{}", "SHA256SUMS": sum(web) + "  web.img\n" + sum("x") + "  web.spdx.json\n"}, []string{"SHA256SUMS", "web.spdx.json"}, "says " + sum("x") + " of web.spdx.json", "web.img artifact, web.spdx.json sbom, SHA256SUMS checksums", ""},
		{"no checksums at all", map[string]string{"SHA256SUMS": "x"}, nil, "", "web.img artifact", "SHA256SUMS cannot be read"},
	}
	for _, tt := range tests {
		f := newFixture(t)
		f.write("web.img", web)
		signed := map[string]string{"web.img": web}
		for name, text := range tt.files {
			f.write(name, text)
			if slices.Contains(tt.sign, name) {
				signed[name] = text
			}
		}
		f.write("web.sigstore.json", f.bundle(signed))
		r, err := f.report(filepath.Join(f.dir, "web.img"), options())
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := strings.ReplaceAll(tt.want, "DIR", f.dir)
		if got := r.words(); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
		if got := r.files(); got != tt.found {
			t.Errorf("%s: files %q, want %q", tt.name, got, tt.found)
		}
		if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tt.note) || (notes == "") != (tt.note == "") {
			t.Errorf("%s: notes %q, want %q", tt.name, notes, tt.note)
		}
	}
}

func TestChangedCompanionFails(t *testing.T) {
	f := newFixture(t)
	f.write("web.img", "filesystem")
	f.write("web.spdx.json", "changed")
	f.write("web.sigstore.json", f.bundle(map[string]string{"web.img": "filesystem", "web.spdx.json": "{}"}))
	r, err := f.report(filepath.Join(f.dir, "web.img"), options())
	if err != nil || !strings.HasPrefix(r.words(), "changed: web.spdx.json (sha256:"+sum("changed")+") is not the one that was signed (sha256:"+sum("{}")+")") {
		t.Errorf("%v %v", r, err)
	}
}

func TestManifestHasToBeSigned(t *testing.T) {
	f := newFixture(t)
	f.write("web.img", "filesystem")
	f.write("manifest.json", manifestFor("/nowhere/web.img", "sha256:"+sum("filesystem")))
	f.write("web.sigstore.json", f.bundle(map[string]string{"web.img": "filesystem"}))
	r, err := f.report(filepath.Join(f.dir, "manifest.json"), options())
	if err != nil || r.files() != "web.img artifact, manifest.json manifest!" || !strings.Contains(r.words(), "subject: manifest.json (sha256:") {
		t.Errorf("%s, %v: %s", r.files(), err, r.words())
	}
}

func TestManifestIsFollowed(t *testing.T) {
	f := newFixture(t)
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "web.img"), []byte("filesystem"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := manifestFor(filepath.Join(elsewhere, "web.img"), "sha256:"+sum("filesystem"))
	f.write("manifest.json", text)
	f.write("manifest.json.sigstore.json", f.bundle(map[string]string{"web.img": "filesystem", "manifest.json": text}))
	r, err := f.report(filepath.Join(f.dir, "manifest.json"), options())
	if err != nil || !r.OK() || r.files() != "web.img artifact, manifest.json manifest" {
		t.Errorf("artifact at an absolute path: %+v, %v", r, err)
	}
	for url, want := range map[string]string{
		"relative/gone.img":        `"relative/gone.img" is no address that can be fetched`,
		"/nowhere/gone.img":        "gone.img",
		"https://10.0.0.1:1/x.img": "--offline excludes",
		"https://x.example/":       "names no file",
	} {
		f.write("manifest.json", manifestFor(url, ""))
		o := options()
		o.Offline = true
		if _, err := f.report(filepath.Join(f.dir, "manifest.json"), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestRemoteManifestLeadsToNoPrivateAddress(t *testing.T) {
	web := &web{base: mustURL(t, "https://plugins.example/dist/"), fetch: options().Fetch}
	f := &finder{Options: options(), found: &Found{}}
	for _, address := range []string{"https://10.0.0.1/web.img", "https://localhost/web.img", "http://169.254.169.254/web.img"} {
		p, name, err := f.follow(t.Context(), web, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.hash(t.Context(), p, name); !errors.Is(err, fetch.ErrRefused) {
			t.Errorf("%s: %v, want it refused", address, err)
		}
	}
	if _, _, err := f.follow(t.Context(), web, "file:///etc/passwd"); err == nil {
		t.Error("a file URL is followed")
	}
	for _, address := range []string{"/etc/passwd", "../../etc/passwd"} {
		// It is looked for beside the manifest, and nowhere on this machine.
		if p, _, err := (&finder{Options: options()}).follow(canceled(t), web, address); err == nil {
			t.Errorf("%s is followed to %v", address, p)
		}
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestChecksumsListWhatHasToBeThere(t *testing.T) {
	f := newFixture(t)
	text := manifestFor("/srv/web.img", "sha256:"+sum("other"))
	f.write("web.img", "filesystem")
	f.write("manifest.json", text)
	f.write("notes.txt", "notes")
	sums := sum("x") + "  gone.txt\n" + sum("other") + "  notes.txt\n" + sum(text) + "  manifest.json\n" + sum("filesystem") + "  web.img\n"
	f.write("SHA256SUMS", sums)
	f.write("web.intoto.jsonl", f.bundle(map[string]string{"web.img": "filesystem", "SHA256SUMS": sums, "manifest.json": text, "notes.txt": "notes"})+"\n")
	r, err := f.report(filepath.Join(f.dir, "SHA256SUMS"), options())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.files(), "web.img artifact, manifest.json manifest, notes.txt file, SHA256SUMS checksums"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	if got := r.words(); !strings.Contains(got, "SHA256SUMS lists gone.txt, which is not there") || !strings.Contains(got, `says checksum "sha256:`+sum("other")) || !strings.Contains(got, "says "+sum("other")+" of notes.txt, but the file has "+sum("notes")) || len(r.Problems) != 3 {
		t.Errorf("%s", got)
	}
}

func TestHostileFolders(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.write("web.img", "filesystem")
	if err := os.Symlink(secret, filepath.Join(f.dir, "web.spdx.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.report(filepath.Join(f.dir, "web.img"), options()); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link out of the folder: %v", err)
	}
	os.Remove(filepath.Join(f.dir, "web.spdx.json"))
	if err := syscall.Mkfifo(filepath.Join(f.dir, "web.sigstore.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.report(filepath.Join(f.dir, "web.img"), options()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a FIFO for a bundle: %v", err)
	}
	os.Remove(filepath.Join(f.dir, "web.sigstore.json"))
	// The user's own file may be a link.
	if err := os.Symlink(secret, filepath.Join(f.dir, "link.img")); err != nil {
		t.Fatal(err)
	}
	f.write("link.sigstore.json", f.bundle(map[string]string{"secret": "secret"}))
	if r, err := f.report(filepath.Join(f.dir, "link.img"), options()); err != nil || !r.OK() {
		t.Errorf("a link that the user names: %v", err)
	}
}

func TestBundlesThatAreGivenReplaceThoseBeside(t *testing.T) {
	f := newFixture(t)
	f.write("web.img", "filesystem")
	f.write("web.sigstore.json", f.bundle(map[string]string{"web.img": "filesystem"}))
	f.write("other.json", f.bundle(map[string]string{"other": "other"}))
	o := options()
	o.Bundles = []string{filepath.Join(f.dir, "other.json")}
	r, err := f.report(filepath.Join(f.dir, "web.img"), o)
	if err != nil || r.OK() || !strings.Contains(r.words(), "is not one of the 1 subjects of "+o.Bundles[0]) {
		t.Errorf("%v %v", r, err)
	}
	big, err := os.Create(filepath.Join(f.dir, "big.json"))
	if err != nil {
		t.Fatal(err)
	}
	big.Truncate(verify.MaxFile + 1)
	big.Close()
	o.Bundles = []string{big.Name()}
	var usage *UsageError
	if _, err := f.report(filepath.Join(f.dir, "web.img"), o); !errors.As(err, &usage) || !strings.Contains(err.Error(), "more than the limit of 67108864") {
		t.Errorf("a bundle past the limit: %v", err)
	}
}

func TestTokenGoesToTheAPIOnly(t *testing.T) {
	f := newFixture(t)
	s := ghtest.New(t, "o/r")
	s.SetToken("good")
	bundle := f.bundle(map[string]string{"web.img": "filesystem"})
	s.Add(ghtest.Release{Tag: "v1/x", Assets: []ghtest.Asset{{Name: "web.img", Content: []byte("filesystem")}, {Name: "web.sigstore.json", Content: []byte(bundle)}}})
	s.Attest("sha256:"+sum("filesystem"), true, []byte(bundle))
	o := options()
	o.BaseURL, o.Token, o.Repos = s.URL, "good", []string{"o/r"}
	r, err := f.report("https://github.com/o/r/releases/tag/v1/x", o)
	if err != nil || !r.OK() || len(r.Bundles) != 1 {
		t.Errorf("release: %v %v", r, err)
	}
	f.write("kept", "filesystem")
	r, err = f.report(filepath.Join(f.dir, "kept"), o)
	if err != nil || !r.OK() || r.Bundles[0].Source != "attestation 1 of o/r" {
		t.Errorf("attestation: %v %v", r, err)
	}
	downloads := 0
	for _, q := range s.Requests() {
		if q.Server == "download" {
			downloads++
		} else if q.Header.Get("Authorization") != "Bearer good" {
			t.Errorf("%s was asked without the token", q.Path)
		}
	}
	if downloads != 3 { // the server itself refuses those with a token
		t.Errorf("%d downloads, want 3", downloads)
	}
}

func TestHostileAnswersOfGitHub(t *testing.T) {
	f := newFixture(t)
	f.write("kept", "filesystem")
	for _, tt := range []struct{ body, want string }{
		{"<html>", "not what GitHub's API sends"},
		{`{"attestations":[{"bundle":null,"bundle_url":"https://10.0.0.1/x"}]}`, "refused"},
		{`{"attestations":[{"bundle":null,"bundle_url":"file:///etc/passwd"}]}`, "want a URL with a host"},
		{`{"attestations":[{"bundle":null,"bundle_url":"BASE/bomb"}]}`, "bytes uncompressed, the limit is 16777216"},
		{`{"attestations":[{"bundle":{"x":1}}]}`, ""},
	} {
		srv := httptest.NewServer(nil)
		srv.Config.Handler = handler(strings.ReplaceAll(tt.body, "BASE", srv.URL))
		o := options()
		o.BaseURL, o.Repos = srv.URL, []string{"o/r"}
		if strings.Contains(tt.body, "10.0.0.1") { // on the word of a public host
			o.BaseURL = srv.URL
			g := &github{fetch: o.Fetch, base: srv.URL, host: "api.github.com"}
			if _, err := g.attestations(t.Context(), "o/r", sum("x")); !errors.Is(err, fetch.ErrRefused) {
				t.Errorf("%s: %v", tt.body, err)
			}
			srv.Close()
			continue
		}
		r, err := f.report(filepath.Join(f.dir, "kept"), o)
		if tt.want == "" && (err != nil || !strings.Contains(r.words(), "format: attestation 1 of o/r: not a Sigstore bundle")) {
			t.Errorf("%s: %v %v", tt.body, r, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.body, err, tt.want)
		}
		srv.Close()
	}
}

func handler(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bomb" {
			w.Write([]byte{0x80, 0x80, 0x80, 0x80, 0x04, 0}) // Snappy: 1 GiB
			return
		}
		w.Write([]byte(body))
	})
}

func TestReleaseURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"https://github.com/o/r/releases/tag/v1":          "o/r v1",
		"https://github.com/o/r/releases/tag/a/b":         "o/r a/b",
		"https://github.com/o/r/releases/latest":          "o/r ",
		"https://github.com/o/r/releases/latest/":         "o/r ",
		"https://github.com/o/r/releases":                 "",
		"https://github.com/../x/releases/latest":         "",
		"https://github.com/o/r/releases/download/v1/x":   "",
		"https://github.com/o/r/releases/latest/download": "",
	} {
		got := ""
		if repo, tag, ok := releaseURL(mustURL(t, raw)); ok {
			got = repo + " " + tag
		}
		if got != want {
			t.Errorf("%s is %q, want %q", raw, got, want)
		}
	}
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNamesInURLs(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := map[string]string{"/dist v1/a b%2f#?.img": "token=secret", "/dist v1/other": ""}
		if query, ok := want[r.URL.Path]; !ok || query != r.URL.RawQuery {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte("x"))
	}))
	defer srv.Close()
	p, name, err := newWeb(options().Fetch, srv.URL+"/dist%20v1/a%20b%252f%23%3f.img?token=secret", "")
	if err != nil || name != "a b%2f#?.img" {
		t.Fatalf("%q, %v", name, err)
	}
	if data, err := bytesOf(t.Context(), p, name, 10); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := bytesOf(t.Context(), p, "other", 10); err != nil || string(data) != "x" {
		t.Errorf("beside it, without the query: %q, %v", data, err)
	}
	if where := p.where(name); strings.Contains(where, "secret") {
		t.Errorf("%s shows the query", where)
	}
	for _, bad := range []string{"https://x.example", "https://x.example/dir/", "https://u:p@x.example/a", "ftp://x.example/a", "https:///a"} {
		if _, _, err := newWeb(nil, bad, ""); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

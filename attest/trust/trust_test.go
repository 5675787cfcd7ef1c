package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// noNetwork fails the test when something is sent.
type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	n.t.Errorf("request of %s", req.URL)
	return nil, errors.New("no network")
}

// warnings keeps what was warned of.
type warnings []string

func (w *warnings) warn(err error) { *w = append(*w, err.Error()) }

// host is where a root's first certificate authority is; the tests tell roots
// apart by it.
func host(t *testing.T, r *Root) string {
	t.Helper()
	all := r.Material.FulcioCertificateAuthorities()
	if len(all) == 0 {
		t.Fatal("root without a certificate authority")
	}
	return all[0].(*root.FulcioCertificateAuthority).URI
}

// at is GitHub's root with another address.
func at(t *testing.T, host string) []byte {
	t.Helper()
	return bytes.ReplaceAll(embeddedFile(t, "github/trusted_root.json"), []byte("fulcio.githubapp.com"), []byte(host))
}

// whole are the targets of a repository with a root at an address.
func whole(t *testing.T, host string) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"trusted_root.json":                 at(t, host),
		"signing_config.v0.2.json":          embeddedFile(t, "public-good/signing_config.v0.2.json"),
		"signing_config_rekor_v2.v0.2.json": embeddedFile(t, "public-good/signing_config_rekor_v2.v0.2.json"),
	}
}

func TestOfflineSendsNothing(t *testing.T) {
	var warned warnings
	o := Options{Offline: true, CacheDir: t.TempDir(), Transport: noNetwork{t}, Warn: warned.warn}
	good, err := PublicGood(t.Context(), o)
	must(t, err)
	hub, err := GitHub(t.Context(), o)
	must(t, err)
	if len(good.Material.RekorLogs()) != 2 || len(good.Material.CTLogs()) != 2 || len(hub.Material.RekorLogs()) != 0 || len(hub.Material.TimestampingAuthorities()) != 6 {
		t.Error("not the logs and authorities that were expected")
	}
	if good.Name != "public-good" || hub.Name != "github" || len(warned) != 0 {
		t.Errorf("names %q %q, warnings %q", good.Name, hub.Name, warned)
	}
	if logs := good.Signing.RekorLogURLs(); len(logs) != 1 || logs[0].MajorAPIVersion != 1 {
		t.Errorf("public-good signs with %v, want Rekor v1 alone", logs)
	}
	o.RekorV2 = true
	good, err = PublicGood(t.Context(), o)
	must(t, err)
	if logs := good.Signing.RekorLogURLs(); len(logs) != 2 || logs[0].MajorAPIVersion != 2 {
		t.Errorf("public-good signs with %v when v2 is asked for", logs)
	}
	if len(hub.Signing.RekorLogURLs()) != 0 || len(hub.Signing.TimestampAuthorityURLs()) != 1 {
		t.Error("github signs with a log, or without a timestamp")
	}
}

// TestEmbeddedRootsHoldTogether checks every signature that ties the copies
// together, so that no byte of them can be wrong unseen.
func TestEmbeddedRootsHoldTogether(t *testing.T) {
	for _, in := range []instance{publicGood, github} {
		data, err := in.embedded("tuf_root.json")
		must(t, err)
		tufRoot, err := metadata.Root().FromBytes(data)
		must(t, err)
		if err := tufRoot.VerifyDelegate(metadata.ROOT, tufRoot); err != nil {
			t.Errorf("%s: TUF root: %v", in.name, err)
		}
		r, err := in.load(in.embedded, in.signing)
		must(t, err)
		for _, ca := range r.Material.FulcioCertificateAuthorities() {
			ca := ca.(*root.FulcioCertificateAuthority)
			chain(t, in.name, append(append([]*x509.Certificate{}, ca.Intermediates...), ca.Root))
		}
		for _, tsa := range r.Material.TimestampingAuthorities() {
			tsa := tsa.(*root.SigstoreTimestampingAuthority)
			chain(t, in.name, append(append([]*x509.Certificate{tsa.Leaf}, tsa.Intermediates...), tsa.Root))
		}
		must(t, r.Usable(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)))
	}
}

func chain(t *testing.T, name string, certs []*x509.Certificate) {
	t.Helper()
	for i, cert := range certs {
		issuer := certs[min(i+1, len(certs)-1)]
		if err := cert.CheckSignatureFrom(issuer); err != nil {
			t.Errorf("%s: %s by %s: %v", name, cert.Subject, issuer.Subject, err)
		}
	}
}

// TestReadmeNamesEveryEmbeddedFile keeps the list of where they come from true.
func TestReadmeNamesEveryEmbeddedFile(t *testing.T) {
	readme := string(embeddedFile(t, "README.md"))
	must(t, fs.WalkDir(embedded, "embedded", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "README.md" {
			return err
		}
		data, err := embedded.ReadFile(path)
		sum := sha256.Sum256(data)
		row := "| `" + strings.TrimPrefix(path, "embedded/") + "` | `" + hex.EncodeToString(sum[:]) + "` |"
		if !strings.Contains(readme, row) {
			t.Errorf("README.md has no row that begins with %s", row)
		}
		return err
	}))
}

func TestTUFGivesTheNewestRootAndTheCacheKeepsIt(t *testing.T) {
	repo := newRepository(t, whole(t, "new.test"))
	in := repo.instance(at(t, "old.test"))
	var warned warnings
	o := Options{CacheDir: t.TempDir(), Warn: warned.warn}
	r, err := in.root(t.Context(), o)
	must(t, err)
	if host(t, r) != "new.test" || r.Signing == nil || len(warned) != 0 {
		t.Errorf("root at %s, warnings %q", host(t, r), warned)
	}

	asked := len(repo.asked)
	o.Offline, o.Transport = true, noNetwork{t}
	r, err = in.root(t.Context(), o)
	must(t, err)
	if host(t, r) != "new.test" || len(repo.asked) != asked {
		t.Errorf("offline: root at %s, %d requests", host(t, r), len(repo.asked)-asked)
	}

	o.CacheDir = ""
	r, err = in.root(t.Context(), o)
	must(t, err)
	if host(t, r) != "old.test" || len(warned) != 0 {
		t.Errorf("offline without a cache: root at %s, warnings %q", host(t, r), warned)
	}
}

func TestTUFWithoutACacheWritesNothing(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(home)
	t.Setenv("TUF_ROOT", filepath.Join(home, "elsewhere"))
	repo := newRepository(t, whole(t, "new.test"))
	r, err := repo.instance(at(t, "old.test")).root(t.Context(), Options{})
	must(t, err)
	if host(t, r) != "new.test" {
		t.Errorf("root at %s", host(t, r))
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestTUFFollowsARotatedRoot(t *testing.T) {
	repo := newRepository(t, whole(t, "new.test"))
	in := repo.instance(at(t, "old.test"))
	next := newKey(t)
	repo.rootKeys = append(repo.rootKeys, next)
	repo.root.Signed.Version++
	repo.addKey(next, metadata.ROOT)
	repo.online = newKey(t)
	for _, role := range []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		must(t, repo.root.Signed.RevokeKey(repo.root.Signed.Roles[role].KeyIDs[0], role))
		repo.addKey(repo.online, role)
	}
	repo.publishRoot()
	repo.publish()
	var warned warnings
	r, err := in.root(t.Context(), Options{Warn: warned.warn})
	must(t, err)
	if host(t, r) != "new.test" {
		t.Errorf("root at %s, warnings %q", host(t, r), warned)
	}
}

// TestWhatTUFDoesNotVouchForIsNotUsed breaks repositories. Each time the root must be the
// one fledge came with, or that of the cache, and a warning must say why.
func TestWhatTUFDoesNotVouchForIsNotUsed(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	tests := []struct {
		name   string
		spoil  func(*testing.T, *repository)
		reason string
	}{
		{"expired timestamp", func(_ *testing.T, r *repository) { r.expires = past; r.publish() }, "expired"},
		{"expired root", func(_ *testing.T, r *repository) {
			r.root.Signed.Version++
			r.root.Signed.Expires = past
			r.publishRoot()
		}, "expired"},
		{"root of another key", func(t *testing.T, r *repository) {
			r.root.Signed.Version++
			must(t, r.root.Signed.RevokeKey(r.root.Signed.Roles[metadata.ROOT].KeyIDs[0], metadata.ROOT))
			r.rootKeys = []ed25519.PrivateKey{newKey(t)}
			r.addKey(r.rootKeys[0], metadata.ROOT)
			r.publishRoot()
		}, "root"},
		{"targets of another key", func(t *testing.T, r *repository) { r.online = newKey(t); r.publish() }, "timestamp"},
		{"another file than its digest", func(_ *testing.T, r *repository) {
			for name := range r.files {
				if strings.HasSuffix(name, ".trusted_root.json") {
					r.files[name] = bytes.Replace(r.files[name], []byte("new.test"), []byte("bad.test"), 1)
				}
			}
		}, "hash"},
		{"a target that is missing", func(_ *testing.T, r *repository) { delete(r.targets, "trusted_root.json"); r.publish() }, "trusted_root.json"},
		{"a root that is none", func(_ *testing.T, r *repository) { r.targets["trusted_root.json"] = []byte(`{}`); r.publish() }, "not a trusted root"},
		{"a root of nothing", func(_ *testing.T, r *repository) {
			r.targets["trusted_root.json"] = []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
			r.publish()
		}, "nothing can be verified with it"},
		{"a web page", func(_ *testing.T, r *repository) { r.put("timestamp.json", []byte("<html>busy</html>")) }, "invalid character '<'"},
		{"a file without end", func(_ *testing.T, r *repository) { r.put("timestamp.json", make([]byte, 1<<20)) }, "larger than 16384 bytes"},
		{"nothing", func(_ *testing.T, r *repository) { clear(r.files) }, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			repo := newRepository(t, whole(t, "new.test"))
			in := repo.instance(at(t, "old.test"))
			tt.spoil(t, repo)
			var warned warnings
			r, err := in.root(t.Context(), Options{CacheDir: t.TempDir(), Warn: warned.warn})
			must(t, err)
			if host(t, r) != "old.test" {
				t.Errorf("root at %s, want the embedded one", host(t, r))
			}
			if len(warned) == 0 || !strings.Contains(warned[0], tt.reason) || !strings.HasPrefix(warned[0], "refreshing the trusted root of test: ") {
				t.Errorf("warnings %q, want one with %q", warned, tt.reason)
			}
		})
	}
}

func TestARolledBackRepositoryLeavesTheCachedRoot(t *testing.T) {
	repo := newRepository(t, whole(t, "first.test"))
	in := repo.instance(at(t, "old.test"))
	first := map[string][]byte{}
	for name, data := range repo.files {
		first[name] = data
	}
	repo.version, repo.targets = 2, whole(t, "second.test")
	repo.publish()
	o := Options{CacheDir: t.TempDir()}
	r, err := in.root(t.Context(), o)
	must(t, err)
	if host(t, r) != "second.test" {
		t.Fatalf("root at %s", host(t, r))
	}
	repo.files = first
	var warned warnings
	o.Warn = warned.warn
	r, err = in.root(t.Context(), o)
	must(t, err)
	if host(t, r) != "second.test" || len(warned) != 1 || !strings.Contains(warned[0], "version") {
		t.Errorf("root at %s, warnings %q", host(t, r), warned)
	}
}

func TestAnExpiredOrSpoiltCacheIsNotUsed(t *testing.T) {
	for _, how := range []string{"expired", "spoilt"} {
		repo := newRepository(t, whole(t, "new.test"))
		in := repo.instance(at(t, "old.test"))
		o := Options{CacheDir: t.TempDir()}
		_, err := in.root(t.Context(), o)
		must(t, err)
		if how == "expired" {
			repo.expires = time.Now().Add(-time.Minute)
			repo.publish()
		}
		must(t, filepath.WalkDir(o.CacheDir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if name := d.Name(); how == "expired" && (name == "timestamp.json" || name == "snapshot.json" || name == "targets.json") {
				if name != "timestamp.json" {
					name = "1." + name
				}
				return os.WriteFile(path, repo.files[name], 0o600)
			} else if how == "spoilt" && name == "trusted_root.json" {
				return os.WriteFile(path, at(t, "bad.test"), 0o600)
			}
			return nil
		}))
		var warned warnings
		o.Offline, o.Transport, o.Warn = true, noNetwork{t}, warned.warn
		r, err := in.root(t.Context(), o)
		must(t, err)
		if host(t, r) != "old.test" || len(warned) != 1 || !strings.Contains(warned[0], "reading the cached trusted root of test: ") {
			t.Errorf("%s: root at %s, warnings %q", how, host(t, r), warned)
		}
	}
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	repo := newRepository(t, whole(t, "new.test"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := repo.instance(at(t, "old.test")).root(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestFileReadsOneRoot(t *testing.T) {
	line, err := Lines(&Root{Name: "x", JSON: embeddedFile(t, "github/trusted_root.json")})
	must(t, err)
	if !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("Lines gave %q", line)
	}
	config := write(t, "signing.json", embeddedFile(t, "public-good/signing_config.v0.2.json"))
	for name, data := range map[string][]byte{"a.json": embeddedFile(t, "github/trusted_root.json"), "b.jsonl": line, "c.JSONL": append([]byte("\n"), line...)} {
		r, err := File(write(t, name, data), config)
		must(t, err)
		if host(t, r) != "fulcio.githubapp.com" || r.Signing == nil || !strings.Contains(r.Name, name) {
			t.Errorf("%s: root %q at %s", name, r.Name, host(t, r))
		}
		again, err := r.Line()
		must(t, err)
		if !bytes.Equal(again, line) {
			t.Errorf("%s: Line differs from what was read", name)
		}
	}
	r, err := File(write(t, "a.json", line), "")
	must(t, err)
	if r.Signing != nil {
		t.Error("a signing config out of nothing")
	}
}

// TestASigningConfigMayNameNoService takes what "cosign signing-config create" makes
// when it is told of no service: keys sign without any.
func TestASigningConfigMayNameNoService(t *testing.T) {
	config := write(t, "none.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}`))
	r, err := File(write(t, "r.json", embeddedFile(t, "github/trusted_root.json")), config)
	must(t, err)
	if len(r.Signing.RekorLogURLs())+len(r.Signing.TimestampAuthorityURLs()) != 0 {
		t.Error("services out of nothing")
	}
}

func TestFilesKeepsRootsApart(t *testing.T) {
	good, err := PublicGood(t.Context(), Options{Offline: true})
	must(t, err)
	hub, err := GitHub(t.Context(), Options{Offline: true})
	must(t, err)
	data, err := Lines(good, hub)
	must(t, err)
	path := write(t, "both.jsonl", data)
	all, err := Files(path)
	must(t, err)
	if len(all) != 2 || len(all[0].Material.RekorLogs()) != 2 || len(all[1].Material.RekorLogs()) != 0 || all[1].Name != path+":2" {
		t.Errorf("read %d roots", len(all))
	}
	if _, err := File(path, ""); err == nil || !strings.Contains(err.Error(), "2 roots in one file") {
		t.Errorf("File of two roots: %v", err)
	}
	line, err := hub.Line()
	must(t, err)
	if _, err := Files(write(t, "most.jsonl", bytes.Repeat(line, MaxRoots))); err != nil {
		t.Errorf("%d roots: %v", MaxRoots, err)
	}
	if _, err := Files(write(t, "more.jsonl", bytes.Repeat(line, MaxRoots+1))); err == nil || !strings.Contains(err.Error(), "more than 32 roots") {
		t.Errorf("%d roots: %v", MaxRoots+1, err)
	}
}

func TestFileSaysWhatIsWrong(t *testing.T) {
	const trusted = `"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"`
	const signing = `"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"`
	large := append([]byte("{"+trusted+"}"), bytes.Repeat([]byte(" "), MaxFile)...)
	good := string(embeddedFile(t, "github/trusted_root.json"))
	tests := []struct{ name, file, root, signing, want string }{
		{"empty", "r.json", "", "", "the file is empty"},
		{"empty lines", "r.jsonl", "\n\n", "", "the file is empty"},
		{"no JSON", "r.json", "trust me", "", "not JSON"},
		{"the other file", "r.json", "{" + signing + "}", "", `not a trusted root: mediaType is "application/vnd.dev.sigstore.signingconfig.v0.2+json"`},
		{"nothing in it", "r.json", "{" + trusted + "}", "", "no certificate authority, log or timestamp authority"},
		{"unknown field", "r.json", "{" + trusted + `,"x":1}`, "", "unknown field"},
		{"second line broken", "r.jsonl", strings.ReplaceAll(good, "\n", "") + "\n{", "", "line 2: not JSON"},
		{"large", "r.json", string(large), "", fmt.Sprintf("larger than %d bytes", MaxFile)},
		{"signing config empty", "r.json", good, " ", "the file is empty"},
		{"signing config is a root", "r.json", good, good, "not a signing config"},
		{"log without a selector", "r.json", good, "{" + signing + `,"rekorTlogUrls":[{"url":"https://x"}]}`, "rekorTlogUrls without rekorTlogConfig"},
		{"timestamps without a selector", "r.json", good, "{" + signing + `,"tsaUrls":[{"url":"https://x"}]}`, "tsaUrls without tsaConfig"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := ""
			if tt.signing != "" {
				config = write(t, "s.json", []byte(tt.signing))
			}
			_, err := File(write(t, tt.file, []byte(tt.root)), config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := File("/does/not/exist", ""); !errors.Is(err, fs.ErrNotExist) || err.Error() != `reading trusted root "/does/not/exist": no such file or directory` {
		t.Errorf("error %v", err)
	}
	exact := append([]byte(good), bytes.Repeat([]byte(" "), MaxFile-len(good))...)
	if _, err := File(write(t, "exact.json", exact), ""); err != nil {
		t.Errorf("a file of %d bytes: %v", MaxFile, err)
	}
}

func TestUsableKnowsWhenARootEnds(t *testing.T) {
	r, err := parse("r", embeddedFile(t, "github/trusted_root.json"))
	must(t, err)
	for when, want := range map[string]string{
		"2023-01-01": "trusted root r is not valid before 2026-06-12: check this machine's clock",
		"2024-01-01": "",
		"2026-12-01": "",
		"2034-01-01": "trusted root r is expired: its last certificate authority ended on 2033-08-04; get a newer one",
	} {
		at, err := time.Parse(time.DateOnly, when)
		must(t, err)
		if got := r.Usable(at); fmt.Sprint(got) != want && (got != nil || want != "") {
			t.Errorf("on %s: %v, want %q", when, got, want)
		}
	}
	none, err := parse("none", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","timestampAuthorities":`+
		string(between(t, embeddedFile(t, "github/trusted_root.json"), `"timestampAuthorities": `))))
	must(t, err)
	if err := none.Usable(time.Now()); err == nil || !strings.Contains(err.Error(), "no certificate authority") {
		t.Errorf("error %v", err)
	}
}

func between(t *testing.T, data []byte, after string) []byte {
	t.Helper()
	_, rest, ok := bytes.Cut(data, []byte(after))
	if !ok {
		t.Fatalf("no %q", after)
	}
	return rest
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestRefreshRenewsFilesAndTheirDigests(t *testing.T) {
	repo := newRepository(t, whole(t, "new.test"))
	in := repo.instance(at(t, "old.test"))
	next := newKey(t)
	repo.rootKeys = append(repo.rootKeys, next)
	repo.root.Signed.Version++
	repo.addKey(next, metadata.ROOT)
	repo.publishRoot()

	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "test"), 0o700))
	readme := ""
	for _, name := range in.names() {
		data, err := in.embedded(name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "test", name), data, 0o600))
		readme += fmt.Sprintf("%s %x\n", name, sha256.Sum256(data))
	}
	must(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte(readme), 0o600))

	renewed, err := refresh(t.Context(), dir, Options{}, in)
	must(t, err)
	if got := strings.Join(renewed, " "); got != "test/tuf_root.json test/trusted_root.json" {
		t.Errorf("renewed %q", got)
	}
	data, err := os.ReadFile(filepath.Join(dir, "test/tuf_root.json"))
	must(t, err)
	if !bytes.Equal(data, repo.files["2.root.json"]) {
		t.Error("the TUF root is not the newest")
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	must(t, err)
	if want := fmt.Sprintf("trusted_root.json %x\n", sha256.Sum256(at(t, "new.test"))); !strings.Contains(string(text), want) {
		t.Errorf("README.md is\n%swithout %q", text, want)
	}
	renewed, err = refresh(t.Context(), dir, Options{}, in)
	if err != nil || len(renewed) != 0 {
		t.Errorf("renewed %q a second time, %v", renewed, err)
	}

	repo.put("timestamp.json", nil)
	if _, err := refresh(t.Context(), dir, Options{}, in); err == nil {
		t.Error("a broken repository renews files")
	}
}

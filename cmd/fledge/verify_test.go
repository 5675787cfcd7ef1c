package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/bundletest"
	"github.com/volant/fledge-action/internal/ghtest"
)

// sigstores are the Sigstore and the keys of one script.
type sigstores struct {
	*bundletest.Stack
	key *bundletest.Key
}

// scriptSigstore makes a Sigstore: public.json and private.json are its trusted roots,
// with and without logs, fledge.pub and other.pub public keys.
func scriptSigstore(ts *testscript.TestScript, _ bool, _ []string) {
	t := scriptT(ts)
	s := &sigstores{bundletest.New(t), bundletest.NewKey(t)}
	*ts.Value("sigstore").(*sigstores) = *s
	for name, data := range map[string][]byte{
		"public.json": s.Root(t, "public", bundletest.Public).JSON, "private.json": s.Root(t, "private", bundletest.Private).JSON,
		"fledge.pub": s.key.Public, "other.pub": bundletest.NewKey(t).Public, "fledge.key": s.key.Private(t),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o644))
	}
	ts.Setenv("HINT", s.key.Hint)
}

// scriptAttest makes a bundle.
func scriptAttest(ts *testscript.TestScript, _ bool, args []string) {
	t, s := scriptT(ts), ts.Value("sigstore").(*sigstores)
	out, kind, files := ts.MkAbs(args[0]), args[1], args[2:]
	var subjects []statement.Subject
	for _, name := range files {
		f, err := os.Open(ts.MkAbs(name))
		ts.Check(err)
		subject, err := statement.Digest(t.Context(), filepath.Base(name), f)
		ts.Check(err)
		ts.Check(f.Close())
		subjects = append(subjects, subject)
	}
	how := bundletest.Signed{Leaf: bundletest.Leaf{Claims: bundletest.Claims()}, Log: true, TSA: true}
	claims := how.Leaf.Claims
	switch kind {
	case "private":
		how.Log, how.Leaf.SCT = false, bundletest.NoSCT
	case "eve":
		how.Leaf.Claims.Repository, how.Leaf.Claims.JobWorkflowRef = "eve/r", "eve/r/.github/workflows/x.yml@refs/heads/main"
		claims = how.Leaf.Claims
	case "reusable":
		how.Leaf.Claims.JobWorkflowRef = "volant/fledge-action/.github/workflows/build.yml@refs/tags/v1"
		claims = how.Leaf.Claims
	case "contradiction":
		claims.RunID = "1"
	case "hostile":
		how.Leaf.Identity = "https://github.com/o/r/.github/workflows/%1b[2J.yml@refs/heads/main"
	}
	st, err := statement.Provenance(claims, subjects)
	switch kind {
	case "build", "key":
		st, err = statement.Build(statement.Record{
			Fledge: statement.Program{Version: "1.2.3", SHA256: strings.Repeat("f", 64)}, Config: statement.File{Name: "fledge.toml", SHA256: strings.Repeat("c", 64)},
			Strategy: "oci_rootfs", Format: "ext4", Platform: "linux/amd64", Epoch: 1700000000,
			Dependencies: []statement.Dependency{{Name: "image", URI: "pkg:oci/nginx", Digest: map[string]string{"sha256": strings.Repeat("1", 64)}}},
		}, subjects)
	case "sbom":
		st, err = statement.SBOM([]byte(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}`), subjects)
	}
	ts.Check(err)
	payload, err := st.Encode()
	ts.Check(err)
	bundle := s.signed(ts, kind, payload, how)
	if strings.HasSuffix(out, ".jsonl") { // a line more
		before, err := os.ReadFile(out)
		if err != nil && !os.IsNotExist(err) {
			ts.Check(err)
		}
		bundle = append(append(before, bundle...), '\n')
	}
	ts.Check(os.WriteFile(out, bundle, 0o644))
}

func (s *sigstores) signed(ts *testscript.TestScript, kind string, payload []byte, how bundletest.Signed) []byte {
	if kind == "key" {
		return s.key.Sign(scriptT(ts), payload, s.key.Hint)
	}
	return s.Sign(scriptT(ts), payload, how)
}

// scriptSums writes SHA256SUMS of files.
func scriptSums(ts *testscript.TestScript, _ bool, args []string) {
	var subjects []statement.Subject
	for _, name := range args[1:] {
		subjects = append(subjects, statement.Subject{Name: filepath.Base(name), Digest: map[string]string{"sha256": digest(ts, name)}})
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), statement.Sums(subjects), 0o644))
}

// scriptManifest writes a manifest.json about an artifact.
func scriptManifest(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.NewReplacer("URL", args[1], "SUM", digest(ts, args[2])).Replace(`{
  "schema_version": "1.0", "name": "web", "version": "1.0.0", "runtime": "web", "enabled": true,
  "rootfs": {"url": "URL", "checksum": "sha256:SUM", "format": "raw"},
  "resources": {"cpu_cores": 1, "memory_mb": 64},
  "workload": {"type": "http", "entrypoint": ["/bin/web"], "base_url": "http://127.0.0.1:80"}
}
`)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// scriptWeb serves a folder at $WEB, and scriptRelease one as a release of o/r at
// $GITHUB_API.
func scriptWeb(ts *testscript.TestScript, _ bool, args []string) {
	srv := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	scriptT(ts).Cleanup(srv.Close)
	ts.Setenv("WEB", srv.URL)
}

func scriptRelease(ts *testscript.TestScript, _ bool, args []string) {
	t := scriptT(ts)
	s := ghtest.New(t, "o/r")
	s.SetToken("good")
	rel := ghtest.Release{Tag: "v1"}
	files, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), f.Name()))
		ts.Check(err)
		rel.Assets = append(rel.Assets, ghtest.Asset{Name: f.Name(), Content: data})
	}
	s.Add(rel)
	for i := 1; i+1 < len(args); i += 2 { // FILE BUNDLE
		bundle, err := os.ReadFile(ts.MkAbs(args[i+1]))
		ts.Check(err)
		s.Attest("sha256:"+digest(ts, args[i]), i > 1, bundle)
	}
	ts.Setenv("GITHUB_API", s.URL)
}

// scriptFlip changes the character in the middle of the base64 that stands behind a text, to
// another one of base64.
func scriptFlip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	from := bytes.Index(data, []byte(args[1]))
	if from < 0 {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	from += len(args[1])
	at := from + bytes.IndexByte(data[from:], '"')/2
	other := byte('A')
	if data[at] == other {
		other = 'B'
	}
	data[at] = other
	ts.Logf("%s: %s at %d", args[0], hex.EncodeToString(data[at:at+1]), at)
	ts.Check(os.WriteFile(name, data, 0o644))
}

// TestVerifyOfALargeImageNeedsLittleMemory verifies a sparse image of 1 GiB, named by a
// path and by a URL.
func TestVerifyOfALargeImageNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: hashes 2 GiB and measures memory; run without -short")
	}
	dir := t.TempDir()
	image, err := os.Create(filepath.Join(dir, "web.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if err := image.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	subject, err := statement.Digest(t.Context(), "web.img", image)
	if err != nil {
		t.Fatal(err)
	}
	st, err := statement.Provenance(bundletest.Claims(), []statement.Subject{subject})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := bundletest.New(t)
	how := bundletest.Signed{Leaf: bundletest.Leaf{Claims: bundletest.Claims()}, Log: true, TSA: true}
	for name, data := range map[string][]byte{"web.sigstore.json": s.Sign(t, payload, how), "root.json": s.Root(t, "", bundletest.Public).JSON} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	for _, target := range []string{"web.img", srv.URL + "/web.img"} {
		peak := runAndWatch(t, command(t, dir, "verify", target, "--repo", "o/r", "--trusted-root", "root.json"))
		t.Logf("%s: peak memory %d MiB", target, peak>>20)
		if peak == 0 || peak > 64<<20 {
			t.Errorf("%s: peak memory %d bytes, want at most %d", target, peak, 64<<20)
		}
	}
}

// TestAttestOfALargeImageNeedsLittleMemory signs a sparse image of 1 GiB.
func TestAttestOfALargeImageNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: hashes 1 GiB and measures memory; run without -short")
	}
	dir := t.TempDir()
	makePlugin(t, dir)
	artifact, manifest := filepath.Join(dir, "web.cpio.gz"), filepath.Join(dir, "manifest.json")
	digestNow := func() string {
		f, err := os.Open(artifact)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		subject, err := statement.Digest(t.Context(), "web.cpio.gz", f)
		if err != nil {
			t.Fatal(err)
		}
		return subject.SHA256()
	}
	before := digestNow()
	if err := os.Truncate(artifact, 1<<30); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	key := bundletest.NewKey(t)
	for name, data := range map[string][]byte{
		"manifest.json": bytes.ReplaceAll(text, []byte(before), []byte(digestNow())),
		"web.spdx.json": []byte(`{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"}`),
		"key.pem":       key.Private(t),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	peak := runAndWatch(t, command(t, dir, "attest", "web.cpio.gz", "--key", "key.pem"))
	t.Logf("peak memory %d MiB", peak>>20)
	if peak == 0 || peak > 64<<20 {
		t.Errorf("peak memory %d bytes, want at most %d", peak, 64<<20)
	}
	if _, err := os.Stat(filepath.Join(dir, "web.sigstore.json")); err != nil {
		t.Error(err)
	}
}

// scriptRecord makes a bundle with the build record of what 'fledge build --json' has
// told, signed with the script's key.
func scriptRecord(ts *testscript.TestScript, _ bool, args []string) {
	var built struct {
		Artifact  struct{ Path, Format, Digest string }
		Epoch     int64
		Materials []struct{ Name, URI, Digest, Version string }
	}
	text, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(json.Unmarshal(text, &built))
	if len(args) > 3 { // another file, which the build is said to have made
		built.Artifact.Path, built.Artifact.Digest = args[3], digest(ts, args[3])
	}
	rec := statement.Record{
		Fledge: statement.Program{Version: args[2], SHA256: strings.Repeat("f", 64)}, Strategy: "oci_rootfs", Platform: "linux/amd64",
		Format: built.Artifact.Format, Epoch: built.Epoch,
	}
	for _, m := range built.Materials {
		sum := strings.TrimPrefix(m.Digest, "sha256:")
		if m.Name == "config" {
			rec.Config = statement.File{Name: m.URI, SHA256: sum}
			continue
		}
		d := statement.Dependency{Name: m.Name, Digest: map[string]string{"sha256": sum}, Version: m.Version}
		if strings.HasPrefix(m.URI, "http") {
			d.URI = m.URI
		}
		rec.Dependencies = append(rec.Dependencies, d)
	}
	st, err := statement.Build(rec, []statement.Subject{{
		Name: filepath.Base(built.Artifact.Path), Digest: map[string]string{"sha256": strings.TrimPrefix(built.Artifact.Digest, "sha256:")},
	}})
	ts.Check(err)
	payload, err := st.Encode()
	ts.Check(err)
	s := ts.Value("sigstore").(*sigstores)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), s.key.Sign(scriptT(ts), payload, s.key.Hint), 0o644))
}

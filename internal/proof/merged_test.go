package proof

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/manifest"
)

// mergedFolder makes a folder of the plugins a.img and b.img as package merge leaves it.
func mergedFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var subjects []statement.Subject
	put := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, known(name, sha(data)))
	}
	for _, name := range []string{"a", "b"} {
		m := manifest.Manifest{Name: name, Version: "1", Rootfs: &manifest.Rootfs{URL: "/srv/" + name + ".img", Checksum: "sha256:" + sha("image "+name)}}
		text, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		rec, err := record().Encode()
		if err != nil {
			t.Fatal(err)
		}
		put(name+".img", "image "+name)
		put(name+".manifest.json", string(text))
		put(name+".build.json", string(rec))
	}
	put("SHA256SUMS", string(statement.Sums(subjects)))
	return dir
}

func find(t *testing.T, dir string, artifacts ...string) []Set {
	t.Helper()
	var all []Set
	for _, name := range artifacts {
		s, err := Find(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestManifestOfAnArtifactAmongOthers(t *testing.T) {
	dir := mergedFolder(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	if got := Manifest(at("a.img")); got != at("a.manifest.json") {
		t.Errorf("alone: %s", got)
	}
	os.Link(at("b.manifest.json"), at("manifest.json"))
	if got := Manifest(at("a.img")); got != at("a.manifest.json") {
		t.Errorf("beside manifest.json: %s", got)
	}
	for _, template := range []string{`{`, `{"name":"a"}`, `{"rootfs":{"url":"/srv/a.img"}}`, `{"rootfs":{"url":"/srv/c.img","checksum":"sha256:x"}}`} {
		os.WriteFile(at("a.manifest.json"), []byte(template), 0o644)
		if got := Manifest(at("a.img")); got != at("manifest.json") {
			t.Errorf("beside the template %s: %s", template, got)
		}
	}
}

func TestChecksumsOfSeveralPluginsStayAndAreSignedWithEach(t *testing.T) {
	dir := mergedFolder(t)
	before, _ := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	sig := &signer{}
	for range 2 { // again
		signed, err := (&Plan{signer: sig}).SignAll(t.Context(), find(t, dir, "a.img", "b.img"))
		if err != nil || len(signed) != 2 {
			t.Fatalf("%d signed, %v", len(signed), err)
		}
	}
	after, _ := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if string(after) != string(before) {
		t.Errorf("SHA256SUMS was\n%s, and is\n%s", before, after)
	}
	for i, payload := range sig.payloads[:2] {
		st, err := statement.Decode([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range st.Subject {
			names = append(names, s.Name)
		}
		name := []string{"a", "b"}[i]
		if got, want := strings.Join(names, " "), "SHA256SUMS X.build.json X.img X.manifest.json"; got != strings.ReplaceAll(want, "X", name) {
			t.Errorf("statement %d has the subjects %s", i, got)
		}
		if st.Subject[0].SHA256() != sha(string(before)) {
			t.Errorf("statement %d is about another SHA256SUMS", i)
		}
	}
}

func TestSignAllChecksEverythingFirst(t *testing.T) {
	tests := map[string]struct {
		change    func(dir string)
		artifacts []string
		want      string
	}{
		"a file that changed":      {func(dir string) { os.WriteFile(filepath.Join(dir, "b.img"), []byte("x"), 0o644) }, []string{"a.img", "b.img"}, "b.manifest.json is about an artifact with checksum"},
		"a file that is not in it": {func(dir string) { os.WriteFile(filepath.Join(dir, "b.spdx.json"), []byte(spdx), 0o644) }, []string{"a.img", "b.img"}, "does not list b.spdx.json; run 'fledge release merge' again"},
		"no checksums":             {func(dir string) { os.Remove(filepath.Join(dir, "SHA256SUMS")) }, []string{"a.img", "b.img"}, "are in one folder without a SHA256SUMS that lists both"},
		"one artifact twice":       {func(string) {}, []string{"a.img", "a.img"}, "would be signed in one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := mergedFolder(t)
			tt.change(dir)
			sig := &signer{}
			_, err := (&Plan{signer: sig}).SignAll(t.Context(), find(t, dir, tt.artifacts...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if len(sig.payloads) > 0 || strings.Contains(list(t, dir), "sigstore") {
				t.Errorf("%d statements were signed, the folder has %s", len(sig.payloads), list(t, dir))
			}
		})
	}
}

func TestSignAllTellsWhatIsSigned(t *testing.T) {
	dir := mergedFolder(t)
	signed, err := (&Plan{signer: &signer{failAt: 2}}).SignAll(t.Context(), find(t, dir, "a.img", "b.img"))
	if err == nil || len(signed) != 1 {
		t.Errorf("%d signed, %v", len(signed), err)
	}
	if got := list(t, dir); !strings.Contains(got, "a.sigstore.json") || strings.Contains(got, "b.sigstore.json") {
		t.Errorf("the folder has %s", got)
	}
}

func TestBuildsLeaveChecksumsOfSeveralPluginsAlone(t *testing.T) {
	dir := mergedFolder(t)
	artifact := filepath.Join(dir, "a.img")
	os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{}"), 0o644)
	before := list(t, dir)
	gone, err := Clear(t.Context(), artifact, "sha256:"+sha("other"))
	if err != nil || len(gone) > 0 || list(t, dir) != before {
		t.Errorf("removed %q (%v), left %s", gone, err, list(t, dir))
	}
	_, err = Write(t.Context(), artifact, "sha256:"+sha("other"), Documents{SBOM: &build.SBOM{Format: sbom.SPDX, Data: []byte(spdx)}, Record: record()})
	if err == nil || !strings.Contains(err.Error(), "is of several plugins and stays") || list(t, dir) != before {
		t.Errorf("got %v, left %s", err, list(t, dir))
	}
}

package proof

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/manifest"
)

const spdx = `{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "web"}`

// signer makes bundles that hold their payload, and fails at the nth.
type signer struct {
	payloads []string
	failAt   int
}

func (s *signer) Sign(_ context.Context, payload []byte) ([]byte, error) {
	s.payloads = append(s.payloads, string(payload))
	if len(s.payloads) == s.failAt {
		return nil, errors.New("transparency log unreachable for 10m0s")
	}
	return json.Marshal(map[string]string{"payload": string(payload)})
}

func sha(data string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(data))) }

// plugin writes an artifact and its manifest.
func plugin(t *testing.T, dir, content string) string {
	t.Helper()
	path := filepath.Join(dir, "web.img")
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Name: "web", Version: "1", Runtime: "web", Enabled: true,
		Rootfs:    &manifest.Rootfs{URL: path, Checksum: "sha256:" + sha(content), Format: "raw"},
		Resources: manifest.Resources{CPUCores: 1, MemoryMB: 64},
		Workload:  manifest.Workload{Type: "http", Entrypoint: []string{"/web"}, BaseURL: "http://127.0.0.1:80"},
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{path: content, filepath.Join(dir, "manifest.json"): string(text)} {
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func record() *statement.Record {
	return &statement.Record{
		Fledge: statement.Program{Version: "v1", SHA256: sha("fledge")}, Config: statement.File{Name: "fledge.toml", SHA256: sha("toml")},
		Strategy: "oci_rootfs", Format: "ext4", Platform: "linux/amd64", Epoch: 1,
	}
}

func written(t *testing.T, dir string) (Set, string) {
	t.Helper()
	artifact := plugin(t, dir, "image")
	s, err := Write(t.Context(), artifact, "sha256:"+sha("image"), Documents{SBOM: &build.SBOM{Format: sbom.SPDX, Data: []byte(spdx)}, Record: record()})
	if err != nil {
		t.Fatal(err)
	}
	return s, artifact
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestWrittenChecksumsAreThoseOfSha256sum(t *testing.T) {
	testneed.Tool(t, "sha256sum")
	dir := t.TempDir()
	written(t, dir)
	if got := list(t, dir); got != "SHA256SUMS manifest.json web.build.json web.img web.spdx.json" {
		t.Errorf("the folder holds %s", got)
	}
	cmd := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), ": OK\n") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEveryStatementHasTheSameSubjects(t *testing.T) {
	dir := t.TempDir()
	s, artifact := written(t, dir)
	sig := &signer{}
	claims := statement.Claims{
		Issuer: "https://token.actions.githubusercontent.com", Ref: "refs/tags/v1", SHA: strings.Repeat("a", 40), Repository: "o/r", EventName: "push",
		JobWorkflowRef: "o/r/.github/workflows/w.yml@refs/tags/v1", WorkflowRef: "o/r/.github/workflows/w.yml@refs/tags/v1",
		RepositoryID: "1", RepositoryOwnerID: "2", RunnerEnvironment: "github-hosted", RunID: "3", RunAttempt: "1",
	}
	found, err := Find(artifact)
	if err != nil || found != s {
		t.Fatalf("found %+v (%v), want %+v", found, err, s)
	}
	signed, err := (&Plan{signer: sig, claims: &claims}).Sign(t.Context(), found, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{statement.TypeProvenance, statement.TypeBuild, statement.TypeSPDX}; !slices.Equal(signed.Statements, want) {
		t.Errorf("statements %q, want %q", signed.Statements, want)
	}
	for _, payload := range sig.payloads {
		st, err := statement.Decode([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, sub := range st.Subject {
			names = append(names, sub.Name)
			data, err := os.ReadFile(filepath.Join(dir, sub.Name))
			if err != nil || sha(string(data)) != sub.SHA256() {
				t.Errorf("%s: digest %s is not the file's (%v)", sub.Name, sub.SHA256(), err)
			}
		}
		if got := strings.Join(names, " "); got != "SHA256SUMS manifest.json web.build.json web.img web.spdx.json" {
			t.Errorf("%s: subjects %s", st.PredicateType, got)
		}
	}
	one, _ := os.ReadFile(signed.Bundle)
	all, _ := os.ReadFile(signed.Bundles)
	lines := strings.SplitAfter(string(all), "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != string(one) || !strings.Contains(lines[0], statement.TypeProvenance) {
		t.Errorf("%s is not the first of the %d lines of %s", signed.Bundle, len(lines)-1, signed.Bundles)
	}
}

func TestAFailedSignatureLeavesWhatWasBuilt(t *testing.T) {
	dir := t.TempDir()
	s, _ := written(t, dir)
	before := list(t, dir)
	if _, err := (&Plan{signer: &signer{failAt: 2}}).Sign(t.Context(), s, ""); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Fatalf("got %v", err)
	}
	if got := list(t, dir); got != before {
		t.Errorf("the folder holds %s, before %s", got, before)
	}
	if _, err := (&Plan{signer: &signer{}}).Sign(t.Context(), s, ""); err != nil { // and it can be had later
		t.Error(err)
	}
}

func TestSignRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, s *Set)
		want   string
	}{
		"an artifact that changed": {func(t *testing.T, s *Set) { appendTo(t, s.Artifact) }, "manifest.json is about an artifact with checksum"},
		"an SBOM that changed":     {func(t *testing.T, s *Set) { appendTo(t, s.SBOM) }, "web.spdx.json has changed since it was built"},
		"a manifest that changed":  {func(t *testing.T, s *Set) { appendTo(t, s.Manifest) }, "manifest.json has changed since it was built"},
		"a record that is none": {func(t *testing.T, s *Set) {
			os.Remove(s.Sums())
			os.WriteFile(s.Record, []byte("{}"), 0o644)
		}, "web.build.json: decoding build record"},
		"an SBOM that is none": {func(t *testing.T, s *Set) {
			os.Remove(s.Sums())
			os.WriteFile(s.SBOM, []byte("{}"), 0o644)
		}, "web.spdx.json: making SBOM statement"},
		"nothing to say": {func(t *testing.T, s *Set) {
			os.Remove(s.Sums())
			s.SBOM, s.Record = "", ""
		}, "web.build.json is not beside it; build with --sbom spdx"},
		"checksums that are none": {func(t *testing.T, s *Set) { os.WriteFile(s.Sums(), []byte("?\n"), 0o644) }, "SHA256SUMS"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := written(t, dir)
			tt.change(t, &s)
			sig := &signer{}
			_, err := (&Plan{signer: sig}).Sign(t.Context(), s, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if len(sig.payloads) != 0 {
				t.Errorf("%d statements were signed", len(sig.payloads))
			}
		})
	}
}

func appendTo(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

func TestClearRemovesWhatNoLongerHolds(t *testing.T) {
	all := "SHA256SUMS manifest.json web.build.json web.img web.intoto.jsonl web.sigstore.json web.spdx.json"
	tests := map[string]struct {
		change func(dir string)
		now    string // the artifact's content
		left   string
	}{
		"the same build again":   {func(string) {}, "image", all},
		"another artifact":       {func(string) {}, "new image", "manifest.json web.img"},
		"another manifest":       {func(dir string) { os.WriteFile(filepath.Join(dir, "manifest.json"), nil, 0o644) }, "image", "manifest.json web.img"},
		"somebody's checksums":   {func(dir string) { os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sha("x")+"  other\n"), 0o644) }, "new image", all},
		"checksums that are bad": {func(dir string) { os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte("?"), 0o644) }, "new image", all},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, artifact := written(t, dir)
			if _, err := (&Plan{signer: &signer{}}).Sign(t.Context(), s, ""); err != nil {
				t.Fatal(err)
			}
			tt.change(dir)
			gone, err := Clear(t.Context(), artifact, "sha256:"+sha(tt.now))
			if err != nil {
				t.Fatal(err)
			}
			if got := list(t, dir); got != tt.left {
				t.Errorf("left %s, want %s", got, tt.left)
			}
			if want := len(strings.Fields(all)) - len(strings.Fields(tt.left)); len(gone) != want {
				t.Errorf("removed %q, want %d names", gone, want)
			}
		})
	}
}

// TestWriteDropsSignaturesOfOtherFiles: the artifact is the same, its SBOM is not.
func TestWriteDropsSignaturesOfOtherFiles(t *testing.T) {
	dir := t.TempDir()
	s, artifact := written(t, dir)
	if _, err := (&Plan{signer: &signer{}}).Sign(t.Context(), s, ""); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		record *statement.Record
		signed bool
	}{{record(), true}, {nil, false}} {
		d := Documents{SBOM: &build.SBOM{Format: sbom.SPDX, Data: []byte(spdx)}, Record: tt.record}
		if _, err := Write(t.Context(), artifact, "sha256:"+sha("image"), d); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(list(t, dir), "web.sigstore.json"); got != tt.signed {
			t.Errorf("the bundle is there: %v, want %v", got, tt.signed)
		}
	}
	d := Documents{SBOM: &build.SBOM{Format: sbom.CycloneDX, Data: []byte("{}")}, Record: record()}
	if _, err := Write(t.Context(), artifact, "sha256:"+sha("image"), d); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir); got != "SHA256SUMS manifest.json web.build.json web.cdx.json web.img" {
		t.Errorf("the folder holds %s", got)
	}
}

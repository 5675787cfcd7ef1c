package sigstoretest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/volant/fledge-action/attest/oidc"
	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/internal/sigstoretest"
)

// artifactName is the artifact of a release made here.
const artifactName = "plugin.cpio"

// The three statements of a release, by what they say.
var kinds = []string{"provenance", "build", "sbom"}

// A release is what a build leaves, and what is said of it.
type release struct {
	dir        string
	subjects   []statement.Subject
	statements map[string][]byte // by kind
}

// sha256Of is the digest that is in the statements.
func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// newRelease writes the files of a release into dir. They are of the right form, not
// the work of a build: it is the statements about them that are tried here.
func newRelease(t *testing.T, dir string, claims statement.Claims) *release {
	t.Helper()
	artifact := []byte("These bytes stand for an initramfs.\n")
	manifest := fmt.Sprintf(`{
  "schema_version": "1.0",
  "name": "plugin",
  "version": "1.2.3",
  "runtime": "plugin",
  "enabled": true,
  "initramfs": {
    "url": "https://github.com/octo-org/plugin/releases/download/v1.2.3/%s",
    "checksum": "sha256:%s"
  },
  "resources": {
    "cpu_cores": 1,
    "memory_mb": 256
  },
  "workload": {
    "type": "http",
    "entrypoint": ["/usr/bin/plugin"],
    "base_url": "http://127.0.0.1:80"
  }
}
`, artifactName, sha256Of(artifact))
	sbom := []byte(`{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"plugin","documentNamespace":"https://github.com/octo-org/plugin/sbom/1.2.3","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: fledge"]},"packages":[]}` + "\n")
	record := statement.Record{
		Fledge:   statement.Program{Version: "v1.0.0", SHA256: sha256Of([]byte("a fledge"))},
		Config:   statement.File{Name: "fledge.toml", SHA256: sha256Of([]byte("a fledge.toml"))},
		Strategy: "initramfs", Format: "cpio", Platform: "linux/amd64", Epoch: 1767225600,
		Dependencies: []statement.Dependency{
			{Name: "busybox", URI: "https://busybox.net/downloads/binaries/1.35.0-x86_64-linux-musl/busybox", Digest: map[string]string{"sha256": sha256Of([]byte("a busybox"))}},
			{Name: "mappings", Digest: map[string]string{"sha256": sha256Of([]byte("mapped files"))}},
		},
	}
	recordJSON, err := record.Encode()
	check(t, err)
	r := &release{dir: dir, statements: map[string][]byte{}}
	for _, f := range []struct {
		name string
		data []byte
	}{{artifactName, artifact}, {"manifest.json", []byte(manifest)}, {"plugin.spdx.json", sbom}, {"plugin.build.json", recordJSON}} {
		r.add(t, f.name, f.data)
	}
	r.add(t, "SHA256SUMS", statement.Sums(r.subjects))
	provenance, err := statement.Provenance(claims, r.subjects)
	r.state(t, "provenance", provenance, err)
	build, err := statement.Build(record, r.subjects)
	r.state(t, "build", build, err)
	document, err := statement.SBOM(sbom, r.subjects)
	r.state(t, "sbom", document, err)
	return r
}

func (r *release) add(t *testing.T, name string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(r.dir, name), data, 0o644))
	subject, err := statement.Digest(t.Context(), name, bytes.NewReader(data))
	check(t, err)
	r.subjects = append(r.subjects, subject)
}

func (r *release) state(t *testing.T, kind string, s statement.Statement, err error) {
	t.Helper()
	check(t, err)
	r.statements[kind], err = s.Encode()
	check(t, err)
}

// artifact is the artifact's bytes.
func (r *release) artifact(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, artifactName))
	check(t, err)
	return data
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// source asks the stack's endpoint for tokens.
func source(s *sigstoretest.Stack) *oidc.Source {
	return &oidc.Source{URL: s.TokenURL(), RequestToken: s.TokenBearer(), Client: s.Client()}
}

// rootOf is the stack as attest/trust reads it.
func rootOf(t *testing.T, s *sigstoretest.Stack) *trust.Root {
	t.Helper()
	root, err := trust.File(s.TrustedRoot, s.SigningConfig)
	check(t, err)
	return root
}

// keyless signs at the stack.
func keyless(t *testing.T, s *sigstoretest.Stack, o sign.Options) sign.Signer {
	t.Helper()
	signer, err := sign.Keyless(source(s), rootOf(t, s), o)
	check(t, err)
	return signer
}

// signed makes a release by the claims of the stack and signs its statements.
func signed(t *testing.T, s *sigstoretest.Stack, dir string, with sign.Signer) (*release, map[string][]byte) {
	t.Helper()
	claims, err := source(s).Claims(t.Context())
	check(t, err)
	r := newRelease(t, dir, claims)
	bundles := map[string][]byte{}
	for _, kind := range kinds {
		bundles[kind], err = with.Sign(t.Context(), r.statements[kind])
		check(t, err)
	}
	return r, bundles
}

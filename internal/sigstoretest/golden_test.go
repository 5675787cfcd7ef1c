package sigstoretest_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigstore/cosign/v2/pkg/cosign"

	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/internal/sigstoretest"
)

var update = flag.Bool("update", false, "sign the golden bundles anew, on a Sigstore of their own")

// goldenDir is read by the tests of attest/verify.
const goldenDir = "../../attest/verify/testdata/golden"

// TestGolden verifies the golden bundles with sigstore-go, or makes them.
func TestGolden(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	artifact, err := os.ReadFile(filepath.Join(goldenDir, artifactName))
	check(t, err)
	san := sigstoretest.DefaultClaims().SAN()
	for _, shape := range []string{"public-good", "github"} {
		root, err := os.ReadFile(filepath.Join(goldenDir, shape, "trusted_root.json"))
		check(t, err)
		for _, kind := range kinds {
			t.Run(shape+"/"+kind, func(t *testing.T) {
				bundle, err := os.ReadFile(filepath.Join(goldenDir, shape, kind+".sigstore.json"))
				check(t, err)
				if err := verifyKeyless(root, bundle, sha256Of(artifact), san); err != nil {
					t.Error(err)
				}
				if err := verifyKeyless(root, bundle, sha256Of([]byte("other")), san); err == nil {
					t.Error("another file verifies too")
				}
				if err := verifyKeyless(root, bundle, sha256Of(artifact), san+"x"); err == nil {
					t.Error("another identity verifies too")
				}
			})
		}
	}
	public, err := os.ReadFile(filepath.Join(goldenDir, "key", "cosign.pub"))
	check(t, err)
	for _, kind := range []string{"build", "sbom"} {
		for _, name := range []string{kind + ".sigstore.json", kind + "-logged.sigstore.json"} {
			t.Run("key/"+name, func(t *testing.T) {
				bundle, err := os.ReadFile(filepath.Join(goldenDir, "key", name))
				check(t, err)
				if err := verifyKey(public, bundle, sha256Of(artifact)); err != nil {
					t.Error(err)
				}
				if err := verifyKey(public, bundle, sha256Of([]byte("other"))); err == nil {
					t.Error("another file verifies too")
				}
			})
		}
	}
}

func makeGolden(t *testing.T) {
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(goldenDir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, data, 0o644))
	}
	for _, shape := range []struct {
		name string
		o    sigstoretest.Options
	}{{"public-good", sigstoretest.Options{}}, {"github", sigstoretest.Options{GitHub: true}}} {
		s := sigstoretest.Start(t, shape.o)
		// The log counts from 0, which JSON leaves out; nobody else's log is so young.
		if s.Rekor != nil {
			signed(t, s, t.TempDir(), keyless(t, s, sign.Options{}))
		} else {
			c := s.Claims()
			c.RepositoryVisibility = "private"
			s.SetClaims(c)
		}
		check(t, os.MkdirAll(goldenDir, 0o755))
		_, bundles := signed(t, s, goldenDir, keyless(t, s, sign.Options{}))
		root, err := os.ReadFile(s.TrustedRoot)
		check(t, err)
		write(shape.name+"/trusted_root.json", root)
		var lines bytes.Buffer
		for _, kind := range kinds {
			write(shape.name+"/"+kind+".sigstore.json", bundles[kind])
			lines.Write(bytes.TrimSpace(bundles[kind]))
			lines.WriteByte('\n')
		}
		write(shape.name+"/plugin.intoto.jsonl", lines.Bytes())
		if s.Rekor != nil {
			makeGoldenKey(t, s, write)
		}
	}
}

// makeGoldenKey signs with a key that is thrown away: without any service, and with
// the log and the timestamps of the stack, whose root is that of "public-good".
func makeGoldenKey(t *testing.T, s *sigstoretest.Stack, write func(string, []byte)) {
	t.Helper()
	password := []byte("throw away")
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	check(t, err)
	write("key/cosign.pub", pair.PublicBytes)
	claims, err := source(s).Claims(t.Context())
	check(t, err)
	r := newRelease(t, goldenDir, claims)
	alone, err := sign.Key(pair.PrivateBytes, password, nil, sign.Options{})
	check(t, err)
	logged, err := sign.Key(pair.PrivateBytes, password, rootOf(t, s), sign.Options{})
	check(t, err)
	for _, kind := range []string{"build", "sbom"} {
		bundle, err := alone.Sign(t.Context(), r.statements[kind])
		check(t, err)
		write("key/"+kind+".sigstore.json", bundle)
		bundle, err = logged.Sign(t.Context(), r.statements[kind])
		check(t, err)
		write("key/"+kind+"-logged.sigstore.json", bundle)
	}
}

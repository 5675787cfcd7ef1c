package sigstoretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// signWith signs a statement by sigstore-go alone, at the services of a signing
// configuration. It is what a client does that knows nothing of this package.
func signWith(t *testing.T, s *Stack, statement []byte) []byte {
	t.Helper()
	config, err := root.NewSigningConfigFromPath(s.SigningConfig)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := root.NewTrustedRootFromPath(s.TrustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		t.Fatal(err)
	}
	fulcio, err := root.SelectService(config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	opts := sign.BundleOptions{
		TrustedRoot:                trusted,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: fulcio.URL, Timeout: time.Minute}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: s.Token("sigstore")},
	}
	stamps, err := root.SelectServices(config.TimestampAuthorityURLs(), config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, tsa := range stamps {
		opts.TimestampAuthorities = append(opts.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: tsa.URL, Timeout: time.Minute}))
	}
	if len(config.RekorLogURLs()) > 0 {
		logs, err := root.SelectServices(config.RekorLogURLs(), config.RekorLogURLsConfig(), sign.RekorAPIVersions, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, log := range logs {
			opts.TransparencyLogs = append(opts.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{BaseURL: log.URL, Timeout: time.Minute, Version: log.MajorAPIVersion}))
		}
	}
	made, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"}, key, opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	return compact.Bytes()
}

func statementOf(artifact []byte) []byte {
	sum := sha256.Sum256(artifact)
	text, _ := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"name": "plugin.img", "digest": map[string]string{"sha256": hex.EncodeToString(sum[:])}}},
		"predicateType": "https://slsa.dev/provenance/v1",
		"predicate":     map[string]any{},
	})
	return text
}

func TestStackSignsWhatSigstoreGoVerifies(t *testing.T) {
	for _, shape := range []struct {
		name string
		o    Options
		with []verify.VerifierOption
	}{
		{"public good", Options{}, []verify.VerifierOption{verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}},
		{"github", Options{GitHub: true}, []verify.VerifierOption{verify.WithSignedTimestamps(1)}},
	} {
		t.Run(shape.name, func(t *testing.T) {
			begin := time.Now()
			s := Start(t, shape.o)
			t.Logf("started in %v", time.Since(begin))
			artifact := []byte("not quite an image")
			begin = time.Now()
			text := signWith(t, s, statementOf(artifact))
			t.Logf("signed in %v: %d bytes", time.Since(begin), len(text))
			if dir := os.Getenv("SPIKE"); dir != "" {
				os.WriteFile(filepath.Join(dir, shape.name+".json"), text, 0o644)
				r, _ := os.ReadFile(s.TrustedRoot)
				os.WriteFile(filepath.Join(dir, shape.name+".root.json"), r, 0o644)
			}
			b := new(bundle.Bundle)
			if err := b.UnmarshalJSON(text); err != nil {
				t.Fatal(err)
			}
			trusted, err := root.NewTrustedRootFromPath(s.TrustedRoot)
			if err != nil {
				t.Fatal(err)
			}
			v, err := verify.NewVerifier(trusted, shape.with...)
			if err != nil {
				t.Fatal(err)
			}
			id, err := verify.NewShortCertificateIdentity(Issuer, "", s.Claims().SAN(), "")
			if err != nil {
				t.Fatal(err)
			}
			result, err := v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(artifact)), verify.WithCertificateIdentity(id)))
			if err != nil {
				t.Fatal(err)
			}
			c, _ := json.MarshalIndent(result.Signature.Certificate, "", " ")
			t.Logf("%s", c)
			if strays := s.Strays(); strays != nil {
				t.Errorf("somebody asked for %q", strays)
			}
		})
	}
}

package sigstoretest_test

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/volant/fledge-action/internal/sigstoretest"
)

// verifyKeyless verifies a bundle as sigstore-go's documentation tells, knowing
// nothing of fledge: all that the trusted root can vouch for, the exact identity,
// the digest.
func verifyKeyless(rootJSON, bundleJSON []byte, digest, san string) error {
	trusted, err := root.NewTrustedRootFromJSON(rootJSON)
	if err != nil {
		return err
	}
	id, err := verify.NewShortCertificateIdentity(sigstoretest.Issuer, "", san, "")
	if err != nil {
		return err
	}
	with := []verify.VerifierOption{verify.WithSignedTimestamps(1)}
	if len(trusted.RekorLogs()) > 0 {
		with = append(with, verify.WithTransparencyLog(1))
	}
	if len(trusted.CTLogs()) > 0 {
		with = append(with, verify.WithSignedCertificateTimestamps(1))
	}
	return verifyWith(trusted, bundleJSON, digest, with, verify.WithCertificateIdentity(id))
}

// verifyKey verifies the bundle of a key, and nothing of a log.
func verifyKey(public, bundleJSON []byte, digest string) error {
	block, _ := pem.Decode(public)
	if block == nil {
		return errors.New("no PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return err
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
	})
	return verifyWith(trusted, bundleJSON, digest, []verify.VerifierOption{verify.WithNoObserverTimestamps()}, verify.WithKey())
}

func verifyWith(trusted root.TrustedMaterial, bundleJSON []byte, digest string, with []verify.VerifierOption, who verify.PolicyOption) error {
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(bundleJSON); err != nil {
		return err
	}
	v, err := verify.NewVerifier(trusted, with...)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		return err
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), who))
	return err
}

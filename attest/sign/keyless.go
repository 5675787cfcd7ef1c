package sign

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/volant/fledge-action/attest/trust"
)

// audience is whom the tokens for a certificate are for.
const audience = "sigstore"

// Reserve is how much of a certificate's life must be left for a try, or a quarter
// of it if that is less.
const Reserve = 2 * time.Minute

// Keyless signs with certificates for the identity of tok's tokens, issued by the
// authority of r's signing config.
func Keyless(tok Token, r *trust.Root, o Options) (Signer, error) {
	switch {
	case tok == nil:
		return nil, errors.New("signing keyless: no source of OIDC tokens")
	case r == nil || r.Material == nil:
		return nil, errors.New("signing keyless: no trusted root")
	case r.Signing == nil:
		return nil, fmt.Errorf("signing keyless: trusted root %s comes without a signing config, which names the services to sign with", r.Name)
	}
	s, err := newSigner(r, o)
	if err == nil {
		err = s.whole()
	}
	if err != nil {
		return nil, fmt.Errorf("signing keyless: %w", err)
	}
	return &keyless{signer: s, tokens: tok}, nil
}

// whole tells why bundles of the services would not verify with the root.
func (s *signer) whole() error {
	config := "the signing config of " + s.root.Name
	switch {
	case s.services.authority == "":
		return fmt.Errorf("%s names no certificate authority", config)
	case len(s.root.Material.RekorLogs()) > 0 && len(s.services.logs) == 0:
		return fmt.Errorf("%s names no log, but its trusted root asks for entries in one", config)
	case len(s.root.Material.RekorLogs()) == 0 && len(s.services.logs) > 0:
		return fmt.Errorf("%s names a log, but its trusted root has none to verify entries with", config)
	case !s.services.clocked():
		return fmt.Errorf("%s names no timestamp authority, and no log that tells the time: nothing would prove that the certificate was valid", config)
	}
	return s.root.Usable(s.now())
}

type keyless struct {
	*signer
	tokens Token
	keys   sign.Keypair
	cert   *certificate
}

func (k *keyless) Describe() string {
	return fmt.Sprintf("keyless with %s Sigstore: certificates of %s, %s", k.root.Name, host(k.services.authority), k.services.describe())
}

// Sign makes a bundle with a certificate. An error leaves nothing but perhaps an
// entry in the log.
func (k *keyless) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.again(payload, func() ([]byte, error) {
		if err := k.certify(ctx); err != nil {
			return nil, err
		}
		made, err := k.bundle(ctx, payload, k.keys, k.cert)
		if err != nil {
			k.cert = nil
		}
		return made, err
	})
}

// certify makes sure that there is a certificate with enough life in it. Nothing
// is signed before.
func (k *keyless) certify(ctx context.Context) error {
	if k.cert != nil && k.cert.check(k.now()) == nil {
		return nil
	}
	k.cert = nil
	keys, err := sign.NewEphemeralKeypair(nil) // ECDSA P-256, which every verifier knows
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	var der []byte
	err = k.patience.do(ctx, authorityService, func(try context.Context) error {
		token, err := k.token(ctx)
		if err == nil {
			der, err = k.request(try, keys, token)
		}
		return err
	})
	if err != nil {
		return err
	}
	cert, err := newCertificate(der, keys, k.now())
	if err != nil {
		return fmt.Errorf("%s %s: %w", authorityService, host(k.services.authority), err)
	}
	k.keys, k.cert = keys, cert
	return nil
}

// token gets a fresh token; it is good for one try.
func (k *keyless) token(ctx context.Context) (string, error) {
	token, err := k.tokens.Token(ctx, audience)
	switch {
	case err != nil:
		return "", err
	case token == "":
		return "", errors.New("the OIDC token is empty: nothing is signed without an identity")
	}
	if _, err := unverified(token); err != nil {
		return "", fmt.Errorf("the OIDC token is none: %w", err)
	}
	return token, nil
}

// request asks for a certificate once.
func (k *keyless) request(ctx context.Context, keys sign.Keypair, token string) ([]byte, error) {
	fulcio := sign.NewFulcio(&sign.FulcioOptions{
		BaseURL: k.services.authority, Timeout: -1,
		Transport: &once{ctx: ctx, service: authorityService, base: k.services.base},
	})
	der, err := fulcio.GetCertificate(ctx, keys, &sign.CertificateProviderOptions{IDToken: token})
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusBadRequest || status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) {
		return nil, &refusedToken{*status, token, k.now()}
	}
	return der, err
}

// certificate is the identity of one run's key.
type certificate struct {
	*x509.Certificate
}

func newCertificate(der []byte, keys sign.Keypair, now time.Time) (*certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	public, ok := parsed.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(keys.GetPublicKey()) {
		return nil, errors.New("the certificate is for another key")
	}
	cert := &certificate{parsed}
	if cert.check(now) != nil {
		return nil, fmt.Errorf("the fresh certificate is valid until %s, and it is %s here: check this machine's clock",
			parsed.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return cert, nil
}

// check is errAgain when little of the certificate's life is left.
func (c *certificate) check(now time.Time) error {
	if c.NotAfter.Sub(now) < min(Reserve, c.NotAfter.Sub(c.NotBefore)/4) {
		return errAgain
	}
	return nil
}

// late tells whether a log has taken the entry in after the certificate's end.
func (c *certificate) late(b *protobundle.Bundle) bool {
	for _, entry := range b.GetVerificationMaterial().GetTlogEntries() {
		if entry.GetIntegratedTime() > c.NotAfter.Unix() {
			return true
		}
	}
	return false
}

// GetCertificate gives the certificate to sigstore-go.
func (c *certificate) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	return c.Raw, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

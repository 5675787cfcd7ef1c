package proof

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/volant/fledge-action/attest/oidc"
	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
)

// Services is the [Source] of real signers.
type Services struct {
	OIDC *oidc.Source // nil without a token endpoint

	PrivateKey []byte // PEM; nil without one
	Password   []byte // of the key

	// TrustedRoot and SigningConfig are paths of an instance of one's own; "" is
	// none. With a key both may be missing: then nothing but the key is used.
	TrustedRoot, SigningConfig string

	CacheDir  string            // for trusted roots; "" keeps none
	Transport http.RoundTripper // nil is http.DefaultTransport
	Budget    time.Duration     // for all waiting; 0 is sign.DefaultBudget
	Warn      func(error)       // may be nil
}

// Claims implements [Source].
func (s *Services) Claims(ctx context.Context) (statement.Claims, error) {
	if s.OIDC == nil {
		return statement.Claims{}, errors.New("there is no OIDC token endpoint")
	}
	return s.OIDC.Claims(ctx)
}

// Keyless implements [Source].
func (s *Services) Keyless(ctx context.Context, i Instance) (Signer, string, error) {
	r, err := s.root(ctx, i)
	if err != nil {
		return nil, "", err
	}
	signer, err := sign.Keyless(s.OIDC, r, s.options())
	if err != nil {
		return nil, "", err
	}
	return signer, signer.Describe(), nil
}

// Key implements [Source].
func (s *Services) Key(context.Context) (Signer, string, error) {
	var r *trust.Root
	if s.TrustedRoot != "" {
		var err error
		if r, err = s.custom(); err != nil {
			return nil, "", err
		}
	}
	signer, err := sign.Key(s.PrivateKey, s.Password, r, s.options())
	if err != nil {
		return nil, "", refuse("%v", err)
	}
	return signer, signer.Describe(), nil
}

func (s *Services) root(ctx context.Context, i Instance) (*trust.Root, error) {
	o := trust.Options{CacheDir: s.CacheDir, Transport: s.Transport, Warn: s.Warn}
	switch i {
	case Custom:
		return s.custom()
	case PublicGood:
		return trust.PublicGood(ctx, o)
	}
	return trust.GitHub(ctx, o)
}

// custom reads the user's files. What is wrong in them is the user's to mend.
func (s *Services) custom() (*trust.Root, error) {
	r, err := trust.File(s.TrustedRoot, s.SigningConfig)
	if err != nil {
		return nil, refuse("%v", err)
	}
	return r, nil
}

func (s *Services) options() sign.Options {
	return sign.Options{Budget: s.Budget, Transport: s.Transport, Warn: s.Warn}
}

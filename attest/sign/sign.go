package sign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/volant/fledge-action/attest/retry"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
)

// DefaultBudget is how long a Signer waits for services in its life.
const DefaultBudget = 10 * time.Minute

// A Signer signs statements. It is safe for concurrent use, but signs one at a
// time.
type Signer interface {
	// Sign makes the bundle of an encoded statement: one line of JSON, without its
	// end.
	Sign(ctx context.Context, payload []byte) (bundleJSON []byte, err error)
	// Describe tells in a few words who signs, and with which services.
	Describe() string
}

// Token gets OpenID Connect tokens for an audience, a fresh one at every call.
type Token interface {
	Token(ctx context.Context, audience string) (string, error)
}

// Options say how to reach services. The zero value is usable.
type Options struct {
	// Budget is how long services are waited for, all faults of a Signer's life
	// together; 0 means DefaultBudget.
	Budget time.Duration
	// Transport sends the requests; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Warn, if set, is told of every fault that is waited out.
	Warn func(error)

	// For tests; nil means the real ones.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// signer is what both ways of signing share.
type signer struct {
	mu       sync.Mutex // one statement at a time
	root     *trust.Root
	services services
	patience *patience
	now      func() time.Time
}

func newSigner(r *trust.Root, o Options) (*signer, error) {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	s := &signer{root: r, now: now, patience: &patience{
		budget: cmp.Or(o.Budget, DefaultBudget), now: now,
		options: retry.Options{Now: o.Now, Sleep: o.Sleep, Warn: o.Warn},
	}}
	if r == nil || r.Signing == nil {
		return s, nil
	}
	var err error
	s.services, err = selectServices(r, now())
	s.services.base = o.Transport
	if s.services.base == nil {
		s.services.base = http.DefaultTransport
	}
	return s, err
}

// errAgain says that a statement has to be signed anew: its certificate ends.
var errAgain = errors.New("the certificate ends before the services have answered")

// anew is how often a statement is signed before something must be wrong.
const anew = 5

// again signs until the services were in time.
func (s *signer) again(payload []byte, once func() ([]byte, error)) ([]byte, error) {
	if _, err := statement.Decode(payload); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var err error
	for range anew {
		var made []byte
		if made, err = once(); err == nil {
			return made, nil
		}
		if !errors.Is(err, errAgain) {
			break
		}
	}
	return nil, explain(err)
}

// bundle makes and checks one bundle. cert is nil when keys are somebody's own.
func (s *signer) bundle(ctx context.Context, payload []byte, keys sign.Keypair, cert *certificate) ([]byte, error) {
	check := func() error { return nil }
	options := sign.BundleOptions{Context: ctx} // without TrustedRoot: verify checks what is returned, by the root's rules
	if cert != nil {
		options.CertificateProvider = cert
		check = func() error { return cert.check(s.now()) }
	}
	s.services.use(ctx, &options, s.patience, check)
	content := &sign.DSSEData{Data: payload, PayloadType: statement.PayloadType}
	made, err := sign.Bundle(content, keys, options)
	if err != nil {
		return nil, err
	}
	if cert != nil && cert.late(made) {
		return nil, errAgain
	}
	line, err := encode(made)
	if err != nil {
		return nil, err
	}
	if err := s.verify(line, payload, keys); err != nil {
		return nil, fmt.Errorf("verifying the fresh bundle: %w", err)
	}
	return line, nil
}

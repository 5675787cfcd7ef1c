package sigstoretest_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/retry"
	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/internal/sigstoretest"
)

// A clock is the real one plus the time that was slept, which takes none.
type clock struct {
	mu     sync.Mutex
	ahead  time.Duration
	sleeps int
	during func(sleeps int, ahead time.Duration) // what happens meanwhile; may be nil
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// agree sets the clock right when Fulcio is asked for a certificate, as Fulcio's is
// the real one: it is as if that had gone on too. Then it calls also.
func (c *clock) agree(s *sigstoretest.Stack, also func()) {
	s.Fulcio.Fail(sigstoretest.Fault{Match: func(*http.Request) bool {
		also()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ahead = 0
		return false
	}})
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.ahead += d
	c.sleeps++
	sleeps, ahead := c.sleeps, c.ahead
	c.mu.Unlock()
	if c.during != nil {
		c.during(sleeps, ahead)
	}
	return ctx.Err()
}

func (c *clock) options() sign.Options { return sign.Options{Now: c.now, Sleep: c.sleep} }

// verified fails the test unless sigstore-go takes the bundle for the release.
func verified(t *testing.T, s *sigstoretest.Stack, r *release, bundle []byte) {
	t.Helper()
	root, err := os.ReadFile(s.TrustedRoot)
	check(t, err)
	if err := verifyKeyless(root, bundle, sha256Of(r.artifact(t)), s.Claims().SAN()); err != nil {
		t.Error(err)
	}
}

// unsigned is a release of the stack's claims.
func unsigned(t *testing.T, s *sigstoretest.Stack) *release {
	t.Helper()
	claims, err := source(s).Claims(t.Context())
	check(t, err)
	return newRelease(t, t.TempDir(), claims)
}

// settled is the size of the log when nothing comes any more.
func settled(t *testing.T, s *sigstoretest.Stack) uint64 {
	t.Helper()
	time.Sleep(time.Second) // five checkpoints
	return s.LogSize()
}

// for a certificate, not for the claims.
func certificates(s *sigstoretest.Stack) int {
	n := 0
	for _, r := range s.Fulcio.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/signingCert") {
			n++
		}
	}
	return n
}

func TestLogKilledMidwayComesBack(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	c := &clock{during: func(sleeps int, _ time.Duration) {
		if sleeps == 3 {
			s.Rekor.Restart()
		}
	}}
	signer := keyless(t, s, c.options())
	first, err := signer.Sign(t.Context(), r.statements["provenance"])
	check(t, err)
	verified(t, s, r, first)
	before := settled(t, s)
	s.Rekor.Kill()
	second, err := signer.Sign(t.Context(), r.statements["sbom"])
	check(t, err)
	verified(t, s, r, second)
	if c.sleeps != 3 {
		t.Errorf("waited %d times, want 3: the log came back in the third", c.sleeps)
	}
	if got := settled(t, s); got != before+1 {
		t.Errorf("%d entries, want one more than %d", got, before)
	}
	if got := certificates(s); got != 1 {
		t.Errorf("%d certificates, want 1 for both statements", got)
	}
}

// TestFaultsAreWaitedOut tries every fault at every service. The bundle that comes of
// it is a good one.
func TestFaultsAreWaitedOut(t *testing.T) {
	t.Run("without a log", func(t *testing.T) {
		s := sigstoretest.Start(t, sigstoretest.Options{GitHub: true}) // a log takes a second for each bundle
		for name, proxy := range map[string]*sigstoretest.Proxy{"tokens": s.Tokens, "fulcio": s.Fulcio.Proxy, "tsa": s.TSA.Proxy} {
			t.Run(name, func(t *testing.T) { tryFaults(t, s, proxy) })
		}
	})
	t.Run("with a log", func(t *testing.T) {
		s := sigstoretest.Start(t, sigstoretest.Options{})
		tryFaults(t, s, s.Rekor.Proxy)
	})
}

func tryFaults(t *testing.T, s *sigstoretest.Stack, proxy *sigstoretest.Proxy) {
	r := unsigned(t, s)
	faults := map[string]sigstoretest.Fault{
		"502 with HTML":        withTimes(sigstoretest.HTML(http.StatusBadGateway), 4),
		"200 with HTML":        withTimes(sigstoretest.HTML(http.StatusOK), 2),
		"500":                  {Times: 2, Status: http.StatusInternalServerError, Body: "{}"},
		"429 with Retry-After": {Times: 2, Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "77"}},
		"slow":                 {Times: 1, Delay: 1500 * time.Millisecond},
		"cut":                  {Times: 2, Cut: true},
		"lost answer":          {Times: 1, Lose: true},
	}
	for kind, fault := range faults {
		t.Run(kind, func(t *testing.T) {
			c := &clock{}
			if fault.Header["Retry-After"] != "" {
				c.during = func(n int, ahead time.Duration) {
					if ahead < time.Duration(n)*77*time.Second {
						t.Errorf("waited %v in %d times, though asked to wait 77 s each", ahead, n)
					}
				}
			}
			asked := len(proxy.Requests())
			proxy.Fail(fault)
			defer proxy.Heal()
			verified(t, s, r, signedBy(t, s, c, r))
			if got := faulty(proxy.Requests()[asked:]); got != fault.Times {
				t.Errorf("%d faulty requests, want %d", got, fault.Times)
			}
			if fault.Delay == 0 && c.sleeps != fault.Times {
				t.Errorf("waited %d times, want %d", c.sleeps, fault.Times)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		c := &clock{during: func(n int, _ time.Duration) {
			if n == 2 {
				check(t, proxy.Up())
			}
		}}
		proxy.Down()
		verified(t, s, r, signedBy(t, s, c, r))
		if c.sleeps != 2 {
			t.Errorf("waited %d times, want 2", c.sleeps)
		}
	})
}

// signedBy signs the provenance by a clock of its own.
func signedBy(t *testing.T, s *sigstoretest.Stack, c *clock, r *release) []byte {
	t.Helper()
	tokens := source(s)
	tokens.Retry = retry.Options{Now: c.now, Sleep: c.sleep}
	signer, err := sign.Keyless(tokens, rootOf(t, s), c.options())
	check(t, err)
	bundle, err := signer.Sign(t.Context(), r.statements["provenance"])
	check(t, err)
	return bundle
}

func withTimes(f sigstoretest.Fault, n int) sigstoretest.Fault {
	f.Times = n
	return f
}

func faulty(requests []sigstoretest.Request) int {
	n := 0
	for _, r := range requests {
		if r.Fault {
			n++
		}
	}
	return n
}

// TestWithoutATokenNothingIsSigned is about the worst that cosign does: it signs with
// a throw-away key when it gets no token, and logs that for ever.
func TestWithoutATokenNothingIsSigned(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	check(t, func() error { // so that the log is not empty, and its size is seen to count
		_, err := keyless(t, s, sign.Options{}).Sign(t.Context(), r.statements["build"])
		return err
	}())
	size, certs, stamps, sent := settled(t, s), certificates(s), len(s.TSA.Requests()), len(s.Rekor.Requests())
	if size != 1 || certs != 1 || stamps != 1 || sent != 1 {
		t.Fatalf("%d entries, %d certificates, %d timestamps, %d requests to the log, want 1 each", size, certs, stamps, sent)
	}
	for name, fault := range map[string]sigstoretest.Fault{
		"401":           {Status: http.StatusUnauthorized, Body: `{"message":"Unauthorized"}`},
		"403":           {Status: http.StatusForbidden, Body: `{"message":"Forbidden"}`},
		"500":           {Status: http.StatusInternalServerError, Body: `{}`},
		"HTML":          sigstoretest.HTML(http.StatusOK),
		"empty answer":  {Status: http.StatusOK},
		"no value":      {Status: http.StatusOK, Body: `{"message":"none"}`},
		"empty value":   {Status: http.StatusOK, Body: `{"count":1,"value":""}`},
		"null":          {Status: http.StatusOK, Body: `{"value":null}`},
		"not a token":   {Status: http.StatusOK, Body: `{"value":"abc"}`},
		"not JSON":      {Status: http.StatusOK, Body: `value`},
		"cut":           {Cut: true},
		"lost":          {Lose: true},
		"redirect":      {Status: http.StatusFound, Header: map[string]string{"Location": s.Fulcio.URL()}},
		"never answers": {Hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			tokens := source(s)
			tokens.Retry = retry.Options{Now: c.now, Sleep: c.sleep, Try: time.Second, Budget: 2 * time.Minute}
			if fault.Hang {
				tokens.Retry.Budget = 2 * time.Second
				tokens.Retry.Now = nil
			}
			signer, err := sign.Keyless(tokens, rootOf(t, s), c.options())
			check(t, err)
			s.Tokens.Fail(fault)
			defer s.Tokens.Heal()
			bundle, err := signer.Sign(t.Context(), r.statements["provenance"])
			if err == nil || bundle != nil {
				t.Fatalf("signed without a token: %v, %s", err, bundle)
			}
			t.Log(err)
			if strings.Contains(err.Error(), s.TokenBearer()) {
				t.Error("the error holds the secret of the endpoint")
			}
		})
	}
	if got := settled(t, s); got != size {
		t.Errorf("%d entries in the log, want %d as before", got, size)
	}
	if got := certificates(s) + len(s.TSA.Requests()) + len(s.Rekor.Requests()); got != certs+stamps+sent {
		t.Errorf("%d requests to services, want %d as before", got, certs+stamps+sent)
	}
}

// TestWrongTokensAreRefused has tokens that Fulcio does not take.
func TestWrongTokensAreRefused(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	other := sigstoretest.DefaultClaims()
	other.Issuer = "https://gitlab.com"
	for name, token := range map[string]struct {
		claims   sigstoretest.Claims
		audience string
	}{
		"audience": {sigstoretest.DefaultClaims(), "nobody"},
		"issuer":   {other, "sigstore"},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetClaims(token.claims)
			c := &clock{}
			signer, err := sign.Keyless(fixed(s.Token(token.audience)), rootOf(t, s), c.options())
			check(t, err)
			bundle, err := signer.Sign(t.Context(), r.statements["provenance"])
			if err == nil || bundle != nil {
				t.Fatalf("signed: %v, %s", err, bundle)
			}
			t.Log(err)
			if !strings.Contains(err.Error(), token.claims.Issuer) || !strings.Contains(err.Error(), token.audience) {
				t.Errorf("%v; want issuer and audience in it", err)
			}
			if c.sleeps != 0 {
				t.Errorf("waited %d times for what does not change", c.sleeps)
			}
		})
	}
	if size := settled(t, s); size != 0 {
		t.Errorf("%d entries in the log", size)
	}
}

// fixed is one token again and again.
type fixed string

func (f fixed) Token(context.Context, string) (string, error) { return string(f), nil }

func TestPatienceEnds(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	for name, service := range map[string]*sigstoretest.Service{"certificate authority": s.Fulcio, "transparency log": s.Rekor, "timestamp authority": s.TSA} {
		for kind, break_ := range map[string]func(){
			"502":     func() { service.Fail(sigstoretest.HTML(http.StatusBadGateway)) },
			"refused": service.Down,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				c := &clock{}
				signer := keyless(t, s, c.options())
				c.agree(s, func() {})
				break_()
				defer s.Fulcio.Heal()
				defer func() {
					service.Heal()
					check(t, service.Up())
				}()
				bundle, err := signer.Sign(t.Context(), r.statements["provenance"])
				var gaveUp *sign.GaveUp
				if bundle != nil || !errors.As(err, &gaveUp) {
					t.Fatalf("%v, %s; want to give up", err, bundle)
				}
				t.Log(err)
				if gaveUp.Service != name || gaveUp.After > sign.DefaultBudget || gaveUp.After < sign.DefaultBudget-3*time.Minute {
					t.Errorf("gave up on %s after %v, want %s after some %v", gaveUp.Service, gaveUp.After, name, sign.DefaultBudget)
				}
			})
		}
	}
	if size := settled(t, s); size != 0 {
		t.Errorf("%d entries in the log, want none: every signing failed", size)
	}
}

func TestCancelledSigningLeavesNothing(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	for name, service := range map[string]*sigstoretest.Service{"fulcio": s.Fulcio, "rekor": s.Rekor, "tsa": s.TSA} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped by the test")
			// The service is reached, and then does not answer.
			service.Fail(sigstoretest.Fault{Hang: true, Match: func(*http.Request) bool {
				cancel(stopped)
				return true
			}})
			defer service.Heal()
			bundle, err := keyless(t, s, sign.Options{}).Sign(ctx, r.statements["provenance"])
			if bundle != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, stopped) {
				t.Fatalf("%v, %s; want to be cancelled", err, bundle)
			}
		})
	}
	if size := settled(t, s); size != 0 {
		t.Errorf("%d entries in the log, want none", size)
	}
}

// TestCertificateEndsDuringARetry has a log that is down until little is left of the
// certificate. What is logged then must not be of the old one.
func TestCertificateEndsDuringARetry(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	r := unsigned(t, s)
	// The log comes back when a second certificate is asked for, not earlier.
	c := &clock{}
	asked := 0
	c.agree(s, func() {
		if asked++; asked == 2 {
			s.Rekor.Heal()
		}
	})
	options := c.options()
	options.Budget = time.Hour
	s.Rekor.Fail(sigstoretest.HTML(http.StatusBadGateway))
	tokens := len(sigstoreTokens(s))
	signer := keyless(t, s, options)
	bundle, err := signer.Sign(t.Context(), r.statements["provenance"])
	check(t, err)
	verified(t, s, r, bundle)
	if got := certificates(s); got != 2 {
		t.Errorf("%d certificates, want 2", got)
	}
	if got := len(sigstoreTokens(s)) - tokens; got != 2 {
		t.Errorf("%d tokens, want a fresh one for each certificate", got)
	}
	if got := settled(t, s); got != 1 {
		t.Errorf("%d entries in the log, want 1", got)
	}
}

// sigstoreTokens are the tokens for Fulcio that were given out.
func sigstoreTokens(s *sigstoretest.Stack) []string {
	return slices.DeleteFunc(s.Audiences(), func(a string) bool { return a != "sigstore" })
}

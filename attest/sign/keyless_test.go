package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/volant/fledge-action/attest/oidc"
	"github.com/volant/fledge-action/attest/retry"
	"github.com/volant/fledge-action/attest/statement"
)

var (
	private = signing{stamps: true} // GitHub's own instance
	public  = signing{log: true}    // the public-good one
)

// payload is a statement about a file of a name.
func payload(t *testing.T, name string) []byte {
	t.Helper()
	subject, err := statement.Digest(t.Context(), name, strings.NewReader(name))
	must(t, err)
	s := statement.Statement{Type: "https://in-toto.io/Statement/v1", Subject: []statement.Subject{subject}, PredicateType: "https://example.com/x", Predicate: json.RawMessage(`{"a":1}`)}
	data, err := s.Encode()
	must(t, err)
	return data
}

// identify verifies a bundle as a stranger would, who knows the root and the
// identity only.
func (s *sigstore) identify(with signing, line []byte) *bundle.Bundle {
	s.t.Helper()
	var b bundle.Bundle
	must(s.t, b.UnmarshalJSON(line))
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if with.log {
		options = append(options, verify.WithTransparencyLog(1))
	}
	verifier, err := verify.NewVerifier(s.root(with).Material, options...)
	must(s.t, err)
	identity, err := verify.NewShortCertificateIdentity(testIssuer, "", testWorkflow, "")
	must(s.t, err)
	if _, err := verifier.Verify(&b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithCertificateIdentity(identity))); err != nil {
		s.t.Errorf("a stranger's verification: %v", err)
	}
	return &b
}

func TestKeylessBundlesVerify(t *testing.T) {
	for name, with := range map[string]signing{"timestamp": private, "log": public, "both": {log: true, stamps: true}} {
		t.Run(name, func(t *testing.T) {
			s := newSigstore(t)
			statement := payload(t, "a")
			line, err := s.keyless(with).Sign(t.Context(), statement)
			must(t, err)
			b := s.identify(with, line)
			var compact bytes.Buffer
			must(t, json.Compact(&compact, line))
			if !bytes.Equal(compact.Bytes(), line) || bytes.Contains(line, []byte("\n")) {
				t.Error("the bundle is not one compact line")
			}
			if b.MediaType != "application/vnd.dev.sigstore.bundle.v0.3+json" || !bytes.Equal(b.GetDsseEnvelope().GetPayload(), statement) {
				t.Errorf("bundle of type %s with payload %s", b.MediaType, b.GetDsseEnvelope().GetPayload())
			}
			stamps := len(b.VerificationMaterial.GetTimestampVerificationData().GetRfc3161Timestamps())
			if logs := len(b.VerificationMaterial.GetTlogEntries()); (logs == 1) != with.log || (stamps == 1) != with.stamps {
				t.Errorf("%d entries, %d timestamps", logs, stamps)
			}
		})
	}
}

func TestOneCertificateSignsTheStatementsOfARun(t *testing.T) {
	s := newSigstore(t)
	signer := s.keyless(private)
	sign := func(want int) {
		t.Helper()
		line, err := signer.Sign(t.Context(), payload(t, "a"))
		must(t, err)
		s.identify(private, line)
		if got := s.authority.requests(); got != want {
			t.Errorf("%v after the start: %d certificates, want %d", s.clock.now().Sub(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), got, want)
		}
	}
	sign(1)
	sign(1)
	s.clock.pass(s.life - Reserve) // exactly enough
	sign(1)
	s.clock.pass(time.Second)
	sign(2)
	sign(2)
}

func TestDescribeNamesTheServices(t *testing.T) {
	s := newSigstore(t)
	host := func(d *double) string { return strings.TrimPrefix(d.url, "http://") }
	want := "keyless with loopback Sigstore: certificates of " + host(s.authority) + ", log " + host(s.log) + ", timestamps of " + host(s.stamps)
	if got := s.keyless(signing{log: true, stamps: true}).Describe(); got != want {
		t.Errorf("Describe: %q, want %q", got, want)
	}
}

// TestNothingIsSignedWithoutAToken is the fault of a well-known library: it goes on with a
// throw-away key, and succeeds.
func TestNothingIsSignedWithoutAToken(t *testing.T) {
	tests := []struct {
		name  string
		value func(int) (string, error)
		want  string
	}{
		{"empty", func(int) (string, error) { return "", nil }, "signing: the OIDC token is empty: nothing is signed without an identity"},
		{"no token", func(int) (string, error) { return "secret", nil }, "signing: the OIDC token is none: 1 parts, want 3"},
		{"no claims", func(int) (string, error) { return "secret.!.x", nil }, "signing: the OIDC token is none: its claims are not base64"},
		{"error", func(int) (string, error) { return "", errors.New("no permission") }, "signing: no permission"},
		{"good, then empty", func(n int) (string, error) {
			if n == 1 {
				return jwt(map[string]any{"sub": testSubject}), nil
			}
			return "", nil
		}, "signing: the OIDC token is empty: nothing is signed without an identity"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSigstore(t)
			s.tokens.value = tt.value
			s.authority.fail = times(1, 503)
			line, err := s.keyless(signing{log: true, stamps: true}).Sign(t.Context(), payload(t, "a"))
			if line != nil || err == nil || err.Error() != tt.want {
				t.Errorf("bundle %q, error %v, want %q", line, err, tt.want)
			}
			if n := s.log.requests() + s.stamps.requests(); n != 0 {
				t.Errorf("%d requests of the log and the timestamp authority: something was signed", n)
			}
		})
	}
}

// TestTheTokenEndpointsFaultsAreToldApart signs with tokens of a real source.
func TestTheTokenEndpointsFaultsAreToldApart(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		name    string
		serve   http.HandlerFunc
		gaveUp  bool
		mention string
	}{
		{"401", answer(401, `{"message":"no"}`), false, "401"},
		{"500", answer(500, ""), true, "500"},
		{"HTML", answer(200, "<html>busy</html>"), false, "HTML"},
		{"empty", answer(200, `{"value":""}`), false, "empty"},
		{"other JSON", answer(200, `{}`), false, "empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSigstore(t)
			server := httptest.NewServer(tt.serve)
			t.Cleanup(server.Close)
			source := &oidc.Source{URL: server.URL + "/?x=1", RequestToken: "bearer-secret", Retry: retry.Options{Now: s.clock.now, Sleep: s.clock.sleep}}
			signer, err := Keyless(source, s.root(private), s.options())
			must(t, err)
			line, err := signer.Sign(t.Context(), payload(t, "a"))
			var gaveUp *GaveUp
			if line != nil || err == nil || errors.As(err, &gaveUp) != tt.gaveUp || !strings.Contains(err.Error(), tt.mention) {
				t.Errorf("bundle %q, error %v, want one with %q", line, err, tt.mention)
			}
			if tt.gaveUp && gaveUp.Service != "OIDC token endpoint" {
				t.Errorf("gave up on %q", gaveUp.Service)
			}
			if n := s.authority.requests() + s.stamps.requests(); n != 0 || strings.Contains(err.Error(), "secret") {
				t.Errorf("%d requests of services, error %v", n, err)
			}
		})
	}
}

func TestARefusedTokenIsDescribedAndNeverShown(t *testing.T) {
	tests := []struct {
		name   string
		change func(*sigstore)
		want   string
	}{
		{"audience", func(s *sigstore) { s.tokens.aud = "nobody" }, `aud "nobody", exp 2026-03-01T12:05:00Z: its audience should be "sigstore"`},
		{"expired", func(s *sigstore) {
			s.tokens.value = func(int) (string, error) {
				return jwt(map[string]any{"iss": testIssuer, "sub": testSubject, "aud": []string{"sigstore"}, "exp": s.clock.now().Unix() - 1}), nil
			}
		}, `aud ["sigstore"], exp 2026-03-01T11:59:59Z: it is expired: check this machine's clock`},
		{"issuer", func(s *sigstore) {
			s.tokens.value = func(int) (string, error) {
				return jwt(map[string]any{"iss": "https://elsewhere\x1b[31m", "sub": testSubject, "aud": "sigstore", "exp": s.clock.now().Unix() + 9}), nil
			}
		}, `iss "https://elsewhere\x1b[31m", aud "sigstore", exp 2026-03-01T12:00:09Z: is its issuer one that the authority knows?`},
		{"echoed", func(s *sigstore) {
			s.authority.fail = func(_ int, w http.ResponseWriter, req *http.Request) bool {
				http.Error(w, "bad\x00\n"+req.Header.Get("Authorization")+" "+strings.Split(req.Header.Get("Authorization"), ".")[2], http.StatusUnauthorized)
				return true
			}
		}, "certificate authority answered 401 Unauthorized: bad Bearer *** ***; the token has iss"},
		{"at length", func(s *sigstore) {
			s.authority.fail = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				http.Error(w, strings.Repeat("é", 1000), http.StatusForbidden)
				return true
			}
		}, strings.Repeat("é", maxText/2) + "…; the token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSigstore(t)
			tt.change(s)
			line, err := s.keyless(private).Sign(t.Context(), payload(t, "a"))
			if line != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("bundle %q, error %v, want %q", line, err, tt.want)
			}
			var status *StatusError
			if !errors.As(err, &status) || s.authority.requests() != 1 {
				t.Errorf("error %T after %d requests", err, s.authority.requests())
			}
			for token := range s.tokens.live {
				for part := range strings.SplitSeq(token, ".") {
					if strings.Contains(err.Error(), part) {
						t.Errorf("the error shows a part of the token: %v", err)
					}
				}
			}
		})
	}
}

func TestACertificateThatIsOfNoUseIsRefused(t *testing.T) {
	t.Run("for another key", func(t *testing.T) {
		s := newSigstore(t)
		s.forKey = newECDSA(t).Public()
		refused(t, s.keyless(private), "the certificate is for another key")
		if s.stamps.requests() != 0 {
			t.Error("something was signed")
		}
	})
	t.Run("ended by our clock", func(t *testing.T) {
		s := newSigstore(t)
		signer := s.keyless(private, func(o *Options) { o.Now = func() time.Time { return s.clock.now().Add(time.Hour) } })
		refused(t, signer, "the fresh certificate is valid until 2026-03-01T12:10:00Z, and it is 2026-03-01T13:00:00Z here: check this machine's clock")
	})
	t.Run("of an authority that the root does not know", func(t *testing.T) {
		s := newSigstore(t)
		signer := s.keyless(private)
		s.caKey = newECDSA(t)
		s.caRoot = s.issue(authorityTemplate("other"), nil, s.caKey.Public(), s.caKey)
		refused(t, signer, "verifying the fresh bundle: ")
	})
	t.Run("no certificate", func(t *testing.T) {
		s := newSigstore(t)
		s.authority.fail = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, `{"signedCertificateEmbeddedSct":{}}`)
			return true
		}
		refused(t, s.keyless(private), "no certificates")
	})
}

func refused(t *testing.T, signer Signer, want string) {
	t.Helper()
	line, err := signer.Sign(t.Context(), payload(t, "a"))
	if line != nil || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("bundle %q, error %v, want %q", line, err, want)
	}
}

// TestFaultsAreWaitedOut breaks each service in each way, and lets it recover.
func TestFaultsAreWaitedOut(t *testing.T) {
	page := func(most int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n <= most {
				_, _ = io.WriteString(w, " <html>maintenance</html>")
			}
			return n <= most
		}
	}
	cut := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 2 {
			return false
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return true
	}
	short := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 2 {
			return false
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "{")
		return true
	}
	faults := map[string]func(int, http.ResponseWriter, *http.Request) bool{
		"502 for minutes": times(8, 502), "429 with Retry-After": times(2, 429, "Retry-After", "40"), "408": times(1, 408),
		"a web page": page(3), "connection cut": cut, "answer cut": short,
	}
	for service, double := range map[string]func(*sigstore) *double{
		authorityService: func(s *sigstore) *double { return s.authority },
		stampService:     func(s *sigstore) *double { return s.stamps },
		logService:       func(s *sigstore) *double { return s.log },
	} {
		for name, fail := range faults {
			t.Run(service+"/"+name, func(t *testing.T) {
				s := newSigstore(t)
				both := signing{log: true, stamps: true}
				double(s).fail = fail
				var warned []string
				signer := s.keyless(both, func(o *Options) { o.Warn = func(err error) { warned = append(warned, err.Error()) } })
				line, err := signer.Sign(t.Context(), payload(t, "a"))
				must(t, err)
				s.identify(both, line)
				if len(warned) == 0 || !strings.HasPrefix(warned[0], service+": trying again in ") {
					t.Errorf("warnings %q", warned)
				}
				if name == "429 with Retry-After" && s.clock.sleeps[0] < 40*time.Second {
					t.Errorf("waited %v", s.clock.sleeps)
				}
				if s.tokens.given != s.authority.requests() {
					t.Errorf("%d tokens for %d requests of certificates", s.tokens.given, s.authority.requests())
				}
			})
		}
	}
}

// TestRefusedConnectionsAreWaitedOut starts a service late.
func TestRefusedConnectionsAreWaitedOut(t *testing.T) {
	s := newSigstore(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := s.stamp(w, req); err != nil {
			t.Error(err)
		}
	})
	s.stamps.url = "http://" + address
	tries := 0
	signer := s.keyless(private, func(o *Options) {
		o.Warn = func(err error) {
			if !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("warning %v", err)
			}
			if tries++; tries == 3 {
				listener, err := net.Listen("tcp", address)
				must(t, err)
				server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
				server.Start()
				t.Cleanup(server.Close)
			}
		}
	})
	line, err := signer.Sign(t.Context(), payload(t, "a"))
	must(t, err)
	s.identify(private, line)
	if tries != 3 {
		t.Errorf("%d tries before there was an answer", tries)
	}
}

// TestASilentServiceIsAFault has a service that does not answer its first request.
func TestASilentServiceIsAFault(t *testing.T) {
	for _, silent := range []string{authorityService, stampService, logService} {
		s := newSigstore(t)
		end := make(chan struct{})
		t.Cleanup(func() { close(end) })
		double := map[string]*double{authorityService: s.authority, stampService: s.stamps, logService: s.log}[silent]
		double.fail = func(n int, _ http.ResponseWriter, req *http.Request) bool {
			if n == 1 {
				_, _ = io.Copy(io.Discard, req.Body)
				select {
				case <-req.Context().Done():
				case <-end:
				}
			}
			return n == 1
		}
		both := signing{log: true, stamps: true}
		signer := s.keyless(both).(*keyless)
		signer.patience.options.Try = 200 * time.Millisecond
		line, err := signer.Sign(t.Context(), payload(t, "a"))
		must(t, err)
		s.identify(both, line)
		if double.requests() != 2 {
			t.Errorf("%s: %d requests", silent, double.requests())
		}
	}
}

func TestGivingUpSaysWhatToDo(t *testing.T) {
	for service, double := range map[string]func(*sigstore) *double{
		authorityService: func(s *sigstore) *double { return s.authority },
		stampService:     func(s *sigstore) *double { return s.stamps },
		logService:       func(s *sigstore) *double { return s.log },
	} {
		t.Run(service, func(t *testing.T) {
			s := newSigstore(t)
			d := double(s)
			d.fail = times(always, 502)
			start := s.clock.now()
			signer := s.keyless(signing{log: true, stamps: true})
			line, err := signer.Sign(t.Context(), payload(t, "a"))
			var gaveUp *GaveUp
			if line != nil || !errors.As(err, &gaveUp) || gaveUp.Service != service {
				t.Fatalf("bundle %q, error %v", line, err)
			}
			if passed := s.clock.now().Sub(start); passed > DefaultBudget || passed < DefaultBudget-2*time.Minute || gaveUp.After > DefaultBudget {
				t.Errorf("gave up after %v, says %v", passed, gaveUp.After)
			}
			want := service + " unreachable for " + gaveUp.After.String() + " (last: 502 Bad Gateway)"
			if err.Error() != want {
				t.Errorf("error\n%v, want\n%s", err, want)
			}
			// What is left of the budget, and no more, is for the next statement.
			if _, err := signer.Sign(t.Context(), payload(t, "b")); !errors.As(err, &gaveUp) {
				t.Errorf("error %v", err)
			}
			if passed := s.clock.now().Sub(start); passed > DefaultBudget || gaveUp.After > DefaultBudget {
				t.Errorf("the budget began anew: %v have passed", passed)
			}
		})
	}
}

func TestTheBudgetIsOneForAllFaults(t *testing.T) {
	s := newSigstore(t)
	s.stamps.fail = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n%2 == 1 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(503)
		}
		return n%2 == 1
	}
	signer := s.keyless(private, func(o *Options) { o.Budget = 150 * time.Second })
	for i := range 3 {
		_, err := signer.Sign(t.Context(), payload(t, "a"))
		var gaveUp *GaveUp
		if gone := errors.As(err, &gaveUp); gone != (i == 2) {
			t.Errorf("statement %d: %v", i, err)
		}
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, state := range []int{400, 404, 501, 302} {
		s := newSigstore(t)
		s.stamps.fail = times(always, state, "Location", s.log.url)
		_, err := s.keyless(private).Sign(t.Context(), payload(t, "a"))
		var status *StatusError
		if !errors.As(err, &status) || status.Code != state || status.Service != stampService || s.stamps.requests() != 1 || s.log.requests() != 0 {
			t.Errorf("%d: error %v after %d requests", state, err, s.stamps.requests())
		}
	}
}

// TestACertificateThatEndsDuringARetryIsReplaced lets a service come back when the
// first certificate is near its end: the signature must be a new one's.
func TestACertificateThatEndsDuringARetryIsReplaced(t *testing.T) {
	for name, with := range map[string]signing{"timestamp authority": private, "log": public} {
		t.Run(name, func(t *testing.T) {
			s := newSigstore(t)
			start := s.clock.now()
			fail := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				if s.clock.now().Sub(start) > 12*time.Minute {
					return false
				}
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(503)
				return true
			}
			s.stamps.fail, s.log.fail = fail, fail
			signer := s.keyless(with, func(o *Options) { o.Budget = time.Hour })
			line, err := signer.Sign(t.Context(), payload(t, "a"))
			must(t, err)
			s.identify(with, line)
			if n := s.authority.requests(); n != 2 {
				t.Errorf("%d certificates, want 2", n)
			}
		})
	}
}

// TestAnEntryAfterTheCertificatesEndIsMadeAnew has a log that takes an entry in too late, once.
func TestAnEntryAfterTheCertificatesEndIsMadeAnew(t *testing.T) {
	s := newSigstore(t)
	s.integrated = s.life + time.Second
	s.log.fail = func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		if n == 2 {
			s.integrated = 0
		}
		return false
	}
	line, err := s.keyless(public).Sign(t.Context(), payload(t, "a"))
	must(t, err)
	s.identify(public, line)
	if s.authority.requests() != 2 || s.log.requests() != 2 {
		t.Errorf("%d certificates, %d entries", s.authority.requests(), s.log.requests())
	}

	s = newSigstore(t)
	s.integrated = s.life + time.Second
	refused(t, s.keyless(public), "the certificate ends before the services have answered")
	if s.authority.requests() != anew {
		t.Errorf("%d certificates, want %d", s.authority.requests(), anew)
	}
}

// TestALostAnswerOfTheLogIsFound cuts the connection after the entry was made.
func TestALostAnswerOfTheLogIsFound(t *testing.T) {
	s := newSigstore(t)
	s.log.fail = func(n int, w http.ResponseWriter, req *http.Request) bool {
		if n > 1 {
			return false
		}
		if err := s.enter(httptest.NewRecorder(), req); err != nil {
			t.Error(err)
		}
		w.WriteHeader(504)
		return true
	}
	line, err := s.keyless(public).Sign(t.Context(), payload(t, "a"))
	must(t, err)
	s.identify(public, line)
	if s.log.requests() != 3 || len(s.entries) != 1 {
		t.Errorf("%d requests, %d entries", s.log.requests(), len(s.entries))
	}
}

// TestWhatIsNoEntryIsAnError has answers that libraries take for entries.
func TestWhatIsNoEntryIsAnError(t *testing.T) {
	for _, body := range []string{
		"", "null", "{}", `{"x":{}}`, `{"x":null}`, `[]`, "not JSON",
		`{"x":{"body":"e30=","integratedTime":1,"logIndex":0,"logID":"` + strings.Repeat("a", 64) + `"}}`,
		`{"x":{"body":"e30=","integratedTime":1,"logIndex":0,"logID":"` + strings.Repeat("a", 64) + `","verification":{}}}`,
		`{"x":{"body":"e30=","integratedTime":1,"logIndex":0,"logID":"` + strings.Repeat("a", 64) + `","verification":{"inclusionProof":{}}}}`,
		`{"x":{"body":"e30=","integratedTime":1,"logIndex":0,"logID":"` + strings.Repeat("a", 64) + `","verification":{"inclusionProof":{"checkpoint":"c","hashes":[],"logIndex":0,"rootHash":"` + strings.Repeat("a", 64) + `","treeSize":1}}}}`,
	} {
		for _, state := range []int{201, 409} {
			s := newSigstore(t)
			s.log.fail = func(_ int, w http.ResponseWriter, req *http.Request) bool {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("ETag", "x")
				if state == 409 && req.Method == http.MethodPost {
					w.Header().Set("Location", "/api/v1/log/entries/x")
					w.WriteHeader(409)
					_, _ = io.WriteString(w, "{}")
					return true
				}
				if state == 201 {
					w.WriteHeader(201)
				}
				_, _ = io.WriteString(w, body)
				return true
			}
			if line, err := s.keyless(public).Sign(t.Context(), payload(t, "a")); err == nil || line != nil {
				t.Errorf("answer %q gave %q", body, line)
			}
		}
	}
}

func TestLyingServicesAreFoundOut(t *testing.T) {
	t.Run("timestamp authority", func(t *testing.T) {
		s := newSigstore(t)
		s.tsaKey = newECDSA(t)
		refused(t, s.keyless(private), "verifying the fresh bundle: ")
	})
	t.Run("timestamp of something else", func(t *testing.T) {
		s := newSigstore(t)
		first := []byte(nil)
		s.stamps.fail = func(n int, w http.ResponseWriter, req *http.Request) bool {
			if n == 1 {
				recorder := httptest.NewRecorder()
				if err := s.stamp(recorder, req); err != nil {
					t.Error(err)
				}
				first = recorder.Body.Bytes()
			}
			w.WriteHeader(201)
			_, _ = w.Write(first)
			return true
		}
		signer := s.keyless(private)
		_, err := signer.Sign(t.Context(), payload(t, "a"))
		must(t, err)
		refused(t, signer, "verifying the fresh bundle: ")
	})
	t.Run("timestamp before the certificate", func(t *testing.T) {
		s := newSigstore(t)
		s.stamps.fail = func(int, http.ResponseWriter, *http.Request) bool { s.clock.pass(-time.Minute); return false }
		refused(t, s.keyless(private), "verifying the fresh bundle: ")
	})
	t.Run("log", func(t *testing.T) {
		s := newSigstore(t)
		signer := s.keyless(public)
		s.rekor = newSigstore(t).rekor
		refused(t, signer, "verifying the fresh bundle: ")
	})
}

// TestTheSelfCheckRefusesEveryChange changes what a good bundle says.
func TestTheSelfCheckRefusesEveryChange(t *testing.T) {
	s := newSigstore(t)
	both := signing{log: true, stamps: true}
	signer := s.keyless(both).(*keyless)
	statement := payload(t, "a")
	line, err := signer.Sign(t.Context(), statement)
	must(t, err)
	must(t, signer.verify(line, statement, signer.keys))

	other := newSigstore(t)
	foreign, err := other.keyless(both).Sign(t.Context(), statement)
	must(t, err)
	at := func(doc map[string]any, path string) (parent map[string]any, last string) {
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			next := doc[key]
			if list, ok := next.([]any); ok {
				next = list[0]
			}
			doc = next.(map[string]any)
		}
		return doc, keys[len(keys)-1]
	}
	paths := []string{
		"dsseEnvelope.payload", "dsseEnvelope.payloadType", "dsseEnvelope.signatures.sig", "verificationMaterial.certificate.rawBytes",
		"verificationMaterial.timestampVerificationData.rfc3161Timestamps.signedTimestamp", "verificationMaterial.tlogEntries.inclusionPromise.signedEntryTimestamp",
		"verificationMaterial.tlogEntries.canonicalizedBody", "verificationMaterial.tlogEntries.inclusionProof.rootHash",
		"verificationMaterial.tlogEntries.inclusionProof.checkpoint.envelope", "verificationMaterial.tlogEntries.integratedTime", "verificationMaterial.tlogEntries.logId.keyId",
		"verificationMaterial.certificate", "verificationMaterial.tlogEntries", "dsseEnvelope", "mediaType",
	}
	for _, path := range paths {
		for _, change := range []string{"flip", "drop", "foreign"} {
			var doc, theirs map[string]any
			must(t, json.Unmarshal(line, &doc))
			must(t, json.Unmarshal(foreign, &theirs))
			parent, key := at(doc, path)
			value, isText := parent[key].(string)
			switch {
			case parent[key] == nil:
				t.Fatalf("the bundle has no %s", path)
			case change == "drop":
				delete(parent, key)
			case change == "flip" && isText:
				half := len(value) / 2
				flipped := map[bool]byte{true: 'B', false: 'A'}[value[half] == 'A']
				if path == "verificationMaterial.tlogEntries.integratedTime" {
					flipped = '9' + '0' - value[half]
				}
				parent[key] = value[:half] + string(flipped) + value[half+1:]
			case change == "foreign":
				from, _ := at(theirs, path)
				if same := from[key] == any(value); isText && same {
					continue // payload, its type, the media type
				}
				parent[key] = from[key]
			default:
				continue
			}
			if path == "verificationMaterial.tlogEntries.logId.keyId" && change == "drop" {
				parent[key] = ""
			}
			changed, err := json.Marshal(doc)
			must(t, err)
			if err := signer.verify(changed, statement, signer.keys); err == nil {
				t.Errorf("%s %s: the bundle verifies", change, path)
			}
		}
	}
	if err := signer.verify(line, payload(t, "b"), signer.keys); err == nil {
		t.Error("a bundle of another statement verifies")
	}
}

func TestKeylessRefusesInstancesThatCannotVerify(t *testing.T) {
	s := newSigstore(t)
	source := s.tokens
	tests := []struct {
		name string
		make func() error
		want string
	}{
		{"no tokens", func() error { _, err := Keyless(nil, s.root(private), s.options()); return err }, "no source of OIDC tokens"},
		{"no root", func() error { _, err := Keyless(source, nil, s.options()); return err }, "no trusted root"},
		{"no signing config", func() error {
			r := s.root(private)
			r.Signing = nil
			_, err := Keyless(source, r, s.options())
			return err
		}, "trusted root loopback comes without a signing config"},
		{"a log that is not used", func() error {
			r := s.root(public)
			r.Signing = s.root(private).Signing
			_, err := Keyless(source, r, s.options())
			return err
		}, "names no log, but its trusted root asks for entries in one"},
		{"a log that is not known", func() error {
			r := s.root(public)
			r.Material = s.root(private).Material
			_, err := Keyless(source, r, s.options())
			return err
		}, "its trusted root has none to verify entries with"},
		{"no time", func() error { _, err := Keyless(source, s.root(signing{}), s.options()); return err }, "nothing would prove that the certificate was valid"},
		{"not begun", func() error {
			r := s.root(private)
			_, err := Keyless(source, r, Options{Now: func() time.Time { return s.clock.now().Add(-2 * time.Hour) }})
			return err
		}, "selecting a certificate authority of the signing config of loopback"},
		{"plain http", func() error {
			for _, d := range []*double{s.authority, s.stamps} {
				kept := d.url
				d.url = "http://example.com"
				_, err := Keyless(source, s.root(private), s.options())
				d.url = kept
				if err == nil || !strings.Contains(err.Error(), "want https") {
					return err
				}
			}
			return errors.New("want https twice")
		}, "want https twice"},
	}
	for _, tt := range tests {
		if err := tt.make(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOnlyStatementsAreSigned(t *testing.T) {
	s := newSigstore(t)
	for _, data := range []string{"", "{}", "hello", `{"_type":"x"}`} {
		if _, err := s.keyless(private).Sign(t.Context(), []byte(data)); err == nil {
			t.Errorf("%q was signed", data)
		}
	}
	if s.tokens.given != 0 {
		t.Error("a token was taken for what is no statement")
	}
}

func TestSigningEndsWithItsContext(t *testing.T) {
	s := newSigstore(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.stamps.fail = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		cancel()
		w.WriteHeader(503)
		return true
	}
	if _, err := s.keyless(private).Sign(ctx, payload(t, "a")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSignersAreSafeForConcurrentUse(t *testing.T) {
	s := newSigstore(t)
	signer := s.keyless(private)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := signer.Sign(t.Context(), payload(t, "a")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if s.authority.requests() != 1 {
		t.Errorf("%d certificates", s.authority.requests())
	}
}

// TestLibrariesHaveNoSayAndSayNothing sets what libraries look at.
func TestLibrariesHaveNoSayAndSayNothing(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	for name, value := range map[string]string{
		"HOME": home, "DEBUG": "1", "SWAGGER_DEBUG": "1", "SIGSTORE_REKOR_PUBLIC_KEY": "/x", "SIGSTORE_ROOT_FILE": "/x", "SIGSTORE_ID_TOKEN": "x", "TUF_ROOT": home + "/tuf",
	} {
		t.Setenv(name, value)
	}
	read, write, err := os.Pipe()
	must(t, err)
	kept, keptOut := os.Stderr, os.Stdout
	os.Stderr, os.Stdout = write, write
	s := newSigstore(t)
	s.log.fail = times(1, 502)
	_, err = s.keyless(signing{log: true, stamps: true}).Sign(t.Context(), payload(t, "a"))
	os.Stderr, os.Stdout = kept, keptOut
	must(t, write.Close())
	must(t, err)
	said, err := io.ReadAll(read)
	must(t, err)
	if len(said) != 0 {
		t.Errorf("libraries said %q", said)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

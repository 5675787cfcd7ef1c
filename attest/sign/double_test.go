package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/go-openapi/runtime"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"

	"github.com/volant/fledge-action/attest/trust"
)

const (
	testIssuer   = "https://token.actions.githubusercontent.com"
	testWorkflow = "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1"
	testSubject  = "repo:o/r:ref:refs/tags/v1"
)

// clock stands still but while somebody sleeps.
type clock struct {
	mu     sync.Mutex
	at     time.Time
	sleeps []time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.pass(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sleeps = append(c.sleeps, d)
	return ctx.Err()
}

// sigstore is a certificate authority, a timestamp authority and a log of the first
// generation on loopback, with tokens to use them. They share one clock.
type sigstore struct {
	t     *testing.T
	clock *clock

	authority, stamps, log *double
	tokens                 *tokens

	caRoot, tsaRoot, tsaLeaf *x509.Certificate
	caKey, tsaKey            *ecdsa.PrivateKey
	rekor                    *ca.VirtualSigstore // signs for the log
	life                     time.Duration       // of a certificate
	forKey                   crypto.PublicKey    // whom certificates are for; nil: who asks
	integrated               time.Duration       // how much later than now the log takes entries in
	entries                  map[string][]byte   // of the log, by UUID
}

// A double is one service. fail, unless nil, may answer the nth request, counted from
// 1, in its place.
type double struct {
	url  string
	mu   sync.Mutex
	n    int
	fail func(n int, w http.ResponseWriter, req *http.Request) bool
}

func (d *double) requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func newDouble(t *testing.T, serve func(w http.ResponseWriter, req *http.Request) error) *double {
	t.Helper()
	d := &double{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		d.mu.Lock()
		d.n++
		n, fail := d.n, d.fail
		d.mu.Unlock()
		if fail != nil && fail(n, w, req) {
			return
		}
		if err := serve(w, req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

// times answers the first n requests with a state.
func times(most, state int, header ...string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > most {
			return false
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(state)
		return true
	}
}

const always = 1 << 30

func newSigstore(t *testing.T) *sigstore {
	t.Helper()
	s := &sigstore{
		t: t, clock: &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, life: 10 * time.Minute, entries: map[string][]byte{},
	}
	s.tokens = &tokens{clock: s.clock, live: map[string]bool{}}
	s.caKey, s.tsaKey = newECDSA(t), newECDSA(t)
	s.caRoot = s.issue(authorityTemplate("Fulcio Intermediate l2"), nil, s.caKey.Public(), s.caKey)
	tsaRootKey := newECDSA(t)
	s.tsaRoot = s.issue(authorityTemplate("TSA intermediate"), nil, tsaRootKey.Public(), tsaRootKey)
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	must(t, err)
	s.tsaLeaf = s.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "TSA Timestamping", Organization: []string{"GitHub, Inc."}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}, s.tsaRoot, s.tsaKey.Public(), tsaRootKey)
	s.rekor, err = ca.NewVirtualSigstore()
	must(t, err)
	s.authority = newDouble(t, s.certify)
	s.stamps = newDouble(t, s.stamp)
	s.log = newDouble(t, s.enter)
	return s
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"GitHub, Inc."}}, KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
}

// issue makes a certificate; a nil parent means the template itself.
func (s *sigstore) issue(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	s.t.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = s.clock.now().Add(-time.Hour), s.clock.now().AddDate(50, 0, 0)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	must(s.t, err)
	cert, err := x509.ParseCertificate(der)
	must(s.t, err)
	return cert
}

// signing is what a signing config names.
type signing struct{ log, stamps bool }

// root is the instance's root: GitHub's shape without a log, else the public-good
// one's.
func (s *sigstore) root(with signing) *trust.Root {
	s.t.Helper()
	begin := s.clock.now().Add(-time.Hour)
	logs := map[string]*root.TransparencyLog{}
	var logURLs, stampURLs []root.Service
	service := func(address string) root.Service {
		return root.Service{URL: address, MajorAPIVersion: 1, ValidityPeriodStart: begin, Operator: address}
	}
	if with.log {
		for id, log := range s.rekor.RekorLogs() {
			log.ValidityPeriodStart, log.ValidityPeriodEnd = begin, time.Time{}
			logs[id] = log
		}
		logURLs = []root.Service{service(s.log.url)}
	}
	if with.stamps {
		stampURLs = []root.Service{service(s.stamps.url + "/api/v1/timestamp")}
	}
	material, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.caRoot, ValidityPeriodStart: begin}}, nil,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Root: s.tsaRoot, Leaf: s.tsaLeaf, ValidityPeriodStart: begin}}, logs)
	must(s.t, err)
	any := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	config, err := root.NewSigningConfig(root.SigningConfigMediaType02, []root.Service{service(s.authority.url)}, nil, logURLs, any, stampURLs, any)
	must(s.t, err)
	return &trust.Root{Material: material, Signing: config, Name: "loopback"}
}

func (s *sigstore) options() Options {
	return Options{Now: s.clock.now, Sleep: s.clock.sleep}
}

func (s *sigstore) keyless(with signing, change ...func(*Options)) Signer {
	s.t.Helper()
	o := s.options()
	for _, f := range change {
		f(&o)
	}
	signer, err := Keyless(s.tokens, s.root(with), o)
	must(s.t, err)
	return signer
}

// certify is Fulcio. It takes each token once, and only from who has the key.
func (s *sigstore) certify(w http.ResponseWriter, req *http.Request) error {
	if req.Method != http.MethodPost || req.URL.Path != "/api/v2/signingCert" {
		return fmt.Errorf("no %s of %s here", req.Method, req.URL.Path)
	}
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	if err := s.tokens.use(token); err != nil {
		return err
	}
	var asked struct {
		PublicKeyRequest struct {
			PublicKey         struct{ Algorithm, Content string }
			ProofOfPossession []byte
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&asked); err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(asked.PublicKeyRequest.PublicKey.Content))
	if block == nil {
		return fmt.Errorf("no PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(testSubject))
	if !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), sum[:], asked.PublicKeyRequest.ProofOfPossession) {
		return fmt.Errorf("the proof of possession is wrong")
	}
	if s.forKey != nil {
		public = s.forKey
	}
	san, err := url.Parse(testWorkflow)
	if err != nil {
		return err
	}
	now := s.clock.now()
	leaf := s.issue(&x509.Certificate{
		NotBefore: now, NotAfter: now.Add(s.life), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		URIs: []*url.URL{san}, ExtraExtensions: extensions(s.t, map[int]string{8: testIssuer, 9: testWorkflow, 12: "https://github.com/o/r", 13: strings.Repeat("a", 40), 14: "refs/tags/v1"}),
	}, s.caRoot, public, s.caKey)
	var answer struct {
		SignedCertificateEmbeddedSct struct {
			Chain struct {
				Certificates []string `json:"certificates"`
			} `json:"chain"`
		} `json:"signedCertificateEmbeddedSct"`
	}
	for _, cert := range []*x509.Certificate{leaf, s.caRoot} {
		answer.SignedCertificateEmbeddedSct.Chain.Certificates = append(answer.SignedCertificateEmbeddedSct.Chain.Certificates,
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	}
	return json.NewEncoder(w).Encode(answer)
}

// extensions are Fulcio's, 1.3.6.1.4.1.57264.1.N.
func extensions(t *testing.T, values map[int]string) (all []pkix.Extension) {
	t.Helper()
	for n, value := range values {
		der, err := asn1.MarshalWithParams(value, "utf8")
		must(t, err)
		all = append(all, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}, Value: der})
	}
	return all
}

// stamp is the timestamp authority.
func (s *sigstore) stamp(w http.ResponseWriter, req *http.Request) error {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	asked, err := timestamp.ParseRequest(body)
	if err != nil {
		return err
	}
	made := timestamp.Timestamp{
		HashAlgorithm: asked.HashAlgorithm, HashedMessage: asked.HashedMessage, Nonce: asked.Nonce, Time: s.clock.now(),
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	answer, err := made.CreateResponseWithOpts(s.tsaLeaf, s.tsaKey, crypto.SHA256)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(answer)
	return err
}

// enter is Rekor v1: an entry of its own, or 409 with the place of the one that is
// there, which a GET gives.
func (s *sigstore) enter(w http.ResponseWriter, req *http.Request) error {
	if uuid, ok := strings.CutPrefix(req.URL.Path, "/api/v1/log/entries/"); ok && req.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write(s.entries[uuid])
		return err
	}
	proposed, err := models.UnmarshalProposedEntry(req.Body, runtime.JSONConsumer())
	if err != nil {
		return err
	}
	entry, err := types.UnmarshalEntry(proposed)
	if err != nil {
		return err
	}
	body, err := types.CanonicalizeEntry(req.Context(), entry)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	uuid := hex.EncodeToString(sum[:])
	if _, there := s.entries[uuid]; there {
		w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, err = io.WriteString(w, `{"code":409,"message":"an equivalent entry already exists"}`)
		return err
	}
	if s.entries[uuid], err = s.entry(uuid, body); err != nil {
		return err
	}
	w.Header().Set("ETag", uuid)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(s.entries[uuid])
	return err
}

func (s *sigstore) entry(uuid string, body []byte) ([]byte, error) {
	id, err := s.rekor.RekorLogID()
	if err != nil {
		return nil, err
	}
	at, index, text := s.clock.now().Add(s.integrated).Unix(), int64(0), base64.StdEncoding.EncodeToString(body)
	promise, err := s.rekor.RekorSignPayload(tlog.RekorPayload{Body: text, IntegratedTime: at, LogIndex: index, LogID: id})
	if err != nil {
		return nil, err
	}
	proof, err := s.rekor.GetInclusionProof(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(models.LogEntry{uuid: models.LogEntryAnon{
		Body: text, IntegratedTime: &at, LogID: &id, LogIndex: &index,
		Verification: &models.LogEntryAnonVerification{InclusionProof: proof, SignedEntryTimestamp: promise},
	}})
}

// tokens gives tokens that are good for five minutes and one use.
type tokens struct {
	clock *clock
	mu    sync.Mutex
	given int
	live  map[string]bool
	value func(n int) (string, error) // in place of a token; nil gives good ones
	aud   string                      // "" means the one that is asked for
}

func (k *tokens) Token(_ context.Context, audience string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.given++
	if k.value != nil {
		return k.value(k.given)
	}
	if k.aud != "" {
		audience = k.aud
	}
	token := jwt(map[string]any{"iss": testIssuer, "sub": testSubject, "aud": audience, "exp": k.clock.now().Add(5 * time.Minute).Unix(), "jti": k.given})
	k.live[token] = true
	return token, nil
}

func (k *tokens) use(token string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.live[token] {
		return fmt.Errorf("There was an error processing the identity token")
	}
	delete(k.live, token)
	claims, err := unverified(token)
	if err != nil {
		return err
	}
	if string(claims.Audience) != `"sigstore"` || k.clock.now().After(time.Unix(claims.Expires, 0)) {
		return fmt.Errorf("There was an error processing the identity token")
	}
	return nil
}

func jwt(claims map[string]any) string {
	data, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + part(data) + "." + part([]byte("a signature of many bytes"))
}

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package bundletest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
)

// mediaType is that of the bundles.
const mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// A Stack is a certificate authority, a CT log, a transparency log and a timestamp
// authority.
type Stack struct {
	virtual *ca.VirtualSigstore
	ct      *ecdsa.PrivateKey

	root            *x509.Certificate
	intermediate    *x509.Certificate
	intermediateKey *ecdsa.PrivateKey
	start           time.Time
}

// New starts a stack of fresh keys.
func New(t testing.TB) *Stack {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	check(t, err)
	s := &Stack{virtual: virtual, ct: newKey(t), start: time.Now().Add(-24 * time.Hour)}
	name := "bundletest " + hex.EncodeToString(logID(t, s.ct.Public())[:4])
	rootKey := newKey(t)
	s.intermediateKey = newKey(t)
	s.root = s.authority(t, name, &rootKey.PublicKey, nil, rootKey)
	s.intermediate = s.authority(t, name+" intermediate", &s.intermediateKey.PublicKey, s.root, rootKey)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

// authority makes the certificate of an authority; without a parent it is a root.
func (s *Stack) authority(t testing.TB, name string, public crypto.PublicKey, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"fledge tests"}},
		NotBefore: s.start, NotAfter: s.start.Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

// Services are those that a trusted root has.
type Services struct {
	CT, Log, TSA bool
	Until        time.Time // when the root stopped using its certificate authority; zero for not
}

// Public are the services of a root like that of the public-good Sigstore.
var Public = Services{CT: true, Log: true, TSA: true}

// Private are those of a root like GitHub's for private repositories.
var Private = Services{TSA: true}

// Root is a trusted root with some of the services.
func (s *Stack) Root(t testing.TB, name string, with Services) *trust.Root {
	t.Helper()
	logs, ct := map[string]*root.TransparencyLog{}, map[string]*root.TransparencyLog{}
	var stampers []root.TimestampingAuthority
	if with.Log {
		for id, log := range s.virtual.RekorLogs() {
			raw, err := hex.DecodeString(id)
			check(t, err)
			log.ID = raw
			logs[id] = log
		}
	}
	if with.CT {
		id := logID(t, s.ct.Public())
		ct[hex.EncodeToString(id)] = &root.TransparencyLog{
			BaseURL: "https://ct.test", ID: id, ValidityPeriodStart: s.start, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256, PublicKey: s.ct.Public(),
		}
	}
	if with.TSA {
		stampers = s.virtual.TimestampingAuthorities()
	}
	fulcio := &root.FulcioCertificateAuthority{
		Root: s.root, Intermediates: []*x509.Certificate{s.intermediate}, URI: "https://fulcio.test", ValidityPeriodStart: s.start, ValidityPeriodEnd: with.Until,
	}
	material, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{fulcio}, ct, stampers, logs)
	check(t, err)
	text, err := material.MarshalJSON()
	check(t, err)
	// What a user has is a file, so that is what tests verify with.
	material, err = root.NewTrustedRootFromJSON(text)
	check(t, err)
	return &trust.Root{Material: material, Name: name, JSON: text}
}

func logID(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	check(t, err)
	sum := sha256.Sum256(der)
	return sum[:]
}

// Signed says how a statement is signed with a certificate.
type Signed struct {
	Leaf        Leaf
	Log, TSA    bool
	PayloadType string // "" is in-toto's
	LogTime     time.Time
	TwoEntries  bool // in the log, the second with an index of its own
}

// Sign makes a bundle with a certificate.
func (s *Stack) Sign(t testing.TB, payload []byte, how Signed) []byte {
	t.Helper()
	key := newKey(t)
	cert := s.issue(t, how.Leaf, &key.PublicKey)
	envelope, raw, signature := envelop(t, payload, how.PayloadType, key)
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: cert.Raw}},
	}
	if how.Log {
		at := how.LogTime
		if at.IsZero() {
			at = cert.NotBefore.Add(time.Minute)
		}
		material.TlogEntries = append(material.TlogEntries, s.entry(t, cert, raw, signature, at, 0))
		if how.TwoEntries {
			material.TlogEntries = append(material.TlogEntries, s.entry(t, cert, raw, signature, at, 7))
		}
	}
	if how.TSA {
		stamp, err := s.virtual.TimestampResponse(signature)
		check(t, err)
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
		}
	}
	return encode(t, &protobundle.Bundle{MediaType: mediaType, VerificationMaterial: material, Content: envelope})
}

// A Key signs without certificate and services.
type Key struct {
	private *ecdsa.PrivateKey
	Hint    string
	Public  []byte // PEM
}

// NewKey makes a key.
func NewKey(t testing.TB) *Key {
	t.Helper()
	private := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	check(t, err)
	sum := sha256.Sum256(der)
	return &Key{
		private: private, Hint: base64.StdEncoding.EncodeToString(sum[:]),
		Public: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}
}

// Private is the private key in PEM.
func (k *Key) Private(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Sign makes a bundle with the key under a hint.
func (k *Key) Sign(t testing.TB, payload []byte, hint string) []byte {
	t.Helper()
	envelope, _, _ := envelop(t, payload, "", k.private)
	return encode(t, &protobundle.Bundle{
		MediaType: mediaType, Content: envelope,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: hint}},
		},
	})
}

// envelop signs a payload: as a part of a bundle, as the log wants it, and the
// signature alone.
func envelop(t testing.TB, payload []byte, payloadType string, key *ecdsa.PrivateKey) (*protobundle.Bundle_DsseEnvelope, *dsse.Envelope, []byte) {
	t.Helper()
	if payloadType == "" {
		payloadType = statement.PayloadType
	}
	sum := sha256.Sum256(dsse.PAE(payloadType, payload))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	check(t, err)
	raw := &dsse.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(signature)}},
	}
	return &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: signature}},
	}}, raw, signature
}

// entry is a log entry with promise and inclusion proof.
func (s *Stack) entry(t testing.TB, cert *x509.Certificate, envelope *dsse.Envelope, signature []byte, at time.Time, index int64) *protorekor.TransparencyLogEntry {
	t.Helper()
	entry, err := s.virtual.GenerateTlogEntry(cert, envelope, signature, at.Unix(), true)
	check(t, err)
	e := entry.TransparencyLogEntry()
	e.LogIndex = index // of all the log's shards; the proof has its own
	e.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	promise, err := s.virtual.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId),
	})
	check(t, err)
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	return e
}

func encode(t testing.TB, b *protobundle.Bundle) []byte {
	t.Helper()
	text, err := protojson.Marshal(b)
	check(t, err)
	var compact bytes.Buffer // protojson's white space varies on purpose
	check(t, json.Compact(&compact, text))
	return compact.Bytes()
}

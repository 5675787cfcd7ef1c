package bundletest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/statement"
)

// A Leaf is a certificate to be issued.
type Leaf struct {
	Claims   statement.Claims // what Fulcio sees in the token
	Identity string           // "" is the workflow of the claims
	Email    string           // an identity of another kind, instead; with Identity as well
	SCT      SCT
	Start    time.Time     // zero is a minute ago
	Lives    time.Duration // 0 is ten minutes
}

// SCT is what a certificate has of the CT log.
type SCT int

// Kinds of SCTs.
const (
	GoodSCT  SCT = iota
	NoSCT        // as GitHub's own instance
	WrongSCT     // of another certificate
)

// Claims are those of a job of the workflow release.yml of o/r, for a tag.
func Claims() statement.Claims {
	return statement.Claims{
		Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:o/r:ref:refs/tags/v1",
		Ref: "refs/tags/v1", SHA: "0123456789abcdef0123456789abcdef01234567", Repository: "o/r", EventName: "push",
		JobWorkflowRef: "o/r/.github/workflows/release.yml@refs/tags/v1", WorkflowRef: "o/r/.github/workflows/release.yml@refs/tags/v1",
		RepositoryID: "1234", RepositoryOwnerID: "56", RunnerEnvironment: "github-hosted", RunID: "789", RunAttempt: "2",
		RepositoryVisibility: "public",
	}
}

// oid is the arc of Fulcio's extensions.
func oid(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}
}

// extensions are what Fulcio writes of a token's claims.
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
func extensions(t testing.TB, c statement.Claims) []pkix.Extension {
	t.Helper()
	const server = "https://github.com/"
	repository := server + c.Repository
	owner, _, _ := strings.Cut(c.Repository, "/")
	var all []pkix.Extension
	for n, value := range []string{
		1: c.Issuer, 8: c.Issuer, 9: server + c.JobWorkflowRef, 10: c.SHA, 11: c.RunnerEnvironment, 12: repository, 13: c.SHA, 14: c.Ref,
		15: c.RepositoryID, 16: server + owner, 17: c.RepositoryOwnerID, 18: server + c.WorkflowRef, 19: c.SHA, 20: c.EventName,
		21: repository + "/actions/runs/" + c.RunID + "/attempts/" + c.RunAttempt, 22: c.RepositoryVisibility,
	} {
		if value == "" {
			continue
		}
		raw := []byte(value)
		if n > 7 { // those before are plain text
			var err error
			raw, err = asn1.MarshalWithParams(value, "utf8")
			check(t, err)
		}
		all = append(all, pkix.Extension{Id: oid(n), Value: raw})
	}
	return all
}

// issue makes a certificate for signing code.
func (s *Stack) issue(t testing.TB, l Leaf, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	if l.Start.IsZero() {
		l.Start = time.Now().Add(-time.Minute)
	}
	if l.Lives == 0 {
		l.Lives = 10 * time.Minute
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: l.Start, NotAfter: l.Start.Add(l.Lives),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: extensions(t, l.Claims),
	}
	identity := l.Identity
	if identity == "" && l.Email == "" {
		identity = "https://github.com/" + l.Claims.JobWorkflowRef
	}
	if l.Email != "" {
		template.EmailAddresses = []string{l.Email}
	}
	if identity != "" {
		u, err := url.Parse(identity)
		check(t, err)
		template.URIs = []*url.URL{u}
	}
	cert := s.create(t, template, public)
	if l.SCT == NoSCT {
		return cert
	}
	if l.SCT == WrongSCT {
		other := *template
		other.SerialNumber = big.NewInt(3)
		cert = s.create(t, &other, public)
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{
		Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: s.sctList(t, cert),
	})
	return s.create(t, template, public)
}

func (s *Stack) create(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, s.intermediate, public, s.intermediateKey)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

// sctList is the CT log's promise to log a certificate, as the certificate's
// extension has it (RFC 6962, sections 3.2 and 3.3).
func (s *Stack) sctList(t testing.TB, withoutSCT *x509.Certificate) []byte {
	t.Helper()
	issuer := sha256.Sum256(s.intermediate.RawSubjectPublicKeyInfo)
	stamp := binary.BigEndian.AppendUint64(nil, uint64(withoutSCT.NotBefore.UnixMilli()))

	signed := append([]byte{0, 0}, stamp...) // version 1, certificate_timestamp
	signed = append(signed, 0, 1)            // precert_entry
	signed = append(signed, issuer[:]...)
	tbs := withoutSCT.RawTBSCertificate
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0) // no extensions
	sum := sha256.Sum256(signed)
	signature, err := ecdsa.SignASN1(rand.Reader, s.ct, sum[:])
	check(t, err)

	sct := append([]byte{0}, logID(t, s.ct.Public())...)
	sct = append(sct, stamp...)
	sct = append(sct, 0, 0)
	sct = append(sct, 4, 3) // sha256, ecdsa
	sct = binary.BigEndian.AppendUint16(sct, uint16(len(signature)))
	sct = append(sct, signature...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(sct)+2))
	list = binary.BigEndian.AppendUint16(list, uint16(len(sct)))
	list = append(list, sct...)
	der, err := asn1.Marshal(list)
	check(t, err)
	return der
}

package sigstoretest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// A ca is a key, its certificate and those above it, its own first.
type ca struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
}

// Certificates of authorities are valid for so long. A bundle made here is checked
// at the time of its timestamp, so it can be verified for ever.
const authorityLife = 10 * 365 * 24 * time.Hour

// issue makes a key and a certificate by the template, signed by parent, or by
// itself when parent is nil.
func issue(parent *ca, template x509.Certificate) (*ca, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(authorityLife)
	above, signer := &template, key
	if parent != nil {
		above, signer = parent.chain[0], parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, above, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	made := &ca{key: key, chain: []*x509.Certificate{cert}}
	if parent != nil {
		made.chain = append(made.chain, parent.chain...)
	}
	return made, nil
}

// authority is the template of a certificate that signs certificates. below is how
// many such certificates may follow it; use, if not 0, is what they are for.
func authority(organization, name string, below int, use ...x509.ExtKeyUsage) x509.Certificate {
	return x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            below,
		MaxPathLenZero:        below == 0,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           use,
	}
}

// newCA makes a root and an intermediate, as Fulcio has them.
func newCA(organization string) (*ca, error) {
	root, err := issue(nil, authority(organization, "sigstoretest root", 1))
	if err != nil {
		return nil, err
	}
	return issue(root, authority(organization, "sigstoretest intermediate", 0, x509.ExtKeyUsageCodeSigning))
}

// newTSA makes a timestamp authority's chain. RFC 3161 wants the leaf's extended key
// usage to be critical, which crypto/x509 makes only of a raw extension.
func newTSA(organization string) (*ca, error) {
	root, err := issue(nil, authority(organization, "sigstoretest timestamp root", 0))
	if err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}
	return issue(root, x509.Certificate{
		Subject:         pkix.Name{Organization: []string{organization}, CommonName: "sigstoretest timestamp"},
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	})
}

// newHost makes the certificate of a TLS server.
func newHost(parent *ca, host string) (*tls.Certificate, error) {
	made, err := issue(parent, x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: made.key}
	for _, c := range made.chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func (c *ca) certPEM() []byte {
	var out bytes.Buffer
	for _, cert := range c.chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer takes everything
	}
	return out.Bytes()
}

func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

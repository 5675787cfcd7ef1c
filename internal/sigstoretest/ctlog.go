package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// ctLog signs what a certificate transparency log would sign, and keeps no log: no
// verifier of Sigstore's asks for more than the signature.
type ctLog struct{ key *ecdsa.PrivateKey }

// id is the log's id: https://www.rfc-editor.org/rfc/rfc6962#section-3.2.
func (l ctLog) id() [sha256.Size]byte {
	spki, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		panic(err) // the key was made here
	}
	return sha256.Sum256(spki)
}

func (l ctLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/ct/v1/add-pre-chain" {
		http.NotFound(w, r)
		return
	}
	var request ct.AddChainRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := l.promise(request.Chain, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, answer)
}

// promise makes the signed certificate timestamp of a precertificate and its chain.
func (l ctLog) promise(chain [][]byte, now time.Time) (*ct.AddChainResponse, error) {
	certs := make([]*ctx509.Certificate, 0, len(chain))
	for _, der := range chain {
		cert, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, fmt.Errorf("reading the chain: %w", err)
		}
		certs = append(certs, cert)
	}
	millis := uint64(now.UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(certs, ct.PrecertLogEntryType, millis)
	if err != nil {
		return nil, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.id()}, Timestamp: millis}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signed, err := tls.CreateSignature(*l.key, tls.SHA256, input)
	if err != nil {
		return nil, err
	}
	signature, err := tls.Marshal(signed)
	if err != nil {
		return nil, err
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: sct.LogID.KeyID[:], Timestamp: millis, Signature: signature}, nil
}

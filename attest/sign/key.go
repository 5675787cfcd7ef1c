package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/volant/fledge-action/attest/trust"
)

// MaxKey is the largest key file, in bytes.
const MaxKey = 64 << 10

// Key signs with a private key in PEM: one that cosign made and password opens, or
// a plain one (PKCS#8, SEC 1, PKCS#1) of ECDSA P-256, P-384 or P-521, RSA of 2048, 3072 or
// 4096 bits, or Ed25519. A log and timestamps are used if r has a signing config; r
// may be nil.
func Key(pem, password []byte, r *trust.Root, o Options) (Signer, error) {
	keys, err := loadKey(pem, password)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	s, err := newSigner(r, o)
	if err != nil {
		return nil, fmt.Errorf("signing with a key: %w", err)
	}
	for _, log := range s.services.logs {
		if _, ok := keys.public.(ed25519.PublicKey); ok && log.MajorAPIVersion > 1 {
			return nil, fmt.Errorf("signing with a key: log %s takes no Ed25519 key: use one of ECDSA P-256", host(log.URL))
		}
	}
	return &keyed{s, keys}, nil
}

// CheckKeyRef refuses names of keys that are no files: those of key management
// services and tokens, which cosign knows to use.
func CheckKeyRef(ref string) error {
	scheme, _, ok := strings.Cut(ref, "://")
	if !ok || !slices.Contains([]string{"awskms", "azurekms", "gcpkms", "hashivault", "k8s", "gitlab", "env", "openbao"}, scheme) && !strings.HasSuffix(scheme, "kms") {
		if strings.HasPrefix(ref, "pkcs11:") {
			return errKMS(ref)
		}
		return nil
	}
	return errKMS(ref)
}

func errKMS(ref string) error {
	return fmt.Errorf("signing with %.200q: fledge signs with key files; sign with cosign: "+
		"cosign attest-blob --key %s --statement STATEMENT.json --bundle NAME.sigstore.json (docs/signing.md)", ref, ref)
}

type keyed struct {
	*signer
	keys *keypair
}

func (k *keyed) Describe() string {
	return fmt.Sprintf("key %s: %s", k.keys.hint, k.services.describe())
}

// Sign makes a bundle that names the key by its hint. An error leaves nothing but
// perhaps an entry in the log.
func (k *keyed) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.again(payload, func() ([]byte, error) { return k.bundle(ctx, payload, k.keys, nil) })
}

// keypair is a key that somebody keeps. cosign's own is internal to it.
type keypair struct {
	signer  signature.SignerVerifier
	details signature.AlgorithmDetails
	public  crypto.PublicKey
	pem     string
	hint    string
}

func loadKey(data, password []byte) (*keypair, error) {
	if err := CheckKeyRef(strings.TrimSpace(string(data[:min(len(data), 200)]))); err != nil {
		return nil, err
	}
	if len(data) > MaxKey {
		return nil, fmt.Errorf("larger than %d bytes: not a private key", MaxKey)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("not PEM: want a private key, of cosign generate-key-pair or PKCS#8")
	}
	signer, err := openKey(block, data, password)
	if err != nil {
		return nil, err
	}
	return newKeypair(signer)
}

// openKey loads a key. Ed25519 keys sign the statement itself, as DSSE wants it, not
// its digest, which is cosign's default for other things: hence the empty options.
func openKey(block *pem.Block, data, password []byte) (signature.SignerVerifier, error) {
	switch block.Type {
	case cosign.SigstorePrivateKeyPemType, cosign.CosignPrivateKeyPemType:
		signer, err := cosign.LoadPrivateKey(data, password, &[]signature.LoadOption{})
		switch {
		case err != nil && len(password) == 0:
			return nil, errors.New("the key is encrypted: its password is needed, in COSIGN_PASSWORD")
		case err != nil && strings.Contains(err.Error(), "decrypt"):
			return nil, errors.New("the password is wrong, or the key is damaged")
		case err != nil:
			return nil, errKind
		}
		return signer, nil
	case cosign.PrivateKeyPemType, cosign.ECPrivateKeyPemType, cosign.RSAPrivateKeyPemType:
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key is encrypted by OpenSSL: import it with cosign import-key-pair --key FILE")
		}
		private, err := cryptoutils.UnmarshalPEMToPrivateKey(data, nil)
		if err != nil {
			return nil, errors.New("the key is damaged") // what libraries say may hold parts of it
		}
		signer, err := signature.LoadDefaultSignerVerifier(private)
		if err != nil {
			return nil, errKind
		}
		return signer, nil
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the key is encrypted by OpenSSL: import it with cosign import-key-pair --key FILE")
	case "PUBLIC KEY", "CERTIFICATE":
		return nil, fmt.Errorf("a %s signs nothing: want the private key", strings.ToLower(block.Type))
	}
	return nil, fmt.Errorf("PEM type %.100q: want a private key, of cosign generate-key-pair or PKCS#8", block.Type)
}

var errKind = errors.New("the key is of another kind than ECDSA P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, and Ed25519")

func newKeypair(signer signature.SignerVerifier) (*keypair, error) {
	public, err := signer.PublicKey()
	if err != nil {
		return nil, err
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		return nil, errKind
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der) // as cosign names keys
	return &keypair{signer, details, public, string(text), base64.StdEncoding.EncodeToString(sum[:])}, nil
}

// The methods of sigstore-go's Keypair.
var _ sign.Keypair = (*keypair)(nil)

func (k *keypair) GetHashAlgorithm() protocommon.HashAlgorithm { return k.details.GetProtoHashType() }

func (k *keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return k.details.GetSignatureAlgorithm()
}
func (k *keypair) GetHint() []byte                  { return []byte(k.hint) }
func (k *keypair) GetPublicKey() crypto.PublicKey   { return k.public }
func (k *keypair) GetPublicKeyPem() (string, error) { return k.pem, nil }

func (k *keypair) GetKeyAlgorithm() string {
	switch k.public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA"
	case *rsa.PublicKey:
		return "RSA"
	}
	return "ED25519"
}

// SignData signs data and tells what was signed: its digest, or itself if the
// algorithm takes no digest.
func (k *keypair) SignData(_ context.Context, data []byte) (sig, signed []byte, err error) {
	if sig, err = k.signer.SignMessage(bytes.NewReader(data)); err != nil {
		return nil, nil, err
	}
	hash := k.details.GetHashType()
	if hash == crypto.Hash(0) {
		return sig, data, nil
	}
	h := hash.New()
	h.Write(data)
	return sig, h.Sum(nil), nil
}

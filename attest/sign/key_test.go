package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/internal/testneed"
)

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// rsaKey is one of 2048 bits, which takes a while to find.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return key
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

// cosignKey is a key file as cosign generate-key-pair makes it, or import-key-pair of a
// key that is given.
func cosignKey(t *testing.T, key []byte, password string) (private []byte, public crypto.PublicKey) {
	t.Helper()
	pass := func(bool) ([]byte, error) { return []byte(password), nil }
	var made *cosign.KeysBytes
	var err error
	if key == nil {
		made, err = cosign.GenerateKeyPair(pass)
	} else {
		path := filepath.Join(t.TempDir(), "key.pem")
		must(t, os.WriteFile(path, key, 0o600))
		made, err = cosign.ImportKeyPair(path, pass)
	}
	must(t, err)
	block, _ := pem.Decode(made.PublicBytes)
	public, err = x509.ParsePKIXPublicKey(block.Bytes)
	must(t, err)
	return made.PrivateBytes, public
}

// verifyKey verifies a bundle as a stranger with the public key would.
func verifyKey(t *testing.T, line []byte, public crypto.PublicKey, material root.TrustedMaterial, options ...verify.VerifierOption) *bundle.Bundle {
	t.Helper()
	var b bundle.Bundle
	must(t, b.UnmarshalJSON(line))
	der, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	sum := sha256.Sum256(der)
	hint := base64.StdEncoding.EncodeToString(sum[:])
	if got := b.VerificationMaterial.GetPublicKey().GetHint(); got != hint {
		t.Errorf("hint %q, want %q", got, hint)
	}
	verifier, err := signature.LoadDefaultVerifier(public)
	must(t, err)
	all := root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterialFromMapping(
		map[string]*root.ExpiringKey{hint: root.NewExpiringKey(verifier, time.Time{}, time.Time{})},
	)}
	if material != nil {
		all = append(all, material)
	}
	if len(options) == 0 {
		options = []verify.VerifierOption{verify.WithNoObserverTimestamps()}
	}
	v, err := verify.NewVerifier(all, options...)
	must(t, err)
	if _, err := v.Verify(&b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithKey())); err != nil {
		t.Errorf("a stranger's verification: %v", err)
	}
	return &b
}

func TestKeysOfEveryKindSign(t *testing.T) {
	p256, ed, small := ecdsaKey(t, elliptic.P256()), edKey(t), rsaKey()
	sec1, err := x509.MarshalECPrivateKey(p256)
	must(t, err)
	generated, generatedPublic := cosignKey(t, nil, "open sesame")
	imported, _ := cosignKey(t, pkcs8(t, ed), "open sesame")
	bare, barePublic := cosignKey(t, nil, "")
	old := bytes.ReplaceAll(generated, []byte("SIGSTORE"), []byte("COSIGN"))
	p384, p521 := ecdsaKey(t, elliptic.P384()), ecdsaKey(t, elliptic.P521())
	tests := []struct {
		name     string
		pem      []byte
		password string
		public   crypto.PublicKey
	}{
		{"cosign", generated, "open sesame", generatedPublic},
		{"cosign of old", old, "open sesame", generatedPublic},
		{"cosign without a password", bare, "", barePublic},
		{"cosign Ed25519", imported, "open sesame", ed.Public()},
		{"PKCS#8 P-256", pkcs8(t, p256), "", p256.Public()},
		{"a password for a plain key", pkcs8(t, p256), "unused", p256.Public()},
		{"SEC 1 P-256", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), "", p256.Public()},
		{"PKCS#1 RSA", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}), "", small.Public()},
		{"PKCS#8 RSA", pkcs8(t, small), "", small.Public()},
		{"P-384", pkcs8(t, p384), "", p384.Public()},
		{"P-521", pkcs8(t, p521), "", p521.Public()},
		{"Ed25519", pkcs8(t, ed), "", ed.Public()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signer, err := Key(tt.pem, []byte(tt.password), nil, Options{})
			must(t, err)
			data := payload(t, "a")
			line, err := signer.Sign(t.Context(), data)
			must(t, err)
			b := verifyKey(t, line, tt.public, nil)
			if !bytes.Equal(b.GetDsseEnvelope().GetPayload(), data) || bytes.ContainsAny(line, "\n\t") || b.GetVerificationMaterial().GetCertificate() != nil {
				t.Errorf("bundle %s", line)
			}
			if want := "key " + b.VerificationMaterial.GetPublicKey().GetHint() + ": no log, no timestamp"; signer.Describe() != want {
				t.Errorf("Describe: %q, want %q", signer.Describe(), want)
			}
		})
	}
}

// TestOpenSSLVerifiesOurSignatures is the second opinion on what was signed and how.
func TestOpenSSLVerifiesOurSignatures(t *testing.T) {
	testneed.Tool(t, "openssl")
	generated, public := cosignKey(t, nil, "x")
	small, ed, p384 := rsaKey(), edKey(t), ecdsaKey(t, elliptic.P384())
	for name, tt := range map[string]struct {
		pem    []byte
		public crypto.PublicKey
		digest string
	}{
		"cosign": {generated, public, "-sha256"}, "RSA": {pkcs8(t, small), small.Public(), "-sha256"},
		"P-384": {pkcs8(t, p384), p384.Public(), "-sha384"}, "Ed25519": {pkcs8(t, ed), ed.Public(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := Key(tt.pem, []byte("x"), nil, Options{})
			must(t, err)
			data := payload(t, "a")
			line, err := signer.Sign(t.Context(), data)
			must(t, err)
			b := verifyKey(t, line, tt.public, nil)
			dir := t.TempDir()
			der, err := x509.MarshalPKIXPublicKey(tt.public)
			must(t, err)
			// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
			pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(statement.PayloadType), statement.PayloadType, len(data), data)
			for file, content := range map[string][]byte{
				"key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "sig": b.GetDsseEnvelope().GetSignatures()[0].GetSig(), "pae": []byte(pae), "other": []byte(pae + " "),
			} {
				must(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
			}
			run := func(file string) error {
				argv := []string{"dgst", tt.digest, "-verify", "key", "-signature", "sig", file}
				if tt.digest == "" {
					argv = []string{"pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-sigfile", "sig", "-in", file}
				}
				cmd := exec.CommandContext(t.Context(), "openssl", argv...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				return errors.Join(err, map[bool]error{true: errors.New(string(out))}[err != nil])
			}
			if err := run("pae"); err != nil {
				t.Error(err)
			}
			if run("other") == nil {
				t.Error("openssl takes the signature for another text")
			}
		})
	}
}

func TestKeysThatCannotSignAreRefusedInWords(t *testing.T) {
	generated, _ := cosignKey(t, nil, "right")
	p256 := pkcs8(t, ecdsaKey(t, elliptic.P256()))
	damaged := bytes.Replace(p256, []byte("MIGH"), []byte("MIGG"), 1)
	block, _ := pem.Decode(generated)
	tests := []struct {
		name, password, want string
		pem                  []byte
	}{
		{"wrong password", "wrong", "the password is wrong, or the key is damaged", generated},
		{"no password", "", "the key is encrypted: its password is needed, in COSIGN_PASSWORD", generated},
		{"encrypted and damaged", "right", "key", pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:len(block.Bytes)/2]})},
		{"damaged", "", "the key is damaged", damaged},
		{"of OpenSSL", "x", "import it with cosign import-key-pair", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})},
		{"of OpenSSL of old", "x", "import it with cosign import-key-pair", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")})},
		{"public", "", "a public key signs nothing: want the private key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})},
		{"certificate", "", "a certificate signs nothing", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})},
		{"of SSH", "", `PEM type "OPENSSH PRIVATE KEY"`, pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("x")})},
		{"nothing", "", "not PEM", nil},
		{"a name", "", "fledge signs with key files", []byte("awskms:///alias/x\n")},
		{"large", "", "larger than 65536 bytes", append(bytes.Clone(p256), make([]byte, MaxKey)...)},
		{"weak RSA", "", "of another kind than ECDSA P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, and Ed25519", pkcs8(t, weakRSA(t))},
		{"P-224", "", "of another kind", pkcs8(t, ecdsaKey(t, elliptic.P224()))},
	}
	for _, tt := range tests {
		_, err := Key(tt.pem, []byte(tt.password), nil, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "reading the signing key: ") {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	exact := append(bytes.Clone(p256), bytes.Repeat([]byte("\n"), MaxKey-len(p256))...)
	if _, err := Key(exact, nil, nil, Options{}); err != nil {
		t.Errorf("a file of %d bytes: %v", MaxKey, err)
	}
}

// weakRSA is a key of 1024 bits.
func weakRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	return key
}

func TestNamesOfKeysElsewhereAreLeftToCosign(t *testing.T) {
	for ref, refused := range map[string]bool{
		"awskms:///alias/x": true, "azurekms://vault/key": true, "gcpkms://projects/p": true, "hashivault://key": true, "k8s://ns/key": true,
		"gitlab://1": true, "env://KEY": true, "openbao://k": true, "newkms://k": true, "pkcs11:token=x": true,
		"cosign.key": false, "./awskms": false, "/keys/a.pem": false, "-----BEGIN PRIVATE KEY-----": false, "": false,
	} {
		err := CheckKeyRef(ref)
		if (err != nil) != refused {
			t.Errorf("%q: %v", ref, err)
		}
		if refused && !strings.Contains(err.Error(), "sign with cosign: cosign attest-blob --key "+ref) {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestKeyBundlesAreLoggedAndStampedIfAskedFor(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	for name, with := range map[string]signing{"log": public, "timestamp": private, "both": {log: true, stamps: true}} {
		t.Run(name, func(t *testing.T) {
			s := newSigstore(t)
			r := s.root(with)
			s.log.fail, s.stamps.fail = times(2, 503), times(2, 503)
			signer, err := Key(pkcs8(t, key), nil, r, s.options())
			must(t, err)
			line, err := signer.Sign(t.Context(), payload(t, "a"))
			must(t, err)
			options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
			if with.log {
				options = append(options, verify.WithTransparencyLog(1))
			}
			b := verifyKey(t, line, key.Public(), r.Material, options...)
			if len(b.VerificationMaterial.GetTlogEntries()) > 0 != with.log || s.authority.requests() != 0 {
				t.Errorf("bundle %s, %d certificates", line, s.authority.requests())
			}
		})
	}
}

func TestAKeyWithARootButNoSigningConfigSendsNothing(t *testing.T) {
	s := newSigstore(t)
	r := s.root(public)
	r.Signing = nil
	key := ecdsaKey(t, elliptic.P256())
	signer, err := Key(pkcs8(t, key), nil, r, Options{})
	must(t, err)
	line, err := signer.Sign(t.Context(), payload(t, "a"))
	must(t, err)
	verifyKey(t, line, key.Public(), nil)
	if n := s.log.requests() + s.stamps.requests() + s.authority.requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestKeyGivesUpOnALog(t *testing.T) {
	s := newSigstore(t)
	s.log.fail = times(always, 503)
	signer, err := Key(pkcs8(t, edKey(t)), nil, s.root(public), s.options())
	must(t, err)
	_, err = signer.Sign(t.Context(), payload(t, "a"))
	var gaveUp *GaveUp
	if !errors.As(err, &gaveUp) || gaveUp.Service != logService {
		t.Errorf("error %v", err)
	}
}

func TestKeyBundlesOfAnotherKeyAreRefused(t *testing.T) {
	first, err := Key(pkcs8(t, ecdsaKey(t, elliptic.P256())), nil, nil, Options{})
	must(t, err)
	second, err := Key(pkcs8(t, ecdsaKey(t, elliptic.P256())), nil, nil, Options{})
	must(t, err)
	data := payload(t, "a")
	line, err := first.Sign(t.Context(), data)
	must(t, err)
	one, other := first.(*keyed), second.(*keyed)
	must(t, one.verify(line, data, one.keys))
	if other.verify(line, data, other.keys) == nil {
		t.Error("the bundle verifies with another key")
	}
	forged := bytes.Replace(line, []byte(one.keys.hint), []byte(other.keys.hint), 1)
	if other.verify(forged, data, other.keys) == nil {
		t.Error("the bundle verifies with another key and its hint")
	}
	s := newSigstore(t)
	keyless, err := s.keyless(private).Sign(t.Context(), data)
	must(t, err)
	withRoot, err := Key(pkcs8(t, ecdsaKey(t, elliptic.P256())), nil, s.root(private), s.options())
	must(t, err)
	if k := withRoot.(*keyed); k.verify(keyless, data, k.keys) == nil {
		t.Error("a bundle with a certificate verifies as one of a key")
	}
}

func TestEd25519AndTheNewLogDoNotGoTogether(t *testing.T) {
	good, err := trust.PublicGood(t.Context(), trust.Options{Offline: true, RekorV2: true})
	must(t, err)
	_, err = Key(pkcs8(t, edKey(t)), nil, good, Options{})
	if err == nil || !strings.Contains(err.Error(), "takes no Ed25519 key") {
		t.Errorf("error %v", err)
	}
	if _, err := Key(pkcs8(t, ecdsaKey(t, elliptic.P256())), nil, good, Options{}); err != nil {
		t.Error(err)
	}
}

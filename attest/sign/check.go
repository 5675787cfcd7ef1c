package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// encode writes a bundle on one line.
func encode(b *protobundle.Bundle) ([]byte, error) {
	loose, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding the bundle: %w", err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, loose); err != nil { // protojson's spaces differ from build to build
		return nil, fmt.Errorf("encoding the bundle: %w", err)
	}
	return line.Bytes(), nil
}

// verify checks the bundle as it will be written: that it holds payload, is signed
// with keys, and satisfies those who trust the root.
func (s *signer) verify(line, payload []byte, keys sign.Keypair) error {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(line); err != nil {
		return err
	}
	if !bytes.Equal(b.GetDsseEnvelope().GetPayload(), payload) {
		return errors.New("it holds another statement")
	}
	material, options, err := s.rules(keys)
	if err != nil {
		return err
	}
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return err
	}
	// Whose identity it is and what the subjects are is for those to ask who know;
	// here both were just given.
	policy := []verify.PolicyOption{verify.WithoutIdentitiesUnsafe()}
	if _, own := keys.(*keypair); own {
		policy = append(policy, verify.WithKey())
	} else if b.GetVerificationMaterial().GetCertificate() == nil {
		return errors.New("it has no certificate")
	}
	_, err = verifier.Verify(&b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), policy...))
	return err
}

// rules are what a bundle of keys has to satisfy: what the root asks for, and that
// every service which was used has done what it should.
func (s *signer) rules(keys sign.Keypair) (root.TrustedMaterial, []verify.VerifierOption, error) {
	options := []verify.VerifierOption{verify.WithoutStatementPredicate()} // an SBOM has a million nodes
	if n := len(s.services.logs); n > 0 {                                  // whole: and so if the root has logs
		options = append(options, verify.WithTransparencyLog(n))
	}
	if n := len(s.services.stamps); n > 0 {
		options = append(options, verify.WithSignedTimestamps(n))
	}
	if n := s.services.oldLogs(); n > 0 {
		options = append(options, verify.WithIntegratedTimestamps(n))
	}
	own, isKey := keys.(*keypair)
	if !isKey {
		if len(s.root.Material.CTLogs()) > 0 {
			options = append(options, verify.WithSignedCertificateTimestamps(1))
		}
		return s.root.Material, options, nil
	}
	if !s.services.clocked() {
		options = append(options, verify.WithNoObserverTimestamps())
	}
	verifier, err := signature.LoadDefaultVerifier(own.public)
	if err != nil {
		return nil, nil, err
	}
	material := root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterialFromMapping(
		map[string]*root.ExpiringKey{own.hint: root.NewExpiringKey(verifier, time.Time{}, time.Time{})},
	)}
	if s.root != nil && s.root.Material != nil {
		material = append(material, s.root.Material)
	}
	return material, options, nil
}

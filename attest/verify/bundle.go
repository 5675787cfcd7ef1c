package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/volant/fledge-action/attest/statement"
)

// Limits.
const (
	MaxBundle  = 16 << 20 // bytes of one bundle
	MaxFile    = 64 << 20 // bytes of a file of bundles
	MaxBundles = 1024     // bundles of a file
)

// A Bundle is what one signature is verified with, as it was found.
type Bundle struct {
	Source string // where it was found, for messages
	JSON   []byte
}

// Bundles takes a file of bundles apart: one bundle a line if its name ends in
// ".jsonl", one in all otherwise. Whether a bundle is one is left to [Digest], for a line of
// nonsense does not spoil the others; an error is about the file as a whole.
func Bundles(name string, data []byte) ([]Bundle, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("reading bundles of %s: %d bytes, more than the limit of %d", name, len(data), MaxFile)
	}
	if !strings.HasSuffix(name, ".jsonl") {
		return []Bundle{{Source: name, JSON: data}}, nil
	}
	var all []Bundle
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(all) == MaxBundles {
			return nil, fmt.Errorf("reading bundles of %s: more than the limit of %d", name, MaxBundles)
		}
		all = append(all, Bundle{Source: fmt.Sprintf("%s:%d", name, number), JSON: line})
	}
	return all, nil
}

// opened is a bundle that has been decoded. Nothing in it is verified.
type opened struct {
	source    string
	entity    verify.SignedEntity
	statement *statement.Statement
	cert      *x509.Certificate // nil if a key has signed
	hint      string            // of the key
}

// open decodes a bundle.
func open(b Bundle) (*opened, error) {
	if len(b.JSON) > MaxBundle {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(b.JSON), MaxBundle)
	}
	if err := recognise(b.JSON); err != nil {
		return nil, err
	}
	decoded := new(bundle.Bundle)
	if err := decoded.UnmarshalJSON(b.JSON); err != nil {
		return nil, fmt.Errorf("not a Sigstore bundle: %w", err)
	}
	o := &opened{source: b.Source, entity: decoded}
	content, err := decoded.VerificationContent()
	if err != nil {
		return nil, fmt.Errorf("certificate or key cannot be read: %w", err)
	}
	if o.cert = content.Certificate(); o.cert == nil {
		o.hint = content.PublicKey().Hint()
	}
	envelope := decoded.GetDsseEnvelope()
	if n := len(envelope.GetSignatures()); n != 1 {
		return nil, fmt.Errorf("%d signatures in the envelope, want one", n)
	}
	if t := envelope.GetPayloadType(); t != statement.PayloadType {
		return nil, fmt.Errorf("payload type is %.100q, want %q: it is no attestation", t, statement.PayloadType)
	}
	o.statement, err = statement.Decode(envelope.GetPayload())
	return o, err
}

// recognise tells what is no bundle that can be used, in the user's words.
func recognise(data []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return fmt.Errorf("not a Sigstore bundle: %w", err)
	}
	has := func(key string) bool { _, ok := keys[key]; return ok }
	switch {
	case has("messageSignature"):
		return errors.New("it signs the bytes of a file (cosign sign-blob) and says nothing of how they were built; want an attestation")
	case has("dsseEnvelope"):
		return nil
	case has("base64Signature"), has("rekorBundle"):
		return errors.New("it is a bundle of cosign before its version 3; sign with --new-bundle-format")
	case has("payloadType"):
		return errors.New("it is a bare DSSE envelope without certificate or key; want a Sigstore bundle")
	case has("_type"):
		return errors.New("it is a statement without a signature; want a Sigstore bundle")
	}
	return errors.New("not a Sigstore bundle: it has no dsseEnvelope")
}

// subject is the statement's subject with a digest, nil if there is none.
func (o *opened) subject(digest string) *statement.Subject {
	for i, s := range o.statement.Subject {
		if s.SHA256() == digest {
			return &o.statement.Subject[i]
		}
	}
	return nil
}

// Subjects are the files that a bundle is about, none if it cannot be read. Nothing of it
// is verified: it tells which bundles to look at.
func Subjects(b Bundle) []statement.Subject {
	o, err := open(b)
	if err != nil {
		return nil
	}
	return o.statement.Subject
}

// Claims is what a bundle says, and whether it says that a key has signed it. Nothing of it
// is verified. The error names the bundle's source.
func Claims(b Bundle) (st *statement.Statement, key bool, err error) {
	o, err := open(b)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", b.Source, err)
	}
	return o.statement, o.cert == nil, nil
}

// Claimed tells who a bundle says has signed it, "" if it cannot be read. Nothing of
// it is verified: it is good for a hint to the user and for nothing else.
func Claimed(b Bundle) string {
	o, err := open(b)
	if err != nil {
		return ""
	}
	if o.cert == nil {
		return "key " + o.hint
	}
	s, err := certificateSigner(o.cert)
	if err != nil {
		return ""
	}
	return s.String()
}

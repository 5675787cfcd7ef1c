package statement

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// PayloadType is the type of a statement in a DSSE envelope.
const PayloadType = "application/vnd.in-toto+json"

// TypeStatement is the only type of statement there is: in-toto's version 1.
const TypeStatement = "https://in-toto.io/Statement/v1"

// Types of predicates.
const (
	TypeProvenance = "https://slsa.dev/provenance/v1"
	TypeBuild      = "https://github.com/volant/fledge-action/attestations/build/v1"
	TypeSPDX       = "https://spdx.dev/Document/v2.3" // of the documents that fledge writes
	TypeCycloneDX  = "https://cyclonedx.org/bom"
)

// Limits of a statement. Verifiers of other hands have the same ones.
const (
	MaxSubjects = 1024
	MaxPayload  = 16 << 20 // bytes
)

// A Statement claims a predicate about subjects.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// newStatement makes a statement of a predicate that can be encoded.
func newStatement(predicateType string, predicate any, subjects []Subject) (Statement, error) {
	subjects, err := normalise(subjects)
	if err != nil {
		return Statement{}, err
	}
	raw, err := encode(predicate)
	if err != nil {
		return Statement{}, err
	}
	return Statement{Type: TypeStatement, Subject: subjects, PredicateType: predicateType, Predicate: raw}, nil
}

// Encode writes a statement as one line of JSON without a newline: keys in the
// order of the type, subjects sorted by name, repeated ones dropped. The receiver's
// subjects must be as [Subject] says, and [Decode] reads what comes out.
func (s Statement) Encode() ([]byte, error) {
	if s.Type != TypeStatement {
		return nil, fmt.Errorf("encoding statement: _type is %q, want %q", s.Type, TypeStatement)
	}
	if s.PredicateType == "" {
		return nil, errors.New("encoding statement: predicateType is empty")
	}
	if err := checkJSON(s.Predicate, '{'); err != nil {
		return nil, fmt.Errorf("encoding statement: predicate: %w", err)
	}
	var err error
	if s.Subject, err = normalise(s.Subject); err != nil {
		return nil, fmt.Errorf("encoding statement: %w", err)
	}
	payload, err := encode(s)
	if err != nil {
		return nil, fmt.Errorf("encoding statement: %w", err)
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("encoding statement: %d bytes, more than the limit of %d", len(payload), MaxPayload)
	}
	return payload, nil
}

// Decode reads the payload of an envelope, of fledge or of another tool. Other
// tools' subjects may have any name, and digests beside or instead of sha256; what
// in-toto calls optional in a subject is checked for form and dropped.
func Decode(payload []byte) (*Statement, error) {
	s, err := decode(payload)
	if err != nil {
		return nil, fmt.Errorf("decoding statement: %w", err)
	}
	return s, nil
}

func decode(payload []byte) (*Statement, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(payload), MaxPayload)
	}
	if err := checkJSON(payload, '{'); err != nil {
		return nil, err
	}
	if err := checkKeys(payload, "_type", "subject", "predicateType", "predicate"); err != nil {
		return nil, err
	}
	var s struct {
		Statement
		Subject []json.RawMessage `json:"subject"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Type != TypeStatement:
		return nil, fmt.Errorf("_type is %q, want %q", s.Type, TypeStatement)
	case s.PredicateType == "":
		return nil, errors.New("predicateType is empty")
	case len(s.Predicate) == 0 || s.Predicate[0] != '{':
		return nil, errors.New("predicate is not an object")
	case len(s.Subject) == 0:
		return nil, errors.New("no subjects")
	case len(s.Subject) > MaxSubjects:
		return nil, fmt.Errorf("%d subjects, more than the limit of %d", len(s.Subject), MaxSubjects)
	}
	for i, raw := range s.Subject {
		subject, err := decodeSubject(raw)
		if err != nil {
			return nil, fmt.Errorf("subject %d: %w", i, err)
		}
		s.Statement.Subject = append(s.Statement.Subject, subject)
	}
	return &s.Statement, nil
}

func decodeSubject(raw json.RawMessage) (Subject, error) {
	// A subject is what in-toto calls a ResourceDescriptor.
	if err := checkKeys(raw, "name", "digest", "uri", "content", "downloadLocation", "mediaType", "annotations"); err != nil {
		return Subject{}, err
	}
	var s Subject
	if err := json.Unmarshal(raw, &s); err != nil {
		return Subject{}, err
	}
	if err := checkDigests(s.Digest); err != nil {
		return Subject{}, fmt.Errorf("%q: %w", s.Name, err)
	}
	return s, nil
}

// normalise checks subjects, sorts them and drops repeated ones.
func normalise(subjects []Subject) ([]Subject, error) {
	if len(subjects) == 0 {
		return nil, errors.New("no subjects")
	}
	sorted := slices.SortedFunc(slices.Values(subjects), func(a, b Subject) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest[algorithm], b.Digest[algorithm]))
	})
	out := sorted[:0]
	for _, s := range sorted {
		if err := s.check(); err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && out[n-1].Name == s.Name {
			if out[n-1].Digest[algorithm] != s.Digest[algorithm] {
				return nil, fmt.Errorf("two files are called %q: one has sha256 %s, another %s", s.Name, out[n-1].Digest[algorithm], s.Digest[algorithm])
			}
			continue
		}
		out = append(out, s)
	}
	if len(out) > MaxSubjects {
		return nil, fmt.Errorf("%d subjects, more than the limit of %d", len(out), MaxSubjects)
	}
	return out, nil
}

// encode writes compact JSON as it stands in a statement: "<" stays "<".
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

package verify

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/volant/fledge-action/attest/trust"
)

// byCertificate verifies a bundle with a certificate by the roots. If none accepts it, the
// reason is that of the root that has the certificate's issuer.
func (j *judge) byCertificate(o *opened, v *Verified) *Problem {
	if len(j.Roots) == 0 {
		return problem(UnknownCA, "signed by %s with a certificate, and there is no trusted root to check it with", v.Signer)
	}
	var reason *Problem
	for _, r := range j.Roots {
		result, err := j.verifyBy(o, r, requirements(r.Material))
		why := (*Problem)(nil)
		if err == nil {
			why = unverified(o, r)
		} else {
			why = explain(o, r, err)
		}
		if why == nil {
			v.Root, v.Timestamps = r.Name, times(result)
			return nil
		}
		if reason == nil || reason.Kind == UnknownCA && why.Kind != UnknownCA {
			reason = why
		}
	}
	if reason == nil || reason.Kind == UnknownCA {
		return j.unknownCA(v.Signer)
	}
	return reason
}

func (j *judge) unknownCA(s Signer) *Problem {
	names := ""
	for i, r := range j.Roots {
		names += map[bool]string{true: ", "}[i > 0] + r.Name
	}
	return problem(UnknownCA, "says it was signed by %s, but its certificate comes from %q, which no trusted root has (%s); give the one of its Sigstore with --trusted-root", s, s.CA, names)
}

// requirements is what a bundle with a certificate needs, by what a root can judge.
func requirements(m root.TrustedMaterial) []verify.VerifierOption {
	options := []verify.VerifierOption{verify.WithoutStatementPredicate()}
	if len(m.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	if len(m.RekorLogs()) > 0 {
		return append(options, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	}
	return append(options, verify.WithSignedTimestamps(1))
}

func (j *judge) verifyBy(o *opened, r *trust.Root, options []verify.VerifierOption) (*verify.VerificationResult, error) {
	v, err := verify.NewVerifier(r.Material, options...)
	if err != nil {
		return nil, err
	}
	// The certificate's identity is our own to judge: that library compares names with
	// regard to case.
	return v.Verify(o.entity, verify.NewPolicy(verify.WithArtifactDigest("sha256", j.digest), verify.WithoutIdentitiesUnsafe()))
}

// byKey verifies a bundle signed with a key. Services are not needed for it; a log
// entry of a log that a root has must verify nevertheless.
func (j *judge) byKey(o *opened, v *Verified) *Problem {
	v.Signer = Signer{Key: o.hint}
	if len(j.keys) == 0 {
		return problem(Key, "signed with %s, expected a certificate; to accept the key give its public part with --key", v.Signer)
	}
	candidates := j.candidates(o.hint)
	if len(candidates) == 0 {
		return problem(Key, "signed with %s, which is none of the %d keys given", v.Signer, len(j.keys))
	}
	for _, k := range candidates {
		keys := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return k, nil })
		verifier, err := verify.NewVerifier(keys, verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate())
		if err != nil {
			return problem(Format, "%v", err)
		}
		_, err = verifier.Verify(o.entity, verify.NewPolicy(verify.WithArtifactDigest("sha256", j.digest), verify.WithKey()))
		if err != nil {
			continue
		}
		v.Signer.Key = k.hint
		for _, r := range j.Roots {
			both := &trust.Root{Name: r.Name, Material: root.TrustedMaterialCollection{keys, r.Material}}
			if reason := wrongEntry(o, both); reason != nil {
				return reason
			}
		}
		return nil
	}
	if candidates[0].hint == o.hint {
		return problem(Signature, "its signature is not that of the payload by %s: one of them was changed after signing", v.Signer)
	}
	return problem(Key, "signed with a key that is none of the %d given, or changed after signing", len(j.keys))
}

// candidates are the keys that a hint can mean. Cosign's hint names one; any other hint,
// or none, may be of every key.
func (j *judge) candidates(hint string) []key {
	for _, k := range j.keys {
		if k.hint == hint {
			return []key{k}
		}
	}
	if isHint(hint) {
		return nil
	}
	return j.keys
}

// unverified tells what of a bundle does not verify though the root can judge it. The library is
// content with one log entry and one time, whatever the others say.
func unverified(o *opened, r *trust.Root) *Problem {
	if reason := wrongEntry(o, r); reason != nil {
		return reason
	}
	return wrongTimestamp(o, r)
}

// wrongEntry finds a log entry of a log of the root that does not verify.
func wrongEntry(o *opened, r *trust.Root) *Problem {
	entries, err := o.entity.TlogEntries()
	if err != nil {
		return problem(Log, "its transparency log entry cannot be read: %v", err)
	}
	for _, e := range entries {
		if !knows(r, e) {
			continue
		}
		_, err := verify.VerifyTlogEntry(oneEntry{o.entity, e}, r.Material, 1, true)
		if err == nil && e.IsRekorV2() {
			err = checkBody(r, e)
		}
		if err != nil {
			return explainEntry(o, e, err)
		}
	}
	return nil
}

// checkBody verifies that an entry's body and its proof's root hash are those of the
// log. The library computes both anew for Rekor v2 and passes over what the bundle
// has; but other people read that.
func checkBody(r *trust.Root, e *tlog.Entry) error {
	log := r.Material.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))]
	verifier, err := signature.LoadVerifier(log.PublicKey, log.SignatureHashFunc)
	if err != nil {
		return err
	}
	u, err := url.Parse(log.BaseURL)
	if err != nil {
		return err
	}
	if err := tlog.VerifyCheckpointAndInclusion(e, verifier, u.Hostname()); err != nil {
		return err
	}
	proof := e.TransparencyLogEntry().GetInclusionProof()
	// A checkpoint's lines are origin, size and root hash (https://c2sp.org/tlog-checkpoint).
	lines := strings.SplitN(proof.GetCheckpoint().GetEnvelope(), "\n", 4)
	if len(lines) < 4 || lines[2] != base64.StdEncoding.EncodeToString(proof.GetRootHash()) {
		return errors.New("the proof's root hash is not that of its checkpoint")
	}
	return nil
}

// wrongTimestamp finds a signed timestamp that no authority of the root has made.
func wrongTimestamp(o *opened, r *trust.Root) *Problem {
	authorities := r.Material.TimestampingAuthorities()
	stamps, err := o.entity.Timestamps()
	if err != nil || len(stamps) == 0 || len(authorities) == 0 {
		return nil
	}
	content, err := o.entity.SignatureContent()
	if err != nil {
		return problem(Format, "%v", err)
	}
	for _, stamp := range stamps {
		var reason error
		ok := false
		for _, a := range authorities {
			_, err := a.Verify(stamp, content.Signature())
			ok = ok || err == nil
			reason = cmp.Or(reason, err)
		}
		if !ok {
			return problem(Timestamp, "its signed timestamp does not verify by the trusted root %s: %v", r.Name, reason)
		}
	}
	return nil
}

// oneEntry is a bundle that has but one of its log entries.
type oneEntry struct {
	verify.SignedEntity
	entry *tlog.Entry
}

func (e oneEntry) TlogEntries() ([]*tlog.Entry, error) { return []*tlog.Entry{e.entry}, nil }

// times are the trusted times of a result.
func times(r *verify.VerificationResult) []Time {
	var all []Time
	for _, t := range r.VerifiedTimestamps {
		source := "timestamp authority"
		if t.Type == "Tlog" {
			source = "transparency log"
		}
		all = append(all, Time{Source: source, URI: t.URI, Time: t.Timestamp.UTC()})
	}
	return all
}

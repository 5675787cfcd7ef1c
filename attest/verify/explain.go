package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/volant/fledge-action/attest/trust"
)

// The library's errors tell little. What follows looks at the parts of a bundle that it
// has refused, one after the other, for words. Nothing here accepts anything.

// date is how times are shown.
const date = "2006-01-02 15:04:05 MST"

// explain tells why a root did not accept a bundle.
func explain(o *opened, r *trust.Root, err error) *Problem {
	for _, look := range []func(*opened, *trust.Root) *Problem{
		explainCA, explainSignature, explainLog, wrongTimestamp, explainTime, explainSCT,
	} {
		if reason := look(o, r); reason != nil {
			return reason
		}
	}
	return problem(Signature, "does not verify by the trusted root %s: %v", r.Name, err)
}

// explainCA looks whether the root has the certificate's issuer, whenever.
func explainCA(o *opened, r *trust.Root) *Problem {
	named := false
	for _, ca := range authorities(r) {
		for _, issuer := range append(slices.Clone(ca.Intermediates), ca.Root) {
			if issuer == nil || !bytes.Equal(issuer.RawSubject, o.cert.RawIssuer) {
				continue
			}
			if o.cert.CheckSignatureFrom(issuer) == nil {
				return nil
			}
			named = true
		}
	}
	if named {
		return problem(Certificate, "its certificate is not genuine: %q did not sign it as it is", o.cert.Issuer)
	}
	return problem(UnknownCA, "its certificate comes from %q, which the trusted root %s does not have", o.cert.Issuer, r.Name)
}

func authorities(r *trust.Root) []*root.FulcioCertificateAuthority {
	var all []*root.FulcioCertificateAuthority
	for _, ca := range r.Material.FulcioCertificateAuthorities() {
		if f, ok := ca.(*root.FulcioCertificateAuthority); ok {
			all = append(all, f)
		}
	}
	return all
}

// explainSignature looks whether the certificate's key has signed the payload.
func explainSignature(o *opened, r *trust.Root) *Problem {
	signed, err := o.entity.SignatureContent()
	if err != nil {
		return problem(Format, "%v", err)
	}
	content, err := o.entity.VerificationContent()
	if err != nil {
		return problem(Format, "%v", err)
	}
	if verify.VerifySignature(signed, content, r.Material) != nil {
		return problem(Signature, "its signature is not that of the payload by the certificate's key: one of them was changed after signing")
	}
	return nil
}

// explainLog looks for an entry in a log of the root.
func explainLog(o *opened, r *trust.Root) *Problem {
	logs := len(r.Material.RekorLogs())
	entries, err := o.entity.TlogEntries()
	switch {
	case logs == 0:
		return nil
	case err != nil:
		return problem(Log, "its transparency log entry cannot be read: %v", err)
	case len(entries) == 0:
		return problem(Log, "bundle has no transparency log entry; the trusted root %s requires one", r.Name)
	case !slices.ContainsFunc(entries, func(e *tlog.Entry) bool { return knows(r, e) }):
		return problem(Log, "its transparency log entry is of log %s, which the trusted root %s does not have", hex.EncodeToString([]byte(entries[0].LogKeyID())), r.Name)
	}
	return wrongEntry(o, r)
}

// knows tells whether an entry is of a log of the root.
func knows(r *trust.Root, e *tlog.Entry) bool {
	_, ok := r.Material.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))]
	return ok
}

// explainEntry tells why a log entry did not verify.
func explainEntry(o *opened, e *tlog.Entry, err error) *Problem {
	if t := e.IntegratedTime(); o.cert != nil && !t.IsZero() && outside(o.cert, t) {
		return expired(o.cert, t)
	}
	if e.HasInclusionPromise() && strings.HasPrefix(err.Error(), "not enough verified log entries") {
		return problem(Log, "its transparency log entry does not verify: the log did not sign its promise to include it, or not with the key of the trusted root")
	}
	return problem(Log, "its transparency log entry does not verify: %v", err)
}

func outside(c *x509.Certificate, t time.Time) bool {
	return t.Before(c.NotBefore) || t.After(c.NotAfter)
}

func expired(c *x509.Certificate, t time.Time) *Problem {
	return problem(Expired, "signed at %s, but its certificate is valid only from %s to %s",
		t.UTC().Format(date), c.NotBefore.UTC().Format(date), c.NotAfter.UTC().Format(date))
}

// explainTime looks for a trusted time, and whether everything was valid then.
func explainTime(o *opened, r *trust.Root) *Problem {
	times := observed(o, r)
	if len(times) == 0 {
		if len(r.Material.RekorLogs()) > 0 {
			return problem(Timestamp, "nothing tells when it was signed: neither a signed time of its log nor a timestamp; the trusted root %s requires one", r.Name)
		}
		return problem(Timestamp, "bundle has no signed timestamp; the trusted root %s requires one", r.Name)
	}
	for _, t := range times {
		if outside(o.cert, t) {
			return expired(o.cert, t)
		}
		if reason := rootExpired(o, r, t); reason != nil {
			return reason
		}
	}
	return nil
}

// observed are the trusted times of a bundle.
func observed(o *opened, r *trust.Root) []time.Time {
	var all []time.Time
	if len(r.Material.RekorLogs()) > 0 {
		if logged, err := verify.VerifyTlogEntry(o.entity, r.Material, 1, true); err == nil {
			for _, t := range logged {
				all = append(all, t.Time)
			}
		}
	}
	if stamped, _, err := verify.VerifySignedTimestamp(o.entity, r.Material); err == nil {
		for _, t := range stamped {
			all = append(all, t.Time)
		}
	}
	return all
}

// rootExpired tells that the root had stopped using, or did not yet use, the
// certificate's issuer at a time.
func rootExpired(o *opened, r *trust.Root, t time.Time) *Problem {
	if _, err := verify.VerifyLeafCertificate(t, o.cert, r.Material); err == nil {
		return nil
	}
	for _, ca := range authorities(r) {
		_, err := ca.Verify(o.cert, t)
		var invalid x509.CertificateInvalidError
		period := !ca.ValidityPeriodEnd.IsZero() && t.After(ca.ValidityPeriodEnd) || t.Before(ca.ValidityPeriodStart)
		if period || errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return problem(Expired, "signed at %s, when %q was not valid by the trusted root %s: get a newer trusted root if there is one", t.UTC().Format(date), o.cert.Issuer, r.Name)
		}
	}
	return problem(Certificate, "its certificate does not lead to the trusted root %s, or is not for signing code", r.Name)
}

// sctOID is the extension with SCTs (RFC 6962, section 3.3).
var sctOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// explainSCT looks whether the certificate is in a CT log.
func explainSCT(o *opened, r *trust.Root) *Problem {
	if len(r.Material.CTLogs()) == 0 {
		return nil
	}
	for _, e := range o.cert.Extensions {
		if e.Id.Equal(sctOID) {
			return problem(SCT, "no CT log of the trusted root %s has promised to log its certificate as it is (SCT)", r.Name)
		}
	}
	return problem(SCT, "its certificate has no SCT, no CT log's promise to log it; the trusted root %s requires one", r.Name)
}

// isHint tells whether a key's hint is one of cosign's.
func isHint(hint string) bool {
	sum, err := base64.StdEncoding.DecodeString(hint)
	return err == nil && len(sum) == 32
}

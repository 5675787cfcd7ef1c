package verify

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/internal/bundletest"
)

// parts are where the values of a bundle stand, and the kind of what is found when a
// bit of one is changed.
var parts = []struct {
	name string
	path []any
	kind Kind
	want string
}{
	{"payload", []any{"dsseEnvelope", "payload"}, "", ""}, // whatever the JSON is then
	{"signature", []any{"dsseEnvelope", "signatures", 0, "sig"}, Signature, "its signature is not that of the payload by the certificate's key: one of them was changed after signing"},
	{"certificate", []any{"verificationMaterial", "certificate", "rawBytes"}, Certificate, ""},
	{"timestamp", []any{"verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0, "signedTimestamp"}, Timestamp, "its signed timestamp does not verify by the trusted root public"},
	{"log's promise", []any{"verificationMaterial", "tlogEntries", 0, "inclusionPromise", "signedEntryTimestamp"}, Log, "the log did not sign its promise to include it"},
	{"root hash of the proof", []any{"verificationMaterial", "tlogEntries", 0, "inclusionProof", "rootHash"}, Log, "its transparency log entry does not verify"},
	{"checkpoint of the proof", []any{"verificationMaterial", "tlogEntries", 0, "inclusionProof", "checkpoint", "envelope"}, Log, "its transparency log entry does not verify"},
	{"body of the entry", []any{"verificationMaterial", "tlogEntries", 0, "canonicalizedBody"}, "", ""},
	{"log's id", []any{"verificationMaterial", "tlogEntries", 0, "logId", "keyId"}, Log, "its transparency log entry is of log "},
}

func TestEveryChangedPartIsRefused(t *testing.T) {
	s := bundletest.New(t)
	root := s.Root(t, "public", bundletest.Public)
	good := s.Sign(t, provenance(t, bundletest.Claims()), full())
	if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(good), repo(root)); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		message, kinds := refused(t, bundleOf(flip(t, good, part.path...)), repo(root))
		if part.kind != "" && kinds[0] != part.kind || !strings.Contains(message, part.want) {
			t.Errorf("%s: %v %s\nwant %s %q", part.name, kinds, message, part.kind, part.want)
		}
	}
	// A payload that is changed and still a statement about the file.
	changed := strings.Replace(string(provenance(t, bundletest.Claims())), `"push"`, `"pull"`, 1)
	message, kinds := refused(t, bundleOf(replacePayload(t, good, changed)), repo(root))
	if kinds[0] != Signature {
		t.Errorf("payload: %v %s", kinds, message)
	}
}

func replacePayload(t *testing.T, bundle []byte, payload string) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	b["dsseEnvelope"].(map[string]any)["payload"] = base64.StdEncoding.EncodeToString([]byte(payload))
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNoChangedByteChangesTheResult changes bytes all over a bundle. Some are signed
// by nobody, such as the wrapping of a timestamp; what is found then has to be the same.
func TestNoChangedByteChangesTheResult(t *testing.T) {
	s := bundletest.New(t)
	p := repo(s.Root(t, "public", bundletest.Public))
	good := s.Sign(t, provenance(t, bundletest.Claims()), full())
	want, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(good), p)
	if err != nil {
		t.Fatal(err)
	}
	tried, same := 0, 0
	for at := 0; at < len(good); at += 29 {
		bad := append([]byte{}, good...)
		bad[at] ^= 1 << (at % 7)
		tried++
		got, err := Digest(t.Context(), sum("web.img"), "web.img", bundleOf(bad), p)
		if err != nil {
			continue
		}
		same++
		if !reflect.DeepEqual(got, want) {
			t.Errorf("byte %d (%.40q): verified with another result: %+v", at, bad[at:], got)
		}
	}
	t.Logf("%d changes, of which %d were of bytes that do not matter", tried, same)
	if tried < 300 || same > tried/5 {
		t.Errorf("%d of %d changes were accepted", same, tried)
	}
}

func TestSecondRootDoesNotLendItsServices(t *testing.T) {
	// One root has the authority and wants a log, another has the log: a bundle with a
	// certificate of the first and nothing else must not pass by mixing them.
	s, other := bundletest.New(t), bundletest.New(t)
	how := with(func(s *bundletest.Signed) { s.Log, s.TSA = false, false })
	b := bundleOf(s.Sign(t, provenance(t, bundletest.Claims()), how))
	roots := []*trust.Root{s.Root(t, "mine", bundletest.Public), other.Root(t, "other", bundletest.Services{}), other.Root(t, "third", bundletest.Private)}
	message, kinds := refused(t, b, repo(roots...))
	if kinds[0] != Log || !strings.Contains(message, "the trusted root mine requires one") {
		t.Errorf("%v %s", kinds, message)
	}
}

// TestVirtualSigstore verifies what sigstore-go's own tests are made of, with log entries of
// both versions of Rekor. Its certificates name a person, so the identity is what is left to
// refuse.
func TestVirtualSigstore(t *testing.T) {
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	r := &trust.Root{Name: "virtual", Material: withoutCT{virtual}}
	payload := provenance(t, bundletest.Claims())
	for name, attest := range map[string]func(identity, issuer string, body []byte) (*ca.TestEntity, error){
		"Rekor v1": virtual.Attest, "Rekor v2": virtual.AttestHashedRekordV2,
	} {
		entity, err := attest("alice@example.com", GitHubIssuer, payload)
		if err != nil {
			t.Fatal(err)
		}
		content, err := entity.VerificationContent()
		if err != nil {
			t.Fatal(err)
		}
		j := &judge{Policy: repo(r), name: "web.img", hex: sum("web.img")}
		if j.digest, err = hex.DecodeString(sum("web.img")); err != nil {
			t.Fatal(err)
		}
		st, err := statement.Decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		v := Verified{Statement: st}
		o := &opened{source: name, entity: entity, statement: st, cert: content.Certificate()}
		reason := j.signed(o, &v)
		if reason == nil || reason.Kind != Identity || v.Root != "virtual" || len(v.Timestamps) == 0 {
			t.Errorf("%s: %v, root %q, times %v", name, reason, v.Root, v.Timestamps)
		}
	}
}

// withoutCT hides the CT log, which VirtualSigstore's certificates do not have.
type withoutCT struct{ root.TrustedMaterial }

func (withoutCT) CTLogs() map[string]*root.TransparencyLog { return nil }

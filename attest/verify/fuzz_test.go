package verify

import (
	"errors"
	"reflect"
	"testing"

	"github.com/volant/fledge-action/internal/bundletest"
)

// seeds are files of bundles; all but the first are not what they should be.
func seeds(t testing.TB, s *bundletest.Stack, key *bundletest.Key) [][]byte {
	good := s.Sign(t, provenance(t, bundletest.Claims()), full())
	all := [][]byte{
		good,
		key.Sign(t, buildRecord(t), key.Hint),
		append(append([]byte("nonsense\n{}\n"), good...), '\n'),
		[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{}},"dsseEnvelope":{"signatures":[{}]}}`),
		[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":{"x509CertificateChain":{}},"dsseEnvelope":{}}`),
		[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[{"logId":{"keyId":"AA=="},"kindVersion":{"kind":"dsse","version":"0.0.1"},"canonicalizedBody":"e30="}]},"dsseEnvelope":{"signatures":[{}]}}`),
	}
	for _, p := range parts {
		all = append(all, flip(t, good, p.path...))
	}
	return all
}

// FuzzDigest: whatever a file of bundles holds, it is taken apart and judged without a
// crash, and nothing verifies but what was signed.
func FuzzDigest(f *testing.F) {
	s, key := bundletest.New(f), bundletest.NewKey(f)
	root := s.Root(f, "public", bundletest.Public)
	for _, seed := range seeds(f, s, key) {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	p := repo(root)
	p.Keys = [][]byte{key.Public}
	f.Fuzz(func(t *testing.T, data []byte, lines bool) {
		name := map[bool]string{true: "x.jsonl", false: "x.json"}[lines]
		bundles, err := Bundles(name, data)
		if err != nil {
			return
		}
		for _, b := range bundles {
			_ = Claimed(b)
		}
		r, err := Digest(t.Context(), sum("web.img"), "web.img", bundles, p)
		var refused *Error
		switch {
		case err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrNothing):
			t.Errorf("an error of another kind: %v", err)
		case err != nil:
			return
		}
		for _, v := range r.Bundles {
			if v.Subject.SHA256() != sum("web.img") || v.Signer.Key != key.Hint && v.Signer.Repository != "https://github.com/o/r" {
				t.Errorf("verified: %+v", v)
			}
			if v.Record != nil && !reflect.DeepEqual(*v.Record, record()) {
				t.Errorf("record %+v", v.Record)
			}
		}
	})
}

func TestSeedsReachTheVerifier(t *testing.T) {
	s, key := bundletest.New(t), bundletest.NewKey(t)
	p := repo(s.Root(t, "public", bundletest.Public))
	p.Keys = [][]byte{key.Public}
	verified := 0
	for _, seed := range seeds(t, s, key) {
		bundles, err := Bundles("x.jsonl", seed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Digest(t.Context(), sum("web.img"), "web.img", bundles, p); err == nil {
			verified++
		}
	}
	if verified != 3 {
		t.Errorf("%d seeds verify, want 3", verified)
	}
}

package artifact

import (
	"bytes"
	"context"
	"testing"

	nc "github.com/volant/fledge-action/internal/newctest"
)

// fuzzSeeds are artifacts that are read, and some that are not.
func fuzzSeeds() []string {
	seeds := []string{"", "070701", "\x1f\x8b", "\x28\xb5\x2f\xfd", sample[:300], nc.Archive(), nc.Archive(nc.File("/x", "")), gz(gz(sample))}
	for _, name := range []string{"none", "gzip", "zstd", "zstd without sizes"} {
		seeds = append(seeds, packed(sample)[name])
	}
	return append(seeds, nc.Archive(nc.Dir("a"), nc.File("a/b", "content"), nc.Link("c", "a/b")), nc.Archive(nc.Record{Name: "sum", Mode: 0o100644, Magic: "070702", Check: "00000083", Body: "AB"}))
}

// FuzzOpen opens arbitrary bytes: an error is a verdict, and what opens is sane.
// A plain archive is packed too, so that the fuzzer's changes get past the
// decompressors.
func FuzzOpen(f *testing.F) {
	for _, s := range fuzzSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain := exercise(t, data)
		if !bytes.HasPrefix(data, []byte("0707")) || len(data) > 1<<16 {
			return
		}
		for _, p := range []string{gz(string(data)), zst(string(data))} {
			if a := exercise(t, []byte(p)); (a == nil) != (plain == nil) || a != nil && lines(a) != lines(plain) {
				t.Errorf("read otherwise when compressed")
			}
		}
	})
}

func exercise(t *testing.T, data []byte) *Artifact {
	opt := Options{MaxEntries: 10000, MaxUnpacked: 4 << 20, MaxMetadata: 1 << 20, Spool: &memory{}}
	a, err := Open(context.Background(), bytes.NewReader(data), int64(len(data)), opt)
	if err != nil {
		if !isVerdict(err) {
			t.Errorf("%v is no verdict on the artifact", err)
		}
		return nil
	}
	sane(t, a)
	for off := int64(0); off <= a.Size; off += max(a.Size/50, 1) {
		if what, err := a.Locate(context.Background(), off); err != nil || what == "" {
			t.Errorf("at %d: %q, %v", off, what, err)
		}
	}
	return a
}

func TestFuzzSeedsReachTheParser(t *testing.T) {
	opened := 0
	for _, s := range fuzzSeeds() {
		if a := exercise(t, []byte(s)); a != nil {
			opened++
		}
	}
	if opened != 7 {
		t.Errorf("%d seeds are opened", opened)
	}
}

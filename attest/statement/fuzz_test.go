package statement

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seed adds the golden files of a pattern to a fuzz target's corpus.
func seed(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("%s: %v, %v", pattern, names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// FuzzDecode: what is ours when it is read is the same after it is written.
func FuzzDecode(f *testing.F) {
	seed(f, "*-*.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			return
		}
		payload, err := s.Encode()
		if err != nil {
			return // another tool's
		}
		again, err := Decode(payload)
		if err != nil {
			t.Fatalf("%v in %q", err, payload)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(payload, twice) {
			t.Errorf("%q\n%q\n%v", payload, twice, err)
		}
	})
}

// FuzzDecodeRecord: what is read is what would be written.
func FuzzDecodeRecord(f *testing.F) {
	seed(f, "record-*.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRecord(data)
		if err != nil {
			return
		}
		file, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRecord(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzParseSums: what is read is the same after it is written.
func FuzzParseSums(f *testing.F) {
	f.Add([]byte(hexOf("1") + "  a\n\\" + hexOf("2") + ` *b\\\n` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		subjects, err := ParseSums(data)
		if err != nil {
			return
		}
		again, err := ParseSums(Sums(subjects))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(subjects, again); diff != "" {
			t.Error(diff)
		}
	})
}

package statement

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares text with a file, or rewrites the file with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(string(want), string(got)))
	}
}

func hexOf(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func subject(name, content string) Subject {
	return Subject{Name: name, Digest: map[string]string{"sha256": hexOf(content)}}
}

// subjects are those of a build, in no good order and with one twice.
func subjects() []Subject {
	return []Subject{
		subject("web.img", "image"), subject("manifest.json", "manifest"), subject("SHA256SUMS", "sums"),
		subject("web.spdx.json", "sbom"), subject("manifest.json", "manifest"), subject("a<b>&c.json", "odd"),
	}
}

// refused checks that err is there and says every word.
func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", what)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v\nwant in it: %s", what, err, w)
		}
	}
}

func plain() Statement {
	return Statement{Type: TypeStatement, Subject: subjects(), PredicateType: "https://example.com/p", Predicate: json.RawMessage(`{ "b": "<&>", "a": 1 }`)}
}

func TestStatementIsWrittenWithoutSpaceInFixedOrder(t *testing.T) {
	s := plain()
	s.Subject = []Subject{subject("b", "2"), subject("a", "1"), subject("b", "2")}
	got, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[` +
		`{"name":"a","digest":{"sha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}},` +
		`{"name":"b","digest":{"sha256":"d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"}}],` +
		`"predicateType":"https://example.com/p","predicate":{"b":"<&>","a":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if s.Subject[0].Name != "b" {
		t.Error("the caller's subjects were sorted in place")
	}
}

func TestOrderOfSubjectsDoesNotMatter(t *testing.T) {
	s := plain()
	want, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.Subject = append(s.Subject[1:], s.Subject[0])
		if got, err := s.Encode(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestDecodeReadsWhatEncodeWrites(t *testing.T) {
	s := plain()
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(payload)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, payload) {
		t.Errorf("%s, %v", again, err)
	}
}

func TestSubjectsThatCannotBeAreRefused(t *testing.T) {
	tests := []struct {
		what string
		in   []Subject
		want string
	}{
		{"none", nil, "no subjects"},
		{"two digests of a name", []Subject{subject("a", "1"), subject("b", "1"), subject("a", "2")}, `two files are called "a"`},
		{"folder in the name", []Subject{subject("dist/a", "1")}, "base name"},
		{"no name", []Subject{subject("", "1")}, "base name"},
		{"dot", []Subject{subject(".", "1")}, "base name"},
		{"dots", []Subject{subject("..", "1")}, "base name"},
		{"zero byte", []Subject{subject("a\x00", "1")}, "base name"},
		{"not UTF-8", []Subject{subject("a\xff", "1")}, "UTF-8"},
		{"long name", []Subject{subject(strings.Repeat("x", 256), "1")}, "256 bytes, more than the limit of 255"},
		{"no digest", []Subject{{Name: "a"}}, "want one digest"},
		{"upper case", []Subject{{Name: "a", Digest: map[string]string{"sha256": strings.ToUpper(hexOf("1"))}}}, "lower-case"},
		{"short", []Subject{{Name: "a", Digest: map[string]string{"sha256": hexOf("1")[:63]}}}, "64"},
		{"another algorithm", []Subject{{Name: "a", Digest: map[string]string{"sha512": strings.Repeat("0", 128)}}}, "sha256"},
		{"one too many", []Subject{{Name: "a", Digest: map[string]string{"sha256": hexOf("1"), "sha1": strings.Repeat("0", 40)}}}, "one digest"},
	}
	for _, test := range tests {
		s := plain()
		s.Subject = test.in
		_, err := s.Encode()
		refused(t, test.what, err, test.want)
		_, err = SBOM([]byte(spdx), test.in)
		refused(t, test.what+" of an SBOM", err, test.want)
	}
	s := plain()
	s.Subject = []Subject{subject(strings.Repeat("x", 255), "1")}
	if _, err := s.Encode(); err != nil {
		t.Errorf("name at the limit: %v", err)
	}
}

func many(n int) []Subject {
	var all []Subject
	for i := range n {
		all = append(all, subject(fmt.Sprintf("f%d", i), "x"))
	}
	return all
}

func TestSubjectsAreLimited(t *testing.T) {
	s := plain()
	s.Subject = append(many(1024), subject("f0", "x")) // the same once more
	payload, err := s.Encode()
	if err != nil {
		t.Fatalf("at the limit: %v", err)
	}
	if got, err := Decode(payload); err != nil || len(got.Subject) != 1024 {
		t.Errorf("at the limit: %v", err)
	}
	s.Subject = many(1025)
	_, err = s.Encode()
	refused(t, "one past the limit", err, "1025 subjects", "limit of 1024")
	s.Type = TypeStatement
	raw, err := encode(s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Decode(raw)
	refused(t, "reading one past the limit", err, "1025 subjects", "limit of 1024")
}

func TestPayloadsAreLimited(t *testing.T) {
	s := plain()
	s.Predicate = json.RawMessage(`{"x":""}`)
	empty, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	fill := func(n int) { s.Predicate = json.RawMessage(`{"x":"` + strings.Repeat("x", n) + `"}`) }
	fill(MaxPayload - len(empty))
	payload, err := s.Encode()
	if err != nil || len(payload) != MaxPayload {
		t.Fatalf("at the limit: %d bytes, %v", len(payload), err)
	}
	if _, err := Decode(payload); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	fill(MaxPayload - len(empty) + 1)
	_, err = s.Encode()
	refused(t, "past the limit", err, "16777217 bytes", "limit of 16777216")
	_, err = Decode(append(payload, ' '))
	refused(t, "reading past the limit", err, "16777217 bytes", "limit of 16777216")
}

func TestStatementsThatCannotBeAreRefused(t *testing.T) {
	good := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"` + hexOf("1") + `"}}],"predicateType":"p","predicate":{"x":[{"y":1},{"y":null}]}}`
	if _, err := Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ what, old, new, want string }{
		{"another version", "Statement/v1", "Statement/v0.1", "_type is"},
		{"no type", `"_type":"https://in-toto.io/Statement/v1",`, ``, `_type is ""`},
		{"no predicate type", `"predicateType":"p"`, `"predicateType":""`, "predicateType is empty"},
		{"predicate of text", `{"x":[{"y":1},{"y":null}]}`, `"x"`, "predicate is not an object"},
		{"no predicate", `,"predicate":{"x":[{"y":1},{"y":null}]}`, ``, "predicate is not an object"},
		{"no subjects", `{"name":"a","digest":{"sha256":"` + hexOf("1") + `"}}`, ``, "no subjects"},
		{"null subject", `{"name":"a","digest":{"sha256":"` + hexOf("1") + `"}}`, `null`, "subject 0: null"},
		{"unknown key", `"predicateType"`, `"x":1,"predicateType"`, `unknown key "x"`},
		{"key in another case", `"_type"`, `"_Type"`, `unknown key "_Type"`},
		{"key twice", `"predicateType":"p"`, `"predicateType":"p","predicateType":"p"`, `key "predicateType" is repeated`},
		{"key twice by an escape", `"predicateType":"p"`, `"predicateType":"p","predicate\u0054ype":"p"`, `key "predicateType" is repeated`},
		{"key twice deep down", `{"y":null}`, `{"y":null,"z":{},"y":[]}`, `key "y" is repeated`},
		{"key of a subject in another case", `"name":"a"`, `"name":"a","Name":"b"`, `unknown key "Name"`},
		{"no digest", `{"sha256":"` + hexOf("1") + `"}`, `{}`, "no digest"},
		{"upper-case digest", hexOf("1"), strings.ToUpper(hexOf("1")), "lower-case"},
		{"text behind it", `null}]}}`, `null}]}} {}`, "after top-level value"},
		{"not UTF-8", `"p"`, "\"p\xff\"", "not UTF-8"},
		{"array", good, `[]`, "not a JSON object"},
		{"nothing", good, ``, "unexpected end"},
		{"cut", `null}]}}`, `null}]}`, "unexpected end"},
		{"deep", `[{"y":1},{"y":null}]`, strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "depth"},
	}
	for _, test := range tests {
		if !strings.Contains(good, test.old) {
			t.Fatalf("%s: nothing to replace", test.what)
		}
		_, err := Decode([]byte(strings.Replace(good, test.old, test.new, 1)))
		refused(t, test.what, err, "decoding statement: ", test.want)
	}
}

func TestStatementsOfOtherToolsAreRead(t *testing.T) {
	in := `{"predicate":{},"predicateType":"https://in-toto.io/attestation/release/v0.1","_type":"https://in-toto.io/Statement/v1",
	"subject":[{"uri":"pkg:github/volant/volant@v1","digest":{"sha1":"` + strings.Repeat("a", 40) + `"}},
	{"name":"bin/kestrel","digest":{"sha256":"` + hexOf("1") + `","sha512":"` + strings.Repeat("0", 128) + `"},"annotations":{"x":[1]}}]}`
	got, err := Decode([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Subject) != 2 || got.Subject[1].Name != "bin/kestrel" || got.Subject[1].SHA256() != hexOf("1") || got.Subject[0].SHA256() != "" {
		t.Errorf("%+v", got.Subject)
	}
	_, err = got.Encode()
	refused(t, "writing it as ours", err, "base name")
}

func TestDigestIsThatOfTheBytes(t *testing.T) {
	got, err := Digest(t.Context(), "x", strings.NewReader("abc"))
	if err != nil || got.Name != "x" || got.SHA256() != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = Digest(t.Context(), "a/b", strings.NewReader("abc"))
	refused(t, "path", err, `"a/b"`, "base name")
	fault := errors.New("broken disk")
	if _, err = Digest(t.Context(), "x", io.MultiReader(strings.NewReader("a"), &broken{fault})); !errors.Is(err, fault) {
		t.Errorf("%v, want the reader's fault", err)
	}
}

type broken struct{ err error }

func (b *broken) Read([]byte) (int, error) { return 0, b.err }

// endless cancels while it is read.
type endless struct {
	cancel context.CancelFunc
	left   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left--; e.left == 0 {
		e.cancel()
	}
	if e.left < -1 {
		return 0, errors.New("read on after it was cancelled")
	}
	return len(p), nil
}

func TestDigestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Digest(ctx, "x", &endless{cancel, 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestDigestOfABigFileNeedsLittleMemory(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 30
	if err := f.Truncate(size); err != nil { // sparse
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := Digest(t.Context(), "big", f)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	// sha256sum of 1 GiB of zeros.
	if want := "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"; got.SHA256() != want {
		t.Errorf("%s, want %s", got.SHA256(), want)
	}
	const most = 1 << 20 // bytes, of all that was ever allocated
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("%d bytes were allocated, more than %d", n, most)
	}
}

func TestEverySortOfStatementHasTheSameSubjects(t *testing.T) {
	p, err1 := Provenance(claims(), subjects())
	b, err2 := Build(fullRecord(t), subjects())
	s, err3 := SBOM([]byte(spdx), subjects())
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	want := []string{"SHA256SUMS", "a<b>&c.json", "manifest.json", "web.img", "web.spdx.json"}
	for _, statement := range []Statement{p, b, s} {
		var names []string
		for _, s := range statement.Subject {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", statement.PredicateType, names, want)
		}
	}
}

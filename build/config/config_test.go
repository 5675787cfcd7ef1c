package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Each file of testdata is a fledge.toml and what is made of it: want.json, the
// values that are not zero, or want.err, one problem a line; want.warn, if there,
// holds the warnings.
func TestParse(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar := readArchive(t, name)
			got := results(t, ar.file("fledge.toml"))
			if *update {
				rewrite(t, name, ar, got)
				return
			}
			want := map[string]string{}
			for _, f := range ar.files[1:] {
				want[f.name] = f.data
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// results are the sections that belong to text.
func results(t *testing.T, text []byte) map[string]string {
	t.Helper()
	c, err := Parse("fledge.toml", text)
	if err != nil {
		if _, ok := errors.AsType[Errors](err); !ok {
			t.Errorf("the error is a %T", err)
		}
		return map[string]string{"want.err": err.Error() + "\n"}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(asMap(reflect.ValueOf(c).Elem(), nil, notZero)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"want.json": b.String()}
	if len(c.Warnings) > 0 {
		got["want.warn"] = c.Warnings.Error() + "\n"
	}
	return got
}

func rewrite(t *testing.T, name string, ar archive, got map[string]string) {
	t.Helper()
	ar.files = ar.files[:1]
	for _, want := range []string{"want.json", "want.err", "want.warn"} {
		if text, ok := got[want]; ok {
			ar.files = append(ar.files, archived{want, text})
		}
	}
	if err := os.WriteFile(name, ar.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The first problem of the project's own example, to the letter.
func TestUnknownKeyNamesThePlaceAndTheKeyThatWasMeant(t *testing.T) {
	text := strings.Repeat("#\n", 7) + "version = \"1\"\nstrategy = \"oci_rootfs\"\nsource.image = \"nginx\"\n[filesystem]\n  sise = 5\n"
	_, err := Parse("fledge.toml", []byte(text))
	want := `fledge.toml:12:3: unknown key "filesystem.sise" (did you mean "size_buffer_mb"?)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.File != "fledge.toml" || e.Line != 12 || e.Column != 3 || e.Key != "filesystem.sise" {
		t.Errorf("error = %+v", e)
	}
}

func TestParseTellsADefaultFromTheSameValueWritten(t *testing.T) {
	const head = "version = \"1\"\nstrategy = \"oci_rootfs\"\nsource.image = \"nginx\"\n"
	tests := []struct {
		line string
		size int
		set  bool
	}{
		{"", 100, false},
		{"filesystem.size_buffer_mb = 100", 100, true},
		{"filesystem.size_buffer_mb = 0", 0, true},
		{"filesystem.size_buffer_mb = 122880", 122880, true},
	}
	for _, tt := range tests {
		c, err := Parse("fledge.toml", []byte(head+tt.line))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Filesystem.SizeBufferMB; got != tt.size || c.IsSet("filesystem.size_buffer_mb") != tt.set {
			t.Errorf("%q: size = %d, set = %v", tt.line, got, !tt.set)
		}
	}
}

func TestMappingsAreSortedAndKnowTheirPlace(t *testing.T) {
	c, err := Parse("fledge.toml", []byte("version = \"1\"\nstrategy = \"initramfs\"\n[mappings]\n \"z\" = \"/b\"\n'é/' = \"/c/\"\nb = \"/a..b\"\n\"a\" = \"/b\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Mappings{{"b", "/a..b", 6, 1}, {"a", "/b", 7, 1}, {"z", "/b", 4, 2}, {"é/", "/c/", 5, 1}}
	if diff := cmp.Diff(want, c.Mappings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlaceFallsBackToTheTableAround(t *testing.T) {
	c, err := Parse("fledge.toml", []byte("version = \"1\"\nstrategy = \"initramfs\"\n\n[plugin]\nlabels.\"a b\" = \"x\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]Position{
		"plugin.name":         {4, 1},
		`plugin.labels."a b"`: {5, 16},
		"plugin":              {4, 1},
		"workload.entrypoint": {1, 1},
		"version":             {1, 11},
	}
	for key, want := range tests {
		if got := c.Place(key); got != want {
			t.Errorf("Place(%s) = %v, want %v", key, got, want)
		}
	}
	if got := c.Errorf("plugin.name", "no %s", "name").Error(); got != "fledge.toml:4:1: no name" {
		t.Errorf("Errorf = %s", got)
	}
}

func TestLoadTakesAFileOrItsFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, []byte("version = \"1\"\nstrategy = \"initramfs\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.File != file || c.Dir != dir {
			t.Errorf("file = %s, dir = %s", c.File, c.Dir)
		}
	}
	for _, path := range []string{filepath.Join(dir, "none"), "/dev/null", t.TempDir()} {
		if _, err := Load(path); err == nil {
			t.Errorf("%s was loaded", path)
		} else if _, ok := errors.AsType[Errors](err); ok {
			t.Errorf("%s: %v looks like a problem of the text", path, err)
		}
	}
}

const head = "version = \"1\"\nstrategy = \"initramfs\"\n"

// Every bound is met from both sides.
func TestBoundsHoldAtTheBoundAndNotPastIt(t *testing.T) {
	pad := func(n int) string { return head + "#" + strings.Repeat("x", n-len(head)-1) }
	labels := func(n int) string { // 3 items besides the labels: version, strategy, the header
		var b strings.Builder
		b.WriteString(head + "[mappings]\n")
		for i := range n - 3 {
			fmt.Fprintf(&b, "f%d = \"/f%d\"\n", i, i)
		}
		return b.String()
	}
	tests := []struct {
		name     string
		at, past string
	}{
		{"size", pad(MaxSize), pad(MaxSize + 1)},
		{"items", labels(MaxItems), labels(MaxItems + 1)},
		{"size_buffer_mb", head + "[filesystem]\nsize_buffer_mb = 122880", head + "[filesystem]\nsize_buffer_mb = 122881"},
		{"size_buffer_mb below", head + "[filesystem]\nsize_buffer_mb = 0", head + "[filesystem]\nsize_buffer_mb = -1"},
		{"journal_mb", head + "[filesystem]\njournal_mb = 1024", head + "[filesystem]\njournal_mb = 1025"},
		{"journal_mb below", head + "[filesystem]\njournal_mb = 4", head + "[filesystem]\njournal_mb = 3"},
		{"no journal", head + "[filesystem]\njournal_mb = 0", head + "[filesystem]\njournal_mb = 1"},
		{"level of gzip", head + "[initramfs]\nlevel = 9", head + "[initramfs]\nlevel = 10"},
		{"level of zstd", head + "[initramfs]\ncompression = \"zstd\"\nlevel = 19", head + "[initramfs]\ncompression = \"zstd\"\nlevel = 20"},
		{"level below", head + "[initramfs]\nlevel = 1", head + "[initramfs]\nlevel = 0"},
		{"max_size_mb", head + "[build]\nmax_size_mb = 1", head + "[build]\nmax_size_mb = 0"},
		{"cpu_cores", head + "[resources]\ncpu_cores = 1024", head + "[resources]\ncpu_cores = 1025"},
		{"file name", head + "[mappings]\na = \"/" + strings.Repeat("n", 255) + "\"", head + "[mappings]\na = \"/" + strings.Repeat("n", 256) + "\""},
		{"path", head + "[mappings]\na = \"" + strings.Repeat("/nnnn", 819) + "\"", head + "[mappings]\na = \"" + strings.Repeat("/nnnn", 819) + "/\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("fledge.toml", []byte(tt.at)); err != nil {
				t.Errorf("at the bound: %.200v", err)
			}
			if _, err := Parse("fledge.toml", []byte(tt.past)); err == nil {
				t.Error("past the bound: accepted")
			}
		})
	}
}

func TestDepthIsBounded(t *testing.T) {
	const tooDeep = "nested more than 32 levels deep"
	deep := func(n int) []string {
		return []string{
			head + "x = " + strings.Repeat("[", n-1) + strings.Repeat("]", n-1),
			head + strings.Repeat("a.", n-1) + "a = 1",
			head + "[" + strings.Repeat("a.", n-1) + "a]",
			head + "x = " + strings.Repeat("{x = ", n-1) + "1" + strings.Repeat("}", n-1),
		}
	}
	for i, text := range deep(MaxDepth) {
		if _, err := Parse("fledge.toml", []byte(text)); err == nil || strings.Contains(err.Error(), tooDeep) {
			t.Errorf("%d at the bound: %v", i, err)
		}
	}
	for i, text := range append(deep(MaxDepth+1), deep(100000)...) {
		if _, err := Parse("fledge.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), tooDeep) {
			t.Errorf("%d past the bound: %.200v", i, err)
		}
	}
	// Depth behind something that is not TOML must not reach the decoder either.
	if _, err := Parse("fledge.toml", []byte("x = = "+strings.Repeat("[", 500000))); err == nil {
		t.Error("accepted")
	}
}

var sameConfig = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.IgnoreFields(Config{}, "Warnings", "File", "Dir", "Digest"),
	cmpopts.IgnoreFields(Mapping{}, "Line", "Column"),
}

func seeds(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var texts [][]byte
	for _, name := range files {
		texts = append(texts, readArchive(t, name).file("fledge.toml"))
	}
	return texts
}

func FuzzConfig(f *testing.F) {
	for _, text := range seeds(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkParse(t, text) })
}

// checkParse holds for every text: places lie in it, and what parses means the
// same when it is written anew. It reports whether the text parses.
func checkParse(t *testing.T, text []byte) bool {
	t.Helper()
	c, err := Parse("f", text)
	if err != nil {
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("error is %T %v", err, err)
		}
		inText(t, text, errs)
		return false
	}
	inText(t, text, c.Warnings)
	again, err := Parse("f", encode(t, c))
	if err != nil {
		t.Fatalf("written anew it does not parse: %v\n%s", err, encode(t, c))
	}
	if diff := cmp.Diff(c, again, sameConfig); diff != "" {
		t.Fatalf("written anew it differs (-first +again):\n%s\n%s", diff, encode(t, c))
	}
	if diff := cmp.Diff(keysOf(c), keysOf(again)); diff != "" {
		t.Fatalf("written anew other keys are set (-first +again):\n%s", diff)
	}
	return true
}

func keysOf(c *Config) map[string]bool {
	keys := map[string]bool{}
	for k := range c.places {
		keys[k] = true
	}
	return keys
}

func inText(t *testing.T, text []byte, errs Errors) {
	t.Helper()
	lines := strings.Split(string(text), "\n")
	for _, e := range errs {
		if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len([]rune(lines[e.Line-1]))+1 {
			t.Fatalf("%v is outside the text", e)
		}
	}
}

func TestAPlaceIsNeverInsideACharacter(t *testing.T) {
	text := []byte("version = \"1\"\nstrategy = \"initramfs\u9efb")
	_, err := Parse("f", text)
	if errs, ok := errors.AsType[Errors](err); ok {
		inText(t, text, errs)
	} else {
		t.Errorf("error = %v", err)
	}
}

func TestFuzzSeedsReachTheEnd(t *testing.T) {
	parsed := 0
	for _, text := range seeds(t) {
		if checkParse(t, text) {
			parsed++
		}
	}
	if parsed < 15 {
		t.Errorf("only %d seeds parse", parsed)
	}
}

package size

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/testneed"
)

type blob []byte

func (b blob) Size() int64                  { return int64(len(b)) }
func (b blob) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// zeros is a file of that many bytes.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }
func (z zeros) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zero{}, int64(z))), nil
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func build(t testing.TB, files map[string]tree.Content) *tree.Tree {
	t.Helper()
	tr := tree.New()
	for name, c := range files {
		if err := tr.MkdirAll(path.Dir(name), tree.Node{Mode: fs.ModeDir | 0o755}); err != nil {
			t.Fatal(err)
		}
		if err := tr.Put(name, &tree.Node{Mode: 0o644, Content: c}); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func measure(t testing.TB, tr *tree.Tree) *Report {
	t.Helper()
	r, err := Measure(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFoldersDoNotOverlapAndSayWhereBytesAre(t *testing.T) {
	files := map[string]tree.Content{
		"usr/lib/python3/a":  zeros(500),
		"usr/lib/python3/b":  zeros(200),
		"usr/lib/libc.so":    zeros(90),
		"usr/lib/empty":      nil,
		"var/cache/apt/pkgs": zeros(400),
		"etc/passwd":         zeros(10),
	}
	for i := range 30 { // many small ones: the folder says more than any of them
		files[fmt.Sprintf("usr/share/doc/p%02d/copyright", i)] = zeros(10)
	}
	got := measure(t, build(t, files))
	want := []Directory{
		{"/usr/lib/python3", 700, 2}, {"/var/cache/apt", 400, 1}, {"/usr/share/doc", 300, 30}, {"/usr/lib", 90, 2}, {"/etc", 10, 1},
	}
	if diff := cmp.Diff(want, got.Directories); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
	if got.Content != 1500 || got.Files != 36 || got.Entries != 1+36+9+30 {
		t.Errorf("content %d, files %d, entries %d", got.Content, got.Files, got.Entries)
	}
	sum := int64(0)
	for _, d := range got.Directories {
		sum += d.Bytes
	}
	if sum != got.Content {
		t.Errorf("folders have %d bytes together, all files %d", sum, got.Content)
	}
}

func TestLargestFilesAreTenAndSorted(t *testing.T) {
	files := map[string]tree.Content{}
	for i := range 25 {
		files[fmt.Sprintf("f%02d", i)] = zeros(int64(100 + i%5))
	}
	got := measure(t, build(t, files)).Largest
	want := []File{
		{"/f04", 104},
		{"/f09", 104},
		{"/f14", 104},
		{"/f19", 104},
		{"/f24", 104},
		{"/f03", 103},
		{"/f08", 103},
		{"/f13", 103},
		{"/f18", 103},
		{"/f23", 103},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAHardLinkCountsOnce(t *testing.T) {
	tr := build(t, map[string]tree.Content{"a/one": zeros(50), "b/x": zeros(1)})
	n, err := tr.Lookup("a/one")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("b/two", n); err != nil {
		t.Fatal(err)
	}
	got := measure(t, tr)
	if got.Content != 51 || got.Files != 2 || got.Entries != 6 {
		t.Errorf("%+v", got)
	}
}

func TestUnstripped(t *testing.T) {
	spec := func(symbols, debug int, golang bool) elftest.Spec {
		return elftest.Spec{Symbols: symbols, Debug: debug, Go: golang}
	}
	padded := func(s elftest.Spec) blob { return append(elftest.Make(s), make([]byte, minELF)...) }
	object := spec(4800, 0, false)
	object.Type = elf.ET_REL
	narrow := spec(4800, 0, false)
	narrow.Class, narrow.Machine = elf.ELFCLASS32, elf.EM_386
	got := measure(t, build(t, map[string]tree.Content{
		"symbols": padded(spec(4800, 0, false)), "debug": padded(spec(0, 9000, false)), "both": padded(spec(4800, 9000, true)),
		"stripped": padded(spec(0, 0, false)), "go, stripped": padded(spec(0, 0, true)), "object": padded(object), "narrow": padded(narrow),
		"broken": append(blob(nil), padded(spec(4800, 0, false))[:5000]...), "text": zeros(10000), "small": blob(elftest.Make(spec(24, 0, false))),
	}))
	saves := map[string]int64{}
	for _, b := range got.Unstripped {
		saves[b.Path] = b.Saves
		if b.Go != (b.Path == "/both") {
			t.Errorf("%s: go is %v", b.Path, b.Go)
		}
	}
	want := map[string]int64{"/symbols": 9600 + 128, "/debug": 9000 + 64, "/both": 18600 + 192, "/narrow": 9600 + 80}
	if diff := cmp.Diff(want, saves); diff != "" {
		t.Errorf("saves (-want +got):\n%s", diff)
	}
	if got.Strippable != 9600+128+9000+64+18600+192+9600+80 || got.Unstripped[0].Path != "/both" {
		t.Errorf("%+v", got)
	}
}

func TestTheUnnamedAreCounted(t *testing.T) {
	files := map[string]tree.Content{}
	for i := range maxListed + 3 {
		files[fmt.Sprint(i)] = blob(elftest.Make(elftest.Spec{Debug: 5000 + i}))
	}
	got := measure(t, build(t, files))
	if len(got.Unstripped) != maxListed || got.More != 3 || got.Unstripped[0].Path != "/12" {
		t.Errorf("%d named, %d more, the first %s", len(got.Unstripped), got.More, got.Unstripped[0].Path)
	}
}

func TestEmptyTree(t *testing.T) {
	got := measure(t, tree.New())
	want := &Report{Entries: 1, Directories: []Directory{}, Largest: []File{}, Unstripped: []Binary{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

type broken struct{ blob }

func (broken) Open() (io.ReadCloser, error) { return nil, errors.New("the disk is gone") }

func TestErrors(t *testing.T) {
	tr := build(t, map[string]tree.Content{"f": broken{make(blob, minELF)}})
	if _, err := Measure(t.Context(), tr); err == nil || !strings.Contains(err.Error(), `"/f"`) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, tr); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// strip(1) takes away what Measure says it does, to within the alignment of what stays.
func TestStripSavesWhatTheReportSays(t *testing.T) {
	testneed.Tool(t, "strip")
	programs := map[string]string{}
	for _, flags := range []string{"", "-s", "-w"} {
		out := filepath.Join(t.TempDir(), "p")
		src := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(src, []byte("package main\n\nfunc main() { println(1) }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command("go", "build", "-ldflags="+flags, "-o", out, src).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		programs["go build -ldflags="+flags] = out
	}
	if cc, err := exec.LookPath("gcc"); err == nil {
		src, out := filepath.Join(t.TempDir(), "main.c"), filepath.Join(t.TempDir(), "c")
		text := "#include <stdio.h>\n"
		for i := range 2000 { // so that there is something to take away
			text += fmt.Sprintf("int function_number_%d(int a) { return a * %d; }\n", i, i)
		}
		if err := os.WriteFile(src, []byte(text+"int main(void) { return puts(\"x\"); }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(cc, "-g", "-o", out, src).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		programs["gcc -g"] = out
	}
	for name, file := range programs {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "stripped")
			if b, err := exec.Command("strip", "-s", "-o", out, file).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			info, err := os.Stat(out)
			if err != nil {
				t.Fatal(err)
			}
			real, said := int64(len(before))-info.Size(), measure(t, build(t, map[string]tree.Content{"p": blob(before)})).Strippable
			t.Logf("%d bytes: strip saves %d, the report says %d", len(before), real, said)
			if diff := max(real-said, said-real); diff > 4096+real/50 {
				t.Errorf("strip saves %d bytes, the report says %d", real, said)
			}
			after, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if left := measure(t, build(t, map[string]tree.Content{"p": blob(after)})).Strippable; left != 0 {
				t.Errorf("a stripped file would lose %d bytes more", left)
			}
		})
	}
}

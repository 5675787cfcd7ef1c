package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	nc "github.com/volant/fledge-action/internal/newctest"
)

// Archives of other bytes stand for what a kernel writes.
var (
	oneOrder  = nc.Archive(nc.File("a", "one"), nc.File("b", "two"))
	another   = nc.Archive(nc.File("b", "two"), nc.File("a", "one"))
	different = nc.Archive(nc.File("a", "one"), nc.File("b", "owt"))
)

func contentOf(t *testing.T, data string) string {
	t.Helper()
	d, err := contentDigest(t.Context(), strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestASecondBuildWithOtherBytesIsComparedByItsContent(t *testing.T) {
	const sumA, sumB = "sha256:aaaa", "sha256:bbbb"
	manifest := func(sum, name string) string {
		return fmt.Sprintf("{\n  \"name\": %q,\n  \"checksum\": %q\n}\n", name, sum)
	}
	sbom := func(sum, id string) string {
		return fmt.Sprintf("{\n  \"documentNamespace\": \"https://example.com/%s\",\n  \"checksum\": %q\n}\n", id, sum)
	}
	for name, c := range map[string]struct {
		reproducible   bool
		second         string
		manifest, sbom string // of the second
		want           string
	}{
		"same bytes":                   {true, oneOrder, manifest(sumA, "web"), sbom(sumA, "1"), ""},
		"other bytes":                  {true, another, manifest(sumA, "web"), sbom(sumA, "1"), theArtifact},
		"other manifest":               {true, oneOrder, manifest(sumB, "web"), sbom(sumA, "1"), "manifest.json"},
		"other SBOM":                   {true, oneOrder, manifest(sumA, "web"), sbom(sumA, "2"), "web.spdx.json"},
		"kernel, same bytes":           {false, oneOrder, manifest(sumB, "web"), sbom(sumB, "1"), ""},
		"kernel, other bytes":          {false, another, manifest(sumB, "web"), sbom(sumB, "2"), ""},
		"kernel, other content":        {false, different, manifest(sumB, "web"), sbom(sumB, "2"), theContent},
		"kernel, other manifest":       {false, another, manifest(sumB, "wob"), sbom(sumB, "2"), "manifest.json"},
		"kernel, the wrong checksum":   {false, another, manifest("sha256:cccc", "web"), sbom(sumB, "2"), "manifest.json"},
		"kernel, the SBOM is of other": {false, another, manifest(sumB, "web"), sbom("sha256:cccc", "2"), "web.spdx.json"},
	} {
		s := &second{dir: t.TempDir()}
		dir := filepath.Join(s.dir, secondDir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, data := range map[string]string{"web.img": c.second, "manifest.json": c.manifest, "web.spdx.json": c.sbom} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := &build.Result{
			Artifact:     build.Artifact{Path: "/out/web.img", Size: int64(len(oneOrder)), Digest: sumA, Format: "xfs"},
			Reproducible: c.reproducible, ContentDigest: contentOf(t, oneOrder),
		}
		again := &repeated{Artifact: build.Artifact{Digest: sumB}}
		texts := []document{{"manifest.json", []byte(manifest(sumA, "web"))}, {"web.spdx.json", []byte(sbom(sumA, "1"))}}
		got, err := s.compare(t.Context(), strings.NewReader(oneOrder), r, again, texts)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestAnArtifactThatDoesNotHoldWhatWasPutIntoItIsAnError(t *testing.T) {
	_, err := sameContent(t.Context(), strings.NewReader(oneOrder), int64(len(oneOrder)), strings.NewReader(another), int64(len(another)), contentOf(t, different))
	if err == nil || !strings.Contains(err.Error(), "does not hold what was put into it") {
		t.Errorf("got %v", err)
	}
	cut := oneOrder[:len(oneOrder)-20]
	for _, x := range [][2]string{{cut, oneOrder}, {oneOrder, cut}} {
		if what, err := sameContent(t.Context(), strings.NewReader(x[0]), int64(len(x[0])), strings.NewReader(x[1]), int64(len(x[1])), contentOf(t, oneOrder)); err == nil {
			t.Errorf("a damaged artifact compares as %q", what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sameContent(ctx, strings.NewReader(oneOrder), int64(len(oneOrder)), strings.NewReader(another), int64(len(another)), ""); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("cancelled: %v", err)
	}
}

func TestARebuildWithOtherBytesIsComparedByItsContent(t *testing.T) {
	for name, c := range map[string]struct {
		published, recorded string
		want                bool
		problems            []string
	}{
		"other bytes":                 {another, contentOf(t, oneOrder), true, nil},
		"a record without the digest": {another, "", true, nil},
		"other content":               {different, contentOf(t, different), false, []string{"and built again from proj it holds sha256:"}},
		"other content than recorded": {another, contentOf(t, different), false, []string{"and its build record says sha256:"}},
		"neither":                     {different, contentOf(t, oneOrder), false, []string{"and built again from proj it holds sha256:", "and its build record says sha256:"}},
	} {
		path := filepath.Join(t.TempDir(), "web.img")
		if err := os.WriteFile(path, []byte(c.published), 0o600); err != nil {
			t.Fatal(err)
		}
		var problems []string
		fail := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
		x := &rebuilt{Name: "web.img", Folder: "proj"}
		result := &build.Result{Artifact: build.Artifact{Format: "btrfs"}, ContentDigest: contentOf(t, oneOrder)}
		if err := x.compareContent(t.Context(), path, &statement.Record{ContentDigest: c.recorded}, result, fail); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if x.SameContent != c.want || x.ContentDigest != contentOf(t, c.published) || len(problems) != len(c.problems) {
			t.Errorf("%s: %+v, problems %q", name, x, problems)
			continue
		}
		for i, want := range c.problems {
			if !strings.Contains(problems[i], want) {
				t.Errorf("%s: %q, want %q in it", name, problems[i], want)
			}
		}
	}
}

func TestWhatIsSaidOfArtifactsThatWereBuiltAgain(t *testing.T) {
	same := rebuilt{Folder: ".", Name: "a.img", Same: true}
	content := rebuilt{Folder: ".", Name: "b.img", SameContent: true, ContentDigest: "sha256:c", format: "xfs"}
	const first, second = "a.img from .: the same bytes", "b.img from .: other bytes, as they must be of xfs, and the same content (sha256:c)"
	for want, list := range map[string][]rebuilt{first: {same}, second: {content}, first + "; " + second: {content, same}} {
		if got := rebuiltText(list); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInspectPrintsTheContentDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.img")
	if err := os.WriteFile(path, []byte(another), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	if err := p.inspect(t.Context(), path, nil, inspectFlags{content: true}); err != nil || out.String() != contentOf(t, oneOrder)+"\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out.Reset()
	if err := p.inspect(ctx, path, nil, inspectFlags{content: true}); err == nil || out.Len() > 0 {
		t.Errorf("cancelled: %q, %v", out.String(), err)
	}
}

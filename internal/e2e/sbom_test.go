package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// TestSBOMAgreesWithDpkg holds the packages that fledge lists in the real image against
// those that the image's own database gives dpkg-query.
func TestSBOMAgreesWithDpkg(t *testing.T) {
	testneed.Tool(t, "dpkg-query")
	root, source, fledge, kestrel := needUnpacked(t), needRegistry(t), needProgram(t), needAgent(t)
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "--admindir", filepath.Join(root, "var/lib/dpkg"),
		"-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "installed "); ok {
			want = append(want, strings.TrimSpace(rest))
		}
	}
	b, err := runFledge(fledge, kestrel, source, filepath.Join(scratch, "sbom"), nobody, "--sbom", "cyclonedx")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.dir, "nginx.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var got []string
	kinds := map[string]bool{}
	for _, c := range doc.Components {
		kind, _, _ := strings.Cut(c.PURL, "/")
		kinds[kind] = true
		if kind != "pkg:deb" {
			continue
		}
		_, arch, _ := strings.Cut(c.PURL, "?arch=")
		arch, _, _ = strings.Cut(arch, "&")
		got = append(got, c.Name+" "+c.Version+" "+arch)
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 50 || !slices.Equal(got, want) {
		t.Errorf("fledge lists\n%s\ndpkg-query\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, kind := range []string{"pkg:deb", "pkg:generic", "pkg:golang"} { // the agent is both of the last
		if !kinds[kind] {
			t.Errorf("nothing of %s is listed", kind)
		}
	}

	// Another user, the same bytes.
	again, err := runFledge(fledge, kestrel, source, filepath.Join(scratch, "sbom-root"), 0, "--sbom", "cyclonedx")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(again.dir, "nginx.cdx.json"))
	if err != nil || !bytes.Equal(data, other) {
		t.Errorf("two builds have different SBOMs (%v)", err)
	}
}

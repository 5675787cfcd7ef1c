package relnotes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/manifest"
)

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func plugin(name, url, checksum string) *manifest.Manifest {
	return &manifest.Manifest{
		SchemaVersion: "1.0", Name: name, Version: "1", Runtime: name, Enabled: true,
		Rootfs:    &manifest.Rootfs{URL: url, Checksum: checksum, Format: "raw"},
		Resources: manifest.Resources{CPUCores: 2, MemoryMB: 512},
		Workload:  manifest.Workload{Type: "http", Entrypoint: []string{"/bin/web"}, BaseURL: "http://127.0.0.1:80"},
	}
}

const base = "https://github.com/acme/web/releases/download/v1/"

func about(files ...File) Release {
	return Release{Repo: "acme/web", Page: "https://github.com/acme/web/releases/tag/v1", URL: func(name string) string { return base + name }, Files: files}
}

func TestNotes(t *testing.T) {
	files := []File{
		{Name: "web.img", Size: 10, Digest: digest("a")},
		{Name: "web.sigstore.json", Size: 20, Digest: digest("b")},
		{Name: "manifest.json", Size: 30, Digest: digest("c"), Manifest: plugin("web", base+"web.img", digest("a"))},
	}
	want, err := os.ReadFile("testdata/notes.golden")
	if err != nil {
		t.Fatal(err)
	}
	got := about(files...).Notes()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("testdata/notes.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestNotesInstallEachOfSeveralPlugins(t *testing.T) {
	var files []File
	for _, name := range []string{"web", "db"} {
		files = append(files, File{Name: name + ".img", Digest: digest("a")}, File{Name: name + ".manifest.json", Digest: digest("c"), Manifest: plugin(name, base+name+".img", digest("a"))})
	}
	r := about(files...)
	got := r.Notes()
	for _, name := range []string{"web", "db"} {
		want := "volar plugins install --manifest " + base + name + ".manifest.json\nvolar vms create NAME --plugin " + name + " --cpu 2 --memory 512\n"
		if strings.Count(got, want) != 1 {
			t.Errorf("notes have no\n%s\nbut\n%s", want, got)
		}
	}
	if problems := r.Problems(); len(problems) > 0 {
		t.Errorf("problems %+v", problems)
	}
}

func TestNotesNameTheBestProof(t *testing.T) {
	m := File{Name: "manifest.json", Digest: digest("c"), Manifest: plugin("web", base+"web.img", "")}
	for want, files := range map[string][]File{
		"fledge verify https://github.com/acme/web/releases/tag/v1 --repo acme/web\n": {m, {Name: "SHA256SUMS"}, {Name: "web.sigstore.json"}},
		"curl -fsSLO " + base + "SHA256SUMS\nsha256sum --check --ignore-missing":      {m, {Name: "SHA256SUMS"}},
		"sha256sum FILE   # and compare with the table below\n":                       {m},
	} {
		if got := about(files...).Notes(); !strings.Contains(got, "## Verify\n\n```\n"+want) {
			t.Errorf("notes have no %q:\n%s", want, got)
		}
	}
}

func TestNothingBreaksOutOfTheNotes(t *testing.T) {
	evil := plugin("web\n```\n$(reboot)", base+"web.img", "")
	r := about(File{Name: "manifest.json", Manifest: evil})
	if got := r.Notes(); got != "" {
		t.Errorf("notes of a manifest that Volant refuses: %s", got)
	}
	if problems := r.Problems(); len(problems) == 0 || !problems[0].Wrong {
		t.Errorf("problems %+v", problems)
	}
	r = about(File{Name: "manifest.json", Manifest: plugin("web", base+"web.img", "")})
	r.URL = func(name string) string { return "https://x/$(a)&b;c'd`e/" + name }
	if got := r.Notes(); strings.ContainsAny(strings.ReplaceAll(got, "```", ""), "$&;'") {
		t.Errorf("notes with what a shell acts on: %s", got)
	}
}

func TestNotesStayWithinGitHubsLimit(t *testing.T) {
	var files []File
	for i := range 1000 {
		files = append(files, File{Name: fmt.Sprintf("%s%04d.manifest.json", strings.Repeat("n", 182), i), Digest: digest("a"), Manifest: plugin("web", base+"web.img", "")})
	}
	got := about(files...).Notes()
	if len(got) > 125_000 || strings.Count(got, "volar plugins install") != MaxManifests || !strings.Contains(got, "| 800 more | | |\n") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestProblems(t *testing.T) {
	img := File{Name: "web.img", Digest: digest("a")}
	with := func(url, checksum string) File {
		return File{Name: "manifest.json", Manifest: plugin("web", url, checksum)}
	}
	archive := with("", "")
	archive.Manifest.Rootfs, archive.Manifest.Initramfs = nil, &manifest.Initramfs{URL: base + "web.img", Checksum: digest("b")}
	tests := []struct {
		name  string
		files []File
		want  string // "" for none
		wrong bool
	}{
		{"good", []File{img, with(base+"web.img", digest("a"))}, "", false},
		{"no checksum", []File{img, with(base+"web.img", "")}, "", false},
		{"no manifest", []File{img}, "", false},
		{"other bytes", []File{img, with(base+"web.img", digest("b"))}, "checksum is " + digest("b") + ", and web.img has " + digest("a") + ": build them together", true},
		{"other bytes of an initramfs", []File{img, archive}, "checksum is " + digest("b"), true},
		{"not there", []File{with(base+"web.img", digest("a"))}, "is of this release, and no such file is uploaded: add it", false},
		{"a path", []File{img, with("/srv/web.img", digest("a"))}, `url "/srv/web.img" is not a file of this release: build with --artifact-url ` + base + "web.img", false},
	}
	for _, tt := range tests {
		var said []string
		wrong := false
		for _, p := range about(tt.files...).Problems() {
			if strings.Contains(p.Message, "checksum is missing") || strings.HasPrefix(p.Message, "rootfs.checksum") {
				continue // package manifest's word about the missing checksum
			}
			said, wrong = append(said, p.Message), wrong || p.Wrong
		}
		if tt.want == "" && len(said) != 0 || tt.want != "" && (len(said) != 1 || !strings.Contains(said[0], tt.want)) || wrong != tt.wrong {
			t.Errorf("%s: %q (wrong: %v), want %q (%v)", tt.name, said, wrong, tt.want, tt.wrong)
		}
	}
}

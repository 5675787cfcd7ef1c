package summary

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

const download = "https://github.com/acme/web/releases/download/v1.2.0/"

func ref[T any](v T) *T { return &v }

// plugin is one as a build leaves it.
func plugin(name string) Plugin {
	dir := "dist/" + name + "/"
	return Plugin{
		Name: name, Version: "1.2.0", Platform: "linux/amd64", Config: "plugins/" + name + "/fledge.toml", Format: "ext4",
		Artifact:     File{Name: name + ".img", Path: dir + name + ".img", Size: 44_040_192, Digest: digest("a")},
		Manifest:     File{Name: "manifest.json", Path: dir + "manifest.json", Size: 1480, Digest: digest("b")},
		Reproducible: SameBytes, Epoch: ref(int64(1_700_000_000)), CPUs: 2, MemoryMiB: 512,
		Others: []File{
			{Name: name + ".spdx.json", Kind: SBOMFile, Path: dir + name + ".spdx.json", Size: 81_000, Digest: digest("c")},
			{Name: name + ".build.json", Kind: Record, Path: dir + name + ".build.json", Size: 3200, Digest: digest("d")},
			{Name: "SHA256SUMS", Kind: Checksums, Path: dir + "SHA256SUMS", Size: 350, Digest: digest("e")},
		},
		Inputs: []Input{
			{Name: "image", URI: "docker.io/library/nginx:1.27", Digest: digest("1")},
			{Name: "agent", URI: "https://github.com/volantvm/volant/releases/download/v0.9.1/kestrel", Version: "v0.9.1", Digest: digest("2"), Signer: "https://github.com/volantvm/volant/.github/workflows/release.yml@refs/tags/v0.9.1"},
		},
		SBOM:   &SBOM{Format: "spdx", Packages: 143},
		Repeat: []Command{{Argv: []string{"fledge", "build", "--config", "plugins/" + name + "/fledge.toml", "-o", dir + name + ".img", "--sbom", "spdx", "--locked"}}},
	}
}

// released is a plugin on the release, signed.
func released(name string) Plugin {
	p := plugin(name)
	p.Others = append(p.Others,
		File{Name: name + ".sigstore.json", Kind: Bundle, Size: 12_000, Digest: digest("f")},
		File{Name: name + ".intoto.jsonl", Kind: Bundles, Size: 90_000, Digest: digest("0")})
	for _, f := range []*File{&p.Artifact, &p.Manifest} {
		f.URL = download + f.Name
	}
	for i := range p.Others {
		p.Others[i].URL = download + p.Others[i].Name
	}
	return p
}

func success() Page {
	p := released("web")
	p.Artifact.Before = &Before{Size: 42_991_616, Digest: digest("9")}
	p.Manifest.Before = &Before{Size: 1480, Digest: digest("8")}
	return Page{
		Repo: "acme/web", Plugins: []Plugin{p}, Fledge: "v1.0.0",
		Previous: &Link{"v1.1.0", "https://github.com/acme/web/releases/tag/v1.1.0"},
		Release:  &Release{Tag: "v1.2.0", URL: "https://github.com/acme/web/releases/tag/v1.2.0", Immutable: true},
		Signature: &Signature{
			Identity: "https://github.com/acme/web/.github/workflows/release.yml@refs/tags/v1.2.0", Issuer: "https://token.actions.githubusercontent.com",
			Attestations: []Link{{"12345", "https://github.com/acme/web/attestations/12345"}},
		},
		Boots:  []Boot{{Artifact: "dist/web/web.img", Digest: digest("a"), Result: "PASS", Milliseconds: 812, Kernel: "vmlinux-v0.9.1", Accelerator: "kvm", CPUs: 2, MemoryMiB: 512}},
		Repeat: []Command{{Argv: []string{"fledge", "release", "upload", "v1.2.0", "dist/web/web.img", "dist/web/manifest.json"}}},
	}
}

func three() Page {
	p := success()
	p.Plugins, p.Boots = nil, nil
	for i, name := range []string{"api", "web", "worker"} {
		x := released(name)
		x.Artifact.Digest = digest(fmt.Sprint(i))
		x.Manifest.Name = name + ".manifest.json"
		x.Manifest.URL = download + x.Manifest.Name
		switch i {
		case 0:
			x.Artifact.Before, x.Manifest.Before = &Before{Size: 44_040_192, Digest: digest("0")}, &Before{Size: 1400, Digest: digest("7")}
		case 1:
			x.Artifact.Before, x.Manifest.Before = &Before{Size: 52_428_800, Digest: digest("7")}, &Before{Size: 1480, Digest: digest("7")}
			x.Platform, x.Unpinned, x.Reproducible = "linux/arm64", []string{"image", "agent"}, Unchecked
			x.Warnings = []Message{{Text: "a release is built from inputs that may change: the image \"nginx:1.27\"", Hint: "run 'fledge lock' and commit fledge.lock", Place: Place{File: "plugins/web/fledge.toml", Line: 4, URL: "https://github.com/acme/web/blob/abc/plugins/web/fledge.toml#L4"}}}
		}
		p.Plugins = append(p.Plugins, x)
	}
	p.Release.Immutable, p.Release.Draft = false, true
	p.Boots = []Boot{
		{Artifact: "api.img", Digest: digest("0"), Result: "PASS", Milliseconds: 640, Kernel: "vmlinux", Accelerator: "kvm"},
		{Artifact: "web.img", Digest: digest("6"), Result: "PASS", Milliseconds: 700, Kernel: "vmlinux", Accelerator: "tcg"},
	}
	return p
}

func failed() Page {
	return Page{Repo: "acme/web", Fledge: "v1.0.0", Failure: &Failure{
		Plugin: "web", Stage: "reading layers of linux/amd64 (4)",
		Problems: []Message{
			{Text: `unknown key "filesystem.sise" (did you mean "size_buffer_mb"?)`, Place: Place{File: "plugins/web/fledge.toml", Line: 12, URL: "https://github.com/acme/web/blob/abc/plugins/web/fledge.toml#L12"}},
			{Text: "booting web.img: the kernel panicked\nKernel panic - not syncing: VFS: Unable to mount root fs", Hint: "give the image a root filesystem that the kernel knows: ext4"},
		},
	}}
}

func fork() Page {
	return Page{
		Repo: "acme/web", Plugins: []Plugin{plugin("web")}, Fledge: "v1.0.0",
		Withheld: &Withheld{Why: "this is a pull request of a fork: its token cannot write, and it gets no OIDC token", Coming: true},
		Unsigned: "the job has no OIDC token",
	}
}

var pages = map[string]func() Page{"success": success, "three": three, "failure": failed, "fork": fork}

func TestPages(t *testing.T) {
	for name, page := range pages {
		got := page().Markdown()
		file := "testdata/" + name + ".md"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if again := page().Markdown(); again != got {
			t.Errorf("%s: another page the second time", name)
		}
	}
}

func TestNothingHasNoSections(t *testing.T) {
	if got := (Page{}).Markdown(); got != "## Nothing was built\n" {
		t.Errorf("page %q", got)
	}
	if got := (Page{Failure: &Failure{}}).Markdown(); got != "## ❌ Failed\n\n> [!CAUTION]\n> The log has the reason.\n" {
		t.Errorf("page %q", got)
	}
}

// TestRunWithoutABuildIsCalledByItsCommand: of verifying or planning, "Nothing was built"
// would be no answer.
func TestRunWithoutABuildIsCalledByItsCommand(t *testing.T) {
	p := Page{Repeat: []Command{{Argv: []string{"fledge", "verify", "web.img", "--repo", "acme/web"}}}}
	if got := p.Markdown(); !strings.HasPrefix(got, "## ✅ `fledge verify`\n\n<details>") {
		t.Errorf("page %q", got)
	}
	p.Failure = &Failure{}
	if got := p.Markdown(); !strings.HasPrefix(got, "## ❌ Failed\n") {
		t.Errorf("page %q", got)
	}
}

func TestChange(t *testing.T) {
	for _, test := range []struct {
		size   int64
		before *Before
		want   string
	}{
		{100, nil, "new"},
		{100, &Before{Size: 100, Digest: digest("a")}, "same bytes"},
		{100, &Before{Size: 100, Digest: digest("b")}, "other bytes, same size"},
		{100, &Before{Size: 100}, "other bytes, same size"},
		{110, &Before{Size: 100}, "+10 bytes, +10.0 %"},
		{90, &Before{Size: 100}, "−10 bytes, −10.0 %"},
		{3 << 20, &Before{Size: 2 << 20}, "+1.0 MiB (+1048576 bytes), +50.0 %"},
		{100, &Before{}, "+100 bytes"},
	} {
		if got := (File{Size: test.size, Digest: digest("a"), Before: test.before}).change(); got != test.want {
			t.Errorf("%d after %+v: %q, want %q", test.size, test.before, got, test.want)
		}
	}
}

func TestReleaseStates(t *testing.T) {
	const page = "https://github.com/acme/web/releases/tag/v1"
	for want, r := range map[string]Release{
		"**Published** as release [v1](" + page + ").":                                                                       {},
		"**Published** as prerelease [v1](" + page + ").":                                                                    {Prerelease: true},
		"**Published** as release [v1](" + page + "), which is **immutable**: its files and its tag cannot be changed.":      {Immutable: true},
		"On the **draft** release [v1](" + page + "). Only who may write to the repository sees it; publish it on its page.": {Draft: true},
		"**Dry run** of release v1: nothing was uploaded or signed.":                                                         {DryRun: true},
	} {
		r.Tag, r.URL = "v1", page
		if got := r.sentence(); got != want {
			t.Errorf("%+v: %s", r, got)
		}
	}
}

func TestVerifyNamesWhoSigned(t *testing.T) {
	p := success()
	p.Signature.Workflow = "volant/fledge-action/.github/workflows/fledge-release.yml"
	got := p.Markdown()
	for _, want := range []string{
		"\nfledge verify https://github.com/acme/web/releases/tag/v1.2.0 --repo acme/web --signer-workflow volant/fledge-action/.github/workflows/fledge-release.yml\n",
		"\ngh attestation verify web.img --repo acme/web --signer-workflow volant/fledge-action/.github/workflows/fledge-release.yml --bundle web.intoto.jsonl\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	p.Signature = &Signature{Key: "ab12"}
	got = p.Markdown()
	if !strings.Contains(got, "releases/tag/v1.2.0 --key FILE.pub\n") || strings.Contains(got, "\ngh ") || !strings.Contains(got, "\ncosign verify-blob-attestation --bundle web.sigstore.json --key FILE.pub ") {
		t.Errorf("with a key:\n%s", got)
	}
	p.Signature = nil
	if got := p.Markdown(); strings.Contains(got, "fledge verify") || !strings.Contains(got, "\nsha256sum --check --ignore-missing SHA256SUMS\n") {
		t.Errorf("unsigned:\n%s", got)
	}
	p = success()
	p.Signature.TrustedRoot = true
	if got := p.Markdown(); strings.Count(got, " --trusted-root trusted_root.json") != 2 || !strings.Contains(got, "--custom-trusted-root trusted_root.jsonl") {
		t.Errorf("with a root of one's own:\n%s", got)
	}
}

func TestPageIsCutWithAWordOfHowMuch(t *testing.T) {
	var p Page
	for i := range 3000 {
		x := released(fmt.Sprintf("p%04d", i))
		for range 3 {
			x.Warnings = append(x.Warnings, Message{Text: strings.Repeat("w", 3000)})
		}
		p.Plugins = append(p.Plugins, x)
	}
	got := p.Markdown()
	if len(got) > MaxSize || len(got) < MaxSize/2 {
		t.Errorf("%d bytes", len(got))
	}
	for _, want := range []string{"… and 5000 files more", "> - … and 8950 more\n", "**9000 warnings**", "… and 5950 more\n", " sections left out: the page is full."} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
	if tail := got[len(got)-200:]; !strings.Contains(tail, "left out") {
		t.Errorf("end %q", tail)
	}
	p = Page{Failure: &Failure{Problems: []Message{{Text: strings.Repeat("line\n", 100)}}}}
	if got := p.Markdown(); !strings.Contains(got, "… and 60 lines more") {
		t.Errorf("page %s", got)
	}
}

func TestTheSameContentIsNotCalledTheSameBytes(t *testing.T) {
	p := success()
	p.Plugins[0].Reproducible = SameContent
	got := p.Markdown()
	if !strings.Contains(got, "reproducible content: two builds, other bytes, the same files") || strings.Contains(got, "two builds, the same bytes") {
		t.Errorf("got %s", got)
	}
	p.Plugins = append(p.Plugins, released("api"))
	if got := p.Markdown(); !strings.Contains(got, "| ✅ content |") || !strings.Contains(got, "| ✅ |") {
		t.Errorf("of two: %s", got)
	}
}

package acttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/plugintest"
)

// signingKey is a new key pair: the private one for a job's secret, the public one for
// verifiers.
func signingKey(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	of, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: of}))
}

// The action itself, in the image of this repository's Dockerfile, through the reusable
// workflow, to a double of GitHub. It is the only test here whose action.yml differs from
// the real one in more than the image's name: GitHub's address is the double's.
func TestReusableWorkflowReleasesRealPlugins(t *testing.T) {
	image := dockertest.Start(t).Fledge(t)
	files := monorepo(t)
	for _, name := range []string{"web", "api"} {
		for file, text := range plugintest.Initramfs("plugins/"+name+"/", name, "") {
			files[file] = text
		}
	}
	const with = "      config: plugins/**/fledge.toml\n"
	caller := files[".github/workflows/monorepo.yml"]
	if !strings.Contains(caller, with) {
		t.Fatal("the example has another config")
	}
	// The job's image has no QEMU to boot in.
	files[".github/workflows/monorepo.yml"] = strings.Replace(caller, with, with+"      boot: false\n", 1) // "secrets" comes below
	files[".github/workflows/monorepo.yml"] = strings.Replace(files[".github/workflows/monorepo.yml"], "\n  after:\n", "    secrets:\n      signing-key: ${{ secrets.KEY }}\n\n  after:\n", 1)

	github := ghrelease.New("octo/plugins", "v1.2.0")
	github.Start(t)
	p := newProject(t, image, files)
	p.git("tag", "v1.2.0")
	definition := read(t, filepath.Join(p.action, "action.yml"))
	if !strings.Contains(definition, "${{ github.api_url }}") {
		t.Fatal("action.yml has no github.api_url")
	}
	write(t, p.action, "action.yml", strings.Replace(definition, "${{ github.api_url }}", github.API, 1))
	private, public := signingKey(t)
	log, err := p.run("push", "monorepo.yml", "-s", "KEY="+private)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for line := range strings.Lines(private) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(log, line) {
			t.Error("the key is in the log")
		}
	}

	releases := github.Releases()
	if len(releases) != 1 || releases[0].Draft || releases[0].Tag != "v1.2.0" {
		t.Fatalf("releases: %+v\n%s", releases, log)
	}
	var names []string
	dir := t.TempDir()
	for _, a := range releases[0].Assets {
		names = append(names, a.Name)
		write(t, dir, a.Name, string(a.Content))
	}
	slices.Sort(names)
	want := []string{"SHA256SUMS"}
	for _, name := range []string{"api", "web"} {
		for _, suffix := range []string{".build.json", ".cpio.gz", ".intoto.jsonl", ".manifest.json", ".sigstore.json", ".spdx.json"} {
			want = append(want, name+suffix)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("files of the release: %q, want %q\n%s", names, want, log)
	}
	if text := read(t, filepath.Join(dir, "web.manifest.json")); !strings.Contains(text, "https://github.com/octo/plugins/releases/download/v1.2.0/web.cpio.gz") || !strings.Contains(text, `"1.2.0"`) {
		t.Errorf("web.manifest.json names another place or version:\n%s", text)
	}

	// What a user of the release does.
	fledge := filepath.Join(t.TempDir(), "fledge")
	if out, err := exec.Command("go", "build", "-o", fledge, "../../cmd/fledge").CombinedOutput(); err != nil {
		t.Fatalf("building fledge: %v\n%s", err, out)
	}
	write(t, dir, "key.pub", public)
	for _, name := range []string{"web", "api"} {
		if out, err := exec.Command(fledge, "verify", "--offline", "--key", filepath.Join(dir, "key.pub"), filepath.Join(dir, name+".cpio.gz")).CombinedOutput(); err != nil {
			t.Errorf("verifying %s: %v\n%s", name, err, out)
		}
	}
	_, other := signingKey(t)
	write(t, dir, "other.pub", other)
	if out, err := exec.Command(fledge, "verify", "--offline", "--key", filepath.Join(dir, "other.pub"), filepath.Join(dir, "web.cpio.gz")).CombinedOutput(); err == nil {
		t.Errorf("another key verifies too:\n%s", out)
	}
}

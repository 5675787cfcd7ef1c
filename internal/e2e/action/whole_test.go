package action

import (
	"archive/tar"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/runnertest"
	"github.com/volant/fledge-action/internal/sigstoretest"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

// TestFromATagToABootedPlugin goes the whole way: a repository with a tag, the action in
// the runner's container, an image from a registry, a keyless signature, a release; then,
// as somebody else, verification by fledge and both cosigns, and a boot.
func TestFromATagToABootedPlugin(t *testing.T) {
	testneed.Tool(t, vmtest.Program)
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	stack := sigstoretest.Start(t, sigstoretest.Options{})
	repo := stack.Claims().Repository
	github := ghrelease.New(repo, "v1.2.3")
	github.Token, github.Contract = token, ghrelease.TheContract(t)
	github.Start(t)

	s := step(t, bootable(t, stack), "attest", "required", "github-attestations", "required", "github-api-url", github.API,
		"trusted-root", "trusted_root.json", "signing-config", "signing_config.json")
	s.GitHub = map[string]string{"repository": repo, "ref": "refs/tags/v1.2.3", "event_name": "push"}
	s.IDToken = &runnertest.IDToken{URL: stack.TokenURL(), Token: stack.TokenBearer()}
	s.Env = map[string]string{"SSL_CERT_FILE": "/github/workspace/ca.pem"}
	for _, pair := range stack.Env() {
		if name, value, _ := strings.Cut(pair, "="); name == "HTTPS_PROXY" || name == "HTTP_PROXY" {
			s.Env[name] = value
		}
	}
	r := want(t, s, false)
	if r.Outputs["signed"] != "true" || r.Outputs["release-draft"] != "false" || r.Outputs["version"] != "1.2.3" {
		t.Fatalf("outputs %q\n%s", r.Outputs, r.Text())
	}
	releases := github.Releases()
	if len(releases) != 1 || releases[0].Draft || len(releases[0].Assets) != 7 {
		t.Fatalf("releases %+v", releases)
	}
	if v := github.Violations(); len(v) > 0 {
		t.Errorf("against GitHub's contract: %q", v)
	}
	if strays := stack.Strays(); len(strays) > 0 {
		t.Errorf("somebody asked for %q", strays)
	}

	// Somebody else, with what the release gives out.
	dir := t.TempDir()
	for _, a := range releases[0].Assets {
		if err := os.WriteFile(filepath.Join(dir, a.Name), a.Content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fledge := filepath.Join(t.TempDir(), "fledge")
	run(t, true, stack, "go", "build", "-o", fledge, "github.com/volant/fledge-action/cmd/fledge")
	page := "https://github.com/" + repo + "/releases/tag/v1.2.3"
	verify := []string{fledge, "verify", page, "--base-url", github.API, "--trusted-root", stack.TrustedRoot, "--cache-dir", "none", "--source-ref", "refs/tags/v1.2.3", "--repo"}
	run(t, true, stack, append(verify, repo)...)
	run(t, false, stack, append(verify, "mallory/plugins")...)
	for _, cosign := range []string{"cosign2", "cosign3"} {
		args := []string{
			sigstoretest.Program(t, cosign), "verify-blob-attestation", "--bundle", filepath.Join(dir, "web.sigstore.json"), "--trusted-root", stack.TrustedRoot,
			"--certificate-identity", stack.Claims().SAN(), "--certificate-oidc-issuer", sigstoretest.Issuer, "--type", "https://slsa.dev/provenance/v1", "--use-signed-timestamps",
		}
		run(t, true, stack, append(args, filepath.Join(dir, "web.img"))...)
		run(t, true, stack, append(args, filepath.Join(dir, "manifest.json"))...)
		run(t, false, stack, append(args, fledge)...)
	}
	var booted struct {
		Result   string
		Artifact struct{ Digest string }
	}
	text := run(t, true, stack, fledge, "boot", filepath.Join(dir, "web.img"), "--kernel", kernel, "--timeout", "3m", "--json")
	if err := json.Unmarshal([]byte(text), &booted); err != nil || booted.Result != "PASS" || booted.Artifact.Digest != r.Outputs["artifact-digest"] {
		t.Errorf("%v; booted %+v, want %s", err, booted, r.Outputs["artifact-digest"])
	}
}

// bootable are the files of a repository whose plugin answers when it is booted: a
// program in an image on a registry, started by the test agent.
func bootable(t *testing.T, stack *sigstoretest.Stack) map[string]string {
	t.Helper()
	dir := t.TempDir()
	agent, workload := filepath.Join(dir, "agent"), filepath.Join(dir, "workload")
	if err := vmtest.BuildAgent(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", workload, "github.com/volant/fledge-action/internal/vmtest/testworkload")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the workload: %v: %s", err, out)
	}
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	image := ocitest.Build(t, ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
			{Header: tar.Header{Name: "usr/bin/web", Mode: 0o755}, Body: read(workload)},
		}}},
		Config: v1.Config{Entrypoint: []string{"/usr/bin/web"}, ExposedPorts: map[string]struct{}{"8000/tcp": {}}},
	})
	files := rootfs("", ocitest.NewRegistry(t).Push(t, "team/web:1", image), "[health_check]\nendpoint = \"/\"\ntimeout_ms = 10000\n")
	files["kestrel"] = read(agent)
	files["trusted_root.json"], files["signing_config.json"] = read(stack.TrustedRoot), read(stack.SigningConfig)
	for _, pair := range stack.Env() {
		if path, ok := strings.CutPrefix(pair, "SSL_CERT_FILE="); ok {
			files["ca.pem"] = read(path)
		}
	}
	return files
}

// run runs a program that reaches the stack and nothing else, wants it to succeed or
// not, and returns its standard output.
func run(t *testing.T, good bool, stack *sigstoretest.Stack, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "HOME="+t.TempDir()), &stderr
	if filepath.Base(argv[0]) != "go" {
		cmd.Env = append(cmd.Env, stack.Env()...)
	} else {
		cmd.Env = os.Environ()
	}
	out, err := cmd.Output()
	if (err == nil) != good {
		t.Fatalf("%s: %v, want success %v\n%s%s", strings.Join(argv, " "), err, good, out, stderr.String())
	}
	return string(out)
}

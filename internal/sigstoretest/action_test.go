package sigstoretest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/sigstoretest"
)

// step runs the action with inputs in the job and returns its log, outputs and summary.
func (w *workshop) step(t *testing.T, code int, inputs map[string]string, env []string, args ...string) (log, outputs, summary string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary")}
	cmd := w.command(t, append([]string{"action"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	for name, path := range files {
		check(t, os.WriteFile(path, nil, 0o644))
		cmd.Env = append(cmd.Env, name+"="+path)
	}
	for name, value := range inputs {
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit code %d, want %d:\n%s", got, code, said.String())
	}
	read := func(name string) string {
		text, err := os.ReadFile(files[name])
		check(t, err)
		return string(text)
	}
	outputs, summary = read("GITHUB_OUTPUT"), read("GITHUB_STEP_SUMMARY")
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "::add-mask::") {
			continue
		}
		if strings.Contains(line, w.TokenBearer()) || strings.Contains(line, "eyJ") {
			t.Errorf("the log has a secret: %s", line)
		}
	}
	if all := outputs + summary; strings.Contains(all, w.TokenBearer()) || strings.Contains(all, "eyJ") {
		t.Errorf("outputs or summary have a secret:\n%s", all)
	}
	return said.String(), outputs, summary
}

// TestTheActionSignsWithTheJobsIdentity: from a tag to a release that verifies.
func TestTheActionSignsWithTheJobsIdentity(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	repo := w.Claims().Repository
	g := ghrelease.New(repo, "v1.2.3")
	g.Token = "job-token-0123456789"
	g.Start(t)
	env := []string{
		"CI=true", "GITHUB_WORKSPACE=" + w.dir, "GITHUB_REPOSITORY=" + repo, "GITHUB_EVENT_NAME=push",
		"GITHUB_REF=refs/tags/v1.2.3", "GITHUB_REF_NAME=v1.2.3", "GITHUB_REF_TYPE=tag",
	}
	_, outputs, summary := w.step(t, 0, map[string]string{
		"attest": "required", "github-attestations": "required", "trusted-root": w.TrustedRoot, "signing-config": w.SigningConfig,
		"github-token": g.Token, "github-api-url": g.API,
	}, env)
	for _, want := range []string{"dist/web.sigstore.json", "\ntrue\n", g.Web} {
		if !strings.Contains(outputs, want) {
			t.Errorf("outputs lack %q:\n%s", want, outputs)
		}
	}
	if !strings.Contains(outputs, "attestation-url<<") {
		t.Errorf("nothing is kept at GitHub:\n%s", outputs)
	}
	if !strings.Contains(summary, w.Claims().SAN()) {
		t.Errorf("the summary does not say who has signed:\n%s", summary)
	}
	assets := 0
	for _, r := range g.Releases() {
		assets += len(r.Assets)
	}
	if assets != 7 {
		t.Errorf("the release has %d files, want 7", assets)
	}

	target := map[string]string{"target": "dist/web.cpio.gz\ndist/manifest.json", "repo": repo, "trusted-root": w.TrustedRoot, "offline": "true"}
	if _, outputs, _ := w.step(t, 0, target, env, "verify"); !strings.Contains(outputs, "verified<<") || !strings.Contains(outputs, "\ntrue\n") {
		t.Errorf("outputs:\n%s", outputs)
	}
	target["repo"] = "mallory/plugin"
	if log, _, _ := w.step(t, 1, target, env, "verify"); !strings.Contains(log, "::error ") || !strings.Contains(log, "expected repository") {
		t.Errorf("the log:\n%s", log)
	}
}

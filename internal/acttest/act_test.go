package acttest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/dockertest"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// example is the workflow that README shows.
func example(t *testing.T, name string) map[string]string {
	return map[string]string{
		".github/workflows/" + name: read(t, filepath.Join(top, "examples/workflows", name)),
		"fledge.toml":               "version = \"1\"\n",
	}
}

func want(t *testing.T, c call, inputs map[string]string) {
	t.Helper()
	for name, value := range inputs {
		if got, there := c.Inputs[name]; got != value || !there {
			t.Errorf("%s in job %s: input %s is %q (there: %v), want %q", c.Command, c.Job, name, got, there, value)
		}
	}
}

func TestExampleReleaseIsOneStepWithDefaults(t *testing.T) {
	p := newProject(t, probeImage(t), example(t, "release.yml"))
	p.git("tag", "v1.2.0")
	log, err := p.run("push", "release.yml")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if len(p.calls) != 1 {
		t.Fatalf("%d steps used the action, want 1: %+v\n%s", len(p.calls), p.calls, log)
	}
	c := p.calls[0]
	if c.Ref != "refs/tags/v1.2.0" || c.Event != "push" {
		t.Errorf("ref %q, event %q", c.Ref, c.Event)
	}
	want(t, c, map[string]string{"command": "build", "config": "fledge.toml", "upload": "auto", "sign": "auto", "publish": "true", "output-dir": "dist", "sbom": "spdx", "github-token": "the-job-token", "github-api-url": "https://api.github.com"})
	if strings.Contains(log, "the-job-token") {
		t.Error("the token is in the log")
	}
}

func TestExamplePullRequestShowsTheDigest(t *testing.T) {
	p := newProject(t, probeImage(t), example(t, "pull-request.yml"))
	log, err := p.run("pull_request", "pull-request.yml")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	// The probe takes fledge.toml for the artifact.
	sum := sha256.Sum256([]byte("version = \"1\"\n"))
	if !strings.Contains(log, "| sha256:"+hex.EncodeToString(sum[:])+"\n") {
		t.Errorf("the digest is not shown:\n%s", log)
	}
	want(t, p.calls[0], map[string]string{"locked": "true", "check-reproducible": "true"})
}

func TestExamplePrivateImageHandsADockerConfigOn(t *testing.T) {
	p := newProject(t, probeImage(t), example(t, "private-image.yml"))
	p.git("tag", "v1.2.0")
	log, err := p.run("push", "private-image.yml", "--actor", "somebody")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	var config struct {
		Auths map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal([]byte(p.calls[0].Inputs["registry-auth"]), &config); err != nil {
		t.Fatalf("%q: %v", p.calls[0].Inputs["registry-auth"], err)
	}
	if got := config.Auths["ghcr.io"]; got.Username != "somebody" || got.Password != "the-job-token" {
		t.Errorf("%+v", config)
	}
}

func TestExampleDeployVerifiesFirst(t *testing.T) {
	p := newProject(t, probeImage(t), example(t, "deploy.yml"))
	log, err := p.run("workflow_dispatch", "deploy.yml", "--input", "tag=v1.2.0")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	want(t, p.calls[0], map[string]string{
		"target": "https://github.com/octo/plugins/releases/tag/v1.2.0", "repo": "octo/plugins",
		"signer-workflow": "octo/plugins/.github/workflows/release.yml", "source-ref": "refs/tags/v1.2.0",
	})
	if p.calls[0].Command != "verify" || !strings.Contains(log, "--manifest https://github.com/octo/plugins/releases/download/v1.2.0/manifest.json") {
		t.Errorf("%+v\n%s", p.calls[0], log)
	}
}

// monorepo is the example with some plugins, and a job that shows the outputs of the
// reusable workflow.
func monorepo(t *testing.T, plugins ...string) map[string]string {
	files := example(t, "monorepo.yml")
	delete(files, "fledge.toml")
	files[".github/workflows/monorepo.yml"] += `
  after:
    needs: plugins
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - shell: sh
        env:
          URL: ${{ needs.plugins.outputs.release-url }}
          ANY: ${{ needs.plugins.outputs.any }}
          ARTIFACTS: ${{ needs.plugins.outputs.artifacts }}
        run: echo "outputs=<$URL><$ANY><$ARTIFACTS>"
`
	for _, name := range plugins {
		files["plugins/"+name+"/fledge.toml"] = "version = \"1\" # " + name + "\n"
	}
	return files
}

func TestReusableWorkflowBuildsEachPluginAndReleasesOnce(t *testing.T) {
	p := newProject(t, probeImage(t), monorepo(t, "web", "api", "worker"))
	p.git("tag", "v1.2.0")
	log, err := p.run("push", "monorepo.yml")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if plans := p.called("plan"); len(plans) != 1 {
		t.Errorf("%d plans, want 1", len(plans))
	} else {
		want(t, plans[0], map[string]string{"config": "plugins/**/fledge.toml", "changed-only": "false"})
	}
	var configs []string
	for _, c := range p.called("build") {
		configs = append(configs, c.Inputs["config"])
		want(t, c, map[string]string{
			"sign": "none", "attest": "off", "github-attestations": "off", "upload": "never", "output-dir": "dist", "sbom": "spdx", "locked": "false",
			"artifact-base-url": "https://github.com/octo/plugins/releases/download/v1.2.0", "cache-dir": ".fledge-cache", "key": "", "registry-auth": "",
		})
	}
	slices.Sort(configs)
	if want := []string{"plugins/api/fledge.toml", "plugins/web/fledge.toml", "plugins/worker/fledge.toml"}; !slices.Equal(configs, want) {
		t.Errorf("built %q, want %q", configs, want)
	}
	if n := len(p.called("install")); n != 3 {
		t.Errorf("%d boot tests, want 3", n)
	}
	releases := p.called("release")
	if len(releases) != 1 {
		t.Fatalf("%d releases, want 1\n%s", len(releases), log)
	}
	want(t, releases[0], map[string]string{"output-dir": "dist", "sign": "auto", "attest": "auto", "upload": "always", "publish": "true", "prerelease": "auto", "tag": "", "dry-run": "false", "generate-release-notes": "false"})
	var files []string
	for _, name := range []string{"api", "web", "worker"} {
		for _, file := range []string{"manifest.json", name + ".boot.json", name + ".img"} {
			files = append(files, "dist/fledge.plugin."+name+"/"+file)
		}
	}
	slices.Sort(files)
	list, _ := json.Marshal(files)
	if wanted := "outputs=<https://example.com/release><true><" + string(list) + ">"; !strings.Contains(log, wanted) {
		t.Errorf("the log has no %s\n%s", wanted, log)
	}
}

func TestReusableWorkflowReleasesNothingForAPullRequest(t *testing.T) {
	p := newProject(t, probeImage(t), monorepo(t, "web", "api"))
	log, err := p.run("pull_request", "monorepo.yml")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if n := len(p.called("build")); n != 2 {
		t.Errorf("%d builds, want 2\n%s", n, log)
	}
	if len(p.called("release")) != 0 {
		t.Error("a pull request was released")
	}
	for _, c := range p.called("build") {
		want(t, c, map[string]string{"artifact-base-url": ""})
	}
	want(t, p.called("plan")[0], map[string]string{"changed-only": "true"})
	if !strings.Contains(log, "outputs=<><true><>") {
		t.Errorf("outputs of a pull request:\n%s", log)
	}
}

func TestReusableWorkflowReleasesNothingWhenABuildFails(t *testing.T) {
	p := newProject(t, probeImage(t), monorepo(t, "web", "api"))
	p.git("tag", "v1.2.0")
	// The folder that plugins are handed on in has one of this name already, so that the
	// step "Hand the plugin on" of one build fails.
	if err := os.Mkdir(filepath.Join(p.handedOn, "fledge.plugin.web"), 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := p.run("push", "monorepo.yml")
	if failed := strings.Count(log, "Failure - Main Hand the plugin on"); err == nil || failed != 1 {
		t.Errorf("%v; %d failures of the step, want 1", err, failed)
	}
	if len(p.called("build")) != 2 || len(p.called("release")) != 0 {
		t.Errorf("%d builds, want 2; %d releases, want none\n%s", len(p.called("build")), len(p.called("release")), log)
	}
}

func TestReusableWorkflowBuildsNothingWhenThereIsNothing(t *testing.T) {
	p := newProject(t, probeImage(t), monorepo(t))
	p.git("tag", "v1.2.0")
	log, err := p.run("push", "monorepo.yml")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if len(p.calls) != 1 || p.calls[0].Command != "plan" || !strings.Contains(log, "outputs=<><false><>") {
		t.Errorf("calls: %+v\n%s", p.calls, log)
	}
}

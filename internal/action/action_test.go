package action

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/bundletest"
	"github.com/volant/fledge-action/internal/gha"
	"github.com/volant/fledge-action/internal/ghrelease"
)

func TestBuildOfOnePlugin(t *testing.T) {
	s := newStep(t, ".")
	s.run(0)
	out := s.outputs()
	if out["artifact"] != "dist/web.cpio.gz" || out["manifest"] != "dist/manifest.json" || out["checksums"] != "dist/SHA256SUMS" || out["sbom"] != "dist/web.spdx.json" {
		t.Errorf("outputs %v", out)
	}
	if out["signed"] != "false" || out["version"] != "0.1.0" || out["reproducible"] != "unchecked" || out["provenance"] != "" || out["release-url"] != "" {
		t.Errorf("outputs %v", out)
	}
	if want := "sha256:" + sha(t, filepath.Join(s.ws, out["artifact"])); out["artifact-digest"] != want {
		t.Errorf("digest %s, want %s", out["artifact-digest"], want)
	}
	for _, f := range s.files() {
		if got := sha(t, filepath.Join(s.ws, f.Path)); got != f.SHA256 {
			t.Errorf("%s has %s, said to have %s", f.Path, got, f.SHA256)
		}
	}
	manifest, _ := os.ReadFile(filepath.Join(s.ws, out["manifest"]))
	if !strings.Contains(string(manifest), `"/home/runner/work/web/web/dist/web.cpio.gz"`) {
		t.Errorf("the manifest does not name the runner's path:\n%s", manifest)
	}
	if got := s.file("GITHUB_ARTIFACTS"); got != "dist/web.cpio.gz\n" {
		t.Errorf("named to the runner: %q", got)
	}
	s.logged(`(?m)^fledge build --config fledge.toml --output dist/ `)
	if page := s.file("GITHUB_STEP_SUMMARY"); !strings.Contains(page, "web") || !strings.Contains(page, "fledge build --config fledge.toml") {
		t.Errorf("summary:\n%s", page)
	}
}

// A pull request builds what the release will have.
func TestReleaseHasTheBytesOfThePullRequest(t *testing.T) {
	s := newStep(t, ".")
	s.env["GITHUB_EVENT_NAME"] = "pull_request"
	s.put(s.env["GITHUB_EVENT_PATH"], `{"pull_request":{"number":7,"base":{"repo":{"full_name":"acme/web"}},"head":{"repo":{"full_name":"eve/web"}}},"repository":{"full_name":"acme/web"}}`)
	s.env["ACTIONS_ID_TOKEN_REQUEST_URL"], s.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "http://127.0.0.1:1/", "bearer-of-nothing"
	s.run(0)
	digest := s.outputs()["artifact-digest"]
	s.logged(`(?m)^` + digest + `  web.cpio.gz$`)
	s.logged(`::notice title=fledge::this is a pull request of a fork`)
	delete(s.env, "ACTIONS_ID_TOKEN_REQUEST_URL")

	s.env["GITHUB_EVENT_NAME"] = "push"
	s.put(s.env["GITHUB_EVENT_PATH"], "{}")
	g := s.on("v1.2.3").github("v1.2.3")
	key := s.key()
	s.run(0)
	s.secret(strings.Split(key, "\n")[1])
	out := s.outputs()
	if out["artifact-digest"] != digest {
		t.Errorf("the release has %s, the pull request %s", out["artifact-digest"], digest)
	}
	if out["signed"] != "true" || out["version"] != "1.2.3" || out["release-draft"] != "false" || out["release-url"] != g.Web+"/acme/web/releases/tag/v1.2.3" {
		t.Errorf("outputs %v", out)
	}
	if out["provenance"] != "dist/web.sigstore.json" {
		t.Errorf("provenance %q", out["provenance"])
	}
	want := []string{"web.cpio.gz", "web.spdx.json", "web.build.json", "web.sigstore.json", "web.intoto.jsonl", "SHA256SUMS", "manifest.json"}
	if got := assets(g.Releases()); !slices.Equal(got, want) {
		t.Errorf("the release has %v, want %v", got, want)
	}
	for _, f := range s.files() {
		if f.URL != g.Web+"/acme/web/releases/download/v1.2.3/"+f.Name {
			t.Errorf("%s is at %s", f.Name, f.URL)
		}
	}
}

func assets(releases []ghrelease.Release) []string {
	var names []string
	for _, r := range releases {
		for _, a := range r.Assets {
			names = append(names, a.Name)
		}
	}
	return names
}

func TestSeveralPluginsInOneRelease(t *testing.T) {
	s := newStep(t, "plugins/api", "plugins/web").with("config", "plugins/*/fledge.toml").on("v2.0.0-rc.1")
	g := s.github("v2.0.0-rc.1")
	s.key()
	s.run(0)
	got := assets(g.Releases())
	for _, name := range []string{"api.cpio.gz", "api.manifest.json", "api.sigstore.json", "web.cpio.gz", "web.manifest.json", "web.intoto.jsonl", "SHA256SUMS"} {
		if !slices.Contains(got, name) {
			t.Errorf("the release lacks %s: %v", name, got)
		}
	}
	if r := g.Releases(); len(r) != 1 || !r[0].Prerelease || r[0].Draft {
		t.Errorf("releases %+v", r)
	}
	out := s.outputs()
	if out["signed"] != "true" || out["artifact"] != "" || out["version"] != "2.0.0-rc.1" || out["checksums"] != "dist/release/SHA256SUMS" {
		t.Errorf("outputs %v", out)
	}
	for _, r := range g.Releases() {
		for _, a := range r.Assets {
			if a.Name == "web.manifest.json" && !strings.Contains(string(a.Content), g.Web+"/acme/web/releases/download/v2.0.0-rc.1/web.cpio.gz") {
				t.Errorf("web's manifest:\n%s", a.Content)
			}
		}
	}
}

// Paths start from working-directory, outputs from the workspace, and no command has a
// path of this machine.
func TestWorkingDirectory(t *testing.T) {
	s := newStep(t, "sub/api", "sub/web").with("working-directory", "sub", "config", "*/fledge.toml").on("v1.0.0")
	g := s.github("v1.0.0")
	s.key()
	s.run(0)
	if got := assets(g.Releases()); len(got) != 13 {
		t.Errorf("the release has %v", got)
	}
	for _, f := range s.files() {
		if !strings.HasPrefix(f.Path, "sub/dist/release/") || sha(t, filepath.Join(s.ws, f.Path)) != f.SHA256 {
			t.Errorf("%+v", f)
		}
	}
	if log := s.log.String(); strings.Contains(log, s.ws) {
		t.Errorf("the log has the path %s:\n%s", s.ws, log)
	}
	if page := s.file("GITHUB_STEP_SUMMARY"); strings.Contains(page, s.ws) || !strings.Contains(page, "fledge release merge") || !strings.Contains(page, "fledge attest") {
		t.Errorf("the summary:\n%s", page)
	}
}

// A tag of one plugin releases it alone.
func TestATagWithAPluginsNameReleasesThatPlugin(t *testing.T) {
	s := newStep(t, "plugins/api", "plugins/web").with("config", "plugins/*/fledge.toml").on("web/v3.0.0")
	g := s.github("web/v3.0.0")
	s.run(0)
	if got := assets(g.Releases()); !slices.Contains(got, "web.cpio.gz") || slices.Contains(got, "api.cpio.gz") {
		t.Errorf("the release has %v", got)
	}
	if out := s.outputs(); out["version"] != "3.0.0" {
		t.Errorf("version %q", out["version"])
	}
}

func TestReleaseOfWhatBuildJobsLeft(t *testing.T) {
	s := newStep(t, "api", "web")
	g := s.github("v1.0.0")
	for _, name := range []string{"api", "web"} {
		base := g.Web + "/acme/web/releases/download/v1.0.0"
		s.with("config", name+"/fledge.toml", "output-dir", "dist/fledge.plugin."+name, "upload", "never", "sign", "none", "artifact-base-url", base).run(0)
		s.put(filepath.Join(s.ws, "dist", "fledge.plugin."+name, name+".boot.json"), `{"result":"PASS","milliseconds":1234,"artifact":{"path":"x","digest":"`+s.outputs()["artifact-digest"]+`"}}`)
	}
	s.with("command", "release", "output-dir", "dist", "upload", "auto", "sign", "auto", "artifact-base-url", "", "config", "").on("v1.0.0")
	s.key()
	s.run(0)
	got := assets(g.Releases())
	for _, name := range []string{"api.cpio.gz", "api.sigstore.json", "web.cpio.gz", "web.manifest.json", "SHA256SUMS"} {
		if !slices.Contains(got, name) {
			t.Errorf("the release lacks %s: %v", name, got)
		}
	}
	for _, name := range got {
		if strings.Contains(name, "boot") {
			t.Errorf("the release has %s", name)
		}
	}
	if out := s.outputs(); out["signed"] != "true" {
		t.Errorf("outputs %v", out)
	}
	if strings.Contains(s.log.String(), "boot.json") {
		t.Errorf("the log complains about results of boot tests:\n%s", s.log.String())
	}

	// Again: what is published stays as it is, and the message says what to do.
	before := assets(g.Releases())
	s.run(1)
	s.logged(`::error [^:]*::.*other bytes are there`)
	if out := s.outputs(); out["signed"] != "true" || !slices.Equal(assets(g.Releases()), before) {
		t.Errorf("outputs %v", out)
	}
	s.with("on-conflict", "replace").run(0)
	if page := s.file("GITHUB_STEP_SUMMARY"); !strings.Contains(page, "1234") && !strings.Contains(page, "1.2") {
		t.Errorf("the summary does not tell of the boot test:\n%s", page)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	s := newStep(t, ".").on("v1.0.0").with("dry-run", "true")
	g := s.github("v1.0.0")
	s.key()
	s.run(0)
	if r := g.Releases(); len(r) > 0 {
		t.Errorf("releases %+v", r)
	}
	if out := s.outputs(); out["signed"] != "false" || out["release-url"] != "" {
		t.Errorf("outputs %v", out)
	}
}

func TestPlan(t *testing.T) {
	s := newStep(t, "plugins/api", "plugins/web").with("command", "plan", "config", "plugins/**/fledge.toml")
	s.run(0)
	out := s.outputs()
	if !strings.HasPrefix(out["matrix"], `{"include":[{"name":"api"`) || out["any"] != "true" || !strings.HasPrefix(out["cache-key"], "fledge-") {
		t.Errorf("outputs %v", out)
	}
	s.on("lib/v1").run(0)
	if out := s.outputs(); out["any"] != "false" {
		t.Errorf("outputs %v", out)
	}
}

func TestInstall(t *testing.T) {
	s := newStep(t).with("command", "install")
	s.run(0)
	self, _ := os.Executable()
	path := filepath.Join(s.ws, s.outputs()["fledge"])
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 || sha(t, path) != sha(t, self) {
		t.Errorf("%v, %v", info, err)
	}
}

func TestWrongInputsAreNamedAllAtOnce(t *testing.T) {
	s := newStep(t, ".").with("sign", "gpg", "upload", "maybe", "locked", "yes", "output-dir", "../out", "release-id", "seven", "cache-dir", "/tmp")
	s.run(2)
	for _, name := range []string{"sign", "upload", "locked", "output-dir", "release-id", "cache-dir"} {
		s.logged(`::error title=fledge%3A inputs::.*` + name)
	}
	if page := s.file("GITHUB_STEP_SUMMARY"); !strings.Contains(page, "gpg") {
		t.Errorf("summary:\n%s", page)
	}
}

func TestUnknownInputsAreWarnedOf(t *testing.T) {
	s := newStep(t, ".").with("lockd", "true", "args", "")
	s.run(0)
	s.logged(`::warning title=Unknown input::unknown input "lockd" is ignored; did you mean "locked"\?`)
	if strings.Contains(s.log.String(), `"args"`) {
		t.Errorf("the runner's own input is unknown:\n%s", s.log.String())
	}
}

func TestDebugLoggingShowsEveryStep(t *testing.T) {
	s := newStep(t, ".")
	s.run(0)
	usual := strings.Count(s.log.String(), "\n")
	s.env["RUNNER_DEBUG"] = "1"
	s.run(0)
	if got := strings.Count(s.log.String(), "\n"); got <= usual {
		t.Errorf("%d lines with debug logging, %d without", got, usual)
	}
	if strings.Contains(s.file("GITHUB_STEP_SUMMARY"), "--verbose") {
		t.Error("the command to repeat has what only this run needs")
	}
}

func TestMistakesInFledgeTomlAreAnnotatedAtTheirLines(t *testing.T) {
	s := newStep(t)
	s.plugin(filepath.Join(s.ws, "sub"), "web", "[plugins]\nx = 1\n")
	s.with("working-directory", "sub").run(2)
	s.logged(`(?m)^::error col=1,file=sub/fledge.toml,line=13,title=[^:]*::.*plugins`)
	if _, err := os.Stat(filepath.Join(s.ws, "sub/dist")); err == nil {
		t.Error("something was written")
	}
}

func TestRegistryCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("robot:hunter2-hunter2"))
	s := newStep(t, ".").with("registry-auth", fmt.Sprintf(`{"auths":{"registry.example":{"auth":%q},"other.example":{"identitytoken":"idtoken-secret-77"}}}`, auth))
	s.run(0)
	for _, secret := range []string{auth, "hunter2-hunter2", "robot:hunter2-hunter2", "idtoken-secret-77"} {
		if !strings.Contains(s.log.String(), "::add-mask::"+secret) {
			t.Errorf("%q is not masked", secret)
		}
		s.secret(secret)
	}
	for text, want := range map[string]string{
		`{"credsStore":"desktop"}`:              `it has no "auths"`,
		`{"auths":{"r.example":{"auth":"%%%"}}`: `not the JSON`,
		`{"auths":{"r.example":{"auth":"!!"}}}`: `is not base64`,
		`none.json`:                             `a file that can be read`,
		`../none.json`:                          `a path below the workspace`,
	} {
		s.with("registry-auth", text).run(2)
		s.logged("::error [^:]*::input registry-auth: .*" + want)
	}
}

// What stands in tags, versions and names is text.
func TestHostileTextIsNoCommand(t *testing.T) {
	s := newStep(t, ".").with("version", "1.0\n::set-output name=artifact::evil\n##[error]x")
	s.on("v1\r::add-mask::a")
	p := &Program{Version: "test", Stdout: &s.log, Setenv: os.Setenv, Getenv: func(name string) string { return s.env[name] }}
	p.Run(t.Context(), nil)
	for line := range strings.FieldsFuncSeq(s.log.String(), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.HasPrefix(line, "::set-output") || line == "::add-mask::a" || strings.Contains(line, "##[error]") {
			t.Errorf("a command in the log: %q", line)
		}
	}
	if out := s.outputs(); out["artifact"] == "evil" {
		t.Error("an output was injected")
	}
}

func TestFailOnWarning(t *testing.T) {
	s := newStep(t, ".").on("v1.0.0").with("fail-on-warning", "true")
	s.put(filepath.Join(s.ws, "manifest.toml"), "")
	g := s.github("v1.0.0")
	text, _ := os.ReadFile(filepath.Join(s.ws, "fledge.toml"))
	s.put(filepath.Join(s.ws, "fledge.toml"), strings.Replace(string(text), "base_url = \"http://127.0.0.1:8000\"\n", "", 1))
	s.run(1)
	s.logged(`::warning `)
	s.logged(`::error [^:]*::fail-on-warning`)
	if r := g.Releases(); len(r) > 0 {
		t.Errorf("releases %+v", r)
	}
	if out := s.outputs(); out["artifact"] == "" {
		t.Errorf("outputs %v", out)
	}
}

func TestAMissingFileHasTheHintToCheckOut(t *testing.T) {
	for _, config := range []string{"fledge.toml", "plugins/*/fledge.toml"} {
		s := newStep(t).with("config", config)
		s.run(2)
		if page := s.file("GITHUB_STEP_SUMMARY"); !strings.Contains(page, "actions/checkout") {
			t.Errorf("%s: the summary does not say what to do:\n%s", config, page)
		}
	}
}

// TestAFailedStepsOwnErrorIsTold also when its files cannot be given away.
func TestAFailedStepsOwnErrorIsTold(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOwner(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.folder("dist"); err != nil {
		t.Fatal(err)
	}
	root.Close()
	if o.give() == nil {
		t.Fatal("files are given away in a closed folder")
	}
	getenv := func(string) string { return "" }
	p := &Program{Version: "test", Getenv: getenv, workflow: gha.New(getenv, io.Discard), start: t.TempDir()}
	p.owner.Store(o)
	var step *stepError
	var b built
	err = p.step(t.Context(), "Build", "", command{argv: []string{"build", "--config", "none.toml"}}, &b)
	if !errors.As(err, &step) || step.code != 2 || !strings.Contains(err.Error(), "none.toml") {
		t.Errorf("%v", err)
	}
}

func TestUploadWithoutATag(t *testing.T) {
	s := newStep(t, ".").with("upload", "always")
	s.run(2)
	s.logged(`::error [^:]*::input upload: always needs a tag`)
}

func TestVerify(t *testing.T) {
	s := newStep(t, ".")
	s.key()
	s.run(0)
	s.with("target", "dist/web.cpio.gz\ndist/manifest.json", "repo", "acme/web", "offline", "true", "key", "")
	s.run(1, "verify")
	if out := s.outputs(); out["verified"] != "false" || !strings.Contains(out["result"], `"ok"`) {
		t.Errorf("outputs %v", out)
	}
	s.logged(`::error title=fledge%3A Verify::`)

	s.with("key", string(bundletest.NewKey(t).Public))
	s.run(1, "verify")
	s.logged(`(?m)^fledge verify --key key.pub `)
	if log := s.log.String(); strings.Contains(log, s.temp) {
		t.Errorf("the log has a path that is gone:\n%s", log)
	}
}

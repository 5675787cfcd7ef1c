package action

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/bundletest"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/plugintest"
)

// token is the job's, which nobody may see.
const token = "ghs_0123456789abcdefTOKEN"

// step is a step of a job on a runner: a workspace, files for what it says, variables.
type step struct {
	t        *testing.T
	ws, temp string
	env      map[string]string
	log      bytes.Buffer
	asked    map[string]bool // variables
}

// newStep makes a workspace in which there are plugins with these names, each in a
// folder; "." is one called web, in the workspace itself.
func newStep(t *testing.T, plugins ...string) *step {
	t.Helper()
	t.Chdir(t.TempDir()) // and back in the end: the action goes to its workspace
	s := &step{t: t, ws: t.TempDir(), temp: t.TempDir(), asked: map[string]bool{}}
	t.Setenv("TMPDIR", s.temp)
	t.Setenv("DOCKER_CONFIG", "")
	files := t.TempDir()
	s.env = map[string]string{
		"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_WORKSPACE": s.ws, "GITHUB_REPOSITORY": "acme/web", "GITHUB_SERVER_URL": "https://github.com",
		"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch",
		"GITHUB_SHA": strings.Repeat("a", 40), "RUNNER_WORKSPACE": "/home/runner/work/web", "GITHUB_ACTOR": "jo", "HOME": t.TempDir(),
		"INPUT_GITHUB-TOKEN": token,
	}
	for name, file := range map[string]string{"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary", "GITHUB_ARTIFACTS": "artifacts", "GITHUB_EVENT_PATH": "event"} {
		s.env[name] = filepath.Join(files, file)
		text := ""
		if file == "event" {
			text = "{}"
		}
		s.put(s.env[name], text)
	}
	for _, name := range plugins {
		dir := filepath.Join(s.ws, name)
		if name == "." {
			name = "web"
		}
		s.plugin(dir, filepath.Base(name), "")
	}
	return s
}

// plugin writes an initramfs plugin.
func (s *step) plugin(dir, name, more string) {
	s.t.Helper()
	for file, text := range plugintest.Initramfs("", name, more) {
		s.put(filepath.Join(dir, file), text)
	}
}

func (s *step) put(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// on makes the job one for a tag.
func (s *step) on(tag string) *step {
	s.env["GITHUB_REF"], s.env["GITHUB_REF_NAME"], s.env["GITHUB_REF_TYPE"] = "refs/tags/"+tag, tag, "tag"
	return s
}

// with sets inputs: name, value, name, value.
func (s *step) with(pairs ...string) *step {
	for i := 0; i < len(pairs); i += 2 {
		s.env["INPUT_"+strings.ToUpper(pairs[i])] = pairs[i+1]
	}
	return s
}

// github is a GitHub on loopback that the job may write to.
func (s *step) github(tags ...string) *ghrelease.Server {
	s.t.Helper()
	g := ghrelease.New("acme/web", tags...)
	g.Token = token
	g.Start(s.t)
	s.env["GITHUB_API_URL"], s.env["GITHUB_SERVER_URL"] = g.API, g.Web
	s.with("github-api-url", g.API)
	return g
}

// run runs the step and wants this exit code.
func (s *step) run(want int, args ...string) {
	s.t.Helper()
	s.log.Reset()
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ARTIFACTS"} {
		s.put(s.env[name], "")
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	var environ []string
	for name, value := range s.env {
		environ = append(environ, name+"="+value)
	}
	p := &Program{
		Environ: environ,
		Version: "test", Stdout: &s.log, Setenv: os.Setenv, Executable: self, Argv0: "fledge",
		Getenv: func(name string) string { s.asked[name] = true; return s.env[name] },
	}
	if got := p.Run(s.t.Context(), args); got != want {
		s.t.Fatalf("exit code %d, want %d\n%s", got, want, s.log.String())
	}
	if left, _ := os.ReadDir(s.temp); len(left) > 0 {
		s.t.Errorf("left in the private place: %v", left)
	}
	s.secret(token)
}

// secret fails the test when a secret is anywhere but in the command that masks it.
func (s *step) secret(secret string) {
	s.t.Helper()
	log := regexp.MustCompile(`(?m)^::add-mask::.*$`).ReplaceAllString(s.log.String(), "")
	for where, text := range map[string]string{"log": log, "outputs": s.file("GITHUB_OUTPUT"), "summary": s.file("GITHUB_STEP_SUMMARY")} {
		if strings.Contains(text, secret) {
			s.t.Errorf("the %s has the secret %q:\n%s", where, secret, text)
		}
	}
}

func (s *step) file(variable string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.env[variable])
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// outputs reads the step's outputs as the runner does.
func (s *step) outputs() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	lines := strings.Split(s.file("GITHUB_OUTPUT"), "\n")
	for i := 0; i < len(lines); i++ {
		name, end, ok := strings.Cut(lines[i], "<<")
		if !ok {
			continue
		}
		var value []string
		for i++; lines[i] != end; i++ {
			value = append(value, lines[i])
		}
		all[name] = strings.Join(value, "\n")
	}
	return all
}

// files reads the output "artifacts".
func (s *step) files() []file {
	s.t.Helper()
	var all []file
	if err := json.Unmarshal([]byte(s.outputs()["artifacts"]), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// logged fails the test unless the log matches.
func (s *step) logged(expr string) {
	s.t.Helper()
	if !regexp.MustCompile(expr).MatchString(s.log.String()) {
		s.t.Errorf("the log does not match %s:\n%s", expr, s.log.String())
	}
}

// key makes the job sign with a key.
func (s *step) key() string {
	private := string(bundletest.NewKey(s.t).Private(s.t))
	s.with("key", private)
	return private
}

func sha(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

package runnertest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/dockertest"
)

// runtimeToken is the job's token for the runtime's services.
const runtimeToken = "runtime-token-of-the-job"

// A variable is one of the environment's, or of a context.
type variable struct{ name, value string }

// environment keeps the order in which the runner sets variables.
type environment []variable

// set sets a variable, which keeps its place.
func (e *environment) set(name, value string) {
	for i, v := range *e {
		if v.name == name {
			(*e)[i].value = value
			return
		}
	}
	*e = append(*e, variable{name, value})
}

func (e environment) has(name string) bool {
	for _, v := range e {
		if v.name == name {
			return true
		}
	}
	return false
}

// fileCommands are the files that a step writes: the github context's name and the
// prefix of the file's.
var fileCommands = []struct{ name, prefix string }{
	{"artifacts", "artifacts_"},
	{"env", "set_env_"},
	{"output", "set_output_"},
	{"path", "add_path_"},
	{"state", "save_state_"},
	{"step_summary", "step_summary_"},
}

// A job is the runner's folders for one.
type job struct {
	step      Step
	work      string // the runner's _work
	temp      string // _work/_temp
	workspace string // _work/REPOSITORY/REPOSITORY
	container string
	github    map[string]string
	files     map[string]string // of fileCommands, by name
	mounts    []mount
}

// A mount is a folder of the runner in the container.
type mount struct{ host, container string }

// repository is the last part of the repository's name, which folders have.
func (s Step) repository() string {
	name, ok := s.GitHub["repository"]
	if !ok {
		name = defaultRepository
	}
	_, name, _ = strings.Cut(name, "/")
	return name
}

func newJob(t testing.TB, s Step) (*job, error) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // another user has to get here
		return nil, err
	}
	j := &job{step: s, work: dir, temp: filepath.Join(dir, "_temp"), files: map[string]string{}}
	if j.workspace = s.Workspace; j.workspace == "" {
		j.workspace = filepath.Join(dir, s.repository(), s.repository())
	}
	unique := make([]byte, 3)
	_, _ = rand.Read(unique) // does not fail
	j.container = containerName(s.Image, hex.EncodeToString(unique))
	if err := j.fill(); err != nil {
		return nil, err
	}
	j.mounts = []mount{
		{j.temp, "/github/runner_temp"},
		{filepath.Join(j.temp, "_github_home"), "/github/home"},
		{filepath.Join(j.temp, "_github_workflow"), "/github/workflow"},
		{filepath.Join(j.temp, "_runner_file_commands"), "/github/file_commands"},
		{j.workspace, "/github/workspace"},
	}
	j.github = j.context()
	return j, nil
}

// fill makes the folders and files, owned by the runner's user.
func (j *job) fill() error {
	if err := os.Chown(j.work, User, User); err != nil {
		return err
	}
	work, err := os.OpenRoot(j.work)
	if err != nil {
		return err
	}
	defer work.Close()
	folders := []string{"_temp/_github_home", "_temp/_github_workflow", "_temp/_runner_file_commands"}
	if j.step.Workspace == "" {
		folders = append(folders, j.step.repository()+"/"+j.step.repository())
	}
	for _, dir := range folders {
		if err := makeFolders(work, filepath.FromSlash(dir)); err != nil {
			return err
		}
	}
	payload, err := event(j.step.Event)
	if err != nil {
		return err
	}
	if err := write(work, "_temp/_github_workflow/event.json", payload); err != nil {
		return err
	}
	unique := make([]byte, 8)
	_, _ = rand.Read(unique) // does not fail
	for _, f := range fileCommands {
		name := "_temp/_runner_file_commands/" + f.prefix + hex.EncodeToString(unique)
		if err := write(work, name, ""); err != nil {
			return err
		}
		j.files[f.name] = filepath.Join(j.work, filepath.FromSlash(name))
	}
	workspace, err := os.OpenRoot(j.workspace)
	if err != nil {
		return err
	}
	defer workspace.Close()
	for name, text := range j.step.Files {
		if err := write(workspace, name, text); err != nil {
			return err
		}
	}
	return nil
}

const defaultRepository = "octo-org/plugins"

// defaults are the github context of a push to main, in the runner's order. Those with
// the value "-" are made by context.
var defaults = []variable{
	{"action", "__octo-org_fledge-action"},
	{"action_path", "-"},
	{"action_ref", "v1"},
	{"action_repository", "octo-org/fledge-action"},
	{"actor", "octocat"},
	{"actor_id", "583231"},
	{"api_url", "https://api.github.com"},
	{"artifacts", "-"},
	{"base_ref", ""},
	{"env", "-"},
	{"event_name", "push"},
	{"event_path", "-"},
	{"graphql_url", "https://api.github.com/graphql"},
	{"head_ref", ""},
	{"job", "build"},
	{"output", "-"},
	{"path", "-"},
	{"ref", "refs/heads/main"},
	{"ref_name", "-"},
	{"ref_protected", "false"},
	{"ref_type", "-"},
	{"repository", defaultRepository},
	{"repository_id", "1296269"},
	{"repository_owner", "-"},
	{"repository_owner_id", "9919"},
	{"retention_days", "90"},
	{"run_attempt", "1"},
	{"run_id", "8123456789"},
	{"run_number", "42"},
	{"server_url", "https://github.com"},
	{"sha", "0123456789abcdef0123456789abcdef01234567"},
	{"state", "-"},
	{"step_summary", "-"},
	{"triggering_actor", "octocat"},
	{"workflow", "release"},
	{"workflow_ref", "-"},
	{"workflow_sha", "0123456789abcdef0123456789abcdef01234567"},
	{"workspace", "-"},
}

// context is the github context, with paths of the runner.
func (j *job) context() map[string]string {
	c := map[string]string{}
	for _, v := range defaults {
		c[v.name] = v.value
	}
	for name, value := range j.step.GitHub {
		c[name] = value
	}
	kind, name := "", c["ref"]
	for _, k := range []struct{ prefix, kind string }{{"refs/heads/", "branch"}, {"refs/tags/", "tag"}, {"refs/pull/", "branch"}} {
		if after, ok := strings.CutPrefix(c["ref"], k.prefix); ok {
			kind, name = k.kind, after
		}
	}
	owner, _, _ := strings.Cut(c["repository"], "/")
	made := map[string]string{
		"action_path": filepath.Join(j.work, "_actions/octo-org/fledge-action/v1"), "event_path": filepath.Join(j.temp, "_github_workflow/event.json"),
		"ref_name": name, "ref_type": kind, "repository_owner": owner, "workspace": j.workspace,
		"workflow_ref": c["repository"] + "/.github/workflows/release.yml@" + c["ref"],
	}
	for name, file := range j.files {
		made[name] = file
	}
	for name, value := range made {
		if c[name] == "-" {
			c[name] = value
		}
	}
	c["token"] = j.step.Token
	return c
}

// environment is what the container gets, in the order in which the runner sets it, with
// the paths that things have in there.
func (j *job) environment(inputs []variable, r runs) environment {
	var e environment
	for _, name := range sortedKeys(j.step.Env) {
		e.set(name, j.step.Env[name])
	}
	for _, in := range inputs {
		e.set("INPUT_"+strings.ToUpper(strings.ReplaceAll(in.name, " ", "_")), in.value)
	}
	for _, v := range r.env {
		if !e.has(v.name) {
			e.set(v.name, v.value)
		}
	}
	e.set("HOME", filepath.Join(j.temp, "_github_home"))
	for _, v := range defaults {
		e.set("GITHUB_"+strings.ToUpper(v.name), j.github[v.name])
	}
	for _, v := range []variable{
		{"RUNNER_OS", "Linux"},
		{"RUNNER_ARCH", "X64"},
		{"RUNNER_NAME", "GitHub Actions 7"},
		{"RUNNER_ENVIRONMENT", "github-hosted"},
		{"RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"},
		{"RUNNER_TEMP", j.temp},
		{"RUNNER_WORKSPACE", filepath.Dir(j.workspace)},
	} {
		e.set(v.name, v.value)
	}
	e.set("ACTIONS_RUNTIME_URL", "https://pipelines.actions.invalid/")
	e.set("ACTIONS_RUNTIME_TOKEN", runtimeToken)
	e.set("ACTIONS_CACHE_URL", "https://cache.actions.invalid/")
	e.set("ACTIONS_RESULTS_URL", "https://results.actions.invalid/")
	if j.step.IDToken != nil {
		e.set("ACTIONS_ID_TOKEN_REQUEST_URL", j.step.IDToken.URL)
		e.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", j.step.IDToken.Token)
	}
	for i := range e {
		e[i].value = j.toContainer(e[i].value)
	}
	return e
}

// toContainer rewrites a value that is the path of a mounted folder, or of something in
// it. The mount that was added last counts first.
func (j *job) toContainer(value string) string {
	for i := len(j.mounts) - 1; i >= 0; i-- {
		m := j.mounts[i]
		if after, ok := strings.CutPrefix(value, m.host); ok && (after == "" || after[0] == '/') {
			return m.container + after
		}
	}
	return value
}

// toHost is the other way round.
func (j *job) toHost(path string) string {
	for i := len(j.mounts) - 1; i >= 0; i-- {
		m := j.mounts[i]
		if after, ok := strings.CutPrefix(path, m.container); ok && (after == "" || after[0] == '/') {
			return m.host + after
		}
	}
	return path
}

// argv is the runner's "docker run". The values of variables are not in it: the client
// takes them from its own environment.
func (j *job) argv(d *dockertest.Docker, e environment, r runs) []string {
	argv := []string{"run", "--name", j.container, "--label", "f1ed6e", "--workdir", "/github/workspace", "--rm"}
	for _, v := range e {
		argv = append(argv, "-e", v.name)
	}
	argv = append(argv, "-e", "GITHUB_ACTIONS=true")
	if !e.has("CI") {
		argv = append(argv, "-e", "CI=true")
	}
	if r.entrypoint != "" {
		argv = append(argv, "--entrypoint", r.entrypoint)
	}
	argv = append(argv, "--network", "host", "-v", fmt.Sprintf("%s:%s", d.Socket, "/var/run/docker.sock"))
	for _, m := range j.mounts {
		argv = append(argv, "-v", m.host+":"+m.container)
	}
	argv = append(argv, j.step.Image)
	return append(argv, r.args...)
}

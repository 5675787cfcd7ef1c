package runnertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/dockertest"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// step is one that uses the probe.
func step(t *testing.T, do string, with ...string) Step {
	t.Helper()
	d := dockertest.Start(t)
	image := d.Import(t, "fledge-test/probe:1", func(l *dockertest.Layer) { l.Program("probe", "./testdata/probe") }, `ENTRYPOINT ["/probe"]`)
	s := Step{Image: image, ActionFile: "testdata/probe/action.yml", With: map[string]string{"do-what": do}}
	for pair := range slices.Chunk(with, 2) {
		s.With[pair[0]] = pair[1]
	}
	return s
}

func TestAnActionSeesWhatARunnerGives(t *testing.T) {
	s := step(t, "tell", "undeclared", "arrives too")
	s.Token = "ghs_secret"
	s.Env = map[string]string{"GITHUB_SHA": "not-this", "MINE": "1"}
	s.Files = map[string]string{"fledge.toml": "x", "a/b/c": "y"}
	s.GitHub = map[string]string{"ref": "refs/tags/v1.2.3"}
	s.Event = map[string]any{"action": "opened"}
	s.IDToken = &IDToken{URL: "http://127.0.0.1:1/token?x=y", Token: "job-token"}
	r := Run(t, s)
	if r.Failed {
		t.Fatalf("exit code %d, %q:\n%s", r.Exit, r.Complaints, r.Text())
	}
	var seen struct {
		UID, PID                                   int
		CapEff, CapBnd, Seccomp, Mount, Cwd, Event string
		Args, Env                                  []string
		Socket                                     bool
		Mkdir, Write, HOME, RunnerTemp             string
	}
	if err := json.Unmarshal([]byte(r.Outputs["seen"]), &seen); err != nil {
		t.Fatalf("%v: %q", err, r.Outputs)
	}
	if seen.UID != 0 || seen.PID != 1 || seen.CapEff != "00000000a80425fb" || seen.CapBnd != seen.CapEff {
		t.Errorf("uid %d, pid %d, capabilities %s of %s", seen.UID, seen.PID, seen.CapEff, seen.CapBnd)
	}
	if seen.Mount != "operation not permitted" {
		t.Errorf("mounting a filesystem: %s", seen.Mount)
	}
	if seen.Cwd != "/github/workspace" || !seen.Socket || seen.Event != `{"action":"opened"}` || seen.Mkdir+seen.Write+seen.HOME+seen.RunnerTemp != "" {
		t.Errorf("seen %+v", seen)
	}
	if want := []string{"tell", "https://api.github.com/x"}; !slices.Equal(seen.Args, want) {
		t.Errorf("arguments %q, want %q", seen.Args, want)
	}
	for _, want := range []string{
		"INPUT_DO-WHAT=tell", "INPUT_ENDS-AT=", "INPUT_WITH_A_SPACE=spaced", "INPUT_URL=https://api.github.com/x", "INPUT_UNDECLARED=arrives too",
		"INPUT_GITHUB-TOKEN=ghs_secret", "FROM_RUNS=yes-it-is", "HOME_PAGE=https://api.github.com/x", "MINE=1", "HOME=/github/home", "CI=true", "GITHUB_ACTIONS=true",
		"GITHUB_SHA=0123456789abcdef0123456789abcdef01234567", "GITHUB_WORKSPACE=/github/workspace", "GITHUB_REF=refs/tags/v1.2.3", "GITHUB_REF_NAME=v1.2.3",
		"GITHUB_REF_TYPE=tag", "RUNNER_TEMP=/github/runner_temp", "GITHUB_EVENT_PATH=/github/workflow/event.json",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN=job-token", "ACTIONS_RUNTIME_TOKEN=" + runtimeToken,
	} {
		if !slices.Contains(seen.Env, want) {
			t.Errorf("%s is not in the environment", want)
		}
	}
	for _, v := range seen.Env {
		if strings.HasPrefix(v, "GITHUB_TOKEN=") {
			t.Error("GITHUB_TOKEN is in the environment")
		}
		if name, value, _ := strings.Cut(v, "="); strings.Contains(value, r.Workspace) {
			t.Errorf("%s has a path of the runner: %s", name, value)
		}
	}
	if r.State["a"] != "1" || r.Summary != "# Probe\n" || r.Left {
		t.Errorf("state %v, summary %q, left %v", r.State, r.Summary, r.Left)
	}
	if want := []string{"made (0:0)"}; !slices.Equal(r.Foreign(), want) {
		t.Errorf("not the runner's: %q, want %q", r.Foreign(), want)
	}
	if o := r.Owners["a/b"]; o != (Owner{User, User, 0o755}) {
		t.Errorf("a folder that the runner made: %+v", o)
	}
}

func TestLinesAreReadAsTheRunnerReadsThem(t *testing.T) {
	s := step(t, "talk",
		"stdout", "plain\r::error file=/github/workspace/a/fledge.toml,line=3,col=5,title=A%3A b::one%0Atwo%25\r\n"+
			"text ##[warning file=x;line=2]old form\n  ::notice::indented\nno ::error::command\n::unknown::x\n"+
			"::add-mask::hush\nhush now\n::stop-commands::tok\n::error::not one\n::tok::\n::debug::d\n::set-output name=old::v\n",
		"stderr", "::warning endLine=4,file=f::on stderr\n",
		"output", "a=1\nlong<<EOF\nx\n=y\nEOF\nb=2=3\n", "summary", "the hush word\n", "artifacts", "fledge.toml\n# comment\nreg/x@sha256:"+strings.Repeat("AB", 32)+"\n")
	s.Files = map[string]string{"fledge.toml": ""}
	r := Run(t, s)
	if r.Failed || len(r.Complaints) > 0 {
		t.Errorf("exit code %d, %q", r.Exit, r.Complaints)
	}
	want := []Annotation{
		{Level: "error", File: "a/fledge.toml", Line: 3, Column: 5, Title: "A: b", Message: "one\ntwo%"},
		{Level: "warning", File: "x", Line: 2, Message: "old form"},
		{Level: "notice", Message: "indented"},
		{Level: "warning", File: "f", Line: 4, EndLine: 4, Message: "on stderr"},
	}
	for _, a := range want {
		if !slices.Contains(r.Annotations, a) {
			t.Errorf("annotation %+v is not among %+v", a, r.Annotations)
		}
	}
	if len(r.Annotations) != len(want) {
		t.Errorf("%d annotations, want %d", len(r.Annotations), len(want))
	}
	for _, line := range []string{"plain", "*** now", "no ::error::command", "::unknown::x", "::error::not one", "##[error]one\ntwo%"} {
		if !slices.Contains(r.Log, line) {
			t.Errorf("the log has no line %q: %q", line, r.Log)
		}
	}
	if r.Outputs["a"] != "1" || r.Outputs["long"] != "x\n=y" || r.Outputs["b"] != "2=3" || r.Outputs["old"] != "v" || r.Summary != "the *** word\n" {
		t.Errorf("outputs %q, summary %q", r.Outputs, r.Summary)
	}
	if len(r.Artifacts) != 2 || r.Artifacts[0].Name != "fledge.toml" || r.Artifacts[1].Digest != "sha256:"+strings.Repeat("ab", 32) {
		t.Errorf("artifacts %+v", r.Artifacts)
	}
}

func TestARunnerComplains(t *testing.T) {
	for name, with := range map[string][]string{
		"output without a name":       {"output", "just text\n"},
		"delimiter that is not there": {"output", "a<<EOF\nx\n"},
		"artifact that is not there":  {"artifacts", "nothing\n"},
		"artifact of the container":   {"artifacts", "/github/workspace/fledge.toml\n"},
		"two digests of one name":     {"artifacts", "fledge.toml\nb/fledge.toml\n"},
		"disabled command":            {"stdout", "::set-env name=x::y\n"},
		"exit code":                   {"exit", "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := step(t, "talk", with...)
			s.Files = map[string]string{"fledge.toml": "", "b/fledge.toml": "b"}
			if r := Run(t, s); !r.Failed || (r.Exit != 0) == (len(r.Complaints) > 0) {
				t.Errorf("failed %v, exit code %d, %q", r.Failed, r.Exit, r.Complaints)
			}
		})
	}
}

func TestACancelledStepGetsTheRunnersSignals(t *testing.T) {
	for _, test := range []struct {
		endsAt, signal string
		left           bool
		least, most    time.Duration
	}{
		{"interrupt", "INT", false, 0, 5 * time.Second},
		{"terminated", "TERM", false, afterInterrupt, afterInterrupt + afterTerminate},
		{"never", "KILL", true, afterInterrupt + afterTerminate, time.Minute},
	} {
		t.Run(test.endsAt, func(t *testing.T) {
			t.Parallel() // it is waiting, most of the time
			s := step(t, "wait", "ends-at", test.endsAt)
			s.Workspace = t.TempDir()
			cancel := make(chan struct{})
			s.Cancel = cancel
			go func() {
				for t.Context().Err() == nil {
					if _, err := os.Stat(filepath.Join(s.Workspace, "waiting")); err == nil {
						close(cancel)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
			r := Run(t, s)
			if r.Signal != test.signal || r.Left != test.left || r.Cancelled < test.least || r.Cancelled > test.most {
				t.Errorf("signal %s, left %v after %v:\n%s", r.Signal, r.Left, r.Cancelled, r.Text())
			}
			if r.Outputs["pid"] != "1" {
				t.Errorf("outputs %v", r.Outputs)
			}
		})
	}
}

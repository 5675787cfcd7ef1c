package runnertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/dockertest"
)

// User is the runner's user and group, who own the workspace.
const User = 1001

// A Step is a step of a job that uses a container action.
type Step struct {
	Image      string            // that the daemon has; for what action.yml names
	ActionFile string            // path of action.yml; "" for an action without inputs
	With       map[string]string // the step's with:
	Env        map[string]string // env: of the workflow, the job and the step
	Files      map[string]string // of the workspace, by slash-separated names
	Workspace  string            // a folder that is there, such as Result.Workspace of a step before; "" for a new one

	// GitHub replaces values of the github context, such as "ref" and "event_name"; see
	// defaults for those that it has. An empty value is one.
	GitHub map[string]string
	Event  any    // the webhook's payload, encoded as JSON; nil for {}
	Token  string // github.token, which is masked
	// IDToken is what a job with "id-token: write" has; nil for a job without.
	IDToken *IDToken

	// Cancel cancels the step when it is closed.
	Cancel <-chan struct{}
}

// IDToken is where a job gets OpenID tokens from.
type IDToken struct{ URL, Token string }

// A Result is what the runner knows of a step that has ended.
type Result struct {
	Failed     bool     // the step has: its exit code, or a complaint
	Exit       int      // exit code of the docker client: the container's
	Complaints []string // of the runner: files and commands that it cannot take

	Raw      []string // lines of both outputs
	Log      []string // what the runner shows: without commands, secrets masked
	Commands []Command
	Debug    []string

	Outputs, State, Env map[string]string
	Path                []string
	Summary             string
	Artifacts           []Subject
	Annotations         []Annotation

	Workspace string           // the folder
	Owners    map[string]Owner // of everything in it, by slash-separated names; "." is itself

	Took      time.Duration
	Cancelled time.Duration // from the cancellation to the end of the client; 0 without one
	Signal    string        // the last that the runner sent: "", "INT", "TERM", "KILL"
	Left      bool          // the container went on after the client's end; it is gone now
}

// An Owner is whose a file is, and its mode with the bits of chmod(2).
type Owner struct {
	UID, GID uint32
	Mode     uint32
}

// Foreign lists what does not belong to the runner's user, with its owner.
func (r *Result) Foreign() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Owners)) {
		if o := r.Owners[name]; o.UID != User || o.GID != User {
			names = append(names, fmt.Sprintf("%s (%d:%d)", name, o.UID, o.GID))
		}
	}
	return names
}

// Text is the log as one text.
func (r *Result) Text() string { return strings.Join(r.Log, "\n") + "\n" }

// Run runs the step and returns when it has ended. The folders are removed with the
// test.
func Run(t testing.TB, s Step) *Result {
	t.Helper()
	d := dockertest.Start(t)
	j, err := newJob(t, s)
	if err != nil {
		t.Fatal(err)
	}
	inputs, runs, err := j.action()
	if err != nil {
		t.Fatal(err)
	}
	env := j.environment(inputs, runs)
	argv := j.argv(d, env, runs)
	r := &Result{Outputs: map[string]string{}, State: map[string]string{}, Env: map[string]string{}, Workspace: j.workspace}
	out := &stream{result: r, relative: func(file string) string { return within(j.workspace, j.toHost(file)) }}
	for _, secret := range []string{s.Token, runtimeToken} {
		out.mask(secret)
	}
	if s.IDToken != nil {
		out.mask(s.IDToken.Token)
	}
	cmd := d.Command(context.WithoutCancel(t.Context()), argv...)
	for _, v := range env {
		cmd.Env = append(cmd.Env, v.name+"="+v.value)
	}
	if err := run(cmd, s.Cancel, r, out); err != nil {
		t.Fatal(err)
	}
	if r.Left = d.Run(t, "ps", "-aq", "--filter", "name="+j.container) != ""; r.Left {
		d.Run(t, "rm", "-f", j.container)
	}
	if err := j.collect(r, out); err != nil {
		t.Fatal(err)
	}
	r.Failed = r.Exit != 0 || len(r.Complaints) > 0
	return r
}

// How long the runner waits after each signal.
const (
	afterInterrupt = 7500 * time.Millisecond
	afterTerminate = 2500 * time.Millisecond
)

// run runs the client and ends it as the runner does when the step is cancelled.
func run(cmd *exec.Cmd, cancel <-chan struct{}, r *Result, out *stream) error {
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		done := make(chan struct{})
		go func() { defer close(done); out.read(stderr) }()
		out.read(stdout)
		<-done
		ended <- cmd.Wait()
	}()
	select {
	case err = <-ended:
	case <-cancel:
		since := time.Now()
		err = interrupt(cmd, ended, r)
		r.Cancelled = time.Since(since)
	}
	r.Took = time.Since(begun)
	r.Exit = cmd.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

func interrupt(cmd *exec.Cmd, ended <-chan error, r *Result) error {
	for _, step := range []struct {
		name   string
		signal syscall.Signal
		wait   time.Duration
	}{{"INT", syscall.SIGINT, afterInterrupt}, {"TERM", syscall.SIGTERM, afterTerminate}, {"KILL", syscall.SIGKILL, time.Minute}} {
		r.Signal = step.name
		_ = cmd.Process.Signal(step.signal)
		select {
		case err := <-ended:
			return err
		case <-time.After(step.wait):
		}
	}
	return errors.New("the docker client does not end")
}

// collect reads what the step left.
func (j *job) collect(r *Result, out *stream) error {
	texts := map[string]string{}
	for _, f := range fileCommands {
		text, err := os.ReadFile(j.files[f.name])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		texts[f.name] = string(text)
	}
	for _, f := range []struct {
		name string
		into map[string]string
	}{{"output", r.Outputs}, {"state", r.State}, {"env", r.Env}} {
		pairs, err := readPairs(texts[f.name])
		if err != nil {
			r.fail("unable to process file command %q: %v", f.name, err)
		}
		for _, p := range pairs {
			if f.name == "env" && strings.EqualFold(p.name, "NODE_OPTIONS") {
				r.fail("can't store %s by GITHUB_ENV", p.name)
				continue
			}
			f.into[p.name] = p.value
		}
	}
	for _, line := range splitLines(texts["path"]) {
		if line != "" {
			r.Path = append(r.Path, line)
		}
	}
	if text := texts["step_summary"]; len(text) > maxSummary {
		r.Annotations = append(r.Annotations, Annotation{Level: "error", Message: fmt.Sprintf("the summary has %d bytes, of at most %d, and is dropped", len(text), maxSummary)})
	} else {
		for _, line := range splitLines(text) {
			r.Summary += out.masked(line) + "\n"
		}
	}
	var err error
	if r.Artifacts, err = readSubjects(texts["artifacts"], j.workspace); err != nil {
		r.fail("unable to process file command %q: %v", "artifacts", err)
	}
	r.Owners, err = owners(j.workspace)
	return err
}

func owners(dir string) (map[string]Owner, error) {
	all := map[string]Owner{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, at)
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			all[filepath.ToSlash(name)] = Owner{st.Uid, st.Gid, st.Mode & 0o7777}
		}
		return err
	})
	return all, err
}

// write writes a file of the runner's user.
func write(root *os.Root, name, text string) error {
	if err := makeFolders(root, filepath.Dir(filepath.FromSlash(name))); err != nil {
		return err
	}
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Chmod(0o644), f.Chown(User, User), f.Close())
}

// makeFolders makes a folder and those above it, owned by the runner's user.
func makeFolders(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeFolders(root, filepath.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(root.Chmod(dir, 0o755), root.Lchown(dir, User, User))
}

// event is the payload's file.
func event(payload any) (string, error) {
	if payload == nil {
		payload = map[string]any{}
	}
	text, err := json.Marshal(payload)
	return string(text), err
}

// name of the container: the image's, with what Docker does not take left out.
func containerName(image, unique string) string {
	keep := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}
	return cmp.Or(strings.Map(keep, strings.ToLower(image)), "image") + "_" + unique
}

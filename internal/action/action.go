package action

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/volant/fledge-action/attest/oidc"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/cli"
	"github.com/volant/fledge-action/internal/gha"
	"github.com/volant/fledge-action/internal/summary"
)

// What an interrupted action says and how long it may take to clean up. The runner
// sends a second signal after 7.5 seconds.
const (
	interruptedText = "fledge: interrupted; what was uploaded stays: run the job again, and it goes on from there"
	grace           = 5500 * time.Millisecond
)

// Program is what the action runs in.
type Program struct {
	Version          string
	Stdout           io.Writer // the step's log
	Getenv           func(string) string
	Setenv           func(name, value string) error // of the process, for libraries
	Environ          []string
	Executable       string // path of this program
	Argv0            string
	owner            atomic.Pointer[owner]
	temp             atomic.Pointer[string]
	workflow         *gha.Workflow
	overlay          map[string]string
	workspace, start string // absolute: of the workspace, and of the folder that paths start from
	dir              string // start, relative to the workspace

	page     summary.Page
	warnings []string
	outputs  map[string]string
}

// Interruption is what an interrupted action says, and how long it may take to clean up.
func (p *Program) Interruption() (text string, wait time.Duration) { return interruptedText, grace }

// Close ends an action that does not return: it removes what is private, and gives the
// workspace's owner what was made. It may be called more than once, from any goroutine.
func (p *Program) Close() error {
	var errs []error
	if temp := p.temp.Swap(nil); temp != nil {
		errs = append(errs, os.RemoveAll(*temp))
	}
	if o := p.owner.Load(); o != nil {
		errs = append(errs, o.give())
	}
	return errors.Join(errs...)
}

// inputError is a mistake in inputs: exit code 2.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// stepError is a command of fledge that failed.
type stepError struct {
	what   string // the step
	stage  string // of the command, "" for none
	plugin string
	code   int
	err    error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// Run runs the action: args are those behind 'fledge action'. It returns the exit code.
func (p *Program) Run(ctx context.Context, args []string) int {
	p.workflow = gha.New(p.Getenv, p.Stdout)
	p.overlay, p.outputs = map[string]string{}, map[string]string{}
	w := p.workflow
	defer w.Flush()
	var err error
	shown := true
	inputs := w.Inputs()
	switch {
	case len(args) == 0:
		var s settings
		s, err = readSettings(inputs)
		inputs.WarnUnknown(p.Environ)
		if err != nil {
			err = inputError{err}
		} else {
			s.debug = w.Context().Debug
			shown = s.summary
			err = p.run(ctx, s)
		}
	case len(args) == 1 && args[0] == "verify":
		var t target
		t, err = readTarget(inputs)
		inputs.WarnUnknown(p.Environ)
		if err != nil {
			err = inputError{err}
		} else {
			shown = t.summary
			err = p.verify(ctx, t)
		}
	default:
		err = inputError{fmt.Errorf("unknown arguments %q: want none, or verify", args)}
	}
	return p.end(ctx, err, shown)
}

// end reports what there is and what went wrong, and cleans up.
func (p *Program) end(ctx context.Context, err error, shown bool) int {
	w := p.workflow
	if clean := p.Close(); clean != nil {
		w.Warning(gha.Annotation{Title: "fledge", Message: "cleaning up: " + clean.Error()})
	}
	for _, name := range slices.Sorted(maps.Keys(p.outputs)) {
		if wrong := w.Output(name, p.outputs[name]); wrong != nil {
			err = cmp.Or(err, wrong)
		}
	}
	code := cli.ExitOK
	if err != nil {
		code = p.fail(ctx, err)
	}
	if shown {
		p.page.Fledge = p.Version
		p.page.Warnings = append(p.page.Warnings, messages(p.warnings)...)
		if wrong := w.Summary(p.page.Markdown()); wrong != nil {
			w.Warning(gha.Annotation{Title: "fledge", Message: "writing the summary: " + wrong.Error()})
		}
	}
	return code
}

// fail makes annotations of an error and returns the exit code.
func (p *Program) fail(ctx context.Context, err error) int {
	w := p.workflow
	failure := &summary.Failure{}
	p.page.Failure = failure
	code := cli.ExitFailed
	title := "fledge"
	var step *stepError
	if errors.As(err, &step) {
		failure.Plugin, failure.Stage = step.plugin, cmp.Or(step.stage, step.what)
		title = "fledge: " + step.what
		if step.code == cli.ExitUsage {
			code = cli.ExitUsage
		}
	}
	if ctx.Err() != nil {
		fmt.Fprintln(w.Log(), interruptedText)
		failure.Problems = []summary.Message{{Text: "the job was cancelled"}}
		return cli.ExitInterrupted
	}
	var wrong config.Errors
	var one *config.Error
	switch {
	case errors.As(err, &wrong):
	case errors.As(err, &one):
		wrong = config.Errors{one}
	case errors.As(err, new(inputError)):
		code, title, failure.Stage = cli.ExitUsage, "fledge: inputs", "reading the inputs"
	}
	for _, e := range wrong {
		code = cli.ExitUsage
		place := p.place(e.File)
		w.Error(gha.Annotation{File: place, Line: e.Line, Column: e.Column, Title: title, Message: e.Error()})
		failure.Problems = append(failure.Problems, summary.Message{Text: e.Error(), Place: summary.Place{File: place, Line: e.Line, URL: p.source(place, e.Line)}})
	}
	if wrong != nil {
		return code
	}
	texts := []string{err.Error()}
	if many := gha.InputErrors(nil); errors.As(err, &many) {
		texts = nil
		for _, e := range many {
			texts = append(texts, e.Error())
		}
	}
	for _, text := range texts {
		w.Error(gha.Annotation{Title: title, Message: text})
		failure.Problems = append(failure.Problems, summary.Message{Text: text, Hint: hint(text)})
	}
	return code
}

// place is a file of the start folder, relative to the workspace; "" if it is elsewhere.
func (p *Program) place(file string) string {
	if file == "" {
		return ""
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(p.start, file)
	}
	rel, err := filepath.Rel(p.workspace, file)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// source is the page of a line of the repository, "" if it is not known.
func (p *Program) source(file string, line int) string {
	c := p.workflow.Context()
	if file == "" || c.Repository == "" || c.SHA == "" {
		return ""
	}
	u := fmt.Sprintf("%s/%s/blob/%s/%s", c.ServerURL, c.Repository, c.SHA, (&url.URL{Path: file}).EscapedPath())
	if line > 0 {
		u += fmt.Sprintf("#L%d", line)
	}
	return u
}

// open finds the workspace, goes to the folder that paths start from, and makes the
// private folder.
func (p *Program) open(dir string) error {
	w := p.workflow
	p.workspace = w.Context().Workspace
	if p.workspace == "" || !filepath.IsAbs(p.workspace) {
		return inputError{errors.New("GITHUB_WORKSPACE is not set: 'fledge action' is a step of a GitHub job; by hand, use 'fledge build'")}
	}
	root, err := os.OpenRoot(p.workspace)
	if err != nil {
		return fmt.Errorf("opening the workspace: %w", err)
	}
	info, err := root.Stat(filepath.FromSlash(dir))
	switch {
	case err != nil && dir == ".":
		return fmt.Errorf("opening the workspace: %w", err)
	case err != nil:
		return inputError{fmt.Errorf("input working-directory: %w; check the repository out first (actions/checkout)", err)}
	case !info.IsDir():
		return inputError{fmt.Errorf("input working-directory: %q is a file", dir)}
	}
	o, err := newOwner(root)
	if err != nil {
		return fmt.Errorf("opening the workspace: %w", err)
	}
	p.owner.Store(o)
	p.dir, p.start = dir, filepath.Join(p.workspace, filepath.FromSlash(dir))
	if err := os.Chdir(p.start); err != nil {
		return fmt.Errorf("going to the workspace: %w", err)
	}
	temp, err := os.MkdirTemp("", "fledge-action-")
	if err != nil {
		return fmt.Errorf("making a private folder: %w", err)
	}
	p.temp.Store(&temp)
	return nil
}

// private is a path in the private folder.
func (p *Program) private(name string) string {
	temp := p.temp.Load()
	if temp == nil { // it is being cleaned up
		return filepath.Join(os.TempDir(), "fledge-action-gone", name)
	}
	return filepath.Join(*temp, name)
}

// inWorkspace is a path below the start folder, relative to the workspace.
func (p *Program) inWorkspace(name string) string { return path.Join(p.dir, name) }

// getenv is the environment of commands.
func (p *Program) getenv(name string) string {
	if value, ok := p.overlay[name]; ok {
		return value
	}
	if strings.HasPrefix(name, "INPUT_") {
		return ""
	}
	return p.Getenv(name)
}

// secretVariables are not for the second build of --check-reproducible, which signs nothing.
var secretVariables = []string{"FLEDGE_SIGNING_KEY", "COSIGN_PASSWORD"}

// environ is the environment of a program that a command starts: fledge itself.
func (p *Program) environ() []string {
	var all []string
	for _, pair := range p.Environ {
		name, _, _ := strings.Cut(pair, "=")
		_, ours := p.overlay[name]
		if ours || strings.HasPrefix(name, "INPUT_") || strings.HasPrefix(name, "ACTIONS_") || slices.Contains(secretVariables, name) {
			continue
		}
		all = append(all, pair)
	}
	for name, value := range p.overlay {
		if !slices.Contains(secretVariables, name) {
			all = append(all, name+"="+value)
		}
	}
	slices.Sort(all)
	return all
}

// maxOutput is how much a command may print, in bytes.
const maxOutput = 64 << 20

// output is what a command prints.
type output struct{ bytes.Buffer }

func (o *output) Write(b []byte) (int, error) {
	if o.Len()+len(b) > maxOutput {
		return 0, fmt.Errorf("the command printed more than %d bytes", maxOutput)
	}
	return o.Buffer.Write(b)
}

// step runs one command of fledge in a group of the log and decodes the JSON that it
// prints.
func (p *Program) step(ctx context.Context, what, plugin string, c command, into any) error {
	w := p.workflow
	w.Group(what)
	defer w.EndGroup()
	log := w.Log()
	fmt.Fprintf(log, "fledge %s\n", shellLine(c.repeat))
	var out output
	var stage string
	var cause error
	run := &cli.Program{
		Version: p.Version, Stdout: &out, Stderr: log, Getenv: p.getenv, WorkDir: p.start,
		Executable: p.Executable, Argv0: p.Argv0, Environ: p.environ(), Mask: w.Mask,
		Failed: func(at string, err error) { stage, cause = at, err },
	}
	code := run.Run(ctx, c.argv)
	var after error // what goes wrong here; the command's own error is the cause of it, if there is one
	if err := p.owner.Load().give(); err != nil {
		after = fmt.Errorf("giving files to the workspace's owner: %w", err)
	}
	if out.Len() > 0 {
		after = cmp.Or(after, decode(c, out.Bytes(), into))
	}
	switch {
	case code != cli.ExitOK && cause == nil:
		cause = fmt.Errorf("'fledge %s' ended with code %d", c.argv[0], code)
	case code == cli.ExitOK && after != nil:
		code, cause = cli.ExitFailed, after
	}
	if code == cli.ExitOK {
		return nil
	}
	return &stepError{what, stage, plugin, code, cause}
}

// decode reads what a command printed.
func decode(c command, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading what 'fledge %s' printed: %w", c.argv[0], err)
	}
	return nil
}

// repeat is a command for people to repeat.
func (p *Program) repeat(c command) summary.Command {
	return summary.Command{Dir: p.dir, Argv: append([]string{"fledge"}, c.repeat...)}
}

// job is what decisions know of this job.
func (p *Program) job() (job, gha.Event, error) {
	event, err := p.workflow.Event()
	if err != nil {
		return job{}, event, err
	}
	token, _ := oidc.Available(p.Getenv)
	return newJob(p.workflow.Context(), event, token), event, nil
}

// warn shows a warning and remembers it.
func (p *Program) warn(title, file, text string) {
	p.workflow.Warning(annotation(title, p.place(file), file, text))
}

// annotation has the line that a text begins with, if it is one of the file.
func annotation(title, place, file, text string) gha.Annotation {
	a := gha.Annotation{Title: title, Message: text}
	if rest, ok := strings.CutPrefix(text, file+":"); ok && file != "" {
		a.File = place
		fmt.Sscanf(rest, "%d:%d:", &a.Line, &a.Column)
	}
	return a
}

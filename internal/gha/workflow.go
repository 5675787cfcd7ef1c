package gha

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/sethvargo/go-githubactions"
)

// MaxMessage is how many UTF-16 units of an annotation's message are shown.
const MaxMessage = 4096

const maxTitle = 255 // bytes, of an annotation and of a group

// Workflow is one step of a job, as the program that runs in it sees it.
type Workflow struct {
	getenv func(string) string
	lib    *githubactions.Action

	mu         sync.Mutex // guards what follows, and the order of what is written
	out        stickyWriter
	secrets    secrets
	logs       []*lineWriter
	artifacts  artifactList
	summaryCut bool
}

// New returns the step whose variables getenv looks up. out is the step's log.
func New(getenv func(string) string, out io.Writer) *Workflow {
	w := &Workflow{getenv: getenv, out: stickyWriter{w: out}}
	w.lib = githubactions.New(githubactions.WithWriter(&w.out), githubactions.WithGetenv(getenv))
	return w
}

// Mask makes the runner, and everything that w writes from now on, show "***" for
// secret. It has to be called before the secret is used. Of a secret with several
// lines each is masked that has minSecretLine bytes: a "{" is not secret, and would
// be masked wherever it occurs. The empty secret is none.
func (w *Workflow) Mask(secret string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.secrets.add(secret) {
		w.lib.AddMask(line)
	}
}

// Group starts a part of the log that can be folded. Groups do not nest: a second one
// ends the first.
func (w *Workflow) Group(title string) {
	w.command(func() { w.lib.Group(w.oneLine(title, maxTitle)) })
}

// EndGroup ends the group.
func (w *Workflow) EndGroup() { w.command(w.lib.EndGroup) }

// Annotation is a message that GitHub shows beside the job and, with a file, beside
// that file's line.
type Annotation struct {
	// File is relative to the workspace, or absolute and in it. What lies elsewhere
	// is said in the message.
	File string
	// Line and Column count from 1; 0 is none. A column without a line is left out.
	Line, Column   int
	Title, Message string // Message may have several lines
}

// Error writes an annotation that says what failed. The runner shows ten of a kind for
// each step.
func (w *Workflow) Error(a Annotation) {
	w.annotate(a, func(lib *githubactions.Action, text string) { lib.Errorf("%s", text) })
}

// Warning writes an annotation about what may be wrong.
func (w *Workflow) Warning(a Annotation) {
	w.annotate(a, func(lib *githubactions.Action, text string) { lib.Warningf("%s", text) })
}

// Notice writes an annotation about what is worth knowing.
func (w *Workflow) Notice(a Annotation) {
	w.annotate(a, func(lib *githubactions.Action, text string) { lib.Noticef("%s", text) })
}

func (w *Workflow) annotate(a Annotation, issue func(*githubactions.Action, string)) {
	w.command(func() {
		fields, text := w.fields(a)
		issue(w.lib.WithFieldsMap(fields), w.message(text))
	})
}

// command writes a command on a line of its own, behind what the logs have so far.
func (w *Workflow) command(write func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.logs {
		l.flush()
	}
	write()
}

// fields are the properties of an annotation, and its message.
func (w *Workflow) fields(a Annotation) (map[string]string, string) {
	fields := map[string]string{}
	text := a.Message
	if text == "" {
		text = a.Title
	}
	if a.Title != "" {
		fields["title"] = w.oneLine(a.Title, maxTitle)
	}
	if a.File == "" {
		return fields, text
	}
	file, inside := w.relative(a.File)
	if !inside {
		return fields, position(a) + ": " + text
	}
	fields["file"] = w.oneLine(file, maxTitle)
	if a.Line > 0 {
		fields["line"] = strconv.Itoa(a.Line)
		if a.Column > 0 {
			fields["col"] = strconv.Itoa(a.Column)
		}
	}
	return fields, text
}

func position(a Annotation) string {
	if a.Line > 0 {
		return a.File + ":" + strconv.Itoa(a.Line)
	}
	return a.File
}

// relative is a file's path below the workspace, and whether it is in there.
func (w *Workflow) relative(file string) (string, bool) {
	if filepath.IsAbs(file) {
		workspace := w.getenv("GITHUB_WORKSPACE")
		if !filepath.IsAbs(workspace) {
			return "", false
		}
		rel, err := filepath.Rel(workspace, file)
		if err != nil {
			return "", false
		}
		file = rel
	}
	file = filepath.Clean(file)
	return filepath.ToSlash(file), filepath.IsLocal(file)
}

// oneLine is text for a title: one line of up to limit bytes.
func (w *Workflow) oneLine(text string, limit int) string {
	text = strings.Join(strings.FieldsFunc(w.secrets.redact(text), isLineBreak), " ")
	return shorten(harmless(visible(text)), limit, runeLen)
}

// message is text of several lines for a command.
func (w *Workflow) message(text string) string {
	lines := splitLines(w.secrets.redact(text))
	for i, line := range lines {
		lines[i] = harmless(visible(line))
	}
	return shorten(w.secrets.redact(strings.Join(lines, "\n")), MaxMessage, utf16Len)
}

// Flush writes what the logs hold of lines that have not ended, and returns the first
// error that writing to the step's log had. It is called last.
func (w *Workflow) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.logs {
		l.finish()
	}
	if w.out.err != nil {
		return fmt.Errorf("writing to the step's log: %w", w.out.err)
	}
	return nil
}

// stickyWriter keeps the first error and says that all is written: go-githubactions
// panics where a write fails.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	if s.err == nil {
		var n int
		if n, s.err = s.w.Write(p); s.err == nil && n < len(p) {
			s.err = io.ErrShortWrite
		}
	}
	return len(p), nil
}

// NoFileError is a file of the runner that cannot be written to because the variable
// with its path is not set: the program does not run as a step of a job.
type NoFileError struct{ Variable string }

func (e *NoFileError) Error() string {
	return e.Variable + " is not set: this has to run as a step of a GitHub Actions job"
}

// errNotRegular is what stands where a file of the runner should be.
var errNotRegular = errors.New("is not a regular file")

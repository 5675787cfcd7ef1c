package gha

import (
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Limits of the files.
const (
	MaxValue         = 1 << 20   // bytes of one output; GitHub's limit of a job's outputs
	MaxSummary       = 900 << 10 // bytes of a step's summary, and 2 KiB for the note; the runner drops one of more than 1 MiB
	MaxArtifacts     = 500       // lines, a job
	MaxArtifactBytes = 1 << 20
)

// names are what outputs may be called.
var names = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,99}$`)

// Output sets an output of the step. The value is read back by later steps as it is,
// whatever is in it. A value that is not UTF-8, has a NUL byte, is too long or holds a
// masked secret is an error, and nothing is written.
func (w *Workflow) Output(name, value string) error {
	if err := w.setOutput(name, value); err != nil {
		return fmt.Errorf("setting output %q: %w", name, err)
	}
	return nil
}

func (w *Workflow) setOutput(name, value string) error {
	if err := w.checkValue(name, value); err != nil {
		return err
	}
	record, err := record(name, value, rand.Text)
	if err != nil {
		return err
	}
	return w.appendTo("GITHUB_OUTPUT", func(*os.File) (string, error) { return record, nil })
}

func (w *Workflow) checkValue(name, value string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !names.MatchString(name):
		return fmt.Errorf("the name has to be a letter or _, then up to 99 letters, digits, _ and -")
	case len(value) > MaxValue:
		return fmt.Errorf("the value has %d bytes; up to %d are allowed", len(value), MaxValue)
	case !utf8.ValidString(value):
		return fmt.Errorf("the value is not UTF-8")
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("the value has a NUL byte")
	case w.secrets.refused(value):
		return fmt.Errorf("the value holds a secret")
	}
	return nil
}

// record is a value in the form of the runner's files: name<<delimiter, the value, the
// delimiter, each on lines of its own.
func record(name, value string, random func() string) (string, error) {
	delimiter := "fledge_" + random()
	if strings.Contains(name, delimiter) || strings.Contains(value, delimiter) {
		return "", fmt.Errorf("the value holds the delimiter %q that was made up for it", delimiter)
	}
	return name + "<<" + delimiter + "\n" + value + "\n" + delimiter + "\n", nil
}

// appendTo appends what text returns to the file that a variable names.
func (w *Workflow) appendTo(variable string, text func(*os.File) (string, error)) error {
	name := w.getenv(variable)
	if name == "" {
		return &NoFileError{Variable: variable}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f, err := openRegular(name, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("opening %s: %w", variable, err)
	}
	s, err := text(f)
	if err == nil {
		_, err = io.WriteString(f, s)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// openRegular opens a file that exists, is regular and is no symbolic link. It does
// not wait for the other end of a FIFO.
func openRegular(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Summary appends Markdown to the step's part of the job's summary. What would make it
// longer than MaxSummary is left out, from there on, and a note says so. Without the
// variable GITHUB_STEP_SUMMARY it does nothing.
func (w *Workflow) Summary(markdown string) error {
	const variable = "GITHUB_STEP_SUMMARY"
	if w.getenv(variable) == "" || markdown == "" {
		return nil
	}
	err := w.appendTo(variable, func(f *os.File) (string, error) {
		info, err := f.Stat()
		if err != nil {
			return "", err
		}
		text := w.secrets.redact(strings.ToValidUTF8(markdown, "\uFFFD"))
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		if w.summaryCut {
			return "", nil
		}
		kept := cutSummary(text, MaxSummary-info.Size())
		w.summaryCut = kept != text
		return kept, nil
	})
	if err != nil {
		return fmt.Errorf("writing the job summary: %w", err)
	}
	return nil
}

// cutNote ends a summary that was cut.
const cutNote = "\n\n> [!WARNING]\n> The rest of this summary was cut: it has more than 900 KiB. The step's log has everything.\n"

// maxClosed is how many folded parts are closed where a summary is cut.
const maxClosed = 50

// cutSummary is text, or what of its lines room has place for, and the note behind
// that.
func cutSummary(text string, room int64) string {
	if int64(len(text)) <= room {
		return text
	}
	text = text[:max(room, 0)]
	text = text[:strings.LastIndexByte(text, '\n')+1]
	return text + closeBlocks(text) + cutNote
}

// closeBlocks ends what is open at the end of Markdown, so that the note is seen: a
// block of code, and folded parts.
func closeBlocks(text string) string {
	end, fence := "", ""
	for line := range strings.Lines(text) {
		switch mark := fenceMark(line); {
		case fence == "":
			fence = mark
		case strings.HasPrefix(mark, fence):
			fence = ""
		}
	}
	if fence != "" {
		end += fence + "\n"
	}
	open := strings.Count(text, "<details") - strings.Count(text, "</details>")
	return end + strings.Repeat("\n</details>\n", min(max(open, 0), maxClosed))
}

// fenceMark is the run of ` or ~ that a line starts with, if it is a fence.
func fenceMark(line string) string {
	line = strings.TrimLeft(line, " ")
	for _, mark := range []string{"`", "~"} {
		if run := line[:len(line)-len(strings.TrimLeft(line, mark))]; len(run) >= 3 && len(run) < 100 {
			return run
		}
	}
	return ""
}

// artifactList is what GITHUB_ARTIFACTS was given so far.
type artifactList struct {
	lines map[string]string // by base name
	bytes int
}

// digested is what the runner takes for a container image.
var digested = regexp.MustCompile(`@sha(256|384|512):[0-9a-fA-F]+$`)

// Artifacts names files to the runner, which attests them in a later step
// (actions/attest). Each is a path of a regular file below the workspace, relative to
// it. All are named or none: a base name that is there twice, for different files, is
// an error, since it is what the runner knows a file by. Without the variable
// GITHUB_ARTIFACTS it does nothing.
func (w *Workflow) Artifacts(paths []string) error {
	const variable = "GITHUB_ARTIFACTS"
	if w.getenv(variable) == "" || len(paths) == 0 {
		return nil
	}
	if err := w.checkFiles(paths); err != nil {
		return fmt.Errorf("listing artifacts: %w", err)
	}
	err := w.appendTo(variable, func(*os.File) (string, error) { return w.artifacts.add(paths) })
	if err != nil {
		return fmt.Errorf("listing artifacts: %w", err)
	}
	return nil
}

// checkFiles sees whether paths are files below the workspace: one that is not fails
// the step after it has ended.
func (w *Workflow) checkFiles(paths []string) error {
	root, err := os.OpenRoot(w.getenv("GITHUB_WORKSPACE"))
	if err != nil {
		return fmt.Errorf("opening the workspace: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range paths {
		if err := checkArtifactPath(name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		info, err := root.Stat(name)
		if err == nil && !info.Mode().IsRegular() {
			err = errNotRegular
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func checkArtifactPath(name string) error {
	switch {
	case filepath.IsAbs(name) || !filepath.IsLocal(name) || path.Clean(name) != name:
		return fmt.Errorf("has to be a clean path relative to the workspace")
	case !utf8.ValidString(name) || strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7F }) >= 0:
		return fmt.Errorf("has characters that the runner's list of artifacts cannot hold")
	case strings.TrimSpace(name) != name || strings.HasPrefix(name, "#"):
		return fmt.Errorf("starts or ends with a character that the runner's list of artifacts cannot hold")
	case strings.Contains(name, "="):
		return fmt.Errorf("has a '=', which the runner's list of artifacts cannot hold")
	case digested.MatchString(name):
		return fmt.Errorf("looks like a container image to the runner")
	}
	return nil
}

// add takes in paths and returns the lines of those that are new.
func (l *artifactList) add(paths []string) (string, error) {
	added := map[string]string{}
	var b strings.Builder
	for _, name := range paths {
		base := path.Base(name)
		other, there := l.lines[base]
		if !there {
			other, there = added[base]
		}
		if there && other != name {
			return "", fmt.Errorf("%q and %q have the same name", other, name)
		}
		if !there {
			added[base] = name
			b.WriteString(name + "\n")
		}
	}
	if n := len(l.lines) + len(added); n > MaxArtifacts {
		return "", fmt.Errorf("%d files; the runner takes up to %d", n, MaxArtifacts)
	}
	if n := l.bytes + b.Len(); n > MaxArtifactBytes {
		return "", fmt.Errorf("their paths have %d bytes; the runner takes up to %d", n, MaxArtifactBytes)
	}
	if l.lines == nil {
		l.lines = map[string]string{}
	}
	for base, name := range added {
		l.lines[base] = name
	}
	l.bytes += b.Len()
	return b.String(), nil
}

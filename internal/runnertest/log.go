package runnertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// A stream is what the runner does with the lines of both outputs.
type stream struct {
	mu       sync.Mutex
	relative func(string) string // of an annotation's file
	secrets  []string            // longest first
	stopped  string              // the token that ends stop-commands
	result   *Result
}

// read takes one of the outputs until it ends.
func (s *stream) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	lines.Split(scanLine)
	for lines.Scan() {
		s.line(lines.Text())
	}
	_, _ = io.Copy(io.Discard, r) // of a line that is too long
}

// scanLine ends a line at \n, \r or \r\n.
func scanLine(data []byte, atEOF bool) (int, []byte, error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF && len(data) > 0:
		return len(data), data, nil
	case i < 0:
		return 0, nil, nil
	case data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	case data[i] == '\r' && i+1 == len(data) && !atEOF:
		return 0, nil, nil // a \n may follow
	}
	return i + 1, data[:i], nil
}

func (s *stream) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Raw = append(s.result.Raw, text)
	names := known
	if s.stopped != "" {
		names = append(slices.Clone(known), strings.ToLower(s.stopped))
	}
	c, ok := parseCommand(text, names)
	switch {
	case !ok, s.stopped != "" && !strings.EqualFold(c.Name, s.stopped):
		s.show(text)
	case s.stopped != "":
		s.stopped = ""
		s.show(text)
	default:
		s.result.Commands = append(s.result.Commands, c)
		s.obey(c, text)
	}
}

// obey does what a command asks for.
func (s *stream) obey(c Command, text string) {
	r := s.result
	switch c.Name {
	case "stop-commands":
		s.stopped = c.Data
		s.show(text)
	case "add-mask":
		if strings.TrimSpace(c.Data) == "" {
			r.fail("can't add secret mask for empty string")
			return
		}
		s.mask(c.Data)
	case "error", "warning", "notice":
		a := annotation(c, s.relative)
		a.Message, a.Title = s.masked(a.Message), s.masked(a.Title)
		r.Annotations = append(r.Annotations, a)
		s.show("##[" + c.Name + "]" + a.Message)
	case "debug":
		r.Debug = append(r.Debug, s.masked(c.Data))
	case "group", "endgroup":
		s.show("##[" + c.Name + "]" + c.Data)
	case "set-output":
		r.Outputs[c.Properties["name"]] = c.Data
	case "save-state":
		r.State[c.Properties["name"]] = c.Data
	case "set-env", "add-path":
		r.fail("the command %q is disabled", c.Name)
	}
}

// show adds lines to the log as the runner shows it.
func (s *stream) show(text string) {
	s.result.Log = append(s.result.Log, s.masked(text))
}

// mask hides a secret, and each line of it, from now on.
func (s *stream) mask(secret string) {
	for _, part := range append([]string{secret}, splitLines(secret)...) {
		if part = strings.TrimSpace(part); part != "" && !slices.Contains(s.secrets, part) {
			s.secrets = append(s.secrets, part)
		}
	}
	slices.SortStableFunc(s.secrets, func(a, b string) int { return len(b) - len(a) })
}

func (s *stream) masked(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// fail notes what the runner says against the step, which then failed.
func (r *Result) fail(format string, args ...any) {
	r.Complaints = append(r.Complaints, fmt.Sprintf(format, args...))
}

package gha

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// MaxLine is how many bytes of a line are kept until its end comes. A longer line is
// written in pieces, each a line of its own.
const MaxLine = 64 << 10

// Log returns a writer to the step's log for the text of others. No line of it is a
// command, and no secret is in it that was masked before. The writer holds a line
// until its end, the next command or Flush; each has a line of its own, so that two
// streams need two writers. It never fails.
func (w *Workflow) Log() io.Writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &lineWriter{workflow: w}
	w.logs = append(w.logs, l)
	return l
}

// lineWriter writes whole lines.
type lineWriter struct {
	workflow *Workflow
	line     []byte // what there is of a line that has not ended
	begun    bool   // its beginning has been written
	carriage bool   // the last byte was a \r, and ended a line
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.workflow.mu.Lock()
	defer l.workflow.mu.Unlock()
	for rest := p; len(rest) > 0; {
		rest = l.take(rest)
	}
	return len(p), nil
}

// take adds to the line up to its end, or up to what it may hold, and returns what
// comes behind.
func (l *lineWriter) take(p []byte) []byte {
	if l.carriage && p[0] == '\n' {
		p = p[1:]
	}
	l.carriage = false
	end := bytes.IndexAny(p, "\r\n")
	text := p
	if end >= 0 {
		text = p[:end]
	}
	if limit := l.limit(); len(l.line)+len(text) > limit {
		n := limit - len(l.line)
		l.line = append(l.line, text[:n]...)
		if l.flush(); len(l.line) == limit { // nothing but secrets that overlap
			l.finish()
		}
		return p[n:]
	}
	l.line = append(l.line, text...)
	if end < 0 {
		return nil
	}
	l.carriage = p[end] == '\r'
	if len(l.line) > 0 || !l.begun {
		l.write(len(l.line))
	}
	l.begun = false
	return p[end+1:]
}

// limit is how many bytes the line may hold: room for a secret and more, so that each
// flush of a full line leaves room.
func (l *lineWriter) limit() int {
	longest := 0
	if texts := l.workflow.secrets.texts; len(texts) > 0 {
		longest = len(texts[0])
	}
	return max(MaxLine, 2*longest)
}

// flush writes what there is of a line as a line of its own, but for an end that may
// be the beginning of a secret or of a character.
func (l *lineWriter) flush() {
	n := l.workflow.secrets.cut(string(l.line))
	n -= unfinishedRune(l.line[:n])
	if n > 0 {
		l.write(n)
		l.begun = true
	}
}

// finish writes what there is of a line.
func (l *lineWriter) finish() {
	if len(l.line) > 0 {
		l.write(len(l.line))
		l.begun = true
	}
}

// write writes the first n bytes of the line.
func (l *lineWriter) write(n int) {
	s := &l.workflow.secrets
	text := visible(s.redact(string(l.line[:n])))
	_, _ = io.WriteString(&l.workflow.out, harmless(s.redact(text))+"\n") // a stickyWriter has no error
	l.line = append(l.line[:0], l.line[n:]...)
}

// unfinishedRune is the length of the character that text ends in the middle of.
func unfinishedRune(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			break
		}
	}
	return 0
}

package boot

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// failures are signs on the console that a boot has failed: the kernel's, Volant's
// agent's and the shims'. Without them a machine that has given up would be
// waited for until the time is over, since the agent halts without a word.
var failures = []string{
	"Kernel panic",
	"fatal error in pid1",
	"fatal: pid1 bootstrap",
	"INIT PANIC",
}

// agentSign is in the first line that the agent writes.
const agentSign = "kestrel"

// Limits of the console, in bytes.
const (
	maxConsole = 1 << 20 // of the text that is kept
	maxLine    = 8 << 10 // of a line that is looked at; a longer one is cut in pieces
)

type consoleOptions struct {
	log     io.Writer            // gets every byte, if set
	waitFor string               // text within a line, "" for none
	since   func() time.Duration // clock; nil for none
}

// console takes the output of a machine and looks for signs in it.
type console struct {
	consoleOptions
	failed  chan string   // gets the first line that tells of a failure
	matched chan struct{} // closed when waitFor was seen

	mu      sync.Mutex
	text    []byte
	line    []byte // the last one, still open
	agentAt time.Duration
	told    bool
	found   bool
	logErr  error
}

func newConsole(o consoleOptions) *console {
	return &console{consoleOptions: o, failed: make(chan string, 1), matched: make(chan struct{})}
}

// Write never fails: a machine must not stop because its log cannot be kept.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if len(c.text) > 2*maxConsole {
		c.text = bytes.Clone(c.text[len(c.text)-maxConsole:])
	}
	for rest := p; len(rest) > 0; {
		part, whole := rest, false
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			part, whole = rest[:i+1], true
		}
		if room := maxLine - len(c.line); len(part) >= room {
			part, whole = part[:room], true
		}
		rest = rest[len(part):]
		c.line = append(c.line, part...)
		c.look(whole)
		if whole {
			c.line = c.line[:0]
		}
	}
	if c.log != nil && c.logErr == nil {
		_, c.logErr = c.log.Write(p)
	}
	return len(p), nil
}

// look examines the line. A sign of failure counts once the line is whole, so
// that the reason is not cut off; the awaited text may be a prompt.
func (c *console) look(whole bool) {
	line := string(c.line)
	if !c.found && c.waitFor != "" && strings.Contains(line, c.waitFor) {
		c.found = true
		close(c.matched)
	}
	if c.since != nil && c.agentAt == 0 && strings.Contains(line, agentSign) && !strings.Contains(line, "Command line:") {
		c.agentAt = c.since()
	}
	if !whole || c.told {
		return
	}
	for _, sign := range failures {
		if strings.Contains(line, sign) {
			c.told = true
			c.failed <- strings.TrimSpace(line)
			return
		}
	}
}

// String returns what was shown, the last maxConsole bytes of it.
func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text[max(0, len(c.text)-maxConsole):])
}

// tail returns the last lines.
func (c *console) tail() string {
	const most, longest = 40, 500
	lines := strings.Split(strings.TrimSpace(c.String()), "\n")
	lines = lines[max(0, len(lines)-most):]
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if len(line) > longest {
			line = line[:longest] + "…"
		}
		lines[i] = "  | " + line
	}
	return strings.Join(lines, "\n")
}

// agent is when the agent first wrote something, 0 if it did not.
func (c *console) agent() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agentAt
}

// logError is why the log is not whole, nil if it is.
func (c *console) logError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logErr != nil {
		return fmt.Errorf("keeping the console's output: %w", c.logErr)
	}
	return nil
}

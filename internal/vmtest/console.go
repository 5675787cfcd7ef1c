package vmtest

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

// Signs on the console that a boot has failed: the kernel's, those of Volant's agent
// and the test agent's.
var failures = regexp.MustCompile(`(?m)^.*(Kernel panic|fatal error in pid1|fatal: pid1 bootstrap|INIT PANIC|testagent: fatal: |end Kernel panic|Attempted to kill init).*$`)

// console keeps the output of a machine, the last maxConsole bytes of it.
type console struct {
	also   io.Writer
	failed chan string // gets the first line that tells of a failure

	mu   sync.Mutex
	text []byte
	told bool
}

const maxConsole = 1 << 20

func newConsole(also io.Writer) *console {
	return &console{also: also, failed: make(chan string, 1)}
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if len(c.text) > 2*maxConsole {
		c.text = append([]byte(nil), c.text[len(c.text)-maxConsole:]...)
	}
	// Only whole lines count, so that the reason is not cut off.
	if whole := c.text[:bytes.LastIndexByte(c.text, '\n')+1]; !c.told {
		if line := failures.Find(whole); line != nil {
			c.told = true
			c.failed <- strings.TrimSpace(string(line))
		}
	}
	if c.also != nil {
		return c.also.Write(p)
	}
	return len(p), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// tail returns the last lines.
func (c *console) tail() string {
	lines := strings.Split(strings.TrimSpace(c.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

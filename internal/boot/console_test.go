package boot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConsoleTellsOfTheFirstFailure(t *testing.T) {
	tests := []struct {
		name  string
		parts []string
		want  string // "" for none
	}{
		{"a panic in pieces", []string{"all is well\nKernel pa", "nic - not syncing: VFS", ": no root\r\nmore\n", "fatal error in pid1\n"}, "Kernel panic - not syncing: VFS: no root"},
		{"the agent", []string{"2026/01/01 kestrel: fatal error in pid1: exec: \"nginx\": not found\r\n"}, "2026/01/01 kestrel: fatal error in pid1: exec: \"nginx\": not found"},
		{"the agent's start", []string{"fatal: pid1 bootstrap: mount\n"}, "fatal: pid1 bootstrap: mount"},
		{"the shim", []string{"INIT PANIC: no agent\n"}, "INIT PANIC: no agent"},
		{"a line that is not whole", []string{"ok\nKernel panic - not"}, ""},
		{"words of a workload", []string{"panic: runtime error\nfatal error\nkernel panic?\n"}, ""},
		{"a line without end", []string{strings.Repeat("x", maxLine-5) + "Kernel panic", strings.Repeat("y", maxLine) + "\n"}, ""},
		{"behind a line without end", []string{strings.Repeat("x", 3*maxLine) + "\nKernel panic\n"}, "Kernel panic"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newConsole(consoleOptions{})
			for _, part := range test.parts {
				fmt.Fprint(c, part)
			}
			got := ""
			select {
			case got = <-c.failed:
			default:
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			select {
			case got := <-c.failed:
				t.Errorf("told again: %q", got)
			default:
			}
		})
	}
}

func TestConsoleSeesTheAwaitedTextInAnOpenLine(t *testing.T) {
	for _, test := range []struct {
		parts []string
		want  bool
	}{
		{[]string{"starting\nlog", "in: "}, true},
		{[]string{"log\nin: "}, false},
		{[]string{"login: ", "login: \n", "login: "}, true},
	} {
		c := newConsole(consoleOptions{waitFor: "login:"})
		for _, part := range test.parts {
			fmt.Fprint(c, part)
		}
		seen := false
		select {
		case <-c.matched:
			seen = true
		default:
		}
		if seen != test.want {
			t.Errorf("%q: seen %v", test.parts, seen)
		}
	}
}

func TestConsoleKeepsTheEnd(t *testing.T) {
	c := newConsole(consoleOptions{})
	for i := range 400_000 {
		fmt.Fprintf(c, "line %d\r\n", i)
	}
	text := c.String()
	if len(text) != maxConsole || !strings.HasSuffix(text, "line 399999\r\n") {
		t.Errorf("%d bytes kept, ending %q", len(text), text[len(text)-20:])
	}
	tail := strings.Split(c.tail(), "\n")
	if len(tail) != 40 || tail[0] != "  | line 399960" || tail[39] != "  | line 399999" {
		t.Errorf("tail of %d lines from %q to %q", len(tail), tail[0], tail[len(tail)-1])
	}
	fmt.Fprintln(c, strings.Repeat("y", 10_000))
	if tail = strings.Split(c.tail(), "\n"); len(tail[39]) > 520 {
		t.Errorf("a line of %d bytes in the tail", len(tail[39]))
	}
}

func TestConsoleNotesTheAgentsFirstWord(t *testing.T) {
	at := time.Duration(0)
	c := newConsole(consoleOptions{since: func() time.Duration { at += time.Second; return at }})
	fmt.Fprint(c, "Command line: init=kestrel\nbooting\n")
	if got := c.agent(); got != 0 {
		t.Errorf("agent after %v", got)
	}
	fmt.Fprint(c, "kestrel: hello\nkestrel: again\n")
	if got := c.agent(); got != time.Second {
		t.Errorf("agent after %v", got)
	}
}

type full struct{ calls int }

func (f *full) Write([]byte) (int, error) {
	f.calls++
	return 0, errors.New("no space left")
}

func TestConsoleOutlivesItsLog(t *testing.T) {
	log := &full{}
	c := newConsole(consoleOptions{log: log, waitFor: "ready"})
	for _, s := range []string{"a\n", "ready\n"} {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	<-c.matched
	if err := c.logError(); log.calls != 1 || err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%d calls, error %v", log.calls, err)
	}
}

package tool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// A Command says what to run.
type Command struct {
	Argv   []string   // Argv[0] is a path, unless Path is given
	Path   string     // of the program, when Argv[0] is another name for it
	Dir    string     // where it runs; "" is where this process does
	Env    []string   // "NAME=value", besides LC_ALL and TZ, which it may replace
	Files  []*os.File // descriptors 3 and up of the program
	Stdout io.Writer  // called from one goroutine; nil discards
}

// A Process is a running program.
type Process struct {
	cmd    *exec.Cmd
	stderr tail
	done   chan struct{}
	err    error // set before done is closed
}

// An Error is a program that could not be run, or did not end well.
type Error struct {
	Argv   []string
	Err    error  // such as *exec.ExitError
	Stderr string // the end of it
}

func (e *Error) Error() string {
	text := fmt.Sprintf("running %s: %v", filepath.Base(e.Argv[0]), e.Err)
	if s := strings.TrimSpace(e.Stderr); s != "" {
		text += ": " + s
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// maxStderr is how much of standard error is kept, in bytes.
const maxStderr = 16 << 10

// pipeWait is how long the output is waited for after the program's end, when a
// child of it holds the other end.
const pipeWait = time.Second

// Start runs a program. Kill has to be called unless Done was seen closed.
func Start(c Command) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: cmp.Or(c.Path, c.Argv[0]), Args: c.Argv, Dir: c.Dir, Env: append([]string{"LC_ALL=C", "TZ=UTC"}, c.Env...),
		ExtraFiles: c.Files, Stdout: c.Stdout, Stderr: &p.stderr, WaitDelay: pipeWait, SysProcAttr: attributes(),
	}
	started := make(chan error)
	go func() {
		// The kernel sends the signal of attributes when the thread that started
		// the program ends, not the process. So the thread stays until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		if err := p.cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			p.err = &Error{Argv: c.Argv, Err: err, Stderr: p.stderr.String()}
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, &Error{Argv: c.Argv, Err: err}
	}
	return p, nil
}

// Done is closed when the program has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the program ended: nil if well, else an *Error. It is to be asked
// after Done.
func (p *Process) Err() error { return p.err }

// Stderr is the end of what the program has written to standard error. It is complete
// after Done.
func (p *Process) Stderr() string { return p.stderr.String() }

// Pid is the program's process number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the program and waits until it is gone. It may be called at any time
// and more than once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it is gone
	<-p.done
}

// Look finds a program. A name with a slash is a path; any other is searched in
// path, a list as in $PATH, whose relative elements are skipped.
func Look(name, path string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return name, executable(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if at := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(at) == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("looking for %s: %w", name, exec.ErrNotFound)
}

func executable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", name)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s: not executable", name)
	}
	return nil
}

// tail keeps the last maxStderr bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*maxStderr {
		t.text = append([]byte(nil), t.text[len(t.text)-maxStderr:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text[max(0, len(t.text)-maxStderr):])
}

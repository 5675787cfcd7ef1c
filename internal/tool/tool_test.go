package tool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is the program that is run, when its first argument says how.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if mode, ok := modes[os.Args[1]]; ok {
			mode()
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

var modes map[string]func()

func init() {
	modes = map[string]func(){
		"print": func() {
			in, err := io.ReadAll(os.Stdin)
			more, _ := io.ReadAll(os.NewFile(3, ""))
			fmt.Printf("%q %q %q %v %q", os.Args[2:], os.Environ(), in, err, more)
		},
		"where": func() {
			dir, err := os.Getwd()
			fmt.Print(filepath.Base(os.Args[0]), " ", dir, " ", err, " ", os.Getenv("TZ"), " ", os.Getenv("LC_ALL"))
		},
		"fail": func() {
			fmt.Fprintln(os.Stderr, strings.Repeat("x", 3*maxStderr), "the reason")
			os.Exit(3)
		},
		"hang": func() {
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			fmt.Println("hanging")
			time.Sleep(time.Minute)
		},
		// A parent that starts a program and waits to be killed.
		"parent": func() {
			p, err := Start(Command{Argv: self("hang")})
			fmt.Println(p.Pid(), err)
			time.Sleep(time.Minute)
		},
	}
}

func self(args ...string) []string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{path}, args...)
}

func TestProgramGetsArgumentsFilesAndAnEmptyEnvironment(t *testing.T) {
	t.Setenv("HIDDEN", "input")
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p, err := Start(Command{Argv: self("print", "a b", ""), Env: []string{"TMPDIR=/x"}, Files: []*os.File{f}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	if want := `["a b" ""] ["LC_ALL=C" "TZ=UTC" "TMPDIR=/x"] "" <nil> "content"`; out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
}

func TestProgramRunsInAnotherFolderUnderAnotherName(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p, err := Start(Command{Path: self()[0], Argv: []string{"name", "where"}, Dir: dir, Env: []string{"TZ=Asia/Kathmandu"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if want := "name " + dir + " <nil> Asia/Kathmandu C"; p.Err() != nil || out.String() != want {
		t.Errorf("it prints %q and ends with %v, want %q", out.String(), p.Err(), want)
	}
}

func TestErrorHoldsTheEndOfStandardError(t *testing.T) {
	p, err := Start(Command{Argv: self("fail")})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	var failed *Error
	if !errors.As(p.Err(), &failed) {
		t.Fatalf("error %v", p.Err())
	}
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) || exit.ExitCode() != 3 || len(failed.Stderr) != maxStderr || !strings.HasSuffix(failed.Stderr, "the reason\n") {
		t.Errorf("exit %v, %d bytes of standard error", exit, len(failed.Stderr))
	}
}

func TestStartTellsThatThereIsNoProgram(t *testing.T) {
	_, err := Start(Command{Argv: []string{"/none/program"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// lines hands on what is written to it line by line.
func lines(t *testing.T) (io.Writer, func() string) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = r.Close() })
	s := bufio.NewScanner(r)
	return w, func() string {
		s.Scan()
		return s.Text()
	}
}

func TestKillEndsWhatIgnoresSignals(t *testing.T) {
	w, next := lines(t)
	p, err := Start(Command{Argv: self("hang"), Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "hanging" {
		t.Fatalf("got %q", got)
	}
	if err := syscall.Kill(p.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if alive(p.Pid()) {
		t.Error("it still runs")
	}
	p.Kill()
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return !slices.Contains([]string{"Z", "X"}, fields[0])
}

func linux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: only Linux ends a program with its parent")
	}
}

func TestProgramDiesWithItsParent(t *testing.T) {
	linux(t)
	argv := self("parent")
	parent := exec.Command(argv[0], argv[1:]...)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil || !alive(pid) {
		t.Fatalf("%q: no program", line)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the program outlives its parent")
		}
	}
}

// A goroutine that is locked to its thread when it returns takes the thread with
// it, unless that is the process's first.
func TestProgramOutlivesTheThreadThatAskedForIt(t *testing.T) {
	linux(t)
	const threads = 3
	type start struct {
		process *Process
		thread  int
	}
	started, release := make(chan start), make(chan struct{})
	for range threads {
		go func() {
			runtime.LockOSThread()
			p, err := Start(Command{Argv: self("hang")})
			if err != nil {
				t.Error(err)
			}
			started <- start{p, syscall.Gettid()}
			<-release
		}()
	}
	var all []start
	for range threads {
		s := <-started
		defer s.process.Kill()
		all = append(all, s)
	}
	close(release)
	for _, s := range all {
		if s.thread != os.Getpid() {
			waitGone(t, fmt.Sprintf("/proc/self/task/%d", s.thread))
		}
	}
	time.Sleep(100 * time.Millisecond) // a signal is sent by then; its effect takes time
	for _, s := range all {
		select {
		case <-s.process.Done():
			t.Errorf("it ended: %v", s.process.Err())
		default:
		}
	}
}

func waitGone(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(name); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", name)
		}
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, mode := range map[string]os.FileMode{"a/program": 0o644, "b/program": 0o755, "c/program": 0o755} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	list := func(dirs ...string) string { return strings.Join(dirs, string(filepath.ListSeparator)) }
	at := func(name string) string { return filepath.Join(dir, name) }
	tests := []struct {
		name, path, want string
		ok               bool
	}{
		{"program", list("", "b", at("none"), at("a"), at("c"), at("b")), at("c/program"), true},
		{"program", list("", "b", at("a")), "", false},
		{"program", "", "", false},
		{"b/program", "", "b/program", true},
		{"a/program", at("b"), "a/program", false},
		{at("none"), "", at("none"), false},
		{at("a"), "", at("a"), false},
	}
	for _, test := range tests {
		got, err := Look(test.name, test.path)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("Look(%q, %q) = %q, %v", test.name, test.path, got, err)
		}
	}
	if _, err := Look("program", ""); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// measureArg makes bench run one program and tell what that used. A process of its own
// does it because the kernel counts the memory of the process that starts a program as
// the program's: the peak cannot be told below that, and a fresh process is small.
const measureArg = "measure-one"

// measured runs argv and writes a sample to file descriptor 3. It returns the exit code.
func measured(argv []string) int {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		fmt.Fprintln(os.Stderr, "no resource usage on this system")
		return 1
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	s := sample{cpu.Seconds(), wall.Seconds(), float64(usage.Maxrss) / 1024}
	if err := json.NewEncoder(os.NewFile(3, "result")).Encode(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// measure runs a program in dir and returns what it used and printed.
func measure(ctx context.Context, dir string, argv []string) (sample, []byte, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, nil, err
	}
	result, to, err := os.Pipe()
	if err != nil {
		return sample{}, nil, err
	}
	defer result.Close()
	defer to.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{measureArg}, argv...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "TMPDIR="+dir)
	cmd.ExtraFiles = []*os.File{to}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return sample{}, nil, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, stderr.Bytes())
	}
	var s sample
	return s, stdout.Bytes(), json.NewDecoder(result).Decode(&s)
}

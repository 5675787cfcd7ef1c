package dockertest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// programs are what a daemon is made of.
var programs = []string{"docker", "dockerd", "containerd", "runc"}

// Docker is a running daemon.
type Docker struct {
	Dir    string // folder of everything that the daemon keeps
	Socket string // path of its socket

	client string // path of the docker program
	images images
}

// daemon is the one of this process.
var daemon struct {
	sync.Mutex
	main   bool // Main runs
	docker *Docker
	err    error
	end    func() error
}

// Main runs the tests and ends the daemon, if one was started. Its result is for
// os.Exit.
func Main(m *testing.M) int {
	if dir := os.Getenv(superviseVar); dir != "" {
		return supervise(dir)
	}
	daemon.Lock()
	daemon.main = true
	daemon.Unlock()
	code := m.Run()
	daemon.Lock()
	defer daemon.Unlock()
	if daemon.end != nil {
		if err := daemon.end(); err != nil {
			fmt.Fprintln(os.Stderr, "dockertest:", err)
			code = cmp.Or(code, 1)
		}
	}
	return code
}

// Start returns the daemon that the tests of this process share.
func Start(t testing.TB) *Docker {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: starts a Docker daemon; not with -short")
	}
	if runtime.GOOS != "linux" {
		testneed.Missing(t, "docker", "Docker runs on Linux alone")
	}
	if os.Getuid() != 0 {
		testneed.Missing(t, "docker", "starting a Docker daemon needs root")
	}
	for _, name := range programs {
		if _, err := testneed.Look(name); err != nil {
			testneed.Missing(t, "docker", name+" not found")
		}
	}
	daemon.Lock()
	defer daemon.Unlock()
	if !daemon.main {
		t.Fatal("TestMain has to call dockertest.Main")
	}
	if daemon.docker == nil && daemon.err == nil {
		daemon.docker, daemon.end, daemon.err = start()
	}
	if daemon.err != nil {
		testneed.Missing(t, "docker", daemon.err.Error())
	}
	return daemon.docker
}

// Env is the environment in which a docker client talks to the daemon, and knows no
// other and no user's configuration.
func (d *Docker) Env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.Dir, "LC_ALL=C",
		"DOCKER_HOST=unix://" + d.Socket, "DOCKER_CONFIG=" + filepath.Join(d.Dir, "client"), "DOCKER_BUILDKIT=0",
	}
}

// Command is a docker client's command that talks to the daemon.
func (d *Docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.client, args...)
	cmd.Env = d.Env()
	return cmd
}

// Run runs a docker client's command and returns what it prints on standard output,
// without the last newline. The test ends if it fails.
func (d *Docker) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := d.run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (d *Docker) run(ctx context.Context, args ...string) (string, error) {
	return output(d.Command(ctx, args...))
}

// output runs a command. Its error has what the command said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := append(tail(stdout.Bytes()), tail(stderr.Bytes())...)
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...), " "), err, said)
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// tail is the end of a program's output.
func tail(text []byte) []byte {
	const most = 8 << 10 // bytes
	return text[max(0, len(text)-most):]
}

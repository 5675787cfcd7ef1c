package dockertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

// superviseVar names the folder in the environment of the process that watches over
// the daemon.
const superviseVar = "FLEDGE_DOCKERTEST_SUPERVISE"

const (
	startPatience = time.Minute      // for a daemon to answer; it takes about a second
	endPatience   = 20 * time.Second // for a daemon to end its containers and itself
)

// ready is what the supervisor prints when the daemon answers.
const ready = "ready"

// start starts a supervisor and waits for its daemon. end returns when nothing is left.
func start() (d *Docker, end func() error, err error) {
	dir, err := os.MkdirTemp("", "fledge-docker")
	if err != nil {
		return nil, nil, err
	}
	client, err := testneed.Look("docker")
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), superviseVar+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's ^C is not for it
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end = func() error {
		_ = hold.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("ending the Docker daemon: %w: %s", err, tail(stderr.Bytes()))
		}
		return nil
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if strings.TrimSpace(line) != ready {
		return nil, nil, fmt.Errorf("starting a Docker daemon: %w", errors.Join(errors.New(strings.TrimSpace(line)), end()))
	}
	return &Docker{Dir: dir, Socket: filepath.Join(dir, "docker.sock"), client: client}, end, nil
}

// supervise starts a daemon in dir, and ends it when standard input is closed. It
// returns the process's exit code.
func supervise(dir string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	runtime.LockOSThread() // what is started dies with this thread
	parts, err := launch(dir)
	if err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", " | "))
	} else {
		fmt.Println(ready)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the tests' process is gone
	}
	if err := finish(dir, parts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// launch starts containerd and dockerd and waits until the second answers. What it
// started is returned in any case.
func launch(dir string) ([]*exec.Cmd, error) {
	if err := configure(dir); err != nil {
		return nil, err
	}
	containerd := filepath.Join(dir, "containerd.sock")
	var parts []*exec.Cmd
	for _, c := range []struct {
		name   string
		args   []string
		socket string
		path   string // of a page that answers; "" when the socket is all
	}{
		{"containerd", []string{"--config", filepath.Join(dir, "containerd.toml")}, containerd, ""},
		{"dockerd", []string{"--config-file", filepath.Join(dir, "dockerd.json"), "--containerd", containerd}, filepath.Join(dir, "docker.sock"), "/_ping"},
	} {
		path, err := testneed.Look(c.name)
		if err != nil {
			return parts, err
		}
		cmd := exec.Command(path, c.args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + filepath.Dir(path), "HOME=" + dir, "TMPDIR=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
		log, err := os.Create(filepath.Join(dir, c.name+".log"))
		if err != nil {
			return parts, err
		}
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
		_ = log.Close() // the program has it now
		if err != nil {
			return parts, err
		}
		parts = append(parts, cmd)
		if err := answers(c.socket, c.path, cmd.Process.Pid); err != nil {
			said, _ := os.ReadFile(log.Name())
			return parts, fmt.Errorf("%s: %w: %s", c.name, err, tail(said))
		}
	}
	return parts, nil
}

// configure writes the configurations. The daemon takes nothing from /etc and changes
// nothing of the machine's network.
func configure(dir string) error {
	docker, err := json.Marshal(map[string]any{
		"hosts":            []string{"unix://" + filepath.Join(dir, "docker.sock")},
		"data-root":        filepath.Join(dir, "data"),
		"exec-root":        filepath.Join(dir, "exec"),
		"pidfile":          filepath.Join(dir, "dockerd.pid"),
		"bridge":           "none",
		"iptables":         false,
		"ip6tables":        false,
		"ip-forward":       false,
		"ip-masq":          false,
		"userland-proxy":   false,
		"exec-opts":        []string{"native.cgroupdriver=cgroupfs"},
		"features":         map[string]bool{"containerd-snapshotter": false},
		"shutdown-timeout": 3, // seconds
		"log-level":        "warn",
	})
	if err != nil {
		return err
	}
	containerd := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = %q
[debug]
level = "warn"
`, filepath.Join(dir, "containerd"), filepath.Join(dir, "containerd-state"), filepath.Join(dir, "containerd.sock"))
	for name, text := range map[string]string{"dockerd.json": string(docker), "containerd.toml": containerd} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(dir, "client"), 0o700)
}

// answers waits until a program listens on a socket and answers there.
func answers(socket, path string, pid int) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	for deadline := time.Now().Add(startPatience); ; time.Sleep(20 * time.Millisecond) {
		err := answersNow(client, dial, path)
		if err == nil {
			return nil
		}
		if zombie(pid) {
			return errors.New("it ended")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer after %v: %w", startPatience, err)
		}
	}
}

func answersNow(client *http.Client, dial func(ctx context.Context, _, _ string) (net.Conn, error), path string) error {
	if path == "" {
		conn, err := dial(context.Background(), "", "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	answer, err := client.Get("http://docker" + path)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, answer.Status)
	}
	return nil
}

// zombie tells whether a child has ended and was not waited for.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// finish ends what launch started, last first, and removes the folder.
func finish(dir string, parts []*exec.Cmd) error {
	slices.Reverse(parts) // dockerd ends its containers by containerd
	for _, cmd := range parts {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		killer := time.AfterFunc(endPatience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // however it ends
		killer.Stop()
	}
	for _, pid := range remaining(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for range 50 {
		unmount(dir)
		if err := os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return os.RemoveAll(dir)
}

// remaining are the processes that a daemon left which could not end itself: the shims
// of its containers, which have the folder's name in their arguments, and what they run.
func remaining(dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		arguments, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if !bytes.HasPrefix(arguments, []byte("/")) || !bytes.Contains(arguments, []byte(dir+"/")) || !bytes.Contains(arguments, []byte("containerd-shim")) {
			continue
		}
		threads, _ := filepath.Glob(filepath.Join("/proc", e.Name(), "task/*/children"))
		for _, file := range threads {
			children, _ := os.ReadFile(file)
			for child := range strings.FieldsSeq(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					pids = append(pids, pid)
				}
			}
		}
		pids = append(pids, pid)
	}
	return pids
}

// unmount takes away what is mounted below dir, innermost first.
func unmount(dir string) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(string(text), "\n")
	for _, line := range slices.Backward(lines) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}

//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// manifest is what of a plugin manifest matters in the guest.
type manifest struct {
	Name     string   `json:"name"`
	Workload workload `json:"workload"`
	Health   struct {
		Endpoint  string `json:"endpoint"`
		TimeoutMS int64  `json:"timeout_ms"`
	} `json:"health_check"`
}

type workload struct {
	Type       string            `json:"type"`
	Entrypoint []string          `json:"entrypoint"`
	BaseURL    string            `json:"base_url"`
	Env        map[string]string `json:"env"`
	Workdir    string            `json:"workdir"`
}

// decodeManifest reads base64url of JSON, compressed with gzip or not.
func decodeManifest(value string) (*manifest, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if len(m.Workload.Entrypoint) == 0 {
		return nil, errors.New("workload.entrypoint is empty")
	}
	return &m, nil
}

// start runs the workload as it is written: a bare program name is looked up in the
// agent's own PATH, and process 1 has none.
func start(w workload) (*os.Process, error) {
	program, err := exec.LookPath(w.Entrypoint[0])
	if err != nil {
		return nil, err
	}
	env := os.Environ()
	for k, v := range w.Env {
		env = append(env, k+"="+v)
	}
	return os.StartProcess(program, w.Entrypoint, &os.ProcAttr{
		Dir:   w.Workdir,
		Env:   env,
		Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// reap collects ended processes, as is process 1's task, until the workload ends.
func reap(p *os.Process) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for processes: %w", err)
		}
		switch {
		case pid != p.Pid:
		case status.Exited():
			return fmt.Errorf("the workload ended with exit code %d", status.ExitStatus())
		case status.Signaled():
			return fmt.Errorf("the workload ended by the signal %v", status.Signal())
		}
	}
}

// Times of the agent in service, which stretches short limits.
const (
	probeInterval = 50 * time.Millisecond
	shortestLimit = 2 * time.Minute
)

// waitHealthy probes until the endpoint answers with 2xx. Without an endpoint the
// workload counts as healthy.
func waitHealthy(m *manifest) error {
	if m.Health.Endpoint == "" {
		return nil
	}
	limit := max(time.Duration(m.Health.TimeoutMS)*time.Millisecond, shortestLimit)
	url := strings.TrimRight(m.Workload.BaseURL, "/") + "/" + strings.TrimLeft(m.Health.Endpoint, "/")
	client := http.Client{Timeout: 5 * time.Second}
	var last error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(probeInterval) {
		if last = probe(&client, url); last == nil {
			return nil
		}
	}
	return fmt.Errorf("probing %s for %v: %w", url, limit, last)
}

func probe(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("answer is %s", answer.Status)
	}
	return nil
}

// serve answers /healthz with what the agent knows about the machine.
func serve(m *manifest, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		var fs unix.Statfs_t
		_ = unix.Statfs("/", &fs)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"status": "ok", "plugin": m.Name, "free_bytes": fs.Bfree * uint64(fs.Bsize),
		})
	})
	server := http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(listener)
}

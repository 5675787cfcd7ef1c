package vmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

func TestBootStartsTheWorkloadAsWritten(t *testing.T) {
	m := newMachine(t)
	before := digest(t, m.config.Artifact)
	vm, err := Boot(t.Context(), m.config)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	answer, err := vm.Get(t.Context(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Argv, Env []string
		Dir       string
	}
	if err := json.Unmarshal([]byte(answer.Body), &got); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/usr/bin/workload", "", "two words", "Ω"}; !slices.Equal(got.Argv, want) {
		t.Errorf("argv %q, want %q", got.Argv, want)
	}
	if !slices.Contains(got.Env, "SET=a b=c") || got.Dir != "/srv" {
		t.Errorf("env %q, dir %q", got.Env, got.Dir)
	}
	if slices.ContainsFunc(got.Env, func(s string) bool { return strings.HasPrefix(s, "PATH=") }) {
		t.Errorf("env %q: process 1 has a PATH", got.Env)
	}
	health, err := vm.GetAgent(t.Context(), "/healthz")
	if err != nil || health.Status != 200 {
		t.Errorf("agent: %+v, %v", health, err)
	}
	vm.Close()
	if digest(t, m.config.Artifact) != before {
		t.Error("the image has changed")
	}
	if _, err := vm.Get(t.Context(), "/"); err == nil {
		t.Error("the machine answers after Close")
	}
}

// What does not boot in Volant must not boot here, and must say why.
func TestBootFailsEarly(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *machine)
		want   string // in the error
	}{
		{"a program without a path", func(_ *testing.T, m *machine) { m.workload["entrypoint"] = []string{"workload"} }, "executable file not found in $PATH"},
		{"a folder that is not there", func(_ *testing.T, m *machine) { m.workload["workdir"] = "/none" }, "no such file or directory"},
		{"no room for the agent", func(t *testing.T, m *machine) { m.fill(t) }, "no space left on device"},
		{"no filesystem", func(t *testing.T, m *machine) { m.garble(t) }, "mounting /dev/vda as ext4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			test.change(t, m)
			m.write(t)
			begin := time.Now()
			vm, err := Boot(t.Context(), m.config)
			if err == nil {
				vm.Close()
				t.Fatal("it boots")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q in it", err, test.want)
			}
			if took := time.Since(begin); took >= patience {
				t.Errorf("it was waited for until the time was over: %v", took)
			}
		})
	}
}

func TestBootStopsWithItsContext(t *testing.T) {
	m := newMachine(t)
	m.workload["base_url"] = "http://127.0.0.1:9" // nobody listens there
	m.write(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	vm, err := Boot(ctx, m.config)
	if err == nil {
		vm.Close()
		t.Fatal("it boots")
	}
	if !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("error %v", err)
	}
}

// machine is a small image with one program, and its manifest.
type machine struct {
	config   Config
	workload map[string]any
	size     string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: boots a machine; not with -short")
	}
	testneed.Tool(t, Program, "mke2fs")
	dir := t.TempDir()
	kernel, err := Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	m := &machine{
		config: Config{Artifact: filepath.Join(dir, "a,b.img"), Kernel: kernel, Agent: filepath.Join(dir, "agent"), Scratch: dir},
		workload: map[string]any{
			"type": "http", "base_url": "http://127.0.0.1:8000", "workdir": "/srv",
			"entrypoint": []string{"/usr/bin/workload", "", "two words", "Ω"},
			"env":        map[string]string{"SET": "a b=c"},
		},
		size: "48M",
	}
	if err := BuildAgent(t.Context(), m.config.Agent); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"usr/bin", "srv"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "usr/bin/workload"), "./testworkload")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.makeImage(t)
	m.write(t)
	return m
}

func (m *machine) makeImage(t *testing.T) {
	t.Helper()
	mke2fs, _ := testneed.Look("mke2fs")
	root := filepath.Join(m.config.Scratch, "root")
	cmd := exec.CommandContext(t.Context(), mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-d", root, m.config.Artifact, m.size)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fill leaves no room for the agent.
func (m *machine) fill(t *testing.T) {
	t.Helper()
	ballast := bytes.Repeat([]byte("ballast "), 30<<17)
	if err := os.WriteFile(filepath.Join(m.config.Scratch, "root/ballast"), ballast, 0o600); err != nil {
		t.Fatal(err)
	}
	m.makeImage(t)
}

// garble leaves nothing of the superblock but the sign that it is one.
func (m *machine) garble(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(m.config.Artifact, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	copy(block[1024+0x38:], "\x53\xef")
	if _, err := f.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
}

// write makes the manifest fit to the image.
func (m *machine) write(t *testing.T) {
	t.Helper()
	manifest, err := json.Marshal(map[string]any{
		"schema_version": "1.0", "name": "small", "version": "1", "runtime": "small", "enabled": true,
		"rootfs":    map[string]string{"url": m.config.Artifact, "checksum": "sha256:" + digest(t, m.config.Artifact), "format": "raw"},
		"resources": map[string]int{"cpu_cores": 1, "memory_mb": 256},
		"workload":  m.workload,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.config.Manifest = manifest
}

func digest(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

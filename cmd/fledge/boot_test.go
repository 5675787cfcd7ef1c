package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/qemutest"
)

// makePlugin makes an initramfs artifact with its manifest, and what is taken for a
// kernel.
func makePlugin(t testing.TB, dir string) {
	t.Helper()
	var archive bytes.Buffer
	for _, r := range []struct{ name, body string }{{"init", string(executable())}, {"TRAILER!!!", ""}} {
		fmt.Fprintf(&archive, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", 1, 0o100755, 0, 0, 1, 0, len(r.body), 0, 0, 0, 0, len(r.name)+1, 0, r.name)
		archive.Write(make([]byte, (4-(110+len(r.name)+1)%4)%4))
		archive.WriteString(r.body)
		archive.Write(make([]byte, (4-len(r.body)%4)%4))
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(archive.Bytes())
	_ = w.Close()
	kernel := make([]byte, 0x400)
	copy(kernel[0x1fe:], "\x55\xaa")
	copy(kernel[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(kernel[0x236:], 1)
	manifest := fmt.Sprintf(`{
  "schema_version": "1.0", "name": "web", "version": "1", "runtime": "web", "enabled": true,
  "initramfs": {"url": "/srv/web.cpio.gz", "checksum": "sha256:%x"},
  "resources": {"cpu_cores": 1, "memory_mb": 64},
  "workload": {"type": "http", "entrypoint": ["/bin/web"], "base_url": "http://127.0.0.1:8000"},
  "health_check": {"endpoint": "/up", "timeout_ms": 1000}
}`, sha256.Sum256(packed.Bytes()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"web.cpio.gz": packed.Bytes(), "vmlinuz": kernel, "manifest.json": []byte(manifest)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// booting starts "fledge boot" on a machine that never answers, and returns when
// it runs, with the machine's process number.
func booting(t *testing.T, temp string) (*exec.Cmd, *bytes.Buffer, int) {
	t.Helper()
	dir := t.TempDir()
	makePlugin(t, dir)
	cmd := command(t, dir, "boot", "web.cpio.gz", "--kernel", "vmlinuz", "--kernel-cmdline", "fake=hang", "--console", "console.log")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, qemutest.Program)); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "PATH="+bin, "TMPDIR="+temp)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(dir, "console.log"))
		if match := regexp.MustCompile(`pid ([0-9]+)\r`).FindSubmatch(text); match != nil {
			pid, err := strconv.Atoi(string(match[1]))
			if err != nil {
				t.Fatal(err)
			}
			return cmd, &output, pid
		}
	}
	t.Fatalf("no machine: %s", output.String())
	return nil, nil, 0
}

// The machine ignores every signal that can be ignored.
func TestInterruptedBootLeavesNothing(t *testing.T) {
	tests := []struct {
		signal syscall.Signal
		code   int // -1 for a process that was killed
	}{
		{syscall.SIGINT, 130}, {syscall.SIGTERM, 130}, {syscall.SIGHUP, 130}, {syscall.SIGKILL, -1},
	}
	for _, test := range tests {
		t.Run(test.signal.String(), func(t *testing.T) {
			if test.signal == syscall.SIGKILL && runtime.GOOS != "linux" {
				t.Skip("SKIP: only Linux ends QEMU with a killed fledge")
			}
			temp := t.TempDir()
			cmd, output, pid := booting(t, temp)
			if err := cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, output.String())
			}
			if test.code == 130 && !strings.Contains(output.String(), "fledge: interrupted; nothing was written or left running\n") {
				t.Errorf("output %q", output.String())
			}
			if strings.Contains(output.String(), "PASS") {
				t.Errorf("output %q", output.String())
			}
			for deadline := time.Now().Add(10 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("the machine still runs")
				}
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// running tells whether a process exists and is no zombie.
func running(pid int) bool {
	if runtime.GOOS != "linux" {
		return syscall.Kill(pid, 0) == nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

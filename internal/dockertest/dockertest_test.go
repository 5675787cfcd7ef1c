package dockertest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestAContainerHasNoNetworkButLoopback(t *testing.T) {
	d := Start(t)
	out := d.Run(t, "run", "--rm", d.Busybox(t), "sh", "-c", "id -u; ls /sys/class/net; cat /proc/net/route | wc -l")
	if out != "0\nlo\n1" {
		t.Errorf("it printed %q", out)
	}
}

func TestAnImportHasWhatWasPutIn(t *testing.T) {
	d := Start(t)
	d.Import(t, "fledge-test/import:1", func(l *Layer) {
		l.Busybox()
		l.File("a/b", 0o640, []byte("text"))
		l.Folder("c", 0o1777)
		l.Link("d", "a/b")
	}, `ENTRYPOINT ["/bin/sh", "-c"]`, "ENV X=y")
	if out := d.Run(t, "run", "--rm", "fledge-test/import:1", "cat /d; stat -c ' %a' /a/b /c; echo $X"); out != "text 640\n 1777\ny" {
		t.Errorf("it printed %q", out)
	}
	if err := d.put(t.Context(), "fledge-test/import:2", func(l *Layer) { l.copy("x", "/nonexistent") }); err == nil || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("importing a file that is not there: %v", err)
	}
}

// TestNothingIsLeftOfTestsThatWereKilled kills a process of tests with a container that
// ignores signals.
func TestNothingIsLeftOfTestsThatWereKilled(t *testing.T) {
	const child = "FLEDGE_TEST_DOCKER_CHILD"
	if os.Getenv(child) != "" {
		d := Start(t)
		d.Run(t, "run", "-d", d.Busybox(t), "sh", "-c", "trap '' TERM INT; while true; do sleep 1; done")
		fmt.Println("\n" + d.Dir)
		select {}
	}
	Start(t) // or skip
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, lines := "", bufio.NewScanner(stdout)
	for dir == "" && lines.Scan() {
		if strings.Contains(lines.Text(), "fledge-docker") {
			dir = lines.Text()
		}
	}
	if dir == "" || len(holders(t, dir)) < 4 { // supervisor, containerd, dockerd, shim
		t.Fatalf("folder %q, processes %q", dir, holders(t, dir))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, err := os.Lstat(dir)
		left := holders(t, dir)
		if os.IsNotExist(err) && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v, %q", err, left)
		}
	}
}

// holders are the processes that know of the folder.
func holders(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(files) == 0 {
		t.Fatal("no processes", err)
	}
	var found []string
	for _, proc := range files {
		argv, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(proc, "environ"))
		if bytes.Contains(argv, []byte(dir)) || bytes.Contains(env, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(argv, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func TestOnlyADigestIsCutOffTheDockerfile(t *testing.T) {
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	good := "FROM golang:1.26.8-bookworm" + digest + " AS build\nFROM scratch\n"
	if got, err := from(good, "base:1"); err != nil || got != "FROM base:1 AS build\nFROM scratch\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"FROM golang:1.26.8-bookworm AS build\n", good + good, "FROM golang:1.2.8-bookworm" + digest + " AS build\n"} {
		if got, err := from(bad, "base:1"); err == nil {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}

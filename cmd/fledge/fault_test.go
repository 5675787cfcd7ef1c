package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// command makes the test binary run as fledge in dir.
func command(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "fledge")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	return cmd
}

// project is a folder with a fledge.toml for the image and an agent.
func project(t testing.TB, image, more string) string {
	t.Helper()
	dir := t.TempDir()
	toml := fmt.Sprintf("version = \"1\"\nstrategy = \"oci_rootfs\"\n[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n[source]\nimage = %q\n%s", image, more)
	for name, content := range map[string]string{"fledge.toml": toml, "kestrel": string(executable())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names lists a folder, but for what project put there.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() != "fledge.toml" && e.Name() != "kestrel" {
			out = append(out, e.Name())
		}
	}
	return strings.Join(out, " ")
}

// held starts a build that hangs in the middle of a layer. The words of wrap, if
// any, run it.
func held(t *testing.T, wrap ...string) (cmd *exec.Cmd, dir string, output *bytes.Buffer) {
	t.Helper()
	im := nginx(t, false)
	r := ocitest.NewRegistry(t)
	ref := r.Push(t, "nginx:1.27", im)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	r.Add(ocitest.Fault{Path: "/blobs/" + ocitest.Digest(im.Blobs[0]), Hold: hold})
	dir = project(t, ref, "")
	cmd = command(t, dir, "build")
	if len(wrap) > 0 {
		cmd.Path, cmd.Args = wrap[0], slices.Concat(wrap, []string{cmd.Path}, cmd.Args[1:])
	}
	output = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(r.Seen("/blobs/"+ocitest.Digest(im.Blobs[0]))) == 0; {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("the layer was never asked for:\n%s", output)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return cmd, dir, output
}

func TestSignalsEndABuildAtOnce(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, dir, output := held(t)
			begun := time.Now()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the build went on for %v", took)
			}
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			if !strings.Contains(output.String(), "interrupted; nothing was written") {
				t.Errorf("output:\n%s", output)
			}
			if left := names(t, dir); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// TestIgnoredSignalsStayIgnored: nohup and a shell's background jobs rely on it.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	cmd, _, output := held(t, "/bin/sh", "-c", `trap "" HUP INT; exec "$@"`, "sh")
	for _, sig := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		t.Fatalf("the build ended:\n%s", output)
	case <-time.After(500 * time.Millisecond):
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

func TestAKilledBuildLeavesNothing(t *testing.T) {
	cmd, dir, _ := held(t)
	cmd.Process.Kill()
	cmd.Wait()
	if left := names(t, dir); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// tinyDisk is a disk of 2 MiB.
func tinyDisk(t *testing.T) string {
	t.Helper()
	testneed.Root(t)
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small).CombinedOutput(); err != nil {
		testneed.Missing(t, "loop", fmt.Sprintf("mount: %v: %s", err, out))
	}
	t.Cleanup(func() { exec.Command("umount", small).Run() })
	return small
}

// bigImage does not fit on it.
func bigImage(t *testing.T) *ocitest.Image {
	return ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
		ocitest.File("big", strings.Repeat("bytes that are not zero ", 200_000)),
	}}}})
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	small := tinyDisk(t)
	dir := project(t, "oci:layout:1", "[workload]\nentrypoint = [\"/big\"]\n")
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": bigImage(t)})
	cmd := command(t, dir, "build", "-o", filepath.Join(small, "x.img"), "--cache-dir", "none")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "no space left on device") {
		t.Errorf("build = %v\n%s", err, out)
	}
	if left := names(t, small); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestAFullTemporaryFolderIsNamed: an initramfs keeps its contents in a file that has
// no name.
func TestAFullTemporaryFolderIsNamed(t *testing.T) {
	small := tinyDisk(t)
	dir := project(t, "oci:layout:1", "busybox = false\n[workload]\nentrypoint = [\"/big\"]\n")
	edit := exec.Command("sed", "-i", "s/oci_rootfs/initramfs/", "fledge.toml")
	edit.Dir = dir
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("sed: %v: %s", err, out)
	}
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": bigImage(t)})
	cmd := command(t, dir, "build", "--cache-dir", "none")
	cmd.Env = append(cmd.Env, "TMPDIR="+small)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), fmt.Sprintf("%q: no space left on device", small)) || !strings.Contains(string(out), "set TMPDIR") {
		t.Errorf("build = %v\n%s", err, out)
	}
	if left := names(t, small) + names(t, dir); left != "layout" {
		t.Errorf("left behind: %s", left)
	}
}

func TestAFailedBuildKeepsTheOldOutput(t *testing.T) {
	r := ocitest.NewRegistry(t)
	good := r.Push(t, "nginx:1", nginx(t, false))
	dir := project(t, good, "[filesystem]\nsize_buffer_mb = 0\n")
	if out, err := command(t, dir, "build", "-o", "x.img").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	before := [2]string{read(t, dir, "x.img"), read(t, dir, "manifest.json")}
	r.Add(ocitest.Fault{Path: "/blobs/", Corrupt: true})
	cmd := command(t, dir, "build", "-o", "x.img")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "sha256:") {
		t.Errorf("build with corrupt blobs: %v\n%s", err, out)
	}
	if after := [2]string{read(t, dir, "x.img"), read(t, dir, "manifest.json")}; after != before {
		t.Error("the old output changed")
	}
	if left := names(t, dir); left != "manifest.json x.img" {
		t.Errorf("the folder holds %s", left)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestADamagedCacheIsNoticed flips a bit in each cached blob.
func TestADamagedCacheIsNoticed(t *testing.T) {
	ref := ocitest.NewRegistry(t).Push(t, "nginx:1", nginx(t, false))
	dir := project(t, ref, "[filesystem]\nsize_buffer_mb = 0\n")
	cacheDir := filepath.Join(t.TempDir(), "cache")
	build := func() string {
		out, err := command(t, dir, "build", "-o", "x.img", "--cache-dir", cacheDir).CombinedOutput()
		if err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		return string(out)
	}
	build()
	want := read(t, dir, "x.img")
	damaged := 0
	filepath.WalkDir(cacheDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)/2] ^= 1
		os.Chmod(path, 0o600)
		damaged++
		return os.WriteFile(path, b, 0o600)
	})
	if damaged == 0 {
		t.Fatal("nothing is in the cache")
	}
	if out := build(); !strings.Contains(out, "starting over") {
		t.Errorf("the damage was not reported:\n%s", out)
	}
	if read(t, dir, "x.img") != want {
		t.Error("the artifact has other bytes")
	}
	if out := build(); strings.Contains(out, "starting over") {
		t.Errorf("the cache was not mended:\n%s", out)
	}
}

// layoutProject is a project whose image is beside it.
func layoutProject(t *testing.T) string {
	t.Helper()
	dir := project(t, "oci:"+filepath.Join(t.TempDir(), "img"), "")
	toml, err := os.ReadFile(filepath.Join(dir, "fledge.toml"))
	if err != nil {
		t.Fatal(err)
	}
	_, image, _ := strings.Cut(string(toml), "oci:")
	image, _, _ = strings.Cut(image, "\"")
	ocitest.Layout(t, image, map[string]*ocitest.Image{"1": nginx(t, false)})
	return dir
}

// TestAResultThatCannotBePrinted says so, and not that nothing was written.
func TestAResultThatCannotBePrinted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testneed.Missing(t, "full", err.Error())
	}
	defer full.Close()
	dir := layoutProject(t)
	cmd := command(t, dir, "build")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = full, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "printing the result: write /dev/stdout: no space left on device") {
		t.Errorf("exit code %d:\n%s", code, &stderr)
	}
	if got := names(t, dir); got != "img.img manifest.json" {
		t.Errorf("the folder holds %q", got)
	}
}

// TestASignalWhileNobodyTakesTheResult ends the process, which does not claim
// that nothing was written.
func TestASignalWhileNobodyTakesTheResult(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(w.Fd()) // blocking from here on
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 4096); err == nil; {
		_, err = syscall.Write(fd, chunk)
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	dir := layoutProject(t)
	cmd := command(t, dir, "build", "-q")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); names(t, dir) != "img.img manifest.json"; {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("nothing was built:\n%s", &stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // until it prints
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "interrupted; everything was written") {
		t.Errorf("exit code %d:\n%s", code, &stderr)
	}
}

// TestAnOutputThatIsNoFileIsRefused and never opened: a FIFO would hold the build
// for ever, and a device has no end.
func TestAnOutputThatIsNoFileIsRefused(t *testing.T) {
	for _, name := range []string{"img.img", "manifest.json"} {
		for kind, put := range map[string]func(path string) error{
			"fifo":   func(path string) error { return syscall.Mkfifo(path, 0o644) },
			"folder": func(path string) error { return os.Mkdir(path, 0o755) },
			"device": func(path string) error { return os.Symlink("/dev/zero", path) },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				dir := layoutProject(t)
				if err := put(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				cmd := command(t, dir, "build")
				stop := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
				defer stop.Stop()
				out, _ := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "not a regular file") {
					t.Errorf("exit code %d:\n%s", code, out)
				}
				if got := names(t, dir); got != name {
					t.Errorf("the folder holds %q", got)
				}
			})
		}
	}
}

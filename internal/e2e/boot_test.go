package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

// A project is a folder with a fledge.toml that is built and booted.
type project struct {
	dir, artifact string
}

// copyExample copies one of examples/ into a scratch folder. What would come from
// the network is replaced: old must be there.
func copyExample(t *testing.T, name string, replace ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("../../examples", name))); err != nil {
		t.Fatal(err)
	}
	toml := filepath.Join(dir, "fledge.toml")
	b, err := os.ReadFile(toml)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the example's fledge.toml has no %q", replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	if err := os.WriteFile(toml, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What the examples write, and what stands for it here.
const (
	releaseAgent = "source_strategy = \"release\"\nversion = \"latest\""
	localAgent   = "source_strategy = \"local\"\npath = \"kestrel\""

	pinnedURL = "https://busybox.net/downloads/binaries/1.35.0-x86_64-linux-musl/busybox"
	pinnedSum = "6e123e7f3202a8c1e9b1f94d8941580a25135382b99e8d3e34fb858bba311348"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// goBuild builds a static program.
func goBuild(t *testing.T, dir, out, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, text)
	}
}

// buildAndBoot runs fledge build and fledge boot in a project's folder and returns
// what boot's --json says.
func buildAndBoot(t *testing.T, p project, flags ...string) map[string]any {
	t.Helper()
	testneed.Tool(t, vmtest.Program)
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	fledge := needProgram(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := func(args ...string) []byte {
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, fledge, args...)
		cmd.Dir, cmd.Stderr = p.dir, &stderr
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + os.TempDir()}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("fledge %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return out
	}
	run("build", "-q")
	out := run(append([]string{"boot", p.artifact, "--kernel", kernel, "--timeout", "3m", "--json"}, flags...)...)
	var result map[string]any
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("fledge boot prints %q: %v", out, err)
	}
	return result
}

func TestExampleGoWebserverBoots(t *testing.T) {
	busybox, sum := busyboxSum(t)
	dir := copyExample(t, "go-webserver", releaseAgent, localAgent, pinnedURL, busybox, pinnedSum, sum)
	copyFile(t, needAgent(t), filepath.Join(dir, "kestrel"))
	goBuild(t, "../../examples/go-webserver", filepath.Join(dir, "webserver"), ".")
	console := filepath.Join(dir, "console.log")
	buildAndBoot(t, project{dir, "go-webserver.cpio.gz"}, "--kernel-cmdline", "loglevel=7 printk.time=1", "--console", console)
	text, err := os.ReadFile(console)
	if err != nil {
		t.Fatal(err)
	}
	if wait := initToAgent(t, string(text)); wait > noWait {
		t.Errorf("the agent starts %v s after the init, which should not wait for anything", wait)
	}
}

// noWait is more than a slow machine needs from the start of fledge's init to that of
// the agent, and less than the 5 s for which the original waited for a disk; in seconds.
const noWait = 3

// initToAgent is the time that the guest's clock shows between the two, in seconds.
func initToAgent(t *testing.T, console string) float64 {
	t.Helper()
	init := regexp.MustCompile(`\[ *([0-9.]+)\] Run /init as init process`).FindStringSubmatch(console)
	agent := regexp.MustCompile(`testagent: started .* ([0-9.]+) s after the kernel`).FindStringSubmatch(console)
	if init == nil || agent == nil {
		t.Fatalf("the console does not tell of the starts:\n%s", console)
	}
	from, err := strconv.ParseFloat(init[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	to, err := strconv.ParseFloat(agent[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the init was started at %v s, the agent at %v s", from, to)
	return to - from
}

func TestExampleCustomInitBoots(t *testing.T) {
	busybox, sum := busyboxSum(t)
	dir := copyExample(t, "custom-init", pinnedURL, busybox, pinnedSum, sum)
	buildAndBoot(t, project{dir, "custom-init.cpio.gz"})
}

func TestExamplePythonFlaskBoots(t *testing.T) {
	archive := flaskArchive(t)
	dir := copyExample(t, "python-flask", releaseAgent, localAgent)
	copyFile(t, needAgent(t), filepath.Join(dir, "kestrel"))
	copyFile(t, archive, filepath.Join(dir, "image.tar"))
	buildAndBoot(t, project{dir, "python-flask.img"})
}

// flaskArchive makes what the example's Dockerfile would, from the distribution's
// packages.
func flaskArchive(t *testing.T) string {
	t.Helper()
	layout := needKind(t, Flask)
	dir := filepath.Join(t.TempDir(), "layout")
	if out, err := exec.Command("cp", "-a", layout.Dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	app, err := filepath.Abs("../../examples/python-flask/app.py")
	if err != nil {
		t.Fatal(err)
	}
	image := dir + ":" + layout.Tag
	archive := filepath.Join(t.TempDir(), "image.tar")
	for _, argv := range [][]string{
		{"umoci", "insert", "--image", image, app, "/app/app.py"},
		{
			"umoci", "config", "--image", image, "--clear", "config.entrypoint", "--clear", "config.exposedports",
			"--config.cmd", "python3", "--config.cmd", "/app/app.py", "--config.workingdir", "/app", "--config.exposedports", "5000/tcp",
		},
		{"tar", "-C", dir, "-cf", archive, "."},
	} {
		if err := run(t.Context(), io.Discard, nil, argv...); err != nil {
			t.Fatal(err)
		}
	}
	return archive
}

// needKind returns an image of a kind, from the cache if it is there.
func needKind(t *testing.T, kind Kind) Layout {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: makes an image; not with -short")
	}
	testneed.Root(t)
	testneed.Tool(t, Tools...)
	cache, err := testneed.CacheDir()
	if err != nil {
		cache = filepath.Join(scratch, "cache")
	}
	layout, err := Maker{Cache: cache, Log: io.Discard}.Image(context.Background(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// TestOwnInitBoots: with none = true the mapped /init is process 1 and all there is.
func TestOwnInitBoots(t *testing.T) {
	dir := t.TempDir()
	goBuild(t, ".", filepath.Join(dir, "my-init"), "github.com/volant/fledge-action/internal/vmtest/testworkload")
	toml := `version = "1"
strategy = "initramfs"
source.busybox = false
[init]
none = true
[initramfs]
compression = "none"
[mappings]
"my-init" = "/init"
[workload]
base_url = "http://127.0.0.1:8000"
[health_check]
endpoint = "/"
timeout_ms = 10000
`
	if err := os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	buildAndBoot(t, project{dir, "plugin.cpio"})
}

// TestInitramfsOfAnImageBoots: nginx from an image, in memory, packed with zstd.
func TestInitramfsOfAnImageBoots(t *testing.T) {
	layout := needKind(t, Demo)
	busybox, sum := busyboxSum(t)
	dir := t.TempDir()
	toml := fmt.Sprintf(`version = "1"
strategy = "initramfs"
[plugin]
name = "nginx"
[source]
image = %q
busybox_url = %q
busybox_sha256 = %q
[agent]
source_strategy = "local"
path = "kestrel"
[initramfs]
compression = "zstd"
level = 1
[mappings]
"site.conf" = "/etc/nginx/conf.d/"
"index.html" = "/var/www/html/"
[health_check]
endpoint = "/index.html"
timeout_ms = 10000
`, layout.Source(), busybox, sum)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(toml), 0o644),
		os.WriteFile(filepath.Join(dir, "site.conf"), []byte(site), 0o644),
		os.WriteFile(filepath.Join(dir, "index.html"), []byte(Page), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	copyFile(t, needAgent(t), filepath.Join(dir, "kestrel"))
	buildAndBoot(t, project{dir, "nginx.cpio.zst"})
}

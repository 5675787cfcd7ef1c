package boot_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/boot"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
	"github.com/volant/fledge-action/manifest"
)

// patience is for machines that share their processors with much else.
const patience = 5 * time.Minute

// lab is what booting a real kernel takes: QEMU, the kernel, the test agent and a
// workload.
type lab struct {
	qemu            string
	kernel          *boot.Kernel
	agent, workload []byte
}

func newReal(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: boots a machine; not with -short")
	}
	testneed.Tool(t, vmtest.Program)
	path, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	r := &lab{}
	if r.qemu, err = testneed.Look(vmtest.Program); err != nil {
		t.Fatal(err)
	}
	if r.kernel, err = boot.FindKernel(t.Context(), boot.KernelRequest{Path: path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.kernel.Close() })
	r.agent, r.workload = build(t, "testagent"), build(t, "testworkload")
	return r
}

func build(t *testing.T, program string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), program)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/volant/fledge-action/internal/vmtest/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plugin writes an artifact with its manifest and opens both.
func (r *lab) plugin(t *testing.T, medium string, artifact []byte, endpoint string) *boot.Plugin {
	t.Helper()
	dir := t.TempDir()
	path, checksum := filepath.Join(dir, "a,b"), fmt.Sprintf("sha256:%x", sha256.Sum256(artifact))
	m := &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Name: "web", Version: "1", Runtime: "web", Enabled: true,
		Resources: manifest.Resources{CPUCores: 1, MemoryMB: 256},
		Workload:  manifest.Workload{Type: manifest.WorkloadHTTP, Entrypoint: []string{"/usr/bin/workload"}, BaseURL: "http://127.0.0.1:8000"},
	}
	if endpoint != "" {
		m.HealthCheck = &manifest.HealthCheck{Endpoint: endpoint, TimeoutMS: 1000}
	}
	if medium == "rootfs" {
		m.Rootfs = &manifest.Rootfs{URL: "/srv/x", Checksum: checksum}
	} else {
		m.Initramfs = &manifest.Initramfs{URL: "/srv/x", Checksum: checksum}
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{path: artifact, filepath.Join(dir, "manifest.json"): text} {
		if err := os.WriteFile(name, content, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	p, err := boot.Open(t.Context(), path, filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (r *lab) run(t *testing.T, p *boot.Plugin) (*boot.Result, error) {
	t.Helper()
	temp := t.TempDir()
	result, err := boot.Run(t.Context(), boot.Options{Plugin: p, Kernel: r.kernel, QEMU: r.qemu, Accel: boot.AccelTCG, Timeout: patience, TempDir: temp})
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return result, err
}

// initramfs is a gzipped archive.
func initramfs(t *testing.T, files ...boot.File) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if err := boot.WriteArchive(w, files); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRealInitramfsPasses(t *testing.T) {
	r := newReal(t)
	artifact := initramfs(t, boot.File{Name: "init", Content: r.agent}, boot.File{Name: "workload", Content: r.workload})
	p := r.plugin(t, "initramfs", artifact, "/")
	p.Manifest.Workload.Entrypoint = []string{"/workload"}
	result, err := r.run(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != 200 || result.Elapsed <= 0 || result.AgentAfter <= 0 || result.AgentAfter > result.Elapsed {
		t.Errorf("result %+v", result)
	}
	t.Logf("agent after %v, answer after %v", result.AgentAfter, result.Elapsed)
}

// The image's own agent starts it, as the kernel brings none. Without a health
// check any answer will do.
func TestRealRootfsPassesWithItsOwnAgent(t *testing.T) {
	r := newReal(t)
	testneed.Tool(t, "mke2fs")
	root := t.TempDir()
	for name, content := range map[string][]byte{"usr/bin/kestrel": r.agent, "usr/bin/workload": r.workload} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	mke2fs, _ := testneed.Look("mke2fs")
	if out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-F", "-t", "ext4", "-d", root, image, "48M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	artifact, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	p := r.plugin(t, "rootfs", artifact, "")
	result, err := r.run(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != 200 || result.URL != "http://127.0.0.1:8000/" {
		t.Errorf("result %+v", result)
	}
	if after, err := os.ReadFile(p.Path); err != nil || !bytes.Equal(after, artifact) {
		t.Errorf("the artifact has changed: %v", err)
	}
}

func TestRealBootFailsEarlyWithTheConsole(t *testing.T) {
	r := newReal(t)
	for _, test := range []struct {
		name, want string
		artifact   []byte
	}{
		{"no program", "Kernel panic", initramfs(t, boot.File{Name: "init", Content: []byte("no program")})},
		{"no workload", "fatal error in pid1", initramfs(t, boot.File{Name: "init", Content: r.agent})},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			_, err := r.run(t, r.plugin(t, "initramfs", test.artifact, "/"))
			if err == nil || !strings.Contains(err.Error(), "the console says") || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "\n  | ") {
				t.Errorf("error %v", err)
			}
			if time.Since(began) >= patience {
				t.Error("it was waited for until the time was over")
			}
		})
	}
}

func TestRealProbeSeesAGuestComeUp(t *testing.T) {
	r := newReal(t)
	why := ""
	for range 3 { // an emulated processor may starve, see noTimer
		if why = boot.Probe(t.Context(), r.qemu, r.kernel, t.TempDir(), patience); why == "" {
			break
		}
	}
	if why != "" {
		t.Error(why)
	}
	if why := boot.Probe(t.Context(), r.qemu, r.kernel, t.TempDir(), time.Millisecond); !strings.Contains(why, "no guest with tcg came up in 1ms") {
		t.Errorf("in no time: %q", why)
	}
	if why := boot.Probe(t.Context(), "/bin/false", r.kernel, t.TempDir(), patience); !strings.Contains(why, "does not start: running false: exit status 1") {
		t.Errorf("a QEMU that fails: %q", why)
	}
}

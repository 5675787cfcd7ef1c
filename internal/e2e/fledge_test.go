package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

// bufferMB is what the built image has to have room for.
const bufferMB = 64

// nobody is a user who owns nothing and may do nothing.
const nobody = 65534

// A build is what fledge made of the real image.
type build struct {
	dir      string
	image    string
	manifest []byte
}

var (
	program shared[string]
	agent   shared[string]
	pushed  shared[string]
	built   shared[build]
)

// programVariable names a fledge to try instead of one built from this module.
const programVariable = "FLEDGE_TEST_PROGRAM"

// needProgram builds the command. There is nothing to test without it.
func needProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(programVariable); path != "" {
		return path
	}
	if _, err := os.Stat("../../cmd/fledge/main.go"); errors.Is(err, fs.ErrNotExist) {
		testneed.Missing(t, "fledge", "cmd/fledge is not in this checkout")
	}
	return program.get(t, func() (string, error) {
		path := filepath.Join(scratch, "fledge")
		out, err := exec.Command("go", "build", "-o", path, "github.com/volant/fledge-action/cmd/fledge").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("building fledge: %w: %s", err, out)
		}
		return path, err
	})
}

func needAgent(t *testing.T) string {
	t.Helper()
	return agent.get(t, func() (string, error) {
		path := filepath.Join(scratch, "testagent")
		return path, vmtest.BuildAgent(context.Background(), path)
	})
}

// needRegistry pushes the real image to a registry on loopback and returns its reference there.
func needRegistry(t *testing.T) string {
	t.Helper()
	layout := needImage(t)
	return pushed.get(t, func() (string, error) {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)))) // ends with the process
		ref, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/demo/nginx:1.22")
		if err != nil {
			return "", err
		}
		img, err := onlyImage(layout)
		if err != nil {
			return "", err
		}
		return ref.String(), remote.Write(ref, img)
	})
}

func onlyImage(l Layout) (v1.Image, error) {
	index, err := ocilayout.ImageIndexFromPath(l.Dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("layout %q has %d images", l.Dir, len(m.Manifests))
	}
	return index.Image(m.Manifests[0].Digest)
}

// needBuilt returns what fledge builds from the registry, run by a user without rights.
func needBuilt(t *testing.T) build {
	t.Helper()
	source, fledge, kestrel := needRegistry(t), needProgram(t), needAgent(t)
	return built.get(t, func() (build, error) {
		return runFledge(fledge, kestrel, source, filepath.Join(scratch, "built"), nobody)
	})
}

// runFledge builds an ext4 image in dir as the given user, with more flags.
func runFledge(fledge, kestrel, source, dir string, uid uint32, flags ...string) (build, error) {
	return runFledgeFor(fmt.Sprintf("type = \"ext4\"\nsize_buffer_mb = %d", bufferMB), fledge, kestrel, source, dir, uid, flags...)
}

// runFledgeFor builds with a table [filesystem].
func runFledgeFor(filesystem, fledge, kestrel, source, dir string, uid uint32, flags ...string) (build, error) {
	config := fmt.Sprintf(`version = "1"
strategy = "oci_rootfs"

[plugin]
name = "nginx"
version = "1.22.1"
url = "/srv/volant/nginx.img"

[source]
image = %q

[agent]
source_strategy = "local"
path = "kestrel"

[filesystem]
%s

[health_check]
endpoint = "/"
timeout_ms = 10000
`, source, filesystem)
	b := build{dir: dir, image: filepath.Join(dir, "nginx.img")}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return b, err
	}
	if err := errors.Join(
		os.Chmod(scratch, 0o755), // the user has to get through
		os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(config), 0o644),
		exec.Command("cp", kestrel, filepath.Join(dir, "kestrel")).Run(),
		os.Chown(dir, int(uid), int(uid)),
	); err != nil {
		return b, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, fledge, append([]string{"build", "--config", "fledge.toml", "-o", "nginx.img", "--json"}, flags...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + searchPath, "HOME=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, NoSetGroups: uid == 0}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return b, fmt.Errorf("fledge build: %w: %s%s", err, out, stderr.String())
	}
	if !json.Valid(out) {
		return b, fmt.Errorf("fledge build --json prints %q", out)
	}
	b.manifest, err = os.ReadFile(filepath.Join(dir, "manifest.json"))
	return b, err
}

// isAdded reports what fledge adds to an image: lost+found as in every ext4 filesystem, and the
// agent, at /bin/kestrel, where /bin is a link to usr/bin.
func isAdded(name string) bool { return isLostFound(name) || name == "usr/bin/kestrel" }

func TestRealImageMatchesUmoci(t *testing.T) {
	b := needBuilt(t)
	checkClean(t, b.image)
	want := umociFacts(t)
	// umoci cannot unpack this time.
	last := want["awkward/last-time"]
	last.Mtime = facts.Time{Sec: lastTime.Unix()}
	want["awkward/last-time"] = last

	dir, _ := testneed.Mount(t, b.image, "ro")
	kernel := readDir(t, dir, facts.Options{Content: true, Extents: facts.Mapped})
	wantEqual(t, "umoci, then kernel", want, kernel.Without(isAdded))
	wantEqual(t, "kernel, then debugfs", kernel, readImage(t, b.image))

	kestrel := kernel["usr/bin/kestrel"]
	if got, want := "sha256:"+kestrel.SHA256, digest(t, needAgent(t)); got != want || kestrel.Mode != 0o755 || kestrel.UID != 0 || kestrel.GID != 0 {
		t.Errorf("agent is %+v, want %s with mode 0755 of root", kestrel, want)
	}
	if f := kernel["lost+found"]; f.Type != "dir" || f.Mode != 0o700 || f.UID != 0 {
		t.Errorf("lost+found is %+v", f)
	}
}

func TestRootBuildsTheSameBytes(t *testing.T) {
	b := needBuilt(t)
	again, err := runFledge(needProgram(t), needAgent(t), needRegistry(t), filepath.Join(t.TempDir(), "root"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digest(t, again.image), digest(t, b.image); got != want {
		t.Errorf("root builds %s, a user %s", got, want)
	}
	if string(again.manifest) != string(b.manifest) {
		t.Errorf("root writes the manifest\n%s\na user\n%s", again.manifest, b.manifest)
	}
}

func TestManifestTellsWhatTheImageSays(t *testing.T) {
	b := needBuilt(t)
	var m struct {
		Enabled     bool
		ImageDigest string `json:"image_digest"`
		Rootfs      struct{ URL, Checksum, Format string }
		Workload    struct {
			Entrypoint []string
			BaseURL    string `json:"base_url"`
			Env        map[string]string
			Workdir    string
		}
	}
	if err := json.Unmarshal(b.manifest, &m); err != nil {
		t.Fatal(err)
	}
	if !m.Enabled || m.Rootfs.Format != "raw" || m.Rootfs.URL != "/srv/volant/nginx.img" {
		t.Errorf("enabled %v, rootfs %+v", m.Enabled, m.Rootfs)
	}
	if got, want := m.Rootfs.Checksum, digest(t, b.image); got != want {
		t.Errorf("checksum %s, want %s", got, want)
	}
	if want := []string{"/usr/sbin/nginx", "-g", "daemon off;"}; !slices.Equal(m.Workload.Entrypoint, want) {
		t.Errorf("entrypoint %q, want %q", m.Workload.Entrypoint, want)
	}
	if w := m.Workload; w.BaseURL != "http://127.0.0.1:80" || w.Workdir != "/var/www" || w.Env["PATH"] != searchPath || w.Env["GREETING"] != "two words" {
		t.Errorf("workload %+v", w)
	}
	img, err := onlyImage(needImage(t))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := img.Digest(); err != nil || m.ImageDigest != want.String() {
		t.Errorf("image digest %q, want %s, %v", m.ImageDigest, want, err)
	}
}

func TestImageHasRoomForTheBuffer(t *testing.T) {
	b := needBuilt(t)
	image := copySparse(t, b.image)
	dir, unmount := testneed.Mount(t, image, "rw")
	path := filepath.Join(dir, "tmp/fill")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, bufferMB<<20); err != nil {
		t.Errorf("writing %d MiB: %v", bufferMB, err)
	}
	if err := f.Sync(); err != nil {
		t.Errorf("syncing: %v", err)
	}
	f.Close()
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, "tmp", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatalf("making file %d: %v", i, err)
		}
	}
	for _, remove := range []string{"awkward", "tmp/fill"} {
		if err := os.RemoveAll(filepath.Join(dir, remove)); err != nil {
			t.Error(err)
		}
	}
	unmount()
	checkClean(t, image)
}

func TestImageGrows(t *testing.T) {
	testneed.Tool(t, "e2fsck", "resize2fs")
	resize2fs, _ := testneed.Look("resize2fs")
	e2fsck, _ := testneed.Look("e2fsck")
	b := needBuilt(t)
	image := copySparse(t, b.image)
	dir, unmount := testneed.Mount(t, image, "ro")
	before := readDir(t, dir, facts.Options{Content: true, Extents: facts.Mapped})
	unmount()
	info, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{info.Size() + 200<<20, 20 << 30} {
		if err := os.Truncate(image, size); err != nil {
			t.Fatal(err)
		}
		for _, argv := range [][]string{{e2fsck, "-fp", image}, {resize2fs, image}} {
			if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%q: %v: %s", argv, err, out)
			}
		}
		checkClean(t, image)
		dir, unmount := testneed.Mount(t, image, "rw")
		wantEqual(t, fmt.Sprintf("grown to %d", size), before, readDir(t, dir, facts.Options{Content: true, Extents: facts.Mapped}))
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize < size*9/10 {
			t.Errorf("grown to %d: %d blocks of %d, %v", size, st.Blocks, st.Bsize, err)
		}
		unmount()
		checkClean(t, image)
	}
}

func TestNginxBootsAndAnswers(t *testing.T) {
	testneed.Tool(t, vmtest.Program)
	b := needBuilt(t)
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	vm, err := vmtest.Boot(ctx, vmtest.Config{
		Artifact: b.image, Manifest: b.manifest, Kernel: kernel, Agent: needAgent(t), Scratch: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	answer, err := vm.Get(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != 200 || answer.Body != Page || !strings.HasPrefix(answer.Header.Get("Server"), "nginx/") {
		t.Errorf("answer %+v", answer)
	}
	if answer, err := vm.Get(ctx, "/no-such-page"); err != nil || answer.Status != 404 {
		t.Errorf("no such page: %+v, %v", answer, err)
	}
	health, err := vm.GetAgent(ctx, "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Status string
		Free   int64 `json:"free_bytes"`
	}
	if err := json.Unmarshal([]byte(health.Body), &status); err != nil || status.Status != "ok" || status.Free < (bufferMB-16)<<20 {
		t.Errorf("agent says %q, %v", health.Body, err)
	}
	t.Logf("nginx answered %v after the start of QEMU with %s", vm.Elapsed.Round(time.Millisecond), vm.Accel)
}

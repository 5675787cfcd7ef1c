package actionimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// source is the module's folder.
func source(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func build(t *testing.T, c Config) v1.ImageIndex {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: builds the program; not with -short")
	}
	if c.Source == "" {
		c.Source = source(t)
	}
	index, err := Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digest(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	d, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// TestEveryWorldMakesTheSameIndex builds for one architecture: what differs between
// worlds differs for both.
func TestEveryWorldMakesTheSameIndex(t *testing.T) {
	c := Config{Version: "v1.2.3", Revision: strings.Repeat("a", 40), Architectures: []string{"amd64"}}
	want := digest(t, build(t, c))
	copied := filepath.Join(t.TempDir(), "another folder")
	files := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "go.mod", "go.sum", "attest", "build", "cmd", "internal", "manifest")
	files.Dir = source(t)
	list, err := files.Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(source(t), file))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(copied, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for name, value := range map[string]string{"GOFLAGS": "-race -tags=x -ldflags=-w", "GOAMD64": "v3", "GOARCH": "386", "GOOS": "windows", "CGO_ENABLED": "1", "GOEXPERIMENT": "rangefunc", "SOURCE_DATE_EPOCH": "5", "TZ": "Asia/Tokyo"} {
		t.Setenv(name, value)
	}
	c.Source = copied
	if got := digest(t, build(t, c)); got != want {
		t.Errorf("in another world the digest is %s, not %s", got, want)
	}
	c.Version = "v1.2.4"
	if got := digest(t, build(t, c)); got == want {
		t.Error("another version makes no difference")
	}
}

// TestTheReleaseImageIsTheDockerfiles compares what jobs pull with what a branch builds.
func TestTheReleaseImageIsTheDockerfiles(t *testing.T) {
	d := dockertest.Start(t)
	saved := filepath.Join(t.TempDir(), "image.tar")
	d.Run(t, "save", "-o", saved, d.Fledge(t))
	theirs, err := tarball.ImageFromPath(saved, nil)
	if err != nil {
		t.Fatal(err)
	}
	index := build(t, Config{Architectures: []string{"amd64"}})
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	want, have := files(t, theirs), files(t, ours)
	if diff := cmp.Diff(names(want), names(have)); diff != "" {
		t.Errorf("files, Dockerfile's first:\n%s", diff)
	}
	if !bytes.Equal(want["usr/local/bin/fledge"].body, have["usr/local/bin/fledge"].body) {
		t.Error("the programs differ")
	}
	if diff := cmp.Diff(config(t, theirs), config(t, ours)); diff != "" {
		t.Errorf("configuration, Dockerfile's first:\n%s", diff)
	}
	if c := config(t, ours); c.User != "" || !slices.Equal(c.Entrypoint, []string{"/usr/local/bin/fledge", "action"}) {
		t.Errorf("user %q, entry point %q", c.User, c.Entrypoint)
	}
}

type file struct {
	mode int64
	body []byte
}

func names(files map[string]file) map[string]int64 {
	modes := map[string]int64{}
	for name, f := range files {
		modes[name] = f.mode
	}
	return modes
}

// files are what a container of the image has, owners checked.
func files(t *testing.T, im v1.Image) map[string]file {
	t.Helper()
	r := mutate.Extract(im)
	defer r.Close()
	all := map[string]file{}
	for entries := tar.NewReader(r); ; {
		h, err := entries.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		body, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(h.Name, "/")] = file{h.Mode & 0o7777, body}
	}
}

func config(t *testing.T, im v1.Image) v1.Config {
	t.Helper()
	c, err := im.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Config{User: c.Config.User, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env, Labels: c.Config.Labels, WorkingDir: c.Config.WorkingDir}
}

// TestOthersReadTheIndex builds for all architectures.
func TestOthersReadTheIndex(t *testing.T) {
	index := build(t, Config{Version: "v1.2.3"})
	dir := filepath.Join(t.TempDir(), "layout")
	if err := Write(dir, index); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, index); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("writing over a layout: %v", err)
	}
	t.Run("go-containerregistry", func(t *testing.T) {
		l, err := layout.ImageIndexFromPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.IndexManifest()
		if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != digest(t, index) {
			t.Errorf("%v, %+v", err, m)
		}
		if err := validate.Index(l); err != nil {
			t.Error(err)
		}
	})
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != len(Architectures) {
		t.Fatalf("%d images, want %d", len(m.Manifests), len(Architectures))
	}
	for i, arch := range Architectures {
		t.Run("skopeo "+arch, func(t *testing.T) {
			testneed.Tool(t, "skopeo", "umoci", "file")
			one := filepath.Join(t.TempDir(), "one")
			run(t, "skopeo", "--override-os", "linux", "--override-arch", arch, "copy", "oci:"+dir+":"+Tag, "oci:"+one+":x")
			if got := run(t, "skopeo", "inspect", "--format", "{{.Architecture}} {{.Os}}", "oci:"+one+":x"); got != arch+" linux\n" {
				t.Errorf("skopeo says %q", got)
			}
			testneed.Root(t)
			bundle := filepath.Join(t.TempDir(), "bundle")
			run(t, "umoci", "unpack", "--image", one+":x", bundle)
			program := filepath.Join(bundle, "rootfs/usr/local/bin/fledge")
			machine := map[string]string{"amd64": "x86-64", "arm64": "ARM aarch64"}[arch]
			if got := run(t, "file", "-b", program); !strings.Contains(got, machine) || !strings.Contains(got, "statically linked") {
				t.Errorf("the program is %s", got)
			}
			if info, err := os.Stat(filepath.Join(bundle, "rootfs/tmp")); err != nil || info.Mode().Perm() != 0o777 || info.Mode()&os.ModeSticky == 0 {
				t.Errorf("/tmp: %v, %v", info, err)
			}
			if arch == "amd64" {
				if got := run(t, program, "version"); !strings.Contains(got, "v1.2.3") {
					t.Errorf("the program's version is %s", got)
				}
			}
			im, err := index.Image(m.Manifests[i].Digest)
			if err != nil {
				t.Fatal(err)
			}
			layers, err := im.Layers()
			if err != nil || len(layers) != 1 {
				t.Fatalf("%d layers, %v", len(layers), err)
			}
			size, err := layers[0].Size()
			if err != nil || size > MaxLayer {
				t.Errorf("%d bytes, %v", size, err)
			}
			t.Logf("%s: %.1f MB compressed", arch, float64(size)/1e6)
		})
	}
	t.Run("registry", func(t *testing.T) {
		registry := ocitest.NewRegistry(t)
		ref, err := name.ParseReference(registry.Host + "/fledge-action:v1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.WriteIndex(ref, index, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
		got, err := remote.Get(ref, remote.WithContext(t.Context()))
		if err != nil || got.Digest.String() != digest(t, index) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, stderr.String())
	}
	return stdout.String()
}

func TestALayerThatIsTooLargeIsRefused(t *testing.T) {
	program := make([]byte, MaxLayer+MaxLayer/50)
	for i, x := 0, uint64(1); i < len(program); i++ { // does not compress
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		program[i] = byte(x)
	}
	if _, err := image(Config{}, "amd64", program); err == nil || !strings.Contains(err.Error(), "60000000") {
		t.Errorf("got %v", err)
	}
	if _, err := image(Config{}, "amd64", program[:MaxLayer-MaxLayer/50]); err != nil {
		t.Error(err)
	}
}

func TestAVersionThatTheLinkerWouldSplitIsRefused(t *testing.T) {
	if _, err := Build(t.Context(), Config{Source: source(t), Version: "v1 -X main.x=y"}); err == nil || !strings.Contains(err.Error(), "white space") {
		t.Errorf("got %v", err)
	}
}

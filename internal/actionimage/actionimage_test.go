package actionimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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

	"github.com/volant/fledge-action/internal/actionimage/tools"
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
	if c.Tools.Lock == nil {
		c.Tools = packages(t)
	}
	index, err := Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// packages are those that "make tools" has fetched.
func packages(t *testing.T) tools.Source {
	t.Helper()
	dir := testneed.Packages(t)
	name := filepath.Join(dir, testneed.PackagesLock)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := tools.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return tools.Source{Lock: lock, Debs: dir}
}

// served are the same packages, in an archive on loopback.
func served(t *testing.T) tools.Source {
	t.Helper()
	s := packages(t)
	at := map[string]string{}
	for _, p := range s.Lock.Packages {
		at["/archive/"+p.Path] = filepath.Join(s.Debs, p.File())
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := at[r.URL.Path]
		if !ok {
			t.Errorf("somebody asks for %s", r.URL.Path)
		}
		http.ServeFile(w, r, file)
	}))
	t.Cleanup(server.Close)
	return tools.Source{Lock: s.Lock, Archive: server.URL + "/archive/"}
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
	c.Source, c.Tools = copied, served(t)
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
	for name := range want {
		if !bytes.Equal(want[name].body, have[name].body) {
			t.Errorf("%s differs", name)
		}
	}
	if len(want["sbin/mkfs.xfs"].body) == 0 || len(want["usr/local/bin/fledge"].body) == 0 {
		t.Errorf("only %q", slices.Sorted(maps.Keys(want)))
	}
	if diff := cmp.Diff(config(t, theirs), config(t, ours)); diff != "" {
		t.Errorf("configuration, Dockerfile's first:\n%s", diff)
	}
	if c := config(t, ours); c.User != "" || !slices.Equal(c.Entrypoint, []string{"/usr/local/bin/fledge", "action"}) {
		t.Errorf("user %q, entry point %q", c.User, c.Entrypoint)
	}
}

type file struct {
	kind string // type, mode, target
	body []byte
}

func names(files map[string]file) map[string]string {
	kinds := map[string]string{}
	for name, f := range files {
		kinds[name] = f.kind
	}
	return kinds
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
		all[strings.TrimSuffix(h.Name, "/")] = file{fmt.Sprintf("%c %04o %s", h.Typeflag, h.Mode&0o7777, h.Linkname), body}
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
			if err != nil || len(layers) != 2 {
				t.Fatalf("%d layers, %v", len(layers), err)
			}
			others, err1 := layers[0].Size()
			own, err2 := layers[1].Size()
			if err1 != nil || err2 != nil || others+own > MaxSize {
				t.Errorf("%d and %d bytes, %v, %v", others, own, err1, err2)
			}
			t.Logf("%s: %.1f MB compressed, and %.1f MB for xfs and btrfs", arch, float64(own)/1e6, float64(others)/1e6)
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

func TestLayersThatAreTooLargeAreRefused(t *testing.T) {
	program := make([]byte, MaxSize+MaxSize/50)
	for i, x := 0, uint64(1); i < len(program); i++ { // does not compress
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		program[i] = byte(x)
	}
	others := []tools.File{{Name: "x", Mode: 0o644, Body: program[:MaxSize/25]}}
	if _, err := image(Config{}, "amd64", others, program[:MaxSize-MaxSize/50]); err == nil || !strings.Contains(err.Error(), "60000000") {
		t.Errorf("got %v", err)
	}
	if _, err := image(Config{}, "amd64", others, program[:MaxSize-MaxSize/50-MaxSize/25]); err != nil {
		t.Error(err)
	}
}

// TestTheToolsLayerStaysFromReleaseToRelease shows that a job which has an older release's
// image pulls the program only.
func TestTheToolsLayerStaysFromReleaseToRelease(t *testing.T) {
	others, err := packages(t).Files(t.Context(), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	var digests [2][]string
	for i, program := range []string{"one", "two"} {
		im, err := image(Config{Version: program}, "arm64", others, []byte(program))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := im.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			d, err := l.Digest()
			if err != nil {
				t.Fatal(err)
			}
			digests[i] = append(digests[i], d.String())
		}
	}
	if a, b := digests[0], digests[1]; len(a) != 2 || len(b) != 2 || a[0] != b[0] || a[1] == b[1] {
		t.Errorf("layers %q and %q", a, b)
	}
}

// TestTheContainerMakesAndChecksXfsAndBtrfs runs the programs as a step would, without any
// privilege.
func TestTheContainerMakesAndChecksXfsAndBtrfs(t *testing.T) {
	d := dockertest.Start(t)
	name := d.Fledge(t)
	dir := t.TempDir()
	in := func(argv ...string) (string, error) {
		args := append([]string{"run", "--rm", "--network", "none", "--cap-drop", "ALL", "--read-only", "-v", dir + ":/w", "--entrypoint", argv[0], name}, argv[1:]...)
		out, err := d.Command(t.Context(), args...).CombinedOutput()
		return string(out), err
	}
	for _, c := range []struct {
		name        string
		make, check []string
		damage      int64 // offset of what the check has to see
	}{
		{"xfs", []string{"mkfs.xfs", "-q"}, []string{"xfs_repair", "-n"}, 0},
		{"btrfs", []string{"mkfs.btrfs", "-q"}, []string{"btrfs", "check", "--progress"}, 64 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, c.name)
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, 320<<20); err != nil {
				t.Fatal(err)
			}
			if out, err := in(append(c.make, "/w/"+c.name)...); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if out, err := in(append(c.check, "/w/"+c.name)...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(make([]byte, 4096), c.damage)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if out, err := in(append(c.check, "/w/"+c.name)...); err == nil {
				t.Errorf("a damaged image passes: %s", out)
			}
		})
	}
	if out, err := in("/bin/sh", "-c", "exit 0"); err == nil {
		t.Errorf("there is a shell: %s", out)
	}
}

func TestAVersionThatTheLinkerWouldSplitIsRefused(t *testing.T) {
	if _, err := Build(t.Context(), Config{Source: source(t), Version: "v1 -X main.x=y"}); err == nil || !strings.Contains(err.Error(), "white space") {
		t.Errorf("got %v", err)
	}
}

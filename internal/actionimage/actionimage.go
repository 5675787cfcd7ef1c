package actionimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/volant/fledge-action/internal/actionimage/tools"
)

// Architectures are those of GitHub's Linux runners.
var Architectures = []string{"amd64", "arm64"}

// MaxSize is how many compressed bytes an image may have: each job pulls it.
const MaxSize = 60_000_000

// epoch is the time of everything in the image.
var epoch = time.Unix(0, 0).UTC()

// Config says what to build.
type Config struct {
	Source        string   // folder of the module
	Version       string   // of the program, such as "v1.2.3"; "" for one that is not released
	Revision      string   // commit, for a label; "" for none
	Architectures []string // nil for all of Architectures
	Tools         tools.Source
}

// Build builds the program for each architecture and makes the index.
func Build(ctx context.Context, c Config) (v1.ImageIndex, error) {
	architectures := c.Architectures
	if architectures == nil {
		architectures = Architectures
	}
	temp, err := os.MkdirTemp("", "fledge-image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range architectures {
		file := filepath.Join(temp, arch)
		if err := compile(ctx, c, arch, file); err != nil {
			return nil, fmt.Errorf("building fledge for linux/%s: %w", arch, err)
		}
		program, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		others, err := c.Tools.Files(ctx, arch)
		if err != nil {
			return nil, err
		}
		im, err := image(c, arch, others, program)
		if err != nil {
			return nil, fmt.Errorf("making the image for linux/%s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: im, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index, nil
}

// kept are the variables that tell where Go finds and keeps things, and nothing of what
// it makes.
var kept = []string{"PATH", "HOME", "TMPDIR", "GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOCACHEPROG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "NO_PROXY"}

// compile does what the Dockerfile does.
func compile(ctx context.Context, c Config, arch, file string) error {
	flags := "-s -w -buildid="
	if c.Version != "" {
		if strings.ContainsAny(c.Version, " '\"\\\t\n") {
			return fmt.Errorf("version %q has white space or quotes", c.Version)
		}
		flags += " -X main.released=" + c.Version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", file, "./cmd/fledge")
	cmd.Dir = c.Source
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); slices.Contains(kept, name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// labels are those of the Dockerfile's image, and what a release adds.
func (c Config) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       "fledge",
		"org.opencontainers.image.description": "Builds bootable Volant plugins",
		"org.opencontainers.image.source":      "https://github.com/volant/fledge-action",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	for name, value := range map[string]string{"version": c.Version, "revision": c.Revision} {
		if value != "" {
			labels["org.opencontainers.image."+name] = value
		}
	}
	return labels
}

func image(c Config, arch string, others []tools.File, program []byte) (v1.Image, error) {
	im, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: v1.Time{Time: epoch},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/usr/local/bin/fledge", "action"},
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Labels:     c.labels(),
		},
	})
	if err != nil {
		return nil, err
	}
	var total int64
	for _, l := range []struct {
		made  string
		files func() ([]byte, error)
	}{
		{"Debian", func() ([]byte, error) { return tools.Tar(others) }}, // below: it stays from release to release
		{"fledge", func() ([]byte, error) { return archive(program) }},
	} {
		files, err := l.files()
		if err != nil {
			return nil, err
		}
		layer, size, err := compressed(files)
		if err != nil {
			return nil, err
		}
		if total += size; total > MaxSize {
			return nil, fmt.Errorf("the layers have %d bytes, more than the %d that each job may have to pull", total, MaxSize)
		}
		im, err = mutate.Append(im, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: l.made}})
		if err != nil {
			return nil, err
		}
	}
	return im, nil
}

// compressed makes a layer, and tells its size in the registry.
func compressed(files []byte) (v1.Layer, int64, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, 0, err
	}
	size, err := layer.Size()
	return layer, size, err
}

// archive is the program's layer.
func archive(program []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "usr/local/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "usr/local/bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "usr/local/bin/fledge", Mode: 0o755, Size: int64(len(program))},
	} {
		h.ModTime, h.Format = epoch, tar.FormatUSTAR
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	_, err := w.Write(program)
	return out.Bytes(), errors.Join(err, w.Close())
}

// Tag is the name that the index has in a layout.
const Tag = "fledge"

// Write writes an OCI image layout with the index, tagged Tag. The folder must not be
// there, and is not if Write fails.
func Write(dir string, index v1.ImageIndex) (err error) {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("writing an image layout: %q exists; remove it first", dir)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".fledge-layout")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	to, err := layout.Write(temp, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	if err := to.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": Tag})); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

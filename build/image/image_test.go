package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/internal/ocitest"
)

// quick is a policy that does not wait.
var quick = fetch.Policy{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}

// sample is an image with three layers, one of each compression.
func sample(t testing.TB) *ocitest.Image {
	return ocitest.Build(t, ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Config: v1.Config{
			Entrypoint:   []string{"/entry"},
			Cmd:          []string{"nginx", "-g"},
			Env:          []string{"PATH=/bin", "A=b"},
			WorkingDir:   "/srv",
			User:         "101",
			ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}, "53/udp": {}},
			Labels:       map[string]string{"a": "1"},
		},
		Layers: []ocitest.Layer{
			{Entries: []ocitest.Entry{ocitest.File("bottom", strings.Repeat("lorem ipsum ", 100_000))}},
			{Entries: []ocitest.Entry{ocitest.File("middle", "zstd")}, Compression: ocitest.Zstd},
			{Entries: []ocitest.Entry{ocitest.File("top", "plain")}, Compression: ocitest.Plain},
		},
	})
}

func mustOpen(t testing.TB, ref string, o Options) *Image {
	t.Helper()
	if o.Policy.Sleep == nil {
		o.Policy = quick
	}
	im, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	return im
}

// readLayer reads a layer to its end and closes it.
func readLayer(l Layer) ([]byte, error) {
	r, err := l.Open(context.Background())
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// topDown reads all layers, the last one first.
func topDown(t testing.TB, im *Image) [][]byte {
	t.Helper()
	tars := make([][]byte, len(im.Layers))
	for i := len(im.Layers) - 1; i >= 0; i-- {
		var err error
		if tars[i], err = readLayer(im.Layers[i]); err != nil {
			t.Fatal(err)
		}
	}
	return tars
}

func diffIDs(im *Image) []string {
	var ids []string
	for _, l := range im.Layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

// sources puts one image wherever an image can come from.
func sources(t *testing.T, im *ocitest.Image) (dir string, refs []string) {
	t.Helper()
	dir = t.TempDir()
	reg := ocitest.NewRegistry(t)
	tagged := map[string]*ocitest.Image{"v1": im}
	named := map[string]*ocitest.Image{"team/app:v1": im}
	ocitest.Layout(t, filepath.Join(dir, "layout"), tagged)
	ocitest.OCIArchive(t, filepath.Join(dir, "oci.tar"), tagged)
	ocitest.DockerArchive(t, filepath.Join(dir, "modern.tar"), ocitest.Modern, named)
	ocitest.DockerArchive(t, filepath.Join(dir, "legacy.tar"), ocitest.Legacy, named)
	ocitest.DockerArchive(t, filepath.Join(dir, "compressed.tar"), ocitest.Compressed, named)
	for _, name := range []string{"oci.tar", "modern.tar"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for suffix, c := range map[string]ocitest.Compression{".gz": ocitest.Gzip, ".zst": ocitest.Zstd} {
			if err := os.WriteFile(filepath.Join(dir, name+suffix), ocitest.Compress(t, raw, c), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ref := reg.Push(t, "team/app:v1", im)
	return dir, []string{
		ref, "docker://" + ref, reg.Push(t, "team/app", im),
		"oci:layout", "oci:layout:v1", "oci:layout@" + im.Digest(), "oci:" + filepath.Join(dir, "layout"),
		"oci-archive:oci.tar", "oci-archive:oci.tar:v1", "oci-archive:oci.tar@" + im.Digest(),
		"oci-archive:oci.tar.gz", "oci-archive:oci.tar.zst",
		"docker-archive:modern.tar", "docker-archive:legacy.tar", "docker-archive:compressed.tar",
		"docker-archive:modern.tar:team/app:v1", "docker-archive:modern.tar.gz", "docker-archive:modern.tar.zst",
	}
}

func TestEverySourceGivesTheSameImage(t *testing.T) {
	im := sample(t)
	dir, refs := sources(t, im)
	for _, ref := range refs {
		got := mustOpen(t, ref, Options{Dir: dir})
		if got.ConfigDigest != im.ConfigDigest() {
			t.Errorf("%s: config %s, want %s", ref, got.ConfigDigest, im.ConfigDigest())
		}
		want := []string{ocitest.Digest(im.Tars[0]), ocitest.Digest(im.Tars[1]), ocitest.Digest(im.Tars[2])}
		if diff := cmp.Diff(want, diffIDs(got)); diff != "" {
			t.Errorf("%s: diffIDs (-want +got):\n%s", ref, diff)
		}
		for range 2 { // a layer can be opened again
			if !slices.EqualFunc(im.Tars, topDown(t, got), bytes.Equal) {
				t.Errorf("%s: layers differ", ref)
			}
		}
		if strings.HasPrefix(ref, "docker-archive:") {
			if got.Digest != "" || got.ManifestDigest != "" {
				t.Errorf("%s: digests %q, %q, want none", ref, got.Digest, got.ManifestDigest)
			}
			continue
		}
		if got.Digest != im.Digest() || got.ManifestDigest != im.Digest() {
			t.Errorf("%s: digest %s, manifest %s, want %s", ref, got.Digest, got.ManifestDigest, im.Digest())
		}
		for i, l := range got.Layers {
			if l.Digest != ocitest.Digest(im.Blobs[i]) || l.Size != int64(len(im.Blobs[i])) {
				t.Errorf("%s: layer %d is %s, %d bytes", ref, i, l.Digest, l.Size)
			}
		}
	}
}

func TestConfigIsTheImages(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	got := mustOpen(t, reg.Push(t, "team/app:v1", sample(t)), Options{})
	want := Config{
		Entrypoint:   []string{"/entry"},
		Cmd:          []string{"nginx", "-g"},
		Env:          []string{"PATH=/bin", "A=b"},
		WorkingDir:   "/srv",
		User:         "101",
		ExposedPorts: []string{"443/tcp", "53/udp", "80/tcp"},
		Labels:       map[string]string{"a": "1"},
		Created:      time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got.Name != "app" || got.Tag != "v1" || got.Ref != reg.Host+"/team/app:v1" || got.Repository != reg.Host+"/team/app" {
		t.Errorf("name %q, tag %q, ref %q, repository %q", got.Name, got.Tag, got.Ref, got.Repository)
	}
	if got.Platform.String() != "linux/amd64" {
		t.Errorf("platform %s", got.Platform)
	}
}

func TestConfigWithoutDateHasZeroCreated(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	im := ocitest.Build(t, ocitest.Spec{})
	got := mustOpen(t, reg.Push(t, "app:v1", im), Options{})
	if !got.Config.Created.IsZero() || len(got.Layers) != 0 {
		t.Errorf("created %v, %d layers", got.Config.Created, len(got.Layers))
	}
}

func TestParse(t *testing.T) {
	digest := ocitest.Digest(nil)
	tests := []struct {
		ref       string
		kind      Kind
		name, tag string
		repo      string
	}{
		{"nginx:alpine", Registry, "nginx", "alpine", "docker.io/library/nginx"},
		{"nginx", Registry, "nginx", "latest", "docker.io/library/nginx"},
		{"docker://nginx:alpine", Registry, "nginx", "alpine", "docker.io/library/nginx"},
		{"localhost:5000/team/app", Registry, "app", "latest", "localhost:5000/team/app"},
		{"ghcr.io/a/b:1@" + digest, Registry, "b", "1", "ghcr.io/a/b"},
		{"ghcr.io/a/b@" + digest, Registry, "b", "", "ghcr.io/a/b"},
		{"[::1]:5000/app:2", Registry, "app", "2", "[::1]:5000/app"},
		{"oci:some/dir", Layout, "dir", "", ""},
		{"oci:some/dir:v1", Layout, "dir", "v1", ""},
		{"oci:a@b@" + digest, Layout, "a@b", "", ""},
		{"oci:.", Layout, "image", "", ""},
		{"oci-archive:x/app.tar", OCIArchive, "app", "", ""},
		{"oci-archive:x/app.oci.tar.gz:1", OCIArchive, "app", "1", ""},
		{"docker-archive:app.tgz", DockerArchive, "app", "", ""},
		{"docker-archive:app.tar:team/web:2", DockerArchive, "web", "2", ""},
		{"docker-daemon:team/web:2", DockerDaemon, "web", "2", "docker.io/team/web"},
		{"docker-daemon:" + digest, DockerDaemon, "e3b0c44298fc", "", ""},
	}
	for _, test := range tests {
		r, err := Parse(test.ref)
		if err != nil {
			t.Error(err)
			continue
		}
		if r.Kind != test.kind || r.Name != test.name || r.Tag != test.tag || r.Repository() != test.repo {
			t.Errorf("Parse(%q) = %s %q %q %q", test.ref, r.Kind, r.Name, r.Tag, r.Repository())
		}
		if r.String() != strings.TrimPrefix(test.ref, "docker://") {
			t.Errorf("Parse(%q).String() = %q", test.ref, r)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for ref, want := range map[string]string{
		"":                         "must be specified",
		"Nginx":                    "lower case",
		"https://ghcr.io/a/b":      "no URL scheme",
		"oci:":                     "want oci:PATH",
		"oci:dir:":                 "nothing after",
		"oci:dir@sha256:12":        "64 lower-case hex digits",
		"nginx@md5:12":             "only sha256",
		"nginx@sha256:" + "zz":     "64 lower-case hex digits",
		"docker-archive:a.tar:B:1": "docker-archive",
		"docker-daemon:sha256:12":  "64 lower-case hex digits",
		"nginx:bad tag":            "tag can only contain",
	} {
		_, err := Parse(ref)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want %q", ref, err, want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"": "linux/amd64", "linux/arm64/v8": "linux/arm64/v8", "linux/x86_64": "linux/amd64", "linux/aarch64": "linux/arm64",
	} {
		if p, err := ParsePlatform(in); err != nil || p.String() != want {
			t.Errorf("ParsePlatform(%q) = %v, %v", in, p, err)
		}
	}
	for _, in := range []string{"linux", "linux/", "a/b/c/d", "Linux/amd64", "linux/amd64/v 2"} {
		if _, err := ParsePlatform(in); err == nil {
			t.Errorf("ParsePlatform(%q) succeeds", in)
		}
	}
}

// platforms is an index of images for the given platforms, each with its name
// as the only file.
func platforms(t testing.TB, edit func(*v1.IndexManifest), names ...string) *ocitest.Image {
	var all []*ocitest.Image
	for _, p := range names {
		all = append(all, ocitest.Build(t, ocitest.Spec{
			Platform: p,
			Config:   v1.Config{Cmd: []string{p}},
			Layers:   []ocitest.Layer{{Entries: []ocitest.Entry{ocitest.File("name", p)}}},
		}))
	}
	return ocitest.Index(t, edit, all...)
}

func TestIndexGivesTheImageOfThePlatform(t *testing.T) {
	attestation := func(index *v1.IndexManifest) { // as buildx adds one
		d := index.Manifests[0]
		d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		d.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
		other := index.Manifests[1]
		other.Platform = d.Platform
		index.Manifests = append([]v1.Descriptor{d, other}, index.Manifests...)
	}
	silent := func(index *v1.IndexManifest) {
		for i := range index.Manifests {
			index.Manifests[i].Platform = nil
		}
	}
	all := []string{"linux/arm64/v8", "linux/amd64/v2", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "windows/amd64"}
	plain := platforms(t, attestation, all...)
	indexes := map[string]*ocitest.Image{
		"index":         plain,
		"nested index":  ocitest.Index(t, nil, plain),
		"no platforms":  platforms(t, silent, all...),
		"nested, mixed": ocitest.Index(t, nil, platforms(t, nil, "linux/s390x"), ocitest.Index(t, nil, plain)),
	}
	wants := map[string]string{
		"": "linux/amd64", "linux/amd64/v2": "linux/amd64/v2", "linux/arm64": "linux/arm64/v8",
		"linux/arm64/v8": "linux/arm64/v8", "linux/arm/v6": "linux/arm/v6", "linux/arm": "linux/arm/v7",
	}
	reg := ocitest.NewRegistry(t)
	dir := t.TempDir()
	for name, index := range indexes {
		ocitest.Layout(t, filepath.Join(dir, name), map[string]*ocitest.Image{"v1": index})
		for _, ref := range []string{reg.Push(t, "app:v1", index), "oci:" + name} {
			for platform, want := range wants {
				im := mustOpen(t, ref, Options{Dir: dir, Platform: platform})
				if im.Config.Cmd[0] != want || im.Platform.String() != want {
					t.Errorf("%s, platform %q: got %s (%s), want %s", name, platform, im.Config.Cmd[0], im.Platform, want)
				}
				if im.Digest != index.Digest() || im.ManifestDigest == index.Digest() {
					t.Errorf("%s: digest %s, manifest %s; the index is %s", name, im.Digest, im.ManifestDigest, index.Digest())
				}
			}
			_, err := Open(t.Context(), ref, Options{Dir: dir, Platform: "linux/riscv64", Policy: quick})
			list := "linux/amd64, linux/amd64/v2, linux/arm/v6, linux/arm/v7, linux/arm64/v8"
			if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), list) || strings.Contains(err.Error(), "unknown") {
				t.Errorf("%s: unknown platform: %v", name, err)
			}
		}
	}
}

func TestImageForAnotherPlatformIsRefused(t *testing.T) {
	im := ocitest.Build(t, ocitest.Spec{Platform: "linux/arm64"})
	dir, refs := sources(t, im)
	for _, ref := range refs {
		_, err := Open(t.Context(), ref, Options{Dir: dir, Policy: quick})
		if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "it is there for: linux/arm64") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	// An index that lies about it is no way round.
	lie := ocitest.Index(t, func(index *v1.IndexManifest) {
		index.Manifests[0].Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	}, im)
	reg := ocitest.NewRegistry(t)
	if _, err := Open(t.Context(), reg.Push(t, "app:v1", lie), Options{Policy: quick}); !errors.Is(err, ErrPlatform) {
		t.Errorf("lying index: %v", err)
	}
}

func TestIndexNestingIsLimited(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	im := platforms(t, nil, "linux/amd64") // one index
	for depth := 1; depth <= maxIndexDepth+1; depth++ {
		_, err := Open(t.Context(), reg.Push(t, "app:v1", im), Options{Policy: quick})
		if depth <= maxIndexDepth && err != nil {
			t.Errorf("%d indexes: %v", depth, err)
		}
		if depth > maxIndexDepth && (err == nil || !strings.Contains(err.Error(), "nested")) {
			t.Errorf("%d indexes: %v, want an error", depth, err)
		}
		im = ocitest.Index(t, nil, im)
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	layer := ocitest.Layer{Entries: []ocitest.Entry{ocitest.File("a", "b")}}
	edit := func(f func(m *v1.Manifest)) *ocitest.Image {
		return ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{layer}, EditManifest: f})
	}
	many := func(n int) *ocitest.Image {
		return ocitest.Build(t, ocitest.Spec{
			Layers: []ocitest.Layer{layer},
			EditConfig: func(cf *v1.ConfigFile) {
				for len(cf.RootFS.DiffIDs) < n {
					cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, cf.RootFS.DiffIDs[0])
				}
			},
			EditManifest: func(m *v1.Manifest) {
				for len(m.Layers) < n {
					m.Layers = append(m.Layers, m.Layers[0])
				}
			},
		})
	}
	sha512 := v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("0", 128)}
	tests := []struct {
		name string
		im   *ocitest.Image
		want string // "" means it opens
	}{
		{"more layers than diffIDs", edit(func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }), "2 layers, but the config has 1"},
		{"fewer layers than diffIDs", edit(func(m *v1.Manifest) { m.Layers = nil }), "0 layers, but the config has 1"},
		{"layers at the limit", many(MaxLayers), ""},
		{"layers past the limit", many(MaxLayers + 1), "limit of 1000"},
		{"foreign layer", edit(func(m *v1.Manifest) { m.Layers[0].URLs = []string{"https://example.com/layer"} }), "foreign"},
		{"nondistributable layer", edit(func(m *v1.Manifest) {
			m.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		}), "foreign"},
		{"encrypted layer", edit(func(m *v1.Manifest) {
			m.Layers[0].MediaType = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
		}), "encrypted"},
		{"negative size", edit(func(m *v1.Manifest) { m.Layers[0].Size = -1 }), "size -1"},
		{"sha512 layer", edit(func(m *v1.Manifest) { m.Layers[0].Digest = sha512 }), "only sha256"},
		{"config digest", edit(func(m *v1.Manifest) { m.Config.Digest = m.Layers[0].Digest }), "config"},
		{"config size too large", edit(func(m *v1.Manifest) { m.Config.Size++ }), "config"},
		{"config size too small", edit(func(m *v1.Manifest) { m.Config.Size-- }), "config"},
		{"negative config size", edit(func(m *v1.Manifest) { m.Config.Size = -1 }), "size -1"},
		{"config size past the limit", edit(func(m *v1.Manifest) { m.Config.Size = MaxDocument + 1 }), "limit of 4194304"},
		{"artifact", edit(func(m *v1.Manifest) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			m.Config.Digest = m.Layers[0].Digest
			m.Config.Size = m.Layers[0].Size
		}), "not a container image"},
		{"artifact with an empty config", ocitest.Build(t, ocitest.Spec{
			Layers:       []ocitest.Layer{layer},
			EditConfig:   func(cf *v1.ConfigFile) { *cf = v1.ConfigFile{} },
			EditManifest: func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.oci.empty.v1+json" },
		}), "not a container image"},
		{"sha512 diffID", ocitest.Build(t, ocitest.Spec{
			Layers:     []ocitest.Layer{layer},
			EditConfig: func(cf *v1.ConfigFile) { cf.RootFS.DiffIDs[0] = sha512 },
		}), "only sha256"},
		{"schema 1", &ocitest.Image{Raw: []byte(`{"schemaVersion":1,"fsLayers":[]}`), MediaType: "application/vnd.docker.distribution.manifest.v1+json"}, "schema 1"},
		{"negative manifest size in an index", ocitest.Index(t, func(index *v1.IndexManifest) { index.Manifests[0].Size = -1 }, ocitest.Build(t, ocitest.Spec{})), "size -1"},
		{"both", &ocitest.Image{Raw: []byte(`{"schemaVersion":2,"layers":[],"manifests":[]}`), MediaType: "application/vnd.oci.image.index.v1+json"}, "or both"},
		{"neither", &ocitest.Image{Raw: []byte(`{"schemaVersion":2}`), MediaType: "application/vnd.oci.image.manifest.v1+json"}, "neither"},
		{"index as an image", &ocitest.Image{
			Raw:       []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`),
			MediaType: "application/vnd.oci.image.manifest.v1+json",
		}, "does not fit media type"},
		{"empty index", ocitest.Index(t, nil), "no image for the platform"},
		{"not JSON", &ocitest.Image{Raw: []byte("<html>"), MediaType: "application/vnd.oci.image.manifest.v1+json"}, "invalid character"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		ocitest.Layout(t, dir, map[string]*ocitest.Image{"": test.im})
		refs := []string{"oci:" + dir}
		if !strings.Contains(test.name, "index") && test.name != "both" { // go-containerregistry's server checks indexes
			refs = append(refs, ocitest.NewRegistry(t).Push(t, "app:v1", test.im))
		}
		for _, ref := range refs {
			im, err := Open(t.Context(), ref, Options{Policy: quick})
			if err == nil {
				_ = im.Close()
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s (%s): %v, want %q", test.name, ref, err, test.want)
			}
		}
	}
}

func TestManifestSizeIsLimited(t *testing.T) {
	for _, extra := range []int{0, 1} {
		im := ocitest.Build(t, ocitest.Spec{})
		im.Raw = append(im.Raw, strings.Repeat(" ", MaxDocument-len(im.Raw)+extra)...)
		dir := t.TempDir()
		ocitest.Layout(t, dir, map[string]*ocitest.Image{"": im})
		for _, ref := range []string{"oci:" + dir, ocitest.NewRegistry(t).Push(t, "app:v1", im)} {
			im, err := Open(t.Context(), ref, Options{Policy: quick})
			if err == nil {
				_ = im.Close()
			}
			if extra == 0 && err != nil || extra == 1 && (err == nil || !strings.Contains(err.Error(), "limit of 4194304")) {
				t.Errorf("%s: %d bytes past the limit: %v", ref, extra, err)
			}
		}
	}
}

// spoiled is a layout with one layer, after f changed the files of its blobs.
func spoiled(t *testing.T, l ocitest.Layer, o Options, f func(blob []byte) []byte, edit func(*v1.Manifest), editConfig func(*v1.ConfigFile)) (Layer, *ocitest.Image) {
	t.Helper()
	im := ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{l}, EditManifest: edit, EditConfig: editConfig})
	dir := t.TempDir()
	ocitest.Layout(t, dir, map[string]*ocitest.Image{"": im})
	if f != nil {
		file := filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(ocitest.Digest(im.Blobs[0]), "sha256:"))
		if err := os.WriteFile(file, f(im.Blobs[0]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return mustOpen(t, "oci:"+dir, o).Layers[0], im
}

func TestLayerThatIsNotWhatItShouldBe(t *testing.T) {
	body := ocitest.Layer{Entries: []ocitest.Entry{ocitest.File("a", strings.Repeat("0123456789", 1000))}}
	raw := ocitest.Tar(t, body.Entries...)
	flip := func(b []byte) []byte {
		b = append([]byte(nil), b...)
		b[len(b)/2] ^= 1
		return b
	}
	gz := ocitest.Compress(t, raw, ocitest.Gzip)
	tests := []struct {
		name  string
		layer ocitest.Layer
		file  func([]byte) []byte
		m     func(*v1.Manifest)
		cf    func(*v1.ConfigFile)
		want  string // "" means it reads well
	}{
		{name: "sound", layer: body},
		{name: "flipped bit", layer: body, file: flip, want: "content is sha256:"},
		{name: "truncated", layer: body, file: func(b []byte) []byte { return b[:len(b)-1] }, want: "ends after"},
		{name: "empty file", layer: body, file: func([]byte) []byte { return nil }, want: "ends after 0"},
		{name: "longer", layer: body, file: func(b []byte) []byte { return append(b, 0) }, want: "longer than its"},
		{name: "size too small", layer: body, m: func(m *v1.Manifest) { m.Layers[0].Size-- }, want: "longer than its"},
		{name: "size too large", layer: body, m: func(m *v1.Manifest) { m.Layers[0].Size++ }, want: "ends after"},
		{name: "diffID", layer: body, cf: func(cf *v1.ConfigFile) { cf.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64) }, want: "diffID is sha256:000"},
		{name: "diffID of the blob", layer: body, cf: func(cf *v1.ConfigFile) {
			cf.RootFS.DiffIDs[0].Hex = strings.TrimPrefix(ocitest.Digest(gz), "sha256:")
		}, want: "diffID is"},
		{name: "gzip with garbage after it", layer: ocitest.Layer{Tar: raw, Blob: append(append([]byte(nil), gz...), "garbage!!!"...)}, want: "decompressing: gzip"},
		{name: "truncated gzip", layer: ocitest.Layer{Tar: raw, Blob: gz[:len(gz)-9]}, want: "decompressing: unexpected EOF"},
		{name: "gzip of two members", layer: ocitest.Layer{Tar: raw, Blob: append(ocitest.Compress(t, raw[:700], ocitest.Gzip), ocitest.Compress(t, raw[700:], ocitest.Gzip)...)}},
		{name: "gzip header alone", layer: ocitest.Layer{Tar: []byte{}, Blob: gz[:4]}, want: "decompressing: unexpected EOF"},
		{name: "zstd", layer: ocitest.Layer{Tar: raw, Compression: ocitest.Zstd}},
		{name: "zstd of two frames", layer: ocitest.Layer{Tar: raw, Blob: append(ocitest.Compress(t, raw[:700], ocitest.Zstd), ocitest.Compress(t, raw[700:], ocitest.Zstd)...)}},
		{name: "zstd after a skippable frame", layer: ocitest.Layer{Tar: raw, Blob: append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), ocitest.Compress(t, raw, ocitest.Zstd)...)}},
		{name: "zstd:chunked, with its table of contents in skippable frames at the end", layer: ocitest.Layer{
			Tar:         raw,
			Blob:        append(append(ocitest.Compress(t, raw[:700], ocitest.Zstd), ocitest.Compress(t, raw[700:], ocitest.Zstd)...), "\x50\x2a\x4d\x18\x03\x00\x00\x00abc\x50\x2a\x4d\x18\x08\x00\x00\x00GNUlInUx"...),
			Compression: ocitest.Zstd,
		}},
		{name: "nothing but a skippable frame", layer: ocitest.Layer{Tar: []byte{}, Blob: []byte("\x5f\x2a\x4d\x18\x03\x00\x00\x00abc")}},
		{name: "skippable frame that ends early", layer: ocitest.Layer{Tar: []byte{}, Blob: []byte("\x5f\x2a\x4d\x18\xff\xff\xff\xffabc")}, want: "decompressing: "},
		{name: "zstd with garbage after it", layer: ocitest.Layer{Tar: raw, Blob: append(ocitest.Compress(t, raw, ocitest.Zstd), "garbage"...)}, want: "decompressing: "},
		{name: "truncated zstd", layer: ocitest.Layer{Tar: raw, Blob: ocitest.Compress(t, raw, ocitest.Zstd)[:30]}, want: "decompressing: "},
		{name: "plain", layer: ocitest.Layer{Tar: raw, Compression: ocitest.Plain}},
		{name: "plain with padding after the end mark", layer: ocitest.Layer{Tar: append(append([]byte(nil), raw...), make([]byte, 12345)...), Compression: ocitest.Plain}},
		{name: "gzip called plain", layer: ocitest.Layer{Tar: raw, MediaType: "application/vnd.oci.image.layer.v1.tar"}},
		{name: "plain called zstd", layer: ocitest.Layer{Tar: raw, Compression: ocitest.Plain, MediaType: "application/vnd.oci.image.layer.v1.tar+zstd"}},
		{name: "zstd called gzip", layer: ocitest.Layer{Tar: raw, Compression: ocitest.Zstd, MediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip"}},
		{name: "empty plain blob", layer: ocitest.Layer{Tar: []byte{}, Blob: []byte{}}},
		{name: "three bytes", layer: ocitest.Layer{Tar: []byte("abc"), Compression: ocitest.Plain}},
		{name: "xz", layer: ocitest.Layer{Tar: raw, Blob: []byte("\xfd7zXZ\x00rest")}, want: "compressed with xz; only gzip and zstd"},
	}
	for _, test := range tests {
		l, im := spoiled(t, test.layer, Options{}, test.file, test.m, test.cf)
		got, err := readLayer(l)
		if test.want == "" {
			if err != nil || string(got) != string(im.Tars[0]) {
				t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), l.Digest) {
			t.Errorf("%s: %v, want %q and the digest", test.name, err, test.want)
		}
	}
}

func TestErrorAtTheEndOfALayerStays(t *testing.T) {
	l, _ := spoiled(t, ocitest.Layer{Entries: []ocitest.Entry{ocitest.File("a", "b")}}, Options{}, nil, nil,
		func(cf *v1.ConfigFile) { cf.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64) })
	r, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, first := io.Copy(io.Discard, r)
	for range 3 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err.Error() != first.Error() {
			t.Errorf("another Read = %d, %v, want %v", n, err, first)
		}
	}
	if !errors.Is(first, cache.ErrMismatch) {
		t.Errorf("%v is not ErrMismatch", first)
	}
}

func TestUncompressedSizeIsLimited(t *testing.T) {
	bomb := ocitest.Layer{Tar: make([]byte, 3<<20)} // 3 KiB of gzip
	for _, c := range []ocitest.Compression{ocitest.Gzip, ocitest.Zstd} {
		bomb.Compression = c
		l, _ := spoiled(t, bomb, Options{MaxLayerBytes: 3 << 20}, nil, nil, nil)
		if b, err := readLayer(l); err != nil || len(b) != 3<<20 {
			t.Errorf("at the limit: %d bytes, %v", len(b), err)
		}
		l, _ = spoiled(t, bomb, Options{MaxLayerBytes: 3<<20 - 1}, nil, nil, nil)
		b, err := readLayer(l)
		if err == nil || !strings.Contains(err.Error(), "limit of 3145727 bytes") || len(b) > 3<<20-1 {
			t.Errorf("past the limit: %d bytes, %v", len(b), err)
		}
	}
}

func TestZstdWindowIsLimited(t *testing.T) {
	// Frame headers by hand (RFC 8878): magic, descriptor without single
	// segment, a window of 2^(10+exponent) bytes, and one empty last block.
	frame := func(exponent byte) []byte {
		return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, exponent << 3, 0x01, 0x00, 0x00}
	}
	l, _ := spoiled(t, ocitest.Layer{Tar: []byte{}, Blob: frame(16)}, Options{}, nil, nil, nil) // 64 MiB
	if _, err := readLayer(l); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	l, _ = spoiled(t, ocitest.Layer{Tar: []byte{}, Blob: frame(17)}, Options{}, nil, nil, nil)
	if _, err := readLayer(l); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("past the limit: %v", err)
	}
}

func TestManyLayers(t *testing.T) {
	var spec ocitest.Spec
	for i := range 200 {
		spec.Layers = append(spec.Layers, ocitest.Layer{Entries: []ocitest.Entry{ocitest.File("f", strings.Repeat("x", i))}})
	}
	im := ocitest.Build(t, spec)
	dir, refs := sources(t, im)
	for _, ref := range refs {
		if !slices.EqualFunc(im.Tars, topDown(t, mustOpen(t, ref, Options{Dir: dir})), bytes.Equal) {
			t.Errorf("%s: layers differ", ref)
		}
	}
}

// noMoreThan waits until there are no more goroutines than before, for those that have been
// told to end may need a moment.
func noMoreThan(t *testing.T, before int) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // it is one
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

func TestClosingEarlyEndsTheGoroutines(t *testing.T) {
	im := sample(t)
	dir, refs := sources(t, im)
	before := runtime.NumGoroutine()
	for _, ref := range refs {
		im, err := Open(t.Context(), ref, Options{Dir: dir, Policy: quick})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 512, 300_000} {
			for _, l := range im.Layers {
				r, err := l.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.CopyN(io.Discard, r, int64(size))
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if err := r.Close(); err != nil { // again does nothing
					t.Error(err)
				}
				if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("%s: Read after Close: %v", ref, err)
				}
			}
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
	noMoreThan(t, before)
}

// silentIndex is an index of which nobody can tell which platforms it has.
func silentIndex(t *testing.T, times int, children ...*ocitest.Image) *ocitest.Image {
	return ocitest.Index(t, func(index *v1.IndexManifest) {
		for i := range index.Manifests {
			index.Manifests[i].Platform = nil
		}
		all := index.Manifests
		for range times - 1 {
			index.Manifests = append(index.Manifests, all...)
		}
	}, children...)
}

// Indexes that lead to the same place a thousand times on every level would be
// 10^12 manifests to who reads them all.
func TestSearchForAPlatformIsLimited(t *testing.T) {
	im := ocitest.Build(t, ocitest.Spec{Platform: "linux/s390x"})
	for range maxIndexDepth {
		im = silentIndex(t, maxIndexEntries, im)
	}
	reg := ocitest.NewRegistry(t)
	_, err := Open(t.Context(), reg.Push(t, "app:v1", im), Options{Policy: quick})
	if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("%v, want ErrPlatform", err)
	}
	if n := len(reg.Seen("/manifests/")); n != maxIndexDepth+1 {
		t.Errorf("%d requests for manifests, want %d", n, maxIndexDepth+1)
	}

	var others []*ocitest.Image
	for i := range maxSearched {
		others = append(others, ocitest.Build(t, ocitest.Spec{Platform: fmt.Sprintf("linux/no%d", i)}))
	}
	wanted := ocitest.Build(t, ocitest.Spec{})
	for n, want := range map[int]string{maxSearched - 2: "", maxSearched - 1: "more than the limit of"} { // the index and the image count too
		dir := t.TempDir()
		index := silentIndex(t, 1, append(slices.Clone(others[:n]), wanted)...)
		ocitest.Layout(t, dir, map[string]*ocitest.Image{"": index})
		im, err := Open(t.Context(), "oci:"+dir, Options{})
		if want == "" {
			if err != nil || im.ManifestDigest != wanted.Digest() {
				t.Errorf("after %d others: %v", n, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("after %d others: %v, want %q", n, err, want)
		}
	}
}

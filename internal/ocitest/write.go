package ocitest

import (
	"archive/tar"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layout writes images, by tag, as an OCI image layout in the folder dir, which
// it makes. The tag "" leaves the annotation out.
func Layout(t testing.TB, dir string, images map[string]*Image) {
	t.Helper()
	for _, e := range layout(t, images) {
		file := filepath.Join(dir, filepath.FromSlash(e.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(e.Body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// OCIArchive writes the same as a tar.
func OCIArchive(t testing.TB, file string, images map[string]*Image) {
	t.Helper()
	write(t, file, Tar(t, layout(t, images)...))
}

func layout(t testing.TB, images map[string]*Image) []Entry {
	t.Helper()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	blobs := map[string]string{}
	for _, tag := range slices.Sorted(maps.Keys(images)) {
		d := images[tag].descriptor()
		if tag != "" {
			d.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag}
		}
		index.Manifests = append(index.Manifests, d)
		images[tag].each(func(b []byte) { blobs[blobName(b)] = string(b) })
	}
	entries := []Entry{
		File("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
		File("index.json", string(encode(t, index))),
	}
	for _, name := range slices.Sorted(maps.Keys(blobs)) {
		entries = append(entries, File(name, blobs[name]))
	}
	return entries
}

func blobName(b []byte) string { return "blobs/" + strings.Replace(Digest(b), ":", "/", 1) }

// A Style is a way to write what docker save writes.
type Style int

// The styles of docker archives.
const (
	Modern     Style = iota // Docker 25 and later: blobs/sha256/…, plain tars
	Legacy                  // before: ID/layer.tar, equal layers as symlinks
	Compressed              // layers compressed, as some other tools do
)

// DockerArchive writes images, by name ("app:1"), as docker save does. The name
// "" leaves it out.
func DockerArchive(t testing.TB, file string, style Style, images map[string]*Image) {
	t.Helper()
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	var files []Entry
	written := map[string]string{} // contents to name
	add := func(name, body string) string {
		if first, ok := written[body]; ok && style == Legacy && strings.HasSuffix(name, "layer.tar") {
			files = append(files, Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: "../" + first}})
			return name
		}
		written[body] = name
		files = append(files, File(name, body))
		return name
	}
	for i, name := range slices.Sorted(maps.Keys(images)) {
		im := images[name]
		e := entry{Config: blobName(im.Config)}
		if style == Legacy {
			e.Config = strings.TrimPrefix(im.ConfigDigest(), "sha256:") + ".json"
		}
		add(e.Config, string(im.Config))
		if name != "" {
			e.RepoTags = []string{name}
		}
		for j := range im.Tars {
			switch style {
			case Legacy:
				e.Layers = append(e.Layers, add(fmt.Sprintf("%d-%d/layer.tar", i, j), string(im.Tars[j])))
			case Compressed:
				e.Layers = append(e.Layers, add(fmt.Sprintf("%d-%d.tar.gz", i, j), string(im.Blobs[j])))
			default:
				e.Layers = append(e.Layers, add(blobName(im.Tars[j]), string(im.Tars[j])))
			}
		}
		manifest = append(manifest, e)
	}
	add("manifest.json", string(encode(t, manifest)))
	write(t, file, Tar(t, files...))
}

func write(t testing.TB, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

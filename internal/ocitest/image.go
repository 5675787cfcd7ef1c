package ocitest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// An Entry is one entry of a layer's tar. Typeflag 0 means a regular file, Mode
// 0 means 0644 (0755 for a directory); Size is that of Body.
type Entry struct {
	tar.Header
	Body string
}

// File is the entry of a regular file.
func File(name, body string) Entry { return Entry{Header: tar.Header{Name: name}, Body: body} }

// Compression is how a layer's blob is compressed.
type Compression int

// The compressions.
const (
	Gzip Compression = iota
	Zstd
	Plain
)

// A Layer says what is in a layer. Tar and Blob, if not nil, replace what would
// be made from Entries and from Tar.
type Layer struct {
	Entries     []Entry
	Tar         []byte // uncompressed
	Compression Compression
	Blob        []byte
	MediaType   string // instead of the right one
}

// A Spec says what is in an image.
type Spec struct {
	Platform string // os/arch[/variant]; "" is linux/amd64
	Docker   bool   // Docker's media types instead of OCI's
	Created  time.Time
	Config   v1.Config
	Layers   []Layer
	// EditConfig and EditManifest change, or spoil, what was made.
	EditConfig   func(*v1.ConfigFile)
	EditManifest func(*v1.Manifest)
}

// An Image is an image manifest or an index with everything below it.
type Image struct {
	Raw       []byte // the manifest's or index's bytes
	MediaType types.MediaType
	Platform  *v1.Platform // nil for an index
	Config    []byte       // nil for an index
	Tars      [][]byte     // uncompressed layers, bottom first
	Blobs     [][]byte     // the same as stored
	Children  []*Image     // of an index
}

// Digest is "sha256:<hex>" of Raw.
func (im *Image) Digest() string { return Digest(im.Raw) }

// ConfigDigest is "sha256:<hex>" of Config.
func (im *Image) ConfigDigest() string { return Digest(im.Config) }

// Digest is "sha256:<hex>" of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Build makes an image.
func Build(t testing.TB, s Spec) *Image {
	t.Helper()
	im := &Image{MediaType: types.OCIManifestSchema1, Platform: platform(s.Platform)}
	configType := types.OCIConfigJSON
	if s.Docker {
		im.MediaType, configType = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	cf := v1.ConfigFile{
		OS: im.Platform.OS, Architecture: im.Platform.Architecture, Variant: im.Platform.Variant,
		Created: v1.Time{Time: s.Created}, Config: s.Config, RootFS: v1.RootFS{Type: "layers"},
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: im.MediaType}
	for _, l := range s.Layers {
		raw, blob := l.build(t)
		im.Tars, im.Blobs = append(im.Tars, raw), append(im.Blobs, blob)
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, hash(raw))
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: l.mediaType(s.Docker), Size: int64(len(blob)), Digest: hash(blob)})
	}
	if s.EditConfig != nil {
		s.EditConfig(&cf)
	}
	im.Config = encode(t, cf)
	m.Config = v1.Descriptor{MediaType: configType, Size: int64(len(im.Config)), Digest: hash(im.Config)}
	if s.EditManifest != nil {
		s.EditManifest(&m)
	}
	im.Raw = encode(t, m)
	return im
}

// Index makes an index of images or indexes. edit, if not nil, changes it.
func Index(t testing.TB, edit func(*v1.IndexManifest), children ...*Image) *Image {
	t.Helper()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, c := range children {
		index.Manifests = append(index.Manifests, c.descriptor())
	}
	if edit != nil {
		edit(&index)
	}
	return &Image{Raw: encode(t, index), MediaType: types.OCIImageIndex, Children: children}
}

func (im *Image) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: im.MediaType, Size: int64(len(im.Raw)), Digest: hash(im.Raw), Platform: im.Platform}
}

// each calls f for every blob of the image, manifests and configs included.
func (im *Image) each(f func(blob []byte)) {
	f(im.Raw)
	if im.Config != nil {
		f(im.Config)
	}
	for _, b := range im.Blobs {
		f(b)
	}
	for _, c := range im.Children {
		c.each(f)
	}
}

func platform(s string) *v1.Platform {
	if s == "" {
		s = "linux/amd64"
	}
	parts := append(strings.Split(s, "/"), "", "")
	return &v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

// Tar returns the entries as an uncompressed tar.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		hdr := e.Header
		if hdr.Typeflag == 0 {
			hdr.Typeflag = tar.TypeReg
		}
		if hdr.Mode == 0 {
			hdr.Mode = 0o644
			if hdr.Typeflag == tar.TypeDir {
				hdr.Mode = 0o755
			}
		}
		hdr.Size = int64(len(e.Body))
		if err := w.WriteHeader(&hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.Body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Compress returns b compressed.
func Compress(t testing.TB, b []byte, c Compression) []byte {
	t.Helper()
	var buf bytes.Buffer
	switch c {
	case Plain:
		return b
	case Gzip:
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	case Zstd:
		w, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func (l Layer) build(t testing.TB) (raw, blob []byte) {
	t.Helper()
	raw, blob = l.Tar, l.Blob
	if raw == nil {
		raw = Tar(t, l.Entries...)
	}
	if blob == nil {
		blob = Compress(t, raw, l.Compression)
	}
	return raw, blob
}

func (l Layer) mediaType(docker bool) types.MediaType {
	switch {
	case l.MediaType != "":
		return types.MediaType(l.MediaType)
	case l.Compression == Zstd:
		return types.OCILayerZStd
	case docker && l.Compression == Plain:
		return types.DockerUncompressedLayer
	case docker:
		return types.DockerLayer
	case l.Compression == Plain:
		return types.OCIUncompressedLayer
	}
	return types.OCILayer
}

func hash(b []byte) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: Digest(b)[len("sha256:"):]}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Floor does the least that turning an image into a disk image can cost, and nothing else: it
// reads every layer, checks the digest of what is stored, decompresses it, checks the digest
// of what comes out, and writes as many bytes as the finished image holds, once.
//
//	floor -write BYTES -out FILE LAYOUT
//
// It is what fledge's time is held against, see docs/benchmarks.md.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run() error {
	limit := flag.Int64("write", 0, "bytes to write")
	name := flag.String("out", os.DevNull, "file to write them to")
	flag.Parse()
	layout := flag.Arg(0)
	layers, diffIDs, err := readImage(layout)
	if err != nil {
		return err
	}
	file, err := os.Create(*name)
	if err != nil {
		return err
	}
	defer file.Close()
	out := &limited{w: file, left: *limit}
	var total stats
	for i, layer := range layers {
		s, err := readLayer(layout, layer, diffIDs[i], out)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		total.Stored += s.Stored
		total.Unpacked += s.Unpacked
		total.Layers++
	}
	if err := file.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

// stats is what bench prints about the input.
type stats struct {
	Layers   int   `json:"layers"`
	Stored   int64 `json:"stored"`   // bytes of all layers as they lie there
	Unpacked int64 `json:"unpacked"` // bytes of all layers without compression
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
}

// readImage returns the layers and diffIDs of the only image in an OCI layout.
func readImage(layout string) (layers []descriptor, diffIDs []string, err error) {
	var index struct{ Manifests []descriptor }
	if err := readJSON(filepath.Join(layout, "index.json"), &index); err != nil {
		return nil, nil, err
	}
	if len(index.Manifests) != 1 {
		return nil, nil, fmt.Errorf("%d images in %q, want 1", len(index.Manifests), layout)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := readJSON(blob(layout, index.Manifests[0].Digest), &manifest); err != nil {
		return nil, nil, err
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := readJSON(blob(layout, manifest.Config.Digest), &config); err != nil {
		return nil, nil, err
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, nil, fmt.Errorf("%d layers and %d diffIDs", len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	return manifest.Layers, config.RootFS.DiffIDs, nil
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func blob(layout, digest string) string {
	return filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func readLayer(layout string, layer descriptor, diffID string, out io.Writer) (stats, error) {
	if !strings.HasSuffix(layer.MediaType, "gzip") {
		return stats{}, fmt.Errorf("media type %q is not gzip", layer.MediaType)
	}
	file, err := os.Open(blob(layout, layer.Digest))
	if err != nil {
		return stats{}, err
	}
	defer file.Close()
	stored, unpacked := &counter{hash: sha256.New()}, &counter{hash: sha256.New()}
	source := bufio.NewReaderSize(io.TeeReader(file, stored), 1<<18)
	z, err := gzip.NewReader(source)
	if err != nil {
		return stats{}, err
	}
	buffer := make([]byte, 1<<18)
	if _, err := io.CopyBuffer(io.MultiWriter(unpacked, out), onlyReader{z}, buffer); err != nil {
		return stats{}, err
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return stats{}, err
	}
	if err := stored.check(layer.Digest); err != nil {
		return stats{}, err
	}
	return stats{1, stored.n, unpacked.n}, unpacked.check(diffID)
}

// onlyReader hides WriteTo, so that the buffer is used.
type onlyReader struct{ io.Reader }

type counter struct {
	hash hash.Hash
	n    int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}

func (c *counter) check(digest string) error {
	if got := "sha256:" + hex.EncodeToString(c.hash.Sum(nil)); got != digest {
		return fmt.Errorf("digest is %s, want %s", got, digest)
	}
	return nil
}

// limited passes on that many bytes and drops the rest.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(int64(len(p)), l.left)
	l.left -= n
	if n > 0 {
		if _, err := l.w.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
)

// hostPath is a path in a reference, which the user gave.
func hostPath(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func openLayout(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	dir, err := openDir(hostPath(o.Dir, r.path))
	if notExist(err) {
		return nil, fmt.Errorf("%w: no directory %q", ErrNotFound, r.path)
	}
	if err != nil {
		return nil, err
	}
	return fromLayout(ctx, &layout{files: dir}, r, want, o)
}

// fromLayout opens the image of an OCI layout, and closes the layout if it
// cannot.
func fromLayout(ctx context.Context, l *layout, r Reference, want Platform, o Options) (*Image, error) {
	im, err := func() (*Image, error) {
		root, err := l.find(r, want)
		if err != nil {
			return nil, err
		}
		return resolve(ctx, l, root, want, o)
	}()
	if err != nil {
		_ = l.close()
		return nil, err
	}
	return im, nil
}

// A layout is an OCI image layout, as a directory or in a tar.
// https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
type layout struct{ files }

// Annotations under which index.json keeps a tag: the specification's, and
// containerd's for the whole reference.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// find returns the entry of index.json that a reference means.
func (l *layout) find(r Reference, want Platform) (descriptor, error) {
	if r.digest != "" {
		hash, err := v1.NewHash(r.digest)
		return descriptor{Digest: hash, Size: anySize}, err
	}
	raw, err := readSmall(l.files, "index.json")
	if notExist(err) {
		return descriptor{}, fmt.Errorf("%w: %q has no index.json, so it is not an OCI image layout", ErrNotFound, r.path)
	}
	if err != nil {
		return descriptor{}, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return descriptor{}, fmt.Errorf("reading index.json: %w", err)
	}
	var found []descriptor
	var tags []string
	for _, d := range index.Manifests {
		if tag := d.Annotations[refName]; tag != "" {
			tags = append(tags, tag)
		}
		if r.selector == "" || d.Annotations[refName] == r.selector || d.Annotations[containerdName] == r.selector {
			found = append(found, d)
		}
	}
	if len(found) > 1 {
		found = forPlatform(found, want)
	}
	if len(found) == 1 {
		if err := checkDocument(found[0]); err != nil {
			return descriptor{}, fmt.Errorf("reading index.json: manifest %s: %w", found[0].Digest, err)
		}
		return found[0], nil
	}
	return descriptor{}, tagError(r, len(found), len(index.Manifests), tags)
}

// forPlatform narrows several entries to those for the platform, if they say.
func forPlatform(all []descriptor, want Platform) []descriptor {
	var found []descriptor
	for _, d := range all {
		if d.Platform != nil && want.matches(platformOf(d.Platform)) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return all
	}
	return found
}

func tagError(r Reference, found, all int, tags []string) error {
	slices.Sort(tags)
	have := "it has no tags"
	if len(tags) > 0 {
		have = "it has " + strings.Join(nearest(r.selector, tags), ", ")
	}
	switch {
	case all == 0:
		return fmt.Errorf("%w: %q holds no image", ErrNotFound, r.path)
	case found > 1:
		return fmt.Errorf("%w: %q holds %d images; name one with %s:%s:TAG (%s) or @sha256:…", ErrNotFound, r.path, found, r.Kind, r.path, have)
	default:
		return fmt.Errorf("%w: no tag %q in %q; %s", ErrNotFound, r.selector, r.path, have)
	}
}

func (l *layout) openBlob(d descriptor) (file, error) {
	digits, err := cache.Hex(d.Digest.String())
	if err != nil {
		return file{}, err
	}
	f, err := l.open("blobs/sha256/" + digits)
	if notExist(err) {
		return f, fmt.Errorf("%w: blob %s is missing from the layout", ErrNotFound, d.Digest)
	}
	return f, err
}

func (l *layout) document(_ context.Context, d descriptor) ([]byte, error) {
	f, err := l.openBlob(d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if f.size > MaxDocument {
		return nil, fmt.Errorf("size %d is more than the limit of %d bytes", f.size, MaxDocument)
	}
	return io.ReadAll(io.LimitReader(f, MaxDocument+1))
}

func (l *layout) blob(_ context.Context, d descriptor) (io.ReadCloser, error) {
	f, err := l.openBlob(d)
	if err != nil {
		return nil, err
	}
	v, err := cache.Verify(f, d.Digest.String(), d.Size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{Reader: v, Closer: f, size: f.size}, nil
}

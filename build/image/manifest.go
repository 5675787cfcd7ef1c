package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/volant/fledge-action/build/cache"
)

type descriptor = v1.Descriptor

// maxIndexDepth is how deep indexes may be nested.
const maxIndexDepth = 4

// maxIndexEntries is how many descriptors of one index are looked at.
const maxIndexEntries = 1000

// maxSearched is how many manifests and indexes are read to find one image. Few
// indexes leave out their entries' platforms, and none has many such entries.
const maxSearched = 200

// anySize is the size of a descriptor that was asked for by digest alone.
const anySize = cache.AnySize

// resolve turns the manifest or index behind root into an Image.
func resolve(ctx context.Context, src source, root descriptor, want Platform, o Options) (*Image, error) {
	s := search{src: src, want: want, o: o, seen: map[v1.Hash]bool{}}
	im, err := s.find(ctx, root, 0)
	if err != nil {
		return nil, err
	}
	im.Digest = root.Digest.String()
	return im, nil
}

// search looks for the image of one platform.
type search struct {
	src  source
	want Platform
	o    Options
	seen map[v1.Hash]bool // manifests and indexes that were read
}

// find follows indexes from d.
func (s search) find(ctx context.Context, d descriptor, depth int) (*Image, error) {
	switch {
	case depth > maxIndexDepth:
		return nil, fmt.Errorf("reading index %s: nested more than %d deep", d.Digest, maxIndexDepth)
	case s.seen[d.Digest]: // and it did not lead to the platform
		return nil, newPlatformError(s.want, nil)
	case len(s.seen) == maxSearched:
		return nil, fmt.Errorf("reading manifest %s: more than the limit of %d manifests and indexes to look for %s in", d.Digest, maxSearched, s.want)
	}
	s.seen[d.Digest] = true
	if depth > 0 {
		if err := checkDocument(d); err != nil {
			return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
		}
	}
	raw, err := readDocument(ctx, s.src, d, "manifest")
	if err != nil {
		return nil, err
	}
	m, index, err := parseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	if m != nil {
		im, err := fromManifest(ctx, s.src, m, s.want, s.o)
		if err == nil {
			im.ManifestDigest = d.Digest.String()
		}
		return im, err
	}
	found, available, err := pick(index, s.want)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", d.Digest, err)
	}
	for _, child := range found {
		if child.MediaType == "" { // a manifest all the same: pick has no others
			child.MediaType = types.OCIManifestSchema1
		}
		im, err := s.find(ctx, child, depth+1)
		var other *PlatformError
		if !errors.As(err, &other) {
			return im, err
		}
		available = append(available, other.Available...) // the next may be the one
	}
	return nil, newPlatformError(s.want, available)
}

var errSchema1 = errors.New("schema 1 is not supported; push the image again with a current tool")

// A PlatformError reports an image that is not there for the platform wanted.
// It is ErrPlatform.
type PlatformError struct {
	Want      Platform
	Available []string // sorted
}

func newPlatformError(want Platform, available []string) *PlatformError {
	slices.Sort(available)
	return &PlatformError{Want: want, Available: slices.Compact(available)}
}

func (e *PlatformError) Error() string {
	if len(e.Available) == 0 {
		return fmt.Sprintf("%v %s", ErrPlatform, e.Want)
	}
	return fmt.Sprintf("%v %s; it is there for: %s", ErrPlatform, e.Want, strings.Join(e.Available, ", "))
}

// Unwrap makes errors.Is(err, ErrPlatform) true.
func (e *PlatformError) Unwrap() error { return ErrPlatform }

// fromManifest reads the config of an image manifest and pairs it with the
// layers.
func fromManifest(ctx context.Context, src source, m *v1.Manifest, want Platform, o Options) (*Image, error) {
	if err := checkDocument(m.Config); err != nil {
		return nil, fmt.Errorf("reading config %s: %w", m.Config.Digest, err)
	}
	raw, err := readDocument(ctx, src, m.Config, "config")
	if err != nil {
		return nil, err
	}
	im, diffIDs, err := fromConfig(raw, want)
	if err == nil && len(diffIDs) != len(m.Layers) {
		err = fmt.Errorf("reading manifest: %d layers, but the config has %d diffIDs", len(m.Layers), len(diffIDs))
	}
	if err != nil {
		if !isConfig(m.Config.MediaType) {
			return nil, fmt.Errorf("config has media type %q: not a container image: %w", m.Config.MediaType, err)
		}
		return nil, err
	}
	im.ConfigDigest = m.Config.Digest.String()
	im.close = src.close
	if len(m.Layers) > MaxLayers {
		return nil, fmt.Errorf("reading manifest: %d layers, more than the limit of %d", len(m.Layers), MaxLayers)
	}
	for i, d := range m.Layers {
		if err := checkLayer(d, o.MaxLayerBytes); err != nil {
			return nil, fmt.Errorf("reading manifest: layer %d: %w", i+1, err)
		}
		im.Layers = append(im.Layers, Layer{
			Digest:    d.Digest.String(),
			DiffID:    diffIDs[i].String(),
			Size:      d.Size,
			MediaType: string(d.MediaType),
			limit:     o.MaxLayerBytes,
			blob:      func(ctx context.Context) (io.ReadCloser, error) { return src.blob(ctx, d) },
		})
	}
	return im, nil
}

func isConfig(t types.MediaType) bool {
	return t == types.DockerConfigJSON || t == types.OCIConfigJSON
}

// checkDocument looks at a manifest's, index's or config's descriptor in another
// document. A negative size would stand for any.
func checkDocument(d descriptor) error {
	if d.Size < 0 || d.Size > MaxDocument {
		return fmt.Errorf("size %d is not within the limit of %d bytes", d.Size, MaxDocument)
	}
	return nil
}

func checkLayer(d descriptor, limit int64) error {
	if d.Digest.Algorithm != "sha256" {
		return fmt.Errorf("digest %q: only sha256 is supported", d.Digest)
	}
	if d.Size < 0 || d.Size > limit {
		return fmt.Errorf("size %d is not within the limit of %d bytes", d.Size, limit)
	}
	t := string(d.MediaType)
	switch {
	case strings.Contains(t, "encrypted"):
		return fmt.Errorf("media type %q: encrypted layers cannot be read; decrypt the image first", t)
	case len(d.URLs) > 0, strings.Contains(t, "foreign"), strings.Contains(t, "nondistributable"):
		return fmt.Errorf("media type %q: a foreign layer, which is not in the image itself; push the image with its layers included", t)
	}
	return nil
}

// readDocument reads and checks a manifest, index or config.
func readDocument(ctx context.Context, src source, d descriptor, what string) ([]byte, error) {
	raw, err := src.document(ctx, d)
	if err == nil && len(raw) > MaxDocument {
		err = fmt.Errorf("size %d is more than the limit of %d bytes", len(raw), MaxDocument)
	}
	if err == nil {
		err = verifyBytes(raw, d)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", what, d.Digest, err)
	}
	return raw, nil
}

func verifyBytes(raw []byte, d descriptor) error {
	v, err := cache.Verify(bytes.NewReader(raw), d.Digest.String(), d.Size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, v)
	return err
}

// pick returns the entries of an index that may lead to an image for want, best
// first, and the platforms there are.
func pick(index *v1.IndexManifest, want Platform) (found []descriptor, available []string, err error) {
	if len(index.Manifests) > maxIndexEntries {
		return nil, nil, fmt.Errorf("%d entries, more than the limit of %d", len(index.Manifests), maxIndexEntries)
	}
	var silent []descriptor // those that do not say their platform
	for _, d := range index.Manifests {
		switch {
		case !isManifest(d):
		case d.Platform == nil:
			silent = append(silent, d)
		case want.matches(platformOf(d.Platform)):
			found = append(found, d)
		default:
			available = append(available, platformOf(d.Platform).String())
		}
	}
	if len(found) > 0 {
		return found[:1], available, nil // the first that matches, as the specification says
	}
	return silent, available, nil
}

// isManifest leaves out what an index holds besides images: attestations,
// signatures, other artifacts.
func isManifest(d descriptor) bool {
	if d.Platform != nil && d.Platform.OS == "unknown" {
		return false
	}
	if d.Annotations["vnd.docker.reference.type"] != "" || d.ArtifactType != "" {
		return false
	}
	switch d.MediaType {
	case types.OCIManifestSchema1, types.DockerManifestSchema2, types.OCIImageIndex, types.DockerManifestList, "":
		return true
	}
	return false
}

// parseManifest reads an image manifest or an index and tells which by what it
// holds. A document that could be both is refused, for two readers could take
// it for two things.
func parseManifest(raw []byte) (*v1.Manifest, *v1.IndexManifest, error) {
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return nil, nil, err
	}
	isIndex, isImage := shape.Manifests != nil, shape.Config != nil || shape.Layers != nil
	switch {
	case shape.SchemaVersion == 1 || shape.FSLayers != nil:
		return nil, nil, errSchema1
	case isIndex == isImage:
		return nil, nil, errors.New("neither an image manifest nor an index, or both")
	case shape.MediaType.IsIndex() && isImage, shape.MediaType.IsImage() && isIndex:
		return nil, nil, fmt.Errorf("content does not fit media type %q", shape.MediaType)
	case isIndex:
		var index v1.IndexManifest
		err := json.Unmarshal(raw, &index)
		return nil, &index, err
	default:
		var m v1.Manifest
		err := json.Unmarshal(raw, &m)
		return &m, nil, err
	}
}

// fromConfig reads a config into an Image without layers, and the diffIDs.
func fromConfig(raw []byte, want Platform) (*Image, []v1.Hash, error) {
	var cf v1.ConfigFile
	if err := json.Unmarshal(raw, &cf); err != nil {
		return nil, nil, fmt.Errorf("reading config: %w", err)
	}
	have := Platform{OS: cf.OS, Architecture: cf.Architecture, Variant: cf.Variant}
	switch {
	case have.OS == "" && have.Architecture == "":
		have = want
	case have.Variant == "": // configs often leave out what the index says
		have.Variant = want.Variant
		if !want.matches(have) {
			have.Variant = ""
			return nil, nil, newPlatformError(want, []string{have.String()})
		}
	case !want.matches(have):
		return nil, nil, newPlatformError(want, []string{have.String()})
	}
	for _, id := range cf.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return nil, nil, fmt.Errorf("reading config: diffID %q: only sha256 is supported", id)
		}
	}
	return &Image{
		Platform: have,
		Config: Config{
			Entrypoint:   cf.Config.Entrypoint,
			Cmd:          cf.Config.Cmd,
			Env:          cf.Config.Env,
			WorkingDir:   cf.Config.WorkingDir,
			User:         cf.Config.User,
			ExposedPorts: slices.Sorted(maps.Keys(cf.Config.ExposedPorts)),
			Labels:       cf.Config.Labels,
			Created:      cf.Created.Time,
		},
	}, cf.RootFS.DiffIDs, nil
}

package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
)

// Limits on what describes an image.
const (
	MaxDocument = 4 << 20 // bytes of a manifest, index or config
	MaxLayers   = 1000
)

// DefaultMaxLayerBytes is the limit on one layer, in bytes.
const DefaultMaxLayerBytes int64 = 64 << 30

// Errors that callers tell apart.
var (
	ErrNotFound     = errors.New("image not found")
	ErrUnauthorized = errors.New("not authorized")
	ErrPlatform     = errors.New("no image for the platform")
	ErrPin          = errors.New("not the image that is pinned")
)

// Options says how images are opened. The zero value opens linux/amd64 images,
// anonymously, without a cache.
type Options struct {
	// Dir is what relative paths in references are relative to.
	Dir string
	// Pin is what the reference has to stand for.
	Pin Pin
	// Platform is os/architecture[/variant]; "" is DefaultPlatform.
	Platform string
	// Keychain finds credentials for registries; nil asks anonymously.
	Keychain authn.Keychain
	// Transport reaches registries; nil is http.DefaultTransport.
	Transport http.RoundTripper
	// PlainHTTP allows http to a registry that is not on a loopback address.
	PlainHTTP bool
	// Policy is how registries are asked again.
	Policy fetch.Policy
	// Cache keeps downloaded blobs; nil spools them in TempDir.
	Cache *cache.Cache
	// TempDir is for spooled archives; "" is the system's default.
	TempDir string
	// DockerHost is the daemon's socket, unix:///PATH; "" is DefaultDockerHost.
	DockerHost string
	// MaxLayerBytes limits each layer, compressed and uncompressed, and a spooled
	// archive; 0 is DefaultMaxLayerBytes.
	MaxLayerBytes int64
	// Prefetch is how many blobs are downloaded ahead at once; 0 means 3, less
	// than 0 none.
	Prefetch int
}

// A Pin is what a reference stood for at another time. Its zero value is none.
type Pin struct {
	// Digest is the index's or image manifest's. The image is opened by it, whatever
	// a tag in the reference stands for by now. Images of docker save have none.
	Digest string
	// Manifest and Config are the digests of the platform's image manifest and of
	// its config. The image must have them; "" leaves it open.
	Manifest, Config string
}

// check fails with ErrPin for an image that is not the pinned one.
func (p Pin) check(im *Image) error {
	for _, d := range []struct{ what, want, have string }{
		{"manifest", p.Manifest, im.ManifestDigest}, {"config", p.Config, im.ConfigDigest},
	} {
		if d.want != "" && d.want != d.have {
			return fmt.Errorf("%w: its %s is %s, and %s is pinned", ErrPin, d.what, cmp.Or(d.have, "without a digest"), d.want)
		}
	}
	return nil
}

// An Image is one platform's image: what the config says and the layers.
type Image struct {
	// Ref is the reference as written, without "docker://".
	Ref string
	// Repository is host and path of a registry's repository, spelled out
	// ("docker.io/library/nginx"), or "".
	Repository string
	// Name and Tag are those of the Reference.
	Name, Tag string
	// Digest is what the reference stands for: the index's if it was an index.
	// "" for docker-archive and docker-daemon, which keep no manifest.
	Digest string
	// ManifestDigest is the image manifest's; "" where Digest is.
	ManifestDigest string
	ConfigDigest   string
	// Platform is what the config says; what was asked for if it says nothing.
	Platform Platform
	Config   Config
	// Layers are in the order they are applied: the bottom one first.
	Layers []Layer

	close func() error
}

// Config is the part of the image's configuration that says how to run it.
type Config struct {
	Entrypoint   []string
	Cmd          []string
	Env          []string // NAME=value, in the image's order
	WorkingDir   string
	User         string
	ExposedPorts []string // "80/tcp", sorted by byte value
	Labels       map[string]string
	Created      time.Time // zero if the image does not say
}

// Close stops downloads and frees what the image holds. Layers that are still
// open fail.
func (im *Image) Close() error { return im.close() }

// A Layer is one layer of an image.
type Layer struct {
	// Digest is the blob's; "" for a compressed layer of a docker archive, whose
	// digest nobody has written down.
	Digest    string
	DiffID    string // digest of the uncompressed tar
	Size      int64  // bytes of the blob
	MediaType string // as stated; Open goes by the bytes

	// Progress is told how many bytes of the blob have been read since the last
	// time, from a goroutine of its own. It may be nil.
	Progress func(n int)

	limit int64
	blob  func(context.Context) (io.ReadCloser, error)
}

// A source holds the documents and blobs of one image.
type source interface {
	// document returns a manifest, index or config of at most MaxDocument bytes.
	// The caller checks its digest.
	document(ctx context.Context, d descriptor) ([]byte, error)
	// blob opens a layer. The reader ends with io.EOF only if digest and size
	// were right.
	blob(ctx context.Context, d descriptor) (io.ReadCloser, error)
	close() error
}

// Open finds the image that ref stands for and reads its manifest and config.
// Layers are fetched when they are opened. ctx bounds the whole life of the
// image, not only of this call. The caller closes the image.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	r, err := Parse(ref)
	if err != nil {
		return nil, err
	}
	want, err := ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	if o.MaxLayerBytes == 0 {
		o.MaxLayerBytes = DefaultMaxLayerBytes
	}
	at, err := r.at(o.Pin.Digest)
	if err != nil {
		return nil, err
	}
	im, err := open(ctx, at, want, o)
	if err == nil {
		if err = o.Pin.check(im); err != nil {
			err = errors.Join(err, im.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", r, err)
	}
	im.Ref, im.Name, im.Tag, im.Repository = r.text, r.Name, r.Tag, r.repository()
	return im, nil
}

func open(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	switch r.Kind {
	case Layout:
		return openLayout(ctx, r, want, o)
	case OCIArchive:
		return openOCIArchive(ctx, r, want, o)
	case DockerArchive:
		return openDockerArchive(ctx, r, want, o)
	case DockerDaemon:
		return openDaemon(ctx, r, want, o)
	default:
		return openRegistry(ctx, r, want, o)
	}
}

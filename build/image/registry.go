package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
)

// maxTagList is how much of a registry's list of tags is read for an error
// message, in bytes.
const maxTagList = 8 << 20

// maxRefusal is how much of an answer that is an error is read, in bytes. Of one
// longer than 64 KiB go-containerregistry would not even tell the status.
const maxRefusal = 32 << 10

// A registry is a repository in a registry, reached with the right to pull.
type registry struct {
	repo   name.Repository
	rt     http.RoundTripper // authenticated
	policy fetch.Policy
	blobs  *downloads
	cache  *cache.Cache
	own    bool // cache is closed with the registry
}

func openRegistry(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	ref, err := withScheme(r.remote, o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	reg, err := dial(ctx, ref.Context(), o)
	if err != nil {
		return nil, explain(err, r, ref, nil)
	}
	im, err := func() (*Image, error) {
		root, err := reg.root(ctx, ref)
		if err != nil {
			return nil, explain(err, r, ref, func() []string { return reg.tags(ctx, ref) })
		}
		return resolve(ctx, reg, root, want, o)
	}()
	if err != nil {
		_ = reg.close()
		return nil, err
	}
	reg.prefetchOnUse(im)
	return im, nil
}

// withScheme marks a reference for plain http where that is allowed.
// go-containerregistry falls back to http by itself for private addresses and
// *.localhost too; there the Guard below stands in its way.
func withScheme(ref name.Reference, plainHTTP bool) (name.Reference, error) {
	if !plainHTTP && !fetch.Loopback(ref.Context().RegistryStr()) {
		return ref, nil
	}
	return name.ParseReference(ref.Name(), name.Insecure)
}

// dial finds out how to reach a repository and authenticates.
func dial(ctx context.Context, repo name.Repository, o Options) (*registry, error) {
	base := newBodyLimit(o.Policy.Transport(o.Transport))
	guarded := fetch.Guard(base, repo.RegistryStr(), o.PlainHTTP)
	auth := authn.Anonymous
	if o.Keychain != nil {
		var err error
		if auth, err = credentials(ctx, o.Keychain, repo); err != nil {
			return nil, fmt.Errorf("finding credentials for %s: %w", repo.RegistryStr(), err)
		}
	}
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, guarded, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	reg := &registry{repo: repo, rt: rt, policy: o.Policy, cache: o.Cache}
	if reg.cache == nil {
		reg.cache, reg.own = cache.New(cache.Options{TempDir: o.TempDir}), true
	}
	reg.blobs = newDownloads(ctx, reg.cache, reg.download, cmp.Or(o.Prefetch, 3))
	return reg, nil
}

// credentials asks the keychain, which may start a program that waits for a user
// and knows nothing of ctx.
func credentials(ctx context.Context, k authn.Keychain, repo name.Repository) (authn.Authenticator, error) {
	type answer struct {
		auth authn.Authenticator
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		auth, err := authn.Resolve(ctx, k, repo)
		answers <- answer{auth, err}
	}()
	select {
	case a := <-answers:
		return a.auth, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bodyLimit cuts every answer that is not a blob: neither a manifest nor a list
// of tags needs more, and not every reader of them has a limit of its own.
type bodyLimit struct{ blobs, others http.RoundTripper }

func newBodyLimit(base http.RoundTripper) bodyLimit {
	return bodyLimit{blobs: base, others: fetch.Within(base, fetch.MaxDocumentTime)}
}

func (b bodyLimit) RoundTrip(req *http.Request) (*http.Response, error) {
	base := b.others
	if isBlob(req) {
		base = b.blobs
	}
	resp, err := base.RoundTrip(req)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxRefusal), resp.Body}
		resp.ContentLength = -1
		return resp, nil
	}
	if err != nil || isBlob(req) {
		return resp, err
	}
	limit := int64(maxTagList)
	if strings.Contains(req.URL.Path, "/manifests/") {
		limit = MaxDocument
	}
	resp.Body = &limitedBody{Reader: io.LimitReader(resp.Body, limit+1), Closer: resp.Body, left: limit, limit: limit}
	return resp, nil
}

// isBlob tells a request for a blob, wherever it was redirected to. The colon is
// in no repository's name.
func isBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/sha256:")
}

type limitedBody struct {
	io.Reader
	io.Closer
	left, limit int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.left -= int64(n); l.left < 0 {
		_ = l.Close() // not every reader does after an error
		return 0, fmt.Errorf("answer is larger than the limit of %d bytes", l.limit)
	}
	return n, err
}

// remote is how go-containerregistry is told to use the one transport that has
// been authenticated; it adds neither pings nor retries of its own to it.
func (r *registry) remote(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(r.rt)}
}

// root asks what the reference stands for.
func (r *registry) root(ctx context.Context, ref name.Reference) (descriptor, error) {
	d, err := r.manifest(ctx, ref)
	if err != nil {
		return descriptor{}, err
	}
	if d.MediaType.IsSchema1() {
		return descriptor{}, errSchema1 // a signed one's digest is not that of its bytes
	}
	r.blobs.keep(d.Digest, d.Manifest)
	return descriptor{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}, nil
}

// manifest asks for a manifest or index, again when the connection breaks off.
func (r *registry) manifest(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	for attempt := 1; ; attempt++ {
		d, err := remote.Get(ref, r.remote(ctx)...)
		if err == nil || !fetch.Temporary(err) || attempt > 2 || ctx.Err() != nil {
			return d, err
		}
		if err := r.policy.Pause(ctx, attempt, 0, err); err != nil {
			return nil, err
		}
	}
}

func (r *registry) document(ctx context.Context, d descriptor) ([]byte, error) {
	if raw, ok := r.blobs.kept(d.Digest); ok {
		return raw, nil
	}
	if d.MediaType.IsImage() || d.MediaType.IsIndex() {
		got, err := r.manifest(ctx, r.repo.Digest(d.Digest.String()))
		if err != nil {
			return nil, bare(refusal(err))
		}
		return got.Manifest, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fetch.MaxDocumentTime, &fetch.SlowError{After: fetch.MaxDocumentTime})
	defer cancel()
	blob, err := r.blobs.open(ctx, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(blob)
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return raw, errors.Join(err, blob.Close())
}

func (r *registry) blob(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	return r.blobs.open(ctx, d)
}

func (r *registry) close() error {
	r.blobs.close()
	if r.own {
		return r.cache.Close()
	}
	return nil
}

// prefetchOnUse makes the first open of a layer start the downloads of all.
func (r *registry) prefetchOnUse(im *Image) {
	ds := make([]descriptor, len(im.Layers))
	for i, l := range im.Layers {
		hash, err := v1.NewHash(l.Digest)
		if err != nil {
			return // not reached: the digest came from a Hash
		}
		ds[len(ds)-1-i] = descriptor{Digest: hash, Size: l.Size}
	}
	for i := range im.Layers {
		open := im.Layers[i].blob
		im.Layers[i].blob = func(ctx context.Context) (io.ReadCloser, error) {
			blob, err := open(ctx) // first, so that it does not queue behind the others
			if err == nil {
				r.blobs.prefetch(ds)
			}
			return blob, err
		}
	}
}

// download writes a blob to w. A connection that breaks off is resumed where it
// broke.
func (r *registry) download(ctx context.Context, d descriptor, w io.Writer) error {
	const resumes = 10 // in all for one blob
	buf := make([]byte, 128<<10)
	var off int64
	for attempt := 1; ; attempt++ {
		n, err := r.downloadFrom(ctx, d, off, w, buf)
		off += n
		if err == nil || ctx.Err() != nil || !fetch.Temporary(err) || attempt > resumes {
			return err
		}
		why := fmt.Errorf("blob %s broke off after %d of %d bytes: %w", d.Digest, off, d.Size, err)
		if err := r.policy.Pause(ctx, min(attempt, 3), 0, why); err != nil {
			return err
		}
	}
}

// downloadFrom appends the blob's bytes from off on to w and returns how many
// there were.
func (r *registry) downloadFrom(ctx context.Context, d descriptor, off int64, w io.Writer, buf []byte) (int64, error) {
	body, err := r.get(ctx, d, off)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	var n int64
	for {
		m, err := body.Read(buf)
		if m > 0 {
			wrote, werr := w.Write(buf[:m])
			n += int64(wrote)
			if werr != nil {
				return n, werr
			}
		}
		if err == io.EOF && off+n < d.Size {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// get asks for a blob from an offset on, which the body then begins with.
func (r *registry) get(ctx context.Context, d descriptor, off int64) (io.ReadCloser, error) {
	resp, err := r.request(ctx, d, off)
	if err == nil && off > 0 && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		_ = resp.Body.Close()
		resp, err = r.request(ctx, d, 0)
	}
	if err != nil {
		return nil, bare(err)
	}
	if err := r.checkRange(resp, d, off); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp.Body, nil
}

func (r *registry) request(ctx context.Context, d descriptor, off int64) (*http.Response, error) {
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", r.repo.Scheme(), r.repo.RegistryStr(), r.repo.RepositoryStr(), d.Digest)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, d.Size-1))
	}
	client := http.Client{
		Transport:     r.rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return nil }, // the Guard decides
	}
	return client.Do(req)
}

// checkRange makes sure that the body begins at off.
func (r *registry) checkRange(resp *http.Response, d descriptor, off int64) error {
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		return refusal(err)
	}
	begin := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &begin); err != nil || begin > off {
			return fmt.Errorf("asking for bytes from %d on: answer has range %q", off, resp.Header.Get("Content-Range"))
		}
	}
	if size := resp.ContentLength; size >= 0 && begin+size != d.Size {
		return &cache.MismatchError{Digest: d.Digest.String(), Size: d.Size, Read: begin + size}
	}
	_, err := io.CopyN(io.Discard, resp.Body, off-begin) // a server without ranges starts over
	return err
}

// tags lists some of the repository's tags, or none if it cannot or if no tag
// was asked for.
func (r *registry) tags(ctx context.Context, ref name.Reference) []string {
	if _, ok := ref.(name.Tag); !ok {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // go-containerregistry leaves a body it cannot decode open
	puller, err := remote.NewPuller(r.remote(ctx)...)
	if err != nil {
		return nil
	}
	lister, err := puller.Lister(ctx, r.repo)
	if err != nil || !lister.HasNext() {
		return nil
	}
	page, err := lister.Next(ctx)
	if err != nil {
		return nil
	}
	return page.Tags
}

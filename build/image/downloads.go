package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
)

// downloads brings blobs into the cache, each once at a time. Whoever wants a
// blob that is on its way reads along while it is written.
type downloads struct {
	cache *cache.Cache
	fetch func(context.Context, descriptor, io.Writer) error
	ahead int // how many are prefetched at once

	mu       sync.Mutex
	start    func(func(context.Context)) // runs work that close waits for; nil when closed
	stop     func()
	running  map[v1.Hash]*running
	small    map[v1.Hash][]byte // documents that came along
	prefetch func([]descriptor)
}

// running is a download that has not ended.
type running struct {
	writer *cache.Writer
	done   chan struct{}
	err    error // set before done is closed
}

// errClosed is what a layer says after its image was closed.
var errClosed = errors.New("image is closed")

// newDownloads makes a downloads whose work ends with ctx or its close.
func newDownloads(ctx context.Context, c *cache.Cache, fetch func(context.Context, descriptor, io.Writer) error, ahead int) *downloads {
	d := &downloads{cache: c, fetch: fetch, ahead: ahead, running: map[v1.Hash]*running{}, small: map[v1.Hash][]byte{}}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	d.start = func(f func(context.Context)) { work.Go(func() { f(ctx) }) }
	d.stop = func() {
		cancel()
		work.Wait()
	}
	var once sync.Once
	d.prefetch = func(ds []descriptor) { once.Do(func() { d.prefetchAll(ds) }) }
	return d
}

// close ends all downloads and waits for them.
func (d *downloads) close() {
	d.mu.Lock()
	d.start = nil
	d.mu.Unlock()
	d.stop()
}

func (d *downloads) keep(h v1.Hash, raw []byte) { d.small[h] = raw }

func (d *downloads) kept(h v1.Hash) ([]byte, bool) {
	raw, ok := d.small[h]
	return raw, ok
}

// open returns a reader of a blob that ends with io.EOF only if digest and size
// were right: from the cache, from a download on its way, or from a new one.
func (d *downloads) open(ctx context.Context, desc descriptor) (io.ReadCloser, error) {
	for {
		r, run, err := d.find(desc)
		if err != nil {
			return nil, err
		}
		if r != nil {
			return r, nil
		}
		if f := run.writer.Follow(ctx); f != nil {
			return f, nil
		}
		// It has ended in between: if it went well the cache has it now.
		if err := run.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// find returns a blob from the cache or else its download, which it starts
// unless it is on its way.
func (d *downloads) find(desc descriptor) (*cache.Reader, *running, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if run, ok := d.running[desc.Digest]; ok {
		return nil, run, nil
	}
	if d.start == nil {
		return nil, nil, errClosed
	}
	r, err := d.cache.Open(desc.Digest.String(), desc.Size)
	if err == nil || !errors.Is(err, cache.ErrMissing) {
		return r, nil, err
	}
	w, err := d.cache.Create(desc.Digest.String(), desc.Size)
	if err != nil {
		return nil, nil, err
	}
	run := &running{writer: w, done: make(chan struct{})}
	d.running[desc.Digest] = run
	d.start(func(ctx context.Context) {
		defer close(run.done)
		run.err = d.finish(desc, w, d.fetch(ctx, desc, w))
	})
	return nil, run, nil
}

// wait waits for the end of a download and returns what went wrong with it.
func (r *running) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish ends a download: what went wrong is told to its followers, and then the
// download is forgotten, so that who comes later starts anew.
func (d *downloads) finish(desc descriptor, w *cache.Writer, err error) error {
	defer d.forget(desc)
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		err = fmt.Errorf("downloading blob %s: %w", desc.Digest, bare(err))
		w.Abort(err)
	}
	return err
}

func (d *downloads) forget(desc descriptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, desc.Digest)
}

// prefetchAll downloads blobs in the given order, d.ahead at a time. What fails
// is left to the one who wants it.
func (d *downloads) prefetchAll(ds []descriptor) {
	next := make(chan descriptor, len(ds))
	for _, desc := range ds {
		next <- desc
	}
	close(next)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.start == nil {
		return
	}
	for range min(d.ahead, len(ds)) {
		d.start(func(ctx context.Context) {
			for desc := range next {
				if ctx.Err() != nil {
					return
				}
				d.prefetchOne(ctx, desc)
			}
		})
	}
}

func (d *downloads) prefetchOne(ctx context.Context, desc descriptor) {
	r, run, err := d.find(desc)
	switch {
	case err != nil:
	case r != nil:
		_ = r.Close()
	default:
		_ = run.wait(ctx)
	}
}

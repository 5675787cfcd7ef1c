package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/build/cache"
)

const (
	chunkSize  = 256 << 10 // bytes
	chunksEach = 4         // in flight on one belt

	// maxWindow is the most memory a zstd layer may ask for, in bytes. The
	// usual levels take 8 MiB at most.
	maxWindow = 64 << 20
)

// Open returns the layer's uncompressed tar, checked while it is read: it ends
// with io.EOF only if the blob's digest and size and the diffID were right, so
// read it to that end, past the tar's own end mark. It may be called more than
// once, and from several goroutines. The reader must be closed; a Read that
// waits returns when ctx ends.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	s := &stream{name: l.DiffID}
	if l.Digest != "" {
		s.name = l.Digest
	}
	ctx, s.cancel = context.WithCancel(ctx)
	blob, err := l.blob(ctx)
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("opening layer %s: %w", s.name, err)
	}
	s.blob = blob
	raw := s.newBelt(ctx, counted{blob, l.Progress}, nil)
	tar := &inflater{in: bufio.NewReaderSize(raw, 64<<10), left: l.limit, limit: l.limit}
	s.out = s.newBelt(ctx, tar, &diffIDCheck{want: l.DiffID})
	return s, nil
}

// A stream is an open layer: blob → belt → inflater → belt → Read. Each belt has
// a goroutine that fills it, so hashing and reading the blob, inflating it, and
// hashing the tar go on at the same time as the caller's work.
type stream struct {
	name   string
	cancel context.CancelFunc
	blob   io.Closer
	out    *belt
	belts  []*belt
	work   sync.WaitGroup
	closed sync.Once
	err    error // of closing
}

// counted tells how many bytes are read.
type counted struct {
	io.Reader
	tell func(n int) // may be nil
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.tell != nil && n > 0 {
		c.tell(n)
	}
	return n, err
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.out.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("reading layer %s: %w", s.name, err)
	}
	return n, err
}

// Close ends the stream and waits for its goroutines.
func (s *stream) Close() error {
	s.closed.Do(func() {
		s.cancel()
		s.err = s.blob.Close()
		s.work.Wait()
		for _, b := range s.belts {
			b.recycle()
		}
	})
	return s.err
}

// A belt carries chunks of a reader from the goroutine that reads to the one
// that calls Read.
type belt struct {
	ctx  context.Context // lives as long as the stream
	full chan *chunk
	free chan *chunk
	cur  *chunk
	err  error // io.EOF or worse; set before full is closed
}

type chunk struct {
	rest []byte // what is still to be read
	mem  [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// newBelt starts reading r. With a check, another goroutine hashes the chunks on
// their way.
func (s *stream) newBelt(ctx context.Context, r io.Reader, check *diffIDCheck) *belt {
	b := &belt{ctx: ctx, full: make(chan *chunk, chunksEach), free: make(chan *chunk, 2*chunksEach)}
	held := chunksEach
	source := b
	if check != nil {
		held = 2 * chunksEach
		source = &belt{ctx: ctx, full: make(chan *chunk, chunksEach), free: b.free}
		s.work.Go(func() { check.pass(source, b) })
	}
	for range held {
		b.free <- chunks.Get().(*chunk) // the pool holds nothing else
	}
	s.work.Go(func() { source.fill(r) })
	s.belts = append(s.belts, b)
	return b
}

// recycle gives the chunks back once all goroutines have ended. Those that were
// between two hands when the stream was cut short are left to the collector.
func (b *belt) recycle() {
	if b.cur != nil {
		chunks.Put(b.cur)
		b.cur = nil
	}
	for {
		select {
		case c := <-b.free:
			chunks.Put(c)
		default:
			return
		}
	}
}

// fill reads r to its end.
func (b *belt) fill(r io.Reader) {
	defer close(b.full)
	for {
		var c *chunk
		select {
		case c = <-b.free:
		case <-b.ctx.Done():
			b.err = b.ctx.Err()
			return
		}
		n, err := fillChunk(r, c.mem[:])
		c.rest = c.mem[:n]
		b.err = err
		select {
		case b.full <- c:
		case <-b.ctx.Done():
			b.err = b.ctx.Err()
			return
		}
		if err != nil {
			return
		}
	}
}

// fillChunk reads until p is full or an error comes, io.EOF included.
func fillChunk(r io.Reader, p []byte) (n int, err error) {
	idle := 0
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if idle++; m > 0 {
			idle = 0
		}
		if idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func (b *belt) Read(p []byte) (int, error) {
	for b.cur == nil || len(b.cur.rest) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		if b.cur != nil {
			b.free <- b.cur // never blocks: free has room for every chunk
			b.cur = nil
		}
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		select {
		case c, ok := <-b.full:
			if !ok {
				return 0, b.err
			}
			b.cur = c
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n := copy(p, b.cur.rest)
	b.cur.rest = b.cur.rest[n:]
	return n, nil
}

// diffIDCheck hashes the uncompressed tar.
type diffIDCheck struct{ want string }

// pass hands on the chunks of one belt to the next and, at the end, its verdict.
func (d *diffIDCheck) pass(from, to *belt) {
	defer close(to.full)
	h := sha256.New()
	for c := range from.full {
		h.Write(c.rest)
		select {
		case to.full <- c:
		case <-to.ctx.Done():
			to.err = to.ctx.Err()
			return
		}
	}
	to.err = from.err
	if got := cache.DigestOf(h); to.err == io.EOF && got != d.want {
		to.err = fmt.Errorf("uncompressed tar is %s, but the config's diffID is %s: %w", got, d.want, cache.ErrMismatch)
	}
}

// inflater decompresses a blob of whatever compression and limits what comes
// out.
type inflater struct {
	in    *bufio.Reader
	out   io.Reader // nil until the first Read
	left  int64
	limit int64
	err   error
}

func (f *inflater) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.read(p)
	f.err = err
	if z, ok := f.out.(*zstd.Decoder); ok && err != nil {
		z.Close()
	}
	return n, err
}

func (f *inflater) read(p []byte) (int, error) {
	if f.out == nil {
		out, err := decompressor(f.in)
		if err != nil {
			return 0, f.verdict(err)
		}
		f.out = out
	}
	n, err := f.out.Read(p)
	if f.left -= int64(n); f.left < 0 {
		return n + int(f.left), fmt.Errorf("uncompressed tar is larger than the limit of %d bytes", f.limit)
	}
	if err != nil {
		err = f.verdict(err)
	}
	return n, err
}

// verdict reads what is left of the blob, so that its digest is checked. A blob
// that is not what it should be explains everything else that went wrong.
func (f *inflater) verdict(err error) error {
	if _, blobErr := io.Copy(io.Discard, f.in); blobErr != nil {
		return blobErr
	}
	if err != io.EOF {
		err = fmt.Errorf("decompressing: %w", err)
	}
	return err
}

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	// magicSkip is a zstd skippable frame's, after its first byte 0x50–0x5f.
	magicSkip = []byte{0x2a, 0x4d, 0x18}
)

// compression tells how a blob is compressed by its first bytes. Media types
// are often wrong.
func compression(head []byte) string {
	switch {
	case bytes.HasPrefix(head, magicGzip):
		return "gzip"
	case bytes.HasPrefix(head, magicZstd),
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.HasPrefix(head[1:], magicSkip):
		return "zstd"
	case bytes.HasPrefix(head, []byte("BZh")):
		return "bzip2"
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return "xz"
	}
	return ""
}

const magicLen = 6 // bytes that compression looks at

func decompressor(in *bufio.Reader) (io.Reader, error) {
	head, err := in.Peek(magicLen)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch kind := compression(head); kind {
	case "":
		return in, nil
	case "gzip":
		return gzip.NewReader(in)
	case "zstd":
		return zstd.NewReader(in,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
	default:
		return nil, fmt.Errorf("compressed with %s; only gzip and zstd are supported", kind)
	}
}

package initramfs

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/volant/fledge-action/build/tree"
)

// Compression is how an archive is packed. The zero value is Gzip.
type Compression string

// The compressions, named as in fledge.toml.
const (
	Gzip Compression = "gzip" // levels 1 to 9
	Zstd Compression = "zstd" // levels 1 to 19
	None Compression = "none" // no levels
)

// Default levels. Gzip's gives the smallest archive that costs about half of what gzip -9
// costs; docs/benchmarks.md has the numbers.
const (
	DefaultGzipLevel = 8
	DefaultZstdLevel = 9
)

// Extension is what the names of such archives end with: ".cpio.gz",
// ".cpio.zst" or ".cpio".
func (c Compression) Extension() string {
	switch c {
	case Zstd:
		return ".cpio.zst"
	case None:
		return ".cpio"
	}
	return ".cpio.gz"
}

// Options is what an archive depends on beside its tree. The zero value is gzip
// at its default level.
type Options struct {
	Compression Compression
	Level       int // 0 is the default of the compression

	// Progress is told how many bytes of the archive, before compression, are done. It
	// may be nil.
	Progress func(done, total int64)

	// Warn is told of what newc cannot keep and an archive can do without, once
	// for each kind of loss. It may be nil.
	Warn func(message string)
}

// Check reports what is wrong with the options.
func (o Options) Check() error {
	limit := 0
	switch o.Compression {
	case Gzip, "":
		limit = 9
	case Zstd:
		limit = 19
	case None:
		if o.Level != 0 {
			return fmt.Errorf("compression level %d: compression %q has no levels", o.Level, None)
		}
	default:
		return fmt.Errorf("compression %q: want %q, %q or %q", o.Compression, Gzip, Zstd, None)
	}
	if o.Level < 0 || o.Level > limit {
		return fmt.Errorf("compression level %d: %q has levels 1 to %d", o.Level, o.compression(), limit)
	}
	return nil
}

func (o Options) compression() Compression {
	if o.Compression == "" {
		return Gzip
	}
	return o.Compression
}

// Stats describes a finished archive.
type Stats struct {
	Size     int64 // bytes written
	Unpacked int64 // bytes of the archive before compression
	Entries  int   // names, the root included
	Inodes   int   // files, directories and so on, each hard link counted once
}

// Write archives a tree. What newc cannot hold is found before the first byte
// is written. After an error w holds nothing useful.
func Write(ctx context.Context, w io.Writer, t *tree.Tree, o Options) (Stats, error) {
	if err := o.Check(); err != nil {
		return Stats{}, err
	}
	p, err := examine(t)
	if err != nil {
		return Stats{}, err
	}
	p.warn(o.Warn)
	out := &counter{w: w}
	packer, err := newPacker(out, o)
	if err != nil {
		return Stats{}, err
	}
	in := &counter{w: packer}
	a := archiver{ctx: ctx, w: in, plan: p, buf: make([]byte, copyBytes), done: func() {}}
	if o.Progress != nil {
		a.done = func() { o.Progress(in.n, p.unpacked) }
	}
	err = a.write(t)
	if err != nil {
		packer.Abort()
		return Stats{}, err
	}
	if err := packer.Close(); err != nil {
		return Stats{}, fmt.Errorf("writing the archive: %w", err)
	}
	return Stats{Size: out.n, Unpacked: in.n, Entries: p.entries, Inodes: int(p.inodes)}, nil
}

// A packer compresses what is written to it. One of its last two methods has to be
// called: Close completes the output, Abort gives it up; both end what the packer
// runs in the background.
type packer interface {
	io.Writer
	Close() error
	Abort()
}

func newPacker(w io.Writer, o Options) (packer, error) {
	switch o.compression() {
	case Zstd:
		return newZstd(w, cmp.Or(o.Level, DefaultZstdLevel), zstdConcurrency)
	case None:
		return stored{bufio.NewWriterSize(w, copyBytes)}, nil
	}
	return newGzip(w, cmp.Or(o.Level, DefaultGzipLevel))
}

// stored packs nothing.
type stored struct{ *bufio.Writer }

func (s stored) Close() error { return s.Flush() }
func (s stored) Abort()       {}

// counter counts the bytes that go to w, and finds writers that take less than
// they are given without a word.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

package squashfs

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// Compression is how blocks are packed. The zero value is Zstd.
type Compression string

// The compressions, named as in fledge.toml.
const (
	Zstd Compression = "zstd" // levels 1 to 22
	Gzip Compression = "gzip" // levels 1 to 9
	None Compression = "none" // no levels
)

// Default levels. docs/squashfs.md has the numbers they were chosen by.
const (
	DefaultZstdLevel = 3
	DefaultGzipLevel = 9
)

// Options is what an image depends on beside its tree. The zero value is zstd at
// its default level.
type Options struct {
	Compression Compression
	Level       int       // 0 is the default of the compression
	Epoch       time.Time // when the filesystem was made, by its superblock

	// Progress is told how many bytes of the files' contents are done. It may be nil.
	Progress func(done, total int64)

	// Warn is told of what SquashFS cannot keep and an image can do without, once
	// for each kind of loss. It may be nil.
	Warn func(message string)
}

// Check reports what is wrong with the options.
func (o Options) Check() error {
	limit := 0
	switch o.compression() {
	case Zstd:
		limit = 22
	case Gzip:
		limit = 9
	case None:
		if o.Level != 0 {
			return fmt.Errorf("compression level %d: compression %q has no levels", o.Level, None)
		}
	default:
		return fmt.Errorf("compression %q: want %q, %q or %q", o.Compression, Zstd, Gzip, None)
	}
	if o.Level < 0 || o.Level > limit {
		return fmt.Errorf("compression level %d: %q has levels 1 to %d", o.Level, o.compression(), limit)
	}
	return nil
}

func (o Options) compression() Compression { return cmp.Or(o.Compression, Zstd) }

func (o Options) level() int {
	switch o.compression() {
	case Zstd:
		return cmp.Or(o.Level, DefaultZstdLevel)
	case Gzip:
		return cmp.Or(o.Level, DefaultGzipLevel)
	}
	return 0
}

// A LimitError is a value of one path that SquashFS cannot hold.
type LimitError struct {
	Name string // path in the image
	What string // the value and its limit
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("squashfs cannot hold %q: %s", slashed(e.Name), e.What)
}

// slashed is a name as it is in the booted system.
func slashed(name string) string {
	if name == "." {
		return "/"
	}
	return "/" + name
}

// Stats describes a finished image. Sizes are in bytes.
type Stats struct {
	Size       int64 // of the image, padding included
	Content    int64 // of all files, each hard link counted once
	Data       int64 // what is stored of them
	Inodes     int64
	Duplicates int64 // files that share another file's data
}

// Write makes an image of a tree. What SquashFS cannot hold is found before the first
// byte is written. w has to be empty; after an error it holds nothing useful.
func Write(ctx context.Context, w io.WriterAt, t *tree.Tree, o Options) (Stats, error) {
	if err := o.Check(); err != nil {
		return Stats{}, err
	}
	p, err := examine(t)
	if err != nil {
		return Stats{}, err
	}
	p.warn(o.Warn)
	out := &output{w: bufio.NewWriterSize(io.NewOffsetWriter(w, superSize), writeBytes), at: superSize}
	if err := out.write(compressorOptions(o)); err != nil {
		return Stats{}, err
	}
	start := out.at
	d, err := storeData(ctx, out, p, o)
	if err != nil {
		return Stats{}, err
	}
	data := out.at - start
	s, err := writeTables(ctx, out, p, d, o)
	if err != nil {
		return Stats{}, err
	}
	s.bytesUsed = out.at
	if err := out.pad(); err != nil {
		return Stats{}, err
	}
	if _, err := w.WriteAt(s.encode(o), 0); err != nil {
		return Stats{}, fmt.Errorf("writing the image: %w", err)
	}
	return Stats{Size: out.at, Content: p.content, Data: data, Inodes: int64(len(p.list)), Duplicates: d.duplicates}, nil
}

const writeBytes = 256 << 10

// output is the image behind its superblock, written from front to back.
type output struct {
	w  *bufio.Writer
	at int64 // bytes from the image's start
}

func (o *output) write(p []byte) error {
	n, err := o.w.Write(p)
	o.at += int64(n)
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// padding is what the image's size is a multiple of: device blocks of 4 KiB hold it.
const padding = 4096

// pad fills the last device block and writes everything out.
func (o *output) pad() error {
	if n := o.at % padding; n > 0 {
		if err := o.write(make([]byte, padding-n)); err != nil {
			return err
		}
	}
	if err := o.w.Flush(); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

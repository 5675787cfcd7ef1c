package artifact

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression describes how an archive is compressed.
type Compression struct {
	Kind   string // "none", "gzip" or "zstd"
	Header []Field
	Blocks int64 // where the compressed blocks begin, after the header
	End    int64 // where the gzip member or zstd frame ends; padding may follow

	Checksum bool // zstd: four bytes of checksum are at the end
}

// Field is a named number or text of a header.
type Field struct {
	Name   string
	Offset int64 // in bytes, from the start of the artifact or structure
	Size   int64 // bytes
	Value  string
}

// maxWindow is the largest zstd window that the kernel takes, in bytes.
const maxWindow = 128 << 20

// unpacker reads the uncompressed bytes of an archive.
type unpacker struct {
	*limited
	kind  kind
	src   *source
	in    *bufio.Reader
	gzip  *gzip.Reader
	zstd  *zstd.Decoder
	frame *zstdFrame
	head  []Field
}

// unpack starts to uncompress the artifact.
func (a *Artifact) unpack(ctx context.Context, k kind, spool io.Writer) (*unpacker, error) {
	u := &unpacker{kind: k, src: &source{ctx: ctx, r: a.source, end: a.Size}}
	u.in = bufio.NewReaderSize(u.src, 64<<10)
	u.limited = &limited{r: u.in, max: a.opt.MaxUnpacked, copy: spool}
	var err error
	switch k {
	case kindGzip:
		err = u.startGzip()
	case kindZstd:
		err = u.startZstd(a.opt.MaxUnpacked)
	}
	if err != nil {
		return nil, u.explain(err)
	}
	return u, nil
}

func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.limited.Read(p)
	if err != nil && err != io.EOF {
		err = u.explain(err)
	}
	return n, err
}

// consumed is how many bytes of the artifact the decompressor has taken.
func (u *unpacker) consumed() int64 { return u.src.pos - int64(u.in.Buffered()) }

// explain says where uncompressing failed, unless it was not the archive's fault.
func (u *unpacker) explain(err error) error {
	switch {
	case u.src.err != nil:
		return u.src.err
	case u.limited.err != nil:
		return u.limited.err
	case errors.Is(err, ErrLimit), errors.Is(err, ErrMalformed), errors.Is(err, ErrUnsupported):
		return err
	}
	if u.frame != nil && u.frame.err != nil {
		err = u.frame.err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends at byte %d, inside the %s data: %w", u.consumed(), u.kind, ErrMalformed)
	}
	return fmt.Errorf("uncompressing %s, at byte %d of the file or before: %w: %w", u.kind, u.consumed(), err, ErrMalformed)
}

func (u *unpacker) startGzip() error {
	head, err := gzipHeader(u.in)
	if err != nil {
		return err
	}
	u.head = head
	if u.gzip, err = gzip.NewReader(u.in); err != nil {
		return err
	}
	u.gzip.Multistream(false)
	u.limited.r = u.gzip
	return nil
}

// gzipHeader describes a gzip member's header (RFC 1952), without taking it.
func gzipHeader(r *bufio.Reader) ([]Field, error) {
	const fixed = 10
	b, err := r.Peek(fixed)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	flags := b[3]
	if flags&0xE0 != 0 {
		return nil, fmt.Errorf("gzip header: reserved flags %#02x: %w", flags, ErrMalformed)
	}
	fields := []Field{
		{"CM", 2, 1, fmt.Sprint(b[2])},
		{"FLG", 3, 1, fmt.Sprintf("%#02x", flags)},
		{"MTIME", 4, 4, fmt.Sprint(le.Uint32(b[4:]))},
		{"XFL", 8, 1, fmt.Sprint(b[8])},
		{"OS", 9, 1, fmt.Sprint(b[9])},
	}
	all, _ := r.Peek(r.Size()) // the whole header, if it is not absurd
	at := fixed
	add := func(name string, n int, text func([]byte) string) bool {
		if n < 0 || at+n > len(all) {
			return false
		}
		fields = append(fields, Field{name, int64(at), int64(n), text(all[at : at+n])})
		at += n
		return true
	}
	hex := func(p []byte) string { return fmt.Sprintf("%x", p) }
	zeroTerminated := func() int {
		for i := at; i < len(all); i++ {
			if all[i] == 0 {
				return i - at + 1
			}
		}
		return -1
	}
	quoted := func(p []byte) string { return fmt.Sprintf("%q", p[:len(p)-1]) }
	ok := true
	if flags&4 != 0 {
		if ok = at+2 <= len(all); ok {
			ok = add("FEXTRA", 2+int(le.Uint16(all[at:])), hex)
		}
	}
	if ok && flags&8 != 0 {
		ok = add("FNAME", zeroTerminated(), quoted)
	}
	if ok && flags&16 != 0 {
		ok = add("FCOMMENT", zeroTerminated(), quoted)
	}
	if ok && flags&2 != 0 {
		ok = add("FHCRC", 2, hex)
	}
	if !ok {
		if len(all) < r.Size() {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("gzip header: more than %d bytes: %w", r.Size(), ErrLimit)
	}
	return fields, nil
}

func (u *unpacker) startZstd(maxUnpacked int64) error {
	u.frame = &zstdFrame{r: u.in}
	head, err := u.frame.header()
	if err != nil {
		return err
	}
	if w := u.frame.window; w > maxWindow {
		return fmt.Errorf("zstd window of %d bytes: the kernel takes at most %d: %w", w, maxWindow, ErrLimit)
	}
	if n := u.frame.content; n > uint64(maxUnpacked) {
		return fmt.Errorf("uncompressed archive of %d bytes, at most %d: %w", n, maxUnpacked, ErrLimit)
	}
	u.head = head
	u.zstd, err = zstd.NewReader(u.frame, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(max(maxUnpacked, maxWindow)))) // limited counts to maxUnpacked
	if err != nil {
		return err
	}
	u.limited.r = u.zstd
	return nil
}

// finish demands that nothing but zeros follows the compressed data.
func (u *unpacker) finish() (Compression, error) {
	c := Compression{Kind: string(u.kind), Header: u.head, End: u.consumed()}
	if n := len(u.head); n > 0 {
		c.Blocks = u.head[n-1].Offset + u.head[n-1].Size
	}
	if u.kind == kindNone {
		return c, nil
	}
	c.Checksum = u.frame != nil && u.frame.sum
	what := "gzip member"
	if u.kind == kindZstd {
		what = "zstd frame"
	}
	buf := make([]byte, 32<<10)
	for {
		at := u.consumed()
		n, err := u.in.Read(buf)
		if i := firstNonZero(buf[:n]); i >= 0 {
			return c, fmt.Errorf("bytes after the %s, from byte %d of the file on: the kernel takes an archive in one piece: %w", what, at+int64(i), ErrMalformed)
		}
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return c, u.explain(err)
		}
	}
}

func (u *unpacker) Close() error {
	if u.zstd != nil {
		u.zstd.Close()
	}
	if u.gzip != nil {
		return u.gzip.Close()
	}
	return nil
}

func firstNonZero(p []byte) int {
	for i, b := range p {
		if b != 0 {
			return i
		}
	}
	return -1
}

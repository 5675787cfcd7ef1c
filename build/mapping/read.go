package mapping

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// readAll reads every planned file once: for its SHA-256, for what its first
// bytes give away, and into sink if there is one.
func (p *planner) readAll(sink Sink) error {
	r := fileReader{hash: sha256.New(), buf: make([]byte, 256<<10)}
	for i := range p.entries {
		e := &p.entries[i]
		if e.file == nil {
			continue
		}
		if err := r.read(p.ctx, e, sink); err != nil {
			return fmt.Errorf("mapping %q: %w", e.source, err)
		}
		p.warnContent(*e, r.head)
	}
	return nil
}

// fileReader holds what reading many files one after another can share.
type fileReader struct {
	hash hash.Hash
	head []byte // the first headSize bytes of the last file
	buf  []byte
}

func (r *fileReader) read(ctx context.Context, e *entry, sink Sink) error {
	r.hash.Reset()
	r.head = r.head[:0]
	f, err := e.file.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	in := io.TeeReader(&contextReader{ctx: ctx, r: f}, r)
	if sink != nil {
		if e.content, err = sink.Store(e.file.Size(), in); err != nil {
			return err
		}
		// A sink that stops at size bytes has not seen whether the file is whole.
		if _, err = io.CopyBuffer(io.Discard, in, r.buf); err != nil {
			return err
		}
		e.sum = [sha256.Size]byte(r.hash.Sum(nil))
		return nil
	}
	if _, err := io.CopyBuffer(writerOnly{io.Discard}, in, r.buf); err != nil {
		return err
	}
	e.sum = [sha256.Size]byte(r.hash.Sum(nil))
	e.content = e.file.Pinned(e.sum)
	return nil
}

// Write takes the bytes that pass by.
func (r *fileReader) Write(b []byte) (int, error) {
	if room := headSize - len(r.head); room > 0 {
		r.head = append(r.head, b[:min(room, len(b))]...)
	}
	return r.hash.Write(b)
}

// writerOnly hides ReadFrom, so that the buffer given to io.CopyBuffer is used.
type writerOnly struct{ io.Writer }

type contextReader struct {
	ctx context.Context // lives as long as one read of a file
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

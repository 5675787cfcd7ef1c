package tree

import (
	"errors"
	"fmt"
	"io"
)

// A ReaderAt reads pieces of a content: by random access where the content's reader
// offers that, else by reading on or, for what lies before, by opening it once more.
// It is an io.ReaderAt, but for one goroutine at a time.
type ReaderAt struct {
	content Content
	open    io.ReadCloser
	pos     int64 // of open, when it is no io.ReaderAt
}

// NewReaderAt opens nothing yet. Close ends it.
func NewReaderAt(c Content) *ReaderAt { return &ReaderAt{content: c} }

// Size is the content's length in bytes.
func (r *ReaderAt) Size() int64 { return r.content.Size() }

// ReadAt reads len(p) bytes from off on. Past the content's end it is io.EOF; a
// content that ends before its Size is io.ErrUnexpectedEOF.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading a file: offset %d", off)
	}
	want := min(int64(len(p)), max(r.Size()-off, 0))
	n := 0
	if want > 0 {
		var err error
		if n, err = r.readAt(p[:want], off); int64(n) < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, fmt.Errorf("reading a file: %w", err)
		}
	}
	if want < int64(len(p)) {
		return n, io.EOF
	}
	return n, nil
}

// readAt reads what lies within the size.
func (r *ReaderAt) readAt(p []byte, off int64) (int, error) {
	if r.open == nil {
		if err := r.reopen(); err != nil {
			return 0, err
		}
	}
	if at, ok := r.open.(io.ReaderAt); ok {
		return at.ReadAt(p, off)
	}
	if off < r.pos {
		r.Close()
		if err := r.reopen(); err != nil {
			return 0, err
		}
	}
	skipped, err := io.CopyN(io.Discard, r.open, off-r.pos)
	r.pos += skipped
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.open, p)
	r.pos += int64(n)
	return n, err
}

func (r *ReaderAt) reopen() (err error) {
	r.open, err = r.content.Open()
	r.pos = 0
	return err
}

// Close closes what is open. A later ReadAt opens it again.
func (r *ReaderAt) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

package elfread

import (
	"errors"
	"fmt"
	"io"

	"github.com/volant/fledge-action/build/tree"
)

// headSize is what is read at once from the file's beginning, in bytes. Program
// headers, interpreter and often the dynamic section lie there.
const headSize = 4 << 10

// A source reads pieces of a content, by random access where its reader offers
// that, else by reading on or, for what lies before, by opening it again.
type source struct {
	content tree.Content
	size    uint64
	head    []byte

	open io.ReadCloser
	pos  uint64 // of open, when it is no io.ReaderAt
}

func newSource(c tree.Content) (*source, error) {
	s := &source{content: c, size: uint64(max(c.Size(), 0))}
	head, err := s.fetch(0, min(headSize, s.size))
	if err != nil {
		s.Close()
		return nil, err
	}
	s.head = head
	return s, nil
}

func (s *source) Close() {
	if s.open != nil {
		s.open.Close()
		s.open = nil
	}
}

// read returns n bytes from off on. The caller has a limit on n.
func (s *source) read(what string, off, n uint64) ([]byte, error) {
	switch {
	case off > s.size || n > s.size-off:
		return nil, &FormatError{what, "it lies past the end of the file"}
	case n == 0:
		return nil, nil
	case off+n <= uint64(len(s.head)):
		return s.head[off : off+n], nil
	}
	return s.fetch(off, n)
}

func (s *source) fetch(off, n uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	if s.open == nil {
		if err := s.reopen(); err != nil {
			return nil, err
		}
	}
	if at, ok := s.open.(io.ReaderAt); ok {
		if _, err := at.ReadAt(b, int64(off)); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return b, nil
	}
	if off < s.pos {
		s.Close()
		if err := s.reopen(); err != nil {
			return nil, err
		}
	}
	if _, err := io.CopyN(io.Discard, s.open, int64(off-s.pos)); err != nil {
		return nil, short(err)
	}
	if _, err := io.ReadFull(s.open, b); err != nil {
		return nil, short(err)
	}
	s.pos = off + n
	return b, nil
}

func (s *source) reopen() (err error) {
	s.open, err = s.content.Open()
	s.pos = 0
	return err
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading a file: %w", io.ErrUnexpectedEOF)
	}
	return err
}

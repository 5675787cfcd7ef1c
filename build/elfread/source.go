package elfread

import (
	"github.com/volant/fledge-action/build/tree"
)

// headSize is what is read at once from the file's beginning, in bytes. Program
// headers, interpreter and often the dynamic section lie there.
const headSize = 4 << 10

// A source reads pieces of a content.
type source struct {
	*tree.ReaderAt
	size uint64
	head []byte
}

func newSource(c tree.Content) (*source, error) {
	s := &source{ReaderAt: tree.NewReaderAt(c), size: uint64(max(c.Size(), 0))}
	head, err := s.fetch(0, min(headSize, s.size))
	if err != nil {
		s.Close()
		return nil, err
	}
	s.head = head
	return s, nil
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
	b := make([]byte, n)
	_, err := s.ReadAt(b, int64(off))
	return b, err
}

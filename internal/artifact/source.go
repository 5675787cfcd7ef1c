package artifact

import (
	"context"
	"fmt"
	"io"
)

// source reads the artifact's bytes in order, and remembers where it is and
// whether it was the reading that failed.
type source struct {
	ctx context.Context
	r   io.ReaderAt
	pos int64
	end int64
	err error // of reading, not of the bytes
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	if s.pos >= s.end {
		return 0, io.EOF
	}
	n, err := s.r.ReadAt(p[:min(int64(len(p)), s.end-s.pos)], s.pos)
	s.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF { // it was longer when it was opened
		err = io.ErrUnexpectedEOF
	}
	s.err = fmt.Errorf("reading the artifact at byte %d: %w", s.pos, err)
	return 0, s.err
}

// limited counts the uncompressed bytes, and ends a stream of too many.
type limited struct {
	r    io.Reader
	n    int64 // bytes so far
	max  int64
	copy io.Writer // gets them too, if set
	err  error     // of copy
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if l.n > l.max {
		return 0, fmt.Errorf("uncompressed archive of more than %d bytes: %w", l.max, ErrLimit)
	}
	if n > 0 && l.copy != nil {
		if _, l.err = l.copy.Write(p[:n]); l.err != nil {
			l.err = fmt.Errorf("keeping the uncompressed archive: %w", l.err)
			return 0, l.err
		}
	}
	return n, err
}

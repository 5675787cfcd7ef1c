package build

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// pending is what media have in common whose artifact is written when the tree is complete.
type pending struct {
	*spool
	b   *builder
	out *outfile.File
}

// spool keeps contents in a file without a name, for artifacts that can only be
// written when the tree is complete.
type spool struct {
	file *os.File
	dir  string // where the file is
	end  int64  // of what it holds
}

func newSpool(dir string) (*spool, error) {
	f, err := cache.Spool(dir)
	if err != nil {
		return nil, err
	}
	return &spool{file: f, dir: cmp.Or(dir, os.TempDir())}, nil
}

// Store keeps exactly size bytes.
func (s *spool) Store(size int64, r io.Reader) (tree.Content, error) {
	n, err := io.Copy(io.NewOffsetWriter(s, s.end), io.LimitReader(r, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	c := spooled{file: s.file, at: s.end, size: size}
	s.end += size
	return c, nil
}

// WriteAt writes to the spool. Its errors name the folder: the spool has no name.
func (s *spool) WriteAt(p []byte, at int64) (int, error) {
	n, err := s.file.WriteAt(p, at)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		err = fmt.Errorf("keeping contents in a temporary file in %q: %w; free space there, all files of the artifact need it, or set TMPDIR to another folder", s.dir, err)
	}
	return n, err
}

// Discard does nothing: the spool goes as a whole.
func (s *spool) Discard(tree.Content) error { return nil }

func (s *spool) Close() error { return s.file.Close() }

// spooled is content in the spool.
type spooled struct {
	file     *os.File
	at, size int64
}

func (s spooled) Size() int64 { return s.size }

// Open yields the bytes. The reader is an io.ReaderAt too.
func (s spooled) Open() (io.ReadCloser, error) {
	return spoolReader{io.NewSectionReader(s.file, s.at, s.size)}, nil
}

type spoolReader struct{ *io.SectionReader }

func (spoolReader) Close() error { return nil }

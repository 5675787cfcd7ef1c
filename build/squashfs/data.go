package squashfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/volant/fledge-action/build/tree"
)

// noFragment is the index of a file that has none.
const noFragment = 1<<32 - 1

// fileData is where a file's bytes are. Files of the same bytes share one.
type fileData struct {
	start    int64    // of the first block that is stored; 0 without any
	blocks   []uint32 // their sizes, as the format has them
	holes    int64    // bytes in blocks of zeros
	fragment uint32   // index of the fragment, or noFragment
	offset   uint32   // in it
}

// fragment is a block that several files have their bytes in.
type fragment struct {
	start int64
	size  uint32
}

// data is what has been stored.
type data struct {
	fragments  []fragment
	duplicates int64
}

// storer stores the contents of a tree's files.
type storer struct {
	data
	ctx   context.Context //nolint:containedctx // lives for one call of storeData
	plan  *plan
	pipe  *pipeline
	tails *piece // the fragment that is being filled, or nil
	known map[[sha256.Size]byte]*fileData
	done  int64
	told  func(done, total int64)
}

// storeData writes the contents of all files, in the order of their inodes.
func storeData(ctx context.Context, out *output, p *plan, o Options) (*data, error) {
	pipe, err := newPipeline(out, o)
	if err != nil {
		return nil, err
	}
	defer pipe.stop()
	s := &storer{ctx: ctx, plan: p, pipe: pipe, known: map[[sha256.Size]byte]*fileData{}, told: o.Progress}
	for _, in := range p.list {
		if !in.node.Mode.IsRegular() {
			continue
		}
		if err := s.file(in); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("storing %q: %w", slashed(in.name), err)
		}
	}
	if err := s.closeFragment(); err != nil {
		return nil, err
	}
	return &s.data, pipe.finish()
}

// file stores one file's content.
func (s *storer) file(in *inode) error {
	size := in.node.Size()
	in.data = &fileData{fragment: noFragment}
	if size == 0 {
		return nil
	}
	if s.plan.sizes[size] > 1 {
		sum, err := s.hash(in.node.Content)
		if err != nil {
			return err
		}
		if same := s.known[sum]; same != nil {
			in.data = same
			s.duplicates++
			s.progress(size)
			return nil
		}
		s.known[sum] = in.data
	}
	return read(s.ctx, in.node.Content, func(r io.Reader) error {
		for at := int64(0); at < size; at += blockSize {
			if err := s.block(in.data, r, int(min(blockSize, size-at)), size); err != nil {
				return err
			}
		}
		return nil
	})
}

// hash reads a content for what it is the same as.
func (s *storer) hash(c tree.Content) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = read(s.ctx, c, func(r io.Reader) error {
		_, err := io.CopyN(h, r, c.Size())
		return err
	})
	h.Sum(sum[:0])
	return sum, err
}

// read opens a content, gives it to use, which reads Size bytes, and demands that there
// are no others.
func read(ctx context.Context, c tree.Content, use func(io.Reader) error) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	counted := &counter{ctx: ctx, r: r}
	if err := use(counted); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the content ends after %d of its %d bytes", counted.n, c.Size())
		}
		return err
	}
	switch _, err := io.ReadFull(counted, make([]byte, 1)); {
	case err == nil:
		return fmt.Errorf("the content has more than its %d bytes", c.Size())
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// counter counts what is read, and ends when its context does.
type counter struct {
	ctx context.Context //nolint:containedctx // lives for one call of read
	r   io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// block stores the next n bytes of a file.
func (s *storer) block(d *fileData, r io.Reader, n int, size int64) error {
	b := s.pipe.piece()
	b.raw = b.raw[:n]
	if _, err := io.ReadFull(r, b.raw); err != nil {
		return err
	}
	defer s.progress(int64(n))
	switch {
	case zero(b.raw):
		d.blocks = append(d.blocks, 0)
		d.holes += int64(n)
	case size < blockSize:
		err := s.fragment(d, b.raw)
		s.pipe.free = append(s.pipe.free, b)
		return err
	default:
		i := len(d.blocks)
		d.blocks = append(d.blocks, 0)
		b.placed = func(at int64, size uint32) {
			if d.start == 0 {
				d.start = at
			}
			d.blocks[i] = size
		}
		return s.pipe.add(b)
	}
	s.pipe.free = append(s.pipe.free, b)
	return nil
}

func (s *storer) progress(n int64) {
	if s.done += n; s.told != nil {
		s.told(s.done, s.plan.content)
	}
}

// fragment puts a small file into a block with others.
func (s *storer) fragment(d *fileData, p []byte) error {
	if s.tails != nil && len(s.tails.raw)+len(p) > blockSize {
		if err := s.closeFragment(); err != nil {
			return err
		}
	}
	if s.tails == nil {
		s.tails = s.pipe.piece()
		s.fragments = append(s.fragments, fragment{})
	}
	d.fragment, d.offset = uint32(len(s.fragments)-1), uint32(len(s.tails.raw))
	s.tails.raw = append(s.tails.raw, p...)
	return nil
}

// closeFragment stores the fragment that is being filled.
func (s *storer) closeFragment() error {
	b := s.tails
	if b == nil {
		return nil
	}
	s.tails = nil
	i := len(s.fragments) - 1
	b.placed = func(at int64, size uint32) { s.fragments[i] = fragment{at, size} }
	return s.pipe.add(b)
}

// zero tells whether there are only zeros.
func zero(p []byte) bool {
	for len(p) >= 8 {
		if p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7] != 0 {
			return false
		}
		p = p[8:]
	}
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/volant/fledge-action/build/tree"
)

const (
	// bufferBlocks is how much data is gathered before it is written.
	bufferBlocks = 256
	// maxExtentLen is the length of the longest initialized extent (ee_len).
	maxExtentLen = 32768
	// maxFileSize is the kernel's limit for a file mapped by extents, in bytes.
	maxFileSize = (1<<32 - 1) * blockSize
	// maxHoles is how many extents beyond each file's first one an image may
	// have before zeros are stored rather than left out. An extent costs 16 bytes
	// of memory, and a file of 4 KiB holes has one every 8 KiB.
	maxHoles = 1 << 20
)

var zeroBlock [blockSize]byte

// extent maps n blocks of a file from block logical on to the image's blocks
// from phys on.
type extent struct {
	logical, n uint32
	phys       uint64
}

// content is a regular file's bytes in the image.
type content struct {
	w       *Writer
	size    int64
	extents []extent
}

func (c *content) Size() int64 { return c.size }

// Open reads the file back from the image. The reader is an io.ReaderAt too.
func (c *content) Open() (io.ReadCloser, error) {
	if err := c.w.flush(); err != nil {
		return nil, err
	}
	return reader{io.NewSectionReader(c, 0, c.size)}, nil
}

type reader struct{ *io.SectionReader }

func (reader) Close() error { return nil }

// ReadAt implements io.ReaderAt; holes read as zeros.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= c.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > c.size-off
	if short {
		p = p[:c.size-off]
	}
	done := 0
	for done < len(p) {
		part := p[done:]
		at, left := c.locate(off + int64(done))
		if int64(len(part)) > left {
			part = part[:left]
		}
		if at < 0 {
			clear(part)
		} else if n, err := c.w.f.ReadAt(part, at); n < len(part) {
			return done + n, fmt.Errorf("reading the image at byte %d: %w", at, err)
		}
		done += len(part)
	}
	if short {
		return done, io.EOF
	}
	return done, nil
}

// locate finds byte off of the file in the image, and how many bytes follow it
// there. at is -1 in a hole.
func (c *content) locate(off int64) (at, left int64) {
	block := uint32(off / blockSize)
	i := sort.Search(len(c.extents), func(i int) bool { return c.extents[i].logical+c.extents[i].n > block })
	if i == len(c.extents) {
		return -1, c.size - off
	}
	e := c.extents[i]
	if block < e.logical {
		return -1, int64(e.logical)*blockSize - off
	}
	in := off - int64(e.logical)*blockSize
	return int64(e.phys)*blockSize + in, int64(e.n)*blockSize - in
}

// Store writes the size bytes that r yields as one file's content. It implements
// layer.Sink. Short input is io.ErrUnexpectedEOF; r is not read past size.
func (w *Writer) Store(size int64, r io.Reader) (tree.Content, error) {
	if size < 0 || size > maxFileSize {
		return nil, fmt.Errorf("storing a file of %d bytes: ext4 holds at most %d", size, int64(maxFileSize))
	}
	c := &content{w: w, size: size}
	logical, left := uint32(0), size
	for left > 0 {
		if len(w.buf)-w.fill < len(w.buf)/4 {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		chunk := w.buf[w.fill:]
		if left < int64(len(chunk)) {
			chunk = chunk[:left]
		}
		if _, err := io.ReadFull(r, chunk); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("storing a file of %d bytes: %w", size, err)
		}
		left -= int64(len(chunk))
		blocks := (len(chunk) + blockSize - 1) / blockSize
		clear(w.buf[w.fill+len(chunk) : w.fill+blocks*blockSize])
		if err := w.adopt(c, logical, w.fill, blocks); err != nil {
			return nil, err
		}
		logical += uint32(blocks)
	}
	return c, nil
}

// adopt gives places to the blocks of file data that stand in the buffer from
// byte src on, moving them down over the zero blocks it leaves out.
func (w *Writer) adopt(c *content, logical uint32, src, blocks int) error {
	for i := 0; i < blocks; {
		from := src + i*blockSize
		n := w.dataBlocks(w.buf[from : src+blocks*blockSize])
		if n == 0 {
			i++
			continue
		}
		for n > 0 {
			r, err := w.alloc.take(uint64(n))
			if err != nil {
				return err
			}
			if err := w.gather(r, src+i*blockSize); err != nil {
				return err
			}
			w.appendExtent(c, logical+uint32(i), r)
			i += int(r.n)
			n -= int(r.n)
		}
	}
	return nil
}

// dataBlocks counts the blocks at the start of b that have to be stored.
func (w *Writer) dataBlocks(b []byte) int {
	n := 0
	for ; n*blockSize < len(b); n++ {
		if w.holes < maxHoles && bytes.Equal(b[n*blockSize:(n+1)*blockSize], zeroBlock[:]) {
			break
		}
	}
	return n
}

// gather appends the r.n blocks at byte src of the buffer to its pending part,
// which always stands for adjoining blocks of the image.
func (w *Writer) gather(r run, src int) error {
	if w.fill > 0 && w.base+uint64(w.fill/blockSize) != r.start {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.fill == 0 {
		w.base = r.start
	}
	n := int(r.n) * blockSize
	if w.fill != src {
		copy(w.buf[w.fill:w.fill+n], w.buf[src:src+n])
	}
	w.fill += n
	return nil
}

func (w *Writer) appendExtent(c *content, logical uint32, r run) {
	for r.n > 0 {
		if i := len(c.extents) - 1; i >= 0 {
			e := &c.extents[i]
			if e.logical+e.n == logical && e.phys+uint64(e.n) == r.start && e.n < maxExtentLen {
				n := min(uint64(maxExtentLen-e.n), r.n)
				e.n += uint32(n)
				logical, r = logical+uint32(n), run{r.start + n, r.n - n}
				continue
			}
			w.holes++
		}
		n := min(uint64(maxExtentLen), r.n)
		c.extents = append(c.extents, extent{logical, uint32(n), r.start})
		logical, r = logical+uint32(n), run{r.start + n, r.n - n}
	}
}

// flush writes what the buffer holds.
func (w *Writer) flush() error {
	if w.fill == 0 {
		return nil
	}
	n := w.fill
	w.fill = 0
	return w.writeAt(w.buf[:n], w.base)
}

func (w *Writer) writeAt(p []byte, block uint64) error {
	if _, err := w.f.WriteAt(p, int64(block)*blockSize); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// Discard gives back what Store wrote for c, which nothing refers to any more.
// It implements layer.Sink.
func (w *Writer) Discard(c tree.Content) error {
	own, ok := c.(*content)
	if !ok || own.w != w {
		return errors.New("discarding content: it is not in this image")
	}
	for _, e := range own.extents {
		w.alloc.give(run{e.phys, uint64(e.n)})
	}
	own.extents, own.size = nil, 0
	return nil
}

// writeZeros is for after the last flush: it uses the buffer.
func (w *Writer) writeZeros(r run) error {
	clear(w.buf)
	for r.n > 0 {
		n := min(r.n, bufferBlocks)
		if err := w.writeAt(w.buf[:n*blockSize], r.start); err != nil {
			return err
		}
		r = run{r.start + n, r.n - n}
	}
	return nil
}

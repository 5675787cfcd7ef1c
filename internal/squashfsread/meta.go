package squashfsread

import "fmt"

// metaSize is the most that a metadata block has when uncompressed.
const metaSize = 8192

// cache keeps the blocks that were uncompressed last.
type cache struct {
	room  int
	held  map[int64]block
	order []int64
}

// block is uncompressed bytes. next is where in the image those follow that come after it.
type block struct {
	data []byte
	next int64
}

func (c *cache) get(at int64) (block, bool) {
	b, ok := c.held[at]
	return b, ok
}

func (c *cache) put(at int64, b block) {
	if c.held == nil {
		c.held = map[int64]block{}
	}
	if _, ok := c.held[at]; ok {
		return
	}
	if len(c.order) == c.room {
		delete(c.held, c.order[0])
		c.order = c.order[1:]
	}
	c.held[at] = b
	c.order = append(c.order, at)
}

// cached gives a block from a cache, or makes it.
func (f *FS) cached(c *cache, at int64, load func() (block, error)) (block, error) {
	f.mu.Lock()
	b, ok := c.get(at)
	f.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := load()
	if err != nil {
		return block{}, err
	}
	f.mu.Lock()
	c.put(at, b)
	f.mu.Unlock()
	return b, nil
}

// metaBlock gives the metadata block at a place of the image.
func (f *FS) metaBlock(at int64) (block, error) {
	return f.cached(&f.meta, at, func() (block, error) {
		var head [2]byte
		what := fmt.Sprintf("metadata block at %d", at)
		if err := f.readAt(head[:], at, what); err != nil {
			return block{}, err
		}
		size, stored := int64(le.Uint16(head[:])&0x7fff), le.Uint16(head[:])&0x8000 != 0
		if size == 0 || size > metaSize {
			return block{}, fmt.Errorf("%s: a size of %d: %w", what, size, ErrCorrupt)
		}
		b := make([]byte, size)
		if err := f.readAt(b, at+2, what); err != nil {
			return block{}, err
		}
		if !stored {
			out, err := f.unpack(make([]byte, 0, metaSize), b)
			if err != nil {
				return block{}, fmt.Errorf("%s: uncompressing: %w: %w", what, err, ErrCorrupt)
			}
			b = out
		}
		return block{b, at + 2 + size}, nil
	})
}

// cursor reads on in a table.
type cursor struct {
	fs   *FS
	what string
	at   int64 // metadata block in the image
	end  int64 // of the table
	off  int   // in the block, when uncompressed
}

// read fills p. The cursor has not moved after an error.
func (c *cursor) read(p []byte) error {
	next := *c
	for len(p) > 0 {
		if next.at >= next.end {
			return fmt.Errorf("%s: it goes on behind the table's end at %d: %w", c.what, c.end, ErrCorrupt)
		}
		b, err := next.fs.metaBlock(next.at)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		if next.off > len(b.data) {
			return fmt.Errorf("%s: byte %d of a metadata block of %d: %w", c.what, next.off, len(b.data), ErrCorrupt)
		}
		n := copy(p, b.data[next.off:])
		p, next.off = p[n:], next.off+n
		if next.off == len(b.data) && (len(p) > 0 || next.off == metaSize) {
			next.at, next.off = b.next, 0
		}
	}
	*c = next
	return nil
}

// lookup reads entry i of a table that is found through a list of its blocks.
func (f *FS) lookup(what string, list int64, i uint32, entry []byte) error {
	each := uint32(metaSize / len(entry))
	var b [8]byte
	if err := f.readAt(b[:], list+8*int64(i/each), what); err != nil {
		return err
	}
	at := int64(le.Uint64(b[:]))
	if at < f.sb.DirTable || at >= list {
		return fmt.Errorf("%s: block %d at %d: %w", what, i/each, at, ErrCorrupt)
	}
	c := cursor{fs: f, what: what, at: at, end: at + 1, off: int(i%each) * len(entry)}
	return c.read(entry)
}

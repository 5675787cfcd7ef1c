package ext4read

import (
	"fmt"
	"io"
	"sort"
)

// Extent is a run of a file's blocks. All numbers are in blocks.
type Extent struct {
	Logical   uint64 // first block of the file
	Physical  uint64 // first block of the image
	Len       uint64
	Unwritten bool // allocated, but reads as zeros
}

// blockMap is a file's extents by rising logical block, without overlap.
type blockMap []Extent

// at finds the extent that holds a logical block, or the next one.
func (m blockMap) at(logical uint64) (e Extent, inside bool) {
	i := sort.Search(len(m), func(i int) bool { return m[i].Logical+m[i].Len > logical })
	if i == len(m) {
		return Extent{}, false
	}
	return m[i], m[i].Logical <= logical
}

// Extents lists where an inode's content is, by rising logical block. What is
// not listed is a hole. Runs that continue each other on disk are given as one,
// as far as they are alike. Inodes without blocks have none.
func (in *Inode) Extents() ([]Extent, error) {
	m, err := in.extents()
	if err != nil {
		return nil, fmt.Errorf("mapping inode %d: %w", in.Number, err)
	}
	return m, nil
}

func (in *Inode) extents() (blockMap, error) {
	var m blockMap
	err := in.f.walkMap(in, mapVisitor{extent: func(e Extent) error {
		if n := len(m) - 1; n >= 0 && m[n].Unwritten == e.Unwritten &&
			m[n].Logical+m[n].Len == e.Logical && m[n].Physical+m[n].Len == e.Physical {
			m[n].Len += e.Len
			return nil
		}
		if len(m) >= in.f.opt.MaxExtents {
			return fmt.Errorf("more than %d extents: %w", in.f.opt.MaxExtents, ErrUnsupported)
		}
		m = append(m, e)
		return nil
	}})
	return m, err
}

// mapVisitor is called for the parts of a block map, in logical order.
type mapVisitor struct {
	// node, if set, is called for each block of the map itself, before what it
	// maps. An error ends the walk.
	node   func(block uint64, data []byte) error
	extent func(Extent) error
}

// hasMap reports whether an inode's 60 bytes are a block map.
func (in *Inode) hasMap() bool {
	if in.Flags&FlagInlineData != 0 {
		return false
	}
	switch in.RawMode & typeMask {
	case typeRegular, typeDir:
		return true
	case typeSymlink:
		return !in.isFastLink()
	}
	return false
}

// walkMap visits an inode's block map. It ends at the first error, of the map or
// of the visitor.
func (f *FS) walkMap(in *Inode, v mapVisitor) error {
	if !in.hasMap() {
		return nil
	}
	if in.Flags&FlagExtents != 0 {
		if !f.sb.has(incompatExtents) {
			return fmt.Errorf("extents without feature extent: %w", ErrCorrupt)
		}
		w := &extentWalk{f: f, in: in, v: v}
		return w.node(in.iblock(), "extent root", -1, 0, 1<<32)
	}
	return f.walkIndirect(in, v)
}

const (
	extentMagic = 0xF30A
	maxDepth    = 5 // levels of extent nodes below the root
)

// extentWalk is one pass over an extent tree. Keys must rise all through the
// tree and each node must hold at least one, so a node that the tree reaches
// twice ends the walk.
type extentWalk struct {
	f    *FS
	in   *Inode
	v    mapVisitor
	next uint64 // lowest logical block that may follow
}

// node visits a node of the given depth (-1 for the root, which may have any)
// that maps logical blocks first up to, not including, end.
func (w *extentWalk) node(data []byte, where string, depth int, first, end uint64) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s: %w", where, fmt.Sprintf(format, args...), ErrCorrupt)
	}
	magic, entries := le.Uint16(data), int(le.Uint16(data[2:]))
	limit, own := int(le.Uint16(data[4:])), int(le.Uint16(data[6:]))
	root := depth < 0
	switch {
	case magic != extentMagic:
		return bad("magic is %#04x, not %#04x", magic, extentMagic)
	case limit > (len(data)-12)/12 || entries > limit:
		return bad("%d entries of at most %d do not fit in %d bytes", entries, limit, len(data))
	case own > maxDepth || !root && own != depth:
		return bad("depth is %d under depth %d", own, depth+1)
	case entries == 0 && (own > 0 || !root):
		return bad("no entries")
	}
	for i := range entries {
		e := data[12+12*i : 24+12*i]
		key := uint64(le.Uint32(e))
		if key < w.next || key >= end {
			return bad("entry %d maps from logical block %d: want %d to %d", i, key, w.next, end-1)
		}
		if i == 0 && !root && key != first {
			return bad("first entry maps from logical block %d, its parent says %d", key, first)
		}
		if own == 0 {
			if err := w.leaf(e, where, i, end); err != nil {
				return err
			}
			continue
		}
		stop := end
		if i+1 < entries {
			stop = min(end, uint64(le.Uint32(data[24+12*i:])))
		}
		w.next = key
		if err := w.child(e, where, own-1, key, stop); err != nil {
			return err
		}
	}
	return nil
}

// leaf visits one extent.
func (w *extentWalk) leaf(e []byte, where string, i int, end uint64) error {
	x := Extent{
		Logical:  uint64(le.Uint32(e)),
		Physical: uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32,
		Len:      uint64(le.Uint16(e[4:])),
	}
	if x.Len > 1<<15 {
		x.Len, x.Unwritten = x.Len-1<<15, true
	}
	if x.Len == 0 || x.Logical+x.Len > end {
		return fmt.Errorf("%s: entry %d maps %d blocks from logical block %d: want 1 to %d: %w",
			where, i, x.Len, x.Logical, end-x.Logical, ErrCorrupt)
	}
	if err := w.f.checkRun(x.Physical, x.Len); err != nil {
		return fmt.Errorf("%s: entry %d: %w", where, i, err)
	}
	w.next = x.Logical + x.Len
	return w.v.extent(x)
}

// child visits the node that an index entry names.
func (w *extentWalk) child(e []byte, where string, depth int, first, end uint64) error {
	at := uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
	data, err := w.f.readBlock(at, "extent node")
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	name := fmt.Sprintf("extent node at block %d", at)
	if w.f.opt.Verify && w.f.sb.has(roMetadataCsum) && !w.f.extentNodeChecksumOK(w.in, data) {
		return fmt.Errorf("%s: checksum does not match: %w", name, ErrCorrupt)
	}
	if w.v.node != nil {
		if err := w.v.node(at, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return w.node(data, name, depth, first, end)
}

// checkRun refuses blocks outside the image.
func (f *FS) checkRun(first, n uint64) error {
	if first <= uint64(f.sb.FirstDataBlock) || n > f.sb.Blocks || first > f.sb.Blocks-n {
		return fmt.Errorf("blocks %d to %d are outside the image's %d: %w", first, first+n-1, f.sb.Blocks, ErrCorrupt)
	}
	return nil
}

// walkIndirect visits an indirect block map: twelve direct blocks, then one
// block each of single, double and triple indirection.
func (f *FS) walkIndirect(in *Inode, v mapVisitor) error {
	w := &indirectWalk{f: f, v: v, left: f.sb.Blocks}
	ib := in.iblock()
	if err := w.pointers(ib[:48], "block map", 0); err != nil {
		return err
	}
	for depth := 1; depth <= 3; depth++ {
		if err := w.pointers(ib[44+4*depth:48+4*depth], "block map", depth); err != nil {
			return err
		}
	}
	return w.flush()
}

// indirectWalk is one pass over an indirect map. An image has no more indirect
// blocks than blocks, which bounds a map that names one block again and again.
type indirectWalk struct {
	f    *FS
	v    mapVisitor
	next uint64 // logical block of the next pointer
	left uint64 // indirect blocks that may still be read
	run  Extent // not visited yet
}

// pointers visits block numbers that each have depth levels below them.
func (w *indirectWalk) pointers(list []byte, where string, depth int) error {
	span := uint64(1)
	for range depth {
		span *= uint64(w.f.sb.BlockSize) / 4
	}
	for i := 0; i < len(list); i += 4 {
		at := uint64(le.Uint32(list[i:]))
		switch {
		case at == 0:
			w.next += span
		case depth == 0:
			if err := w.f.checkRun(at, 1); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			if err := w.block(at); err != nil {
				return err
			}
		default:
			if err := w.indirect(at, where, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *indirectWalk) indirect(at uint64, where string, depth int) error {
	if w.left == 0 {
		return fmt.Errorf("%s: more indirect blocks than the image's %d blocks: %w", where, w.f.sb.Blocks, ErrCorrupt)
	}
	w.left--
	data, err := w.f.readBlock(at, "indirect block")
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	name := fmt.Sprintf("indirect block %d", at)
	if w.v.node != nil {
		if err := w.v.node(at, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return w.pointers(data, name, depth-1)
}

// block adds one mapped block to the current run.
func (w *indirectWalk) block(at uint64) error {
	if w.run.Len > 0 && w.run.Logical+w.run.Len == w.next && w.run.Physical+w.run.Len == at {
		w.run.Len++
		w.next++
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.run = Extent{Logical: w.next, Physical: at, Len: 1}
	w.next++
	return nil
}

func (w *indirectWalk) flush() error {
	if w.run.Len == 0 {
		return nil
	}
	run := w.run
	w.run = Extent{}
	return w.v.extent(run)
}

// content reads a mapped file.
type content struct {
	f    *FS
	m    blockMap
	size int64
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at offset %d: negative", off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > c.size-off
	if short {
		p = p[:c.size-off]
	}
	bs, done := int64(c.f.sb.BlockSize), 0
	for done < len(p) {
		pos := off + int64(done)
		e, inside := c.m.at(uint64(pos / bs))
		n := int64(len(p) - done)
		switch {
		case inside:
			n = min(n, int64(e.Logical+e.Len)*bs-pos)
		case e.Len > 0:
			n = min(n, int64(e.Logical)*bs-pos)
		}
		part := p[done : done+int(n)]
		if !inside || e.Unwritten {
			clear(part)
		} else if err := c.f.readAt(part, int64(e.Physical)*bs+pos-int64(e.Logical)*bs); err != nil {
			return done, fmt.Errorf("reading blocks from %d: %w", e.Physical, err)
		}
		done += int(n)
	}
	if short {
		return done, io.EOF
	}
	return done, nil
}

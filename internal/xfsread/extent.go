package xfsread

import (
	"cmp"
	"fmt"
	"slices"
)

// Extent is a run of blocks of a file that follow one another in the image.
type Extent struct {
	Logical   uint64 // first block in the file
	Count     uint64
	Unwritten bool // there are blocks, the content is zeros

	place int64 // in the image, bytes
}

// Physical is where the extent is in the image, in bytes.
func (x *Extent) Physical() int64 { return x.place }

const (
	extentSize   = 16
	mapMagic     = 0x424d4133 // "BMA3"
	mapHead      = 72
	mapMaxLevels = 9
)

// extents lists the extents of a fork by rising offset, and how many blocks are used to
// keep the list.
func (in *Inode) extents(k *fork) ([]Extent, uint64, error) {
	f := in.fs
	if k.extents > uint64(f.opt.MaxExtents) {
		return nil, 0, fmt.Errorf("%d extents, at most %d: %w", k.extents, f.opt.MaxExtents, ErrUnsupported)
	}
	m := mapper{f: f, owner: in.Number, want: k.extents}
	var err error
	switch k.format {
	case formatExtents:
		if k.extents*extentSize > uint64(len(k.b)) {
			return nil, 0, fmt.Errorf("%d extents in %d bytes: %w", k.extents, len(k.b), ErrCorrupt)
		}
		err = m.records(k.b[:k.extents*extentSize])
	case formatBtree:
		err = m.root(k.b)
	default:
		err = fmt.Errorf("extents of format %d: %w", k.format, ErrCorrupt)
	}
	switch {
	case err != nil:
		return nil, 0, err
	case uint64(len(m.list)) != k.extents:
		return nil, 0, fmt.Errorf("%d extents, there are %d: %w", k.extents, len(m.list), ErrCorrupt)
	case in.Type != TypeFile || k == &in.attr:
		err = apart(m.list, f.sb.blockLog)
	}
	return m.list, m.blocks, err
}

// apart refuses blocks that occur twice in what is never shared.
func apart(list []Extent, blockLog uint8) error {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b Extent) int { return cmp.Compare(a.place, b.place) })
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.place+int64(a.Count<<blockLog) > b.place {
			return fmt.Errorf("blocks %d and %d are the same: %w", a.Logical, b.Logical, ErrCorrupt)
		}
	}
	return nil
}

// mapper gathers extents.
type mapper struct {
	f      *FS
	owner  uint64
	want   uint64
	list   []Extent
	blocks uint64 // of the tree
}

// records reads packed extents.
func (m *mapper) records(b []byte) error {
	log := m.f.sb.blockLog
	for ; len(b) > 0; b = b[extentSize:] {
		high, low := be.Uint64(b), be.Uint64(b[8:])
		x := Extent{Logical: high << 1 >> 10, Count: low & (1<<21 - 1), Unwritten: high>>63 != 0}
		var err error
		if x.place, err = m.f.place(high&0x1ff<<43|low>>21, x.Count); err != nil {
			return fmt.Errorf("extent %d: %w", len(m.list), err)
		}
		if x.Logical+x.Count > (1<<63-1)>>log+1 {
			return fmt.Errorf("extent %d: it begins with block %d: %w", len(m.list), x.Logical, ErrCorrupt)
		}
		if n := len(m.list); n > 0 && x.Logical < m.list[n-1].Logical+m.list[n-1].Count {
			return fmt.Errorf("extent %d: it begins with block %d, before the end of the last one: %w", n, x.Logical, ErrCorrupt)
		}
		if m.list = append(m.list, x); uint64(len(m.list)) > m.want {
			return fmt.Errorf("more than the %d extents that there should be: %w", m.want, ErrCorrupt)
		}
	}
	return nil
}

// root reads the tree whose root is in the inode.
func (m *mapper) root(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("a tree of extents in %d bytes: %w", len(b), ErrCorrupt)
	}
	level, n, room := be.Uint16(b), int(be.Uint16(b[2:])), (len(b)-4)/16
	if level == 0 || level > mapMaxLevels || n == 0 || n > room {
		return fmt.Errorf("a tree of extents of %d levels with %d branches, there is room for %d: %w", level, n, room, ErrCorrupt)
	}
	return m.branches(b[4+8*room:], n, level-1)
}

// branches reads the blocks that pointers lead to.
func (m *mapper) branches(pointers []byte, n int, level uint16) error {
	for i := range n {
		if err := m.node(be.Uint64(pointers[8*i:]), level); err != nil {
			return err
		}
	}
	return nil
}

// node reads a block of the tree. Levels fall, and every leaf has an extent behind the last
// one, so that it ends.
func (m *mapper) node(block uint64, level uint16) error {
	const what = "tree of extents"
	place, err := m.f.place(block, 1)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	b := make([]byte, m.f.sb.BlockSize)
	if err := m.f.readAt(b, place, what); err != nil {
		return err
	}
	n, room := int(be.Uint16(b[6:])), (len(b)-mapHead)/16
	switch {
	case be.Uint32(b) != mapMagic:
		return fmt.Errorf("%s: magic %#x: %w", what, be.Uint32(b), ErrCorrupt)
	case be.Uint16(b[4:]) != level:
		return fmt.Errorf("%s: a block of level %d, want %d: %w", what, be.Uint16(b[4:]), level, ErrCorrupt)
	case n == 0 || n > room:
		return fmt.Errorf("%s: %d entries where there is room for %d: %w", what, n, room, ErrCorrupt)
	}
	if err := m.f.itself(b, mapLayout, place, m.owner, what); err != nil {
		return err
	}
	m.blocks++
	if level > 0 {
		return m.branches(b[mapHead+8*room:], n, level-1)
	}
	return m.records(b[mapHead : mapHead+n*extentSize])
}

// pieces reads the blocks of a fork that is never shared and has no holes where it is read.
type pieces struct {
	fs   *FS
	list []Extent
}

// find is the extent of a block, or the first one behind it.
func find(list []Extent, block uint64) int {
	i, ok := slices.BinarySearchFunc(list, block, func(x Extent, b uint64) int { return cmp.Compare(x.Logical, b) })
	if !ok && i > 0 && list[i-1].Logical+list[i-1].Count > block {
		i--
	}
	return i
}

// read reads blocks, and tells where the first one is in the image.
func (p *pieces) read(b []byte, block uint64, what string) (int64, error) {
	first, log := int64(-1), p.fs.sb.blockLog
	for done := 0; done < len(b); {
		i := find(p.list, block)
		if i == len(p.list) || p.list[i].Logical > block || p.list[i].Unwritten {
			return 0, fmt.Errorf("%s: there is nothing at its block %d: %w", what, block, ErrCorrupt)
		}
		x := p.list[i]
		n := min(x.Count-(block-x.Logical), uint64(len(b)-done)>>log)
		at := x.place + int64((block-x.Logical)<<log)
		if first < 0 {
			first = at
		}
		if err := p.fs.readAt(b[done:done+int(n<<log)], at, what); err != nil {
			return 0, err
		}
		done, block = done+int(n<<log), block+n
	}
	return first, nil
}

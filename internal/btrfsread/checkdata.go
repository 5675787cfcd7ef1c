package btrfsread

import (
	"errors"
	"fmt"
	"sort"
)

// Flags of inodes.
const flagNoDataSum = 1 << 0

// contents reads all files, each extent once.
func (c *checker) contents() error {
	seen := map[[3]uint64]bool{}
	if c.extents.f == nil || c.sums.f == nil {
		return nil // one of the trees is not there, which has been told
	}
	for _, in := range c.order {
		if in.Type != TypeFile {
			continue
		}
		where := fmt.Sprintf("inode %d", in.Number)
		list, err := in.extents()
		if err == nil {
			err = c.layout(in, list)
		}
		for i := 0; err == nil && i < len(list); i++ {
			x := &list[i]
			if place := [3]uint64{x.Disk, x.Offset, x.Len}; x.Kind == Inline || x.Disk != 0 && !seen[place] {
				seen[place] = x.Kind != Inline
				err = c.extent(in, x)
			}
		}
		if err != nil {
			if err := c.broken(where, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// layout compares the extents with what the inode says of them.
func (c *checker) layout(in *Inode, list []Extent) error {
	sum, end, sector := uint64(0), uint64(0), uint64(c.f.sb.SectorSize)
	gaps := c.f.sb.Incompat&incompatNoHoles != 0
	for i := range list {
		x := &list[i]
		if x.Kind == Inline || x.Disk != 0 {
			sum += x.Len
		}
		if x.Start > end && !gaps {
			return fmt.Errorf("nothing says that bytes %d to %d are a hole: %w", end, x.Start, ErrCorrupt)
		}
		end = (x.Start + x.Len + sector - 1) / sector * sector
	}
	if end < in.Size && !gaps {
		return fmt.Errorf("nothing says that bytes %d to %d are a hole: %w", end, in.Size, ErrCorrupt)
	}
	if sum != in.Bytes {
		return fmt.Errorf("nbytes %d, its extents have %d: %w", in.Bytes, sum, ErrCorrupt)
	}
	return nil
}

// extent reads one extent, compares it with its checksums, and looks for it in the extent
// tree.
func (c *checker) extent(in *Inode, x *Extent) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if x.Kind != Inline {
		b, err := c.extents.get(key{x.Disk, typeExtent, x.DiskLen})
		if err != nil {
			return err
		}
		if b == nil {
			return fmt.Errorf("the extent tree lacks %d bytes at %d: %w", x.DiskLen, x.Disk, ErrCorrupt)
		}
	}
	if x.Kind == Regular && in.Flags&flagNoDataSum == 0 {
		if err := c.summed(x); err != nil {
			return err
		}
	}
	if x.Compression == 0 {
		return nil
	}
	_, err := c.f.unpack(x)
	if errors.Is(err, ErrUnsupported) {
		return nil // lzo, whose checksums are right
	}
	return err
}

// summed compares the copies of what an extent refers to with their checksums.
func (c *checker) summed(x *Extent) error {
	from, n := x.Disk+x.Offset, x.Len
	if x.Compression != 0 {
		from, n = x.Disk, x.DiskLen
	}
	sector := uint64(c.f.sb.SectorSize)
	buf := make([]byte, sector)
	for at := from; at < from+n; {
		sums, start, err := c.sumsAt(at)
		if err != nil {
			return err
		}
		sums = sums[(at-start)/sector*4:]
		for ; at < from+n && len(sums) >= 4; at, sums = at+sector, sums[4:] {
			places, err := c.f.copies(at, sector, "content")
			if err != nil {
				return err
			}
			for _, place := range places {
				if err := errors.Join(c.ctx.Err(), c.f.readAt(buf, place, "content")); err != nil {
					return err
				}
				if got, want := crc(buf), le.Uint32(sums); got != want {
					return fmt.Errorf("content at byte %d has the checksum %#x, its bytes %#x: %w", place, want, got, ErrCorrupt)
				}
			}
		}
	}
	return nil
}

// sumsAt finds the item with the checksum of a sector, and the address that it begins with.
func (c *checker) sumsAt(at uint64) ([]byte, uint64, error) {
	k, b, err := c.sums.last(key{csumObject, typeExtentCsum, at})
	if err != nil {
		return nil, 0, err
	}
	sector := uint64(c.f.sb.SectorSize)
	if b == nil || k.object != csumObject || k.kind != typeExtentCsum || (at-k.offset)%sector != 0 || (at-k.offset)/sector >= uint64(len(b)/4) {
		return nil, 0, fmt.Errorf("content at address %d has no checksum: %w", at, ErrCorrupt)
	}
	return b, k.offset, nil
}

// last gives the last item that is not behind k, nil if there is none.
func (t *tree) last(k key) (key, []byte, error) {
	n, err := t.node(t.at, t.level, t.generation)
	bound := maxKey
	for err == nil {
		i := sort.Search(n.count, func(i int) bool { return n.key(i).compare(k) > 0 }) - 1
		if i < 0 {
			return key{}, nil, nil
		}
		if n.level == 0 {
			return n.key(i), n.data(i), nil
		}
		if i+1 < n.count {
			bound = n.key(i + 1)
		}
		n, err = t.child(n, i, bound)
	}
	return key{}, nil, err
}

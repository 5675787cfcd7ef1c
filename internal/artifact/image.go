package artifact

import (
	"context"
	"fmt"

	"github.com/volant/fledge-action/internal/ext4read"
)

// openImage reads the tree of an ext4 image.
func (a *Artifact) openImage(ctx context.Context) error {
	f, err := OpenImage(a.source, a.Size, a.opt.Verify)
	if err != nil {
		return err
	}
	a.Image = f
	return a.gather(ctx, func(add func(*Entry) error) error {
		return f.Walk(func(name string, in *ext4read.Inode) error { return add(imageEntry(name, in)) })
	}, byNumber)
}

func imageEntry(name string, in *ext4read.Inode) *Entry {
	e := &Entry{
		Name: name, Type: typeBits[uint32(in.RawMode)&0xF000], Mode: uint32(in.RawMode) & 0o7777,
		UID: in.UID, GID: in.GID, Mtime: in.Mtime, Links: uint32(in.Links), Inode: uint64(in.Number),
		Target: in.Target, Rdev: Rdev(in.Rdev), Xattrs: in.Xattrs,
	}
	switch e.Type {
	case File:
		e.Size = int64(in.Size)
	case Symlink:
		e.Size = int64(len(in.Target))
	}
	return e
}

// Range is a range of a file's bytes, End not included.
type Range struct{ Start, End int64 }

// Data lists where a regular file's content is not a hole, by rising offset, and
// no further than its size. What an archive holds has no holes.
func (a *Artifact) Data(e *Entry) ([]Range, error) {
	if e.Type != File || e.Size == 0 {
		return nil, nil
	}
	if a.Archive != nil {
		return []Range{{0, e.Size}}, nil
	}
	switch f, err := a.file(e); {
	case err != nil:
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	case f != nil:
		var list []Range
		for _, r := range f.Data() {
			list = append(list, Range{r[0], r[1]})
		}
		return list, nil
	}
	in, err := a.Image.Inode(uint32(e.Inode))
	if err != nil {
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	}
	if in.Flags&ext4read.FlagInlineData != 0 {
		return []Range{{0, e.Size}}, nil
	}
	extents, err := in.Extents()
	if err != nil {
		return nil, fmt.Errorf("mapping %q: %w", e.Name, err)
	}
	bs := int64(a.Image.Super().BlockSize)
	var list []Range
	for _, x := range extents {
		start, end := int64(x.Logical)*bs, min(int64(x.Logical+x.Len)*bs, e.Size)
		switch n := len(list) - 1; {
		case x.Unwritten || start >= end:
		case n >= 0 && list[n].End == start:
			list[n].End = end
		default:
			list = append(list, Range{start, end})
		}
	}
	return list, nil
}

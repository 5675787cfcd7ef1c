package compare

import (
	"fmt"
	"strconv"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/squashfsread"
)

// squashfs compares the structures of two squashfs images.
func (c *comparison) squashfs() error {
	a, b := c.a.Squashfs, c.b.Squashfs
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", squashfsFields(a.SuperFields()), squashfsFields(b.SuperFields()))
	c.structure("compressor options", "level", a.Level(), b.Level())
	return c.both(c.squashfsInodes)
}

func squashfsFields(list []squashfsread.Field) []field {
	out := make([]field, 0, len(list))
	for _, f := range list {
		out = append(out, field{f.Name, f.Value})
	}
	return out
}

// squashfsInodes compares what only squashfs knows about a name.
func (c *comparison) squashfsInodes(a, b *artifact.Entry) error {
	if a.LinkOf != "" && a.LinkOf != a.Name && a.LinkOf == b.LinkOf {
		return nil // told at the first name
	}
	x, err := c.a.SquashfsInode(a)
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := c.b.SquashfsInode(b)
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	where := "inode of " + strconv.Quote(a.Name)
	c.structure(where, "number", a.Inode, b.Inode)
	c.fields(where, squashfsFields(x.Fields()), squashfsFields(y.Fields()))
	return nil
}

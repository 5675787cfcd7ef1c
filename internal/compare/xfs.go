package compare

import (
	"fmt"
	"strconv"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/xfsread"
)

// xfs compares the structures of two xfs images.
func (c *comparison) xfs() error {
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", xfsFields(c.a.XFS.SuperFields()), xfsFields(c.b.XFS.SuperFields()))
	return c.both(c.xfsInodes)
}

func xfsFields(list []xfsread.Field) []field {
	out := make([]field, 0, len(list))
	for _, f := range list {
		out = append(out, field{f.Name, f.Value})
	}
	return out
}

// xfsInodes compares what only xfs knows about a name.
func (c *comparison) xfsInodes(a, b *artifact.Entry) error {
	if a.LinkOf != "" && a.LinkOf != a.Name && a.LinkOf == b.LinkOf {
		return nil // told at the first name
	}
	x, err := c.a.XFS.Inode(a.Inode)
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := c.b.XFS.Inode(b.Inode)
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	where := "inode of " + strconv.Quote(a.Name)
	c.structure(where, "number", a.Inode, b.Inode)
	c.fields(where, xfsFields(x.Fields()), xfsFields(y.Fields()))
	return nil
}

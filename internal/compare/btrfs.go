package compare

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/btrfsread"
)

// btrfs compares the structures of two btrfs images.
func (c *comparison) btrfs() error {
	a, b := c.a.Btrfs, c.b.Btrfs
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", btrfsFields(a.SuperFields()), btrfsFields(b.SuperFields()))
	c.structure("superblock", "features", strings.Join(a.Super().Features(), " "), strings.Join(b.Super().Features(), " "))
	c.structure("chunks", "data profile", a.DataProfile(), b.DataProfile())
	c.structure("chunks", "metadata profile", a.MetadataProfile(), b.MetadataProfile())
	return c.both(c.btrfsInodes)
}

func btrfsFields(list []btrfsread.Field) []field {
	out := make([]field, 0, len(list))
	for _, f := range list {
		out = append(out, field{f.Name, f.Value})
	}
	return out
}

// btrfsInodes compares what only btrfs knows about a name.
func (c *comparison) btrfsInodes(a, b *artifact.Entry) error {
	if a.LinkOf != "" && a.LinkOf != a.Name && a.LinkOf == b.LinkOf {
		return nil // told at the first name
	}
	x, err := c.a.Btrfs.Inode(a.Inode)
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := c.b.Btrfs.Inode(b.Inode)
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	where := "inode of " + strconv.Quote(a.Name)
	c.structure(where, "number", a.Inode, b.Inode)
	c.structure(where, "atime", timeText(x.Atime), timeText(y.Atime))
	c.structure(where, "ctime", timeText(x.Ctime), timeText(y.Ctime))
	c.structure(where, "otime", timeText(x.Otime), timeText(y.Otime))
	c.fields(where, btrfsFields(x.Fields()), btrfsFields(y.Fields()))
	return nil
}

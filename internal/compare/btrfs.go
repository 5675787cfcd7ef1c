package compare

import (
	"strings"

	"github.com/volant/fledge-action/internal/artifact"
)

// btrfs compares the structures of two btrfs images.
func (c *comparison) btrfs() error {
	a, b := c.a.Btrfs, c.b.Btrfs
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", fieldsOf(a.SuperFields()), fieldsOf(b.SuperFields()))
	c.structure("superblock", "features", strings.Join(a.Super().Features(), " "), strings.Join(b.Super().Features(), " "))
	c.structure("chunks", "data profile", a.DataProfile(), b.DataProfile())
	c.structure("chunks", "metadata profile", a.MetadataProfile(), b.MetadataProfile())
	return c.inodeFields(func(x *artifact.Artifact, e *artifact.Entry) ([]field, error) {
		in, err := x.Btrfs.Inode(e.Inode)
		if err != nil {
			return nil, err
		}
		times := []field{{"atime", timeText(in.Atime)}, {"ctime", timeText(in.Ctime)}, {"otime", timeText(in.Otime)}}
		return append(times, fieldsOf(in.Fields())...), nil
	})
}

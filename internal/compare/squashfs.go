package compare

import "github.com/volant/fledge-action/internal/artifact"

// squashfs compares the structures of two squashfs images.
func (c *comparison) squashfs() error {
	a, b := c.a.Squashfs, c.b.Squashfs
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", fieldsOf(a.SuperFields()), fieldsOf(b.SuperFields()))
	c.structure("compressor options", "level", a.Level(), b.Level())
	return c.inodeFields(func(x *artifact.Artifact, e *artifact.Entry) ([]field, error) {
		in, err := x.SquashfsInode(e)
		if err != nil {
			return nil, err
		}
		return fieldsOf(in.Fields()), nil
	})
}

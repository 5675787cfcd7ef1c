package compare

import "github.com/volant/fledge-action/internal/artifact"

// xfs compares the structures of two xfs images.
func (c *comparison) xfs() error {
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", fieldsOf(c.a.XFS.SuperFields()), fieldsOf(c.b.XFS.SuperFields()))
	return c.inodeFields(func(x *artifact.Artifact, e *artifact.Entry) ([]field, error) {
		in, err := x.XFS.Inode(e.Inode)
		if err != nil {
			return nil, err
		}
		return fieldsOf(in.Fields()), nil
	})
}

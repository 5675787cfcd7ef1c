package compare

import (
	"fmt"
	"io"
	"strings"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/ext4read"
)

// images compares the structures of two ext4 images.
func (c *comparison) images() error {
	a, b := c.a.Image, c.b.Image
	c.structure("image", "size", c.a.Size, c.b.Size)
	c.fields("superblock", fieldsOf(a.SuperFields()), fieldsOf(b.SuperFields()))
	c.structure("superblock", "features", strings.Join(a.Super().Features(), " "), strings.Join(b.Super().Features(), " "))
	if err := c.groups(a, b); err != nil {
		return err
	}
	if err := c.journals(a, b); err != nil {
		return err
	}
	return c.both(c.inodes)
}

func (c *comparison) groups(a, b *ext4read.FS) error {
	na, nb := a.Super().Groups(), b.Super().Groups()
	c.structure("image", "groups", na, nb)
	for g := range min(na, nb) {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		x, err := a.GroupFields(g)
		if err != nil {
			return fmt.Errorf("first artifact: %w", err)
		}
		y, err := b.GroupFields(g)
		if err != nil {
			return fmt.Errorf("second artifact: %w", err)
		}
		c.fields(fmt.Sprintf("group %d", g), fieldsOf(x), fieldsOf(y))
	}
	return nil
}

func (c *comparison) journals(a, b *ext4read.FS) error {
	x, err := a.JournalFields()
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := b.JournalFields()
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	c.fields("journal", fieldsOf(x), fieldsOf(y))
	if x == nil || y == nil {
		return nil
	}
	ja, err := a.Journal()
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	jb, err := b.Journal()
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	return c.stored("journal", ja, jb, 1024) // after its superblock
}

// stored compares where two inodes' blocks are, and for what is no file what
// they hold from a byte on.
func (c *comparison) stored(where string, a, b *ext4read.Inode, from int64) error {
	x, err := a.Extents()
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := b.Extents()
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	c.structure(where, "data placed at", extentsText(x), extentsText(y))
	if a.Mode.IsRegular() && where != "journal" {
		return nil
	}
	ra, err := a.Open()
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	rb, err := b.Open()
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	c.structure(where, "stored size", ra.Size(), rb.Size())
	if err := c.spend(where, min(ra.Size(), rb.Size())); err != nil {
		return err
	}
	off, err := firstDifference(c.ctx, ra, rb, from, max(from, min(ra.Size(), rb.Size())))
	if err != nil {
		return fmt.Errorf("comparing %s: %w", where, err)
	}
	if off >= 0 {
		what, err := storedByte(ra, off)
		if err != nil {
			return fmt.Errorf("first artifact: %w", err)
		}
		other, err := storedByte(rb, off)
		if err != nil {
			return fmt.Errorf("second artifact: %w", err)
		}
		c.result.Structures = append(c.result.Structures, Structure{where, Change{Field: "stored bytes", A: what, B: other, Offset: &off}})
	}
	return nil
}

// storedByte shows a byte and a few of its neighbours.
func storedByte(r io.ReaderAt, off int64) (string, error) {
	b := make([]byte, 8)
	n, err := r.ReadAt(b, off)
	if n == 0 {
		return "", err
	}
	return fmt.Sprintf("%x", b[:n]), nil
}

func extentsText(list []ext4read.Extent) string {
	if len(list) == 0 {
		return none
	}
	var b strings.Builder
	blocks := uint64(0)
	for i, e := range list {
		if blocks += e.Len; i >= maxRanges {
			continue
		}
		fmt.Fprintf(&b, "%d", e.Physical)
		if e.Len > 1 {
			fmt.Fprintf(&b, "-%d", e.Physical+e.Len-1)
		}
		if e.Unwritten {
			b.WriteString(" unwritten")
		}
		b.WriteString(" ")
	}
	if len(list) > maxRanges {
		b.WriteString("... ")
	}
	fmt.Fprintf(&b, "(%d blocks in %d)", blocks, len(list))
	return b.String()
}

// derived are fields of an inode that follow from something that is compared
// elsewhere, or are part of a time.
var derived = map[string]bool{
	"i_mode": true, "i_uid": true, "i_gid": true, "l_i_uid_high": true, "l_i_gid_high": true, "i_size_lo": true, "i_size_high": true,
	"i_links_count": true, "i_block": true, "l_i_checksum_lo": true, "i_checksum_hi": true, "i_mtime": true, "i_mtime_extra": true,
	"i_atime": true, "i_atime_extra": true, "i_ctime": true, "i_ctime_extra": true, "i_crtime": true, "i_crtime_extra": true,
}

// inodes compares what only ext4 knows about a name.
func (c *comparison) inodes(a, b *artifact.Entry) error {
	if toldBefore(a, b) {
		return nil
	}
	x, err := c.a.Image.Inode(uint32(a.Inode))
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	y, err := c.b.Image.Inode(uint32(b.Inode))
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	where := inodeOf(a)
	c.structure(where, "number", a.Inode, b.Inode)
	c.structure(where, "atime", timeText(x.Atime), timeText(y.Atime))
	c.structure(where, "ctime", timeText(x.Ctime), timeText(y.Ctime))
	c.structure(where, "crtime", timeText(x.Crtime), timeText(y.Crtime))
	c.fields(where, notDerived(x), notDerived(y))
	if a.Type == artifact.File && b.Type == artifact.File || a.Type == artifact.Dir && b.Type == artifact.Dir {
		return c.stored(where, x, y, 0)
	}
	return nil
}

func notDerived(in *ext4read.Inode) []field {
	var out []field
	for _, f := range in.Fields() {
		if !derived[f.Name] {
			out = append(out, field{f.Name, f.Value})
		}
	}
	return out
}

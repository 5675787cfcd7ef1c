package xfsread

import (
	"context"
	"errors"
	"fmt"
)

// Locate says what lies at a byte of the image. Names are quoted. The error is that of
// ctx.
func (f *FS) Locate(ctx context.Context, off int64) (string, error) {
	s := &f.sb
	if off < superSize {
		for _, x := range f.SuperFields() {
			if off < int64(x.Offset+x.Size) {
				return "superblock " + x.Name, nil
			}
		}
	}
	switch {
	case off >= f.size:
		return "the end", nil
	case uint64(off)>>s.blockLog >= s.Blocks:
		return "padding", nil
	}
	group := int64(s.GroupBlocks) << s.blockLog
	if in := off % group; in < int64(len(headers))*int64(s.SectorSize) {
		return fmt.Sprintf("header of group %d, %s", off/group, headers[in/int64(s.SectorSize)].name), nil
	}
	if place, err := f.place(s.LogStart, uint64(s.LogBlocks)); err == nil && off >= place && off < place+int64(s.LogBlocks)<<s.blockLog {
		return "log", nil
	}
	return f.locateNamed(ctx, off)
}

// locateNamed finds whose inode or block a byte is.
func (f *FS) locateNamed(ctx context.Context, off int64) (string, error) {
	found, errFound := "", errors.New("found")
	err := f.walk(func(name string, in *Inode, _ *listing) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if place, err := f.inodePlace(in.Number); err == nil && off >= place && off < place+int64(f.sb.InodeSize) {
			found = fmt.Sprintf("inode of %q", name)
		} else if what := in.holds(off); what != "" {
			found = fmt.Sprintf("%s of %q", what, name)
		}
		if found != "" {
			return errFound
		}
		return nil
	}, func(string, error) error { return ctx.Err() })
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err != nil && found != "" {
		return found, nil
	}
	return "free space or an index", nil
}

// holds names the block of an inode that a byte is in, "" if it is in none.
func (in *Inode) holds(off int64) string {
	for _, k := range []*fork{&in.data, &in.attr} {
		if !k.there || k.format < formatExtents {
			continue
		}
		list, _, err := in.extents(k)
		if err != nil {
			continue // what cannot be read holds nothing
		}
		what := map[bool]string{true: "block", false: "xattr block"}[k == &in.data]
		log := in.fs.sb.blockLog
		for _, x := range list {
			if off >= x.place && off < x.place+int64(x.Count<<log) {
				return fmt.Sprintf("%s %d", what, x.Logical+uint64(off-x.place)>>log)
			}
		}
	}
	return ""
}

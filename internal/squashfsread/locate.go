package squashfsread

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	case off >= s.BytesUsed:
		return "padding", nil
	case off < s.InodeTable:
		return f.locateData(ctx, off)
	}
	return f.locateTable(off), nil
}

// locateTable finds the last table that begins before a byte.
func (f *FS) locateTable(off int64) string {
	type part struct {
		at   int64
		name string
	}
	s := &f.sb
	parts := []part{{s.InodeTable, "inode table"}, {s.DirTable, "directory table"}}
	list := func(table int64, what string, entries bool) {
		if table == noTable {
			return
		}
		var b [8]byte
		if entries && f.readAt(b[:], table, what) == nil {
			parts = append(parts, part{int64(le.Uint64(b[:])), what})
		}
		parts = append(parts, part{table, "list of the blocks of the " + what})
	}
	list(s.FragmentTable, "fragment table", s.Fragments > 0)
	list(s.ExportTable, "export table", true)
	list(s.IDTable, "id table", true)
	if s.XattrTable != noTable {
		parts = append(parts, part{f.xattrStart, "xattrs"}, part{f.xattrEnd, "xattr table"}, part{s.XattrTable, "list of the blocks of the xattr table"})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return int(min(max(a.at-b.at, -1), 1)) })
	what := "inode table"
	for _, p := range parts {
		if p.at <= off {
			what = p.name
		}
	}
	return what
}

// locateData finds whose data a byte is.
func (f *FS) locateData(ctx context.Context, off int64) (string, error) {
	found := ""
	errFound := errors.New("found")
	err := f.walk(func(name string, in *Inode) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if in.Type != TypeFile || in.Size == 0 || off < int64(in.Start) || in.Start == 0 {
			return nil
		}
		file, err := in.File()
		if err != nil {
			return nil //nolint:nilerr // what cannot be read holds nothing
		}
		for i := range file.sizes {
			if off >= file.starts[i] && off < file.starts[i+1] {
				found = fmt.Sprintf("block %d of %q", i, name)
				return errFound
			}
		}
		return nil
	}, func(string, error) error { return ctx.Err() })
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err != nil && found != "" {
		return found, nil
	}
	for i := range f.sb.Fragments {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		at, size, err := f.fragmentEntry(i)
		if err == nil && off >= at && off < at+int64(size&^dataStored) {
			return fmt.Sprintf("fragment %d", i), nil
		}
	}
	if f.sb.Flags&FlagCompressorOptions != 0 && off < superSize+2+8 {
		return "compressor options", nil
	}
	return "data of no file", nil
}

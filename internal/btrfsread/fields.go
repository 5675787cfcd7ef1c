package btrfsread

import (
	"context"
	"errors"
	"fmt"
)

// A Field is a named part of a structure.
type Field struct {
	Name   string
	Offset int // bytes from the structure's start
	Size   int
	Value  string
}

// superFields are the superblock's, in order. Numbers have up to 8 bytes.
var superFields = []struct {
	name string
	size int
}{
	{"csum", 32},
	{"fsid", 16},
	{"bytenr", 8},
	{"flags", 8},
	{"magic", 8},
	{"generation", 8},
	{"root", 8},
	{"chunk_root", 8},
	{"log_root", 8},
	{"log_root_transid", 8},
	{"total_bytes", 8},
	{"bytes_used", 8},
	{"root_dir_objectid", 8},
	{"num_devices", 8},
	{"sectorsize", 4},
	{"nodesize", 4},
	{"leafsize", 4},
	{"stripesize", 4},
	{"sys_chunk_array_size", 4},
	{"chunk_root_generation", 8},
	{"compat_flags", 8},
	{"compat_ro_flags", 8},
	{"incompat_flags", 8},
	{"csum_type", 2},
	{"root_level", 1},
	{"chunk_root_level", 1},
	{"log_root_level", 1},
	{"dev_item.devid", 8},
	{"dev_item.total_bytes", 8},
	{"dev_item.bytes_used", 8},
	{"dev_item.io_align", 4},
	{"dev_item.io_width", 4},
	{"dev_item.sector_size", 4},
	{"dev_item.type", 8},
	{"dev_item.generation", 8},
	{"dev_item.start_offset", 8},
	{"dev_item.dev_group", 4},
	{"dev_item.seek_speed", 1},
	{"dev_item.bandwidth", 1},
	{"dev_item.uuid", 16},
	{"dev_item.fsid", 16},
	{"label", 256},
	{"cache_generation", 8},
	{"uuid_tree_generation", 8},
	{"metadata_uuid", 16},
	{"reserved", 0x32b - 0x24b},
	{"sys_chunk_array", sysChunksMax},
	{"super_roots", 4 * 168},
	{"unused", superSize - 0xdcb},
}

// SuperFields lists the superblock's fields by the names of the format's description.
func (f *FS) SuperFields() []Field {
	list := make([]Field, 0, len(superFields))
	at := 0
	for _, x := range superFields {
		b := f.raw[at : at+x.size]
		var v string
		switch {
		case x.name == "magic":
			v = fmt.Sprintf("%q", b)
		case x.name == "label":
			v = fmt.Sprintf("%q", f.sb.Label)
		case x.name == "csum":
			v = fmt.Sprintf("%x", b[:4])
		case x.size <= 8:
			var number [8]byte
			copy(number[:], b)
			v = fmt.Sprint(le.Uint64(number[:]))
		case x.size <= 16:
			v = fmt.Sprintf("%x", b)
		default:
			v = fmt.Sprintf("%d bytes with crc32c %#x", x.size, crc(b))
		}
		list = append(list, Field{x.name, at, x.size, v})
		at += x.size
	}
	return list
}

// Fields lists what only btrfs has of an inode.
func (in *Inode) Fields() []Field {
	var list []Field
	add := func(name string, v any) { list = append(list, Field{Name: name, Value: fmt.Sprint(v)}) }
	add("flags", fmt.Sprintf("%#x", in.Flags))
	add("generation", in.Generation)
	add("transid", in.Transid)
	add("sequence", in.Sequence)
	add("nbytes", in.Bytes)
	return list
}

// Locate says what lies at a byte of the image. Names are quoted. The error is that of
// ctx.
func (f *FS) Locate(ctx context.Context, off int64) (string, error) {
	if off >= f.size {
		return "the end", nil
	}
	for i, at := range superPlaces {
		if off < at || off >= at+superSize {
			continue
		}
		what := "superblock"
		if i > 0 {
			what = fmt.Sprintf("copy %d of the superblock", i+1)
		}
		for _, x := range f.SuperFields() {
			if off-at < int64(x.Offset+x.Size) {
				return what + " " + x.Name, nil
			}
		}
	}
	for i := range f.chunks {
		c := &f.chunks[i]
		for n, at := range c.places {
			if off < at || off-at >= int64(c.length) {
				continue
			}
			what, err := f.inChunk(ctx, c, c.logical+uint64(off-at))
			if n > 0 {
				what = "the second copy of " + what
			}
			return what, err
		}
	}
	return "space in no chunk", nil
}

// inChunk says what has a logical address.
func (f *FS) inChunk(ctx context.Context, c *chunk, at uint64) (string, error) {
	if c.kind&chunkData != 0 {
		if what, err := f.locateData(ctx, at); err != nil || what != "" {
			return what, err
		}
	}
	if c.kind&(chunkMetadata|chunkSystem) != 0 {
		start := at - at%uint64(f.sb.NodeSize)
		if n, err := f.readNode(start); err == nil {
			return fmt.Sprintf("a node of the %s, level %d", treeName(le.Uint64(n.b[headerOwner:])), n.level), nil
		}
	}
	return "unused space", nil
}

// locateData finds whose data a logical address is.
func (f *FS) locateData(ctx context.Context, at uint64) (string, error) {
	found, errFound := "", errors.New("found")
	err := f.walk(func(name string, in *Inode, _ uint64, _ *entry) error {
		if in.Type != TypeFile {
			return ctx.Err()
		}
		list, err := in.extents()
		if err != nil {
			return ctx.Err()
		}
		for i := range list {
			if x := &list[i]; x.Disk != 0 && x.Kind != Inline && at >= x.Disk && at-x.Disk < x.DiskLen {
				found = fmt.Sprintf("data of %q", name)
				return errFound
			}
		}
		return ctx.Err()
	}, func(string, error) error { return ctx.Err() })
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

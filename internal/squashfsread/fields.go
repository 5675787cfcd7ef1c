package squashfsread

import (
	"fmt"
	"strings"
)

// A Field is a named part of a structure.
type Field struct {
	Name   string
	Offset int // bytes from the structure's start
	Size   int
	Value  string
}

// superFields are the superblock's, in order.
var superFields = []struct {
	name string
	size int
}{
	{"magic", 4},
	{"inode_count", 4},
	{"mod_time", 4},
	{"block_size", 4},
	{"frag_count", 4},
	{"compressor", 2},
	{"block_log", 2},
	{"flags", 2},
	{"id_count", 2},
	{"version_major", 2},
	{"version_minor", 2},
	{"root_inode", 8},
	{"bytes_used", 8},
	{"id_table", 8},
	{"xattr_table", 8},
	{"inode_table", 8},
	{"dir_table", 8},
	{"frag_table", 8},
	{"export_table", 8},
}

// flagNames are the bits of the superblock's flags.
var flagNames = []string{
	"uncompressed_inodes", "uncompressed_data", "check", "uncompressed_fragments", "no_fragments", "always_fragments", "duplicates", "exportable",
	"uncompressed_xattrs", "no_xattrs", "compressor_options", "uncompressed_ids",
}

// FlagNames lists the flags that are set.
func (s *Super) FlagNames() []string {
	var list []string
	for i := range 16 {
		switch {
		case s.Flags>>i&1 == 0:
		case i < len(flagNames):
			list = append(list, flagNames[i])
		default:
			list = append(list, fmt.Sprintf("bit %d", i))
		}
	}
	return list
}

// SuperFields lists the superblock's fields by the names of the format's description.
func (f *FS) SuperFields() []Field {
	var list []Field
	at := 0
	for _, x := range superFields {
		b := f.raw[at : at+x.size]
		var v string
		switch {
		case x.name == "magic":
			v = fmt.Sprintf("%q", b)
		case x.name == "compressor":
			v = fmt.Sprintf("%d (%s)", le.Uint16(b), f.sb.Compression())
		case x.name == "flags":
			v = fmt.Sprintf("%#x (%s)", le.Uint16(b), strings.Join(f.sb.FlagNames(), " "))
		case x.name == "root_inode":
			v = fmt.Sprintf("%#x", le.Uint64(b))
		case x.size == 2:
			v = fmt.Sprint(le.Uint16(b))
		case x.size == 4:
			v = fmt.Sprint(le.Uint32(b))
		default:
			v = fmt.Sprint(int64(le.Uint64(b)))
		}
		list = append(list, Field{x.name, at, x.size, v})
		at += x.size
	}
	return list
}

// Level is the compression level that the image says it was made with, 0 if it says
// nothing: then it is the default, 15 for zstd and 9 for gzip.
func (f *FS) Level() uint32 {
	if f.sb.Flags&FlagCompressorOptions == 0 {
		return 0
	}
	c := cursor{fs: f, what: "compressor options", at: superSize, end: superSize + 1}
	var b [4]byte
	if err := c.read(b[:]); err != nil {
		return 0
	}
	return le.Uint32(b[:])
}

// Fields lists what only squashfs has of an inode.
func (in *Inode) Fields() []Field {
	list := []Field{{Name: "type", Value: fmt.Sprint(in.Type)}}
	if in.Extended {
		list[0].Value += " (extended)"
	}
	add := func(name string, v any) { list = append(list, Field{Name: name, Value: fmt.Sprint(v)}) }
	add("inode reference", fmt.Sprintf("%#x", in.Ref))
	if in.Xattr != none {
		add("xattr index", in.Xattr)
	}
	switch in.Type {
	case TypeFile:
		add("start of blocks", in.Start)
		add("bytes in holes", in.Sparse)
		if in.HasFragment() {
			add("fragment", fmt.Sprintf("%d from byte %d", in.Fragment, in.Offset))
		}
	case TypeDir:
		add("listing", fmt.Sprintf("block %d byte %d", in.listBlock, in.listByte))
		add("parent", in.Parent)
		add("index entries", in.indexes)
	}
	return list
}

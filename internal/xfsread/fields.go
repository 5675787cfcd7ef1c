package xfsread

import (
	"bytes"
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
	{"magicnum", 4},
	{"blocksize", 4},
	{"dblocks", 8},
	{"rblocks", 8},
	{"rextents", 8},
	{"uuid", 16},
	{"logstart", 8},
	{"rootino", 8},
	{"rbmino", 8},
	{"rsumino", 8},
	{"rextsize", 4},
	{"agblocks", 4},
	{"agcount", 4},
	{"rbmblocks", 4},
	{"logblocks", 4},
	{"versionnum", 2},
	{"sectsize", 2},
	{"inodesize", 2},
	{"inopblock", 2},
	{"fname", 12},
	{"blocklog", 1},
	{"sectlog", 1},
	{"inodelog", 1},
	{"inopblog", 1},
	{"agblklog", 1},
	{"rextslog", 1},
	{"inprogress", 1},
	{"imax_pct", 1},
	{"icount", 8},
	{"ifree", 8},
	{"fdblocks", 8},
	{"frextents", 8},
	{"uquotino", 8},
	{"gquotino", 8},
	{"qflags", 2},
	{"flags", 1},
	{"shared_vn", 1},
	{"inoalignmt", 4},
	{"unit", 4},
	{"width", 4},
	{"dirblklog", 1},
	{"logsectlog", 1},
	{"logsectsize", 2},
	{"logsunit", 4},
	{"features2", 4},
	{"bad_features2", 4},
	{"features_compat", 4},
	{"features_ro_compat", 4},
	{"features_incompat", 4},
	{"features_log_incompat", 4},
	{"crc", 4},
	{"spino_align", 4},
	{"pquotino", 8},
	{"lsn", 8},
	{"meta_uuid", 16},
}

// SuperFields lists the superblock's fields by the names of the format's description.
func (f *FS) SuperFields() []Field {
	var list []Field
	at := 0
	for _, x := range superFields {
		b := f.raw[at : at+x.size]
		list = append(list, Field{x.name, at, x.size, superValue(x.name, b)})
		at += x.size
	}
	return list
}

func superValue(name string, b []byte) string {
	switch {
	case name == "magicnum" || name == "fname":
		return fmt.Sprintf("%q", text(b))
	case name == "features_ro_compat":
		return featureValue(be.Uint32(b), roCompatNames)
	case name == "features_incompat":
		return featureValue(be.Uint32(b), incompatNames)
	case name == "crc":
		return fmt.Sprintf("%#08x", le.Uint32(b))
	case len(b) == 16:
		return uuidText(b)
	case name == "versionnum" || name == "qflags" || name == "lsn" || strings.Contains(name, "features"):
		return fmt.Sprintf("%#x", b)
	case len(b) == 1:
		return fmt.Sprint(b[0])
	case len(b) == 2:
		return fmt.Sprint(be.Uint16(b))
	case len(b) == 4:
		return fmt.Sprint(be.Uint32(b))
	}
	return fmt.Sprint(be.Uint64(b))
}

// The features by the names of mkfs.xfs and xfs_info.
var (
	roCompatNames = []string{"finobt", "rmapbt", "reflink", "inobtcount"}
	incompatNames = []string{"ftype", "sparse", "meta_uuid", "bigtime", "needsrepair", "nrext64", "exchange", "parent", "metadir", "zoned", "zone_gaps"}
)

// Features lists the features that are set.
func (s *Super) Features() []string {
	return append(featureList(s.Incompat, incompatNames), featureList(s.ROCompat, roCompatNames)...)
}

func featureList(bits uint32, names []string) []string {
	var list []string
	for i := range 32 {
		switch {
		case bits>>i&1 == 0:
		case i < len(names):
			list = append(list, names[i])
		default:
			list = append(list, fmt.Sprintf("bit %d", i))
		}
	}
	return list
}

func featureText(bits uint32, names []string) string {
	return strings.Join(featureList(bits, names), " ")
}

func featureValue(bits uint32, names []string) string {
	return fmt.Sprintf("%#x (%s)", bits, featureText(bits, names))
}

// text is what is before the first NUL.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func uuidText(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Fields lists what only xfs has of an inode.
func (in *Inode) Fields() []Field {
	var list []Field
	add := func(name, format string, args ...any) {
		list = append(list, Field{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	add("data fork", "%s, %d extents", formatNames[in.data.format], in.data.extents)
	if in.attr.there {
		add("attr fork", "%s, %d extents, from byte %d", formatNames[in.attr.format], in.attr.extents, coreSize+len(in.data.b))
	}
	add("blocks", "%d", in.Blocks)
	add("flags", "%#x", in.Flags)
	add("flags2", "%#x", in.Flags2)
	add("generation", "%d", in.Generation)
	add("project", "%d", in.Project)
	if in.Type == TypeDir {
		add("size of the directory", "%d", in.Size)
	}
	return list
}

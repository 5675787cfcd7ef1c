package squashfs

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// noXattr is the index of an inode that has no attributes.
const noXattr = 1<<32 - 1

// Limits of Linux, in bytes: XATTR_NAME_MAX, XATTR_SIZE_MAX and XATTR_LIST_MAX.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrNames = 64 << 10
)

// namespaces are the prefixes of names that SquashFS stores as a number.
var namespaces = []string{"user.", "trusted.", "security."}

// xattrs is the table of sets of attributes. Inodes with the same set share it.
type xattrs struct {
	sets  []xattrSet
	index map[string]uint32 // by bytes
}

// xattrSet is the attributes of an inode as they are stored.
type xattrSet struct {
	bytes string
	count uint32
}

// addXattrs gives the index of an inode's attributes.
func (p *plan) addXattrs(name string, all map[string]string) (uint32, error) {
	var b []byte
	count, names := uint32(0), 0
	acl, foreign := false, false
	for _, key := range slices.Sorted(maps.Keys(all)) {
		kind := slices.IndexFunc(namespaces, func(ns string) bool { return len(key) > len(ns) && strings.HasPrefix(key, ns) })
		switch {
		case strings.HasPrefix(key, "system.posix_acl_"):
			acl = true
			continue
		case kind < 0:
			foreign = true
			continue
		}
		value := all[key]
		if len(key) > maxXattrName || len(value) > maxXattrValue {
			return 0, &LimitError{name, fmt.Sprintf("xattr %.40q of %d bytes, its name of %d bytes, the limits are %d and %d", key, len(value), len(key), maxXattrValue, maxXattrName)}
		}
		if names += len(key) + 1; names > maxXattrNames {
			return 0, &LimitError{name, fmt.Sprintf("names of xattrs of more than %d bytes together, the limit of Linux", maxXattrNames)}
		}
		suffix := key[len(namespaces[kind]):]
		le := binary.LittleEndian
		b = le.AppendUint16(b, uint16(kind))
		b = le.AppendUint16(b, uint16(len(suffix)))
		b = append(b, suffix...)
		b = append(le.AppendUint32(b, uint32(len(value))), value...)
		count++
	}
	if acl {
		p.acls.add(name)
	}
	if foreign {
		p.foreign.add(name)
	}
	if count == 0 {
		return noXattr, nil
	}
	return p.xattrs.add(xattrSet{string(b), count}), nil
}

func (x *xattrs) add(s xattrSet) uint32 {
	if x.index == nil {
		x.index = map[string]uint32{}
	}
	i, ok := x.index[s.bytes]
	if !ok {
		i = uint32(len(x.sets))
		x.index[s.bytes] = i
		x.sets = append(x.sets, s)
	}
	return i
}

// write writes the attributes, the table of sets and what says where it is, and says
// where that is.
func (x *xattrs) write(out *output, c codec) (int64, error) {
	if len(x.sets) == 0 {
		return noTable, nil
	}
	le := binary.LittleEndian
	values, table := metadata{codec: c}, metadata{codec: c}
	for _, s := range x.sets {
		b := le.AppendUint64(nil, uint64(values.at()))
		b = le.AppendUint32(b, s.count)
		table.write(le.AppendUint32(b, uint32(len(s.bytes))))
		values.write([]byte(s.bytes))
	}
	start, err := values.place(out, "xattrs")
	if err != nil {
		return 0, err
	}
	tableStart, err := table.place(out, "xattr table")
	if err != nil {
		return 0, err
	}
	at := out.at
	b := le.AppendUint64(nil, uint64(start))
	b = le.AppendUint32(b, uint32(len(x.sets)))
	b = le.AppendUint32(b, 0)
	return at, out.write(append(b, table.locations(tableStart)...))
}

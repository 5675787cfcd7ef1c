// Package rpmtest makes rpm headers and ndb databases for tests, by the formats'
// descriptions and independently of the reader.
package rpmtest

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Tags are the values of a header by their tags: a string, a list of strings or a uint32.
type Tags map[uint32]any

// Types of a tag's data (rpmtag.h).
const (
	int32Type       = 4
	stringType      = 6
	stringArrayType = 8
)

// Header writes a package's header as databases hold it, tags in their order.
func Header(tags Tags) []byte {
	var index, data []byte
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		kind, count, off := uint32(stringType), uint32(1), len(data)
		switch v := tags[tag].(type) {
		case string:
			data = append(data, v+"\x00"...)
		case []string:
			kind, count = stringArrayType, uint32(len(v))
			for _, s := range v {
				data = append(data, s+"\x00"...)
			}
		case uint32:
			for len(data)%4 != 0 {
				data = append(data, 0)
			}
			kind, off = int32Type, len(data)
			data = binary.BigEndian.AppendUint32(data, v)
		}
		for _, n := range []uint32{tag, kind, uint32(off), count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, index...), data...)
}

// NDB writes an ndb database of up to 254 headers.
func NDB(headers [][]byte) []byte {
	const page, slot = 4 << 10, 16 // bytes
	le := binary.LittleEndian
	b := make([]byte, page)
	copy(b, "RpmP")
	le.PutUint32(b[12:], 1) // page of slots
	for at := 2 * slot; at < page; at += slot {
		copy(b[at:], "Slot")
	}
	for i, h := range headers {
		s := b[(2+i)*slot:]
		le.PutUint32(s[4:], uint32(i+1))
		le.PutUint32(s[8:], uint32(len(b)/slot))
		blob := append([]byte("BlbS"), make([]byte, 12)...)
		le.PutUint32(blob[4:], uint32(i+1))
		le.PutUint32(blob[12:], uint32(len(h)))
		blob = append(blob, h...)
		for (len(blob)+12)%slot != 0 {
			blob = append(blob, 0)
		}
		b = append(b, append(blob, "sum.size"+"BlbE"...)...)
	}
	return b
}

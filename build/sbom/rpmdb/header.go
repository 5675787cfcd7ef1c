package rpmdb

import (
	"bytes"
	"encoding/binary"
)

// A Package is what a header says of one package. What it does not say is "".
type Package struct {
	Name, Version, Release string
	Epoch                  int64 // 0 when there is none
	Arch                   string
	License                string
	Vendor                 string
	SourceRPM              string   // file name of the source package
	URL                    string   // homepage
	Requires, Provides     []string // capabilities, without versions, in the header's order
}

// Tags of the header (rpmtag.h).
const (
	tagName        = 1000
	tagVersion     = 1001
	tagRelease     = 1002
	tagEpoch       = 1003
	tagVendor      = 1011
	tagLicense     = 1014
	tagURL         = 1020
	tagArch        = 1022
	tagSourceRPM   = 1044
	tagProvideName = 1047
	tagRequireName = 1049
)

// Types of a tag's data.
const (
	typeInt32       = 4
	typeString      = 6
	typeStringArray = 8
	typeI18NString  = 9
)

const (
	maxString  = 4 << 10 // bytes of one value
	maxStrings = 20_000  // values of one tag
	maxTags    = 1 << 16
)

// parseHeader reads a header as the database holds it: the number of index entries,
// the size of the data, the entries, the data; all big-endian.
func parseHeader(b []byte) (Package, error) {
	var p Package
	if len(b) < 8 {
		return p, damaged("a header of %d bytes", len(b))
	}
	n, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if n > maxTags || 8+16*n+size > uint64(len(b)) {
		return p, damaged("a header of %d bytes names %d tags and %d bytes of data", len(b), n, size)
	}
	index, data := b[8:8+16*n], b[8+16*n:][:size]
	for ; len(index) > 0; index = index[16:] {
		e := entry{
			tag: binary.BigEndian.Uint32(index), kind: binary.BigEndian.Uint32(index[4:]),
			off: uint64(binary.BigEndian.Uint32(index[8:])), count: binary.BigEndian.Uint32(index[12:]), data: data,
		}
		p.set(e)
	}
	if p.Name == "" {
		return p, damaged("a header without a package's name")
	}
	return p, nil
}

// set takes over what an entry says, if it is of interest.
func (p *Package) set(e entry) {
	switch e.tag {
	case tagName:
		p.Name = e.text()
	case tagVersion:
		p.Version = e.text()
	case tagRelease:
		p.Release = e.text()
	case tagEpoch:
		p.Epoch = e.number()
	case tagVendor:
		p.Vendor = e.text()
	case tagLicense:
		p.License = e.text()
	case tagURL:
		p.URL = e.text()
	case tagArch:
		p.Arch = e.text()
	case tagSourceRPM:
		p.SourceRPM = e.text()
	case tagProvideName:
		p.Provides = e.list()
	case tagRequireName:
		p.Requires = e.list()
	}
}

// An entry is one tag's place in the data.
type entry struct {
	tag, kind, count uint32
	off              uint64
	data             []byte
}

// next cuts one string off, "" past the end.
func (e *entry) next() string {
	if e.off >= uint64(len(e.data)) {
		return ""
	}
	rest := e.data[e.off:]
	end := bytes.IndexByte(rest[:min(len(rest), maxString+1)], 0)
	if end < 0 {
		e.off = uint64(len(e.data))
		return ""
	}
	e.off += uint64(end) + 1
	return string(rest[:end])
}

func (e entry) text() string {
	if e.kind != typeString && e.kind != typeI18NString && e.kind != typeStringArray {
		return ""
	}
	return e.next()
}

func (e entry) list() []string {
	if e.kind != typeStringArray {
		return nil
	}
	var all []string
	for range min(e.count, maxStrings) {
		s := e.next()
		if s == "" {
			break
		}
		all = append(all, s)
	}
	return all
}

func (e entry) number() int64 {
	if e.kind != typeInt32 || e.count != 1 || e.off+4 > uint64(len(e.data)) {
		return 0
	}
	return int64(binary.BigEndian.Uint32(e.data[e.off:]))
}

package rpmdb

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/volant/fledge-action/internal/rpmtest"
)

// The functions of this file write databases by the formats' descriptions, as far as the
// reader looks at them. What real programs write is in real_test.go.

// sample is a header of about size bytes and the package that it stands for.
func sample(i, size int) ([]byte, Package) {
	p := Package{
		Name: fmt.Sprintf("pkg%d", i), Version: "1.2", Release: "3.el9", Epoch: int64(i % 2), Arch: "x86_64", License: "MIT AND Zlib",
		Vendor: "Example", SourceRPM: "pkg-1.2-3.el9.src.rpm", URL: "https://example.com/",
		Requires: []string{"libc.so.6()(64bit)", "pkg0"}, Provides: []string{"pkg", "config(pkg)"},
	}
	tags := rpmtest.Tags{
		100:            strings.Repeat("x", size), // what nobody asks for
		tagName:        p.Name,
		tagVersion:     p.Version,
		tagRelease:     p.Release,
		tagArch:        p.Arch,
		tagLicense:     p.License,
		tagVendor:      p.Vendor,
		tagSourceRPM:   p.SourceRPM,
		tagURL:         p.URL,
		tagRequireName: p.Requires,
		tagProvideName: p.Provides,
	}
	if p.Epoch != 0 {
		tags[tagEpoch] = uint32(p.Epoch)
	}
	return rpmtest.Header(tags), p
}

// makeBDB writes a hash with one bucket, values of more than a quarter page on pages of
// their own.
func makeBDB(order binary.ByteOrder, headers [][]byte) []byte {
	const size = 1024
	page := func(n uint32, kind byte) []byte {
		p := make([]byte, size)
		order.PutUint32(p[8:], n)
		p[25] = kind
		return p
	}
	meta, bucket := page(0, 8), page(1, bdbHash)
	order.PutUint32(meta[12:], bdbHashMagic)
	order.PutUint32(meta[20:], size)
	var more []byte
	end, items := size, uint16(0)
	put := func(item []byte) {
		end -= len(item)
		copy(bucket[end:], item)
		order.PutUint16(bucket[bdbHeader+2*items:], uint16(end))
		items++
		order.PutUint16(bucket[20:], items)
	}
	add := func(key uint32, value []byte) {
		k := make([]byte, 5)
		k[0] = bdbKeyData
		order.PutUint32(k[1:], key)
		put(k)
		if len(value) < size/4 {
			put(append([]byte{bdbKeyData}, value...))
			return
		}
		item := make([]byte, 12)
		item[0] = bdbOffPage
		first := uint32(2 + len(more)/size)
		order.PutUint32(item[4:], first)
		order.PutUint32(item[8:], uint32(len(value)))
		put(item)
		for n := first; len(value) > 0; n++ {
			p := page(n, bdbOverflow)
			used := copy(p[bdbHeader:], value)
			value = value[used:]
			order.PutUint16(p[22:], uint16(used))
			if len(value) > 0 {
				order.PutUint32(p[16:], n+1)
			}
			more = append(more, p...)
		}
	}
	add(0, []byte{9, 0, 0, 0}) // the next package's number
	for i, h := range headers {
		add(uint32(i+1), h)
	}
	order.PutUint32(meta[32:], uint32(1+len(more)/size))
	return append(append(meta, bucket...), more...)
}

// makeSQLite writes a database whose table Packages has an inner page and a leaf for
// each header.
func makeSQLite(headers [][]byte) []byte {
	const size = 1024
	be := binary.BigEndian
	d := sqlite{usable: size}
	var pages [][]byte
	page := func(kind byte, at int) []byte {
		p := make([]byte, size)
		p[at] = kind
		pages = append(pages, p)
		return p
	}
	put := func(p []byte, at, header int, cell []byte) { // one cell more on a page
		n := int(be.Uint16(p[at+3:]))
		end := size
		if n > 0 {
			end = int(be.Uint16(p[at+header+2*(n-1):]))
		}
		end -= len(cell)
		copy(p[end:], cell)
		be.PutUint16(p[at+header+2*n:], uint16(end))
		be.PutUint16(p[at+3:], uint16(n+1))
	}
	leafCell := func(row uint64, record []byte) []byte {
		cell := putVarint(putVarint(nil, uint64(len(record))), row)
		local := d.local(uint64(len(record)))
		cell = append(cell, record[:local]...)
		if rest := record[local:]; len(rest) > 0 {
			cell = be.AppendUint32(cell, uint32(len(pages)+1))
			for len(rest) > 0 {
				p := page(0, 0)
				n := copy(p[4:], rest)
				if rest = rest[n:]; len(rest) > 0 {
					be.PutUint32(p, uint32(len(pages)+1))
				}
			}
		}
		return cell
	}
	first, inner := page(sqliteLeaf, sqliteHeader), page(sqliteInner, 0)
	copy(first, "SQLite format 3\x00")
	be.PutUint16(first[16:], size)
	put(first, sqliteHeader, 8, leafCell(1, record("index", "Names", "Packages", []byte{9}, "CREATE INDEX")))
	put(first, sqliteHeader, 8, leafCell(2, record("table", "Packages", "Packages", []byte{2}, "CREATE TABLE Packages")))
	for i, h := range headers {
		leaf := page(sqliteLeaf, 0)
		n := uint32(len(pages))
		put(leaf, 0, 8, leafCell(uint64(i+1), record(nil, h)))
		if i == len(headers)-1 {
			be.PutUint32(inner[8:], n)
			break
		}
		put(inner, 0, 12, putVarint(be.AppendUint32(nil, n), uint64(i+1)))
	}
	var all []byte
	for _, p := range pages {
		all = append(all, p...)
	}
	return all
}

// record is one row: nil is NULL, a []byte of one byte a number, others blobs.
func record(row ...any) []byte {
	var types, body []byte
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			types = append(types, 0)
		case string:
			types, body = putVarint(types, 13+2*uint64(len(v))), append(body, v...)
		case []byte:
			if len(v) == 1 {
				types = append(types, 1)
			} else {
				types = putVarint(types, 12+2*uint64(len(v)))
			}
			body = append(body, v...)
		}
	}
	head := putVarint(nil, uint64(len(types)+1))
	return append(append(head, types...), body...)
}

func putVarint(b []byte, n uint64) []byte {
	var digits []byte
	for digits = []byte{byte(n & 0x7f)}; n > 0x7f; digits = append([]byte{byte(n&0x7f) | 0x80}, digits...) {
		n >>= 7
	}
	return append(b, digits...)
}

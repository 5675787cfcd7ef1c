package rpmdb

import (
	"encoding/binary"
	"strings"
)

const (
	sqliteHeader = 100 // bytes before the first page's own header
	sqliteLeaf   = 13  // types of pages: table b-trees
	sqliteInner  = 5
	maxDepth     = 20 // of a b-tree; SQLite's own limit
	maxSchema    = 64 << 10
)

// sqlite is one SQLite database.
type sqlite struct {
	*reader
	pageSize int64
	usable   int64 // of a page
}

// sqlite yields the column blob of the table Packages.
func (r *reader) sqlite() error {
	head, err := r.read(0, sqliteHeader)
	if err != nil {
		return err
	}
	d := sqlite{reader: r, pageSize: int64(binary.BigEndian.Uint16(head[16:]))}
	if d.pageSize == 1 {
		d.pageSize = 64 << 10
	}
	d.usable = d.pageSize - int64(head[20])
	if s := d.pageSize; s < 512 || s&(s-1) != 0 || d.usable < 480 {
		return damaged("pages of %d bytes", s)
	}
	root := uint32(0)
	err = d.walk(1, 0, func(cell payload) error {
		b, err := d.payload(cell, maxSchema)
		if err != nil {
			return err
		}
		// type, name, tbl_name, rootpage, sql
		if row, ok := columns(b, 4); ok && string(row[0]) == "table" && strings.EqualFold(string(row[1]), "Packages") {
			root = uint32(number(row[3]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return damaged("it has no table Packages")
	}
	return d.walk(root, 0, func(cell payload) error {
		b, err := d.payload(cell, MaxHeader+64)
		if err != nil {
			return err
		}
		row, ok := columns(b, 2) // hnum, blob
		if !ok {
			return damaged("a row of Packages that is none")
		}
		return d.give(row[1])
	})
}

// payload is a cell's record: what of it lies on the page, and where the rest is.
type payload struct {
	size     uint64
	local    []byte
	overflow uint32 // page, 0 for none
}

// walk visits the leaves of a table b-tree in the order of their keys.
func (d sqlite) walk(n uint32, depth int, visit func(payload) error) error {
	if depth > maxDepth {
		return damaged("a b-tree of more than %d levels", maxDepth)
	}
	page, err := d.page(n)
	if err != nil {
		return err
	}
	h := page
	if n == 1 {
		h = page[sqliteHeader:]
	}
	cells, size := int(binary.BigEndian.Uint16(h[3:])), 8
	if h[0] == sqliteInner {
		size = 12
	} else if h[0] != sqliteLeaf {
		return damaged("page %d of type %d is of no table", n, h[0])
	}
	if size+2*cells > len(h) {
		return damaged("page %d with %d cells", n, cells)
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(h[size+2*i:]))
		if at > int(d.usable) {
			return damaged("page %d has a cell at byte %d", n, at)
		}
		if err := d.cell(h[0], page[at:d.usable], depth, visit); err != nil {
			return err
		}
	}
	if h[0] == sqliteInner {
		return d.walk(binary.BigEndian.Uint32(h[8:]), depth+1, visit)
	}
	return nil
}

// cell visits a leaf's cell, or the page that an inner cell names.
func (d sqlite) cell(kind byte, cell []byte, depth int, visit func(payload) error) error {
	if kind == sqliteInner {
		if len(cell) < 4 {
			return damaged("a cell of %d bytes", len(cell))
		}
		return d.walk(binary.BigEndian.Uint32(cell), depth+1, visit)
	}
	size, rest := varint(cell)
	_, rest = varint(rest) // the row's key
	if rest == nil {
		return damaged("a cell that is none")
	}
	p := payload{size: size}
	local := d.local(size)
	if uint64(len(rest)) < local {
		return damaged("a record of %d bytes past the end of its page", size)
	}
	p.local = rest[:local]
	if local < size {
		if len(rest[local:]) < 4 {
			return damaged("a cell that is cut short")
		}
		p.overflow = binary.BigEndian.Uint32(rest[local:])
	}
	return visit(p)
}

// local is how much of a record lies on its page (fileformat2, "Cell Payload
// Overflow Pages").
func (d sqlite) local(size uint64) uint64 {
	u := uint64(d.usable)
	most := u - 35
	if size <= most {
		return size
	}
	least := (u-12)*32/255 - 23
	if k := least + (size-least)%(u-4); k <= most {
		return k
	}
	return least
}

// payload collects a record.
func (d sqlite) payload(p payload, limit uint64) ([]byte, error) {
	if p.size > limit {
		return nil, damaged("a record of %d bytes, the limit is %d", p.size, limit)
	}
	b := p.local[:len(p.local):len(p.local)]
	for next := p.overflow; uint64(len(b)) < p.size; {
		page, err := d.page(next)
		if err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(page)
		b = append(b, page[4:min(uint64(d.usable), 4+p.size-uint64(len(b)))]...)
	}
	return b, nil
}

// page reads a page for the first and only time.
func (d sqlite) page(n uint32) ([]byte, error) {
	if n == 0 {
		return nil, damaged("a page 0")
	}
	if err := d.visit(n); err != nil {
		return nil, err
	}
	return d.read(int64(n-1)*d.pageSize, d.pageSize)
}

// columns cuts a record into its first n columns.
func columns(b []byte, n int) ([][]byte, bool) {
	size, types := varint(b)
	if types == nil || size > uint64(len(b)) || int(size) < len(b)-len(types) {
		return nil, false
	}
	types, body := types[:int(size)-(len(b)-len(types))], b[size:]
	row := make([][]byte, n)
	for i := range row {
		kind, rest := varint(types)
		if rest == nil {
			return nil, false
		}
		types = rest
		size := serialSize(kind)
		if size > uint64(len(body)) {
			return nil, false
		}
		row[i], body = body[:size], body[size:]
	}
	return row, true
}

// serialSize is how many bytes a column of a serial type takes.
func serialSize(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind <= 4:
		return kind
	case kind == 5:
		return 6
	case kind <= 7:
		return 8
	}
	return 0
}

// number reads a small integer.
func number(b []byte) uint64 {
	n := uint64(0)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// varint cuts an integer of one to nine bytes off; the rest is nil when there is none.
func varint(b []byte) (uint64, []byte) {
	n := uint64(0)
	for i := range min(len(b), 9) {
		if i == 8 {
			return n<<8 | uint64(b[i]), b[9:]
		}
		n = n<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return n, b[i+1:]
		}
	}
	return 0, nil
}

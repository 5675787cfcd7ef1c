package rpmdb

import (
	"encoding/binary"
)

// Berkeley DB: pages of one size, each with a header of 26 bytes.
const (
	bdbHashMagic = 0x061561
	bdbHeader    = 26

	// Types of pages.
	bdbUnsorted = 2
	bdbOverflow = 7
	bdbHash     = 13

	// Types of items on hash pages.
	bdbKeyData = 1
	bdbOffPage = 3
)

// bdb is one Berkeley DB hash.
type bdb struct {
	*reader
	order    binary.ByteOrder
	pageSize int64
}

// bdb reads all values of a hash. Which bucket a page belongs to does not matter:
// every page of the file is looked at.
func (r *reader) bdb(order binary.ByteOrder) error {
	meta, err := r.read(0, 72)
	if err != nil {
		return err
	}
	d := bdb{r, order, int64(order.Uint32(meta[20:]))}
	if s := d.pageSize; s < 512 || s > 64<<10 || s&(s-1) != 0 {
		return damaged("pages of %d bytes", s)
	}
	if meta[24] != 0 {
		return damaged("it is encrypted")
	}
	last := order.Uint32(meta[32:])
	if int64(last) >= r.size/d.pageSize {
		return damaged("its last page, %d, lies past its end", last)
	}
	for n := uint32(1); n <= last; n++ {
		page, err := d.page(n)
		if err != nil {
			return err
		}
		if page[25] != bdbHash && page[25] != bdbUnsorted {
			continue
		}
		if err := d.items(page); err != nil {
			return err
		}
	}
	return nil
}

func (d bdb) page(n uint32) ([]byte, error) { return d.read(int64(n)*d.pageSize, d.pageSize) }

// items yields the values of a hash page: keys and values take turns.
func (d bdb) items(page []byte) error {
	n := int(d.order.Uint16(page[20:]))
	if n > (len(page)-bdbHeader)/2 {
		return damaged("a page with %d items", n)
	}
	end := len(page)
	var key []byte
	for i := range n {
		at := int(d.order.Uint16(page[bdbHeader+2*i:]))
		if at < bdbHeader+2*n || at >= end {
			return damaged("an item at byte %d of its page", at)
		}
		item := page[at:end]
		end = at
		if i%2 == 0 {
			key = item[1:]
			continue
		}
		if len(key) == 4 && binary.LittleEndian.Uint32(key) == 0 {
			continue // the number of the next package
		}
		value, err := d.value(item)
		if err != nil {
			return err
		}
		if err := d.give(value); err != nil {
			return err
		}
	}
	return nil
}

func (d bdb) value(item []byte) ([]byte, error) {
	switch {
	case item[0] == bdbKeyData:
		return item[1:], nil
	case item[0] == bdbOffPage && len(item) >= 12:
		return d.overflow(d.order.Uint32(item[4:]), d.order.Uint32(item[8:]))
	}
	return nil, damaged("an item of type %d", item[0])
}

// overflow collects a value from the chain of pages that begins with page n.
func (d bdb) overflow(n, size uint32) ([]byte, error) {
	if err := checkHeaderSize(uint64(size)); err != nil {
		return nil, err
	}
	var b []byte
	for n != 0 && len(b) < int(size) {
		if err := d.visit(n); err != nil {
			return nil, err
		}
		page, err := d.page(n)
		if err != nil {
			return nil, err
		}
		used := int(d.order.Uint16(page[22:]))
		if page[25] != bdbOverflow || used > len(page)-bdbHeader {
			return nil, damaged("page %d is no overflow page", n)
		}
		b = append(b, page[bdbHeader:][:used]...)
		n = d.order.Uint32(page[16:])
	}
	if len(b) != int(size) {
		return nil, damaged("a value of %d bytes where %d were announced", len(b), size)
	}
	return b, nil
}

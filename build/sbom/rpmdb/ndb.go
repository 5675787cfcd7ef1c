package rpmdb

import (
	"bytes"
	"encoding/binary"
)

// ndb: the first pages are a table of slots, of which the file's header takes the
// first two. A slot names a blob by its first block; the blob is framed by a head and
// a tail.
const (
	ndbSlot     = 16 // bytes of a slot and of a block
	ndbPage     = 4 << 10
	ndbHead     = 16 // magic, package, generation, length
	maxNDBPages = 1 << 14
)

// ndb reads all blobs of an ndb database.
func (r *reader) ndb(head [32]byte) error {
	if v := binary.LittleEndian.Uint32(head[4:]); v != 0 {
		return damaged("ndb version %d", v)
	}
	pages := binary.LittleEndian.Uint32(head[12:])
	if pages > maxNDBPages {
		return damaged("%d pages of slots, the limit is %d", pages, maxNDBPages)
	}
	slots, err := r.read(0, int64(pages)*ndbPage)
	if err != nil {
		return err
	}
	left := r.size // blobs do not overlap
	for at := 2 * ndbSlot; at < len(slots); at += ndbSlot {
		s := slots[at:][:ndbSlot]
		if !bytes.HasPrefix(s, []byte("Slot")) {
			return damaged("no slot at byte %d", at)
		}
		pkg, block := binary.LittleEndian.Uint32(s[4:]), binary.LittleEndian.Uint32(s[8:])
		if pkg == 0 || block == 0 {
			continue // free
		}
		blob, err := r.ndbBlob(pkg, int64(block)*ndbSlot)
		if err != nil {
			return err
		}
		if left -= int64(len(blob)); left < 0 {
			return damaged("its blobs overlap")
		}
		if err := r.give(blob); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) ndbBlob(pkg uint32, off int64) ([]byte, error) {
	head, err := r.read(off, ndbHead)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte("BlbS")) || binary.LittleEndian.Uint32(head[4:]) != pkg {
		return nil, damaged("no blob of package %d at byte %d", pkg, off)
	}
	size := binary.LittleEndian.Uint32(head[12:])
	if err := checkHeaderSize(uint64(size)); err != nil {
		return nil, err
	}
	return r.read(off+ndbHead, int64(size))
}

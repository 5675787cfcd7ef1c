package ext4

import (
	"encoding/binary"
)

const (
	extentSize    = 12 // bytes in an extent, an index entry and a header
	extentsInRoot = 4
	extentsInNode = (blockSize - extentSize) / extentSize // 340; 4 bytes are left for the checksum
	extentMagic   = 0xf30a
)

// mapExtents makes the extent tree of an inode: in the inode when four entries
// are enough, else with as many levels of blocks below it as it takes.
func (w *Writer) mapExtents(in *inode, extents []extent) error {
	in.flags |= flagExtents
	for _, e := range extents {
		in.blocks += uint64(e.n)
	}
	entries := make([][extentSize]byte, len(extents))
	for i, e := range extents {
		le := binary.LittleEndian
		le.PutUint32(entries[i][0:], e.logical)          // ee_block
		le.PutUint16(entries[i][4:], uint16(e.n))        // ee_len
		le.PutUint16(entries[i][6:], uint16(e.phys>>32)) // ee_start_hi
		le.PutUint32(entries[i][8:], uint32(e.phys))     // ee_start_lo
	}
	depth := uint16(0)
	for len(entries) > extentsInRoot {
		var err error
		if entries, err = w.extentLevel(in, entries, depth); err != nil {
			return err
		}
		depth++
	}
	putExtents(in.iblock[:], entries, extentsInRoot, depth)
	return nil
}

// extentLevel writes entries to blocks of depth and returns the index entries
// that lead to them.
func (w *Writer) extentLevel(in *inode, entries [][extentSize]byte, depth uint16) ([][extentSize]byte, error) {
	var up [][extentSize]byte
	for len(entries) > 0 {
		n := min(len(entries), extentsInNode)
		block := make([]byte, blockSize)
		putExtents(block, entries[:n], extentsInNode, depth)
		tail := extentSize * (1 + extentsInNode)
		binary.LittleEndian.PutUint32(block[tail:], crc32c(w.inodeSeed(in.number), block[:tail])) // et_checksum
		at, err := w.placeBlock(block)
		if err != nil {
			return nil, err
		}
		in.blocks++
		var index [extentSize]byte
		copy(index[0:4], entries[0][0:4])                        // ei_block
		binary.LittleEndian.PutUint32(index[4:], uint32(at))     // ei_leaf_lo
		binary.LittleEndian.PutUint16(index[8:], uint16(at>>32)) // ei_leaf_hi
		up, entries = append(up, index), entries[n:]
	}
	return up, nil
}

func putExtents(b []byte, entries [][extentSize]byte, most int, depth uint16) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], extentMagic)          // eh_magic
	le.PutUint16(b[2:], uint16(len(entries))) // eh_entries
	le.PutUint16(b[4:], uint16(most))         // eh_max
	le.PutUint16(b[6:], depth)                // eh_depth
	for i := range entries {
		copy(b[extentSize*(1+i):], entries[i][:])
	}
}

// placeBlock writes one block to a new place.
func (w *Writer) placeBlock(block []byte) (uint64, error) {
	r, err := w.alloc.take(1)
	if err != nil {
		return 0, err
	}
	return r.start, w.writeAt(block, r.start)
}

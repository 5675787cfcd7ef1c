package ext4

import (
	"encoding/binary"
	"io/fs"

	"github.com/volant/fledge-action/build/tree"
)

// placeJournal makes an empty journal: a superblock, and zeros that are left out.
// https://docs.kernel.org/filesystems/ext4/journal.html; all fields are big-endian.
func (w *Writer) placeJournal() (*inode, error) {
	blocks := uint64(w.opt.JournalBytes / blockSize)
	runs, err := w.alloc.takeAll(blocks)
	if err != nil {
		return nil, err
	}
	c := &content{}
	logical := uint32(0)
	for _, r := range runs {
		w.appendExtent(c, logical, r)
		logical += uint32(r.n)
	}
	b := make([]byte, blockSize)
	be := binary.BigEndian
	be.PutUint32(b[0:], 0xc03b3998)      // h_magic
	be.PutUint32(b[4:], 4)               // h_blocktype: superblock, version 2
	be.PutUint32(b[12:], blockSize)      // s_blocksize
	be.PutUint32(b[16:], uint32(blocks)) // s_maxlen
	be.PutUint32(b[20:], 1)              // s_first
	be.PutUint32(b[24:], 1)              // s_sequence
	be.PutUint32(b[64:], 1)              // s_nr_users; s_start stays 0: nothing to replay
	copy(b[48:], w.opt.UUID[:])          // s_uuid
	if err := w.writeAt(b, runs[0].start); err != nil {
		return nil, err
	}
	in := &inode{
		node:   &tree.Node{Mode: fs.FileMode(0o600), ModTime: w.opt.Epoch},
		base:   "(journal)",
		number: journalInode, links: 1, size: uint64(w.opt.JournalBytes),
	}
	return in, w.mapExtents(in, c.extents)
}

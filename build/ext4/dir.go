package ext4

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Directories: https://docs.kernel.org/filesystems/ext4/directory.html
const (
	dirTail    = 12 // bytes of the checksum entry that ends each block of entries
	dirRoom    = blockSize - dirTail
	dxInfo     = 24 // where dx_root_info stands, after "." and ".."
	dxRootAt   = 32 // where the index entries start in the root
	dxNodeAt   = 8  // and in a node
	dxTailSize = 8
	dxEntry    = 8

	dxInRoot = (blockSize - dxRootAt - dxTailSize) / dxEntry // 507 entries
	dxInNode = (blockSize - dxNodeAt - dxTailSize) / dxEntry // 510 entries

	hashHalfMD4 = 1 // DX_HASH_HALF_MD4; s_flags says unsigned

	lostFoundBlocks = 4 // what mke2fs gives to lost+found, so that e2fsck needs no space
)

// dirent is one name in a directory.
type dirent struct {
	name  string
	inode uint32
	kind  uint8
	hash  uint32
	minor uint32
}

func (d dirent) size() int { return 8 + (len(d.name)+3)&^3 }

// placeDir writes a directory's blocks: one of plain entries when they fit, else
// an indexed directory.
func (w *Writer) placeDir(files *inodes, in *inode) error {
	dots := []dirent{{name: ".", inode: in.number, kind: 2}, {name: "..", inode: in.dir.number, kind: 2}}
	entries := make([]dirent, 0, in.node.Len())
	room := dirRoom - dots[0].size() - dots[1].size()
	for base, n := range in.node.Children() {
		d := dirent{name: base, inode: files.of[n].number, kind: fileType(n.Mode)}
		entries = append(entries, d)
		room -= d.size()
	}
	var data []byte
	if room >= 0 {
		data = w.linearDir(in, append(dots, entries...))
	} else {
		in.flags |= flagIndex
		var err error
		if data, err = w.indexedDir(in, dots, entries); err != nil {
			return err
		}
	}
	in.size = uint64(len(data))
	extents, err := w.place(data)
	if err != nil {
		return err
	}
	return w.mapExtents(in, extents)
}

func (w *Writer) linearDir(in *inode, entries []dirent) []byte {
	blocks := 1
	if in.number == firstInode {
		blocks = lostFoundBlocks
	}
	data := make([]byte, blocks*blockSize)
	w.dirBlock(in, data[:blockSize], entries)
	for i := 1; i < blocks; i++ {
		w.dirBlock(in, data[i*blockSize:(i+1)*blockSize], nil)
	}
	return data
}

// dirBlock writes one block of entries. The last entry takes the room that is
// left; an empty block is one entry without an inode.
func (w *Writer) dirBlock(in *inode, b []byte, entries []dirent) {
	if len(entries) == 0 {
		entries = []dirent{{}}
	}
	at := 0
	for i, d := range entries {
		size := d.size()
		if i == len(entries)-1 {
			size = dirRoom - at
		}
		putDirent(b[at:], d, size)
		at += size
	}
	tail := b[dirRoom:]
	binary.LittleEndian.PutUint16(tail[4:], dirTail) // det_rec_len
	tail[7] = 0xde                                   // det_reserved_ft
	binary.LittleEndian.PutUint32(tail[8:], crc32c(w.inodeSeed(in.number), b[:dirRoom]))
}

func putDirent(b []byte, d dirent, size int) {
	binary.LittleEndian.PutUint32(b[0:], d.inode)
	binary.LittleEndian.PutUint16(b[4:], uint16(size)) // rec_len
	b[6], b[7] = uint8(len(d.name)), d.kind
	copy(b[8:], d.name)
}

// indexedDir makes a directory with a hash index (dir_index): the root, the
// leaves in hash order, and, when the root cannot name them all, a level of nodes.
func (w *Writer) indexedDir(in *inode, dots, entries []dirent) ([]byte, error) {
	for i := range entries {
		entries[i].hash, entries[i].minor = hashName(w.opt.HashSeed, entries[i].name)
	}
	slices.SortFunc(entries, func(a, b dirent) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.minor, b.minor), cmp.Compare(a.name, b.name))
	})
	leaves := packLeaves(entries)
	var data bytes.Buffer
	data.Grow((1 + len(leaves) + len(leaves)/dxInNode + 1) * blockSize)
	data.Write(make([]byte, blockSize)) // the root, written last
	index := make([]dx, len(leaves))
	for i, leaf := range leaves {
		index[i] = dx{hash: leaf[0].hash, block: uint32(1 + i)}
		if prev := i - 1; prev >= 0 && leaves[prev][len(leaves[prev])-1].hash == leaf[0].hash {
			index[i].hash |= 1 // the names with this hash go on from the leaf before
		}
		block := make([]byte, blockSize)
		w.dirBlock(in, block, leaf)
		data.Write(block)
	}
	levels := uint8(0)
	if len(index) > dxInRoot {
		levels = 1
		nodes := index
		index = nil
		for len(nodes) > 0 {
			n := min(len(nodes), dxInNode)
			index = append(index, dx{hash: nodes[0].hash, block: uint32(data.Len() / blockSize)})
			data.Write(w.dxNode(in, nodes[:n]))
			nodes = nodes[n:]
		}
	}
	if len(index) > dxInRoot {
		return nil, &LimitError{in.name(), fmt.Sprintf("a directory of %d names, which needs an index of three levels", len(entries)), "spread them over several directories"}
	}
	w.dxRoot(in, data.Bytes()[:blockSize], dots, index, levels)
	return data.Bytes(), nil
}

// packLeaves cuts entries into blocks.
func packLeaves(entries []dirent) [][]dirent {
	var leaves [][]dirent
	start, room := 0, dirRoom
	for i, d := range entries {
		if d.size() > room {
			leaves = append(leaves, entries[start:i])
			start, room = i, dirRoom
		}
		room -= d.size()
	}
	return append(leaves, entries[start:])
}

// dx is an index entry: names from hash on are in a block of the directory.
type dx struct{ hash, block uint32 }

func (w *Writer) dxRoot(in *inode, b []byte, dots []dirent, index []dx, levels uint8) {
	putDirent(b, dots[0], 12)
	putDirent(b[12:], dots[1], blockSize-12)
	b[dxInfo+4] = hashHalfMD4 // hash_version
	b[dxInfo+5] = 8           // info_length
	b[dxInfo+6] = levels      // indirect_levels
	w.putIndex(in, b, dxRootAt, index, dxInRoot)
}

func (w *Writer) dxNode(in *inode, index []dx) []byte {
	b := make([]byte, blockSize)
	putDirent(b, dirent{}, blockSize)
	w.putIndex(in, b, dxNodeAt, index, dxInNode)
	return b
}

// putIndex writes the entries of a root or node. The first entry's hash is
// implied to be the lowest; limit and count stand in its place.
func (w *Writer) putIndex(in *inode, b []byte, at int, index []dx, limit int) {
	le := binary.LittleEndian
	for i, e := range index {
		le.PutUint32(b[at+i*dxEntry:], e.hash)
		le.PutUint32(b[at+i*dxEntry+4:], e.block)
	}
	le.PutUint16(b[at:], uint16(limit))
	le.PutUint16(b[at+2:], uint16(len(index)))
	tail := b[at+limit*dxEntry:]
	sum := crc32c(w.inodeSeed(in.number), b[:at+len(index)*dxEntry])
	le.PutUint32(tail[4:], crc32c(sum, make([]byte, dxTailSize))) // dt_checksum, over dt_reserved and itself as zeros
}

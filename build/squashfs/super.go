package squashfs

import (
	"context"
	"encoding/binary"
)

const (
	superSize = 96
	magic     = 0x73717368 // "hsqs"
	noTable   = -1
)

// Flags of the superblock.
const (
	flagStoredInodes     = 1 << 0
	flagStoredData       = 1 << 1
	flagStoredFragments  = 1 << 3
	flagDuplicates       = 1 << 6 // files of the same bytes are stored once
	flagExport           = 1 << 7
	flagStoredXattrs     = 1 << 8
	flagCompressorOption = 1 << 10
	flagStoredIDs        = 1 << 11
)

// super is what the superblock says of the tables. Starts are in bytes from the
// image's start.
type super struct {
	inodes, fragments, ids uint32
	root                   ref
	bytesUsed              int64

	idTable, xattrTable, inodeTable, dirTable, fragmentTable, exportTable int64
}

func (s *super) encode(o Options) []byte {
	id, flags := uint16(idZstd), uint16(flagDuplicates|flagExport)
	switch o.compression() {
	case Gzip:
		id = idGzip
	case None: // every kernel with squashfs has gzip
		id = idGzip
		flags |= flagStoredInodes | flagStoredData | flagStoredFragments | flagStoredXattrs | flagStoredIDs
	}
	if compressorOptions(o) != nil {
		flags |= flagCompressorOption
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint32(b, s.inodes)
	b = le.AppendUint32(b, uint32(clampTime(o.Epoch)))
	b = le.AppendUint32(b, blockSize)
	b = le.AppendUint32(b, s.fragments)
	b = le.AppendUint16(b, id)
	b = le.AppendUint16(b, blockLog)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint16(b, uint16(s.ids))
	b = le.AppendUint16(b, 4) // version 4.0
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, uint64(s.root))
	b = le.AppendUint64(b, uint64(s.bytesUsed))
	for _, start := range []int64{s.idTable, s.xattrTable, s.inodeTable, s.dirTable, s.fragmentTable, s.exportTable} {
		b = le.AppendUint64(b, uint64(start))
	}
	return b
}

// writeTables writes everything that follows the data.
func writeTables(ctx context.Context, out *output, p *plan, d *data, o Options) (s super, err error) {
	c, err := newCodec(o)
	if err != nil {
		return s, err
	}
	w := &dirWriter{ctx: ctx, plan: p, inodes: metadata{codec: c}, dirs: metadata{codec: c}}
	root := p.of[p.tree.Root()]
	// The root's parent is a number that no inode has.
	if err := w.dir(root, uint32(len(p.list)+1)); err != nil {
		return s, err
	}
	s.inodes, s.fragments, s.ids, s.root = uint32(len(p.list)), uint32(len(d.fragments)), uint32(len(p.owners.list)), root.ref
	if s.inodeTable, err = w.inodes.place(out, "inode table"); err != nil {
		return s, err
	}
	if s.dirTable, err = w.dirs.place(out, "directory table"); err != nil {
		return s, err
	}
	if s.fragmentTable, err = d.writeFragments(out, c); err != nil {
		return s, err
	}
	le := binary.LittleEndian
	export := metadata{codec: c}
	for _, in := range p.list {
		export.write(le.AppendUint64(nil, uint64(in.ref)))
	}
	if s.exportTable, err = export.placeLookup(out, "export table"); err != nil {
		return s, err
	}
	ids := metadata{codec: c}
	for _, id := range p.owners.list {
		ids.write(le.AppendUint32(nil, id))
	}
	if s.idTable, err = ids.placeLookup(out, "id table"); err != nil {
		return s, err
	}
	s.xattrTable, err = p.xattrs.write(out, c)
	return s, err
}

func (d *data) writeFragments(out *output, c codec) (int64, error) {
	if len(d.fragments) == 0 {
		return noTable, nil
	}
	m := metadata{codec: c}
	for _, f := range d.fragments {
		b := binary.LittleEndian.AppendUint64(nil, uint64(f.start))
		b = binary.LittleEndian.AppendUint32(b, f.size)
		m.write(binary.LittleEndian.AppendUint32(b, 0))
	}
	return m.placeLookup(out, "fragment table")
}

package squashfs

import (
	"context"
	"encoding/binary"
	"math"
)

// Directories are lists of runs: up to 256 entries whose inodes are in one metadata
// block behind a header that says which.
const (
	maxRun        = 256
	runHeaderSize = 12
	entrySize     = 8 // without the name
	maxIndex      = math.MaxUint16
)

// listing is where the names of a directory are.
type listing struct {
	start ref
	size  int64 // bytes before compression
	index []indexEntry
}

// indexEntry lets a reader begin at the run that may have a name, if the directory
// has several metadata blocks.
type indexEntry struct {
	at    int64 // of the run's header, from the listing's start
	block int64 // where that metadata block begins, from the table's start
	name  string
}

// dirWriter writes directories and the inodes of all they have.
type dirWriter struct {
	ctx    context.Context //nolint:containedctx // lives for one call of writeTables
	plan   *plan
	inodes metadata
	dirs   metadata
}

// dir writes what is in a directory and below it, then its listing, then its own
// inode: names say where inodes are.
func (w *dirWriter) dir(in *inode, parent uint32) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	for _, n := range in.node.Children() {
		child := w.plan.of[n]
		switch {
		case n.Mode.IsDir():
			if err := w.dir(child, in.number); err != nil {
				return err
			}
		case !child.written:
			w.inode(child, w.plan.encode(child))
		}
	}
	l := w.list(in)
	w.inode(in, w.plan.encodeDir(in, parent, l))
	return nil
}

func (w *dirWriter) inode(in *inode, b []byte) {
	in.ref, in.written = w.inodes.at(), true
	w.inodes.write(b)
}

// run is the entries behind one header.
type run struct {
	block  int64 // of the inodes
	number uint32
	count  uint32
	first  string
	bytes  []byte
}

// list writes the names of a directory.
func (w *dirWriter) list(in *inode) *listing {
	l := &listing{start: w.dirs.at()}
	begin := w.dirs.total
	last := begin / metaSize // the metadata block of the run before
	var r run
	end := func() {
		if r.count == 0 {
			return
		}
		if at := w.dirs.total / metaSize; at != last && len(l.index) < maxIndex {
			l.index = append(l.index, indexEntry{w.dirs.total - begin, w.dirs.at().block(), r.first})
			last = at
		}
		le := binary.LittleEndian
		b := le.AppendUint32(nil, r.count-1)
		b = le.AppendUint32(b, uint32(r.block))
		b = le.AppendUint32(b, r.number)
		w.dirs.write(append(b, r.bytes...))
		r = run{}
	}
	for base, n := range in.node.Children() {
		child := w.plan.of[n]
		if r.count > 0 && !r.takes(child, w.dirs.total) {
			end()
		}
		r.add(base, child)
	}
	end()
	l.size = w.dirs.total - begin
	return l
}

// takes tells whether an entry may stand in the run, whose header is going to be at
// byte at of the table.
func (r *run) takes(in *inode, at int64) bool {
	delta := int64(in.number) - int64(r.number)
	entry := at + runHeaderSize + int64(len(r.bytes))
	return r.count < maxRun && in.ref.block() == r.block && delta >= math.MinInt16 && delta <= math.MaxInt16 && entry/metaSize == at/metaSize
}

func (r *run) add(base string, in *inode) {
	if r.count == 0 {
		r.block, r.number, r.first = in.ref.block(), in.number, base
	}
	r.count++
	le := binary.LittleEndian
	r.bytes = le.AppendUint16(r.bytes, in.ref.offset())
	r.bytes = le.AppendUint16(r.bytes, uint16(int16(int64(in.number)-int64(r.number))))
	r.bytes = le.AppendUint16(r.bytes, basicType(in.node.Mode))
	r.bytes = le.AppendUint16(r.bytes, uint16(len(base)-1))
	r.bytes = append(r.bytes, base...)
}

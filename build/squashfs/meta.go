package squashfs

import (
	"encoding/binary"
	"fmt"
)

// metaSize is how much of a table is compressed at once, in bytes.
const metaSize = 8192

// metaStored marks the size of a metadata block that is not compressed.
const metaStored = 1 << 15

// ref is a place in a table: the start of a metadata block, from the table's start,
// and a byte of it when uncompressed.
type ref uint64

func (r ref) block() int64   { return int64(r >> 16) }
func (r ref) offset() uint16 { return uint16(r) }

// metadata is a table that is cut into blocks, kept compressed.
type metadata struct {
	codec codec
	out   []byte
	buf   []byte
	tmp   []byte
	total int64 // bytes before compression
	marks []int64
}

func (m *metadata) at() ref { return ref(len(m.out))<<16 | ref(len(m.buf)) }

func (m *metadata) write(p []byte) {
	m.total += int64(len(p))
	for len(p) > 0 {
		n := min(len(p), metaSize-len(m.buf))
		m.buf = append(m.buf, p[:n]...)
		if p = p[n:]; len(m.buf) == metaSize {
			m.flush()
		}
	}
}

// flush ends a block.
func (m *metadata) flush() {
	if len(m.buf) == 0 {
		return
	}
	m.marks = append(m.marks, int64(len(m.out)))
	b, size := m.buf, uint16(len(m.buf))|metaStored
	if m.codec != nil {
		m.tmp = m.codec.pack(m.tmp[:0], m.buf)
		if len(m.tmp) < len(m.buf) {
			b, size = m.tmp, uint16(len(m.tmp))
		}
	}
	m.out = binary.LittleEndian.AppendUint16(m.out, size)
	m.out = append(m.out, b...)
	m.buf = m.buf[:0]
}

// maxTable is how large a compressed table may be: 32 bits say where its blocks are.
const maxTable = 1<<32 - 1

// place writes a table's blocks and says where they begin.
func (m *metadata) place(out *output, what string) (int64, error) {
	m.flush()
	if len(m.out) > maxTable {
		return 0, fmt.Errorf("the %s of %d bytes is too large for squashfs, the limit is %d", what, len(m.out), int64(maxTable))
	}
	start := out.at
	return start, out.write(m.out)
}

// placeLookup writes a table's blocks, then where each of them is, and says where that
// list begins.
func (m *metadata) placeLookup(out *output, what string) (int64, error) {
	start, err := m.place(out, what)
	if err != nil {
		return 0, err
	}
	at := out.at
	return at, out.write(m.locations(start))
}

// locations lists where a table's blocks are in the image.
func (m *metadata) locations(start int64) []byte {
	var b []byte
	for _, mark := range m.marks {
		b = binary.LittleEndian.AppendUint64(b, uint64(start+mark))
	}
	return b
}

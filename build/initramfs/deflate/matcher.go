package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch = 3
	maxMatch = 258

	windowMask = WindowSize - 1
	hash4Bits  = 16
	hash3Bits  = 14
)

// matcher finds earlier occurrences of what stands at a position. Positions with
// the same hash of their next four bytes form a chain, latest first; of those with the
// same hash of three bytes only the latest is known. Tables hold positions plus
// one, so that zero is none.
type matcher struct {
	data  []byte
	known int // positions before it are in the tables
	head4 [1 << hash4Bits]int32
	head3 [1 << hash3Bits]int32
	prev  [WindowSize]int32 // by position modulo the window: the one before it in its chain
}

// reset forgets everything and starts over with data.
func (m *matcher) reset(data []byte) {
	m.data, m.known = data, 0
	clear(m.head4[:])
	clear(m.head3[:])
}

func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hash4Bits) }
func hash3(v uint32) uint32 { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) }

// insert makes all positions before end known.
func (m *matcher) insert(end int) {
	for pos := m.known; pos < min(end, len(m.data)-3); pos++ {
		v := binary.LittleEndian.Uint32(m.data[pos:])
		h3, h4 := hash3(v), hash4(v)
		m.head3[h3] = int32(pos + 1)
		m.prev[pos&windowMask] = m.head4[h4]
		m.head4[h4] = int32(pos + 1)
	}
	m.known = max(m.known, end)
}

// find makes pos, before which all are, known and returns the longest earlier match that is longer than
// best, the nearest of equal ones, or a length of 0. It looks at no more
// than depth candidates and is content with a length of nice.
func (m *matcher) find(pos, best, depth, nice int) (length, dist int) {
	data := m.data
	if len(data)-pos < 4 {
		return 0, 0
	}
	v := binary.LittleEndian.Uint32(data[pos:])
	h3, h4 := hash3(v), hash4(v)
	near := int(m.head3[h3]) - 1
	m.head3[h3] = int32(pos + 1)
	at := int(m.head4[h4]) - 1
	m.prev[pos&windowMask] = m.head4[h4]
	m.head4[h4] = int32(pos + 1)
	m.known = pos + 1

	limit := max(pos-WindowSize+1, 0)
	most := min(maxMatch, len(data)-pos)
	nice = min(nice, most)
	if best >= nice {
		return 0, 0
	}
	if best < minMatch && near >= limit && pos-near <= farThree && v<<8 == binary.LittleEndian.Uint32(data[near:])<<8 {
		length, dist, best = minMatch, pos-near, minMatch
	}
	// A longer match has to agree in the byte behind the best one, too. Four bytes are
	// compared, of which that is the last.
	tail := max(best-3, 0)
	end := binary.LittleEndian.Uint32(data[pos+tail:])
	here := data[pos : pos+most]
	for ; at >= limit && depth > 0; depth-- {
		if binary.LittleEndian.Uint32(data[at+tail:]) == end && binary.LittleEndian.Uint32(data[at:]) == v {
			if n := common(here, data[at:]); n > best {
				length, dist, best = n, pos-at, n
				if n >= nice {
					break
				}
				tail = n - 3
				end = binary.LittleEndian.Uint32(data[pos+tail:])
			}
		}
		at = int(m.prev[at&windowMask]) - 1
	}
	return length, dist
}

// farThree is how far a match of three bytes may be to be worth its distance.
const farThree = 4096

// common is the number of bytes that a and the start of b, which is longer, share.
func common(a, b []byte) int {
	n := 0
	for n+8 <= len(a) {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

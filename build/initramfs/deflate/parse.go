package deflate

import "math/bits"

// token is a literal (its value) or a match (length<<16 | distance).
type token uint32

func (t token) isMatch() bool { return t >= 1<<16 }
func (t token) length() int   { return int(t >> 16) }
func (t token) distance() int { return int(t & 0xffff) }

func match(length, dist int) token { return token(length<<16 | dist) }

// effort is how hard a level looks for matches.
type effort struct {
	depth int // candidates looked at for one match
	nice  int // a match of this length is not bettered
	lazy  int // later positions tried before a match is taken
}

var efforts = [10]effort{
	1: {4, 16, 0},
	2: {8, 24, 0},
	3: {12, 32, 1},
	4: {20, 48, 1},
	5: {32, 64, 1},
	6: {48, 96, 2},
	7: {96, 130, 2},
	8: {240, 200, 2},
	9: {600, 258, 2},
}

// parse turns data[from:] into tokens. A match is put off when a later position
// has a better one; what is passed over becomes literals.
func (e *Encoder) parse(data []byte, from int) {
	m, f := &e.matcher, e.effort
	m.reset(data)
	m.insert(0, from)
	tokens := e.tokens[:0]
	for pos := from; pos < len(data); {
		length, dist := m.find(pos, minMatch-1, f.depth, f.nice)
		if length == 0 {
			tokens = append(tokens, token(data[pos]))
			pos++
			continue
		}
		seen := pos + 1 // positions before it are in the matcher
		for ahead, depth := 1, f.depth; ahead <= f.lazy && length < f.nice; {
			depth /= 2
			l, d := m.find(pos+ahead, length-1, depth, f.nice)
			seen = pos + ahead + 1
			if l == 0 || worth(l, d) <= worth(length, dist)+ahead-1+1 {
				ahead++
				continue
			}
			for ; ahead > 0; ahead-- {
				tokens = append(tokens, token(data[pos]))
				pos++
			}
			length, dist, ahead, depth = l, d, 1, f.depth
		}
		tokens = append(tokens, match(length, dist))
		m.insert(seen, pos+length)
		pos += length
	}
	e.tokens = tokens
}

// worth compares matches: a byte more is worth about as much as a distance
// 16 times as short.
func worth(length, dist int) int { return 4*length - bits.Len(uint(dist)) }

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
	m := &e.matcher
	m.reset(data)
	m.insert(from)
	tokens := e.tokens[:0]
	for pos := from; pos < len(data); {
		length, dist := m.find(pos, minMatch-1, e.effort.depth, e.effort.nice)
		if length == 0 {
			tokens = append(tokens, token(data[pos]))
			pos++
			continue
		}
		for {
			skip, l, d := e.better(pos, length, dist)
			if skip == 0 {
				break
			}
			for _, literal := range data[pos : pos+skip] {
				tokens = append(tokens, token(literal))
			}
			pos, length, dist = pos+skip, l, d
		}
		tokens = append(tokens, match(length, dist))
		pos += length
		m.insert(pos)
	}
	e.tokens = tokens
}

// better looks for a match that is worth more than the one at pos at the positions behind
// that, and says how many bytes to pass over for it, 0 if there is none. Each
// further one is searched for with half the effort.
func (e *Encoder) better(pos, length, dist int) (skip, betterLength, betterDist int) {
	if length >= e.effort.nice {
		return 0, 0, 0
	}
	depth := e.effort.depth
	for skip := 1; skip <= e.effort.lazy; skip++ {
		depth /= 2
		l, d := e.matcher.find(pos+skip, length-1, depth, e.effort.nice)
		if l > 0 && worth(l, d) > worth(length, dist)+skip {
			return skip, l, d
		}
	}
	return 0, 0, 0
}

// worth compares matches: a byte more is worth about as much as a distance
// 16 times as short.
func worth(length, dist int) int { return 4*length - bits.Len(uint(dist)) }

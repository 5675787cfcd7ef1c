package deflate

// Block types of RFC 1951, 3.2.3.
const (
	typeStored  = 0
	typeFixed   = 1
	typeDynamic = 2

	maxStored = 65535 // bytes in one stored block
)

// fixedLiteral and fixedDistance are the codes of RFC 1951, 3.2.6.
var fixedLiteral, fixedDistance = fixedCodes()

func fixedCodes() (literal, distance code) {
	literal, distance = newCode(288), newCode(32)
	for i := range literal.length {
		switch {
		case i < 144:
			literal.length[i] = 8
		case i < 256:
			literal.length[i] = 9
		case i < 280:
			literal.length[i] = 7
		default:
			literal.length[i] = 8
		}
	}
	for i := range distance.length {
		distance.length[i] = 5
	}
	literal.assign()
	distance.assign()
	return literal, distance
}

func newCode(symbols int) code { return code{make([]uint8, symbols), make([]uint16, symbols)} }

// block writes tokens, which stand for raw, in the form that takes the least room.
func (e *Encoder) block(tokens []token, c *counts, raw []byte, final bool) {
	c.literal[endOfBlock] = 1
	e.build.build(e.literal, c.literal[:], maxCode)
	e.build.build(e.distance, c.distance[:], maxCode)
	e.describe()
	dynamic := e.header.bits + e.literal.size(c.literal[:]) + e.distance.size(c.distance[:])
	fixed := fixedLiteral.size(c.literal[:]) + fixedDistance.size(c.distance[:])
	stored := (len(raw) + (len(raw)/maxStored+1)*5) * 8
	last := uint64(0)
	if final {
		last = 1
	}
	switch w := &e.out; {
	case stored <= min(dynamic, fixed)+int(c.extra)+3:
		w.stored(raw, final)
	case fixed <= dynamic:
		w.add(last|typeFixed<<1, 3)
		w.tokens(tokens, fixedLiteral, fixedDistance)
	default:
		w.add(last|typeDynamic<<1, 3)
		e.header.write(w)
		w.tokens(tokens, e.literal, e.distance)
	}
}

// stored writes bytes as they are, in as many blocks as it takes.
func (w *bitWriter) stored(raw []byte, final bool) {
	for {
		part := raw[:min(len(raw), maxStored)]
		raw = raw[len(part):]
		last := uint64(0)
		if final && len(raw) == 0 {
			last = 1
		}
		w.add(last|typeStored<<1, 3)
		w.align()
		n := uint16(len(part))
		w.buf = append(w.buf, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
		w.buf = append(w.buf, part...)
		if len(raw) == 0 {
			return
		}
	}
}

// tokens writes a block's tokens and its end.
func (w *bitWriter) tokens(tokens []token, literal, distance code) {
	for _, t := range tokens {
		if !t.isMatch() {
			w.add(uint64(literal.bits[t]), uint(literal.length[t]))
			continue
		}
		l := lengthSymbol[t.length()-minMatch]
		w.add(uint64(literal.bits[l]), uint(literal.length[l]))
		i := l - firstLength
		w.add(uint64(t.length()-int(lengthBase[i])), uint(lengthExtra[i]))
		d := distanceSymbol(t.distance())
		w.add(uint64(distance.bits[d]), uint(distance.length[d]))
		w.add(uint64(t.distance()-int(distanceBase[d])), uint(distanceExtra[d]))
	}
	w.add(uint64(literal.bits[endOfBlock]), uint(literal.length[endOfBlock]))
}

// bitWriter packs bits into bytes, the first bit lowest (RFC 1951, 3.1.1).
type bitWriter struct {
	buf []byte
	acc uint64
	n   uint // bits in acc, less than 32 between calls
}

// add writes the lowest n bits of v, which has no others; n is at most 32.
func (w *bitWriter) add(v uint64, n uint) {
	w.acc |= v << w.n
	if w.n += n; w.n >= 32 {
		a := uint32(w.acc)
		w.buf = append(w.buf, byte(a), byte(a>>8), byte(a>>16), byte(a>>24))
		w.acc >>= 32
		w.n -= 32
	}
}

// align fills up the last byte with zeros.
func (w *bitWriter) align() {
	for ; w.n > 0; w.n -= min(w.n, 8) {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
	}
}

package deflate

// numLengths is the size of the alphabet in which code lengths are written.
const numLengths = 19

// lengthOrder is the order in which that alphabet's own code is written (RFC 1951, 3.2.7).
var lengthOrder = [numLengths]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// Symbols for repeated lengths, with the numbers they can stand for.
const (
	repeatLast   = 16 // 3 to 6 times
	repeatZero   = 17 // 3 to 10 times
	repeatZeros  = 18 // 11 to 138 times
	lastExtra    = 2  // bits
	zeroExtra    = 3
	zerosExtra   = 7
	maxLast      = 6
	maxZero      = 10
	maxZeros     = 138
	leastRepeats = 3
)

// lengthToken is a symbol with what stands behind it.
type lengthToken struct{ symbol, extra, extraBits uint8 }

// header is the description of a dynamic block's codes.
type header struct {
	literals, distances, lengths int // numbers of code lengths that are written
	tokens                       []lengthToken
	code                         code
	bits                         int
}

// describe makes the header for the encoder's two codes.
func (e *Encoder) describe() {
	h := &e.header
	h.literals = used(e.literal.length, firstLength)
	h.distances = used(e.distance.length, 1)
	e.codeLengths = append(append(e.codeLengths[:0], e.literal.length[:h.literals]...), e.distance.length[:h.distances]...)
	h.tokens = repeats(h.tokens[:0], e.codeLengths)
	var count [numLengths]uint32
	h.bits = 5 + 5 + 4
	for _, t := range h.tokens {
		count[t.symbol]++
		h.bits += int(t.extraBits)
	}
	e.build.build(h.code, count[:], maxLengthCode)
	h.bits += h.code.size(count[:])
	h.lengths = numLengths
	for h.lengths > 4 && h.code.length[lengthOrder[h.lengths-1]] == 0 {
		h.lengths--
	}
	h.bits += 3 * h.lengths
}

// used is the number of lengths without the zeros at the end, at least least.
func used(length []uint8, least int) int {
	n := len(length)
	for n > least && length[n-1] == 0 {
		n--
	}
	return n
}

// repeats writes runs of equal lengths as repetitions.
func repeats(tokens []lengthToken, lengths []uint8) []lengthToken {
	for i := 0; i < len(lengths); {
		l := lengths[i]
		run := 1
		for i+run < len(lengths) && lengths[i+run] == l {
			run++
		}
		i += run
		if l != 0 {
			tokens = append(tokens, lengthToken{l, 0, 0})
			run--
		}
		for run >= leastRepeats {
			var n int
			switch {
			case l != 0:
				n = min(run, maxLast)
				tokens = append(tokens, lengthToken{repeatLast, uint8(n - leastRepeats), lastExtra})
			case run <= maxZero:
				n = run
				tokens = append(tokens, lengthToken{repeatZero, uint8(n - leastRepeats), zeroExtra})
			default:
				n = min(run, maxZeros)
				tokens = append(tokens, lengthToken{repeatZeros, uint8(n - maxZero - 1), zerosExtra})
			}
			run -= n
		}
		for range run {
			tokens = append(tokens, lengthToken{l, 0, 0})
		}
	}
	return tokens
}

func (h *header) write(w *bitWriter) {
	w.add(uint64(h.literals-firstLength), 5)
	w.add(uint64(h.distances-1), 5)
	w.add(uint64(h.lengths-4), 4)
	for _, s := range lengthOrder[:h.lengths] {
		w.add(uint64(h.code.length[s]), 3)
	}
	for _, t := range h.tokens {
		w.add(uint64(h.code.bits[t.symbol]), uint(h.code.length[t.symbol]))
		w.add(uint64(t.extra), uint(t.extraBits))
	}
}

package deflate

import "math/bits"

// pieceTokens is the number of tokens in the smallest unit of which blocks are made.
const pieceTokens = 512

// counts is how often each symbol stands in a run of tokens.
type counts struct {
	literal  [numLiteral]uint32 // literals, the end of the block and lengths
	distance [numDistance]uint32
	extra    uint32 // bits behind symbols
}

func (c *counts) add(tokens []token) {
	for _, t := range tokens {
		if !t.isMatch() {
			c.literal[t]++
			continue
		}
		l, d := lengthSymbol[t.length()-minMatch], distanceSymbol(t.distance())
		c.literal[l]++
		c.distance[d]++
		c.extra += uint32(lengthExtra[l-firstLength]) + uint32(distanceExtra[d])
	}
}

func (c *counts) join(other *counts) {
	for i, n := range other.literal {
		c.literal[i] += n
	}
	for i, n := range other.distance {
		c.distance[i] += n
	}
	c.extra += other.extra
}

// cost estimates the size of a block of the tokens of a and b together in
// 1/2^fractionBits bits: the entropy of the symbols, and the description of the codes by the number of
// symbols that are used.
func cost(a, b *counts) int64 {
	return entropy(a.literal[:], b.literal[:]) + entropy(a.distance[:], b.distance[:]) +
		int64(a.extra+b.extra+blockCost)<<fractionBits
}

const (
	blockCost  = 60 // bits of a block that describe no symbol
	symbolCost = 4  // bits that describe a code's length
)

func entropy(a, b []uint32) int64 {
	b = b[:len(a)]
	total, sum := uint32(0), int64(0)
	for i, n := range a {
		if n += b[i]; n > 0 {
			total += n
			sum += symbolCost<<fractionBits - timesLog(n)
		}
	}
	return sum + timesLog(total)
}

// Logarithms are fixed-point numbers: floating point differs between processors.
const (
	fractionBits = 10
	logBits      = 8 // bits of a number that its logarithm looks at
)

// logTable[i] is the logarithm to base 2 of 1 + i/2^logBits.
var logTable = makeLogTable()

func makeLogTable() (table [1 << logBits]uint32) {
	for i := range table {
		x := uint64(1)<<31 + uint64(i)<<(31-logBits) // from 1 to 2, with 31 bits of fraction
		log := uint32(0)
		for range fractionBits {
			x = x * x >> 31
			log <<= 1
			if x >= 1<<32 {
				log |= 1
				x >>= 1
			}
		}
		table[i] = log
	}
	return table
}

// timesLog is n log2 n in 1/2^fractionBits.
func timesLog(n uint32) int64 {
	if n < 2 {
		return 0
	}
	whole := bits.Len32(n) - 1
	part := n << (31 - whole) << 1 >> (32 - logBits)
	return int64(n) * int64(uint32(whole)<<fractionBits+logTable[part])
}

// span is a run of tokens that becomes a block.
type span struct {
	start, end int // in tokens
	cost       int64
	gain       int64 // of joining it with the next span; 0 for the last one
	changed    bool  // since gains were measured
	counts     counts
}

// split cuts the tokens into blocks. It starts with pieces of fixed size and
// joins neighbours in rounds until nothing is won by it.
func (e *Encoder) split() []*span {
	spans := e.pieces()
	for {
		measure(spans)
		before := len(spans)
		if spans = join(spans); len(spans) == before {
			return spans
		}
	}
}

func (e *Encoder) pieces() []*span {
	n := max(1, (len(e.tokens)+pieceTokens-1)/pieceTokens)
	for len(e.spans) < n {
		e.spans = append(e.spans, new(span))
	}
	e.work = append(e.work[:0], e.spans[:n]...)
	for i, s := range e.work {
		start := i * pieceTokens
		*s = span{start: start, end: min(start+pieceTokens, len(e.tokens)), changed: true}
		s.counts.add(e.tokens[s.start:s.end])
		s.cost = cost(&s.counts, &none)
	}
	return e.work
}

var none counts

// measure brings gains up to date.
func measure(spans []*span) {
	for i, s := range spans {
		switch {
		case i+1 == len(spans):
			s.gain = 0
		case s.changed || spans[i+1].changed:
			s.gain = s.cost + spans[i+1].cost - cost(&s.counts, &spans[i+1].counts)
		}
	}
	for _, s := range spans {
		s.changed = false
	}
}

// join joins each pair of neighbours that wins something, and more than the pairs
// that overlap with it. It returns the spans that are left, in place.
func join(spans []*span) []*span {
	kept := spans[:0]
	before := int64(0) // gain of the pair before
	for i := 0; i < len(spans); i++ {
		s := spans[i]
		kept = append(kept, s)
		if s.gain <= before || spans[i+1].gain > s.gain {
			before = max(s.gain, 0)
			continue
		}
		next := spans[i+1]
		s.end, s.cost, s.changed = next.end, s.cost+next.cost-s.gain, true
		s.counts.join(&next.counts)
		before = max(next.gain, 0)
		i++
	}
	return kept
}

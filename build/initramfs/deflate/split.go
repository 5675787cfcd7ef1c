package deflate

import "math/bits"

// pieceTokens is the number of tokens in the smallest unit of which blocks are made.
const pieceTokens = 2048

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

func (c *counts) merge(a, b *counts) {
	for i := range c.literal {
		c.literal[i] = a.literal[i] + b.literal[i]
	}
	for i := range c.distance {
		c.distance[i] = a.distance[i] + b.distance[i]
	}
	c.extra = a.extra + b.extra
}

// cost estimates the size of a block of such tokens in 1/fraction bits: the entropy of the
// symbols, and the description of the codes by the number of symbols that are used.
func (c *counts) cost() int64 {
	return entropy(c.literal[:]) + entropy(c.distance[:]) + int64(c.extra)<<fractionBits + blockCost<<fractionBits
}

const (
	blockCost  = 60 // bits of a block that describe no symbol
	symbolCost = 4  // bits that describe a code's length
)

func entropy(n []uint32) int64 {
	total, sum := uint32(0), int64(0)
	for _, n := range n {
		if n > 0 {
			total += n
			sum -= timesLog(n)
			sum += symbolCost << fractionBits
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
	end    int // in tokens
	counts counts
	cost   int64
	gain   int64 // of joining it with the next one
}

// split cuts the tokens into blocks. It starts with pieces of fixed size and joins
// those two neighbours by which most is won, until nothing is won.
func (e *Encoder) split() []span {
	spans := e.spans[:0]
	for at := 0; at < len(e.tokens) || at == 0; at += pieceTokens {
		spans = append(spans, span{end: min(at+pieceTokens, len(e.tokens))})
		s := &spans[len(spans)-1]
		s.counts.add(e.tokens[at:s.end])
		s.cost = s.counts.cost()
	}
	for i := range len(spans) - 1 {
		spans[i].gain = e.gain(&spans[i], &spans[i+1])
	}
	for len(spans) > 1 {
		best := 0
		for i := 1; i < len(spans)-1; i++ {
			if spans[i].gain > spans[best].gain {
				best = i
			}
		}
		if spans[best].gain <= 0 {
			break
		}
		a, b := &spans[best], &spans[best+1]
		a.counts.merge(&a.counts, &b.counts)
		a.end, a.cost = b.end, a.cost+b.cost-a.gain
		spans = append(spans[:best+1], spans[best+2:]...)
		for _, i := range [2]int{best - 1, best} {
			if i >= 0 && i+1 < len(spans) {
				spans[i].gain = e.gain(&spans[i], &spans[i+1])
			}
		}
	}
	e.spans = spans
	return spans
}

func (e *Encoder) gain(a, b *span) int64 {
	e.joined.merge(&a.counts, &b.counts)
	return a.cost + b.cost - e.joined.cost()
}

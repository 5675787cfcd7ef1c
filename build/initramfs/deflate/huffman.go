package deflate

import (
	"cmp"
	"math/bits"
	"slices"
)

const (
	maxCode       = 15 // bits in a literal or distance code
	maxLengthCode = 7  // bits in a code of the code-length alphabet
)

// code is a Huffman code: by symbol, the length in bits and the bits in the
// order in which they are written.
type code struct {
	length []uint8
	bits   []uint16
}

// leaf is a symbol on its way into a tree.
type leaf struct {
	count  uint32
	symbol uint16
}

// builder makes codes. It is kept to save allocations.
type builder struct {
	leaves  []leaf
	rows    [maxCode][2 * numLiteral]uint32
	isLeaf  [maxCode][2 * numLiteral]bool
	lengths [maxCode]int
}

// build makes the best code whose lengths are at most limit. A code has at
// least two symbols, used or not, so that it is complete.
func (b *builder) build(c code, count []uint32, limit int) {
	b.leaves = b.leaves[:0]
	for symbol, n := range count {
		c.length[symbol] = 0
		if n > 0 {
			b.leaves = append(b.leaves, leaf{n, uint16(symbol)})
		}
	}
	for symbol := uint16(0); len(b.leaves) < 2; symbol++ {
		if len(b.leaves) == 0 || b.leaves[0].symbol != symbol {
			b.leaves = append(b.leaves, leaf{0, symbol})
		}
	}
	slices.SortFunc(b.leaves, func(x, y leaf) int {
		return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.symbol, y.symbol))
	})
	b.packageMerge(c.length, limit)
	c.assign()
}

// packageMerge finds the lengths (Larmore and Hirschberg, "A fast algorithm for optimal
// length-limited Huffman codes", 1990). Row by row, the leaves are merged with pairs of the
// row before. Of the last row the 2n-2 lightest items are taken, with the items
// that they are made of; a symbol's length is how often its leaf is taken.
func (b *builder) packageMerge(length []uint8, limit int) {
	n := len(b.leaves)
	for row := range limit {
		pairs := 0
		if row > 0 {
			pairs = b.lengths[row-1] / 2
		}
		l, p := 0, 0
		for i := range n + pairs {
			weight := uint32(0)
			if p < pairs {
				weight = b.rows[row-1][2*p] + b.rows[row-1][2*p+1]
			}
			if b.isLeaf[row][i] = p == pairs || l < n && b.leaves[l].count <= weight; b.isLeaf[row][i] {
				b.rows[row][i] = b.leaves[l].count
				l++
			} else {
				b.rows[row][i] = weight
				p++
			}
		}
		b.lengths[row] = n + pairs
	}
	take := 2*n - 2
	for row := limit - 1; row >= 0 && take > 0; row-- {
		leaves := 0
		for i := range take {
			if b.isLeaf[row][i] {
				length[b.leaves[leaves].symbol]++
				leaves++
			}
		}
		take = 2 * (take - leaves)
	}
}

// assign numbers the codes as RFC 1951, 3.2.2 says.
func (c code) assign() {
	var count, next [maxCode + 2]uint16
	for _, l := range c.length {
		count[l]++
	}
	count[0] = 0
	for l := 1; l <= maxCode; l++ {
		next[l+1] = (next[l] + count[l]) << 1
	}
	for symbol, l := range c.length {
		if l > 0 {
			c.bits[symbol] = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}

// size is how many bits the symbols take.
func (c code) size(count []uint32) int {
	sum := 0
	for symbol, n := range count {
		sum += int(n) * int(c.length[symbol])
	}
	return sum
}

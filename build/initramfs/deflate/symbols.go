package deflate

import "math/bits"

// Symbols of RFC 1951, 3.2.5.
const (
	endOfBlock  = 256
	firstLength = 257
	numLiteral  = 286
	numDistance = 30
)

var (
	lengthBase   [29]uint16
	lengthExtra  = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	lengthSymbol [maxMatch - minMatch + 1]uint16 // by length less minMatch

	distanceBase  [numDistance]uint16
	distanceExtra [numDistance]uint8
)

func init() {
	base := minMatch
	for i, extra := range lengthExtra {
		lengthBase[i] = uint16(base)
		base += 1 << extra
	}
	lengthBase[28] = maxMatch // the last one has the length 258 to itself
	for length := minMatch; length <= maxMatch; length++ {
		i := 28
		for int(lengthBase[i]) > length || i == 28 && length < maxMatch {
			i--
		}
		lengthSymbol[length-minMatch] = uint16(firstLength + i)
	}
	base = 1
	for i := range distanceBase {
		distanceExtra[i] = uint8(max(i/2-1, 0))
		distanceBase[i] = uint16(base)
		base += 1 << distanceExtra[i]
	}
}

// distanceSymbol: there are two symbols for every power of two.
func distanceSymbol(dist int) int {
	if dist <= 2 {
		return dist - 1
	}
	top := bits.Len32(uint32(dist-1)) - 1
	return 2*top + (dist-1)>>(top-1)&1
}

// Package spelling tells how far apart two words are, for "did you mean".
//
// It has no list of words and no threshold: what is near enough depends on who asks.
package spelling

// MaxWord is how many bytes words that are compared may have.
const MaxWord = 256

// Distance is the number of bytes to insert, remove, replace or swap with the next one
// to get from a to b (optimal string alignment). A word longer than MaxWord is MaxWord
// away from all others.
func Distance(a, b string) int {
	if len(a) > MaxWord || len(b) > MaxWord {
		return MaxWord
	}
	above, before := make([]int, len(b)+1), make([]int, len(b)+1) // the last row, and the one before it
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}

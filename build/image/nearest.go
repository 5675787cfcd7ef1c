package image

import (
	"cmp"
	"slices"
)

// nearest returns at most five of the words, those closest to want first.
func nearest(want string, words []string) []string {
	const most = 5
	type scored struct {
		word     string
		distance int
	}
	all := make([]scored, 0, len(words))
	for _, w := range words {
		if len(w) <= 256 {
			all = append(all, scored{w, distance(want, w)})
		}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.word, b.word))
	})
	near := make([]string, 0, most)
	for _, s := range all[:min(most, len(all))] {
		near = append(near, s.word)
	}
	return near
}

// distance is Levenshtein's, in bytes: the edits that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			edit := diagonal
			if a[i] != b[j] {
				edit++
			}
			diagonal = row[j+1]
			row[j+1] = min(edit, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

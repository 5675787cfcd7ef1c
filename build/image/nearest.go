package image

import (
	"cmp"
	"slices"

	"github.com/volant/fledge-action/internal/spelling"
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
		if len(w) <= spelling.MaxWord {
			all = append(all, scored{w, spelling.Distance(want, w)})
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

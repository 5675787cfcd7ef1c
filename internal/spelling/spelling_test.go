package spelling

import (
	"strings"
	"testing"
)

func TestDistanceCountsSlips(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"sign", "sign", 0},
		{"", "sign", 4},
		{"sign", "", 4},
		{"sing", "sign", 1}, // a swap
		{"sin", "sign", 1},
		{"signn", "sign", 1},
		{"sigm", "sign", 1},
		{"abc", "cab", 2},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3}, // no edit inside of a swap
		{strings.Repeat("a", MaxWord), strings.Repeat("b", MaxWord), MaxWord},
		{strings.Repeat("a", MaxWord-1), strings.Repeat("a", MaxWord), 1},
		{strings.Repeat("a", MaxWord), strings.Repeat("a", MaxWord+1), MaxWord},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

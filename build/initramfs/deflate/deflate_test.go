package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

func encode(t testing.TB, level int, data []byte, from int, final bool) []byte {
	t.Helper()
	e, err := NewEncoder(level)
	if err != nil {
		t.Fatal(err)
	}
	return e.Append(nil, data, from, final)
}

func decode(t testing.TB, packed, window []byte) []byte {
	t.Helper()
	got, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(packed), window))
	if err != nil {
		t.Fatalf("decoding: %v", err)
	}
	return got
}

func random(n int, values int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), uint64(values)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(values))
	}
	return b
}

// inputs are where encoders go wrong.
func inputs() map[string][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	far := append(append([]byte("needle in a haystack"), random(WindowSize-20, 250)...), "needle in a haystack"...)
	in := map[string][]byte{
		"nothing": {}, "one": {7}, "two": {7, 7}, "three": {7, 7, 7}, "four": {7, 7, 7, 7}, "all values": all,
		"zeros": make([]byte, 100000), "258": make([]byte, 259), "259": make([]byte, 260),
		"noise": random(200000, 256), "bits": random(100000, 2), "skewed": bytes.Map(func(r rune) rune { return r & 3 }, random(50000, 128)),
		"text":      []byte(strings.Repeat("it was a dark and stormy night; ", 3000)),
		"far":       far,
		"threes":    []byte(strings.Repeat("abc", 5) + "x" + strings.Repeat("abc", 2)),
		"mixed":     append(append(random(70000, 256), make([]byte, 70000)...), random(70000, 20)...),
		"fibonacci": fibonacci(),
		"lengths":   lengths(),
	}
	return in
}

// fibonacci has symbols of which the best code would be longer than 15 bits.
func fibonacci() []byte {
	var b []byte
	x, y := 1, 1
	for symbol := range 24 {
		for range x {
			b = append(b, byte(symbol*7))
		}
		x, y = y, x+y
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return b
}

// lengths has matches of every length and many distances.
func lengths() []byte {
	base := random(300, 256)
	var b []byte
	for n := 3; n <= 260; n++ {
		b = append(append(b, base[:n]...), byte(n), byte(n>>3))
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for name, data := range inputs() {
		for level := MinLevel; level <= MaxLevel; level++ {
			packed := encode(t, level, data, 0, true)
			if got := decode(t, packed, nil); !bytes.Equal(got, data) {
				t.Errorf("%s at level %d: %d bytes become %d others", name, level, len(data), len(got))
			}
			if most := len(data) + 5*(len(data)/maxStored+2); len(packed) > most {
				t.Errorf("%s at level %d: %d bytes become %d", name, level, len(data), len(packed))
			}
		}
	}
}

// zlib is stricter than Go's decoder about codes that are not complete. pigz uses it.
func TestZlibAgrees(t *testing.T) {
	testneed.Tool(t, "pigz")
	for name, data := range inputs() {
		packed := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), encode(t, 6, data, 0, true)...)
		cmd := exec.CommandContext(t.Context(), "pigz", "-dcq")
		cmd.Stdin = bytes.NewReader(append(packed, trailer(data)...))
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v, %d bytes become %d", name, err, len(data), len(got))
		}
	}
}

// Blocks join to one stream, and each refers to no more than the window before it.
func TestBlocksJoin(t *testing.T) {
	data := inputs()["mixed"]
	data = append(data, data...)
	for _, size := range []int{1, 1000, WindowSize, 100000} {
		if size == 1 {
			data = data[69990:70100]
		}
		e, err := NewEncoder(6)
		if err != nil {
			t.Fatal(err)
		}
		var stream []byte
		for at := 0; at < len(data); at += size {
			end := min(at+size, len(data))
			block := encode(t, 6, data[:end], at, end == len(data))
			if again := e.Append(nil, data[:end], at, end == len(data)); !bytes.Equal(block, again) {
				t.Fatalf("block at %d: an encoder that was used before gives other bytes", at)
			}
			window := data[max(0, at-WindowSize):at]
			if got, _ := io.ReadAll(flate.NewReaderDict(bytes.NewReader(block), window)); !bytes.Equal(got, data[at:end]) {
				t.Fatalf("block at %d of %d bytes does not decode by itself", at, size)
			}
			stream = append(stream, block...)
		}
		if got := decode(t, stream, nil); !bytes.Equal(got, data) {
			t.Errorf("blocks of %d bytes: %d bytes become %d", size, len(data), len(got))
		}
		data = slices.Concat(inputs()["mixed"], inputs()["mixed"])
	}
}

func TestWindowIsUsed(t *testing.T) {
	data := random(20000, 256)
	both := append(slices.Clone(data), data...)
	if n := len(encode(t, 6, both, len(data), true)); n > 400 {
		t.Errorf("a block that repeats its window takes %d bytes", n)
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	e, err := NewEncoder(1)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Append([]byte("before"), []byte("abc"), 0, true)
	if want := "before" + string(encode(t, 1, []byte("abc"), 0, true)); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLevelsAreChecked(t *testing.T) {
	for level, ok := range map[int]bool{0: false, 1: true, 9: true, 10: false, -1: false} {
		if _, err := NewEncoder(level); (err == nil) != ok {
			t.Errorf("level %d: %v", level, err)
		}
	}
}

// Rows of the tables of RFC 1951, 3.2.5.
func TestSymbols(t *testing.T) {
	for length, want := range map[int][3]int{
		3: {257, 0, 3}, 10: {264, 0, 10}, 11: {265, 1, 11}, 12: {265, 1, 11}, 18: {268, 1, 17}, 19: {269, 2, 19},
		34: {272, 2, 31}, 35: {273, 3, 35}, 130: {280, 4, 115}, 131: {281, 5, 131}, 257: {284, 5, 227}, 258: {285, 0, 258},
	} {
		s := int(lengthSymbol[length-minMatch])
		if got := [3]int{s, int(lengthExtra[s-firstLength]), int(lengthBase[s-firstLength])}; got != want {
			t.Errorf("length %d: %v, want %v", length, got, want)
		}
	}
	for dist, want := range map[int][3]int{
		1: {0, 0, 1}, 2: {1, 0, 2}, 3: {2, 0, 3}, 4: {3, 0, 4}, 5: {4, 1, 5}, 6: {4, 1, 5}, 7: {5, 1, 7}, 9: {6, 2, 9}, 192: {14, 6, 129},
		193: {15, 6, 193}, 16384: {27, 12, 12289}, 16385: {28, 13, 16385}, 24577: {29, 13, 24577}, 32768: {29, 13, 24577},
	} {
		s := distanceSymbol(dist)
		if got := [3]int{s, int(distanceExtra[s]), int(distanceBase[s])}; got != want {
			t.Errorf("distance %d: %v, want %v", dist, got, want)
		}
	}
}

// The code of RFC 1951's own example, 3.2.2.
func TestAssign(t *testing.T) {
	c := code{[]uint8{3, 3, 3, 3, 3, 2, 4, 4}, make([]uint16, 8)}
	c.assign()
	for i, want := range []string{"010", "011", "100", "101", "110", "00", "1110", "1111"} {
		got := ""
		for bit := range c.length[i] { // the first one is lowest
			got += fmt.Sprint(c.bits[i] >> bit & 1)
		}
		if got != want {
			t.Errorf("symbol %c: %s, want %s", 'A'+i, got, want)
		}
	}
}

// Codes are complete, no longer than allowed, and the best: without the limit as good as Huffman's
// method, with it not worse than any of the codes that are tried.
func TestBuild(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var b builder
	for range 2000 {
		count := make([]uint32, 1+r.IntN(numLiteral))
		for i := range count {
			if r.IntN(3) > 0 {
				count[i] = uint32(1) << r.IntN(18) * uint32(1+r.IntN(3)) / 2
			}
		}
		count = append(count, 0, 0)[:min(len(count)+2, numLiteral)]
		c := newCode(len(count))
		b.build(c, count, maxCode)
		checkComplete(t, c, maxCode)
		if best, deep := huffman(count); deep <= maxCode && c.size(count) != best {
			t.Fatalf("%d bits, Huffman's code takes %d: %v", c.size(count), best, count)
		}
	}
}

func checkComplete(t *testing.T, c code, limit int) {
	t.Helper()
	sum := 0
	for _, l := range c.length {
		if int(l) > limit {
			t.Fatalf("a code of %d bits, the limit is %d", l, limit)
		}
		if l > 0 {
			sum += 1 << (maxCode - l)
		}
	}
	if sum != 1<<maxCode {
		t.Fatalf("the code is not complete: %v", c.length)
	}
}

// huffman is Huffman's own method: the size of the code, and its depth.
func huffman(count []uint32) (size, depth int) {
	type node struct{ weight, depth int }
	var nodes []node
	for _, n := range count {
		if n > 0 {
			nodes = append(nodes, node{int(n), 0})
		}
	}
	if len(nodes) == 1 {
		return nodes[0].weight, 1
	}
	for len(nodes) > 1 {
		slices.SortFunc(nodes, func(a, b node) int { return (a.weight-b.weight)<<8 + a.depth - b.depth })
		joined := node{nodes[0].weight + nodes[1].weight, max(nodes[0].depth, nodes[1].depth) + 1}
		size += joined.weight
		nodes = append(nodes[2:], joined)
	}
	if len(nodes) == 0 {
		return 0, 0
	}
	return size, nodes[0].depth
}

// With a limit of 3 bits and 5 symbols every code can be tried.
func TestBuildWithALimitIsBest(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var b builder
	for range 300 {
		count := make([]uint32, 5)
		for i := range count {
			count[i] = 1 << r.IntN(12)
		}
		c := newCode(5)
		b.build(c, count, 3)
		checkComplete(t, c, 3)
		best := 1 << 30
		for combination := range 3 * 3 * 3 * 3 * 3 {
			kraft, size := 0, 0
			for i, rest := 0, combination; i < 5; i, rest = i+1, rest/3 {
				length := rest%3 + 1
				kraft += 8 >> length
				size += length * int(count[i])
			}
			if kraft <= 8 {
				best = min(best, size)
			}
		}
		if got := c.size(count); got != best {
			t.Fatalf("%v: %d bits, the best are %d", count, got, best)
		}
	}
}

func TestBlocksEndWhereTheDataChanges(t *testing.T) {
	e, err := NewEncoder(6)
	if err != nil {
		t.Fatal(err)
	}
	low, high := random(40000, 64), random(40000, 64)
	for i := range high {
		high[i] |= 0x80
	}
	e.parse(append(low, high...), 0)
	spans := e.split()
	if len(spans) != 2 || spans[0].end < 38000 || spans[0].end > 41000 {
		t.Errorf("%d blocks, the first ends at token %d of %d", len(spans), spans[0].end, len(e.tokens))
	}
	e.parse(random(80000, 64), 0)
	if spans := e.split(); len(spans) != 1 {
		t.Errorf("%d blocks of the same kind of data", len(spans))
	}
}

func TestTimesLog(t *testing.T) {
	for n, want := range map[uint32]int64{0: 0, 1: 0, 2: 2 << 10, 3: 4869, 8: 24 << 10, 1000: 10205073, 1 << 20: 20 << 30} {
		if got := timesLog(n); got < want-want/500 || got > want+want/500 {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// FuzzDeflate compresses arbitrary data in two blocks, as a whole and at two levels.
func FuzzDeflate(f *testing.F) {
	for _, data := range inputs() {
		f.Add(data[:min(len(data), 3000)], uint16(1), uint8(6))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16, level uint8) {
		l := MinLevel + int(level)%MaxLevel
		at := int(cut) % (len(data) + 1)
		stream := append(encode(t, l, data[:at], 0, false), encode(t, l, data, at, true)...)
		if got := decode(t, stream, nil); !bytes.Equal(got, data) {
			t.Fatalf("level %d, cut at %d: %q becomes %q", l, at, data, got)
		}
	})
}

package ext4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

func scratch(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func itoa(i int) string    { return strconv.Itoa(i) }
func hex8(v uint32) string { return fmt.Sprintf("%08x", v) }

// patchy is size bytes where some blocks are zeros.
func patchy(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for at := 0; at < size; {
		n := min(size-at, (1+rng.IntN(5))*blockSize)
		if rng.IntN(3) > 0 {
			for i := at; i < at+n; i++ {
				b[i] = byte(rng.Uint32())
			}
		}
		at += n
	}
	return b
}

// TestStoredContentReadsBack stores files of awkward sizes over the borders of
// buffers and groups, and reads them before and after Finish, in odd pieces.
func TestStoredContentReadsBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := NewWriter(scratch(t))
	w.alloc.next = blocksPerGroup - 300 // the next superblock is near
	sizes := []int{0, 1, blockSize - 1, blockSize, blockSize + 1, bufferBlocks * blockSize, bufferBlocks*blockSize + 1, 3 << 20}
	for range 50 {
		sizes = append(sizes, rng.IntN(200000))
	}
	var want [][]byte
	var got []tree.Content
	for _, size := range sizes {
		b := patchy(rng, size)
		c, err := w.Store(int64(size), bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		want, got = append(want, b), append(got, c)
		checkContent(t, rng, c, b)
	}
	tr := tree.New()
	for i, c := range got {
		put(t, tr, "f"+itoa(i), &tree.Node{Mode: 0o644, Content: c})
	}
	if _, err := w.Finish(context.Background(), tr, Options{Epoch: testEpoch}); err != nil {
		t.Fatal(err)
	}
	for i, c := range got {
		checkContent(t, rng, c, want[i])
	}
	fsck(t, w.f.(*os.File).Name())
}

func checkContent(t *testing.T, rng *rand.Rand, c tree.Content, want []byte) {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes read back differ (%v)", len(want), err)
	}
	if len(want) == 0 {
		return
	}
	at := rng.IntN(len(want))
	part := make([]byte, rng.IntN(len(want)-at)+1)
	if n, err := r.(io.ReaderAt).ReadAt(part, int64(at)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part[:n], want[at:at+n]) {
		t.Fatalf("ReadAt(%d, %d) = %d, %v", len(part), at, n, err)
	}
}

func TestStoreRefusesShortInput(t *testing.T) {
	w := NewWriter(scratch(t))
	if _, err := w.Store(10, bytes.NewReader(make([]byte, 9))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Store = %v, want io.ErrUnexpectedEOF", err)
	}
	if _, err := w.Store(-1, nil); err == nil {
		t.Error("a negative size was taken")
	}
	if _, err := w.Store(maxFileSize+1, nil); err == nil {
		t.Error("a size over the limit was taken")
	}
}

// TestDiscardedContentLeavesNoTrace compares an image with and without a secret
// that was stored and given back.
func TestDiscardedContentLeavesNoTrace(t *testing.T) {
	f := scratch(t)
	w := NewWriter(f)
	secret := bytes.Repeat([]byte("secret!!"), 100000)
	c, err := w.Store(int64(len(secret)), bytes.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Discard(c); err != nil {
		t.Fatal(err)
	}
	if err := w.Discard(memory("x")); err == nil {
		t.Error("foreign content was discarded")
	}
	tr := tree.New()
	put(t, tr, "kept", &tree.Node{Mode: 0o644, Content: memory("kept")})
	st, err := w.Finish(context.Background(), tr, Options{Epoch: testEpoch})
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all, []byte("secret!!")) {
		t.Error("discarded bytes are in the image")
	}
	checkReadAt(t, w, all)
	if st.Free < int64(len(secret)) {
		t.Errorf("%d bytes free, want at least the %d given back", st.Free, len(secret))
	}
	fsck(t, f.Name())
}

// checkReadAt compares what the Writer reads with the file, in odd pieces and past
// the end.
func checkReadAt(t *testing.T, w *Writer, want []byte) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(w, 0, 1<<40))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt gives %d bytes that are not those of the file, %d bytes (%v)", len(got), len(want), err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		at := rng.IntN(len(want) + 2*blockSize)
		part := bytes.Repeat([]byte{0xff}, rng.IntN(40*blockSize))
		n, err := w.ReadAt(part, int64(at))
		rest := want[min(at, len(want)):]
		if len(rest) < len(part) != (err != nil) || !bytes.Equal(part[:n], rest[:min(len(part), len(rest))]) {
			t.Fatalf("ReadAt of %d bytes at %d of %d: %d, %v", len(part), at, len(want), n, err)
		}
	}
}

// plain is a file whose blocks cannot be freed, so that zeros have to be written.
type plain struct{ File }

// TestDiscardedContentIsOverwritten is for filesystems that cannot punch holes.
func TestDiscardedContentIsOverwritten(t *testing.T) {
	f := scratch(t)
	w := NewWriter(plain{f})
	c, err := w.Store(3<<20+5, bytes.NewReader(bytes.Repeat([]byte{7}, 3<<20+5)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Discard(c); err != nil {
		t.Fatal(err)
	}
	tr := awkward(t)
	if _, err := w.Finish(t.Context(), tr, Options{Epoch: testEpoch, FreeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	checkReadAt(t, w, all)
	oracle(t, f.Name(), tr)
}

// TestHolesHaveABound stores what costs the most memory: a hole in every other block.
func TestHolesHaveABound(t *testing.T) {
	w := NewWriter(scratch(t))
	w.holes = maxHoles - 10
	b := make([]byte, 100*blockSize)
	for i := 0; i < len(b); i += 2 * blockSize {
		b[i] = 1
	}
	c, err := w.Store(int64(len(b)), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.(*content).extents); n != 11 {
		t.Errorf("%d extents, want 11", n)
	}
	checkContent(t, rand.New(rand.NewPCG(1, 1)), c, b)
}

// TestImageIsAFunctionOfItsInput writes the same tree twice, put together in
// another order.
func TestImageIsAFunctionOfItsInput(t *testing.T) {
	opt := Options{UUID: [16]byte{5}, HashSeed: [16]byte{6}, FreeBytes: 1 << 20, JournalBytes: MinJournalBytes}
	build := func(backwards bool) []byte {
		tr := tree.New()
		for i := range 500 {
			if backwards {
				i = 499 - i
			}
			put(t, tr, "d/"+itoa(i), &tree.Node{Mode: 0o644, Content: memory(itoa(i)), Xattrs: map[string]string{"user.a": "1", "user.b": "2", "user.c": "3"}})
		}
		img, _ := makeImage(t, tr, opt)
		b, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(build(false), build(true)) {
		t.Error("the order of insertion shows in the image")
	}
	opt.UUID[0]++
	other := build(false)
	opt.UUID[0]--
	if bytes.Equal(build(false), other) {
		t.Error("the UUID does not show in the image: the comparison sees nothing")
	}
}

// spoiled yields its bytes and then says that they were wrong, as content does
// that is checked while it is read.
type spoiled struct{ memory }

func (s spoiled) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(s.memory), failing{})), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("wrong digest") }

func TestContentIsReadToItsVerdict(t *testing.T) {
	tr := tree.New()
	put(t, tr, "bin/agent", &tree.Node{Mode: 0o755, Content: spoiled{memory("replaced")}})
	_, err := NewWriter(scratch(t)).Finish(t.Context(), tr, Options{Epoch: testEpoch})
	if err == nil || !strings.Contains(err.Error(), "wrong digest") || !strings.Contains(err.Error(), "/bin/agent") {
		t.Errorf("Finish = %v, want the content's own error", err)
	}
}

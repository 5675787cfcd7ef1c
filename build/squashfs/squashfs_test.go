package squashfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

var testEpoch = time.Unix(1700000000, 0)

// image is an image in memory.
type image struct{ b []byte }

func (m *image) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func makeImage(t testing.TB, tr *tree.Tree, o Options) ([]byte, Stats) {
	t.Helper()
	if o.Epoch.IsZero() {
		o.Epoch = testEpoch
	}
	var m image
	st, err := Write(context.Background(), &m, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size != int64(len(m.b)) || st.Size%padding != 0 {
		t.Fatalf("an image of %d bytes; its Stats say %d", len(m.b), st.Size)
	}
	return m.b, st
}

// imageFile is an image that other programs can read.
func imageFile(t testing.TB, tr *tree.Tree, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if o.Epoch.IsZero() {
		o.Epoch = testEpoch
	}
	if _, err := Write(context.Background(), f, tr, o); err != nil {
		t.Fatal(err)
	}
	return path
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if dir := filepath.Dir(name); dir != "." {
		if err := tr.MkdirAll(dir, tree.Node{Mode: 0o755, ModTime: testEpoch}); err != nil {
			t.Fatal(err)
		}
	}
	if n.ModTime.IsZero() {
		n.ModTime = testEpoch
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

// words is text that compresses about as well as programs do.
func words(seed uint64, size int) tree.Bytes {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, size+16)
	for len(b) < size {
		if rng.IntN(3) == 0 {
			b = append(b, byte(rng.Uint32()), byte(rng.Uint32()))
		} else {
			b = fmt.Appendf(b, "word%d ", rng.IntN(500))
		}
	}
	return tree.Bytes(b[:size])
}

func noise(seed uint64, size int) tree.Bytes {
	rng := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return tree.Bytes(b)
}

const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// awkward is a tree with every kind of node and value that has a special case.
func awkward(t testing.TB) *tree.Tree {
	tr := tree.New()
	*tr.Root() = func() tree.Node {
		n := *tr.Root()
		n.Mode, n.UID, n.GID, n.ModTime, n.Xattrs = fs.ModeDir|0o751, 5, 6, time.Unix(1234567890, 0), map[string]string{"user.root": "r"}
		return n
	}()
	put(t, tr, "etc/hostname", &tree.Node{Mode: 0o644, Content: tree.Bytes("plugin\n")})
	put(t, tr, "empty", &tree.Node{Mode: 0o600})
	put(t, tr, "emptydir", &tree.Node{Mode: fs.ModeDir | 0o700})
	hard := &tree.Node{Mode: 0o755 | fs.ModeSetuid | fs.ModeSetgid, UID: 70000, GID: 4294967294, Content: words(1, 10000)}
	put(t, tr, "bin/a", hard)
	put(t, tr, "usr/bin/b", hard)
	put(t, tr, "tmp", &tree.Node{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
	put(t, tr, "dev/null", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Rdev: tree.Rdev{Major: 1, Minor: 3}})
	put(t, tr, "dev/zero", &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666})
	put(t, tr, "dev/big", &tree.Node{Mode: fs.ModeDevice | 0o660, Rdev: tree.Rdev{Major: 4095, Minor: 1048575}, Xattrs: map[string]string{"trusted.t": "t"}})
	pipe := &tree.Node{Mode: fs.ModeNamedPipe | 0o600}
	put(t, tr, "run/fifo", pipe)
	put(t, tr, "run/fifo-again", pipe)
	put(t, tr, "run/sock", &tree.Node{Mode: fs.ModeSocket | 0o600, Xattrs: map[string]string{"security.s": "s"}})
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "usr/bin/b"})
	put(t, tr, "link-xattr", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "x", Xattrs: map[string]string{"trusted.t": "t"}})
	put(t, tr, "link4095", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: strings.Repeat("c/", 2047) + "d"})
	put(t, tr, "first", &tree.Node{Mode: 0o644, ModTime: time.Unix(0, 0)})
	put(t, tr, "last", &tree.Node{Mode: 0o644, ModTime: time.Unix(1<<32-1, 0)})
	put(t, tr, "cap", &tree.Node{Mode: 0o755, Content: tree.Bytes("#!"), Xattrs: map[string]string{
		"security.capability": capability, "user.note": strings.Repeat("n", 2000), "user.empty": "", "trusted.overlay.opaque": "y",
	}})
	put(t, tr, "xattr-dir", &tree.Node{Mode: fs.ModeDir | 0o755, Xattrs: map[string]string{"user.binary": "\x00\n=\xff"}})
	sparse := make([]byte, 3<<20+5)
	copy(sparse[1<<20:], "middle")
	copy(sparse[len(sparse)-3:], "end")
	put(t, tr, "sparse", &tree.Node{Mode: 0o644, Content: tree.Bytes(sparse)})
	put(t, tr, "zeros", &tree.Node{Mode: 0o644, Content: tree.Bytes(make([]byte, 100000))})
	put(t, tr, "zeros-large", &tree.Node{Mode: 0o644, Content: tree.Bytes(make([]byte, 3*blockSize+1))})
	put(t, tr, "hole-first", &tree.Node{Mode: 0o644, Content: append(tree.Bytes(make([]byte, blockSize)), words(3, 2*blockSize)...)})
	put(t, tr, "noise", &tree.Node{Mode: 0o644, Content: noise(1, 2*blockSize+77)})
	put(t, tr, "noise-small", &tree.Node{Mode: 0o644, Content: noise(2, blockSize-1)})
	for _, size := range []int{1, 4095, blockSize - 1, blockSize, blockSize + 1, 2*blockSize - 1, 2 * blockSize, 2*blockSize + 1, 1 << 20} {
		put(t, tr, fmt.Sprintf("sizes/%d", size), &tree.Node{Mode: 0o644, Content: words(uint64(size), size)})
		put(t, tr, fmt.Sprintf("sizes/%d-same", size), &tree.Node{Mode: 0o600, UID: 9, Content: words(uint64(size), size)})
		put(t, tr, fmt.Sprintf("sizes/%d-other", size), &tree.Node{Mode: 0o600, Content: words(uint64(size)+1<<40, size)})
	}
	put(t, tr, strings.Repeat("n", 255), &tree.Node{Mode: 0o644})
	put(t, tr, "bad\xff\nname", &tree.Node{Mode: 0o644})
	put(t, tr, strings.TrimSuffix(strings.Repeat("deep/", 100), "/"), &tree.Node{Mode: 0o644})
	for i := range 3000 {
		put(t, tr, fmt.Sprintf("many/file number %d", i), &tree.Node{Mode: 0o644, UID: uint32(i % 7), Content: tree.Bytes(fmt.Sprint(i % 50))})
	}
	return tr
}

var allOptions = []Options{
	{}, {Level: 15}, {Level: 22}, {Compression: Gzip}, {Compression: Gzip, Level: 1}, {Compression: None},
}

func (o Options) name() string { return fmt.Sprintf("%s-%d", o.compression(), o.level()) }

// TestGolden compares images with committed digests. A change of bytes is a
// reviewed line there and an entry of CHANGELOG.md under "Artifact bytes";
// UPDATE_GOLDEN=1 writes it.
func TestGolden(t *testing.T) {
	const file = "testdata/golden.sha256"
	var got strings.Builder
	tr := awkward(t)
	for _, o := range allOptions {
		b, _ := makeImage(t, tr, o)
		fmt.Fprintf(&got, "%x  awkward-%s\n", sha256.Sum256(b), o.name())
	}
	b, _ := makeImage(t, tree.New(), Options{})
	fmt.Fprintf(&got, "%x  empty\n", sha256.Sum256(b))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the images are\n%s, want\n%s", &got, want)
	}
}

// TestProcessorsDoNotReachTheBytes also shows that a codec holds nothing from one
// block to the next: which codec gets which block is another with each number.
func TestProcessorsDoNotReachTheBytes(t *testing.T) {
	tr := awkward(t)
	for _, o := range allOptions {
		var want []byte
		for _, n := range []int{1, 3} {
			old := runtime.GOMAXPROCS(n)
			b, _ := makeImage(t, tr, o)
			runtime.GOMAXPROCS(old)
			if want == nil {
				want = b
			} else if !bytes.Equal(b, want) {
				t.Errorf("%s: with %d processors the bytes are others", o.name(), n)
			}
		}
	}
}

func TestOrderOfInsertionDoesNotReachTheBytes(t *testing.T) {
	names := []string{"a/x", "a/y", "b", "c/d/e", "c-d", "z"}
	var want []byte
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		tr := tree.New()
		for _, name := range names {
			put(t, tr, name, &tree.Node{Mode: 0o644, Content: tree.Bytes(name), Xattrs: map[string]string{"user.a": name, "user.b": "", "trusted.c": "x"}})
		}
		b, _ := makeImage(t, tr, Options{})
		if want == nil {
			want = b
		} else if !bytes.Equal(b, want) {
			t.Fatal("another order of insertion gives other bytes")
		}
	}
}

func TestSameContentIsStoredOnce(t *testing.T) {
	one, two, three := tree.New(), tree.New(), tree.New()
	small, large := words(1, 1000), words(2, 5*blockSize+3)
	for _, tr := range []*tree.Tree{one, two, three} {
		put(t, tr, "small", &tree.Node{Mode: 0o644, Content: small})
		put(t, tr, "large", &tree.Node{Mode: 0o644, Content: large})
	}
	put(t, two, "again/large", &tree.Node{Mode: 0o600, Content: large})
	put(t, two, "again/small", &tree.Node{Mode: 0o600, Content: small})
	put(t, three, "again/large", &tree.Node{Mode: 0o600, Content: words(3, 5*blockSize+3)})
	_, a := makeImage(t, one, Options{})
	_, b := makeImage(t, two, Options{})
	_, c := makeImage(t, three, Options{})
	if a.Data != b.Data || b.Duplicates != 2 || a.Duplicates != 0 || b.Content != 2*a.Content {
		t.Errorf("once %+v, twice %+v", a, b)
	}
	if c.Duplicates != 0 || c.Data <= b.Data {
		t.Errorf("a file of the same size and other bytes: %+v", c)
	}
}

func TestZerosAreNotStored(t *testing.T) {
	tr := tree.New()
	put(t, tr, "zeros", &tree.Node{Mode: 0o644, Content: tree.Bytes(make([]byte, 10<<20+1))})
	put(t, tr, "few", &tree.Node{Mode: 0o644, Content: tree.Bytes(make([]byte, 10))})
	if _, st := makeImage(t, tr, Options{}); st.Data != 0 {
		t.Errorf("%+v", st)
	}
}

func TestLossesAreWarnedOfOnce(t *testing.T) {
	tr := tree.New()
	for _, name := range []string{"a", "b"} {
		put(t, tr, name, &tree.Node{Mode: 0o644, ModTime: time.Unix(-1, 0), Xattrs: map[string]string{
			"system.posix_acl_access": "x", "com.apple.provenance": "y", "user.": "z", "user.ok": "1",
		}})
	}
	put(t, tr, "c", &tree.Node{Mode: 0o644, ModTime: time.Unix(1<<32, 0)})
	put(t, tr, "last", &tree.Node{Mode: 0o644, ModTime: time.Unix(1<<32-1, 999999999)})
	var got []string
	makeImage(t, tr, Options{Warn: func(s string) { got = append(got, s) }})
	want := []string{`2 paths lose theirs, the first is "/a"`, `left out of 2 paths, the first is "/a"`, `of 3 paths become the nearer of the two, the first is "/a"`}
	if len(got) != len(want) {
		t.Fatalf("warned %q", got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("warned %q, want %q", got[i], want[i])
		}
	}
}

func TestLimits(t *testing.T) {
	node := func(n tree.Node) *tree.Node { return &n }
	for _, tt := range []struct {
		name string
		node *tree.Node
		ok   bool
	}{
		{"device at the bound", node(tree.Node{Mode: fs.ModeDevice, Rdev: tree.Rdev{Major: 4095, Minor: 1<<20 - 1}}), true},
		{"major past it", node(tree.Node{Mode: fs.ModeDevice, Rdev: tree.Rdev{Major: 4096}}), false},
		{"minor past it", node(tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice, Rdev: tree.Rdev{Minor: 1 << 20}}), false},
		{"link at the bound", node(tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("t", 4095)}), true},
		{"link past it", node(tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("t", 4096)}), false},
		{"link without a target", node(tree.Node{Mode: fs.ModeSymlink}), false},
		{"link with a NUL", node(tree.Node{Mode: fs.ModeSymlink, Target: "a\x00b"}), false},
		{"irregular", node(tree.Node{Mode: fs.ModeIrregular}), false},
		{"xattr name at the bound", node(tree.Node{Xattrs: map[string]string{"user." + strings.Repeat("n", 250): ""}}), true},
		{"xattr name past it", node(tree.Node{Xattrs: map[string]string{"user." + strings.Repeat("n", 251): ""}}), false},
		{"xattr value at the bound", node(tree.Node{Xattrs: map[string]string{"user.v": strings.Repeat("v", 65536)}}), true},
		{"xattr value past it", node(tree.Node{Xattrs: map[string]string{"user.v": strings.Repeat("v", 65537)}}), false},
		{"xattr names at the bound", node(tree.Node{Xattrs: manyXattrs(256)}), true},
		{"xattr names past it", node(tree.Node{Xattrs: manyXattrs(257)}), false},
		{"file past the bound", node(tree.Node{Content: sized(maxFileBytes + 1)}), false},
	} {
		tr := tree.New()
		put(t, tr, "dir/x", tt.node)
		var m image
		_, err := Write(context.Background(), &m, tr, Options{Epoch: testEpoch})
		var limit *LimitError
		if tt.ok && err != nil || !tt.ok && (!errors.As(err, &limit) || limit.Name != "dir/x" || len(m.b) > 0) {
			t.Errorf("%s: %v, %d bytes written", tt.name, err, len(m.b))
		}
	}
}

func manyXattrs(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("user.%0250d", i)] = ""
	}
	return m
}

// sized is a content that is only a size.
type sized int64

func (s sized) Size() int64                { return int64(s) }
func (sized) Open() (io.ReadCloser, error) { return nil, errors.New("opened") }

func TestLimitOfOwners(t *testing.T) {
	for _, extra := range []int{0, 1} {
		tr := tree.New() // the root is 0:0
		for i := range (maxOwners-1)/2 + extra {
			put(t, tr, fmt.Sprint(i), &tree.Node{Mode: 0o644, UID: uint32(2*i + 1), GID: uint32(2*i + 2)})
		}
		var m image
		_, err := Write(context.Background(), &m, tr, Options{Epoch: testEpoch})
		var limit *LimitError
		if errors.As(err, &limit) != (extra > 0) {
			t.Errorf("%d more than the limit: %v", extra, err)
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	for _, tt := range []struct {
		o  Options
		ok bool
	}{
		{Options{}, true},
		{Options{Level: 22}, true},
		{Options{Level: 23}, false},
		{Options{Level: -1}, false},
		{Options{Compression: Gzip, Level: 9}, true},
		{Options{Compression: Gzip, Level: 10}, false},
		{Options{Compression: None}, true},
		{Options{Compression: None, Level: 1}, false},
		{Options{Compression: "xz"}, false},
	} {
		if err := tt.o.Check(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
}

// content is one that says another size than it has, or fails.
type content struct {
	size int64
	data io.Reader
}

func (c content) Size() int64                  { return c.size }
func (c content) Open() (io.ReadCloser, error) { return io.NopCloser(c.data), nil }

func TestContentOfAnotherSizeIsRefused(t *testing.T) {
	broken := errors.New("broken disk")
	for _, tt := range []struct {
		content content
		want    string
	}{
		{content{5, strings.NewReader("1234")}, "ends after 4 of its 5 bytes"},
		{content{5, strings.NewReader("")}, "ends after 0 of its 5 bytes"},
		{content{5, strings.NewReader("123456")}, "more than its 5 bytes"},
		{content{3 * blockSize, bytes.NewReader(noise(1, 2*blockSize))}, "ends after 262144 of its 393216 bytes"},
		{content{3 * blockSize, io.MultiReader(bytes.NewReader(noise(1, blockSize)), errReader{broken})}, "broken disk"},
	} {
		tr := tree.New()
		put(t, tr, "d/f", &tree.Node{Mode: 0o644, Content: tt.content})
		_, err := Write(context.Background(), &image{}, tr, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"/d/f"`) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// full is an output that takes a number of bytes.
type full struct {
	image
	left int
}

func (f *full) WriteAt(p []byte, off int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("no space")
	}
	return f.image.WriteAt(p, off)
}

func TestErrorsOfTheOutputEndTheWork(t *testing.T) {
	tr := tree.New()
	for i := range 30 {
		put(t, tr, fmt.Sprint(i), &tree.Node{Mode: 0o644, Content: noise(uint64(i), 2*blockSize)})
	}
	before := runtime.NumGoroutine()
	_, st := makeImage(t, tr, Options{})
	for left := 0; left < int(st.Size); left += 1 << 20 {
		if _, err := Write(context.Background(), &full{left: left}, tr, Options{Epoch: testEpoch}); err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("%d bytes taken: %v", left, err)
		}
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	tr := awkward(t)
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{Progress: func(done, _ int64) {
		if done > 1<<20 {
			cancel()
		}
	}}
	if _, err := Write(ctx, &image{}, tr, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProgressReachesTheTotal(t *testing.T) {
	var last, total int64
	_, st := makeImage(t, awkward(t), Options{Progress: func(done, of int64) {
		if done < last || done > of {
			t.Errorf("%d after %d of %d", done, last, of)
		}
		last, total = done, of
	}})
	if last != total || total != st.Content {
		t.Errorf("%d of %d, content %d", last, total, st.Content)
	}
}

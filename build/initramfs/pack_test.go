package initramfs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// bulky is a tree of several blocks, some of which compress and some of which do not.
func bulky(t testing.TB) *tree.Tree {
	tr := sample(t)
	var text strings.Builder
	for i := range 60000 {
		fmt.Fprintf(&text, "line %d of a file that says %x\n", i, i*i%977)
	}
	put(t, tr, "bulky/text", &tree.Node{Mode: 0o644, Content: memory(text.String())})
	put(t, tr, "bulky/noise", &tree.Node{Mode: 0o644, Content: memory(noise(1 << 20))})
	return tr
}

func TestBytesDoNotDependOnProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	tr := bulky(t)
	options := []Options{{Level: 1}, {Compression: Zstd, Level: 1}, {}, {Compression: Zstd}, {Compression: Zstd, Level: 19}}
	if testing.Short() {
		options = options[:2]
	}
	for _, o := range options {
		var first []byte
		for _, procs := range []int{1, 2, 4} {
			runtime.GOMAXPROCS(procs)
			got := archive(t, tr, o)
			if first == nil {
				first = got
			}
			if !bytes.Equal(got, first) {
				t.Errorf("%+v: %d processors give other bytes than 1", o, procs)
			}
		}
	}
}

func TestZstdConcurrencyDoesNotReachTheBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: packs much at slow levels; not with -short")
	}
	data := archive(t, bulky(t), Options{Compression: None})
	for _, level := range []int{1, 3, 6, 19} {
		var first []byte
		for _, concurrency := range []int{1, zstdConcurrency, 4} {
			var b bytes.Buffer
			z, err := newZstd(&b, level, concurrency)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := z.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			}
			if !bytes.Equal(b.Bytes(), first) {
				t.Errorf("level %d: concurrency %d gives other bytes than 1", level, concurrency)
			}
		}
	}
}

// What the records of one archive are cut into when they are written must not matter either.
func TestBytesDoNotDependOnWrites(t *testing.T) {
	data := archive(t, bulky(t), Options{Compression: None})
	for _, c := range []Compression{Gzip, Zstd} {
		var first []byte
		for _, size := range []int{len(data), 1 << 20, 4096, 999} {
			var b bytes.Buffer
			p, err := newPacker(&b, Options{Compression: c, Level: 1})
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := p.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			}
			if !bytes.Equal(b.Bytes(), first) {
				t.Errorf("%s: writes of %d bytes give other bytes", c, size)
			}
		}
	}
}

func TestGzipHeader(t *testing.T) {
	for level, want := range map[int]string{
		0: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", // no flags, no time, unknown system
		1: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff",
		6: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
		9: "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff",
	} {
		if got := archive(t, tree.New(), Options{Level: level})[:10]; string(got) != want {
			t.Errorf("level %d: %q, want %q", level, got, want)
		}
	}
}

// A packed size that meets the end of a block exactly, or is nothing, is the interesting one.
func TestGzipOfEverySizeAroundABlock(t *testing.T) {
	data := noise(2*blockBytes + 1)
	for _, size := range []int{0, 1, 32 << 10, blockBytes - 1, blockBytes, blockBytes + 1, 2 * blockBytes, 2*blockBytes + 1} {
		var b bytes.Buffer
		g, err := newGzip(&b, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(data[:size]); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		r.Multistream(false) // there is one member, as the kernel wants
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data[:size]) {
			t.Errorf("%d bytes become %d, %v", size, len(got), err)
		}
		if b.Len() > 0 {
			t.Errorf("%d bytes: %d bytes behind the member", size, b.Len())
		}
	}
}

func TestOtherProgramsUnpackArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: packs much at slow levels; not with -short")
	}
	tr := bulky(t)
	want := archive(t, tr, Options{Compression: None})
	for _, level := range []int{1, 2, 4, 6, 8, 9} {
		packed := archive(t, tr, Options{Level: level})
		for _, argv := range [][]string{{"gzip", "-t"}, {"gzip", "-dc"}, {"pigz", "-dc"}} {
			unpack(t, packed, want, argv)
		}
	}
	for _, level := range []int{1, 3, 6, 19} {
		packed := archive(t, tr, Options{Compression: Zstd, Level: level})
		for _, argv := range [][]string{{"zstd", "-tq"}, {"zstd", "-dcq"}} {
			unpack(t, packed, want, argv)
		}
		var h zstd.Header
		if err := h.Decode(packed); err != nil || !h.HasCheckSum || h.WindowSize > zstdWindow {
			t.Errorf("level %d: %+v, %v", level, h, err)
		}
		if n := bytes.Count(packed, []byte("\x28\xb5\x2f\xfd")); n != 1 {
			t.Errorf("level %d: %d frames", level, n)
		}
	}
}

func unpack(t *testing.T, packed, want []byte, argv []string) {
	t.Helper()
	testneed.Tool(t, argv[0])
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(packed)
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %.300s", argv, err, got)
	} else if !bytes.Equal(got, want) && !strings.Contains(argv[1], "t") {
		t.Errorf("%v gives other bytes", argv)
	}
}

// The reader has to see damage, or its silence above says nothing.
func TestDamageIsSeen(t *testing.T) {
	tr := bulky(t)
	for c, argv := range map[Compression][]string{Gzip: {"gzip", "-t"}, Zstd: {"zstd", "-tq"}} {
		testneed.Tool(t, argv[0])
		good := archive(t, tr, Options{Compression: c, Level: 1})
		for _, back := range []int{1, 4, len(good) / 2} { // in checksums and in data
			packed := bytes.Clone(good)
			packed[len(packed)-back] ^= 1
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Stdin = bytes.NewReader(packed)
			if cmd.Run() == nil {
				t.Errorf("%v accepts an archive with a wrong byte %d before the end", argv, back)
			}
		}
	}
}

// The default has to be worth it: not larger than what gzip -9 makes.
func TestDefaultIsNotLargerThanGzip9(t *testing.T) {
	testneed.Tool(t, "gzip")
	tr := bulky(t)
	cmd := exec.CommandContext(t.Context(), "gzip", "-9nc")
	cmd.Stdin = bytes.NewReader(archive(t, tr, Options{Compression: None}))
	theirs, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if ours := archive(t, tr, Options{}); len(ours) > len(theirs) {
		t.Errorf("%d bytes, gzip -9 makes %d", len(ours), len(theirs))
	}
}

// A change of these digests is a change of artifacts: it belongs into CHANGELOG.md.
func TestGoldenDigests(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: packs much at slow levels; not with -short")
	}
	tr := bulky(t)
	var got strings.Builder
	for _, o := range []Options{
		{Compression: None},
		{Compression: Gzip},
		{Compression: Gzip, Level: 1},
		{Compression: Gzip, Level: 9},
		{Compression: Zstd},
		{Compression: Zstd, Level: 1},
		{Compression: Zstd, Level: 3},
		{Compression: Zstd, Level: 19},
	} {
		fmt.Fprintf(&got, "%x  %s level %d\n", sha256.Sum256(archive(t, tr, o)), o.Compression, o.Level)
	}
	golden(t, "testdata/golden.sha256", got.String())
}

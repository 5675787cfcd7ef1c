package image

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/volant/fledge-action/internal/ocitest"
)

const benchSize = 300 << 20

// benchLayer is a layer's tar that compresses about as well as a Debian root
// does (2.7 times): words, with noise between them.
func benchLayer() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4000)
	for i := range words {
		words[i] = make([]byte, 3+rng.IntN(12))
		for j := range words[i] {
			words[i][j] = byte('a' + rng.IntN(26))
		}
	}
	var b bytes.Buffer
	b.Grow(benchSize + 64)
	for b.Len() < benchSize {
		b.Write(words[rng.IntN(len(words))])
		if rng.IntN(3) == 0 {
			b.WriteByte(byte(rng.Uint32()))
		}
	}
	return b.Bytes()
}

// cpuSeconds is what this process has used, in user and system.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkLayer compares reading a layer with what cannot be avoided: gunzip
// and the two digests, one after the other ("floor").
func BenchmarkLayer(b *testing.B) {
	raw := benchLayer()
	im := ocitest.Build(b, ocitest.Spec{Layers: []ocitest.Layer{{Tar: raw}}})
	size := len(raw)
	b.Logf("%d bytes, %d compressed", size, len(im.Blobs[0]))
	dir := b.TempDir()
	ocitest.Layout(b, dir, map[string]*ocitest.Image{"": im})
	reg := ocitest.NewRegistry(b)
	ref := reg.Push(b, "app:v1", im)
	blob := im.Blobs[0]
	im.Tars, raw = nil, nil

	b.Run("floor", func(b *testing.B) {
		measure(b, size, func() {
			h1, h2 := sha256.New(), sha256.New()
			z, err := gzip.NewReader(io.TeeReader(bytes.NewReader(blob), h1))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{h2}, struct{ io.Reader }{z}, make([]byte, 256<<10)); err != nil {
				b.Fatal(err)
			}
		})
	})
	open := func(b *testing.B, ref string) {
		measure(b, size, func() {
			im := mustOpen(b, ref, Options{})
			r, err := im.Layers[0].Open(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10)); err != nil {
				b.Fatal(err)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("oci", func(b *testing.B) { open(b, "oci:"+dir) })
	b.Run("registry", func(b *testing.B) { open(b, ref) })
}

func measure(b *testing.B, size int, f func()) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpuSeconds()
	for b.Loop() {
		f()
	}
	b.ReportMetric((cpuSeconds()-before)/float64(b.N), "cpu-s/op")
}

// TestLayerMemoryIsConstant reads a layer of 16 MiB and one of 96 and looks at
// the heap while it does.
func TestLayerMemoryIsConstant(t *testing.T) {
	for _, c := range []ocitest.Compression{ocitest.Gzip, ocitest.Plain} {
		for _, size := range []int{16 << 20, 96 << 20} {
			l, _ := spoiled(t, ocitest.Layer{Tar: make([]byte, size), Compression: c}, Options{}, nil, nil, nil)
			r, err := l.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var start, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&start)
			var most uint64
			buf := make([]byte, 1<<20)
			for n := 0; ; n++ {
				_, err := io.ReadFull(r, buf)
				if n%16 == 0 {
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapAlloc-min(start.HeapAlloc, now.HeapAlloc))
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if most > 8<<20 {
				t.Errorf("compression %d, %d MiB: %d bytes of heap", c, size>>20, most)
			}
			if allocs := now.Mallocs - start.Mallocs; allocs > 2000 {
				t.Errorf("compression %d, %d MiB: %d allocations", c, size>>20, allocs)
			}
		}
	}
}

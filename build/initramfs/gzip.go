package initramfs

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/volant/fledge-action/build/initramfs/deflate"
)

// Sizes that decide about the bytes of a gzip archive.
const (
	blockBytes  = 1 << 20  // compressed by itself
	windowBytes = 32 << 10 // of what stands before it, which matches may refer to
)

// gzipWriter makes one gzip member (RFC 1952) whose body is compressed in blocks of
// fixed size, several at a time, each with the bytes before it as its dictionary.
// Blocks are joined at whole bytes, so the output does not depend on how
// many were in work at once.
type gzipWriter struct {
	w        io.Writer
	level    int
	encoders sync.Pool
	err      error // of w; nothing is written after it
	crc      uint32
	size     uint32 // modulo 2^32

	block   *block   // being filled
	work    []*block // being compressed, in order
	workers int      // most of them
	idle    []*block
}

// block is a piece of the archive with what stands before it.
type block struct {
	data  []byte // the window, then the block
	start int    // where the block begins
	final bool
	out   []byte
	done  chan struct{}
}

func newGzip(w io.Writer, level int) *gzipWriter {
	g := &gzipWriter{w: w, level: level, workers: runtime.GOMAXPROCS(0)}
	g.encoders.New = func() any {
		e, err := deflate.NewEncoder(level)
		if err != nil {
			panic(err)
		}
		return e
	}
	g.block = g.newBlock(nil)
	g.put(gzipHeader(level))
	return g
}

// gzipHeader names no file, time or system.
func gzipHeader(level int) []byte {
	extra := byte(0)
	switch level {
	case 9:
		extra = 2 // slowest
	case 1:
		extra = 4 // fastest
	}
	return []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 255}
}

func (g *gzipWriter) Write(p []byte) (int, error) {
	g.crc = crc32.Update(g.crc, crc32.IEEETable, p)
	g.size += uint32(len(p))
	total := len(p)
	for len(p) > 0 {
		b := g.block
		n := min(len(p), b.start+blockBytes-len(b.data))
		b.data = append(b.data, p[:n]...)
		if p = p[n:]; len(b.data) == b.start+blockBytes {
			g.compress()
			g.block = g.newBlock(b.data[len(b.data)-windowBytes:])
		}
	}
	return total, g.err
}

// Close compresses the rest, which may be nothing, and writes the trailer.
func (g *gzipWriter) Close() error {
	g.block.final = true
	g.compress()
	for len(g.work) > 0 {
		g.collect()
	}
	g.put(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, g.crc), g.size))
	return g.err
}

// Abort waits for the blocks in work.
func (g *gzipWriter) Abort() {
	for _, b := range g.work {
		<-b.done
	}
}

// compress starts work on the current block, when one of those before it is done.
func (g *gzipWriter) compress() {
	for len(g.work) >= g.workers {
		g.collect()
	}
	b := g.block
	g.work = append(g.work, b)
	go func() {
		defer close(b.done)
		e := g.encoders.Get().(*deflate.Encoder)
		b.out = e.Append(b.out[:0], b.data, b.start, b.final)
		g.encoders.Put(e)
	}()
}

// collect writes the oldest block in work.
func (g *gzipWriter) collect() {
	b := g.work[0]
	g.work = g.work[1:]
	<-b.done
	g.put(b.out)
	g.idle = append(g.idle, b)
}

func (g *gzipWriter) put(p []byte) {
	if g.err != nil {
		return
	}
	if _, err := g.w.Write(p); err != nil {
		g.err = err
	}
}

func (g *gzipWriter) newBlock(window []byte) *block {
	var b *block
	if n := len(g.idle); n > 0 {
		b, g.idle = g.idle[n-1], g.idle[:n-1]
	} else {
		b = &block{data: make([]byte, 0, windowBytes+blockBytes)}
	}
	b.data = append(b.data[:0], window...)
	b.start, b.final, b.done = len(window), false, make(chan struct{})
	return b
}

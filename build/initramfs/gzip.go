package initramfs

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"

	"github.com/volant/fledge-action/build/initramfs/deflate"
)

// blockBytes is how much is compressed by itself. It decides about the bytes of an
// archive.
const blockBytes = 1 << 20

// maxWorkers bounds the memory, not the bytes: a block in work takes up to 10 MiB.
const maxWorkers = 16

// gzipWriter makes one gzip member (RFC 1952) whose body is compressed in blocks of
// fixed size, several at a time, each with the bytes before it as its dictionary.
// Blocks are joined at whole bytes, so the output does not depend on how
// many were in work at once.
type gzipWriter struct {
	w    io.Writer
	err  error // of w; nothing is written after it
	crc  uint32
	size uint32 // modulo 2^32

	block    *block   // being filled
	work     []*block // being compressed, in order
	blocks   []*block // not in use
	encoders []*deflate.Encoder
}

// block is a piece of the archive with what stands before it.
type block struct {
	data    []byte // the window, then the block
	start   int    // where the block begins
	out     []byte
	encoder *deflate.Encoder // while it is in work
	done    chan struct{}
}

func newGzip(w io.Writer, level int) (*gzipWriter, error) {
	g := &gzipWriter{w: w}
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		e, err := deflate.NewEncoder(level)
		if err != nil {
			return nil, err
		}
		g.encoders = append(g.encoders, e)
	}
	g.block = g.newBlock(nil)
	g.put(gzipHeader(level))
	return g, nil
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
			g.compress(false)
			g.block = g.newBlock(b.data[len(b.data)-deflate.WindowSize:])
		}
	}
	return total, g.err
}

// Close compresses the rest, which may be nothing, and writes the trailer.
func (g *gzipWriter) Close() error {
	g.compress(true)
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

// compress starts work on the current block, when there is an encoder for it.
func (g *gzipWriter) compress(final bool) {
	if len(g.encoders) == 0 {
		g.collect()
	}
	b, last := g.block, len(g.encoders)-1
	b.encoder, g.encoders = g.encoders[last], g.encoders[:last]
	g.work = append(g.work, b)
	go func() {
		defer close(b.done)
		b.out = b.encoder.Append(b.out[:0], b.data, b.start, final)
	}()
}

// collect writes the oldest block in work.
func (g *gzipWriter) collect() {
	b := g.work[0]
	g.work = g.work[1:]
	<-b.done
	g.put(b.out)
	g.encoders = append(g.encoders, b.encoder)
	g.blocks = append(g.blocks, b)
}

func (g *gzipWriter) put(p []byte) {
	if g.err == nil {
		_, g.err = g.w.Write(p)
	}
}

func (g *gzipWriter) newBlock(window []byte) *block {
	var b *block
	if n := len(g.blocks); n > 0 {
		b, g.blocks = g.blocks[n-1], g.blocks[:n-1]
	} else {
		b = &block{data: make([]byte, 0, deflate.WindowSize+blockBytes)}
	}
	b.data = append(b.data[:0], window...)
	b.start, b.done = len(window), make(chan struct{})
	return b
}

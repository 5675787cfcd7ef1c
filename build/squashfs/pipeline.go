package squashfs

import (
	"runtime"
	"sync"
)

// blockSize is how much of a file is compressed at once, in bytes.
const (
	blockSize = 1 << blockLog
	blockLog  = 17
)

// dataStored marks the size of a data block that is not compressed.
const dataStored = 1 << 24

// maxWorkers bounds the memory, not the bytes.
const maxWorkers = 16

// piece is a data block on its way into the image.
type piece struct {
	raw  []byte
	out  []byte
	size uint32 // as the format has it: 0 for zeros, with dataStored if not compressed
	done chan struct{}

	// placed is told where the block came to lie. It is called in the order of the pieces.
	placed func(at int64, size uint32)
}

// pipeline compresses pieces several at once and writes them in the order in which they
// were added. It belongs to one goroutine. stop has to be called.
type pipeline struct {
	out  *output
	jobs chan *piece
	wait sync.WaitGroup
	work []*piece // added and not yet written, in order
	free []*piece
	most int // pieces in work at once
}

func newPipeline(out *output, o Options) (*pipeline, error) {
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	p := &pipeline{out: out, jobs: make(chan *piece, 2*n), most: 2 * n}
	for range n {
		c, err := newCodec(o)
		if err != nil {
			p.stop()
			return nil, err
		}
		p.wait.Go(func() {
			for b := range p.jobs {
				b.pack(c)
				close(b.done)
			}
		})
	}
	return p, nil
}

func (b *piece) pack(c codec) {
	b.out, b.size = b.out[:0], uint32(len(b.raw))|dataStored
	if c == nil {
		return
	}
	b.out = c.pack(b.out, b.raw)
	if len(b.out) < len(b.raw) {
		b.size = uint32(len(b.out))
	}
}

// piece gives an empty piece with room for a block.
func (p *pipeline) piece() *piece {
	n := len(p.free)
	if n == 0 {
		return &piece{raw: make([]byte, 0, blockSize)}
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	b.raw = b.raw[:0]
	return b
}

// add takes over a piece.
func (p *pipeline) add(b *piece) error {
	if len(p.work) == p.most {
		if err := p.collect(); err != nil {
			return err
		}
	}
	b.done = make(chan struct{})
	p.work = append(p.work, b)
	p.jobs <- b
	return nil
}

// collect writes the oldest piece.
func (p *pipeline) collect() error {
	b := p.work[0]
	p.work = p.work[1:]
	<-b.done
	p.free = append(p.free, b)
	b.placed(p.out.at, b.size)
	if b.size&dataStored != 0 {
		return p.out.write(b.raw)
	}
	return p.out.write(b.out)
}

// finish writes all pieces.
func (p *pipeline) finish() error {
	for len(p.work) > 0 {
		if err := p.collect(); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the workers and gives up what is not written.
func (p *pipeline) stop() {
	close(p.jobs)
	p.wait.Wait()
}

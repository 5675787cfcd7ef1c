package deflate

import "fmt"

// WindowSize is how many bytes before a block matches may refer to.
const WindowSize = 32 << 10

// Levels, from the fastest to the smallest.
const (
	MinLevel = 1
	MaxLevel = 9
)

// Encoder compresses blocks of data. It holds nothing from one to the next, so the
// same block gives the same bytes whatever came before. It is not safe for concurrent
// use.
type Encoder struct {
	effort  effort
	matcher matcher

	tokens []token
	spans  []*span // all there are, and those in use
	work   []*span

	build             builder
	literal, distance code
	codeLengths       []uint8
	header            header
	out               bitWriter
}

// NewEncoder returns an encoder for a level from MinLevel to MaxLevel.
func NewEncoder(level int) (*Encoder, error) {
	if level < MinLevel || level > MaxLevel {
		return nil, fmt.Errorf("compression level %d: want %d to %d", level, MinLevel, MaxLevel)
	}
	return &Encoder{
		effort:  efforts[level],
		literal: newCode(numLiteral), distance: newCode(numDistance), header: header{code: newCode(numLengths)},
	}, nil
}

// Append compresses data[from:] and appends the result to dst. A decoder has to know
// data[:from], of which the last WindowSize bytes are used. The result
// ends at a whole byte, so that results can be joined; that of the last
// block of a stream has to be made with final.
func (e *Encoder) Append(dst, data []byte, from int, final bool) []byte {
	if skip := from - WindowSize; skip > 0 {
		data, from = data[skip:], WindowSize
	}
	e.out = bitWriter{buf: dst}
	if from < len(data) || final {
		e.parse(data, from)
		e.blocks(data[from:], final)
	}
	if !final && e.out.n > 0 {
		e.out.stored(nil, false)
	}
	e.out.align()
	dst, e.out.buf = e.out.buf, nil
	return dst
}

// blocks writes all tokens; raw is what they stand for.
func (e *Encoder) blocks(raw []byte, final bool) {
	spans := e.split()
	for i, s := range spans {
		tokens := e.tokens[s.start:s.end]
		size := 0
		for _, t := range tokens {
			size += max(t.length(), 1)
		}
		e.block(tokens, &s.counts, raw[:size], final && i == len(spans)-1)
		raw = raw[size:]
	}
}

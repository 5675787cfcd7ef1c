package artifact

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

// zstdFrame passes on exactly one zstd frame (RFC 8878) and leaves its reader
// after it: the decoder would go on with a second one, where the kernel stops.
type zstdFrame struct {
	r       *bufio.Reader
	window  uint64 // bytes a decoder has to keep
	content uint64 // bytes when uncompressed, 0 if the header does not say
	pending []byte // read, not passed on yet
	left    int64  // bytes of the block that come next
	sum     bool   // a checksum follows the last block
	last    bool   // this is the last block
	done    bool
	err     error
}

const maxZstdBlock = 128 << 10 // bytes

// header reads the frame's header and describes it.
func (f *zstdFrame) header() ([]Field, error) {
	const fixed = 5
	b, err := f.r.Peek(fixed)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	descriptor := b[4]
	single := descriptor&0x20 != 0
	f.sum = descriptor&4 != 0
	if descriptor&8 != 0 {
		return nil, fmt.Errorf("zstd frame header: the reserved bit is set: %w", ErrMalformed)
	}
	windowSize := 1
	if single {
		windowSize = 0
	}
	dictSize := []int{0, 1, 2, 4}[descriptor&3]
	contentSize := []int{0, 2, 4, 8}[descriptor>>6]
	if contentSize == 0 && single {
		contentSize = 1
	}
	size := fixed + windowSize + dictSize + contentSize
	if b, err = f.r.Peek(size); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	fields := []Field{{"Frame_Header_Descriptor", 4, 1, fmt.Sprintf("%#02x", descriptor)}}
	at := fixed
	add := func(name string, n int, value any) {
		if n > 0 {
			fields = append(fields, Field{name, int64(at), int64(n), fmt.Sprint(value)})
		}
		at += n
	}
	if !single {
		f.window = uint64(1) << (10 + b[at]>>3)
		f.window += f.window / 8 * uint64(b[at]&7)
	}
	add("Window_Descriptor", windowSize, f.window)
	dict := littleEndian(b[at : at+dictSize])
	add("Dictionary_ID", dictSize, dict)
	content := littleEndian(b[at : at+contentSize])
	if contentSize == 2 {
		content += 256
	}
	add("Frame_Content_Size", contentSize, content)
	f.content = content
	if single {
		f.window = content
	}
	if dict != 0 {
		return nil, fmt.Errorf("zstd frame needs dictionary %d: %w", dict, ErrUnsupported)
	}
	f.pending = append(f.pending, b...)
	_, err = f.r.Discard(size)
	return fields, err
}

func littleEndian(b []byte) uint64 {
	var n uint64
	for i, x := range b {
		n |= uint64(x) << (8 * i)
	}
	return n
}

// Read implements io.Reader. It ends with io.EOF after the frame.
func (f *zstdFrame) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(f.pending) == 0 && f.left == 0 {
		if f.done {
			return 0, io.EOF
		}
		if f.err == nil {
			f.err = f.next()
		}
		if f.err != nil {
			return 0, f.err
		}
	}
	if len(f.pending) > 0 {
		n := copy(p, f.pending)
		f.pending = f.pending[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if n > 0 {
		return n, nil
	}
	f.err = short(err)
	return 0, f.err
}

// next reads what comes after a block: another block's header, or the checksum.
func (f *zstdFrame) next() error {
	n := 3
	if f.last {
		f.done, n = true, 0
		if f.sum {
			n = 4
		}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return short(err)
	}
	f.pending = b
	if f.done {
		return nil
	}
	f.last = b[0]&1 != 0
	f.left = int64(littleEndian(b) >> 3)
	switch b[0] >> 1 & 3 {
	case 1: // one byte, repeated
		f.left = 1
	case 3:
		return fmt.Errorf("zstd block of the reserved type: %w", ErrMalformed)
	}
	if f.left > maxZstdBlock {
		return fmt.Errorf("zstd block of %d bytes, at most %d: %w", f.left, maxZstdBlock, ErrMalformed)
	}
	return nil
}

func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

package btrfsread

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

var (
	errTooLong = errors.New("it is too long when uncompressed")
	errCut     = errors.New("the zstd frame is cut")
)

// newZstd gives a function that uncompresses into dst, which has the room for the most that
// it may be. It is safe for concurrent use.
func newZstd() (func(dst, src []byte) ([]byte, error), error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxPacked), zstd.WithDecoderMaxMemory(maxPacked))
	if err != nil {
		return nil, fmt.Errorf("starting zstd: %w", err)
	}
	return func(dst, src []byte) ([]byte, error) {
		n, err := frameSize(src)
		if err != nil {
			return nil, err
		}
		out, err := d.DecodeAll(src[:n], dst[:0])
		if err == nil && len(out) > cap(dst) {
			err = errTooLong
		}
		return out, err
	}, nil
}

// frameSize is how many bytes a zstd frame has (RFC 8878, section 3.1.1): what follows it up
// to the end of the sector is padding.
func frameSize(b []byte) (int, error) {
	if len(b) < 5 || le.Uint32(b) != 0xfd2fb528 {
		return 0, errors.New("no zstd frame")
	}
	d := b[4]
	at := 5 + []int{0, 1, 2, 4}[d&3] + []int{0, 2, 4, 8}[d>>6]
	if single := d>>5&1 != 0; !single || d>>6 == 0 {
		at++ // Window_Descriptor, or the content size of one byte
	}
	for {
		if at+3 > len(b) {
			return 0, errCut
		}
		head := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		at += 3
		if kind := head >> 1 & 3; kind == 1 { // RLE_Block
			at++
		} else {
			at += head >> 3
		}
		if head&1 != 0 {
			break
		}
	}
	if d>>2&1 != 0 {
		at += 4 // Content_Checksum
	}
	if at > len(b) {
		return 0, errCut
	}
	return at, nil
}

// unzlib uncompresses into dst, which has the room for the most that it may be. What follows
// the stream is padding.
func unzlib(dst, src []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dst = dst[:cap(dst)]
	n, err := io.ReadFull(r, dst)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	// zlib says io.ErrUnexpectedEOF of its own when the stream is cut, which reading on tells
	// apart.
	switch m, err := r.Read(make([]byte, 1)); {
	case m > 0:
		return nil, errTooLong
	case errors.Is(err, io.EOF):
		return dst[:n], nil
	case err != nil:
		return nil, err
	}
	return nil, errTooLong
}

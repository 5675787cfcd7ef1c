package squashfsread

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// newUnpacker gives a function that uncompresses a block into dst, which has the room for
// the most that it may be. It is safe for concurrent use.
func newUnpacker(compressor uint16, blockSize uint32) (func(dst, src []byte) ([]byte, error), error) {
	switch compressor {
	case Gzip:
		return unzlib, nil
	case Zstd:
		window := uint64(max(blockSize, metaSize)) // what the kernel has memory for
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
		if err != nil {
			return nil, fmt.Errorf("starting zstd: %w", err)
		}
		return func(dst, src []byte) ([]byte, error) {
			out, err := d.DecodeAll(src, dst[:0])
			if err == nil && len(out) > cap(dst) {
				err = errTooLong
			}
			return out, err
		}, nil
	}
	name := compressors[compressor]
	if name == "" {
		return nil, fmt.Errorf("superblock: compressor %d: %w", compressor, ErrCorrupt)
	}
	return nil, fmt.Errorf("it is compressed with %s, gzip and zstd are read: %w", name, ErrUnsupported)
}

var errTooLong = errors.New("it is too long when uncompressed")

func unzlib(dst, src []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dst = dst[:cap(dst)]
	n, err := io.ReadFull(r, dst)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		// The checksum has been compared: zlib says io.ErrUnexpectedEOF of its own when the
		// stream is cut, which reading on tells apart.
		if _, again := r.Read(make([]byte, 1)); !errors.Is(again, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return dst[:n], nil
	case err != nil:
		return nil, err
	}
	if m, err := r.Read(make([]byte, 1)); m > 0 || !errors.Is(err, io.EOF) {
		if err == nil || errors.Is(err, io.EOF) {
			err = errTooLong
		}
		return nil, err
	}
	return dst, nil
}

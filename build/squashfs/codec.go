package squashfs

import (
	"encoding/binary"
	"fmt"
	"hash/adler32"

	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/build/initramfs/deflate"
)

// A codec compresses one block. It holds nothing from one block to the next. It is
// not safe for concurrent use.
type codec interface {
	// pack appends the compressed block to dst.
	pack(dst, src []byte) []byte
}

func newCodec(o Options) (codec, error) {
	switch o.compression() {
	case Gzip:
		e, err := deflate.NewEncoder(o.level())
		return zlibCodec{e, zlibHeader(o.level())}, err
	case None:
		return nil, nil
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(o.level())),
		zstd.WithWindowSize(blockSize), // the kernel refuses a larger one
		zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true),
	)
	if err != nil {
		return nil, fmt.Errorf("starting zstd: %w", err)
	}
	return zstdCodec{e}, nil
}

// zstdCodec makes one frame (RFC 8878) of each block.
type zstdCodec struct{ *zstd.Encoder }

func (z zstdCodec) pack(dst, src []byte) []byte { return z.EncodeAll(src, dst) }

// zlibCodec makes one zlib stream (RFC 1950) of each block, which is what the format
// means by gzip.
type zlibCodec struct {
	*deflate.Encoder
	header [2]byte
}

func (z zlibCodec) pack(dst, src []byte) []byte {
	dst = append(dst, z.header[:]...)
	dst = z.Append(dst, src, 0, true)
	return binary.BigEndian.AppendUint32(dst, adler32.Checksum(src))
}

// zlibHeader is CMF and FLG: deflate with a window of 32 KiB, and a hint at the level.
func zlibHeader(level int) [2]byte {
	const cmf = 0x78
	hint := 0
	switch {
	case level > 6:
		hint = 3
	case level == 6:
		hint = 2
	case level > 1:
		hint = 1
	}
	flg := hint << 6
	flg += 31 - (cmf<<8+flg)%31
	return [2]byte{cmf, byte(flg)}
}

// Compressor ids of the superblock.
const (
	idGzip = 1
	idZstd = 6
)

// compressorOptions is what follows the superblock when the level is not the one that
// the format takes for granted: a metadata block that is not compressed.
func compressorOptions(o Options) []byte {
	le := binary.LittleEndian
	var b []byte
	switch o.compression() {
	case Zstd:
		if o.level() != 15 {
			b = le.AppendUint32(b, uint32(o.level()))
		}
	case Gzip:
		if o.level() != 9 {
			b = le.AppendUint32(b, uint32(o.level()))
			b = le.AppendUint16(b, 15) // window, as a power of two
			b = le.AppendUint16(b, 0)  // strategies: the default
		}
	}
	if b == nil {
		return nil
	}
	return append(le.AppendUint16(nil, uint16(len(b))|metaStored), b...)
}

package initramfs

import (
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
)

// IsArchive tells whether r begins as an archive that Write makes, whatever its
// compression. It reads 256 KiB at
// most, which is more than the first block of any of them.
func IsArchive(r io.Reader) bool {
	head := make([]byte, 1<<18)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF {
		return false
	}
	head = head[:n]
	return isNewc(bytes.NewReader(head)) || isGzip(head) || isZstd(head)
}

func isNewc(r io.Reader) bool {
	var magic [len(newcMagic)]byte
	_, err := io.ReadFull(r, magic[:])
	return err == nil && string(magic[:]) == newcMagic
}

func isGzip(head []byte) bool {
	z, err := gzip.NewReader(bytes.NewReader(head))
	return err == nil && isNewc(z)
}

func isZstd(head []byte) bool {
	z, err := zstd.NewReader(bytes.NewReader(head), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return false
	}
	defer z.Close()
	return isNewc(z)
}

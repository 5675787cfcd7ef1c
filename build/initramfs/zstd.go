package initramfs

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest distance of a match. Every decoder has to take 8 MiB
// (RFC 8878, 3.1.1.1.2), and the kernel needs that much memory at boot.
const zstdWindow = 8 << 20

type zstdWriter struct{ *zstd.Encoder }

// newZstd makes one frame with a checksum. The blocks are compressed one after
// another, and concurrency decides only about what happens beside that; it does not
// reach the bytes.
func newZstd(w io.Writer, level, concurrency int) (zstdWriter, error) {
	e, err := zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderCRC(true),
		zstd.WithZeroFrames(true),
		zstd.WithEncoderConcurrency(concurrency),
	)
	if err != nil {
		return zstdWriter{}, fmt.Errorf("starting zstd: %w", err)
	}
	return zstdWriter{e}, nil
}

// zstdConcurrency has a block compressed while the one before it is written.
const zstdConcurrency = 2

// Abort ends the encoder's goroutines.
func (z zstdWriter) Abort() {
	z.Reset(io.Discard)
	z.Close() //nolint:errcheck // nothing is written to
}

package ext4

import (
	"golang.org/x/sys/unix"
)

// zero makes blocks of the image read as zeros, as a hole where the file's
// filesystem can.
func (w *Writer) zero(r run) error {
	if f, ok := w.f.(interface{ Fd() uintptr }); ok {
		mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
		if unix.Fallocate(int(f.Fd()), mode, int64(r.start)*blockSize, int64(r.n)*blockSize) == nil {
			return nil
		}
	}
	return w.writeZeros(r)
}

//go:build !linux

package ext4

// zero makes blocks of the image read as zeros.
func (w *Writer) zero(r run) error { return w.writeZeros(r) }

package shim

import (
	"syscall"
	"testing"
)

// TestReasonsAreThoseOfTheKernelsNumbers compares with the names that Go has on Linux.
func TestReasonsAreThoseOfTheKernelsNumbers(t *testing.T) {
	last := 0
	for _, r := range reasons {
		if want := syscall.Errno(r.errno).Error(); r.text != want {
			t.Errorf("errno %d is %q, want %q", r.errno, r.text, want)
		}
		if r.errno <= last {
			t.Errorf("errno %d comes after %d", r.errno, last)
		}
		last = r.errno
	}
}

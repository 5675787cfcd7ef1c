package build

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// preallocate gives a file disk space for its holes. The bytes stay the same. A
// filesystem that cannot do it leaves them holes.
func preallocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package cache

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock of a file that lasts until the file is closed, which a
// killed process's files are. held tells that another opener has it; where files
// cannot be locked, as on some network filesystems, it is neither.
func tryLock(f *os.File) (locked, held bool) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return err == nil, errors.Is(err, syscall.EWOULDBLOCK)
}

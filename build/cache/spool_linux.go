package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// anonymous opens a file that never had a name, or returns nil where the
// filesystem of dir has no O_TMPFILE.
func anonymous(dir string) *os.File {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil
	}
	return f
}

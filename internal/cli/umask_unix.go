//go:build unix

package cli

import (
	"fmt"
	"strconv"
	"syscall"
)

// setUmask sets the process's umask, an octal number; "" leaves it.
func setUmask(octal string) error {
	if octal == "" {
		return nil
	}
	mask, err := strconv.ParseUint(octal, 8, 9)
	if err != nil {
		return fmt.Errorf("reading umask %q: %w", octal, err)
	}
	syscall.Umask(int(mask))
	return nil
}

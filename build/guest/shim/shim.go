package shim

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Path is where the kernel looks for the first process of an initramfs, and so where
// the shim belongs.
const Path = "/init"

// MaxPath is how long the next program's path may be, in bytes: PATH_MAX of Linux
// without the NUL.
const MaxPath = 4095

// Binary returns the shim for an architecture, "amd64" or "arm64", as an ELF
// executable that ends by executing the program at the absolute path next.
func Binary(arch, next string) ([]byte, error) {
	m, ok := machines[arch]
	if !ok {
		return nil, fmt.Errorf("making the init shim: no architecture %q; there are amd64 and arm64", arch)
	}
	if err := checkNext(next); err != nil {
		return nil, fmt.Errorf("making the init shim: %w %q: %w", ErrNext, shorten(next), err)
	}
	code, err := parseListing(m.listing)
	if err != nil {
		return nil, fmt.Errorf("making the init shim: %w", err)
	}
	return makeELF(m.elf, code, encode(program(next), m.number))
}

// ErrNext is wrapped by errors about the program to start.
var ErrNext = errors.New("next program")

func checkNext(next string) error {
	switch {
	case !strings.HasPrefix(next, "/"):
		return errors.New("it is not absolute")
	case len(next) > MaxPath:
		return fmt.Errorf("it has %d bytes, the limit is %d", len(next), MaxPath)
	case strings.ContainsRune(next, 0):
		return errors.New("it has a NUL byte")
	case path.Clean(next) == Path:
		return fmt.Errorf("it is the shim itself, which is %s: the boot would never end", Path)
	}
	return nil
}

func shorten(s string) string {
	const most = 128 // bytes
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

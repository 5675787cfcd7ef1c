package cache

import (
	"fmt"
	"os"
)

// Spool returns a temporary file without a name in dir ("" is the system's
// default), for reading and writing. It is gone when it is closed or the process
// ends, however it ends. Where the system cannot remove an open file's name, the
// name stays.
func Spool(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if f := anonymous(dir); f != nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, "fledge-*")
	if err != nil {
		return nil, fmt.Errorf("creating temporary file: %w", err)
	}
	_ = os.Remove(f.Name())
	return f, nil
}

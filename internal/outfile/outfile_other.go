//go:build !linux

package outfile

import (
	"errors"
	"os"
)

func openUnnamed(string, string) (*os.File, error) { return nil, errors.ErrUnsupported }

func linkUnnamed(*os.File, string) error { return errors.ErrUnsupported }

func exchange(string, string) error { return errors.ErrUnsupported }

// lock fails: where files are not locked, nobody can know that a hidden name is
// left over, and sweep leaves it alone.
func lock(*os.File) error { return errors.ErrUnsupported }

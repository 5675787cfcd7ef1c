//go:build !linux

package build

import "os"

// preallocate leaves holes: there is no portable way to fill them in place.
func preallocate(*os.File, int64) error { return nil }

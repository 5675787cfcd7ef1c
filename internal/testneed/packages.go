package testneed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// CacheVariable names the folder in which tests keep what takes long to make.
const CacheVariable = "FLEDGE_TEST_CACHE"

// CacheDir returns the folder that the environment chooses: $FLEDGE_TEST_CACHE or
// fledge-test in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache folder: %w; set %s", err, CacheVariable)
	}
	return filepath.Join(dir, "fledge-test"), nil
}

// PackagesLock is the lock's name in the folder of Debian packages.
const PackagesLock = "tools.lock"

// PackagesDir is the folder of the Debian packages that the action's image has parts of,
// whether or not it is there.
func PackagesDir() (string, error) {
	dir, err := CacheDir()
	return filepath.Join(dir, "packages"), err
}

// Packages returns PackagesDir, and skips t unless "make tools" has filled it.
func Packages(t testing.TB) string {
	t.Helper()
	dir, err := PackagesDir()
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, PackagesLock))
	}
	if err != nil {
		Missing(t, "debs", "no Debian packages for the action's image, run make tools: "+err.Error())
	}
	return dir
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cached returns the path of name in the cache, which make has to create at the path
// that it gets if it is not there yet. Only one process makes things at a time.
func cached(ctx context.Context, dir, name string, make func(path string) error) (string, error) {
	path := filepath.Join(dir, name)
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	work, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "made")
	if err := make(made); err != nil {
		return "", err
	}
	return path, os.Rename(made, path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock waits for an exclusive lock on file; it goes away with the process.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err() // the waiting goroutine ends with the process
	}
	if err != nil {
		return nil, fmt.Errorf("locking %q: %w", file, err)
	}
	return func() { f.Close() }, nil
}

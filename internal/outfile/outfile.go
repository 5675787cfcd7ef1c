package outfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// live is the files that have a hidden name, for AbortAll.
var live sync.Map

// commits lets AbortAll wait for a commit that has begun, and know of one.
var commits struct {
	sync.Mutex
	appeared bool // a file has got its name
}

// AbortAll removes the hidden names of all files on their way, for a process
// that is about to end without calling Abort. A commit that has begun comes to
// its end first, and none begins after it. It reports whether any file has
// appeared.
func AbortAll() bool {
	commits.Lock() // for good
	live.Range(func(temp, _ any) bool {
		os.RemoveAll(temp.(string)) // a folder, or a file
		return true
	})
	return commits.appeared
}

// File is an output on its way. It is written like any os.File.
type File struct {
	*os.File
	path string
	temp string // its hidden name, "" while it has none
}

// unnamed is openUnnamed but in tests.
var unnamed = openUnnamed

// Create starts the file that path will name. Its directory must exist. A path
// that names something other than a regular file is refused.
func Create(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("creating %s: it exists and is not a regular file; name a file", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating %s: its folder does not exist; make it first", path)
	}
	sweep(path, 0, os.Remove)
	f := &File{path: path}
	var err error
	if f.File, err = unnamed(filepath.Dir(path), path); err == nil {
		return f, nil
	}
	if f.File, f.temp, err = createHidden(path); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, withoutTemp(err))
	}
	return f, nil
}

// createHidden creates and locks a file with a hidden name beside path. Another
// process may sweep it away in the moment before it is locked; then it is made
// once more.
func createHidden(path string) (*os.File, string, error) {
	for {
		temp := tempName(path)
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, "", err
		}
		if errors.Is(lock(f), errHeld) {
			f.Close() // by a sweeper, which removes it
			continue
		}
		named, err := os.Lstat(temp)
		mine, err2 := f.Stat()
		if err == nil && err2 == nil && os.SameFile(named, mine) {
			live.Store(temp, nil)
			return f, temp, nil
		}
		f.Close()
	}
}

// errHeld says that another process has a file's lock. Any other failure to lock
// means that files are not locked here; then nothing is swept either.
var errHeld = errors.New("locked by another process")

// withoutTemp drops the hidden name from an error: the user did not choose it.
func withoutTemp(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

const tempMark = ".fledge-"

// TempPrefix is how every hidden name of path begins, its folder included.
func TempPrefix(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+tempMark)
}

func tempName(path string) string {
	var b [8]byte
	rand.Read(b[:])
	return TempPrefix(path) + hex.EncodeToString(b[:])
}

// sweep removes hidden names of path that a dead process left: those of one kind, 0 for
// files. It is no error when it cannot.
func sweep(path string, kind fs.FileMode, remove func(name string) error) {
	prefix := filepath.Base(TempPrefix(path))
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || e.Type() != kind {
			continue
		}
		name := filepath.Join(filepath.Dir(path), e.Name())
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if lock(f) == nil {
			remove(name)
		}
		f.Close()
	}
}

// Commit syncs the file and makes it appear. After an error nothing has changed
// and the file is gone.
func (f *File) Commit() error {
	if err := f.Sync(); err != nil { // which may take long, and changes nothing
		f.Abort()
		return fmt.Errorf("writing %s: %w", f.path, withoutTemp(err))
	}
	commits.Lock()
	defer commits.Unlock()
	err := f.appear()
	commits.appeared = commits.appeared || err == nil
	return err
}

// appear is Commit while commits is locked.
func (f *File) appear() error {
	if err := f.commit(); err != nil {
		f.Abort()
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	f.temp = ""
	return f.File.Close()
}

// commit gives the synced file its name.
func (f *File) commit() error {
	if f.temp == "" {
		if err := linkUnnamed(f.File, f.path); err == nil {
			syncDir(f.path)
			return nil
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		temp := tempName(f.path)
		lock(f.File) // a sweeper must not take the name before it is the final one
		if err := linkUnnamed(f.File, temp); err != nil {
			return err
		}
		f.temp = temp
	}
	live.Delete(f.temp)
	if err := os.Rename(f.temp, f.path); err != nil {
		var l *os.LinkError
		if errors.As(err, &l) {
			err = l.Err
		}
		return err
	}
	syncDir(f.path)
	return nil
}

// syncDir makes a new name last. The name is there already: a folder that cannot
// be read or synced is no error.
func syncDir(path string) {
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		d.Sync()
		d.Close()
	}
}

// CommitBoth is [CommitAll] of two files.
func CommitBoth(first, second *File) error { return CommitAll(first, second) }

// CommitAll makes files appear, in their order. If one cannot, the names of those
// before it go back to what had them before. Of several processes that do so in the
// folder of the first file at the same time, each waits for the one before it, so
// that the files are always those of one process.
func CommitAll(files ...*File) error {
	for _, f := range files {
		if err := f.Sync(); err != nil {
			for _, f := range files {
				f.Abort()
			}
			return fmt.Errorf("writing %s: %w", f.path, withoutTemp(err))
		}
	}
	defer lockFolder(filepath.Dir(files[0].path))()
	commits.Lock()
	defer commits.Unlock()
	err := appearAll(files)
	commits.appeared = commits.appeared || err == nil
	return err
}

// lockFolder takes the lock of a folder and returns what gives it back. A folder
// that cannot be locked, or whose lock somebody keeps, is used without it after
// two seconds: the lock may be that of a program around this one.
func lockFolder(dir string) (unlock func()) {
	d, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	const wait, tries = 10 * time.Millisecond, 200
	for range tries {
		if !errors.Is(lock(d), errHeld) {
			break
		}
		time.Sleep(wait)
	}
	return func() { d.Close() }
}

// appearAll is CommitAll while everything is locked.
func appearAll(files []*File) error {
	f, rest := files[0], files[1:]
	if len(rest) == 0 {
		return f.appear()
	}
	undo := f.keepOld()
	if err := f.appear(); err != nil {
		return errors.Join(err, undo(false))
	}
	if err := appearAll(rest); err != nil {
		return errors.Join(err, undo(true))
	}
	return undo(false)
}

// keepOld gives what has the file's name another one, until undo is called. undo
// brings it back if the file has appeared and must go again.
func (f *File) keepOld() (undo func(appeared bool) error) {
	// There is no other name where nothing is replaced, or where the filesystem has no
	// hard links.
	before := tempName(f.path)
	if os.Link(f.path, before) != nil {
		before = ""
	}
	return func(appeared bool) error {
		switch {
		case !appeared:
			if before != "" {
				os.Remove(before)
			}
			return nil
		case before == "":
			return os.Remove(f.path)
		}
		return os.Rename(before, f.path)
	}
}

// Abort drops the file. It does nothing after Commit or Abort.
func (f *File) Abort() {
	if f.temp != "" {
		live.Delete(f.temp)
		os.Remove(f.temp)
		f.temp = ""
	}
	f.File.Close()
}

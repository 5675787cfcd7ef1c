package outfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is a folder on its way. It is made and filled under a hidden name beside its
// own, ".NAME.fledge-*", which is locked while its process lives.
type Folder struct {
	Root *os.Root // of the hidden folder

	path, temp string
	held       *os.File // has the lock
}

// swap is exchange but in tests.
var swap = exchange

// CreateFolder starts the folder that path will name. The folder above it is made if it
// is missing. Hidden folders that a dead process left are removed.
func CreateFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	sweep(path, fs.ModeDir, os.RemoveAll)
	f := &Folder{path: path, temp: tempName(path)}
	if err := os.Mkdir(f.temp, 0o755); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, withoutTemp(err))
	}
	live.Store(f.temp, nil)
	var err error
	if f.held, err = os.Open(f.temp); err == nil {
		lock(f.held)
		f.Root, err = os.OpenRoot(f.temp)
	}
	if err != nil {
		f.Abort()
		return nil, fmt.Errorf("creating %s: %w", path, withoutTemp(err))
	}
	return f, nil
}

// Path is the path of a name in the hidden folder.
func (f *Folder) Path(name string) string { return filepath.Join(f.temp, name) }

// Commit makes the folder appear. A folder that has its name is replaced, and removed
// with all that is in it; where the system can exchange two names there is no moment
// without either. After an error nothing has changed and the hidden folder is gone.
func (f *Folder) Commit() error {
	commits.Lock()
	defer commits.Unlock()
	if err := f.appear(); err != nil {
		f.Abort()
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	commits.appeared = true
	f.close()
	syncDir(f.path)
	return nil
}

func (f *Folder) appear() error {
	f.held.Sync()
	_, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withoutNames(os.Rename(f.temp, f.path))
	case err != nil:
		return err
	}
	old := f.temp
	if swap(f.temp, f.path) != nil {
		old = tempName(f.path)
		if err := os.Rename(f.path, old); err != nil {
			return withoutNames(err)
		}
		if err := os.Rename(f.temp, f.path); err != nil {
			return errors.Join(withoutNames(err), os.Rename(old, f.path))
		}
	}
	live.Delete(f.temp)
	f.temp = ""
	os.RemoveAll(old)
	return nil
}

// withoutNames drops hidden names from the error of a rename.
func withoutNames(err error) error {
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// Abort drops the folder. It does nothing after Commit or Abort.
func (f *Folder) Abort() {
	if f.held == nil && f.temp == "" {
		return
	}
	if f.temp != "" {
		os.RemoveAll(f.temp)
	}
	f.close()
}

func (f *Folder) close() {
	if f.temp != "" {
		live.Delete(f.temp)
		f.temp = ""
	}
	if f.Root != nil {
		f.Root.Close()
	}
	if f.held != nil {
		f.held.Close()
		f.held = nil
	}
}

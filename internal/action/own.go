package action

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
)

// owner gives what is made below the workspace to the workspace's owner.
type owner struct {
	root     *os.Root
	uid, gid int
	able     bool // the system tells owners

	mu      sync.Mutex
	folders []string       // that are looked through
	before  map[stamp]bool // files that were there
}

// stamp tells a file from every other, also from one that had its inode before: file
// systems use the number of a file that is gone for the next one.
type stamp struct {
	dev, ino uint64
	modified int64 // nanoseconds since 1970
}

func newOwner(root *os.Root) (*owner, error) {
	info, err := root.Stat(".")
	if err != nil {
		return nil, err
	}
	o := &owner{root: root, before: map[stamp]bool{}}
	o.uid, o.gid, o.able = ownerOf(info)
	return o, nil
}

// folder makes a folder and those above it. From now on [owner.give] gives away what is
// new in it.
func (o *owner) folder(name string) error {
	at := ""
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		at = path.Join(at, part)
		err := o.root.Mkdir(at, 0o755)
		if errors.Is(err, fs.ErrExist) {
			if info, err := o.root.Stat(at); err != nil {
				return fmt.Errorf("looking at %s: %w", at, err)
			} else if !info.IsDir() {
				return fmt.Errorf("making the folder %s: a file of this name is there", at)
			}
			continue
		}
		if err == nil {
			err = o.hand(at, fs.ModeDir)
		}
		if err != nil {
			return fmt.Errorf("making the folder %s: %w", at, err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.folders = append(o.folders, at)
	return o.walk(at, func(name string, info fs.FileInfo) error {
		if id, ok := stampOf(info); ok {
			o.before[id] = true
		}
		return nil
	})
}

// give hands over everything new.
func (o *owner) give() error {
	if !o.able {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, folder := range o.folders {
		errs = append(errs, o.walk(folder, func(name string, info fs.FileInfo) error {
			id, ok := stampOf(info)
			if !ok || o.before[id] && name != folder {
				return nil
			}
			return o.hand(name, info.Mode())
		}))
	}
	return errors.Join(errs...)
}

// walk calls do for everything below a folder, and the folder.
func (o *owner) walk(folder string, do func(name string, info fs.FileInfo) error) error {
	return fs.WalkDir(o.root.FS(), folder, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				err = do(name, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // gone since
			return nil
		}
		return err
	})
}

// hand gives one file its owner and mode. A link is not followed.
func (o *owner) hand(name string, mode fs.FileMode) error {
	if !o.able {
		return nil
	}
	perm := fs.FileMode(0o644)
	switch {
	case mode.IsDir():
		perm = 0o755
	case !mode.IsRegular():
		return o.root.Lchown(name, o.uid, o.gid)
	case mode&0o100 != 0:
		perm = 0o755
	}
	// The mode first: afterwards, without root, it would not be ours to change.
	if mode.Perm() != perm {
		if err := o.root.Chmod(name, perm); err != nil {
			return err
		}
	}
	return o.root.Lchown(name, o.uid, o.gid)
}

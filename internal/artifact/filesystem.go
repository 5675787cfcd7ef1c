package artifact

import (
	"context"
	"io"
)

// gather collects the entries of a filesystem that walk adds. inode tells names of one
// inode from others.
func (a *Artifact) gather(ctx context.Context, walk func(add func(*Entry) error) error, inode func(*Entry) uint64) error {
	b := budget{opt: &a.opt}
	err := walk(func(e *Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.Entries = append(a.Entries, e)
		return b.add(e, len(e.Name))
	})
	if err != nil {
		return err
	}
	sortEntries(a.Entries)
	linkGroups(a.Entries, func(e *Entry) (uint64, bool) { return inode(e), e.Type != Dir })
	return nil
}

// byNumber tells inodes apart by their numbers.
func byNumber(e *Entry) uint64 { return e.Inode }

// sizeOf is an entry's size: only files and symbolic links have one.
func sizeOf(t Type, size int64) int64 {
	if t == File || t == Symlink {
		return size
	}
	return 0
}

// file is a regular file of a filesystem.
type file interface {
	io.ReaderAt
	Data() [][2]int64 // where it is not a hole: first byte and end, by rising offset
}

// file finds where a regular file of a filesystem other than ext4 is. It is nil without an error
// for other artifacts.
func (a *Artifact) file(e *Entry) (file, error) {
	switch {
	case a.Squashfs != nil:
		in, err := a.SquashfsInode(e)
		if err != nil {
			return nil, err
		}
		return in.File()
	case a.XFS != nil:
		in, err := a.XFS.Inode(e.Inode)
		if err != nil {
			return nil, err
		}
		return in.File()
	case a.Btrfs != nil:
		in, err := a.Btrfs.Inode(e.Inode)
		if err != nil {
			return nil, err
		}
		return in.File()
	}
	return nil, nil
}

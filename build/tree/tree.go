package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Limits of Linux, which is where every tree ends up.
const (
	MaxComponent = 255  // bytes in one component of a name (NAME_MAX)
	MaxName      = 4095 // bytes in a whole name (PATH_MAX less its NUL)
	MaxSymlinks  = 40   // links followed while resolving one name (MAXSYMLINKS)
)

// Errors that callers tell apart.
var (
	ErrNotExist = fs.ErrNotExist
	ErrName     = errors.New("invalid name")
	ErrNotDir   = errors.New("not a directory")
	ErrLoop     = errors.New("too many levels of symbolic links")
	ErrNotEmpty = errors.New("directory not empty")
)

// Content is the bytes of one regular file. Open may be called any number of
// times and from any goroutine; every call yields the same Size bytes.
type Content interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// Rdev is the number of a character or block device.
type Rdev struct{ Major, Minor uint32 }

// Node is one inode. The exported fields may be changed freely, except that the
// type bits of Mode are fixed once the node is in a tree.
type Node struct {
	Mode     fs.FileMode // type and permission bits, including setuid, setgid, sticky
	UID, GID uint32
	ModTime  time.Time         // kept to the nanosecond; a writer says what it can hold
	Xattrs   map[string]string // full names ("security.capability") to raw values; nil for none
	Target   string            // symlink target, kept verbatim; "" otherwise
	Rdev     Rdev              // character and block devices only
	Content  Content           // regular files only; nil means empty

	children map[string]*Node
	links    int
}

// UnixMode is st_mode: the type and permission bits of m as Linux numbers them.
func UnixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, b := range []struct {
		set  fs.FileMode
		unix uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.set != 0 {
			mode |= b.unix
		}
	}
	switch m.Type() {
	case fs.ModeDir:
		return mode | 0o040000
	case fs.ModeSymlink:
		return mode | 0o120000
	case fs.ModeDevice:
		return mode | 0o060000
	case fs.ModeDevice | fs.ModeCharDevice:
		return mode | 0o020000
	case fs.ModeNamedPipe:
		return mode | 0o010000
	case fs.ModeSocket:
		return mode | 0o140000
	}
	return mode | 0o100000
}

// Links is the number of names the node has in its tree. It counts names only:
// a directory has 1, not the "." and ".." that filesystems add.
func (n *Node) Links() int { return n.links }

// Size is the length of a regular file's content or a symlink's target, in
// bytes, and 0 for everything else.
func (n *Node) Size() int64 {
	switch {
	case n.Mode&fs.ModeSymlink != 0:
		return int64(len(n.Target))
	case n.Content != nil:
		return n.Content.Size()
	}
	return 0
}

// Len is the number of names in a directory.
func (n *Node) Len() int { return len(n.children) }

// Child returns the node bound to one component of a directory, or nil.
func (n *Node) Child(base string) *Node { return n.children[base] }

// Children yields a directory's names sorted by byte value. The directory may
// be changed while it is walked: the names are those of the start.
func (n *Node) Children() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		for _, base := range slices.Sorted(maps.Keys(n.children)) {
			if c := n.children[base]; c != nil && !yield(base, c) {
				return
			}
		}
	}
}

// Tree is a root filesystem. Use New.
type Tree struct {
	root *Node
}

// New returns a tree with nothing but a root directory, mode 0755, owner 0:0.
func New() *Tree {
	return &Tree{root: &Node{Mode: fs.ModeDir | 0o755, ModTime: time.Unix(0, 0), children: map[string]*Node{}, links: 1}}
}

// Root returns the root directory.
func (t *Tree) Root() *Node { return t.root }

// Put binds name to n, replacing what was there, a whole subtree if need be. The
// old inode keeps its other names: replacing one name of a hard link never
// changes the others. The parent directory must exist; links in it are not
// followed. A directory has one name only.
func (t *Tree) Put(name string, n *Node) error {
	dir, base, err := t.parent(name)
	if err != nil {
		return fmt.Errorf("putting %q: %w", name, err)
	}
	old := dir.children[base]
	if old == n {
		return nil
	}
	if n.Mode.IsDir() {
		if n.links > 0 {
			return fmt.Errorf("putting %q: a directory cannot have two names", name)
		}
		if n.children == nil {
			n.children = map[string]*Node{}
		}
	}
	if old != nil {
		unlink(old)
	}
	n.links++
	dir.children[strings.Clone(base)] = n // base would keep all of name alive
	return nil
}

// Remove unbinds name, with everything below it. Removing a name that does not
// exist is ErrNotExist; the root cannot be removed.
func (t *Tree) Remove(name string) error {
	dir, base, err := t.parent(name)
	if err != nil {
		return fmt.Errorf("removing %q: %w", name, err)
	}
	n := dir.children[base]
	if n == nil {
		return fmt.Errorf("removing %q: %w", name, ErrNotExist)
	}
	unlink(n)
	delete(dir.children, base)
	return nil
}

// unlink takes one name from n, and all names from what is below it.
func unlink(n *Node) {
	n.links--
	for _, c := range n.children {
		unlink(c)
	}
	if n.Mode.IsDir() {
		n.children = nil
	}
}

// Lookup returns the node bound to name. It never follows symbolic links, not
// even in the middle of a name; see Resolve.
func (t *Tree) Lookup(name string) (*Node, error) {
	if name == "." {
		return t.root, nil
	}
	dir, base, err := t.parent(name)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", name, err)
	}
	n := dir.children[base]
	if n == nil {
		return nil, fmt.Errorf("looking up %q: %w", name, ErrNotExist)
	}
	return n, nil
}

// MkdirAll makes name a directory, and its missing parents too, each a copy of
// like (its mode, owner, time and xattrs). What exists and is a directory is
// left as it is; what exists and is not one is ErrNotDir. Symbolic links are
// not followed.
func (t *Tree) MkdirAll(name string, like Node) error {
	if name == "." {
		return nil
	}
	if err := CheckName(name); err != nil {
		return fmt.Errorf("making directory %q: %w", name, err)
	}
	dir := t.root
	for base := range strings.SplitSeq(name, "/") {
		next := dir.children[base]
		if next == nil {
			next = &Node{
				Mode: like.Mode.Perm() | like.Mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | fs.ModeDir,
				UID:  like.UID, GID: like.GID, ModTime: like.ModTime, Xattrs: maps.Clone(like.Xattrs),
				children: map[string]*Node{}, links: 1,
			}
			dir.children[strings.Clone(base)] = next
		}
		if !next.Mode.IsDir() {
			return fmt.Errorf("making directory %q: %q: %w", name, base, ErrNotDir)
		}
		dir = next
	}
	return nil
}

// Walk yields every name, the root (".") first, parents before children, names
// of one directory sorted by byte value. A hard link is yielded once for each
// of its names.
func (t *Tree) Walk() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if yield(".", t.root) {
			walk(t.root, "", yield)
		}
	}
}

func walk(dir *Node, prefix string, yield func(string, *Node) bool) bool {
	for base, n := range dir.Children() {
		name := prefix + base
		if !yield(name, n) {
			return false
		}
		if n.Mode.IsDir() && !walk(n, name+"/", yield) {
			return false
		}
	}
	return true
}

// parent finds the directory that holds name's last component.
func (t *Tree) parent(name string) (*Node, string, error) {
	if err := CheckName(name); err != nil {
		return nil, "", err
	}
	if name == "." {
		return nil, "", fmt.Errorf("%w: it is the root", ErrName)
	}
	dir := t.root
	for {
		base, rest, more := strings.Cut(name, "/")
		if !more {
			return dir, base, nil
		}
		next := dir.children[base]
		if next == nil {
			return nil, "", fmt.Errorf("parent %q: %w", base, ErrNotExist)
		}
		if !next.Mode.IsDir() {
			return nil, "", fmt.Errorf("parent %q: %w", base, ErrNotDir)
		}
		dir, name = next, rest
	}
}

// CheckName reports what makes name unusable in a tree, as an error that wraps
// ErrName.
func CheckName(name string) error {
	if name == "." {
		return nil
	}
	if len(name) > MaxName {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrName, len(name), MaxName)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: it holds a NUL byte", ErrName)
	}
	for base := range strings.SplitSeq(name, "/") {
		switch {
		case base == "":
			return fmt.Errorf("%w: empty component", ErrName)
		case base == "." || base == "..":
			return fmt.Errorf("%w: component %q", ErrName, base)
		case len(base) > MaxComponent:
			return fmt.Errorf("%w: a component of %d bytes, the limit is %d", ErrName, len(base), MaxComponent)
		}
	}
	return nil
}

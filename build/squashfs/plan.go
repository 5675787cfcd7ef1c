package squashfs

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// plan is what has to be known about a tree before its first byte is written.
type plan struct {
	tree    *tree.Tree
	of      map[*tree.Node]*inode
	list    []*inode // by number, from 1
	owners  owners
	xattrs  xattrs
	content int64         // bytes of all files
	sizes   map[int64]int // how many files have a size

	times, acls, foreign loss
}

// inode is what is known of a node.
type inode struct {
	node    *tree.Node
	name    string // the first of its names
	number  uint32
	xattr   uint32 // index in the table, or noXattr
	ref     ref    // where it stands in the inode table, once written is set
	written bool
	data    *fileData
}

// loss is a kind of thing that SquashFS cannot keep.
type loss struct {
	count int
	first string
}

func (l *loss) add(name string) {
	if l.count++; l.count == 1 {
		l.first = slashed(name)
	}
}

// examine walks the tree, refuses what does not fit and collects what will be lost.
func examine(t *tree.Tree) (*plan, error) {
	p := &plan{tree: t, of: map[*tree.Node]*inode{}, sizes: map[int64]int{}}
	for name, n := range t.Walk() {
		if p.of[n] != nil {
			continue
		}
		if err := p.add(name, n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) add(name string, n *tree.Node) error {
	if err := check(name, n); err != nil {
		return err
	}
	in := &inode{node: n, name: name, number: uint32(len(p.list) + 1)}
	if err := p.owners.add(name, n.UID, n.GID); err != nil {
		return err
	}
	if clampTime(n.ModTime) != n.ModTime.Unix() {
		p.times.add(name)
	}
	var err error
	if in.xattr, err = p.addXattrs(name, n.Xattrs); err != nil {
		return err
	}
	if n.Mode.IsRegular() {
		p.content += n.Size()
		p.sizes[n.Size()]++
	}
	p.of[n] = in
	p.list = append(p.list, in)
	return nil
}

func (p *plan) warn(to func(string)) {
	if to == nil {
		return
	}
	if l := p.acls; l.count > 0 {
		to(fmt.Sprintf("squashfs cannot hold POSIX ACLs; %d paths lose theirs, the first is %q", l.count, l.first))
	}
	if l := p.foreign; l.count > 0 {
		to(fmt.Sprintf("extended attributes that Linux has no namespace for are left out of %d paths, the first is %q", l.count, l.first))
	}
	if l := p.times; l.count > 0 {
		to(fmt.Sprintf("squashfs holds times from 1970-01-01 to 2106-02-07; the modification times of %d paths become the nearer of the two, the first is %q",
			l.count, l.first))
	}
}

const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// check refuses a node that no inode can describe.
func check(name string, n *tree.Node) error {
	limit := func(format string, args ...any) error { return &LimitError{name, fmt.Sprintf(format, args...)} }
	switch {
	case !slices.Contains(types, n.Mode.Type()):
		return limit("the file type %v does not exist on Linux", n.Mode.Type())
	case n.Mode.Type() == fs.ModeSymlink && (n.Target == "" || len(n.Target) > tree.MaxName):
		return limit("a symlink with a target of %d bytes, the limits are 1 and %d", len(n.Target), tree.MaxName)
	case n.Mode.Type() == fs.ModeSymlink && strings.IndexByte(n.Target, 0) >= 0:
		return limit("a symlink target with a NUL byte")
	case n.Mode&fs.ModeDevice != 0 && (n.Rdev.Major > maxMajor || n.Rdev.Minor > maxMinor):
		return limit("device number %d:%d, the limits are %d and %d", n.Rdev.Major, n.Rdev.Minor, maxMajor, maxMinor)
	case n.Size() < 0 || n.Size() > maxFileBytes:
		return limit("a file of %d bytes, the limit is %d", n.Size(), int64(maxFileBytes))
	}
	return nil
}

// maxFileBytes keeps the list of a file's blocks below 64 MiB.
const maxFileBytes = 1 << 41

// types are the file types of Linux.
var types = []fs.FileMode{
	0, fs.ModeDir, fs.ModeSymlink, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice, fs.ModeNamedPipe, fs.ModeSocket,
}

// clampTime is the nearest time that SquashFS can hold, in seconds since 1970. Parts
// of a second are cut off.
func clampTime(t time.Time) int64 { return min(max(t.Unix(), 0), math.MaxUint32) }

// owners is the table of users and groups: inodes have indexes into it.
type owners struct {
	list  []uint32
	index map[uint32]uint16
}

const maxOwners = 1<<16 - 1

func (o *owners) add(name string, ids ...uint32) error {
	if o.index == nil {
		o.index = map[uint32]uint16{}
	}
	for _, id := range ids {
		if _, ok := o.index[id]; ok {
			continue
		}
		if len(o.list) == maxOwners {
			return &LimitError{name, fmt.Sprintf("its owner %d is the %dth different user or group, the limit is %d", id, maxOwners+1, maxOwners)}
		}
		o.index[id] = uint16(len(o.list))
		o.list = append(o.list, id)
	}
	return nil
}

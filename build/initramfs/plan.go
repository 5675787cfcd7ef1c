package initramfs

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// plan is what has to be known about a tree before its first record is written. It
// remembers inodes of more than one name and nothing of the others.
type plan struct {
	linked  map[*tree.Node]*link
	entries int
	inodes  int64

	unpacked int64 // bytes of the archive before compression

	times, xattrs, capable loss
}

// link is an inode of several names.
type link struct {
	ino   int64
	names int64 // in the tree
	left  int64 // names that are still to be written
}

// loss is a kind of thing that newc cannot keep.
type loss struct {
	count int
	names []string // the first of them
}

const maxNamed = 20 // paths in one warning

func (l *loss) add(name string) {
	if l.count++; len(l.names) < maxNamed {
		l.names = append(l.names, slashed(name))
	}
}

func (l *loss) list() string {
	var s strings.Builder
	for i, name := range l.names {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "%q", name)
	}
	if more := l.count - len(l.names); more > 0 {
		fmt.Fprintf(&s, " and %d more", more)
	}
	return s.String()
}

// examine walks the tree, refuses what cannot be archived and collects what will
// be lost.
func examine(t *tree.Tree) (*plan, error) {
	p := &plan{linked: map[*tree.Node]*link{}}
	buf, err := (&header{name: trailer, nlink: 1}).append(nil)
	if err != nil {
		return nil, err
	}
	p.unpacked = int64(len(buf))
	for name, n := range t.Walk() {
		p.entries++
		again := p.linked[n] != nil
		if l := p.linked[n]; again {
			l.names, l.left = l.names+1, l.left+1
		} else {
			p.inodes++
			if n.Links() > 1 {
				p.linked[n] = &link{ino: p.inodes, names: 1, left: 1}
			}
			p.note(name, n)
		}
		if err := check(name, n); err != nil {
			return nil, err
		}
		h := describe(name, n)
		h.ino = p.inodes
		if c := content(n); c != nil {
			h.filesize = c.Size()
		}
		if buf, err = h.append(buf[:0]); err != nil {
			return nil, err
		}
		p.unpacked += int64(len(buf))
		if !again || !n.Mode.IsRegular() {
			p.unpacked += h.filesize + int64(len(padding(h.filesize)))
		}
	}
	return p, nil
}

// note collects what of an inode newc cannot keep.
func (p *plan) note(name string, n *tree.Node) {
	if clampTime(n.ModTime) != n.ModTime.Unix() {
		p.times.add(name)
	}
	others := len(n.Xattrs)
	if _, ok := n.Xattrs["security.capability"]; ok {
		p.capable.add(name)
		others--
	}
	if others > 0 {
		p.xattrs.add(name)
	}
}

func (p *plan) warn(to func(string)) {
	if to == nil {
		return
	}
	if l := p.capable; l.count > 0 {
		to(fmt.Sprintf("an initramfs cannot hold file capabilities; these %d programs will run without them: %s", l.count, l.list()))
	}
	if l := p.xattrs; l.count > 0 {
		to(fmt.Sprintf("an initramfs cannot hold extended attributes; %d paths lose theirs, the first is %q", l.count, l.names[0]))
	}
	if l := p.times; l.count > 0 {
		to(fmt.Sprintf("an initramfs holds times from 1970-01-01 to 2106-02-07; the modification times of %d paths become the nearer of the two, the first is %q",
			l.count, l.names[0]))
	}
}

// check refuses what no field says and still would be lost, or change its meaning.
func check(name string, n *tree.Node) error {
	problem := ""
	switch {
	case name == trailer:
		problem = "the name ends every archive"
	case n.Mode.Type() == fs.ModeSymlink && n.Target == "":
		problem = "a symlink without a target"
	case n.Mode.Type() == fs.ModeSymlink && len(n.Target) > maxTarget:
		return &FieldError{name, "c_filesize of a symlink", int64(len(n.Target)), maxTarget}
	case n.Mode.Type() == fs.ModeSymlink && strings.IndexByte(n.Target, 0) >= 0:
		problem = "a symlink target with a NUL byte"
	case !slices.Contains(types, n.Mode.Type()):
		problem = fmt.Sprintf("the file type %v does not exist on Linux", n.Mode.Type())
	default:
		return nil
	}
	return fmt.Errorf("an initramfs cannot hold %q: %s", slashed(name), problem)
}

// types are the file types of Linux.
var types = []fs.FileMode{
	0, fs.ModeDir, fs.ModeSymlink, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice, fs.ModeNamedPipe, fs.ModeSocket,
}

// describe fills in the fields that depend on the node alone.
func describe(name string, n *tree.Node) header {
	h := header{
		name: name, mode: int64(tree.UnixMode(n.Mode)), uid: int64(n.UID), gid: int64(n.GID),
		nlink: 1, mtime: clampTime(n.ModTime),
	}
	switch {
	case n.Mode.IsDir():
		h.nlink = 2
		for _, c := range n.Children() {
			if c.Mode.IsDir() {
				h.nlink++
			}
		}
	case n.Mode&fs.ModeDevice != 0:
		h.rdevMajor, h.rdevMinor = int64(n.Rdev.Major), int64(n.Rdev.Minor)
	}
	return h
}

// clampTime is the nearest time that newc can hold, in seconds since 1970. Parts of
// a second are cut off.
func clampTime(t time.Time) int64 { return min(max(t.Unix(), 0), math.MaxUint32) }

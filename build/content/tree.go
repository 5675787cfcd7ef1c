package content

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/tree"
)

// named is a name of a node.
type named struct {
	name string
	node *tree.Node
}

// OfTree is the digest of an artifact of a format ("ext4", "squashfs", "xfs", "btrfs",
// "cpio", "cpio.gz" …) that a tree has become or will become: without the attributes that
// the format cannot hold.
func OfTree(ctx context.Context, t *tree.Tree, format string) (string, error) {
	return Digest(ctx, treeEntries(t, format), Options{})
}

func treeEntries(t *tree.Tree, format string) iter.Seq[Entry] {
	var list []named
	for name, n := range t.Walk() {
		list = append(list, named{name, n})
	}
	slices.SortFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
	first := map[*tree.Node]string{}
	for _, x := range list {
		if _, ok := first[x.node]; !ok && x.node.Links() > 1 {
			first[x.node] = x.name
		}
	}
	return func(yield func(Entry) bool) {
		for _, x := range list {
			e := nodeEntry(x.name, x.node)
			e.LinkOf, e.Xattrs = first[x.node], kept(format, e.Xattrs)
			if !yield(e) {
				return
			}
		}
	}
}

func nodeEntry(name string, n *tree.Node) Entry {
	e := Entry{
		Name: name, Type: treeTypes[n.Mode.Type()], Mode: tree.UnixMode(n.Mode) & 0o7777, UID: n.UID, GID: n.GID, Mtime: n.ModTime,
		Xattrs: n.Xattrs, Target: n.Target, Major: n.Rdev.Major, Minor: n.Rdev.Minor,
	}
	if e.Type == File && n.Content != nil {
		e.Size = n.Content.Size()
		e.Open = func() (io.ReadCloser, error) { return n.Content.Open() }
	}
	return e
}

var treeTypes = map[fs.FileMode]Type{
	0: File, fs.ModeDir: Dir, fs.ModeSymlink: Symlink, fs.ModeDevice: Block, fs.ModeDevice | fs.ModeCharDevice: Char,
	fs.ModeNamedPipe: FIFO, fs.ModeSocket: Socket,
}

// kept is what of attributes a format can hold. Its writer warns of the others.
func kept(format string, all map[string]string) map[string]string {
	switch {
	case strings.HasPrefix(format, "cpio"):
		return nil
	case format != "squashfs":
		return all
	}
	rest := map[string]string{}
	for name, value := range all {
		if !isACL(name) {
			rest[name] = value
		}
	}
	return rest
}

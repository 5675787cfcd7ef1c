package layer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// replay applies the metadata of all layers, bottom first.
func (f *flattener) replay(ctx context.Context, epoch time.Time) (*tree.Tree, error) {
	r := &replayer{tree: tree.New(), implied: tree.Node{Mode: 0o755, ModTime: epoch}, count: f.count}
	r.tree.Root().ModTime = epoch
	for i, entries := range f.parsed {
		r.touched, r.purged = map[string]bool{}, map[string]bool{}
		r.bottom = i == 0
		r.whiteouts = i > 0 && slices.ContainsFunc(entries, entry.isWhiteout)
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := r.apply(e); err != nil {
				return nil, fmt.Errorf("applying layer %s: entry %s: %w", f.layers[i].Digest, quoted(e.name), err)
			}
		}
	}
	return r.tree, nil
}

type replayer struct {
	tree    *tree.Tree
	implied tree.Node // what a directory is like that no entry describes
	// touched is the names that the current layer made, changed or put something
	// into, if it has whiteouts. Those pass them by: they hide the layers below only.
	touched   map[string]bool
	whiteouts bool // the current layer has some that matter
	bottom    bool // nothing is below the current layer: whiteouts are checked and hide nothing
	// purged is the directories of which the current layer has already taken away
	// all that the layers below have there. Without it a thousand opaque whiteouts
	// would look a thousand times at everything.
	purged map[string]bool
	count  func(entries int, metadata int64) error // against the limits
}

func (r *replayer) apply(e entry) error {
	switch e.kind {
	case kindWhiteout:
		return r.whiteout(e.name)
	case kindOpaque:
		return r.opaque(e.name)
	case kindHardLink:
		return r.hardLink(e)
	}
	if e.name == "." {
		setMetadata(r.tree.Root(), e.node)
		return nil
	}
	name, old, err := r.place(e.name)
	if err != nil {
		return err
	}
	if old != nil && old.Mode.IsDir() && e.node.Mode.IsDir() {
		setMetadata(old, e.node)
		return nil
	}
	return r.tree.Put(name, e.node)
}

// setMetadata gives a directory the metadata of an entry; its names stay.
func setMetadata(dir, from *tree.Node) {
	dir.Mode, dir.UID, dir.GID, dir.ModTime, dir.Xattrs = from.Mode, from.UID, from.GID, from.ModTime, from.Xattrs
}

// place finds where an entry goes, through the links of its parents, and makes
// parents that are missing. old is what has the name now, or nil.
func (r *replayer) place(name string) (resolved string, old *tree.Node, err error) {
	dir, base := split(name)
	if dir, err = r.tree.Resolve(dir, true); err != nil {
		return "", nil, err
	}
	resolved = join(dir, base)
	// What a name costs more than its entry says: links lengthen it, parents may be
	// missing.
	if err := r.count(r.missing(dir), int64(max(0, len(resolved)-len(name)))); err != nil {
		return "", nil, err
	}
	if err := r.tree.MkdirAll(dir, r.implied); err != nil {
		return "", nil, err
	}
	parent, err := r.tree.Lookup(dir)
	if err != nil {
		return "", nil, err
	}
	r.touch(resolved)
	return resolved, parent.Child(base), nil
}

// missing is how many directories MkdirAll would make for dir.
func (r *replayer) missing(dir string) (n int) {
	if dir == "." {
		return 0
	}
	at := r.tree.Root()
	for base := range strings.SplitSeq(dir, "/") {
		if at != nil {
			at = at.Child(base)
		}
		if at == nil {
			n++
		}
	}
	return n
}

// touch marks a name and its parents.
func (r *replayer) touch(name string) {
	for r.whiteouts && name != "." && !r.touched[name] {
		r.touched[name] = true
		name, _ = split(name)
	}
}

func (r *replayer) hardLink(e entry) error {
	dir, base := split(e.link)
	dir, err := r.tree.Resolve(dir, true)
	if err != nil {
		return fmt.Errorf("hard link target %s: %w", quoted(e.link), err)
	}
	target, err := r.tree.Lookup(join(dir, base))
	if err != nil {
		return fmt.Errorf("hard link target: %w", err)
	}
	if target.Mode.IsDir() {
		return fmt.Errorf("hard link target %s: it is a directory", quoted(e.link))
	}
	name, _, err := r.place(e.name)
	if err != nil {
		return err
	}
	return r.tree.Put(name, target)
}

// whiteout removes what the layers below have under a name.
func (r *replayer) whiteout(name string) error {
	dir, base := split(name)
	parent, dir, err := r.lookupDir(dir)
	if parent == nil || err != nil || parent.Child(base) == nil || r.bottom {
		return err
	}
	return r.remove(join(dir, base), parent.Child(base))
}

// remove takes away a name of the layers below. Of a directory those names stay
// that the current layer has put there, and their parents.
func (r *replayer) remove(name string, n *tree.Node) error {
	if n.Mode.IsDir() {
		if err := r.purge(name, n); err != nil {
			return err
		}
	}
	if r.touched[name] {
		return nil
	}
	return r.tree.Remove(name)
}

func (r *replayer) opaque(name string) error {
	n, name, err := r.lookupDir(name)
	if n == nil || err != nil || r.bottom {
		return err
	}
	return r.purge(name, n)
}

// lookupDir follows a directory's name through links. It returns nil, and no
// error, where there is no such directory: there is nothing to remove then.
func (r *replayer) lookupDir(name string) (*tree.Node, string, error) {
	resolved, err := r.tree.Resolve(name, true)
	if errors.Is(err, tree.ErrNotDir) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	n, err := r.tree.Lookup(resolved)
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrNotDir) || err == nil && !n.Mode.IsDir() {
		return nil, "", nil
	}
	return n, resolved, err
}

// purge takes away everything in a directory that the layers below have there.
func (r *replayer) purge(dir string, n *tree.Node) error {
	if r.purged[dir] {
		return nil
	}
	for base, child := range n.Children() {
		if err := r.remove(join(dir, base), child); err != nil {
			return err
		}
	}
	if dir == "." || r.touched[dir] {
		r.purged[dir] = true
	}
	return nil
}

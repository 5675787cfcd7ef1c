package tree

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Resolve returns the name that name leads to when symbolic links are followed
// as a process whose root is the tree would follow them. Every component but the
// last is followed; the last one too when follow is true.
//
// The result holds no symbolic link in its parents, so it can be given to
// Lookup, Put, Remove and MkdirAll. What does not exist is not an error: the
// rest of the name is kept as it is ("usr/bin/new" for "bin/new" where bin is a
// link to usr/bin). A component that exists and is not a directory but has to be
// one is ErrNotDir.
//
// Unlike other methods Resolve takes names as users write them: a leading
// slash, "." and ".." are allowed, and ".." never leaves the root.
func (t *Tree) Resolve(name string, follow bool) (string, error) {
	r := resolver{tree: t, rest: name}
	if err := r.run(follow); err != nil {
		return "", fmt.Errorf("resolving %q: %w", name, err)
	}
	return r.name(), nil
}

// resolver walks one name. dirs[i] is the node of done[i], nil where nothing
// exists; links followed are counted over the whole walk.
type resolver struct {
	tree   *Tree
	rest   string // what is still to be walked
	done   []string
	dirs   []*Node
	links  int
	walked int // bytes of the targets followed
}

// maxWalked bounds the work of one Resolve, in bytes of link targets. Chains of
// long targets are nothing that an image needs, and cost much to follow.
const maxWalked = 4 * MaxName

func (r *resolver) name() string {
	if len(r.done) == 0 {
		return "."
	}
	return strings.Join(r.done, "/")
}

// here is the node reached so far, nil when it does not exist.
func (r *resolver) here() *Node {
	if len(r.dirs) == 0 {
		return r.tree.root
	}
	return r.dirs[len(r.dirs)-1]
}

func (r *resolver) run(follow bool) error {
	for r.rest != "" {
		base, rest, _ := strings.Cut(r.rest, "/")
		r.rest = rest
		if err := r.step(base, follow || strings.Trim(rest, "/") != ""); err != nil {
			return err
		}
		if len(r.rest)+len(r.done) > 2*MaxName {
			return fmt.Errorf("%w: longer than %d bytes", ErrName, MaxName)
		}
	}
	return CheckName(r.name())
}

func (r *resolver) step(base string, follow bool) error {
	if base == "" {
		return nil
	}
	dir := r.here()
	if dir != nil && !dir.Mode.IsDir() {
		return fmt.Errorf("%q: %w", r.name(), ErrNotDir)
	}
	switch base {
	case ".":
		return nil
	case "..":
		if n := len(r.done); n > 0 {
			r.done, r.dirs = r.done[:n-1], r.dirs[:n-1]
		}
		return nil
	}
	var next *Node
	if dir != nil {
		next = dir.children[base]
	}
	if next == nil || next.Mode&fs.ModeSymlink == 0 || !follow {
		r.done, r.dirs = append(r.done, base), append(r.dirs, next)
		return nil
	}
	r.walked += len(next.Target)
	if r.links++; r.links > MaxSymlinks || r.walked > maxWalked {
		return fmt.Errorf("%q: %w", path.Join(r.name(), base), ErrLoop)
	}
	if strings.HasPrefix(next.Target, "/") {
		r.done, r.dirs = nil, nil
	}
	r.rest = next.Target + "/" + r.rest
	return nil
}

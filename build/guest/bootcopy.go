package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
)

// bootDir is where Volant copies its own agent to at every boot.
const bootDir = "usr/local/bin"

// CheckBootCopy says what keeps Volant from booting the tree, nil for nothing.
//
// At boot, while the tree is mounted somewhere below the initramfs and is not
// yet the root, Volant's agent writes itself to usr/local/bin/kestrel.tmp in it
// and renames that to kestrel. It makes directories that are missing. But at
// that moment an absolute link, or one that climbs above the tree's root, leads
// into the initramfs, and a link to nothing is in the way of a directory.
func CheckBootCopy(t *tree.Tree) error {
	c := bootCheck{tree: t}
	dir, err := c.walk(".", bootDir)
	if err == nil {
		err = c.names(dir)
	}
	if err != nil {
		return fmt.Errorf("checking /%s, where Volant copies its agent to at boot: %w", bootDir, err)
	}
	return nil
}

type bootCheck struct {
	tree  *tree.Tree
	links int // followed so far
	depth int // of links whose targets are being walked
}

// walk takes name, which is relative to the directory dir, one component at a
// time. What it returns is a directory or does not exist.
func (c *bootCheck) walk(dir, name string) (string, error) {
	for base := range strings.SplitSeq(name, "/") {
		switch base {
		case "", ".":
			continue
		case "..":
			if dir == "." {
				return "", errors.New("a symbolic link climbs above the image's root")
			}
			dir = path.Dir(dir)
			continue
		}
		at := path.Join(dir, base)
		n, err := c.tree.Lookup(at)
		switch {
		case errors.Is(err, tree.ErrNotExist) && c.depth > 0:
			return "", fmt.Errorf("a symbolic link leads to %q, which the image does not have", "/"+at)
		case errors.Is(err, tree.ErrNotExist):
			dir = at
		case err != nil:
			return "", err
		case n.Mode&fs.ModeSymlink != 0:
			if dir, err = c.enter(dir, at, n.Target); err != nil {
				return "", err
			}
		case !n.Mode.IsDir():
			return "", fmt.Errorf("the image has a %s at %q", hostfile.Kind(n.Mode), "/"+at)
		default:
			dir = at
		}
	}
	return dir, nil
}

// enter follows the link at in the directory dir.
func (c *bootCheck) enter(dir, at, target string) (string, error) {
	if strings.HasPrefix(target, "/") {
		return "", fmt.Errorf("%q is a symbolic link to %q, and an absolute link leads out of the image at that moment; make it relative", "/"+at, target)
	}
	if c.links++; c.links > tree.MaxSymlinks {
		return "", tree.ErrLoop
	}
	c.depth++
	defer func() { c.depth-- }()
	to, err := c.walk(dir, target)
	if err != nil {
		return "", fmt.Errorf("%q is a symbolic link to %q: %w", "/"+at, target, err)
	}
	return to, nil
}

// names looks at what is written to and what is renamed over.
func (c *bootCheck) names(dir string) error {
	n, err := c.tree.Lookup(dir)
	if err != nil {
		return nil // it is made at boot, empty
	}
	if old := n.Child("kestrel"); old != nil && old.Mode.IsDir() {
		return fmt.Errorf("the image has a directory at %q", "/"+path.Join(dir, "kestrel"))
	}
	if old := n.Child("kestrel.tmp"); old != nil && !old.Mode.IsRegular() {
		return fmt.Errorf("the image has a %s at %q", hostfile.Kind(old.Mode), "/"+path.Join(dir, "kestrel.tmp"))
	}
	return nil
}

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
)

// Installed says what Install did.
type Installed struct {
	Path     string       // where the agent is in the tree, such as "usr/bin/kestrel"; "" for no agent
	Replaced tree.Content // of a file that was there and that no name leads to any more; or nil
	Warnings []string
}

// Install puts the agent at /bin/kestrel: mode 0755, owner 0:0, the given time.
// A link /bin is followed inside the tree, as the guest will follow it; a missing
// /bin is made. What has the agent's name already is replaced, with a warning,
// unless it is a directory. For no agent it does nothing. On an error the tree is
// as it was.
func Install(t *tree.Tree, a Agent, modTime time.Time) (Installed, error) {
	if a.Content == nil {
		return Installed{}, nil
	}
	bin, err := binDir(t)
	if err != nil {
		return Installed{}, fmt.Errorf("installing agent: %w", err)
	}
	in := Installed{Path: path.Join(bin, "kestrel")}
	old, err := t.Lookup(in.Path)
	switch {
	case err != nil && !errors.Is(err, tree.ErrNotExist):
		return Installed{}, fmt.Errorf("installing agent: %w", err)
	case old != nil && old.Mode.IsDir():
		return Installed{}, fmt.Errorf("installing agent: the image has a directory at %q", "/"+in.Path)
	case old != nil:
		in.Warnings = append(in.Warnings, fmt.Sprintf("the image's own %q, a %s, gave way to the agent", "/"+in.Path, hostfile.Kind(old.Mode)))
	}
	if err := t.MkdirAll(bin, tree.Node{Mode: fs.ModeDir | 0o755, ModTime: modTime}); err != nil {
		return Installed{}, fmt.Errorf("installing agent: %w", err)
	}
	if err := t.Put(in.Path, &tree.Node{Mode: 0o755, ModTime: modTime, Content: a.Content}); err != nil {
		return Installed{}, fmt.Errorf("installing agent: %w", err)
	}
	if old != nil && old.Links() == 0 {
		in.Replaced = old.Content
	}
	return in, nil
}

// binDir is the directory that /bin leads to in the tree: one that exists, or
// "bin" itself when there is none.
func binDir(t *tree.Tree) (string, error) {
	bin, err := t.Resolve("bin", true)
	if err != nil {
		return "", err
	}
	n, err := t.Lookup(bin)
	switch {
	case errors.Is(err, tree.ErrNotExist) && bin == "bin":
		return bin, nil
	case errors.Is(err, tree.ErrNotExist):
		return "", fmt.Errorf("the image's /bin is a symbolic link to %q, which it does not have", "/"+bin)
	case err != nil:
		return "", err
	case !n.Mode.IsDir():
		return "", fmt.Errorf("the image's %q is a %s, not a directory", "/"+bin, hostfile.Kind(n.Mode))
	}
	return bin, nil
}

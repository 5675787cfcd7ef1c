package guest

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// Places in the artifact: what the kernel starts, what that starts, and the programs of
// an initramfs.
const (
	InitPath    = "/init"
	AgentPath   = "/bin/kestrel"
	BusyboxPath = "/bin/busybox"
)

// MaxInit is the largest init of a project accepted, in bytes.
const MaxInit = MaxAgent

// File is a file of the project that was read once.
type File struct {
	Digest  string // "sha256:" and hex
	URI     string // relative to the project folder
	Content tree.Content
}

// ReadInit reads a project's own init. Content yields the same bytes or fails;
// root must stay open until then.
func ReadInit(ctx context.Context, root *os.Root, name string) (File, error) {
	f, err := readProject(ctx, root, name, MaxInit)
	if err != nil {
		return File{}, fmt.Errorf("reading init: %w", err)
	}
	return f, nil
}

// InstallInit binds an init to a path of the tree: mode 0755, owner 0:0, the given
// time. What has the name already is replaced, with a warning.
func InstallInit(t *tree.Tree, name string, content tree.Content, modTime time.Time) (warning string, err error) {
	at, err := t.Resolve(name, false)
	if err != nil {
		return "", fmt.Errorf("installing init: %w", err)
	}
	old, err := t.Lookup(at)
	switch {
	case err == nil && old.Mode.IsDir():
		return "", fmt.Errorf("installing init: the image has a directory at %q", "/"+at)
	case err == nil:
		warning = fmt.Sprintf("the image's own %q gave way to the init", "/"+at)
	}
	if err := t.MkdirAll(path.Dir(at), tree.Node{Mode: fs.ModeDir | 0o755, ModTime: modTime}); err != nil {
		return "", fmt.Errorf("installing init: %w", err)
	}
	if err := t.Put(at, &tree.Node{Mode: 0o755, ModTime: modTime, Content: content}); err != nil {
		return "", fmt.Errorf("installing init: %w", err)
	}
	return warning, nil
}

// uriOf shows a path of the project as a relative reference.
func uriOf(name string) string { return (&url.URL{Path: name}).String() }

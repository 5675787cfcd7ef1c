package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// skeleton is what every initramfs has, parents before children: the folders of
// the Filesystem Hierarchy Standard that programs rely on, the two devices that a
// kernel and a program need before /dev is mounted, and the least of /etc.
// https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html
var skeleton = []struct {
	name   string
	mode   fs.FileMode
	rdev   tree.Rdev
	target string
	text   string
}{
	{name: "bin", mode: fs.ModeDir | 0o755},
	{name: "dev", mode: fs.ModeDir | 0o755},
	// The kernel opens /dev/console for PID 1 before PID 1 can mount anything.
	{name: "dev/console", mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, rdev: tree.Rdev{Major: 5, Minor: 1}},
	{name: "dev/null", mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, rdev: tree.Rdev{Major: 1, Minor: 3}},
	{name: "etc", mode: fs.ModeDir | 0o755},
	{name: "etc/group", mode: 0o644, text: "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
	{name: "etc/hosts", mode: 0o644, text: "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
	{name: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
	// The kernel writes the name servers there that it was given with ip= or got by
	// DHCP, in resolv.conf's own form. Volant names none, and then this is as
	// good as an empty file.
	{name: "etc/resolv.conf", mode: fs.ModeSymlink | 0o777, target: "/proc/net/pnp"},
	{name: "home", mode: fs.ModeDir | 0o755},
	{name: "lib", mode: fs.ModeDir | 0o755},
	{name: "mnt", mode: fs.ModeDir | 0o755},
	{name: "opt", mode: fs.ModeDir | 0o755},
	{name: "proc", mode: fs.ModeDir | 0o555},
	{name: "root", mode: fs.ModeDir | 0o700},
	{name: "run", mode: fs.ModeDir | 0o755},
	{name: "sbin", mode: fs.ModeDir | 0o755},
	{name: "srv", mode: fs.ModeDir | 0o755},
	{name: "sys", mode: fs.ModeDir | 0o555},
	{name: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
	{name: "usr", mode: fs.ModeDir | 0o755},
	{name: "usr/bin", mode: fs.ModeDir | 0o755},
	{name: "usr/lib", mode: fs.ModeDir | 0o755},
	{name: "usr/local", mode: fs.ModeDir | 0o755},
	{name: "usr/local/bin", mode: fs.ModeDir | 0o755},
	{name: "usr/sbin", mode: fs.ModeDir | 0o755},
	{name: "usr/share", mode: fs.ModeDir | 0o755},
	{name: "var", mode: fs.ModeDir | 0o755},
	{name: "var/cache", mode: fs.ModeDir | 0o755},
	{name: "var/lib", mode: fs.ModeDir | 0o755},
	{name: "var/log", mode: fs.ModeDir | 0o755},
	{name: "var/run", mode: fs.ModeSymlink | 0o777, target: "/run"},
	{name: "var/tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
}

// Skeleton adds to a tree what an initramfs needs and the tree lacks. What is
// there, of an image, stays as it is; of an image's links to folders the target
// is taken. Only a plain file in the place of a device gives way: exported
// containers have such files, and process 1 would have no console.
func Skeleton(t *tree.Tree, modTime time.Time) error {
	for _, s := range skeleton {
		n := &tree.Node{Mode: s.mode, ModTime: modTime, Rdev: s.rdev, Target: s.target}
		if s.text != "" {
			n.Content = tree.Bytes(s.text)
		}
		if err := addMissing(t, s.name, n); err != nil {
			return fmt.Errorf("adding %q: %w", "/"+s.name, err)
		}
	}
	return nil
}

// addMissing binds name to n unless something has the name. It follows the links
// of an image in its parents.
func addMissing(t *tree.Tree, name string, n *tree.Node) error {
	dir, err := t.Resolve(path.Dir(name), true)
	if err != nil {
		return err
	}
	parent, err := t.Lookup(dir)
	switch {
	case errors.Is(err, tree.ErrNotExist):
		// A link of the image that leads to nothing yet.
		if err := t.MkdirAll(dir, tree.Node{Mode: fs.ModeDir | 0o755, ModTime: n.ModTime}); err != nil {
			return err
		}
	case err != nil:
		return err
	case !parent.Mode.IsDir():
		return fmt.Errorf("the image's %q is no directory", "/"+dir)
	}
	name = path.Join(dir, path.Base(name))
	if old, err := t.Lookup(name); err == nil && (n.Mode&fs.ModeDevice == 0 || !old.Mode.IsRegular()) {
		return nil
	}
	return t.Put(name, n)
}

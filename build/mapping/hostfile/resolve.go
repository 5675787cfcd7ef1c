package hostfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// MaxSymlinks is how many links one name may lead through, as on Linux.
const MaxSymlinks = 40

// MaxPath is the longest path accepted, in bytes, as on Linux.
const MaxPath = 4095

// ErrLoop is a chain of more than MaxSymlinks links.
var ErrLoop = errors.New("too many levels of symbolic links")

// A LeaveError is a symbolic link that leads out of the project folder.
type LeaveError struct {
	Link   string // below the project folder
	Target string // as the link has it
}

func (e *LeaveError) Error() string {
	return fmt.Sprintf("symbolic link %q leads to %q, which is outside the project folder; copy what it leads to into the project", e.Link, e.Target)
}

// Clean checks a path as a user wrote it, relative to the project folder, and
// returns it cleaned as package path does it: "a/../b" is "b" whatever "a" is.
func Clean(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("the path is empty")
	case strings.HasPrefix(name, "/"):
		return "", errors.New("the path is absolute; it must be relative to the folder of fledge.toml")
	case len(name) > MaxPath:
		return "", fmt.Errorf("the path has %d bytes, the limit is %d", len(name), MaxPath)
	case strings.IndexByte(name, 0) >= 0:
		return "", errors.New("the path holds a NUL byte")
	}
	name = path.Clean(name)
	if name == ".." || strings.HasPrefix(name, "../") {
		return "", errors.New("the path leads out of the project folder, which is that of fledge.toml")
	}
	return name, nil
}

// Resolve follows all symbolic links of name, the last component's too, and
// returns the path they lead to, which holds none. What does not exist is kept
// as written. A link with an absolute target leaves the folder even where the
// target happens to lie in it: on the next machine it would not.
func Resolve(root *os.Root, name string) (string, error) {
	r := resolver{root: root}
	if err := r.walk(name); err != nil {
		return "", err
	}
	return r.name(), nil
}

// ResolveLink reports where the symbolic link at name leads: Resolve for a
// caller that has read target already.
func ResolveLink(root *os.Root, name, target string) (string, error) {
	if strings.HasPrefix(target, "/") {
		return "", &LeaveError{Link: name, Target: target}
	}
	r := resolver{root: root, links: 1, link: name, target: target}
	if dir := path.Dir(name); dir != "." {
		r.done = strings.Split(dir, "/")
	}
	if err := r.walk(target); err != nil {
		return "", err
	}
	return r.name(), nil
}

type resolver struct {
	root         *os.Root
	done         []string
	missing      int // how much of done exists if not all of it does, and 1; else 0
	links        int
	link, target string // the link being followed, "" before the first
}

func (r *resolver) name() string {
	if len(r.done) == 0 {
		return "."
	}
	return strings.Join(r.done, "/")
}

func (r *resolver) walk(rest string) error {
	for rest != "" {
		base, more, _ := strings.Cut(rest, "/")
		target, err := r.step(base)
		if err != nil {
			return err
		}
		rest = more
		if target != "" {
			rest = target + "/" + more
		}
	}
	return nil
}

// step takes one component and returns the target if it is a link.
func (r *resolver) step(base string) (target string, err error) {
	switch base {
	case "", ".":
		return "", nil
	case "..":
		if len(r.done) == 0 {
			return "", r.leave()
		}
		r.done = r.done[:len(r.done)-1]
		if len(r.done) < r.missing {
			r.missing = 0
		}
		return "", nil
	}
	if r.missing > 0 { // nothing is below what does not exist
		r.done = append(r.done, base)
		return "", nil
	}
	at := path.Join(r.name(), base)
	info, err := r.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		r.done = append(r.done, base)
		r.missing = len(r.done)
		return "", nil
	case err != nil:
		return "", fmt.Errorf("resolving %q: %w", at, Cause(err))
	case info.Mode()&fs.ModeSymlink == 0:
		r.done = append(r.done, base)
		return "", nil
	}
	if target, err = r.root.Readlink(at); err != nil {
		return "", fmt.Errorf("reading link %q: %w", at, Cause(err))
	}
	if strings.HasPrefix(target, "/") {
		return "", &LeaveError{Link: at, Target: target}
	}
	if r.links++; r.links > MaxSymlinks {
		return "", fmt.Errorf("resolving %q: %w, the limit is %d", at, ErrLoop, MaxSymlinks)
	}
	r.link, r.target = at, target
	return target, nil
}

// leave is the error for a ".." above the project folder: the last link
// followed, or the name itself when there was none.
func (r *resolver) leave() error {
	if r.link == "" {
		return errors.New("the path leads out of the project folder")
	}
	return &LeaveError{Link: r.link, Target: r.target}
}

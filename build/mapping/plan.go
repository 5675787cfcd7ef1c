package mapping

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
)

// entry is one name to be made in the tree.
type entry struct {
	source  string // below the project folder, as reached from the mapping
	at      string // below the project folder, without links
	asked   string // the destination as written, cleaned, without a leading slash
	name    string // the destination in the tree, no link in its parents
	mode    fs.FileMode
	target  string         // links
	file    *hostfile.File // regular files, and the rest too
	content tree.Content
	sum     [sha256.Size]byte
	mapping Mapping
}

// claim is what a name of the tree is wanted for.
type claim struct {
	source string
	dir    bool
}

// planner turns mappings into entries. It reads the project folder and the tree
// and changes neither.
type planner struct {
	ctx    context.Context // lives as long as one call of Apply
	tree   *tree.Tree
	root   *os.Root
	limits Limits
	skip   map[string]bool

	skipPrefixes []string
	programs     []string
	reserved     map[string]string // why not, by name in the tree

	entries      []entry
	claims       map[string]claim // by name in the tree
	seen         int              // names read below sources
	bytes        int64
	replacedLink bool // a link of the image is replaced
	noted        []noted
	repeated     map[repeat]int // see warnOnce
}

// add plans one mapping.
func (p *planner) add(m Mapping) error {
	source, err := hostfile.Clean(m.Source)
	if err != nil {
		return fmt.Errorf("checking source: %w", err)
	}
	asked, into, err := cleanDest(m.Dest)
	if err != nil {
		return err
	}
	at, err := hostfile.Resolve(p.root, source)
	if err != nil {
		return fmt.Errorf("reading source: %w", err)
	}
	info, err := p.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading source: %w; sources are relative to the folder of fledge.toml", fs.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("reading source: %w", hostfile.Cause(err))
	}
	if err := p.count(source); err != nil {
		return err
	}
	e := entry{source: source, asked: asked, mapping: m}
	switch {
	case info.IsDir():
		return p.addDir(e, at, 1)
	case strings.HasSuffix(m.Source, "/"):
		return fmt.Errorf("reading source: it ends in a slash but is a %s", hostfile.Kind(info.Mode()))
	}
	if e.asked, err = p.fileDest(asked, into, path.Base(source)); err != nil {
		return err
	}
	if e.name, err = p.tree.Resolve(e.asked, false); err != nil {
		return err
	}
	return p.addFile(e, at, info)
}

// cleanDest checks the right side of a mapping and returns it without its leading
// slash, and whether it says that it is a directory.
func cleanDest(dest string) (asked string, dir bool, err error) {
	if !strings.HasPrefix(dest, "/") {
		return "", false, errors.New("checking destination: it must be absolute: begin it with a slash")
	}
	if slices.Contains(strings.Split(dest, "/"), "..") {
		return "", false, errors.New(`checking destination: ".." is not allowed; write the path it stands for`)
	}
	asked = strings.TrimPrefix(path.Clean(dest), "/")
	if asked == "" {
		asked = "."
	}
	if err := tree.CheckName(asked); err != nil {
		return "", false, fmt.Errorf("checking destination: %w", err)
	}
	return asked, strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/."), nil
}

// fileDest is where a source that is a file goes: into the destination when that
// is a directory or says that it is one, to the destination itself otherwise.
func (p *planner) fileDest(asked string, into bool, base string) (string, error) {
	name, err := p.tree.Resolve(asked, true)
	switch {
	case err != nil && !into:
		return asked, nil // a link that leads nowhere is replaced like any other
	case err != nil:
		return "", err
	}
	n, err := p.tree.Lookup(name)
	switch {
	case errors.Is(err, tree.ErrNotExist):
	case err != nil:
		return "", err
	case n.Mode.IsDir():
		into = true
	case into:
		return "", fmt.Errorf("checking destination: it ends in a slash but the image has a %s at %q", hostfile.Kind(n.Mode), "/"+name)
	}
	if into {
		return path.Join(asked, base), nil
	}
	return asked, nil
}

// addFile plans a name that is no directory. at is where the source is found
// below the project folder.
func (p *planner) addFile(e entry, at string, info fs.FileInfo) error {
	file, err := hostfile.FromInfo(p.root, at, info)
	if err != nil {
		return fmt.Errorf("%w, which cannot be mapped", err)
	}
	if file.Size() > p.limits.Bytes-p.bytes {
		return fmt.Errorf("adding %q: the mapped files have more than %d bytes", e.source, p.limits.Bytes)
	}
	p.bytes += file.Size()
	e.at, e.file, e.mode = at, file, filePerm(e.asked, e.name, p.programs)
	return p.addLeaf(e)
}

// addLink plans a link found in a mapped directory.
func (p *planner) addLink(e entry, at string) error {
	target, err := p.root.Readlink(at)
	if err != nil {
		return fmt.Errorf("reading link %q: %w", e.source, hostfile.Cause(err))
	}
	// A circle stays inside the project: it is kept, and reported as leading nowhere.
	if _, err := hostfile.ResolveLink(p.root, at, target); err != nil && !errors.Is(err, hostfile.ErrLoop) {
		return err
	}
	e.at, e.target, e.mode = at, target, fs.ModeSymlink|0o777
	return p.addLeaf(e)
}

// reserve keeps a name, and what it leads to in the tree, from every mapping.
func (p *planner) reserve(name, why string) {
	p.reserved[name] = why
	if at, err := p.tree.Resolve(name, false); err == nil {
		p.reserved[at] = why
	}
}

// addLeaf plans e, a file or link, at e.name, whose parents hold no link.
func (p *planner) addLeaf(e entry) error {
	if err := tree.CheckName(e.name); err != nil {
		return err
	}
	old, err := p.tree.Lookup(e.name)
	switch {
	case errors.Is(err, tree.ErrNotExist):
	case err != nil:
		return err
	case p.isDir(e.name, old, e.mode):
		return fmt.Errorf("putting %q: the image has a directory at %q", e.source, "/"+e.name)
	case old.Mode&fs.ModeSymlink != 0:
		p.replacedLink = true
		if old.Target != e.target {
			p.warn(ReplacedLink, e, fmt.Sprintf("takes the place of the image's symbolic link to %q", old.Target))
		}
	}
	if why := cmp.Or(p.reserved[e.name], p.reserved[e.asked]); why != "" {
		return fmt.Errorf("putting %q: %s", e.source, why)
	}
	if err := p.claimParents(e); err != nil {
		return err
	}
	if c, ok := p.claims[e.name]; ok {
		return clash(e.name, c.source, e.source, c.dir)
	}
	p.claims[e.name] = claim{source: e.source}
	p.warnLeaf(e)
	p.entries = append(p.entries, e)
	return nil
}

// isDir reports whether old must not be replaced by a file or link: it is a
// directory, or a link to one. A link may take the place of a link.
func (p *planner) isDir(name string, old *tree.Node, mode fs.FileMode) bool {
	if old.Mode&fs.ModeSymlink == 0 || mode&fs.ModeSymlink != 0 {
		return old.Mode.IsDir()
	}
	to, err := p.tree.Resolve(name, true)
	if err != nil {
		return false
	}
	n, err := p.tree.Lookup(to)
	return err == nil && n.Mode.IsDir()
}

// addDir plans the directory found at below the project folder, and what it
// holds. e.asked is its destination; e.name is found here.
func (p *planner) addDir(e entry, at string, depth int) error {
	if depth > p.limits.Depth {
		return fmt.Errorf("reading directory %q: deeper than %d directories", e.source, p.limits.Depth)
	}
	var err error
	if e.name, err = p.tree.Resolve(e.asked, true); err != nil {
		return err
	}
	old, err := p.tree.Lookup(e.name)
	switch {
	case errors.Is(err, tree.ErrNotExist):
		if err := p.claimDir(e); err != nil {
			return err
		}
	case err != nil:
		return err
	case !old.Mode.IsDir():
		return fmt.Errorf("putting directory %q: the image has a %s at %q", e.source, hostfile.Kind(old.Mode), "/"+e.name)
	}
	e.mode = fs.ModeDir | 0o755
	p.warnDir(e)
	p.entries = append(p.entries, e)

	names, err := p.readDir(e.source, at)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := p.addChild(e, path.Join(at, base), base, depth); err != nil {
			return err
		}
	}
	return nil
}

// addChild plans one name of the mapped directory dir.
func (p *planner) addChild(dir entry, at, base string, depth int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if p.skip[at] || slices.ContainsFunc(p.skipPrefixes, func(prefix string) bool { return strings.HasPrefix(at, prefix) }) {
		return nil
	}
	e := entry{
		source: path.Join(dir.source, base), asked: path.Join(dir.asked, base),
		name: path.Join(dir.name, base), mapping: dir.mapping,
	}
	info, err := p.root.Lstat(at)
	if err != nil {
		return fmt.Errorf("reading %q: %w", e.source, hostfile.Cause(err))
	}
	switch {
	case info.IsDir():
		return p.addDir(e, at, depth+1)
	case info.Mode()&fs.ModeSymlink != 0:
		return p.addLink(e, at)
	}
	return p.addFile(e, at, info)
}

// readDir returns the names in a directory, sorted by byte value. It counts them
// as they come, so that a directory past the limit is never held in memory.
func (p *planner) readDir(source, at string) ([]string, error) {
	d, err := p.root.OpenFile(at, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("reading directory %q: %w", source, hostfile.Cause(err))
	}
	defer d.Close()
	var all []string
	for {
		names, err := d.Readdirnames(1024)
		for range names {
			if err := p.count(source); err != nil {
				return nil, err
			}
		}
		all = append(all, names...)
		switch {
		case errors.Is(err, io.EOF):
			slices.Sort(all)
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("reading directory %q: %w", source, hostfile.Cause(err))
		case p.ctx.Err() != nil:
			return nil, p.ctx.Err()
		}
	}
}

// count admits one more name.
func (p *planner) count(source string) error {
	if p.seen++; p.seen > p.limits.Entries {
		return fmt.Errorf("reading %q: the mappings hold more than %d names", source, p.limits.Entries)
	}
	return nil
}

// claimDir wants e.name as a directory, with all parents it lacks.
func (p *planner) claimDir(e entry) error {
	if c, ok := p.claims[e.name]; ok {
		if !c.dir {
			return clash(e.name, c.source, e.source, true)
		}
		return nil // its parents are claimed too
	}
	p.claims[e.name] = claim{source: e.source, dir: true}
	return p.claimParents(e)
}

// claimParents wants every missing directory above e.name.
func (p *planner) claimParents(e entry) error {
	for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
		if c, ok := p.claims[dir]; ok {
			if !c.dir {
				return clash(dir, c.source, e.source, true)
			}
			return nil
		}
		if _, err := p.tree.Lookup(dir); err == nil {
			return nil
		}
		p.claims[dir] = claim{source: e.source, dir: true}
	}
	return nil
}

// clash is the error for two sources that want one name. It reads the same
// whichever came first.
func clash(name, a, b string, dir bool) error {
	if a > b {
		a, b = b, a
	}
	if dir {
		return fmt.Errorf("putting %q and %q: %q would be a file for one and a directory for the other", a, b, "/"+name)
	}
	return fmt.Errorf("putting %q and %q: both would be %q", a, b, "/"+name)
}

package mapping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// Mapping is one line of [mappings], both sides as the user wrote them.
type Mapping struct {
	Source string // a path relative to the project folder
	Dest   string // an absolute path in the image
}

// Limits caps what Apply accepts; 0 means the default.
type Limits struct {
	Entries int   // files, links and directories below all sources; default DefaultEntries
	Depth   int   // directories below each other, a source itself being 1; default DefaultDepth
	Bytes   int64 // sum of the sizes of all files; default DefaultBytes
}

// Defaults of Limits.
const (
	DefaultEntries = 1 << 20
	DefaultDepth   = 128
	DefaultBytes   = 64 << 30 // 64 GiB
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, DefaultEntries),
		Depth:   cmp.Or(l.Depth, DefaultDepth),
		Bytes:   cmp.Or(l.Bytes, DefaultBytes),
	}
}

// A Sink takes the bytes of a file while they are read for the first time and
// says where they can be had again. It reads exactly size bytes, or to the first
// error, which it returns. What it has stored when Apply fails is of no use.
type Sink interface {
	Store(size int64, r io.Reader) (tree.Content, error)
}

// Options are the inputs of Apply besides the mappings.
type Options struct {
	ModTime time.Time // of every name that is made; the zero value means 1970-01-01
	Limits  Limits
	Sink    Sink // nil: contents are read from the project folder when needed

	// Programs are names in the tree, without a leading slash, that are executable
	// in whatever folder they are.
	Programs []string

	// Reserved are names in the tree, without a leading slash, that no file or link may
	// get, and why.
	Reserved map[string]string

	// Skip and SkipPrefixes are paths below the project folder, and beginnings of
	// such, that mapped directories leave out: the build's own files.
	Skip, SkipPrefixes []string
}

// File is one mapped file or symbolic link.
type File struct {
	Source string // below the project folder
	Dest   string // in the tree, without a leading slash
	Mode   fs.FileMode
	Size   int64  // bytes; 0 for links
	Digest string // "sha256:" and hex; "" for links
	Target string // "" for files
}

// Report says what Apply did.
type Report struct {
	Files    []File    // sorted by Dest
	Warnings []Warning // sorted by Source, Dest, Kind
	Digest   string    // of everything mapped; package doc has the format

	// Replaced are the contents of the image's files that mapped ones took the
	// place of and that no name leads to any more, in order of their names. Who
	// has stored them may take back their space.
	Replaced []tree.Content
}

// An Error is what is wrong with one mapping.
type Error struct {
	Mapping Mapping
	Err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("mapping %q to %q: %v", e.Mapping.Source, e.Mapping.Dest, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Apply puts the sources of ms, which lie below root, into t. The order of ms has
// no meaning. Cancelling ctx ends it between two reads.
//
// On an error t is to be thrown away. What is wrong with mappings is reported of
// all of them, each an [*Error], joined by errors.Join.
func Apply(ctx context.Context, t *tree.Tree, root *os.Root, ms []Mapping, o Options) (Report, error) {
	if o.ModTime.IsZero() {
		o.ModTime = time.Unix(0, 0)
	}
	p := planner{
		ctx: ctx, tree: t, root: root, limits: o.Limits.withDefaults(),
		claims: map[string]claim{}, reserved: map[string]string{}, programs: o.Programs, skip: map[string]bool{}, skipPrefixes: o.SkipPrefixes, repeated: map[repeat]int{},
	}
	for _, name := range o.Skip {
		p.skip[name] = true
	}
	for name, why := range o.Reserved {
		p.reserve(name, why)
	}
	var errs []error
	for _, m := range sorted(ms) {
		if err := p.add(m); err != nil {
			errs = append(errs, &Error{Mapping: m, Err: err})
		}
		if ctx.Err() != nil {
			break
		}
	}
	if errs != nil {
		return Report{}, errors.Join(errs...)
	}
	slices.SortFunc(p.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.source, b.source))
	})
	if err := p.readAll(o.Sink); err != nil {
		return Report{}, err
	}
	replaced, err := p.put(o.ModTime)
	if err != nil {
		return Report{}, err
	}
	p.warnDangling()
	return Report{Files: p.files(), Warnings: p.warnings(), Digest: digest(p.entries), Replaced: replaced}, nil
}

// sorted returns a copy in the order that all errors and reports follow.
func sorted(ms []Mapping) []Mapping {
	return slices.SortedFunc(slices.Values(ms), func(a, b Mapping) int {
		return cmp.Or(cmp.Compare(a.Dest, b.Dest), cmp.Compare(a.Source, b.Source))
	})
}

// put is the only step that changes the tree. It returns the contents that lost
// their last name.
func (p *planner) put(modTime time.Time) (replaced []tree.Content, err error) {
	for _, e := range p.entries {
		if err := p.ctx.Err(); err != nil {
			return nil, fmt.Errorf("mapping %q: %w", e.source, err)
		}
		old, _ := p.tree.Lookup(e.name) // nil for a new name
		if err := p.putEntry(e, modTime); err != nil {
			return nil, fmt.Errorf("mapping %q: %w", e.source, err)
		}
		if old != nil && old.Content != nil && old.Links() == 0 {
			replaced = append(replaced, old.Content)
		}
	}
	return replaced, p.checkReplaced()
}

func (p *planner) putEntry(e entry, modTime time.Time) error {
	parent := tree.Node{Mode: fs.ModeDir | 0o755, ModTime: modTime}
	if e.mode.IsDir() {
		return p.tree.MkdirAll(e.name, parent)
	}
	if err := p.tree.MkdirAll(path.Dir(e.name), parent); err != nil {
		return err
	}
	return p.tree.Put(e.name, &tree.Node{Mode: e.mode, ModTime: modTime, Target: e.target, Content: e.content})
}

// checkReplaced makes sure that every destination, as written, still leads where
// it led before links of the image were replaced by mapped names.
func (p *planner) checkReplaced() error {
	if !p.replacedLink {
		return nil
	}
	for _, e := range p.entries {
		now, err := p.tree.Resolve(e.asked, e.mode.IsDir())
		if err != nil || now != e.name {
			return fmt.Errorf("mapping %q to %q: the way there leads through a symbolic link of the image that another mapping replaces; write the destination as %q",
				e.source, "/"+e.asked, "/"+e.name)
		}
	}
	return nil
}

// warnDangling reports the mapped links that lead nowhere in the finished tree.
func (p *planner) warnDangling() {
	for _, e := range p.entries {
		if e.mode&fs.ModeSymlink == 0 {
			continue
		}
		to, err := p.tree.Resolve(e.name, true)
		if err == nil {
			_, err = p.tree.Lookup(to)
		}
		if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrLoop) || errors.Is(err, tree.ErrNotDir) {
			p.warn(DanglingLink, e, fmt.Sprintf("symbolic link to %q, which is not in the image", e.target))
		}
	}
}

func (p *planner) files() []File {
	files := make([]File, 0, len(p.entries))
	for _, e := range p.entries {
		switch {
		case e.mode.IsRegular():
			files = append(files, File{Source: e.source, Dest: e.name, Mode: e.mode, Size: e.file.Size(), Digest: fmt.Sprintf("sha256:%x", e.sum)})
		case e.mode&fs.ModeSymlink != 0:
			files = append(files, File{Source: e.source, Dest: e.name, Mode: e.mode, Target: e.target})
		}
	}
	return files
}

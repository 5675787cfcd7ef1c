package size

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
)

const (
	// maxListed is how many folders, files and ELF files a report names.
	maxListed = 10
	// minELF is the size of files that are worth a look, in bytes.
	minELF = 4 << 10
	// maxDepth is how deep folders of a report lie.
	maxDepth = 5
)

// A Report says where the bytes are. All numbers are bytes if they do not say
// otherwise; lists are sorted by bytes, the largest first, then by name.
type Report struct {
	Artifact    int64       `json:"artifact"`             // the artifact's file
	Download    int64       `json:"download"`             // what each start of a VM fetches
	Empty       int64       `json:"empty"`                // of the artifact, free for new files
	Content     int64       `json:"content"`              // all files
	Files       int         `json:"files"`                // number of regular files
	Entries     int         `json:"entries"`              // number of names, folders and links included
	Directories []Directory `json:"directories"`          // at most ten
	Largest     []File      `json:"largest"`              // at most ten
	Unstripped  []Binary    `json:"unstripped"`           // at most ten, those with the most to save
	Strippable  int64       `json:"strippable"`           // what strip -s saves in all of them
	More        int         `json:"unstripped_not_named"` // number of those that Unstripped leaves out
}

// A Directory is a folder with what is below it.
type Directory struct {
	Path  string `json:"path"` // absolute
	Bytes int64  `json:"bytes"`
	Files int    `json:"files"` // number of regular files
}

// A File is a regular file.
type File struct {
	Path  string `json:"path"` // absolute; the first of its names
	Bytes int64  `json:"bytes"`
}

// A Binary is an ELF program or library that is not stripped.
type Binary struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"` // its size
	Saves int64  `json:"saves"` // what strip -s takes away
	Go    bool   `json:"go"`    // made by Go: -ldflags="-s -w" leaves the same out
}

// Measure looks at a tree. Artifact, Download and Empty are the caller's to fill in.
func Measure(ctx context.Context, t *tree.Tree) (*Report, error) {
	m := &measurer{ctx: ctx, seen: map[*tree.Node]bool{}, report: Report{
		Directories: []Directory{}, Largest: []File{}, Unstripped: []Binary{},
	}}
	root, err := m.folder("", t.Root())
	if err != nil {
		return nil, err
	}
	r := &m.report
	r.Entries++ // the root itself
	r.Content, r.Files = root.bytes, root.files
	r.Directories = directories(root)
	return r, nil
}

type measurer struct {
	ctx    context.Context     // of the one call of Measure
	seen   map[*tree.Node]bool // inodes with several names
	report Report
}

// folder is a directory with those below it, deep ones left out.
type folder struct {
	name  string // "" is the root
	bytes int64  // of all below
	own   int64  // of files in the folder itself
	files int    // below
	mine  int    // in the folder itself
	subs  []folder
}

func (m *measurer) folder(name string, n *tree.Node) (folder, error) {
	f := folder{name: name}
	if err := m.ctx.Err(); err != nil {
		return f, err
	}
	for base, child := range n.Children() {
		m.report.Entries++
		full := path.Join(name, base)
		switch {
		case child.Mode.IsDir():
			sub, err := m.folder(full, child)
			if err != nil {
				return f, err
			}
			f.bytes += sub.bytes
			f.files += sub.files
			if strings.Count(full, "/") < maxDepth {
				f.subs = append(f.subs, sub)
			}
		case child.Mode.IsRegular():
			if child.Links() > 1 {
				if m.seen[child] {
					continue
				}
				m.seen[child] = true
			}
			f.own += child.Size()
			f.mine++
			if err := m.file("/"+full, child); err != nil {
				return f, err
			}
		}
	}
	f.bytes += f.own
	f.files += f.mine
	if strings.Count(name, "/") == maxDepth-1 {
		f.subs = nil
	}
	return f, nil
}

func (m *measurer) file(name string, n *tree.Node) error {
	r := &m.report
	r.Largest = insert(r.Largest, File{name, n.Size()}, func(f File) (int64, string) { return f.Bytes, f.Path })
	if n.Content == nil || n.Size() < minELF {
		return nil
	}
	b, err := unstripped(n)
	if err != nil {
		return fmt.Errorf("reading %q in the artifact: %w", name, err)
	}
	if b.Saves == 0 {
		return nil
	}
	b.Path = name
	r.Strippable += b.Saves
	if len(r.Unstripped) == maxListed {
		r.More++
	}
	r.Unstripped = insert(r.Unstripped, b, func(b Binary) (int64, string) { return b.Saves, b.Path })
	return nil
}

// insert puts one more into a list of the largest ones.
func insert[T any](list []T, one T, key func(T) (int64, string)) []T {
	at, _ := slices.BinarySearchFunc(list, one, func(a, b T) int {
		aBytes, aName := key(a)
		bBytes, bName := key(b)
		return cmp.Or(cmp.Compare(bBytes, aBytes), cmp.Compare(aName, bName))
	})
	if at == maxListed {
		return list
	}
	list = slices.Insert(list, at, one)
	return list[:min(len(list), maxListed)]
}

// unstripped reads what strip(1) would take away; Saves is 0 for all other files.
func unstripped(n *tree.Node) (Binary, error) {
	h, sections, err := elfread.Sections(n.Content)
	var format *elfread.FormatError
	switch {
	case errors.Is(err, elfread.ErrNoELF), errors.As(err, &format):
		return Binary{}, nil
	case err != nil:
		return Binary{}, err
	case h.Type != elf.ET_EXEC && h.Type != elf.ET_DYN: // an object file is linked by its symbols
		return Binary{}, nil
	}
	b := Binary{Bytes: n.Size()}
	goes := map[int]bool{}
	for i, s := range sections {
		b.Go = b.Go || s.Name == ".go.buildinfo" || s.Name == ".note.go.buildid"
		switch {
		case s.Loaded:
			continue
		case s.Type == elf.SHT_SYMTAB:
			goes[i] = true
			if int(s.Link) < len(sections) && !sections[s.Link].Loaded {
				goes[int(s.Link)] = true // the symbols' names
			}
		case isDebug(s.Name):
			goes[i] = true
		}
	}
	header := int64(64)
	if h.Class == elf.ELFCLASS32 {
		header = 40
	}
	for i := range goes {
		b.Saves += int64(sections[i].Size) + header
	}
	b.Saves = min(b.Saves, b.Bytes)
	return b, nil
}

// isDebug tells whether a section is debugging information.
func isDebug(name string) bool {
	for _, prefix := range []string{".debug_", ".zdebug_", ".gnu.debuglto_", ".stab"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == ".gdb_index" || name == ".line"
}

// directories chooses folders that say most about where the bytes are. It begins with
// the root and splits the largest folder as long as a few of its sub-folders hold most
// of it; the files of a split folder count for the folder itself.
func directories(root folder) []Directory {
	var whole []folder // not to be split any more
	split := []folder{root}
	for len(split) > 0 {
		slices.SortFunc(split, byBytes)
		f := split[0]
		split = split[1:]
		if len(split)+len(whole) >= 4*maxListed || !worthSplitting(f, root.bytes) {
			whole = append(whole, f)
			continue
		}
		split = append(split, f.subs...)
		whole = append(whole, folder{name: f.name, bytes: f.own, files: f.mine})
	}
	slices.SortFunc(whole, byBytes)
	all := []Directory{}
	for _, f := range whole {
		if len(all) == maxListed || f.bytes == 0 {
			break
		}
		all = append(all, Directory{"/" + f.name, f.bytes, f.files})
	}
	return all
}

func byBytes(a, b folder) int {
	return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
}

// worthSplitting: a folder with a twentieth of all bytes, of which four sub-folders
// hold three quarters.
func worthSplitting(f folder, total int64) bool {
	if len(f.subs) == 0 || f.bytes < total/20 {
		return false
	}
	subs := slices.SortedFunc(slices.Values(f.subs), byBytes)
	most := int64(0)
	for _, s := range subs[:min(len(subs), 4)] {
		most += s.bytes
	}
	return most >= f.bytes/4*3
}

package facts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Fact is what is known about one name. The zero value of a field means that it
// does not apply to the type or that the source was not asked for it.
type Fact struct {
	Name      string            // relative to the root, "." for the root itself
	Type      string            // file, dir, symlink, char, block, fifo or socket
	Mode      uint32            // the low 12 bits: permissions, setuid, setgid, sticky
	UID, GID  uint32            //
	Size      int64             // bytes, regular files only
	SHA256    string            // of the content as hex, regular files only
	Mtime     Time              //
	Xattrs    map[string]string // full names to raw values as the kernel returns them
	Links     uint64            // link count, everything but directories
	LinkGroup []string          // all names of the inode in byte order, if there are several
	Rdev      string            // "major:minor", devices only
	Target    string            // symbolic links only
	Data      []Extent          // where a regular file is not a hole, if asked for
}

// Time is a modification time. Seconds may be negative, nanoseconds may not.
type Time struct {
	Sec  int64
	Nsec int64
}

func (t Time) String() string { return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec) }

// An Extent is a range of bytes, Start included and End not. Both are multiples
// of [Block]; the last block of a file counts as a whole one.
type Extent struct{ Start, End int64 }

// Block is the unit of extents in bytes.
const Block = 4096

// A Set maps names to what is known about them.
type Set map[string]Fact

// Names returns the names in byte order.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Without returns a copy that lacks the names for which drop is true. Link groups
// keep all their names.
func (s Set) Without(drop func(name string) bool) Set {
	out := Set{}
	for name, f := range s {
		if !drop(name) {
			out[name] = f
		}
	}
	return out
}

// Extents says where the data extents of regular files come from.
type Extents int

const (
	// NoExtents leaves Fact.Data empty.
	NoExtents Extents = iota
	// Mapped takes them from the filesystem: what is not a hole.
	Mapped
	// NonZero takes them from the content: every block that holds a byte other
	// than zero. It is what Mapped has to be if a writer left out all that it could.
	NonZero
)

// Options say what to find out beyond the metadata.
type Options struct {
	Content bool    // hash regular files
	Extents Extents //
}

// extents collects blocks given in rising order.
type extents []Extent

func (e *extents) add(start, end int64) {
	if n := len(*e); n > 0 && (*e)[n-1].End >= start {
		(*e)[n-1].End = max((*e)[n-1].End, end)
		return
	}
	*e = append(*e, Extent{start, end})
}

func roundUp(n int64) int64   { return (n + Block - 1) / Block * Block }
func roundDown(n int64) int64 { return n / Block * Block }

// Group fills in LinkGroup from the inode of each name.
func Group[K comparable](s Set, inode map[string]K) {
	names := map[K][]string{}
	for _, name := range s.Names() {
		if s[name].Type != "dir" {
			names[inode[name]] = append(names[inode[name]], name)
		}
	}
	for name, f := range s {
		if g := names[inode[name]]; len(g) > 1 && f.Type != "dir" {
			f.LinkGroup = g
			s[name] = f
		}
	}
}

func (e Extent) String() string { return fmt.Sprintf("%d-%d", e.Start, e.End) }

func xattrString(x map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(x)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, x[name]))
	}
	return strings.Join(parts, " ")
}

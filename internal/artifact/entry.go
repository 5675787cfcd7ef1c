package artifact

import (
	"slices"
	"strings"
	"time"
)

// Type is what an entry is, in one word.
type Type string

// The types.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	Char    Type = "char"
	Block   Type = "block"
	FIFO    Type = "fifo"
	Socket  Type = "socket"
)

// typeBits gives the upper bits of st_mode, as both formats store them.
var typeBits = map[uint32]Type{
	0x1000: FIFO, 0x2000: Char, 0x4000: Dir, 0x6000: Block, 0x8000: File, 0xA000: Symlink, 0xC000: Socket,
}

// Rdev is a device number.
type Rdev struct{ Major, Minor uint32 }

// Entry is one name of an artifact. Fields that its type or the format does not
// have are zero.
type Entry struct {
	Name     string // relative to the root, in the manner of io/fs: "." is the root
	Type     Type
	Mode     uint32 // the low 12 bits: permissions, setuid, setgid, sticky
	UID, GID uint32
	Mtime    time.Time // UTC; archives have whole seconds
	Size     int64     // bytes of a regular file's content or of a link's target
	Links    uint32    // link count
	LinkOf   string    // of several names of one inode, the first in byte order; "" if there is one
	Inode    uint64
	Target   string            // symbolic links
	Rdev     Rdev              // devices
	Xattrs   map[string]string // full names to values as getxattr(2) gives them; nil if none

	record *Record // of an archive: the entry's own
	body   *Record // and the one that holds the content

	ref uint64 // of a squashfs image: where the inode is
}

// sortEntries puts entries in byte order of their names.
func sortEntries(list []*Entry) {
	slices.SortFunc(list, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
}

// linkGroups fills in LinkOf of entries in byte order. key gives what entries of
// one inode have in common, and whether there is such a thing.
func linkGroups[K comparable](entries []*Entry, key func(*Entry) (K, bool)) {
	first := map[K]*Entry{}
	for _, e := range entries {
		k, ok := key(e)
		if !ok {
			continue
		}
		if f := first[k]; f == nil {
			first[k] = e
		} else {
			f.LinkOf, e.LinkOf = f.Name, f.Name
		}
	}
}

// parent is the name of the directory that a name is in.
func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}

// Record is the record of an archive that made the entry; nil in an image.
func (e *Entry) Record() *Record { return e.record }

package ext4read

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An editor damages a copy of an image. Offsets are found in the sound image.
type editor struct {
	t    testing.TB
	f    *FS
	data []byte
}

func newEditor(t testing.TB, sound []byte) *editor {
	t.Helper()
	f, err := Open(bytes.NewReader(sound), int64(len(sound)), Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	return &editor{t, f, slices.Clone(sound)}
}

func (e *editor) put16(off int, v uint16) { le.PutUint16(e.data[off:], v) }
func (e *editor) put32(off int, v uint32) { le.PutUint32(e.data[off:], v) }
func (e *editor) get16(off int) uint16    { return le.Uint16(e.data[off:]) }
func (e *editor) get32(off int) uint32    { return le.Uint32(e.data[off:]) }
func (e *editor) add16(off, n int)        { e.put16(off, e.get16(off)+uint16(n)) }
func (e *editor) add32(off, n int)        { e.put32(off, e.get32(off)+uint32(n)) }
func (e *editor) block(n uint64) int      { return int(n) * int(e.f.sb.BlockSize) }
func (e *editor) super(field int) int     { return superOffset + field }

func (e *editor) desc(g uint64) int {
	return e.block(e.f.descBlock(g/e.f.descsPerBlock())) + int(g%e.f.descsPerBlock())*int(e.f.sb.DescSize)
}

func (e *editor) group(g uint64) *group {
	d, err := e.f.group(g)
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

// inode is where an inode's record is.
func (e *editor) inode(number uint32) int {
	g, i := (number-1)/e.f.sb.InodesPerGroup, (number-1)%e.f.sb.InodesPerGroup
	return e.block(e.group(uint64(g)).inodeTable) + int(i)*int(e.f.sb.InodeSize)
}

func (e *editor) lookup(name string) *Inode {
	in, err := e.f.Lookup(name)
	if err != nil {
		e.t.Fatal(err)
	}
	return in
}

func (e *editor) file(name string) int { return e.inode(e.lookup(name).Number) }

// content is where a logical block of a file is.
func (e *editor) content(name string, logical uint64) int {
	m, err := e.lookup(name).extents()
	if err != nil {
		e.t.Fatal(err)
	}
	x, inside := m.at(logical)
	if !inside {
		e.t.Fatalf("%s has no block %d", name, logical)
	}
	return e.block(x.Physical + logical - x.Logical)
}

// node is where the first node of a file's extent tree, or its indirect block,
// is.
func (e *editor) node(name string) int {
	at := uint64(0)
	err := e.f.walkMap(e.lookup(name), mapVisitor{
		node:   func(block uint64, _ []byte) error { at = max(at, block); return nil },
		extent: func(Extent) error { return nil },
	})
	if err != nil || at == 0 {
		e.t.Fatalf("%s: node %d, %v", name, at, err)
	}
	return e.block(at)
}

// dirent is where the record of a name is.
func (e *editor) dirent(dir, name string) int {
	in, off := e.lookup(dir), -1
	err := e.f.dirBlocks(in, func(_, physical uint64, b []byte, _ string) error {
		records, err := parseDirBlock(b)
		for _, d := range records {
			if string(d.name) == name && d.inode != 0 {
				off = e.block(physical) + d.off
			}
		}
		return err
	})
	if err != nil || off < 0 {
		e.t.Fatalf("%s/%s: %v", dir, name, err)
	}
	return off
}

func (e *editor) xattrBlock(name string) int { return e.block(e.lookup(name).xattrBlock) }

func (e *editor) clearBit(off int, i uint64) { e.data[off+int(i/8)] &^= 1 << (i % 8) }
func (e *editor) setBit(off int, i uint64)   { e.data[off+int(i/8)] |= 1 << (i % 8) }

// fixGroups makes the descriptors' checksums right again.
func (e *editor) fixGroups() {
	for g := range e.f.sb.Groups() {
		off := e.desc(g)
		e.put16(off+0x1E, e.f.descChecksum(uint32(g), e.data[off:off+int(e.f.sb.DescSize)]))
	}
}

// problems checks the damaged image.
func (e *editor) problems() string {
	f, err := Open(bytes.NewReader(e.data), int64(len(e.data)), Options{})
	if err != nil {
		return "Open: " + err.Error()
	}
	return check(e.t, f, CheckOptions{})
}

// e2fsckComplains asks the other checker.
func (e *editor) e2fsckComplains() (string, bool) {
	path := filepath.Join(e.t.TempDir(), "damaged")
	if err := os.WriteFile(path, e.data, 0o600); err != nil {
		e.t.Fatal(err)
	}
	out, err := tryRun(e.t, "e2fsck", "-fn", path)
	for line := range strings.Lines(out) { // some complaints leave the exit status at 0
		usual := strings.HasPrefix(line, "Pass ") || strings.HasPrefix(line, "e2fsck ") || strings.HasPrefix(line, path)
		if err == nil && !usual {
			return out, true
		}
	}
	return out, err != nil
}

const longName = "a name with many letters, number 7"

// Damage to an image without metadata checksums, so that what finds it is not a
// checksum.
var damages = []struct {
	name   string
	damage func(e *editor)
	want   string
	silent bool // e2fsck says nothing
}{
	{"state", func(e *editor) { e.put16(e.super(0x3A), 0) }, "state is 0x0", true},
	{"free blocks", func(e *editor) { e.add32(e.super(0x0C), 1) }, "superblock: 434 free blocks, 433", false},
	{"free inodes", func(e *editor) { e.add32(e.super(0x10), 1) }, "free inodes, the bitmaps have", false},
	{"orphan list", func(e *editor) { e.put32(e.super(0xE8), 12) }, "orphan list begins at inode 12", true},
	{"hash flags", func(e *editor) { e.put32(e.super(0x160), 0) }, "neither signed nor unsigned", true},
	{"primary's group", func(e *editor) { e.put16(e.super(0x5A), 3) }, "primary says it is in group 3", true},
	{"cluster count", func(e *editor) { e.put32(e.super(0x24), 256) }, "clusters per group is 256", false},
	{"overhead", func(e *editor) { e.add32(e.super(0x248), 1) }, "the layout and journal have", true},
	{"default hash", func(e *editor) { e.data[e.super(0xFC)] = 9 }, "default hash version is 9", true},

	{"descriptor checksum", func(e *editor) { e.data[e.desc(1)+0x1E] ^= 1; e.f = nil }, "group 1: descriptor's checksum", false},
	{"group's free blocks", func(e *editor) { e.add16(e.desc(0)+0x0C, 1) }, "group 0: ", false},
	{"group's free inodes", func(e *editor) { e.add16(e.desc(0)+0x0E, 1) }, "free inodes, the bitmap has", false},
	{"group's directories", func(e *editor) { e.add16(e.desc(0)+0x10, 1) }, "directories, its inodes have", false},
	{"unused inodes", func(e *editor) { e.put16(e.desc(0)+0x1C, uint16(e.f.sb.InodesPerGroup)) }, "unused inodes at the table's end", false},
	{"group flag", func(e *editor) { e.add16(e.desc(1)+0x12, 0x100) }, "unknown flags", true},
	{"bitmap elsewhere", func(e *editor) { e.put32(e.desc(0), uint32(e.group(0).inodeTable)) }, "is used twice", false},
	{"bitmap outside", func(e *editor) { e.put32(e.desc(0), 1<<31) }, "outside the image", false},
	{"table outside", func(e *editor) { e.put32(e.desc(0)+8, 1<<31) }, "outside the image", false},
	{"uninitialised group in use", func(e *editor) { e.add16(e.desc(0)+0x12, blockUninit) }, "the bitmap is not initialised", false},
	{"uninitialised inodes in use", func(e *editor) { e.add16(e.desc(0)+0x12, inodeUninit) }, "reserved, but free in the bitmap", false},
	{"backup UUID", func(e *editor) { e.data[e.block(e.f.groupStart(1))+0x68]++ }, "(group 1): UUID differs", true},
	{"backup's group", func(e *editor) { e.data[e.block(e.f.groupStart(1))+0x5A]++ }, "says it is in group 2", true},
	{"backup descriptors", func(e *editor) { e.data[e.block(e.f.groupStart(1)+1)]++ }, "group 0 is laid out at", true},
	{"backup descriptor checksum", func(e *editor) { e.data[e.block(e.f.groupStart(1)+1)+0x1E]++ }, "checksum of group 0 does not match", true},

	{"used block marked free", func(e *editor) { e.clearBit(e.block(e.group(0).blockBitmap), 0) }, "are used, but free in the bitmap", false},
	{"free block marked used", func(e *editor) { e.setBit(e.block(e.group(1).blockBitmap), e.f.groupBlocks(1)-1) }, "but nothing uses them", false},
	{"block bitmap padding", func(e *editor) { e.clearBit(e.block(e.group(1).blockBitmap), 8*1024-1) }, "padding of the block bitmap", false},
	{"used inode marked free", func(e *editor) { e.clearBit(e.block(e.group(0).inodeBitmap), uint64(e.lookup("hello").Number)-1) }, "in use, but free in the bitmap", false},
	{"free inode marked used", func(e *editor) { e.setBit(e.block(e.group(0).inodeBitmap), uint64(e.f.sb.InodesPerGroup)-1) }, "inodes at the table's end, but inode", false},
	{"inode bitmap padding", func(e *editor) { e.clearBit(e.block(e.group(0).inodeBitmap), 8*1024-1) }, "padding of the inode bitmap", false},
	{"reserved inode marked free", func(e *editor) { e.clearBit(e.block(e.group(0).inodeBitmap), 8) }, "inode 9: reserved, but free", false},

	{"link count", func(e *editor) { e.add16(e.file("hello")+0x1A, 1) }, "link count is 3, 2 names lead to it", false},
	{"directory's link count", func(e *editor) { e.add16(e.file("a")+0x1A, 1) }, "link count is 4, 3 names", false},
	{"no type", func(e *editor) { e.put16(e.file("hello"), 0o644) }, "has no file type", false},
	{"size too small", func(e *editor) { e.put32(e.file("blocks")+4, 10) }, "size is 10, but 5 blocks are mapped", false},
	{"size over the limit", func(e *editor) { e.put32(e.file("blocks")+0x6C, 1<<20) }, "over the limit", false},
	{"directory's size", func(e *editor) { e.add32(e.file("indexed")+4, 1024) }, "directory's size is", false},
	{"directory's size uneven", func(e *editor) { e.add32(e.file("a")+4, 1) }, "directory's size 1025", false},
	{"sectors", func(e *editor) { e.add32(e.file("blocks")+0x1C, 2) }, "charged for", false},
	{"deletion time", func(e *editor) { e.put32(e.file("hello")+0x14, 5) }, "in use, but deleted at 5", false},
	{"extra size uneven", func(e *editor) { e.put16(e.file("fifo")+0x80, 31) }, "extra size is 31", false},
	{"extra size too large", func(e *editor) { e.put16(e.file("fifo")+0x80, 200) }, "does not fit in a record", false},
	{"nanoseconds", func(e *editor) { e.put32(e.file("fifo")+0x88, 1e9<<2&0xFFFFFFFF) }, "1000000000 nanoseconds", true},
	{"device with extents", func(e *editor) { e.add32(e.file("console")+0x20, FlagExtents) }, "with size 0, flags 0x80000", false},
	{"FIFO with blocks", func(e *editor) { e.put32(e.file("fifo")+0x28+12, 9) }, "or a block map", true},
	{"short link without end", func(e *editor) { copy(e.data[e.file("short link")+0x28:], bytes.Repeat([]byte("x"), 60)) }, "no NUL after the short target", false},
	{"NUL in a short link", func(e *editor) { e.data[e.file("short link")+0x2A] = 0 }, "holds a NUL", false},
	{"NUL in a long link", func(e *editor) { e.data[e.content("long link", 0)+5] = 0 }, "holds a NUL", false},
	{"empty link", func(e *editor) { e.put32(e.file("short link")+4, 0) }, "target of 0 bytes", false},
	{"reserved inode in use", func(e *editor) { e.put16(e.inode(9), 0o100644); e.put16(e.inode(9)+0x1A, 1) }, "inode 9: reserved, but in use", false},
	{"reserved inode with a mode", func(e *editor) { e.put16(e.inode(9), 0o040755) }, "inode 9: reserved, with mode", false},
	{"high size of a link", func(e *editor) { e.put32(e.file("short link")+0x6C, 1) }, "high size is 1", false},
	{"inode without name", func(e *editor) { e.put32(e.dirent(".", "fifo"), 0) }, "no name leads to it", false},
	{"directory without name", func(e *editor) { e.put32(e.dirent(".", "a"), 0) }, "no name leads to it", false},

	{"extent root's magic", func(e *editor) { e.put16(e.file("blocks")+0x28, 1) }, "magic is 0x0001", false},
	{"extent root's depth", func(e *editor) { e.put16(e.file("blocks")+0x2E, 6) }, "depth is 6", false},
	{"too many entries", func(e *editor) { e.put16(e.file("blocks")+0x2A, 5) }, "5 entries of at most 4", false},
	{"extent outside", func(e *editor) { e.put32(e.file("blocks")+0x3C, 700) }, "outside the image's 700", false},
	{"extent of nothing", func(e *editor) { e.put16(e.file("blocks")+0x38, 0) }, "maps 0 blocks", false},
	{"block of another file", func(e *editor) { e.put32(e.file("blocks")+0x3C, e.get32(e.file("hello")+0x3C)) }, "is used twice", false},
	{"unwritten directory", func(e *editor) { e.add16(e.file("a")+0x38, 0x8000) }, "unwritten", false},
	{"directory with a hole", func(e *editor) { e.add32(e.file("a")+0x34, 1) }, "block 0 is a hole", false},
	{"extent node's magic", func(e *editor) { e.put16(e.node("sparse"), 1) }, "magic is 0x0001", false},
	{"extent node's depth", func(e *editor) { e.put16(e.node("sparse")+6, 1) }, "depth is 1 under depth 1", true},
	{"extent node's room", func(e *editor) { e.put16(e.node("sparse")+4, 30) }, "room for 84 entries, says 30", false},
	{"extent node empty", func(e *editor) { e.put16(e.node("sparse")+2, 0) }, "no entries", false},
	{"extents out of order", func(e *editor) { e.put32(e.node("sparse")+24, 100); e.put32(e.node("sparse")+36, 50) }, "maps from logical block 50", false},
	{"extent node's first key", func(e *editor) { e.put32(e.node("sparse")+12, 1) }, "its parent says 0", false},
	{"extent node that names itself", func(e *editor) {
		e.put16(e.file("sparse")+0x2E, 2)
		at := e.node("sparse")
		e.put16(at+6, 1)
		e.put32(at+16, uint32(at/1024))
		e.put16(at+20, 0)
	}, "is used twice", false},

	{"dot", func(e *editor) { e.put32(e.content("a", 0), 11) }, `record 0 is "." for inode 11`, false},
	{"dot dot", func(e *editor) { e.put32(e.content("a", 0)+12, 11) }, `record 1 is ".." for inode 11`, false},
	{"record of length 0", func(e *editor) { e.put16(e.dirent(".", "fifo")+4, 0) }, "length 0 is not", false},
	{"record of uneven length", func(e *editor) { e.add16(e.dirent(".", "fifo")+4, 2) }, "is not a multiple of 4", false},
	{"record over the end", func(e *editor) { e.put16(e.dirent(".", "fifo")+4, 4096) }, "length 4096 is not", false},
	{"long name", func(e *editor) { e.data[e.dirent(".", "fifo")+6] = 200 }, "name of 200 bytes does not fit", false},
	{"name with a slash", func(e *editor) { e.data[e.dirent(".", "fifo")+9] = '/' }, "holds a slash or NUL", false},
	{"name with NUL", func(e *editor) { e.data[e.dirent(".", "fifo")+9] = 0 }, "holds a slash or NUL", false},
	{"name dot", func(e *editor) { e.data[e.dirent(".", "a")+8] = '.' }, `name "." is out of place`, false},
	{"two of one name", func(e *editor) {
		copy(e.data[e.dirent("a/b/c", "file")+8:], "....")
		copy(e.data[e.dirent(".", "disk")+8:], "fifo")
	}, `name "fifo" occurs twice`, false},
	{"name of no inode", func(e *editor) { e.put32(e.dirent(".", "fifo"), 100000) }, "inode 100000 is reserved or outside", false},
	{"name of a reserved inode", func(e *editor) { e.put32(e.dirent(".", "fifo"), 8) }, "inode 8 is reserved or outside", false},
	{"name of an unused inode", func(e *editor) { e.put32(e.dirent(".", "fifo"), e.f.sb.InodesPerGroup) }, "is not in use", false},
	{"file type", func(e *editor) { e.data[e.dirent(".", "fifo")+7] = 1 }, "file type 1, inode", false},
	{"directory inside itself", func(e *editor) {
		d := e.dirent("a/b/c", "file")
		e.put32(d, e.lookup("a").Number)
		e.data[d+7] = 2
	}, "has another name too", false},
	{"no lost+found", func(e *editor) { e.data[e.dirent(".", "lost+found")+8] = 'L' }, "no directory lost+found", true},

	{"hash version", func(e *editor) { e.data[e.content("indexed", 0)+0x1C] = 9 }, "hash version is 9", false},
	{"other hash version", func(e *editor) { e.data[e.content("indexed", 0)+0x1C] ^= 3 }, "names have hashes", false},
	{"hash seed", func(e *editor) { e.data[e.super(0xEC)]++ }, "names have hashes", false},
	{"index header", func(e *editor) { e.data[e.content("indexed", 0)+0x1D] = 9 }, "index root's header", false},
	{"index levels", func(e *editor) { e.data[e.content("indexed", 0)+0x1E] = 2 }, "index of 2 levels", false},
	{"index limit", func(e *editor) { e.add16(e.content("indexed", 0)+0x20, -1) }, "entries of at most", false},
	{"index count", func(e *editor) { e.put16(e.content("indexed", 0)+0x22, 0) }, "0 entries of at most", false},
	{"index one less", func(e *editor) { e.add16(e.content("indexed", 0)+0x22, -1) }, "index names", false},
	{"index names a block twice", func(e *editor) { e.put32(e.content("indexed", 0)+0x2C, e.get32(e.content("indexed", 0)+0x24)) }, "is named twice", false},
	{"index names no block", func(e *editor) { e.put32(e.content("indexed", 0)+0x2C, 1000) }, "is not in the directory", false},
	{"index boundary", func(e *editor) { e.put32(e.content("indexed", 0)+0x28, e.get32(e.content("indexed", 0)+0x30)-2) }, "the index says", false},
	{"index order", func(e *editor) { e.put32(e.content("indexed", 0)+0x30, 2) }, "not after", false},
	{"name in the wrong leaf", func(e *editor) { e.data[e.dirent("indexed", longName)+8] = 'b' }, "the index says", false},

	{"attribute block's magic", func(e *editor) { e.data[e.xattrBlock("blocks")]++ }, "magic is 0xea020001", false},
	{"attribute's hash", func(e *editor) { e.data[e.xattrBlock("blocks")+32+12]++ }, "has hash", false},
	{"attribute's value", func(e *editor) { e.data[e.xattrBlock("blocks")+1020]++ }, "has hash", false},
	{"attributes' owners", func(e *editor) { e.add32(e.xattrBlock("blocks")+4, 1) }, "reference count is 2, 1 inodes", false},
	{"attributes' hash", func(e *editor) { e.put32(e.xattrBlock("blocks")+12, 77) }, "hash is 0x0000004d", true},
	{"attribute block's reserve", func(e *editor) { e.data[e.xattrBlock("blocks")+0x18]++ }, "reserved bytes are not zero", true},
	{"attribute block outside", func(e *editor) { e.put32(e.file("blocks")+0x68, 1<<20) }, "outside the image", false},
	{"attribute in another inode", func(e *editor) { e.put32(e.xattrBlock("blocks")+32+4, 12) }, "ea_inode", false},
	{"attribute's size", func(e *editor) { e.put32(e.xattrBlock("blocks")+32+8, 5000) }, "leaves the area", false},
	{"attribute over the entries", func(e *editor) { e.put16(e.xattrBlock("blocks")+32+2, 4) }, "overlaps the entries", false},
	{"attribute's index", func(e *editor) { e.data[e.file("hello")+128+32+4+1] = 99 }, "name index 99", true},
	{"attributes in the inode", func(e *editor) { e.data[e.file("hello")+128+32]++ }, "attributes begin with", true},

	{"resize inode's list", func(e *editor) { e.add32(e.block(uint64(e.get32(e.inode(7)+0x28+52)))+4, 1) }, "does not list the", false},
	{"resize inode's backups", func(e *editor) { e.add32(e.block(uint64(e.f.sb.FirstDataBlock)+1+e.f.descBlocks()), 1) }, "does not list its 1 backups", false},
	{"resize inode's sectors", func(e *editor) { e.add32(e.inode(7)+0x1C, 2) }, "resize inode: charged for", false},
}

func TestCheckAndE2fsckFindDamage(t *testing.T) {
	sound := seedImages(t)[1]
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.damage(e)
			if bytes.Equal(e.data, sound) {
				t.Fatal("nothing was damaged")
			}
			if e.f != nil {
				e.fixGroups()
			}
			if got := e.problems(); got == "" || !strings.Contains(got, tt.want) {
				t.Errorf("Check found %q, want %q", got, tt.want)
			}
			if out, complains := e.e2fsckComplains(); complains == tt.silent {
				t.Errorf("e2fsck complains: %v, want %v\n%s", complains, !tt.silent, out)
			}
		})
	}
}

// Some damage must stop a reader too, not only a check.
func TestReadersRefuseDamage(t *testing.T) {
	sound := seedImages(t)[1]
	wants := map[string]string{
		"directory inside itself":       `walking "a/b/c/file": directory inode 12 is reached twice`,
		"two of one name":               `name "fifo" occurs twice`,
		"name with a slash":             "holds a slash or NUL",
		"name with NUL":                 "holds a slash or NUL",
		"name of no inode":              "inode 100000 is reserved or outside",
		"name of a reserved inode":      "inode 8 is reserved or outside",
		"name of an unused inode":       "mode 0 has no file type",
		"record of length 0":            "length 0 is not",
		"directory with a hole":         "block 0 is a hole",
		"directory's size uneven":       "directory's size 1025",
		"extent node that names itself": "depth is 1 under depth 1",
		"extents out of order":          "maps from logical block 50",
		"extent outside":                "outside the image's 700",
		"table outside":                 "outside the image",
		"NUL in a short link":           "holds a NUL",
		"attribute's size":              "leaves the area",
		"attribute's index":             "name index 99",
		"size over the limit":           "over the limit",
	}
	for _, tt := range damages {
		want, ok := wants[tt.name]
		if !ok {
			continue
		}
		delete(wants, tt.name)
		e := newEditor(t, sound)
		tt.damage(e)
		if err := readAll(e.data, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", tt.name, err, want)
		}
	}
	for name := range wants {
		t.Errorf("there is no damage %q", name)
	}
}

// An indirect block that names itself must end.
func TestIndirectLoopEnds(t *testing.T) {
	e := newEditor(t, seedImages(t)[2])
	at := e.file("blocks") + 0x28
	block := e.f.sb.Blocks - 1
	e.put32(at+56, uint32(block)) // triple
	e.put32(e.block(block), uint32(block))
	e.put32(e.block(block)+4, uint32(block))
	err := readAll(e.data, Options{MaxExtents: 100})
	if err != nil && !isVerdict(err) {
		t.Error(err)
	}
	if got := e.problems(); !strings.Contains(got, "is used twice") {
		t.Errorf("Check found %q", got)
	}
}

func TestWalkSurvivesDamage(t *testing.T) {
	sound := seedImages(t)[1]
	for _, tt := range damages {
		e := newEditor(t, sound)
		tt.damage(e)
		for _, verify := range []bool{false, true} {
			if err := readAll(e.data, Options{Verify: verify}); err != nil && !isVerdict(err) {
				t.Errorf("%s: %v is no verdict on the image", tt.name, err)
			}
		}
	}
}

// Every structure with a checksum is flipped bit by bit; where the metadata
// checksums reach, nothing may go unnoticed.
func TestCheckFindsEveryFlippedBit(t *testing.T) {
	sound := seedImages(t)[0]
	e := newEditor(t, sound)
	type area struct {
		name       string
		start, end int
	}
	areas := []area{
		{"superblock", superOffset, superOffset + superSize},
		{"descriptors", e.desc(0), e.desc(0) + int(e.f.sb.Groups())*int(e.f.sb.DescSize)},
		{"backup superblock", e.block(e.f.groupStart(1)), e.block(e.f.groupStart(1)) + 1024},
		{"backup descriptors", e.block(e.f.groupStart(1) + 1), e.block(e.f.groupStart(1)+1) + 128},
		{"block bitmap", e.block(e.group(0).blockBitmap), e.block(e.group(0).blockBitmap + 1)},
		{"inode bitmap", e.block(e.group(0).inodeBitmap), e.block(e.group(0).inodeBitmap + 1)},
		{"root inode", e.inode(2), e.inode(2) + 256},
		{"file inode", e.file("hello"), e.file("hello") + 256},
		{"directory", e.content(".", 0), e.content(".", 0) + 1024},
		{"index root", e.content("indexed", 0), e.content("indexed", 0) + 0x28 + 8*3},
		{"index leaf", e.content("indexed", 1), e.content("indexed", 1) + 1024},
		{"extent node", e.node("sparse"), e.node("sparse") + 1024},
		{"attribute block", e.xattrBlock("blocks"), e.xattrBlock("blocks") + 1024},
	}
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			asked := 0
			for i := a.start; i < a.end; i += 3 {
				bit := byte(1) << (i / 3 % 8)
				e.data[i] ^= bit
				if got := e.problems(); got == "" {
					t.Errorf("flipping bit %#x of byte %#x of the %s goes unnoticed", bit, i-a.start, a.name)
				}
				if i%97 == 0 && asked < 4 && !strings.HasPrefix(a.name, "backup") {
					asked++
					if _, complains := e.e2fsckComplains(); !complains {
						t.Logf("e2fsck does not mind bit %#x of byte %#x", bit, i-a.start)
					}
				}
				e.data[i] ^= bit
			}
		})
	}
	if got := e.problems(); got != "" {
		t.Errorf("the restored image has problems:\n%s", got)
	}
}

func TestVerifyRefusesFlippedBits(t *testing.T) {
	sound := seedImages(t)[0]
	for name, at := range map[string]func(e *editor) int{
		"superblock":       func(e *editor) int { return e.super(0x88) },
		"group descriptor": func(e *editor) int { return e.desc(0) + 0x0C },
		"inode":            func(e *editor) int { return e.file("hello") + 0x08 },
		"directory block":  func(e *editor) int { return e.dirent(".", "fifo") + 8 },
		"index root":       func(e *editor) int { return e.content("indexed", 0) + 0x28 },
		"extent node":      func(e *editor) int { return e.node("sparse") + 20 },
		"attribute block":  func(e *editor) int { return e.xattrBlock("blocks") + 1020 },
	} {
		e := newEditor(t, sound)
		e.data[at(e)] ^= 4
		err := readAll(e.data, Options{Verify: true})
		if err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v, want a checksum's error", name, err)
		}
		if err := readAll(e.data, Options{}); err != nil {
			t.Errorf("%s, without Verify: %v", name, err)
		}
	}
}

func TestCheckFindsWhatAFreshImageMustNotHold(t *testing.T) {
	fl := richFlavours[0]
	fresh, err := os.ReadFile(mke2fs(t, fl.size, fl.args...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		damage func(e *editor)
		want   string
		opt    CheckOptions
	}{
		{"free block", func(e *editor) { e.data[len(e.data)-1] = 1 }, "block 699: free, but not zero\n", CheckOptions{ZeroFree: true}},
		{"free inode", func(e *editor) { e.data[e.inode(20)] = 1 }, "inode 20: free, but not zero\n", CheckOptions{ZeroFree: true}},
		{"backup", func(e *editor) {
			at := e.block(e.f.groupStart(1))
			e.data[at+0x34]++
			e.put32(at+0x3FC, crc32c(^uint32(0), e.data[at:at+0x3FC]))
		}, "backup superblock at block 513 (group 1): byte 0x34 is 0x01, the primary's 0x00\n", CheckOptions{ExactBackups: true}},
		{"backup descriptors", func(e *editor) { e.data[e.block(e.f.groupStart(1)+1)+1000]++ }, "backup descriptors at block 514: differs from the primary's\n", CheckOptions{ExactBackups: true}},
	} {
		e := newEditor(t, fresh)
		tt.damage(e)
		f, err := Open(bytes.NewReader(e.data), int64(len(e.data)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := check(t, f, tt.opt); got != tt.want {
			t.Errorf("%s: Check found %q, want %q", tt.name, got, tt.want)
		}
		if got := check(t, f, CheckOptions{}); got != "" {
			t.Errorf("%s: Check without options found %q", tt.name, got)
		}
	}
}

func TestCheckFindsDamagedJournal(t *testing.T) {
	sound := seedImages(t)[4]
	for _, tt := range []struct {
		name   string
		damage func(e *editor, journal int)
		want   string
	}{
		{"magic", func(e *editor, j int) { e.data[j] = 0 }, "magic is 0x003b3998"},
		{"length", func(e *editor, j int) { be.PutUint32(e.data[j+0x10:], 1000) }, "1000 blocks of 1024 bytes"},
		{"first", func(e *editor, j int) { be.PutUint32(e.data[j+0x14:], 0) }, "log begins at block 0"},
		{"start", func(e *editor, j int) { be.PutUint32(e.data[j+0x1C:], 1) }, "not clean"},
		{"error", func(e *editor, j int) { be.PutUint32(e.data[j+0x20:], 5) }, "error 5 is recorded"},
		{"feature", func(e *editor, j int) { be.PutUint32(e.data[j+0x28:], 1<<20) }, "unknown features"},
		{"checksum", func(e *editor, j int) { be.PutUint32(e.data[j+0x28:], journalChecksumV3); e.data[j+0x50] = 4 }, "checksum is 0x00000000"},
		{"users", func(e *editor, j int) { be.PutUint32(e.data[j+0x40:], 2) }, "2 users"},
		{"copy in the superblock", func(e *editor, j int) {
			e.data[e.super(0x10C)+30]++
			e.put32(e.super(0x3FC), crc32c(^uint32(0), e.data[superOffset:superOffset+0x3FC]))
		}, "copy of the journal inode's map"},
		{"unwritten", func(e *editor, j int) {
			at := e.inode(e.f.sb.JournalInode)
			e.add16(at+0x38, 0x8000)
			raw := e.data[at : at+256]
			e.put32(e.super(0x10C)+16, le.Uint32(raw[0x38:]))
			e.put32(e.super(0x3FC), crc32c(^uint32(0), e.data[superOffset:superOffset+0x3FC]))
			clear(raw[0x7C:0x7E])
			clear(raw[0x82:0x84])
			sum := crc32c(e.f.inodeSeed(e.f.sb.JournalInode, le.Uint32(raw[0x64:])), raw)
			e.put16(at+0x7C, uint16(sum))
			e.put16(at+0x82, uint16(sum>>16))
		}, "blocks from 0 are not written"},
	} {
		e := newEditor(t, sound)
		in, err := e.f.Inode(e.f.sb.JournalInode)
		if err != nil {
			t.Fatal(err)
		}
		m, err := in.extents()
		if err != nil {
			t.Fatal(err)
		}
		tt.damage(e, e.block(m[0].Physical))
		if got := e.problems(); !strings.Contains(got, tt.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: Check found %q, want only %q", tt.name, got, tt.want)
		}
	}
}

func TestCheckStopsWhenCancelled(t *testing.T) {
	f := open(t, mke2fs(t, "2M", "-t", "ext4"), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Check(ctx, CheckOptions{}); err == nil || !strings.Contains(fmt.Sprint(err), "canceled") {
		t.Errorf("Check of a cancelled context: %v", err)
	}
}

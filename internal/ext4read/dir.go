package ext4read

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// DirEntry is one name of a directory.
type DirEntry struct {
	Name  string
	Inode uint32
	Type  uint8 // as on disk: 0 unknown, 1 regular, 2 directory, 3 character, 4 block device, 5 FIFO, 6 socket, 7 symbolic link
}

// A dirent is one record of a directory block, used or not.
type dirent struct {
	off, recLen int
	inode       uint32
	kind        uint8
	name        []byte
}

// parseDirBlock decodes the records of a directory block, which must fill it.
func parseDirBlock(b []byte) ([]dirent, error) {
	var list []dirent
	for off := 0; off < len(b); {
		bad := func(format string, args ...any) ([]dirent, error) {
			return nil, fmt.Errorf("record at %d: %s: %w", off, fmt.Sprintf(format, args...), ErrCorrupt)
		}
		if len(b)-off < 8 {
			return bad("only %d bytes left", len(b)-off)
		}
		d := dirent{off: off, inode: le.Uint32(b[off:]), recLen: int(le.Uint16(b[off+4:])), kind: b[off+7]}
		nameLen := int(b[off+6])
		if d.recLen < 12 || d.recLen%4 != 0 || d.recLen > len(b)-off {
			return bad("length %d is not a multiple of 4 from 12 to %d", d.recLen, len(b)-off)
		}
		if 8+nameLen > d.recLen {
			return bad("name of %d bytes does not fit in %d", nameLen, d.recLen)
		}
		d.name = b[off+8 : off+8+nameLen]
		list = append(list, d)
		off += d.recLen
	}
	return list, nil
}

// dirBlockCount is the number of blocks of a directory. No directory has more
// than the image.
func (f *FS) dirBlockCount(in *Inode) (uint64, error) {
	bs := uint64(f.sb.BlockSize)
	n := in.Size / bs
	if in.Size%bs != 0 || n == 0 || n > f.sb.Blocks {
		return 0, fmt.Errorf("directory's size %d: want a multiple of %d up to the image's size: %w", in.Size, bs, ErrCorrupt)
	}
	return n, nil
}

// dirBlocks calls fn for each block of a directory in logical order. where says
// which block it is. An inline directory has one or two short blocks, the first
// of them without "." and "..".
func (f *FS) dirBlocks(in *Inode, fn func(logical, physical uint64, b []byte, where string) error) error {
	if in.Flags&FlagInlineData != 0 {
		return inlineDirBlocks(in, fn)
	}
	n, err := f.dirBlockCount(in)
	if err != nil {
		return err
	}
	m, err := in.extents()
	if err != nil {
		return err
	}
	for logical := range n {
		e, inside := m.at(logical)
		if !inside || e.Unwritten {
			return fmt.Errorf("directory's block %d is a hole: %w", logical, ErrCorrupt)
		}
		physical := e.Physical + logical - e.Logical
		b, err := f.readBlock(physical, "directory block")
		if err != nil {
			return err
		}
		where := fmt.Sprintf("directory block %d at block %d", logical, physical)
		if f.opt.Verify && f.sb.has(roMetadataCsum) {
			if err := f.dirBlockChecksum(in, logical, b); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		}
		if err := fn(logical, physical, b, where); err != nil {
			return err
		}
	}
	return nil
}

func inlineDirBlocks(in *Inode, fn func(logical, physical uint64, b []byte, where string) error) error {
	data, err := in.inlineContent()
	if err != nil {
		return err
	}
	if len(data) < 60 {
		return fmt.Errorf("inline directory of %d bytes: want at least 60: %w", len(data), ErrCorrupt)
	}
	if err := fn(0, 0, data[4:60], "inline directory"); err != nil {
		return err
	}
	if len(data) == 60 {
		return nil
	}
	return fn(1, 0, data[60:], "inline directory's second part")
}

// readDir gives a directory's names in byte order, without "." and "..".
func (f *FS) readDir(in *Inode) ([]DirEntry, error) {
	var list []DirEntry
	err := f.dirBlocks(in, func(_, _ uint64, b []byte, where string) error {
		records, err := parseDirBlock(b)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		for _, d := range records {
			if d.inode == 0 || string(d.name) == "." || string(d.name) == ".." {
				continue
			}
			if err := f.checkEntry(&d); err != nil {
				return fmt.Errorf("%s: record at %d: %w", where, d.off, err)
			}
			if len(list) >= f.opt.MaxDirEntries {
				return fmt.Errorf("%s: more than %d names in one directory: %w", where, f.opt.MaxDirEntries, ErrUnsupported)
			}
			list = append(list, DirEntry{Name: string(d.name), Inode: d.inode, Type: f.entryType(&d)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(list); i++ {
		if list[i].Name == list[i-1].Name {
			return nil, fmt.Errorf("name %q occurs twice: %w", list[i].Name, ErrCorrupt)
		}
	}
	return list, nil
}

func (f *FS) entryType(d *dirent) uint8 {
	if f.sb.has(incompatFiletype) {
		return d.kind
	}
	return 0
}

// checkEntry refuses a name that no directory may hold and an inode that no name
// may have.
func (f *FS) checkEntry(d *dirent) error {
	for _, c := range d.name {
		if c == 0 || c == '/' {
			return fmt.Errorf("name %q holds a slash or NUL: %w", d.name, ErrCorrupt)
		}
	}
	if len(d.name) == 0 {
		return fmt.Errorf("empty name: %w", ErrCorrupt)
	}
	if d.inode > f.sb.Inodes || d.inode < f.sb.FirstInode {
		return fmt.Errorf("name %q: inode %d is reserved or outside the image's %d: %w", d.name, d.inode, f.sb.Inodes, ErrCorrupt)
	}
	return nil
}

// ReadDir gives a directory's names in byte order, without "." and "..".
func (f *FS) ReadDir(in *Inode) ([]DirEntry, error) {
	if !in.Mode.IsDir() {
		return nil, fmt.Errorf("reading directory inode %d: not a directory", in.Number)
	}
	list, err := f.readDir(in)
	if err != nil {
		return nil, fmt.Errorf("reading directory inode %d: %w", in.Number, err)
	}
	return list, nil
}

// Lookup finds an inode by its name in the manner of io/fs: "." is the root,
// "etc/hosts" a file. It follows no symbolic link. A name that does not exist
// gives an error that wraps fs.ErrNotExist.
func (f *FS) Lookup(name string) (*Inode, error) {
	in, err := f.Inode(RootInode)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", name, err)
	}
	if name == "." {
		return in, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !in.Mode.IsDir() {
			return nil, fmt.Errorf("looking up %q: %w", name, fs.ErrNotExist)
		}
		list, err := f.ReadDir(in)
		if err != nil {
			return nil, fmt.Errorf("looking up %q: %w", name, err)
		}
		i, ok := slices.BinarySearchFunc(list, part, func(e DirEntry, s string) int { return strings.Compare(e.Name, s) })
		if !ok {
			return nil, fmt.Errorf("looking up %q: %w", name, fs.ErrNotExist)
		}
		if in, err = f.Inode(list[i].Inode); err != nil {
			return nil, fmt.Errorf("looking up %q: %w", name, err)
		}
	}
	return in, nil
}

// Walk calls fn for every name, parents first, names of one directory in byte
// order. The root is ".". An inode with several names is met at each of them. An
// error of fn ends the walk and is returned as it is, except fs.SkipDir, which
// skips the directory that it was returned for.
func (f *FS) Walk(fn func(name string, in *Inode) error) error {
	w := &walk{f: f, fn: fn, seen: map[uint32]bool{}, blocks: f.sb.Blocks}
	root, err := f.Inode(RootInode)
	if err != nil {
		return fmt.Errorf("walking \".\": %w", err)
	}
	if !root.Mode.IsDir() {
		return fmt.Errorf("walking \".\": root is not a directory: %w", ErrCorrupt)
	}
	return w.visit(".", root, 0)
}

// walk is one pass over the tree.
type walk struct {
	f       *FS
	fn      func(string, *Inode) error
	seen    map[uint32]bool // directories
	entries int
	blocks  uint64 // of directories, that may still be read
}

func (w *walk) visit(name string, in *Inode, depth int) error {
	if err := w.fn(name, in); err != nil {
		if err == fs.SkipDir && in.Mode.IsDir() { // As in io/fs, only the value itself skips.
			return nil
		}
		return err
	}
	if !in.Mode.IsDir() {
		return nil
	}
	list, err := w.list(in, depth)
	if err != nil {
		return fmt.Errorf("walking %q: %w", name, err)
	}
	for _, e := range list {
		full := e.Name
		if name != "." {
			full = name + "/" + e.Name
		}
		if len(full) > w.f.opt.MaxPath {
			return fmt.Errorf("walking directory inode %d: name %q would make a path of %d bytes, at most %d: %w",
				in.Number, e.Name, len(full), w.f.opt.MaxPath, ErrUnsupported)
		}
		child, err := w.f.Inode(e.Inode)
		if err != nil {
			return fmt.Errorf("walking %q: %w", full, err)
		}
		if err := w.visit(full, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// list reads a directory within the walk's limits.
func (w *walk) list(in *Inode, depth int) ([]DirEntry, error) {
	if w.seen[in.Number] {
		return nil, fmt.Errorf("directory inode %d is reached twice: %w", in.Number, ErrCorrupt)
	}
	w.seen[in.Number] = true
	if depth > w.f.opt.MaxDepth {
		return nil, fmt.Errorf("directory inode %d is more than %d levels deep: %w", in.Number, w.f.opt.MaxDepth, ErrUnsupported)
	}
	if in.Flags&FlagInlineData == 0 {
		n := in.Size / uint64(w.f.sb.BlockSize)
		if n > w.blocks {
			return nil, fmt.Errorf("directory inode %d: directories have more blocks than the image's %d: %w", in.Number, w.f.sb.Blocks, ErrCorrupt)
		}
		w.blocks -= n
	}
	list, err := w.f.ReadDir(in)
	if err != nil {
		return nil, err
	}
	if w.entries += len(list); w.entries > w.f.opt.MaxEntries {
		return nil, fmt.Errorf("directory inode %d: more than %d names in the image: %w", in.Number, w.f.opt.MaxEntries, ErrUnsupported)
	}
	return list, nil
}

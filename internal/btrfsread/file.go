package btrfsread

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
)

// Kinds of extents.
const (
	Inline   = 0
	Regular  = 1
	Prealloc = 2 // reads as zeros
)

var compressions = map[uint8]string{1: "zlib", 2: "lzo", 3: "zstd"}

const (
	extentHead = 21
	extentSize = 53
	maxPacked  = 128 << 10 // bytes of a compressed extent, before and after
)

// Extent is a part of a file's content. What is in no extent is a hole.
type Extent struct {
	Start, Len  uint64 // in the content; of an inline extent its bytes
	Kind        uint8
	Compression uint8  // 0 is none, 1 zlib, 2 lzo, 3 zstd
	Disk        uint64 // logical address of what is stored; 0 is a hole
	DiskLen     uint64
	Offset      uint64 // of Start in what is stored, when uncompressed
	RAM         uint64 // bytes of what is stored, when uncompressed

	inline []byte
}

// stored tells whether there are bytes for it.
func (x *Extent) stored() bool { return x.Kind == Inline || x.Kind == Regular && x.Disk != 0 }

// extents reads where the content of a file or the target of a symlink is.
func (in *Inode) extents() ([]Extent, error) {
	var list []Extent
	end := uint64(0)
	s := in.fs.tree.seek(key{in.Number, typeExtentData, 0})
	for ; s.more(in.Number, typeExtentData); s.next() {
		x, err := in.fs.parseExtent(s.key.offset, s.data)
		if err != nil {
			return nil, fmt.Errorf("extent at byte %d: %w", s.key.offset, err)
		}
		if x.Start < end {
			return nil, fmt.Errorf("extent at byte %d: the one before ends at %d: %w", x.Start, end, ErrCorrupt)
		}
		end = x.Start + x.Len
		if list = append(list, x); len(list) > in.fs.opt.MaxExtents {
			return nil, fmt.Errorf("more than %d extents: %w", in.fs.opt.MaxExtents, ErrUnsupported)
		}
	}
	return list, s.err
}

func (f *FS) parseExtent(start uint64, b []byte) (Extent, error) {
	if len(b) < extentHead {
		return Extent{}, fmt.Errorf("%d bytes: %w", len(b), ErrCorrupt)
	}
	x := Extent{Start: start, RAM: le.Uint64(b[8:]), Compression: b[16], Kind: b[20]}
	switch {
	case b[17] != 0 || b[18] != 0 || b[19] != 0:
		return x, fmt.Errorf("encryption %d, encoding %d: %w", b[17], le.Uint16(b[18:]), ErrUnsupported)
	case x.Compression > 0 && compressions[x.Compression] == "":
		return x, fmt.Errorf("compression %d: %w", x.Compression, ErrCorrupt)
	case x.Kind > Prealloc:
		return x, fmt.Errorf("type %d: %w", x.Kind, ErrCorrupt)
	case x.Compression > 0 && x.RAM > maxPacked:
		return x, fmt.Errorf("%d bytes compressed, at most %d: %w", x.RAM, maxPacked, ErrCorrupt)
	}
	if x.Kind == Inline {
		x.inline, x.Len = b[extentHead:], x.RAM
		if start != 0 || x.RAM > uint64(f.sb.SectorSize) || x.Compression == 0 && x.RAM != uint64(len(x.inline)) {
			return x, fmt.Errorf("%d bytes in line, %d said: %w", len(x.inline), x.RAM, ErrCorrupt)
		}
		return x, nil
	}
	if len(b) != extentSize {
		return x, fmt.Errorf("%d bytes, want %d: %w", len(b), extentSize, ErrCorrupt)
	}
	x.Disk, x.DiskLen, x.Offset, x.Len = le.Uint64(b[21:]), le.Uint64(b[29:]), le.Uint64(b[37:]), le.Uint64(b[45:])
	return x, f.placed(&x)
}

// placed demands that an extent is in the image.
func (f *FS) placed(x *Extent) error {
	sector := uint64(f.sb.SectorSize) - 1
	switch {
	case (x.Start|x.Len|x.Disk|x.DiskLen|x.Offset|x.RAM)&sector != 0 || x.Len == 0 || x.Start+x.Len < x.Start || x.Start+x.Len > 1<<63:
		return fmt.Errorf("%d bytes from byte %d of %d at %d: %w", x.Len, x.Offset, x.DiskLen, x.Disk, ErrCorrupt)
	case x.Disk == 0:
		return nil
	case x.Offset+x.Len < x.Offset || x.Offset+x.Len > x.RAM || x.Compression == 0 && x.Offset+x.Len > x.DiskLen || x.Compression > 0 && x.DiskLen > maxPacked:
		return fmt.Errorf("%d bytes from byte %d of %d, %d of them stored: %w", x.Len, x.Offset, x.RAM, x.DiskLen, ErrCorrupt)
	case x.Kind == Prealloc && x.Compression > 0:
		return fmt.Errorf("preallocated and compressed: %w", ErrCorrupt)
	}
	_, err := f.copies(x.Disk, x.DiskLen, "content")
	return err
}

// File is the content of a regular file. It is safe for concurrent use.
type File struct {
	in   *Inode
	list []Extent

	mu   sync.Mutex
	held int // the extent that is in last; -1 is none
	last []byte
}

// Open reads where a regular file's content is.
func (in *Inode) Open() (*io.SectionReader, error) {
	f, err := in.File()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, int64(in.Size)), nil
}

// File is Open with more to ask for.
func (in *Inode) File() (*File, error) {
	if in.Type != TypeFile {
		return nil, fmt.Errorf("inode %d is no regular file: %w", in.Number, ErrCorrupt)
	}
	list, err := in.extents()
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", in.Number, err)
	}
	return &File{in: in, list: list, held: -1}, nil
}

// Extents lists the parts of the content, by rising offset; some may be behind its end.
func (f *File) Extents() []Extent { return f.list }

// Data lists the ranges of the content that are stored, by rising offset. An inline extent
// counts as a whole sector, as with the kernel.
func (f *File) Data() (list [][2]int64) {
	for i := range f.list {
		x := &f.list[i]
		if !x.stored() {
			continue
		}
		n := x.Len
		if x.Kind == Inline {
			n = uint64(f.in.fs.sb.SectorSize)
		}
		start, end := int64(min(x.Start, f.in.Size)), int64(min(x.Start+n, f.in.Size))
		if n := len(list); n > 0 && list[n-1][1] == start {
			list[n-1][1] = end
		} else if end > start {
			list = append(list, [2]int64{start, end})
		}
	}
	return list
}

// ReadAt reads content.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	size := int64(f.in.Size)
	if off < 0 {
		return 0, fmt.Errorf("reading a file: offset %d", off)
	}
	done := 0
	for done < len(p) && off < size {
		part := p[done:]
		part = part[:min(int64(len(part)), size-off)]
		n, err := f.part(part, uint64(off))
		if err != nil {
			return done, fmt.Errorf("inode %d, byte %d: %w", f.in.Number, off, err)
		}
		done += n
		off += int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// part reads from one extent or hole.
func (f *File) part(p []byte, off uint64) (int, error) {
	i := sort.Search(len(f.list), func(i int) bool { return f.list[i].Start+f.list[i].Len > off })
	hole := i == len(f.list) || f.list[i].Start > off
	if i < len(f.list) {
		x := &f.list[i]
		end := x.Start + x.Len
		if hole {
			end = x.Start
		}
		p = p[:min(uint64(len(p)), end-off)]
		hole = hole || !x.stored()
	}
	if hole {
		clear(p)
		return len(p), nil
	}
	x := &f.list[i]
	if x.Kind != Inline && x.Compression == 0 {
		places, err := f.in.fs.copies(x.Disk+x.Offset+off-x.Start, uint64(len(p)), "content")
		if err != nil {
			return 0, err
		}
		return len(p), f.in.fs.readAt(p, places[0], "content")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != i {
		b, err := f.in.fs.unpack(x)
		if err != nil {
			return 0, err
		}
		f.held, f.last = i, b
	}
	copy(p, f.last[x.Offset+off-x.Start:])
	return len(p), nil
}

// unpack gives all of an extent that is compressed or in line, RAM bytes.
func (f *FS) unpack(x *Extent) ([]byte, error) {
	b := x.inline
	if x.Kind != Inline {
		places, err := f.copies(x.Disk, x.DiskLen, "content")
		if err != nil {
			return nil, err
		}
		b = make([]byte, x.DiskLen)
		if err := f.readAt(b, places[0], "content"); err != nil {
			return nil, err
		}
	}
	out := make([]byte, 0, x.RAM)
	var err error
	switch name := compressions[x.Compression]; name {
	case "":
		out = append(out, b...)
	case "zlib":
		out, err = unzlib(out, b)
	case "zstd":
		out, err = f.unzstd(out, b)
	default:
		return nil, fmt.Errorf("content: it is compressed with %s, zlib and zstd are read: %w", name, ErrUnsupported)
	}
	if err == nil && uint64(len(out))+uint64(f.sb.SectorSize) <= x.RAM {
		err = errors.New("it is too short")
	}
	if err != nil {
		return nil, fmt.Errorf("content: uncompressing: %w: %w", err, ErrCorrupt)
	}
	return append(out, make([]byte, int(x.RAM)-len(out))...), nil
}

package xfsread

import (
	"fmt"
	"io"
)

// File is the content of a regular file. It is safe for concurrent use.
type File struct {
	in   *Inode
	list []Extent
}

// Open reads where a regular file's content is.
func (in *Inode) Open() (*io.SectionReader, error) {
	f, err := in.File()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, in.Size), nil
}

// File is Open with more to ask for.
func (in *Inode) File() (*File, error) {
	if in.Type != TypeFile {
		return nil, fmt.Errorf("inode %d is no regular file: %w", in.Number, ErrCorrupt)
	}
	list, _, err := in.extents(&in.data)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", in.Number, err)
	}
	return &File{in, list}, nil
}

// Extents lists what the file has of the image, by rising offset, behind its size too.
func (f *File) Extents() []Extent { return f.list }

// Data lists the ranges of the content that are stored and written, by rising offset.
func (f *File) Data() (list [][2]int64) {
	log := f.in.fs.sb.blockLog
	for _, x := range f.list {
		if x.Unwritten || x.Logical > uint64(f.in.Size-1)>>log || f.in.Size == 0 {
			continue
		}
		start, end := int64(x.Logical<<log), f.in.Size
		if x.Logical+x.Count <= uint64(f.in.Size)>>log {
			end = int64((x.Logical + x.Count) << log)
		}
		if n := len(list); n > 0 && list[n-1][1] == start {
			list[n-1][1] = end
		} else {
			list = append(list, [2]int64{start, end})
		}
	}
	return list
}

// ReadAt reads content.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading a file: offset %d", off)
	}
	short := false
	if left := max(f.in.Size-off, 0); int64(len(p)) > left {
		p, short = p[:left], true
	}
	for done := 0; done < len(p); {
		n, err := f.part(p[done:], off+int64(done))
		if err != nil {
			return done, fmt.Errorf("inode %d, byte %d: %w", f.in.Number, off+int64(done), err)
		}
		done += n
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// part reads from one extent, or from the hole before it.
func (f *File) part(p []byte, off int64) (int, error) {
	log := f.in.fs.sb.blockLog
	block := uint64(off) >> log
	i := find(f.list, block)
	if i == len(f.list) {
		clear(p)
		return len(p), nil
	}
	x := f.list[i]
	if x.Logical > block {
		n := min(uint64(len(p)), x.Logical<<log-uint64(off))
		clear(p[:n])
		return int(n), nil
	}
	n := int(min(uint64(len(p)), (x.Logical+x.Count)<<log-uint64(off)))
	if x.Unwritten {
		clear(p[:n])
		return n, nil
	}
	return n, f.in.fs.readAt(p[:n], x.place+off-int64(x.Logical<<log), "content")
}

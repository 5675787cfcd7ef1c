package squashfsread

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// dataStored marks the size of a block that is not compressed.
const dataStored = 1 << 24

// File is the content of a regular file. It is safe for concurrent use.
type File struct {
	in     *Inode
	sizes  []uint32 // of the blocks, as the format has them
	starts []int64  // where they are in the image; one more at the end

	mu   sync.Mutex
	held int // the block that is in last; -1 is none
	last []byte
}

// Open reads where a regular file's blocks are.
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
	bs := uint64(in.fs.sb.BlockSize)
	n := in.Size / bs
	if !in.HasFragment() && in.Size%bs > 0 {
		n++
	}
	if n > uint64(in.fs.opt.MaxBlocks) {
		return nil, fmt.Errorf("inode %d: a file of %d blocks, at most %d: %w", in.Number, n, in.fs.opt.MaxBlocks, ErrUnsupported)
	}
	f := &File{in: in, starts: []int64{int64(in.Start)}, held: -1}
	c, buf, at := in.blocks, make([]byte, metaSize), int64(in.Start)
	for left := n; left > 0; {
		part := buf[:min(left*4, metaSize)]
		if err := c.read(part); err != nil {
			return nil, fmt.Errorf("blocks of inode %d: %w", in.Number, err)
		}
		for ; len(part) > 0; part = part[4:] {
			size := le.Uint32(part)
			stored := size &^ dataStored
			if stored > in.fs.sb.BlockSize || stored == 0 && size != 0 {
				return nil, fmt.Errorf("inode %d: block %d has the size %#x: %w", in.Number, len(f.sizes), size, ErrCorrupt)
			}
			at += int64(stored)
			if at < 0 || stored > 0 && (at > in.fs.sb.InodeTable || int64(in.Start) < superSize) {
				return nil, fmt.Errorf("inode %d: block %d ends at %d, outside of the data: %w", in.Number, len(f.sizes), at, ErrCorrupt)
			}
			f.sizes, f.starts = append(f.sizes, size), append(f.starts, at)
			left--
		}
	}
	return f, nil
}

// Stored lists where the file's blocks are in the image, as ranges that do not touch. The
// fragment is not among them.
func (f *File) Stored() (list [][2]int64) {
	if start, end := f.starts[0], f.starts[len(f.starts)-1]; end > start {
		list = append(list, [2]int64{start, end})
	}
	return list
}

// Data lists the ranges of the content that are stored, by rising offset.
func (f *File) Data() (list [][2]int64) {
	bs, size := int64(f.in.fs.sb.BlockSize), int64(f.in.Size)
	add := func(start, end int64) {
		if n := len(list); n > 0 && list[n-1][1] == start {
			list[n-1][1] = end
		} else if end > start {
			list = append(list, [2]int64{start, end})
		}
	}
	for i, s := range f.sizes {
		if s != 0 {
			add(int64(i)*bs, min(int64(i+1)*bs, size))
		}
	}
	if f.in.HasFragment() {
		add(int64(len(f.sizes))*bs, size)
	}
	return list
}

// ReadAt reads content.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	size, bs := int64(f.in.Size), int64(f.in.fs.sb.BlockSize)
	if off < 0 {
		return 0, fmt.Errorf("reading a file: offset %d", off)
	}
	done := 0
	for done < len(p) && off < size {
		i := off / bs
		part := p[done:]
		part = part[:min(int64(len(part)), min((i+1)*bs, size)-off)]
		if err := f.part(part, int(i), off-i*bs); err != nil {
			return done, fmt.Errorf("inode %d, byte %d: %w", f.in.Number, off, err)
		}
		done += len(part)
		off += int64(len(part))
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// part reads from one block.
func (f *File) part(p []byte, i int, off int64) error {
	if i < len(f.sizes) && f.sizes[i] == 0 {
		clear(p)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != i {
		b, err := f.block(i)
		if err != nil {
			return err
		}
		f.held, f.last = i, b
	}
	copy(p, f.last[off:])
	return nil
}

// block gives the content of a block, or the file's part of its fragment.
func (f *File) block(i int) ([]byte, error) {
	bs := int64(f.in.fs.sb.BlockSize)
	want := min(bs, int64(f.in.Size)-int64(i)*bs)
	if i == len(f.sizes) {
		return f.in.fs.fragment(f.in.Fragment, f.in.Offset, want)
	}
	b, err := f.in.fs.dataBlock(f.starts[i], f.sizes[i], fmt.Sprintf("block %d", i))
	if err == nil && int64(len(b)) != want {
		err = fmt.Errorf("block %d: %d bytes, want %d: %w", i, len(b), want, ErrCorrupt)
	}
	return b, err
}

// dataBlock reads a block of data.
func (f *FS) dataBlock(at int64, size uint32, what string) ([]byte, error) {
	b := make([]byte, size&^dataStored)
	if err := f.readAt(b, at, what); err != nil {
		return nil, err
	}
	if size&dataStored != 0 {
		return b, nil
	}
	out, err := f.unpack(make([]byte, 0, f.sb.BlockSize), b)
	if err != nil {
		return nil, fmt.Errorf("%s: uncompressing: %w: %w", what, err, ErrCorrupt)
	}
	return out, nil
}

// fragmentEntry is where a fragment is.
func (f *FS) fragmentEntry(i uint32) (at int64, size uint32, err error) {
	what := fmt.Sprintf("fragment %d", i)
	if i >= f.sb.Fragments {
		return 0, 0, fmt.Errorf("%s of %d: %w", what, f.sb.Fragments, ErrCorrupt)
	}
	var b [16]byte
	if err := f.lookup("fragment table", f.sb.FragmentTable, i, b[:]); err != nil {
		return 0, 0, err
	}
	at, size = int64(le.Uint64(b[:])), le.Uint32(b[8:])
	stored := int64(size &^ dataStored)
	if at < superSize || stored == 0 || stored > int64(f.sb.BlockSize) || at > f.sb.InodeTable-stored {
		return 0, 0, fmt.Errorf("%s: %d bytes at %d: %w", what, stored, at, ErrCorrupt)
	}
	return at, size, nil
}

// fragment gives a part of a fragment.
func (f *FS) fragment(i, offset uint32, n int64) ([]byte, error) {
	at, size, err := f.fragmentEntry(i)
	if err != nil {
		return nil, err
	}
	b, err := f.cached(&f.fragments, at, func() (block, error) {
		b, err := f.dataBlock(at, size, fmt.Sprintf("fragment %d", i))
		return block{data: b}, err
	})
	if err != nil {
		return nil, err
	}
	if int64(offset)+n > int64(len(b.data)) {
		return nil, fmt.Errorf("fragment %d: %d bytes from %d of %d: %w", i, n, offset, len(b.data), ErrCorrupt)
	}
	return slices.Clone(b.data[offset : int64(offset)+n]), nil
}

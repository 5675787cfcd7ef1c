package ext4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// File is where an image is written: an *os.File, empty at the start.
type File interface {
	io.WriterAt
	io.ReaderAt
	Truncate(size int64) error
}

// Options is what a finished image depends on beside its content.
type Options struct {
	UUID     [16]byte  // of the filesystem; checksums are seeded with it
	HashSeed [16]byte  // of directory indexes
	Epoch    time.Time // creation times, and times of what the tree does not hold

	FreeBytes    int64 // what root can write after the image is made
	JournalBytes int64 // a whole number of MiB from MinJournalBytes on; 0 is no journal

	// Warn is told of what ext4 on Linux cannot keep and an image can do without.
	// It may be nil.
	Warn func(message string)
}

// Journal sizes, in bytes. The kernel refuses a journal of less than 1024 blocks.
const (
	MinJournalBytes = 1024 * blockSize
	MaxJournalBytes = 1 << 30
)

// ErrTooLarge says that an image would be larger than the writer makes.
var ErrTooLarge = errors.New("filesystem too large")

// A LimitError is a value of one path that ext4 cannot hold.
type LimitError struct {
	Name   string // path in the image
	What   string // the value and its limit
	Advice string // what to do, or ""
}

func (e *LimitError) Error() string {
	s := fmt.Sprintf("ext4 cannot hold %q: %s", "/"+e.Name, e.What)
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

// Stats describes a finished image. Sizes are in bytes.
type Stats struct {
	Size       int64 // of the image file
	Free       int64 // free blocks, the kernel's own share included
	Journal    int64
	Inodes     int64 // in use, reserved ones included
	FreeInodes int64
}

// Writer makes one image. It is not safe for concurrent use.
type Writer struct {
	f    File
	opt  Options // given to Finish
	seed uint32  // crc32c of the UUID, which every checksum starts from
	size int64   // of the finished image, in bytes

	alloc allocator
	holes int // extents beyond the first of each file

	buf  []byte // data on its way to the file
	fill int    // pending bytes at the start of buf
	base uint64 // the block where they belong
}

// NewWriter starts an image in f.
func NewWriter(f File) *Writer {
	return &Writer{f: f, buf: make([]byte, bufferBlocks*blockSize)}
}

// Check reports what is wrong with the options.
func (o Options) Check() error {
	switch j := o.JournalBytes; {
	case j != 0 && (j < MinJournalBytes || j > MaxJournalBytes || j%blockSize != 0):
		return fmt.Errorf("journal of %d bytes: want 0, or %d to %d in steps of %d", j, MinJournalBytes, MaxJournalBytes, blockSize)
	case o.FreeBytes < 0 || o.FreeBytes > maxBlocks*blockSize:
		return fmt.Errorf("free space of %d bytes: want 0 to %d", o.FreeBytes, int64(maxBlocks*blockSize))
	case !inRange(o.Epoch):
		return fmt.Errorf("epoch %v: ext4 holds times from %v to %v", o.Epoch, minTime, maxTime)
	}
	return nil
}

// Finish writes everything that is not file data and completes the image. It
// adds /lost+found to the tree. Afterwards the Writer and the content that it
// stored can only be read.
func (w *Writer) Finish(ctx context.Context, t *tree.Tree, opt Options) (Stats, error) {
	if err := opt.Check(); err != nil {
		return Stats{}, err
	}
	w.opt, w.seed = opt, crc32c(^uint32(0), opt.UUID[:])
	files, err := w.number(t)
	if err != nil {
		return Stats{}, err
	}
	for _, in := range files.list {
		if err := ctx.Err(); err != nil {
			return Stats{}, err
		}
		if err := w.placeInode(files, in); err != nil {
			return Stats{}, err
		}
	}
	if w.opt.JournalBytes > 0 {
		if files.journal, err = w.placeJournal(); err != nil {
			return Stats{}, err
		}
	}
	if err := w.flush(); err != nil {
		return Stats{}, err
	}
	g, err := w.layOut(uint64(files.last))
	if err != nil {
		return Stats{}, err
	}
	w.size = int64(g.blocks) * blockSize
	if err := w.f.Truncate(w.size); err != nil {
		return Stats{}, fmt.Errorf("sizing the image: %w", err)
	}
	for _, r := range w.alloc.holes() {
		if err := w.zero(r); err != nil {
			return Stats{}, err
		}
	}
	if err := w.writeInodes(ctx, g, files); err != nil {
		return Stats{}, err
	}
	if err := w.writeGroups(g, files); err != nil {
		return Stats{}, err
	}
	return Stats{
		Size:       w.size,
		Free:       int64(g.free) * blockSize,
		Journal:    w.opt.JournalBytes,
		Inodes:     int64(files.last),
		FreeInodes: int64(g.inodes()) - int64(files.last),
	}, nil
}

// ReadAt reads the finished image. Free blocks, which are zeros, are not read from
// the file: reading a hole costs the kernel as much as reading data.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	short := int64(len(p)) > w.size-off
	if short {
		p = p[:max(0, w.size-off)]
	}
	for done := 0; done < len(p); {
		at, part := off+int64(done), p[done:]
		first := uint64(at / blockSize)
		blocks, used := w.alloc.used.alike(run{first, ceilDiv(uint64(at)+uint64(len(part)), blockSize) - first})
		part = part[:min(int64(len(part)), int64(first+blocks)*blockSize-at)]
		if !used {
			clear(part)
		} else if n, err := w.f.ReadAt(part, at); n < len(part) {
			return done + n, fmt.Errorf("reading the image at byte %d: %w", at, err)
		}
		done += len(part)
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// lostFound is where e2fsck puts what it finds; mke2fs always makes it.
const lostFound = "lost+found"

// number lists the tree's inodes and gives them their numbers, in the order of
// Tree.Walk.
func (w *Writer) number(t *tree.Tree) (*inodes, error) {
	if err := w.addLostFound(t); err != nil {
		return nil, err
	}
	files := &inodes{of: map[*tree.Node]*inode{}, last: firstInode}
	root := &inode{node: t.Root(), number: rootInode}
	root.dir = root
	if err := w.addInode(files, root); err != nil {
		return nil, err
	}
	return files, w.numberDir(files, root)
}

// numberDir numbers what is in a directory and below it.
func (w *Writer) numberDir(files *inodes, dir *inode) error {
	dir.links = 2 // its name and its "."; a ".." of each child follows
	for base, n := range dir.node.Children() {
		if n.Mode.IsDir() {
			dir.links++
		}
		if files.of[n] != nil {
			continue
		}
		in := &inode{node: n, dir: dir, base: base, links: uint32(n.Links()), number: files.last + 1}
		if dir.number == rootInode && base == lostFound {
			in.number = firstInode
		} else {
			files.last++
		}
		if err := w.addInode(files, in); err != nil {
			return err
		}
		if n.Mode.IsDir() {
			if err := w.numberDir(files, in); err != nil {
				return err
			}
		}
	}
	if dir.links > maxLinks {
		dir.links = 1 // that many are not counted (dir_nlink)
	}
	return nil
}

func (w *Writer) addInode(files *inodes, in *inode) error {
	if err := in.check(); err != nil {
		return err
	}
	w.warnXattrs(in)
	files.of[in.node] = in
	files.list = append(files.list, in)
	return nil
}

func (w *Writer) addLostFound(t *tree.Tree) error {
	n := t.Root().Child(lostFound)
	if n == nil {
		return t.Put(lostFound, &tree.Node{Mode: fs.ModeDir | 0o700, ModTime: w.opt.Epoch})
	}
	if !n.Mode.IsDir() {
		return &LimitError{lostFound, "it is not a directory, which e2fsck needs it to be", "remove it from the image"}
	}
	return nil
}

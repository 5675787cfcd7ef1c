package loop

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/volant/fledge-action/build/tree"
)

const (
	block = 4096 // bytes; of both filesystems

	// MinXFS is the smallest xfs that mkfs.xfs makes, and MinBtrfs the smallest btrfs with
	// room for more than its own structures, in bytes.
	MinXFS   = 300 << 20
	MinBtrfs = 128 << 20

	// maxSize is the largest image, in bytes.
	maxSize = 1 << 44

	// scanFrom is the size of files that are searched for holes before the size of the
	// image is chosen, in bytes. It costs reading them once more.
	scanFrom = 1 << 20
)

// need is what a tree takes in a filesystem, in bytes but for inodes.
type need struct {
	inodes  int64
	content int64 // of all files
	data    int64 // blocks of files that are not holes
	names   int64 // of directory entries
	dirs    int64 // blocks of directories
	xattrs  int64 // names and values
	outside int64 // blocks of xattrs and targets that do not fit in an inode
}

// measure adds up what a tree takes, and refuses what the filesystem cannot hold.
func (w *writer) measure(ctx context.Context, t *tree.Tree) error {
	seen := map[*tree.Node]bool{}
	for name, n := range t.Walk() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Mode.IsDir() {
			w.need.addDir(n)
		}
		if n.Links() > 1 {
			if seen[n] {
				continue
			}
			seen[n] = true
		}
		if err := w.checkNode(name, n); err != nil {
			return err
		}
		w.warnXattrs(name, n)
		if err := w.need.addInode(ctx, n); err != nil {
			return fmt.Errorf("reading %q: %w", "/"+name, err)
		}
	}
	return nil
}

func (t Type) minSize() int64 {
	if t == XFS {
		return MinXFS
	}
	return MinBtrfs
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// addDir adds a directory's entries: each has a name and a place in an index, and leaves
// that are split are two thirds full.
func (d *need) addDir(n *tree.Node) {
	names := int64(0)
	for base := range n.Children() {
		names += int64(len(base))
	}
	d.names += names
	if entries := names + 24*int64(n.Len()); entries > 256 {
		d.dirs += roundUp(entries*3/2, block)
	}
}

func (d *need) addInode(ctx context.Context, n *tree.Node) error {
	d.inodes++
	inside := int64(0)
	for name, value := range n.Xattrs {
		inside += int64(len(name) + len(value))
	}
	d.xattrs += inside
	if n.Mode.Type() == fs.ModeSymlink {
		inside += n.Size()
	}
	if inside > 200 {
		d.outside += roundUp(inside, block) + block
	}
	if n.Mode.Type() != 0 {
		return nil
	}
	size := n.Size()
	d.content += size
	if size < scanFrom {
		d.data += roundUp(size, block)
		return nil
	}
	used, err := usedBlocks(ctx, n.Content)
	d.data += used * block
	return err
}

// usedBlocks counts the blocks of a file that hold more than zeros.
func usedBlocks(ctx context.Context, c tree.Content) (int64, error) {
	r, err := c.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	used := int64(0)
	err = eachRun(ctx, r, c.Size(), make([]byte, bufferSize), func(data []byte, _ int64) error {
		used += roundUp(int64(len(data)), block) / block
		return nil
	})
	return used, err
}

// bufferSize is how much of a file is read at once, in bytes: a number of blocks.
const bufferSize = 1 << 20

// eachRun reads size bytes and hands on the runs of blocks that hold more than zeros.
// What was read is not kept. A reader that has less or more is an error.
func eachRun(ctx context.Context, r io.Reader, size int64, buf []byte, write func(data []byte, at int64) error) error {
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(int64(len(buf)), size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		for from := 0; from < len(part); {
			first, end := nextRun(part, from)
			if first < end {
				if err := write(part[first:end], at+int64(first)); err != nil {
					return err
				}
			}
			from = end
		}
		at += int64(len(part))
	}
	switch n, err := io.Copy(io.Discard, r); { // content that is checked says at its end whether it was right
	case err != nil:
		return err
	case n > 0:
		return fmt.Errorf("%d bytes more than the size of %d", n, size)
	}
	return nil
}

// nextRun finds the next run of blocks that are not all zeros.
func nextRun(p []byte, from int) (first, end int) {
	at := func(i int) []byte { return p[i:min(i+block, len(p))] }
	first = from
	for first < len(p) && isZero(at(first)) {
		first += block
	}
	first = min(first, len(p))
	end = first
	for end < len(p) && !isZero(at(end)) {
		end += block
	}
	return first, min(end, len(p))
}

var zeros [block]byte

func isZero(p []byte) bool { return string(p) == string(zeros[:len(p)]) }

// size is the image's, in bytes, such that most trees fit at the first try.
func (d need) size(t Type, free int64) int64 {
	if t == XFS {
		// The log, inodes in chunks, what the kernel reserves for itself (up to 32 MiB), and
		// 1 part in 64 for free space, inode and reference trees.
		n := d.data + d.dirs + d.outside + d.inodes*512*9/8 + free + xfsLog + 36<<20
		return max(t.minSize(), roundUp(n+n/64, 1<<20))
	}
	// Per inode its item, references and extents, per block of data a checksum, in leaves
	// that are two thirds full, and as much again for what the kernel reserves. Metadata
	// has chunks of its own, of a tenth of the filesystem but at most 256 MiB.
	meta := (d.inodes*500+d.names*3+d.xattrs*2+d.data/1024)*3/2 + 16<<20
	n := d.data + free + 32<<20
	chunk := min(n/8, maxChunk)
	n += roundUp(meta, chunk) + chunk
	return max(t.minSize(), roundUp(n+n/64, 1<<20))
}

// maxChunk is the most that btrfs takes for metadata at a time, in bytes.
const maxChunk = 256 << 20

// hidden is what the kernel calls free and may need for metadata as files are written.
func (t Type) hidden(size int64) int64 {
	if t == XFS {
		return 0
	}
	return min(size/10, maxChunk) + 8<<20
}

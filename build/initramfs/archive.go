package initramfs

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/volant/fledge-action/build/tree"
)

// copyBytes is how much is copied between two looks at the context.
const copyBytes = 128 << 10

// archiver writes the records of one tree.
type archiver struct {
	ctx  context.Context //nolint:containedctx // lives for one call of Write
	w    io.Writer
	plan *plan
	last int64 // inode number given last
	head []byte
	buf  []byte
	done func() // called after each piece
}

func (a *archiver) write(t *tree.Tree) error {
	for name, n := range t.Walk() {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		if err := a.entry(name, n); err != nil {
			return err
		}
	}
	if err := a.record(&header{name: trailer, nlink: 1}); err != nil {
		return err
	}
	a.done()
	return nil
}

// entry writes one name. The data of a regular file stands with its last name and
// the other names have none, as GNU cpio writes it: readers put off a name without
// data until one with data comes.
func (a *archiver) entry(name string, n *tree.Node) error {
	h := describe(name, n)
	first, last := true, true
	if l := a.plan.linked[n]; l != nil {
		first, last = l.left == l.names, l.left == 1
		l.left--
		h.ino, h.nlink = l.ino, l.names
	}
	if first {
		a.last++
		h.ino = a.last
	}
	body := content(n)
	if n.Mode.IsRegular() && !last {
		body = nil
	}
	if body != nil {
		h.filesize = body.Size()
	}
	if err := a.record(&h); err != nil {
		return err
	}
	if body == nil {
		return nil
	}
	if err := a.body(body, h.filesize); err != nil {
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		return fmt.Errorf("archiving %q: %w", slashed(name), err)
	}
	return nil
}

// content is what stands behind a node's header, nil for nothing. Each name of a
// symlink has its target there: the kernel does not link symlinks.
func content(n *tree.Node) tree.Content {
	switch n.Mode.Type() {
	case 0:
		return n.Content
	case fs.ModeSymlink:
		return target(n.Target)
	}
	return nil
}

// target is the content of a symlink.
type target string

func (t target) Size() int64                  { return int64(len(t)) }
func (t target) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(t))), nil }

// record writes a header.
func (a *archiver) record(h *header) error {
	var err error
	if a.head, err = h.append(a.head[:0]); err != nil {
		return err
	}
	if _, err := a.w.Write(a.head); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

// body copies exactly size bytes.
func (a *archiver) body(c tree.Content, size int64) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	var done int64
	for {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(a.buf)
		if done += int64(n); done > size {
			return fmt.Errorf("the content has more than its %d bytes", size)
		}
		if _, err := a.w.Write(a.buf[:n]); err != nil {
			return err
		}
		a.done()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the content at byte %d of %d: %w", done, size, err)
		}
	}
	if done < size {
		return fmt.Errorf("the content ends after %d of its %d bytes", done, size)
	}
	_, err = a.w.Write(padding(size))
	return err
}

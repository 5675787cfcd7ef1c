package content

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"time"
)

// header is the first line of the text, with its version.
const header = "fledge content 1\n"

// ErrLimit is wrapped by errors about a tree that is over a limit of Options.
var ErrLimit = errors.New("over the limit")

// Type is what an entry is, as find(1) abbreviates it.
type Type byte

// The types.
const (
	File    Type = 'f'
	Dir     Type = 'd'
	Symlink Type = 'l'
	Char    Type = 'c'
	Block   Type = 'b'
	FIFO    Type = 'p'
	Socket  Type = 's'
)

// Entry is one name. Fields that its type does not have are not looked at.
type Entry struct {
	Name     string // relative to the root, in the manner of io/fs: "." is the root
	Type     Type
	Mode     uint32 // permissions, setuid, setgid and sticky: the low 12 bits
	UID, GID uint32
	Mtime    time.Time
	Xattrs   map[string]string // full names to values as getxattr(2) gives them

	Target       string // symbolic links
	Major, Minor uint32 // devices

	Size   int64                         // bytes of a regular file
	Open   func() (io.ReadCloser, error) // its content; nil if it is empty
	LinkOf string                        // of several names of one inode, the first in byte order; "" if there is one
}

// Options limits what is read.
type Options struct {
	MaxBytes int64 // of all contents together; 0 for no limit
}

// Digest makes the digest, "sha256:" and 64 hex digits. entries come in byte order of
// their names and can be walked twice; a content is opened at most once.
func Digest(ctx context.Context, entries iter.Seq[Entry], o Options) (string, error) {
	h := sha256.New()
	if err := Text(ctx, h, entries, o); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

// Text writes what [Digest] digests.
func Text(ctx context.Context, w io.Writer, entries iter.Seq[Entry], o Options) error {
	s := &scribe{ctx: ctx, w: bufio.NewWriterSize(w, 64<<10), left: math.MaxInt64, emptied: lostFoundIsEmpty(entries)}
	if o.MaxBytes > 0 {
		s.limit, s.left = o.MaxBytes, o.MaxBytes
	}
	s.w.WriteString(header) // its errors are Flush's too
	for e := range entries {
		if err := s.entry(&e); err != nil {
			return fmt.Errorf("digesting content: %w", err)
		}
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("digesting content: %w", err)
	}
	return nil
}

// scribe writes the text.
type scribe struct {
	ctx         context.Context
	w           *bufio.Writer
	last        string // name
	line        []byte
	buf         []byte
	limit, left int64 // bytes of contents
	emptied     bool  // lost+found has nothing in it
}

func (s *scribe) entry(e *Entry) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if e.Name <= s.last {
		return fmt.Errorf("%q comes after %q, which is not the order of bytes", e.Name, s.last)
	}
	s.last = e.Name
	if s.emptied && isLostFound(e) {
		return nil
	}
	s.line = escape(s.line[:0], e.Name)
	if linkable(e.Type) && e.LinkOf != "" && e.LinkOf != e.Name {
		s.line = escape(append(s.line, " h "...), e.LinkOf)
	} else if err := s.inode(e); err != nil {
		return err
	}
	_, err := s.w.Write(append(s.line, '\n'))
	return err
}

// inode appends all fields of an inode.
func (s *scribe) inode(e *Entry) error {
	mode := e.Mode & 0o7777
	if e.Type == Symlink {
		mode = 0o777 // Linux has no other, and looks at none
	}
	s.line = fmt.Appendf(s.line, " %c %04o %d %d %d", e.Type, mode, e.UID, e.GID, Seconds(e.Mtime))
	switch e.Type {
	case File:
		sum, err := s.content(e)
		if err != nil {
			return fmt.Errorf("%q: %w", e.Name, err)
		}
		s.line = fmt.Appendf(s.line, " %d %x", e.Size, sum)
	case Symlink:
		s.line = escape(append(s.line, ' '), e.Target)
	case Char, Block:
		s.line = fmt.Appendf(s.line, " %d %d", e.Major, e.Minor)
	case Dir, FIFO, Socket:
	default:
		return fmt.Errorf("%q: type %q is none of Linux", e.Name, e.Type)
	}
	s.line = appendXattrs(s.line, e.Xattrs)
	return nil
}

// content hashes the content of a file.
func (s *scribe) content(e *Entry) ([]byte, error) {
	if s.left -= e.Size; s.left < 0 || e.Size < 0 {
		return nil, fmt.Errorf("contents of more than %d bytes together: %w", s.limit, ErrLimit)
	}
	h := sha256.New()
	if e.Open == nil {
		if e.Size != 0 {
			return nil, fmt.Errorf("no content of %d bytes", e.Size)
		}
		return h.Sum(nil), nil
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, &bounded{s.ctx, r, e.Size + 1}, s.buf)
	if err != nil {
		return nil, err
	}
	if n != e.Size {
		return nil, fmt.Errorf("content does not have the %d bytes that it should", e.Size)
	}
	return h.Sum(nil), nil
}

// bounded reads at most left bytes, until a context ends.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// linkable tells whether names of one inode are told as such. Archives cannot do it for
// symbolic links, and for those it makes no difference.
func linkable(t Type) bool { return t != Dir && t != Symlink }

// Seconds is a modification time in the text: whole seconds since 1970, rounded down, and
// the nearest time that every format holds.
func Seconds(t time.Time) int64 { return min(max(t.Unix(), 0), math.MaxUint32) }

const (
	lostFound     = "lost+found"
	lostFoundMode = 0o700
)

// isLostFound tells whether an entry is what mke2fs makes in each ext4.
func isLostFound(e *Entry) bool {
	return e.Name == lostFound && e.Type == Dir && e.Mode&0o7777 == lostFoundMode && e.UID == 0 && e.GID == 0 && len(appendXattrs(nil, e.Xattrs)) == 0
}

func lostFoundIsEmpty(entries iter.Seq[Entry]) bool {
	for e := range entries {
		if strings.HasPrefix(e.Name, lostFound+"/") {
			return false
		}
	}
	return true
}

// escape appends bytes of any kind as one word: printable ASCII without the blank and
// "%" as it is, every other byte as "%" and two digits.
func escape(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c > ' ' && c <= '~' && c != '%' {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

package artifact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
)

// Archive is what an archive has beside its entries.
type Archive struct {
	Compression  Compression
	Uncompressed int64     // bytes, with trailer and padding
	Records      []*Record // in the order of the archive, the trailer last

	// Problems are what the kernel would unpack in another way than it looks, in
	// the order of the archive.
	Problems []string
}

// maxProblems is how many problems are listed.
const maxProblems = 100

// scan is one pass over an archive.
type scan struct {
	a       *Artifact
	archive *Archive
	guard   *guard
	reader  *cpio.Reader
	budget  budget
	byName  map[string]*Record
	links   map[linkKey]*linkGroup
}

// linkKey is what records of one inode have in common.
type linkKey struct{ major, minor, ino uint32 }

// linkGroup is the records of one inode. Usually one of them has the content.
type linkGroup struct {
	first, body *Record
	names       uint32
	sum         [sha256.Size]byte // of the content
}

func (a *Artifact) openArchive(ctx context.Context, k kind) error {
	spool := io.Writer(nil)
	if a.opt.Spool != nil && k != kindNone {
		spool = a.opt.Spool
	}
	u, err := a.unpack(ctx, k, spool)
	if err != nil {
		return err
	}
	defer u.Close()
	s := &scan{a: a, archive: &Archive{}, budget: budget{opt: &a.opt}, byName: map[string]*Record{}, links: map[linkKey]*linkGroup{}}
	s.guard = &guard{r: u, dirty: func(name string) { s.problem("%q: padding is not zero", name) }}
	s.reader = cpio.NewReader(s.guard)
	if err := s.records(u); err != nil {
		return err
	}
	if err := s.rest(u); err != nil {
		return err
	}
	if s.archive.Compression, err = u.finish(); err != nil {
		return err
	}
	s.archive.Uncompressed = u.n
	return s.complete()
}

func (s *scan) problem(format string, args ...any) {
	if len(s.archive.Problems) < maxProblems {
		s.archive.Problems = append(s.archive.Problems, fmt.Sprintf(format, args...))
	}
}

// records reads up to the trailer.
func (s *scan) records(u *unpacker) error {
	for {
		h, err := s.reader.Next()
		if s.guard.err != nil {
			return nested(u, s.guard)
		}
		r := s.guard.rec
		if r != nil {
			s.archive.Records = append(s.archive.Records, r)
		}
		if errors.Is(err, io.EOF) && s.guard.ended {
			return nil
		}
		if err != nil {
			return s.guard.fail(r.Offset, "github.com/cavaliergopher/cpio: %w", err)
		}
		if err := s.agree(h, r); err != nil {
			return err
		}
		if err := s.add(h, r); err != nil {
			return err
		}
	}
}

// nested says so when a compressed file holds another compressed file.
func nested(u *unpacker, g *guard) error {
	if g.count == 1 && g.rec.Magic != "" && u.kind != kindNone {
		for _, m := range archiveMagics {
			if m.kind != kindNone && strings.HasPrefix(g.rec.Magic, m.magic) {
				return fmt.Errorf("it is compressed with %s, and inside again with %s: %w", u.kind, m.kind, ErrUnsupported)
			}
		}
	}
	return g.err
}

// agree compares what the cpio reader and the guard make of a header.
func (s *scan) agree(h *cpio.Header, r *Record) error {
	size := h.Size
	if h.Linkname != "" {
		size = int64(len(h.Linkname))
	}
	f := &r.Fields
	if h.Name != r.Name || h.Inode != int64(f[cIno]) || uint32(h.Mode) != f[cMode] || h.Uid != int(f[cUID]) || h.Guid != int(f[cGID]) ||
		h.Links != int(f[cNlink]) || h.ModTime.Unix() != int64(f[cMtime]) || size != r.Size() || h.Checksum != f[cCheck] {
		return s.guard.fail(r.Offset, "read as %+v by one reader and as %+v by another", *h, *r)
	}
	return nil
}

// add makes an entry of a record.
func (s *scan) add(h *cpio.Header, r *Record) error {
	f := &r.Fields
	name, err := cleanName(r.Name)
	if err != nil {
		return s.guard.fail(r.Offset, "%w", err)
	}
	if strings.HasSuffix(r.Name, "/") && r.kind() != Dir {
		return s.guard.fail(r.Offset, "the name of a %s ends with a slash", r.kind())
	}
	if name == "." && r.kind() != Dir {
		return s.guard.fail(r.Offset, "the root is a %s", r.kind())
	}
	if other := s.byName[name]; other != nil {
		return s.guard.fail(r.Offset, "the name occurs a second time, first at byte %d", other.Offset)
	}
	e := &Entry{
		Name: name, Type: r.kind(), Mode: f[cMode] & 0o7777, UID: f[cUID], GID: f[cGID],
		Mtime: time.Unix(int64(f[cMtime]), 0).UTC(), Size: r.Size(), Links: f[cNlink], Inode: uint64(f[cIno]), record: r, body: r,
	}
	switch e.Type {
	case Char, Block:
		e.Rdev = Rdev{f[cRdevmajor], f[cRdevminor]}
	case Symlink:
		if e.Target, err = s.target(h); err != nil {
			return err
		}
		if strings.IndexByte(e.Target, 0) >= 0 {
			return s.guard.fail(r.Offset, "symbolic link's target %q holds a NUL", e.Target)
		}
	}
	r.Entry, s.byName[name] = e, r
	s.a.Entries = append(s.a.Entries, e)
	if err := s.budget.add(e, len(r.Name)); err != nil {
		return fmt.Errorf("record %d at byte %d of the archive: %w", s.guard.count, r.Offset, err)
	}
	s.inOrder(e)
	return s.link(r)
}

// target gives a link's target. The reader does not know a link when setuid,
// setgid or sticky bits are set.
func (s *scan) target(h *cpio.Header) (string, error) {
	if h.Linkname != "" {
		return h.Linkname, nil
	}
	b, err := io.ReadAll(s.reader)
	if s.guard.err != nil {
		err = s.guard.err
	}
	return string(b), err
}

// cleanName gives a name in the manner of io/fs.
func cleanName(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", errors.New("the name is absolute")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New(`the name holds ".."`)
		}
	}
	return path.Clean(name), nil
}

// inOrder notes an entry that the kernel would not unpack, since its directory is
// not there yet.
func (s *scan) inOrder(e *Entry) {
	if dir := parent(e.Name); dir != "." && s.byName[dir] == nil {
		s.problem("%q: its directory %q does not come before it", e.Name, dir)
	}
}

// linked reports whether a record may share its inode, and gives the key.
func (r *Record) linked() (linkKey, bool) {
	f := &r.Fields
	k := r.kind()
	return linkKey{f[cDevmajor], f[cDevminor], f[cIno]}, f[cNlink] > 1 && k != Dir && k != Symlink
}

// link puts a record into the group of its inode.
func (s *scan) link(r *Record) error {
	key, ok := r.linked()
	if !ok {
		return nil
	}
	var sum [sha256.Size]byte
	if r.Size() > 0 {
		h := sha256.New()
		if _, err := io.Copy(h, s.reader); err != nil {
			return err
		}
		h.Sum(sum[:0])
	}
	g := s.links[key]
	if g == nil {
		g = &linkGroup{first: r}
		s.links[key] = g
	}
	g.names++
	for _, i := range []int{cMode, cUID, cGID, cMtime, cNlink, cRdevmajor, cRdevminor} {
		if a, b := g.first.Fields[i], r.Fields[i]; a != b {
			return s.guard.fail(r.Offset, "hard link of %q (inode %d): %s is %#x here and %#x there", g.first.Name, key.ino, FieldNames[i], b, a)
		}
	}
	if n := r.Fields[cNlink]; g.names > n {
		return s.guard.fail(r.Offset, "hard link of %q (inode %d): name %d of %d", g.first.Name, key.ino, g.names, n)
	}
	switch {
	case r.Size() == 0:
	case g.body == nil:
		g.body, g.sum = r, sum
	case g.sum != sum:
		return s.guard.fail(r.Offset, "hard link of %q (inode %d): another content than at %q", g.first.Name, key.ino, g.body.Name)
	}
	return nil
}

// rest demands that only zeros follow the trailer.
func (s *scan) rest(u *unpacker) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := u.Read(buf)
		if i := firstNonZero(buf[:n]); i >= 0 {
			what := "data"
			if strings.HasPrefix(string(buf[i:n]), "07070") {
				what = "another archive"
			}
			return fmt.Errorf("%s after the trailer, at byte %d of the archive: %w", what, s.guard.pos+int64(i), ErrMalformed)
		}
		s.guard.pos += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// complete does what needs all records.
func (s *scan) complete() error {
	for _, r := range s.archive.Records {
		if r.Entry == nil {
			continue
		}
		if key, ok := r.linked(); ok {
			g := s.links[key]
			if g.body != nil {
				r.Entry.body, r.Entry.Size = g.body, g.body.Size()
			}
			if g.first == r && g.names < r.Fields[cNlink] {
				s.problem("%q: %d of %d hard links are in the archive", r.Name, g.names, r.Fields[cNlink])
			}
		}
	}
	sortEntries(s.a.Entries)
	for _, e := range s.a.Entries {
		if below := s.a.below(e.Name); below != nil && e.Type != Dir {
			return s.guard.failAt(s.byName[below.Name], "it is below %q, which is a %s", e.Name, e.Type)
		}
	}
	linkGroups(s.a.Entries, func(e *Entry) (linkKey, bool) { return s.byName[e.Name].linked() })
	s.a.Archive = s.archive
	return nil
}

func (g *guard) failAt(r *Record, format string, args ...any) error {
	return fmt.Errorf("record %q at byte %d of the archive: %w", r.Name, r.Offset, fmt.Errorf(format+": %w", append(args, ErrMalformed)...))
}

// archiveContent opens the content of an archive's file.
func (a *Artifact) archiveContent(ctx context.Context, e *Entry) (io.ReadCloser, error) {
	if r := a.Plain(); r != nil {
		return section{io.NewSectionReader(r, e.body.Body(), e.Size)}, nil
	}
	u, err := a.unpack(ctx, kind(a.Archive.Compression.Kind), nil)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, u, e.body.Body()); err != nil {
		u.Close()
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	return part{io.LimitReader(u, e.Size), u}, nil
}

// part is a part of something that is closed with it.
type part struct {
	io.Reader
	io.Closer
}

// Plain gives the uncompressed bytes of an archive, or nil if they are not at
// hand: it is an image, or compressed and there is no spool.
func (a *Artifact) Plain() io.ReaderAt {
	switch {
	case a.Archive == nil:
		return nil
	case a.Archive.Compression.Kind == string(kindNone):
		return a.source
	case a.opt.Spool != nil:
		return a.opt.Spool
	}
	return nil
}

// Raw gives the artifact's own bytes.
func (a *Artifact) Raw() io.ReaderAt { return a.source }

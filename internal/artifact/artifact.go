package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/volant/fledge-action/internal/btrfsread"
	"github.com/volant/fledge-action/internal/ext4read"
	"github.com/volant/fledge-action/internal/squashfsread"
	"github.com/volant/fledge-action/internal/xfsread"
)

// ErrMalformed is wrapped by errors about an archive that breaks the format.
var ErrMalformed = errors.New("artifact is malformed")

// ErrUnsupported is wrapped by errors about an artifact that is not read although
// it may be sound.
var ErrUnsupported = errors.New("not supported")

// ErrLimit is wrapped by errors about an artifact that is over a limit of Options.
var ErrLimit = errors.New("over the limit")

// Spool keeps the uncompressed bytes of an archive: an empty *os.File, for
// instance.
type Spool interface {
	io.Writer
	io.ReaderAt
}

// Options limits what is read.
type Options struct {
	// Verify refuses an image's structures that do not match their checksums.
	// Archives are always verified.
	Verify bool

	// Spool, if set, gets the uncompressed bytes of a compressed archive while it
	// is opened, so that content is found without decompressing again.
	Spool Spool

	MaxEntries  int   // names; 0 means 1 Mi
	MaxMetadata int64 // bytes of all names, link targets and xattrs together; 0 means 256 MiB
	MaxUnpacked int64 // bytes of an archive when uncompressed; 0 means 8 GiB
}

func (o Options) withDefaults() Options {
	if o.MaxEntries == 0 {
		o.MaxEntries = 1 << 20
	}
	if o.MaxMetadata == 0 {
		o.MaxMetadata = 256 << 20
	}
	if o.MaxUnpacked == 0 {
		o.MaxUnpacked = 8 << 30
	}
	return o
}

// Artifact is an opened artifact. It is safe for concurrent use if the reader
// that it was opened with is.
type Artifact struct {
	Size    int64    // bytes of the artifact itself
	Entries []*Entry // in byte order of their names

	// One of them is not nil.
	Image    *ext4read.FS
	Squashfs *squashfsread.FS
	XFS      *xfsread.FS
	Btrfs    *btrfsread.FS
	Archive  *Archive

	source io.ReaderAt
	opt    Options
}

// Format is "ext4", "squashfs", "xfs", "btrfs" or "cpio".
func (a *Artifact) Format() string {
	switch {
	case a.Image != nil:
		return "ext4"
	case a.Squashfs != nil:
		return "squashfs"
	case a.XFS != nil:
		return "xfs"
	case a.Btrfs != nil:
		return "btrfs"
	}
	return "cpio"
}

// Open reads the metadata of the size bytes of r. It stops soon after ctx is
// cancelled. r has to stay readable for as long as the Artifact is used.
func Open(ctx context.Context, r io.ReaderAt, size int64, opt Options) (*Artifact, error) {
	a := &Artifact{Size: size, source: r, opt: opt.withDefaults()}
	kind, err := detect(r, size)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindExt4:
		err = a.openImage(ctx)
	case kindSquashfs:
		err = a.openSquashfs(ctx)
	case kindXFS:
		err = a.openXFS(ctx)
	case kindBtrfs:
		err = a.openBtrfs(ctx)
	default:
		err = a.openArchive(ctx, kind)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Lookup finds an entry by its exact name, and gives nil if there is none.
func (a *Artifact) Lookup(name string) *Entry {
	i, ok := slices.BinarySearchFunc(a.Entries, name, func(e *Entry, s string) int { return strings.Compare(e.Name, s) })
	if !ok {
		return nil
	}
	return a.Entries[i]
}

// maxLinks is how many symbolic links one name may lead through, as on Linux.
const maxLinks = 40

// Resolve finds what a path leads to inside the artifact, through symbolic links;
// follow says whether a link at the end is followed too. It never leaves the
// artifact: ".." of the root is the root, and absolute targets start there. The
// error wraps fs.ErrNotExist when there is no such entry.
func (a *Artifact) Resolve(name string, follow bool) (*Entry, error) {
	at, links := ".", 0
	for rest := name; rest != ""; {
		part, after, _ := strings.Cut(rest, "/")
		rest = after
		switch part {
		case "", ".":
			continue
		case "..":
			at = parent(at)
			continue
		}
		next := join(at, part)
		e := a.Lookup(next)
		last := strings.Trim(rest, "/") == ""
		switch {
		case e == nil && !a.implied(next):
			return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
		case e != nil && e.Type == Symlink && (follow || !last):
			if links++; links > maxLinks {
				return nil, fmt.Errorf("%q: leads through more than %d symbolic links", name, maxLinks)
			}
			if strings.HasPrefix(e.Target, "/") {
				at = "."
			}
			rest = e.Target + "/" + rest
		case e != nil && e.Type != Dir && !last:
			return nil, fmt.Errorf("%q: %q is no directory: %w", name, next, fs.ErrNotExist)
		default:
			at = next
		}
	}
	if e := a.Lookup(at); e != nil {
		return e, nil
	}
	if at == "." || a.implied(at) {
		return &Entry{Name: at, Type: Dir}, nil
	}
	return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
}

// implied reports whether a directory of an archive has no record of its own, but
// entries.
func (a *Artifact) implied(name string) bool { return a.Archive != nil && a.below(name) != nil }

// below gives an entry below a directory, nil if there is none.
func (a *Artifact) below(name string) *Entry {
	prefix := name + "/"
	i, _ := slices.BinarySearchFunc(a.Entries, prefix, func(e *Entry, s string) int { return strings.Compare(e.Name, s) })
	if i < len(a.Entries) && strings.HasPrefix(a.Entries[i].Name, prefix) {
		return a.Entries[i]
	}
	return nil
}

// Content opens the content of a regular file. What it gives also has ReadAt and
// Seek, unless it is from a compressed archive without a spool.
func (a *Artifact) Content(ctx context.Context, e *Entry) (io.ReadCloser, error) {
	if e.Type != File {
		return nil, fmt.Errorf("%q is a %s, which has no content", e.Name, e.Type)
	}
	if a.Archive != nil {
		return a.archiveContent(ctx, e)
	}
	switch f, err := a.file(e); {
	case err != nil:
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	case f != nil:
		return section{io.NewSectionReader(f, 0, e.Size)}, nil
	}
	in, err := a.Image.Inode(uint32(e.Inode))
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	r, err := in.Open()
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Name, err)
	}
	return section{r}, nil
}

// section is a part of something that stays open.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// budget counts what is kept in memory for an artifact.
type budget struct {
	entries  int
	metadata int64
	opt      *Options
}

func (b *budget) add(e *Entry, spelled int) error {
	if b.entries++; b.entries > b.opt.MaxEntries {
		return fmt.Errorf("more than %d names: %w", b.opt.MaxEntries, ErrLimit)
	}
	b.metadata += int64(spelled + len(e.Target))
	for name, value := range e.Xattrs {
		b.metadata += int64(len(name) + len(value))
	}
	if b.metadata > b.opt.MaxMetadata {
		return fmt.Errorf("names, link targets and xattrs of more than %d bytes together: %w", b.opt.MaxMetadata, ErrLimit)
	}
	return nil
}

package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// Source is one layer.
type Source struct {
	Digest string // for messages

	// Open yields the uncompressed tar. A reader that verifies reports a mismatch
	// instead of io.EOF: Flatten reads to the very end. It may be called again.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Sink stores the bytes of regular files.
type Sink interface {
	// Store reads exactly size bytes.
	Store(size int64, r io.Reader) (tree.Content, error)
	// Discard takes back what Store returned and nothing refers to.
	Discard(c tree.Content) error
}

// Limits bounds what the layers of one image may hold together. A zero field
// means the default.
type Limits struct {
	Entries       int   // tar entries and the directories they imply; default 2,000,000
	MetadataBytes int64 // names, link targets and xattrs (64 bytes more for each); default 256 MiB
	FileBytes     int64 // one file, its holes included; default 64 GiB
	TotalBytes    int64 // all files, their holes included; default 256 GiB
	StreamBytes   int64 // tars to their ends, whatever is in them, each time they are read; default 512 GiB
}

func (l Limits) orDefault() Limits {
	set := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	if l.Entries == 0 {
		l.Entries = 2_000_000
	}
	set(&l.MetadataBytes, 256<<20)
	set(&l.FileBytes, 64<<30)
	set(&l.TotalBytes, 256<<30)
	set(&l.StreamBytes, 512<<30)
	return l
}

// ErrLimit is wrapped by errors about Limits.
var ErrLimit = errors.New("over the limit")

// Options is what Flatten depends on beside the layers.
type Options struct {
	Limits Limits
	// Epoch is the modification time of directories that no entry describes.
	Epoch time.Time
}

// Flatten applies layers, given bottom first, to an empty tree. File content
// goes to sink. On error the sink holds content that nothing refers to.
func Flatten(ctx context.Context, layers []Source, sink Sink, opt Options) (*tree.Tree, error) {
	f := &flattener{
		sink:   sink,
		limits: opt.Limits.orDefault(),
		layers: layers,
		parsed: make([][]entry, len(layers)),
		above:  shade{},
	}
	for i := len(layers) - 1; i >= 0; i-- {
		if err := f.scan(ctx, i, f.collect); err != nil {
			return nil, err
		}
		if i > 0 { // below the bottom there is nothing to hide
			f.above.add(f.parsed[i])
		}
	}
	t, err := f.replay(ctx, opt.Epoch)
	if err != nil {
		return nil, err
	}
	return t, f.settle(ctx, t)
}

// flattener holds what is known of all layers.
type flattener struct {
	sink   Sink
	limits Limits
	layers []Source
	parsed [][]entry // by layer, in the order of the tar
	above  shade     // what the layers above the one being scanned hide

	entries  int
	metadata int64
	bytes    int64
	streamed int64
}

// skipped stands for content that was not stored when it streamed by.
type skipped struct{ size int64 }

func (s skipped) Size() int64 { return s.size }

func (s skipped) Open() (io.ReadCloser, error) {
	return nil, errors.New("opening content: it was not stored")
}

// collect takes one entry of layer i, storing its bytes unless a layer above
// hides its name.
func (f *flattener) collect(i int, e entry, size int64, r io.Reader) error {
	if err := f.charge(e, size); err != nil {
		return err
	}
	if e.isFile() && size > 0 {
		if f.above.hides(e.name) {
			e.node.Content = skipped{size}
		} else {
			c, err := f.sink.Store(size, r)
			if err != nil {
				return err
			}
			e.node.Content = c
		}
	}
	f.parsed[i] = append(f.parsed[i], e)
	return nil
}

// charge counts an entry against the limits.
func (f *flattener) charge(e entry, size int64) error {
	if e.isFile() {
		if size > f.limits.FileBytes {
			return fmt.Errorf("a file of %d bytes: %w of %d", size, ErrLimit, f.limits.FileBytes)
		}
		if f.bytes += size; f.bytes > f.limits.TotalBytes {
			return fmt.Errorf("%d bytes of files: %w of %d", f.bytes, ErrLimit, f.limits.TotalBytes)
		}
	}
	return f.count(1, e.metadataBytes())
}

// count adds to what is kept in memory.
func (f *flattener) count(entries int, metadata int64) error {
	f.entries += entries
	f.metadata += metadata
	switch {
	case f.entries > f.limits.Entries:
		return fmt.Errorf("%d entries: %w of %d", f.entries, ErrLimit, f.limits.Entries)
	case f.metadata > f.limits.MetadataBytes:
		return fmt.Errorf("%d bytes of names, links and xattrs: %w of %d", f.metadata, ErrLimit, f.limits.MetadataBytes)
	}
	return nil
}

// settle gives back what was stored in vain and fetches what was skipped in vain.
func (f *flattener) settle(ctx context.Context, t *tree.Tree) error {
	for i, entries := range f.parsed {
		missing := false
		for _, e := range entries {
			if !e.isFile() || e.node.Content == nil {
				continue
			}
			_, absent := e.node.Content.(skipped)
			switch used := e.node.Links() > 0; {
			case used && absent:
				missing = true
			case !used && !absent:
				if err := f.sink.Discard(e.node.Content); err != nil {
					return err
				}
			}
		}
		if missing {
			if err := f.rescan(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// rescan reads layer i once more, for the content that was skipped but has a
// name in the tree.
func (f *flattener) rescan(ctx context.Context, i int) error {
	next := 0
	err := f.scan(ctx, i, func(_ int, again entry, size int64, r io.Reader) error {
		if next == len(f.parsed[i]) || f.parsed[i][next].name != again.name {
			return errors.New("the layer changed between two reads")
		}
		e := f.parsed[i][next]
		next++
		if !e.isFile() || e.node.Links() == 0 {
			return nil
		}
		if _, absent := e.node.Content.(skipped); !absent {
			return nil
		}
		if e.node.Content.Size() != size {
			return errors.New("the layer changed between two reads")
		}
		c, err := f.sink.Store(size, r)
		if err != nil {
			return err
		}
		e.node.Content = c
		return nil
	})
	if err == nil && next < len(f.parsed[i]) {
		err = fmt.Errorf("applying layer %s: the layer changed between two reads", f.layers[i].Digest)
	}
	return err
}

// metered counts what is read of a tar. Much of it may be nothing that collect
// sees: headers about nothing, whiteouts with content, bytes behind the end mark.
type metered struct {
	f *flattener
	r io.Reader
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if m.f.streamed += int64(n); m.f.streamed > m.f.limits.StreamBytes {
		return 0, fmt.Errorf("%d bytes of tars: %w of %d", m.f.streamed, ErrLimit, m.f.limits.StreamBytes)
	}
	return n, err
}

// isFile tells regular files from everything else.
func (e entry) isFile() bool { return e.kind == kindNode && e.node.Mode.Type() == 0 }

func (e entry) isWhiteout() bool { return e.kind == kindWhiteout || e.kind == kindOpaque }

func (e entry) isDir() bool { return e.kind == kindNode && e.node.Mode.Type() == fs.ModeDir }

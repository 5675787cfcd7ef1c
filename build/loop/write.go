package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// Options is what a finished image depends on beside its content.
type Options struct {
	Type      Type
	UUID      [16]byte  // of the filesystem
	Epoch     time.Time // of what mkfs makes, where its version can be told
	FreeBytes int64     // what root can write after the image is made

	Mounter Mounter // nil is Local
	Path    string  // where the programs are, as in $PATH; the usual folders come after it

	// Warn is told of what the filesystem cannot keep and an image can do without, Detail
	// of what is done, Progress of how many bytes of content are written. They may be nil.
	Warn, Detail func(message string)
	Progress     func(done, total int64)
}

// Tool is a program that has taken part.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"` // as it tells it; "" if it does not
}

// Stats describes a finished image. Sizes are in bytes.
type Stats struct {
	Size   int64 // of the image file
	Free   int64 // what root can write
	Inodes int64 // in use, without those of the filesystem itself
	Tools  []Tool
}

// maxTries is how many sizes are tried.
const maxTries = 5

// errFull says that an image of some size has too little room.
var errFull = errors.New("the filesystem is full")

type writer struct {
	opt   Options
	image *os.File
	tools *tools
	need  need
}

// Check tells what keeps an image of o from being made on this machine: programs that are
// not there, or privilege. It takes little time.
func Check(ctx context.Context, o Options) error {
	if _, err := findTools(ctx, o.Type, o.Path); err != nil {
		return err
	}
	if m, ok := o.mounter().(interface{ Available() error }); ok {
		return m.Available()
	}
	return nil
}

func (o Options) mounter() Mounter {
	if o.Mounter == nil {
		return Local{}
	}
	return o.Mounter
}

// Write makes a filesystem of a tree in image, whose content it replaces. After an error
// the image is of no use, and nothing is mounted or attached.
func Write(ctx context.Context, image *os.File, t *tree.Tree, o Options) (Stats, error) {
	if err := o.check(); err != nil {
		return Stats{}, err
	}
	w := &writer{opt: o, image: image}
	var err error
	if w.tools, err = findTools(ctx, o.Type, o.Path); err != nil {
		return Stats{}, err
	}
	if err := w.measure(ctx, t); err != nil {
		return Stats{}, err
	}
	size := w.need.size(o.Type, o.FreeBytes)
	if size == o.Type.minSize() {
		w.warn("the image has %d MiB, the smallest that %s is made with here", size>>20, o.Type)
	}
	for try := 1; ; try++ {
		if size > maxSize {
			return Stats{}, fmt.Errorf("%s: the image would have %d bytes, the limit is %d", o.Type, size, int64(maxSize))
		}
		free, err := w.attempt(ctx, t, size)
		if err == nil && free >= o.FreeBytes {
			err = w.check(ctx)
			return Stats{Size: size, Free: free, Inodes: w.need.inodes, Tools: w.tools.list}, err
		}
		if err != nil && !errors.Is(err, errFull) {
			return Stats{}, err
		}
		if try == maxTries {
			return Stats{}, fmt.Errorf("%s: %d bytes are too few for the tree and %d bytes of free space; lower size_buffer_mb, or build with type = \"ext4\"", o.Type, size, o.FreeBytes)
		}
		more := size / 4
		if err == nil {
			more = (o.FreeBytes-free)*9/8 + 4<<20
		}
		w.detail("%d bytes were too few; making it once more with %d", size, roundUp(size+more, 1<<20))
		size = roundUp(size+more, 1<<20)
	}
}

// check refuses options that no image can have.
func (o Options) check() error {
	switch {
	case o.Type != XFS && o.Type != Btrfs:
		return fmt.Errorf("filesystem %q: want %q or %q", o.Type, XFS, Btrfs)
	case o.FreeBytes < 0 || o.FreeBytes > maxSize:
		return fmt.Errorf("free space of %d bytes: want 0 to %d", o.FreeBytes, int64(maxSize))
	}
	return nil
}

// attempt makes an image of some size, and returns what root can write in it.
func (w *writer) attempt(ctx context.Context, t *tree.Tree, size int64) (free int64, err error) {
	for _, n := range []int64{0, size} { // nothing of an earlier attempt stays
		if err := w.image.Truncate(n); err != nil {
			return 0, fmt.Errorf("sizing the image to %d bytes: %w", n, err)
		}
	}
	w.detail("making an empty %s of %d bytes with %s %s", w.opt.Type, size, w.tools.list[0].Name, w.tools.list[0].Version)
	if err := w.mkfs(ctx); err != nil {
		return 0, w.explainHost(err)
	}
	m, err := w.opt.mounter().Mount(ctx, w.image, Mount{Type: w.opt.Type, Options: mountOptions(w.opt.Type)})
	if err != nil {
		return 0, err
	}
	w.detail("mounted; writing %d inodes, %d bytes of content", w.need.inodes, w.need.content)
	err = w.fill(ctx, m.Root(), t)
	if err == nil {
		free, err = settle(m.Root())
		free -= w.opt.Type.hidden(size)
	}
	if e := m.Close(); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return 0, w.explainHost(err)
	}
	w.detail("unmounted; %d bytes of %d are free; checking with %s %s", free, size, w.tools.list[1].Name, w.tools.list[1].Version)
	return free, nil
}

// mountOptions are those that an image is written with. nouuid lets an image be made
// while another with its UUID is mounted. Nothing is discarded but by settle, and nothing
// is flushed early: a build that does not come to its end has no image.
func mountOptions(t Type) []string {
	if t == XFS {
		return []string{"nouuid", "nodiscard", "logbsize=256k"}
	}
	return []string{"nossd", "nodiscard", "nobarrier"}
}

func (w *writer) warn(format string, args ...any) { tell(w.opt.Warn, format, args...) }

func (w *writer) detail(format string, args ...any) { tell(w.opt.Detail, format, args...) }

func tell(to func(string), format string, args ...any) {
	if to != nil {
		to(fmt.Sprintf(format, args...))
	}
}

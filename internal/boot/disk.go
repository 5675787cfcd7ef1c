package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/manifest"
)

// disk is a root filesystem, of any format that is read.
type disk struct {
	format string // as the kernel calls it
	image  *artifact.Artifact
	err    error // why it cannot be read; without a need to, that is for the kernel to say
}

// Where an image has the programs that boot needs to start it, in the order in
// which they are looked for.
var (
	agentNames   = []string{"/bin/kestrel", "/usr/local/bin/kestrel"}
	busyboxNames = []string{"/bin/busybox", "/usr/bin/busybox"}
)

// Limits of what is read from an image, in bytes; and its names.
const (
	maxAgent   = guest.MaxAgent
	maxBusybox = 32 << 20
	maxNames   = 1 << 22
)

func openDisk(ctx context.Context, r io.ReaderAt, size int64, format string) *disk {
	d := &disk{format: format}
	d.image, d.err = artifact.Open(ctx, r, size, artifact.Options{MaxEntries: maxNames})
	return d
}

// arch is the architecture of the agent, else of the workload's program, in Go's
// words, "" if neither tells.
func (d *disk) arch(ctx context.Context, m *manifest.Manifest) string {
	names := agentNames
	if e := m.Workload.Entrypoint; len(e) > 0 {
		names = append(names[:len(names):len(names)], e[0])
	}
	for _, name := range names {
		if p, err := d.look(ctx, name); err == nil {
			return p.elf.Arch
		}
	}
	return ""
}

// program is an executable taken from an image.
type program struct {
	name string
	elf  guest.ELF
	size int64
	open func() (io.ReadCloser, error)
}

// find returns the first of the names that is an executable of the image. That
// there is none is an error that wraps fs.ErrNotExist.
func (d *disk) find(ctx context.Context, names []string, limit int64) (*program, error) {
	for _, name := range names {
		p, err := d.look(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case p.size > limit:
			return nil, fmt.Errorf("%s has %d bytes, the limit is %d", name, p.size, limit)
		}
		return p, nil
	}
	return nil, fmt.Errorf("none of %s is there: %w", strings.Join(names, ", "), fs.ErrNotExist)
}

// look follows a name as a process whose root is the image would.
func (d *disk) look(ctx context.Context, name string) (*program, error) {
	if d.err != nil {
		return nil, d.err
	}
	e, err := d.image.Resolve(name, true)
	if err != nil {
		return nil, err
	}
	p := &program{name: name, size: e.Size, open: func() (io.ReadCloser, error) { return d.image.Content(ctx, e) }}
	r, err := p.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if p.elf, err = elfHead(r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func elfHead(r io.Reader) (guest.ELF, error) {
	head, err := io.ReadAll(io.LimitReader(r, guest.HeadSize))
	if err != nil {
		return guest.ELF{}, err
	}
	return guest.ReadELF(head)
}

package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/internal/ext4read"
	"github.com/volant/fledge-action/manifest"
)

// disk is an ext4 artifact.
type disk struct {
	r    io.ReaderAt
	size int64
}

// Where an image has the programs that boot needs to start it, in the order in
// which they are looked for.
var (
	agentNames   = []string{"/bin/kestrel", "/usr/local/bin/kestrel"}
	busyboxNames = []string{"/bin/busybox", "/usr/bin/busybox"}
)

// Limits of what is read from an image, in bytes.
const (
	maxAgent   = guest.MaxAgent
	maxBusybox = 32 << 20
)

// arch is the architecture of the agent, else of the workload's program, in Go's
// words, "" if neither tells: what is wrong with the image is for the kernel to say.
func (d *disk) arch(m *manifest.Manifest) string {
	fsys, err := ext4read.Open(d.r, d.size, ext4read.Options{})
	if err != nil {
		return ""
	}
	names := agentNames
	if e := m.Workload.Entrypoint; len(e) > 0 {
		names = append(names[:len(names):len(names)], e[0])
	}
	for _, name := range names {
		if in, err := resolve(fsys, name); err == nil && in.Mode.IsRegular() {
			if e, err := elfOf(in); err == nil {
				return e.Arch
			}
		}
	}
	return ""
}

// program is an executable taken from an image.
type program struct {
	name string
	elf  guest.ELF
	in   *ext4read.Inode
}

// find returns the first of the names that is an executable of the image. That
// there is none is an error that wraps fs.ErrNotExist.
func (d *disk) find(names []string, limit uint64) (*program, error) {
	fsys, err := ext4read.Open(d.r, d.size, ext4read.Options{})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		in, err := resolve(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if in.Size > limit {
			return nil, fmt.Errorf("%s has %d bytes, the limit is %d", name, in.Size, limit)
		}
		e, err := elfOf(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &program{name, e, in}, nil
	}
	return nil, fmt.Errorf("none of %s is there: %w", strings.Join(names, ", "), fs.ErrNotExist)
}

func elfOf(in *ext4read.Inode) (guest.ELF, error) {
	r, err := in.Open()
	if err != nil {
		return guest.ELF{}, err
	}
	return elfHead(r)
}

func elfHead(r io.Reader) (guest.ELF, error) {
	head, err := io.ReadAll(io.LimitReader(r, guest.HeadSize))
	if err != nil {
		return guest.ELF{}, err
	}
	return guest.ReadELF(head)
}

// maxLinks is how many symbolic links the kernel follows in one name.
const maxLinks = 40

// resolve follows a name as a process whose root is the image would.
func resolve(fsys *ext4read.FS, name string) (*ext4read.Inode, error) {
	at, rest := "/", strings.Split(name, "/")
	in, err := fsys.Lookup(".")
	for links := 0; err == nil && len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		next := path.Join(at, part) // ".." stays within the root
		if in, err = fsys.Lookup(path.Join(".", next)); err != nil {
			break
		}
		if in.Mode&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("following %q: more than %d symbolic links", name, maxLinks)
		}
		if path.IsAbs(in.Target) {
			at = "/"
		}
		rest = append(strings.Split(in.Target, "/"), rest...)
	}
	return in, err
}

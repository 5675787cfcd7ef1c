package boot

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"github.com/volant/fledge-action/build/cache"
)

// byDescriptor tells that a program can open an inherited descriptor by name as
// if it were the file, with an offset of its own. Then files need no names, and
// nothing is left behind however this process ends.
const byDescriptor = runtime.GOOS == "linux"

// temporary is a file that is gone, or only closed, after use.
type temporary struct {
	file   *os.File
	path   string // "" if the file has no name
	remove bool
}

// Close closes the file and removes its name if it was given one here.
func (t *temporary) Close() error {
	err := t.file.Close()
	if t.remove {
		err = errors.Join(err, os.Remove(t.path))
	}
	return err
}

// spool makes a temporary file in dir, with a name where it needs one.
func spool(dir string) (temporary, error) {
	if byDescriptor {
		f, err := cache.Spool(dir)
		return temporary{file: f}, err
	}
	f, err := os.CreateTemp(dir, "fledge-*")
	if err != nil {
		return temporary{}, fmt.Errorf("creating temporary file: %w", err)
	}
	return temporary{file: f, path: f.Name(), remove: true}, nil
}

// A handover collects the files that a program opens.
type handover struct{ files []*os.File }

// name returns the name by which the program opens t.
func (h *handover) name(t temporary) string {
	if !byDescriptor {
		return t.path
	}
	h.files = append(h.files, t.file)
	return "/dev/fd/" + strconv.Itoa(2+len(h.files))
}

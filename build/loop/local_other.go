//go:build !linux

package loop

import (
	"context"
	"errors"
	"os"
)

// Local mounts by the kernel that this process runs on, which has to be Linux.
type Local struct{}

var errNotLinux = errors.New("mounting an image needs Linux; build in a Linux machine or container, or with type = \"ext4\"")

// Available tells that nothing can be mounted here.
func (Local) Available() error { return errNotLinux }

// Mount implements [Mounter].
func (Local) Mount(context.Context, *os.File, Mount) (Mounted, error) { return nil, errNotLinux }

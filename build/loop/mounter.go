package loop

import (
	"context"
	"os"
)

// A Type is a filesystem that only a kernel can write.
type Type string

// The types. The kernel and the tools call them by the same names.
const (
	XFS   Type = "xfs"
	Btrfs Type = "btrfs"
)

// A Mounter lets the kernel write to an image.
type Mounter interface {
	// Mount attaches an image, which has to stay open, to a free loop device and mounts
	// it in no folder: nobody else sees it, and when the last descriptor of it is closed,
	// by Close or by the end of the processes, the mount and the loop device are gone.
	Mount(ctx context.Context, image *os.File, m Mount) (Mounted, error)
}

// Mount says how an image is mounted.
type Mount struct {
	Type    Type     `json:"type"`
	Options []string `json:"options,omitempty"` // "key=value" or "flag", as in fstab
}

// A Mounted is an image that the kernel writes to.
type Mounted interface {
	// Root is the root folder, for the *at system calls. It belongs to the Mounted.
	Root() *os.File

	// Close unmounts and detaches, and returns when the image holds everything and no
	// device has it any more. It works after ctx of Mount has been cancelled too. Every
	// other descriptor of the mount has to be closed before. Only the first call does it.
	Close() error
}

//go:build !linux

package sibling

import (
	"context"
	"errors"
	"os"

	"github.com/volant/fledge-action/build/loop"
)

var errLinux = errors.New("images are mounted by Linux alone")

// Options say where things are.
type Options struct {
	DockerHost string
	Executable string
	Dirs       []string
}

// Mounter mounts nothing here.
type Mounter struct{}

// Open fails.
func Open(context.Context, Options) (*Mounter, error) { return nil, errLinux }

// Mount fails.
func (*Mounter) Mount(context.Context, *os.File, loop.Mount) (loop.Mounted, error) {
	return nil, errLinux
}

// Serve fails.
func Serve(context.Context, string, loop.Mounter) error { return errLinux }

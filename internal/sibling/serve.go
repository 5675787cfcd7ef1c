//go:build linux

package sibling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/build/loop"
)

// Serve is the sibling: it connects to the socket at path, mounts the image that
// it is sent, and returns when the parent is done or gone, or ctx has ended; the image is
// unmounted and detached then. Mistakes of the image's are told to the parent and are
// no error here.
func Serve(ctx context.Context, path string, mounter loop.Mounter) error {
	conn, err := dial(path)
	if err != nil {
		// The parent has ended before the two met. Its folder is nobody's now.
		if dir := filepath.Dir(path); strings.HasPrefix(filepath.Base(dir), folderPrefix) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return fmt.Errorf("connecting to the build's socket: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return serve(ctx, conn, mounter)
}

func dial(path string) (*net.UnixConn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.DialUnix(network, nil, address(dir, filepath.Base(path)))
}

// address is that of a socket in an open folder. A path would have a limit of 107 bytes.
func address(dir *os.File, name string) *net.UnixAddr {
	return &net.UnixAddr{Net: network, Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)}
}

func serve(ctx context.Context, conn *net.UnixConn, mounter loop.Mounter) error {
	var m loop.Mount
	image, err := receive(conn, &m)
	if errors.Is(err, io.EOF) {
		return nil // it was cancelled at once
	}
	if err != nil {
		return fmt.Errorf("receiving what to mount: %w", err)
	}
	mounted, err := mount(ctx, image, m, mounter)
	if err != nil {
		return reply(conn, err, nil)
	}
	err = reply(conn, nil, mounted.Root())
	if err == nil {
		err = untilDone(conn)
	}
	closed := mounted.Close()
	if err != nil {
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			err = nil // the parent is gone
		}
		return errors.Join(err, closed)
	}
	return reply(conn, closed, nil)
}

// mount mounts the image and closes it: the loop device holds it.
func mount(ctx context.Context, image *os.File, m loop.Mount, mounter loop.Mounter) (loop.Mounted, error) {
	if image == nil {
		return nil, errors.New("there is no image with the request")
	}
	defer image.Close()
	if err := errors.Join(theImage(image), checkMount(m)); err != nil {
		return nil, err
	}
	return mounter.Mount(ctx, image, m)
}

// reply sends an answer.
func reply(conn *net.UnixConn, err error, root *os.File) error {
	if err := send(conn, answerOf(err), root); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}

// untilDone waits for the parent to be done with the mount.
func untilDone(conn *net.UnixConn) error {
	var e end
	extra, err := receive(conn, &e)
	if err != nil {
		return err
	}
	if extra != nil {
		return errors.Join(errors.New("the build sent a descriptor instead of its end"), extra.Close())
	}
	if !e.Done {
		return errors.New("the build sent something else than its end")
	}
	return nil
}

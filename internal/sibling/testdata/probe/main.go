// Command probe mounts an image in a sibling container, as a build does, and is the
// sibling too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/internal/sibling"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "mount":
		err = sibling.Serve(ctx, os.Args[2], loop.Local{})
	case len(os.Args) == 4 && os.Args[1] == "build":
		err = build(ctx, loop.Type(os.Args[2]), os.Args[3])
	default:
		err = errors.New("arguments")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// build writes a file into an image, says "mounted", and goes on when standard input
// has ended or it is interrupted.
func build(ctx context.Context, kind loop.Type, path string) error {
	if (loop.Local{}).Available() == nil {
		return errors.New("this process may mount by itself")
	}
	m, err := sibling.Open(ctx, sibling.Options{Executable: "/probe", Dirs: []string{"/work"}})
	if err != nil {
		return err
	}
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	mounted, err := m.Mount(ctx, image, loop.Mount{Type: kind})
	if err != nil {
		return err
	}
	err = write(mounted.Root())
	fmt.Println("mounted")
	ended := make(chan struct{})
	go func() { defer close(ended); io.Copy(io.Discard, os.Stdin) }()
	select {
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	case <-ended:
	}
	err = errors.Join(err, mounted.Close())
	fmt.Println("closed")
	return err
}

// write makes a file of 8 MiB, of another user.
func write(root *os.File) error {
	fd, err := syscall.Openat(int(root.Fd()), "file", syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "file")
	_, err = f.Write(make([]byte, 8<<20))
	return errors.Join(err, f.Chown(1001, 1002), f.Close())
}

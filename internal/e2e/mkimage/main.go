// Mkimage makes one of the images that fledge is tried on and prints where it is.
//
//	mkimage [-cache DIR] [-v] KIND
//
// The only line on stdout is the image as fledge.toml names it. It needs root.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/volant/fledge-action/internal/e2e"
	"github.com/volant/fledge-action/internal/testneed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cache := flag.String("cache", "", "folder to keep images in (default $"+testneed.CacheVariable+" or the user's cache folder)")
	verbose := flag.Bool("v", false, "show the output of the programs")
	flag.Parse()
	m := e2e.Maker{Cache: *cache, Log: io.Discard}
	if *verbose {
		m.Log = os.Stderr
	}
	if m.Cache == "" {
		dir, err := testneed.CacheDir()
		if err != nil {
			return err
		}
		m.Cache = dir
	}
	for _, kind := range e2e.Kinds {
		if kind.Name == flag.Arg(0) {
			layout, err := m.Image(ctx, kind)
			if err == nil {
				fmt.Println(layout.Source())
			}
			return err
		}
	}
	return fmt.Errorf("unknown kind %q; one of demo, flask, real, small, big, huge", flag.Arg(0))
}

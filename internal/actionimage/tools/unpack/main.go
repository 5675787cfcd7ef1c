// Command unpack writes what the action's image has of other people's programs into a
// new folder, for the Dockerfile. See package tools.
//
//	go run ./internal/actionimage/tools/unpack -o /tools
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/volant/fledge-action/internal/actionimage/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	from := tools.Flags(flag.CommandLine)
	arch := flag.String("arch", runtime.GOARCH, "the programs' `architecture`")
	dir := flag.String("o", "", "the new `folder`")
	flag.Parse()
	if flag.NArg() > 0 || *dir == "" {
		return fmt.Errorf("want -o FOLDER and no arguments, not %q", flag.Args())
	}
	source, err := from()
	if err != nil {
		return err
	}
	files, err := source.Files(ctx, *arch)
	if err != nil {
		return err
	}
	return tools.Unpack(*dir, files)
}

// Command fledge builds bootable Volant plugins. See docs/cli.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	// Mozilla's roots, where the machine has none: the action's image has no file.
	_ "golang.org/x/crypto/x509roots/fallback"
	"golang.org/x/term"

	"github.com/volant/fledge-action/internal/action"
	"github.com/volant/fledge-action/internal/cli"
	"github.com/volant/fledge-action/internal/outfile"
)

func main() {
	os.Exit(run())
}

// program is the command line, or the action, which is a program of its own.
type program interface {
	Run(ctx context.Context, args []string) int
	Interruption() (text string, grace time.Duration)
}

func run() int {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fledge:", err)
		return cli.ExitFailed
	}
	executable, err := os.Executable()
	if err != nil {
		executable = "" // only a second build and the build record need it, and say so
	}
	var p program = &cli.Program{
		Version: version(), Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, WorkDir: dir,
		Executable: executable, Argv0: os.Args[0], Environ: os.Environ(), StderrWidth: terminalWidth(),
	}
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "action" {
		a := &action.Program{
			Version: version(), Stdout: os.Stdout, Getenv: os.Getenv, Setenv: os.Setenv,
			Executable: executable, Argv0: os.Args[0], Environ: os.Environ(),
		}
		defer a.Close() // also when it did not return
		p, args = a, args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	code := make(chan int, 1)
	go func() { code <- p.Run(ctx, args) }()
	select {
	case c := <-code:
		return c
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	text, grace := p.Interruption()
	select {
	case c := <-code:
		return c
	case <-time.After(grace):
	}
	if !outfile.AbortAll() {
		fmt.Fprintln(os.Stderr, text)
		return cli.ExitInterrupted
	}
	select {
	case c := <-code:
		return c
	case <-time.After(grace): // nobody takes what is printed
		fmt.Fprintln(os.Stderr, "fledge: interrupted; everything was written, and not all of the result printed")
		return cli.ExitFailed
	}
}

// endings are the signals that end a command. One that the parent has made us
// ignore, as nohup does, stays ignored.
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

func terminalWidth() int {
	fd := int(os.Stderr.Fd())
	if !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	return 80
}

// released is the version of a release, which its image's linker is told.
var released string

// version is a release's or the module's version, or the commit it was built from.
func version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

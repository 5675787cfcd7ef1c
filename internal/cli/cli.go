package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/plan"
)

// Exit codes are part of the command line's contract; docs/cli.md lists them.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the build or the boot failed, the artifact cannot be read, has problems or did not verify
	ExitUsage       = 2   // flags, fledge.toml or a manifest are wrong: nothing was written
	ExitInterrupted = 130 // SIGINT, SIGTERM or SIGHUP
)

// What an interrupted command says, and how long it may take to clean up, unless it
// says otherwise. What holds it up then, such as syncing a large file, is cut short.
const (
	interrupted  = "fledge: interrupted; nothing was written or left running"
	defaultGrace = 800 * time.Millisecond
)

// Program is what the command line runs in.
type Program struct {
	Version string
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	WorkDir string // absolute

	// Executable is the path of this program and Argv0 what it was called as, to run
	// it once more; Environ is its environment.
	Executable, Argv0 string
	Environ           []string

	// StderrWidth is the columns of the terminal that Stderr is, 0 when it is none.
	StderrWidth int

	// Mask is given each secret that a command gets hold of, before it is used; nil for
	// nobody.
	Mask func(secret string)
	// Failed is given the error with which a command ends, before it is printed, and the
	// stage in which that happened, "" for none; nil for nobody.
	Failed func(stage string, err error)

	compare func(repo string) (plan.Comparer, error) // instead of GitHub's; nil but in tests

	interruption atomic.Pointer[interruption]
	stage        atomic.Pointer[string]
}

// interruption is how a command ends that is interrupted.
type interruption struct {
	text  string
	grace time.Duration
}

// Interruption is what the running command says when it is interrupted, and how long
// it may take to clean up.
func (p *Program) Interruption() (text string, grace time.Duration) {
	if i := p.interruption.Load(); i != nil {
		return i.text, i.grace
	}
	return interrupted, defaultGrace
}

// usageError is a mistake in flags or arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// printError is a result that could not be printed. What was to be done is done.
type printError struct{ error }

func (e printError) Unwrap() error { return e.error }

// printed marks the error of printing a result.
func printed(err error) error {
	if err == nil {
		return nil
	}
	return printError{fmt.Errorf("printing the result: %w", err)}
}

// Run runs one command and returns its exit code. It returns soon after ctx is
// cancelled.
func (p *Program) Run(ctx context.Context, args []string) int {
	root := p.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && p.Failed != nil {
		p.Failed(p.lastStage(), err)
	}
	switch {
	case err == nil:
		return ExitOK
	case ctx.Err() != nil && !errors.As(err, new(printError)):
		text, _ := p.Interruption()
		if left := (interface{ resume() string })(nil); errors.As(err, &left) {
			text = "fledge: interrupted; " + printable(left.resume())
		}
		fmt.Fprintln(p.Stderr, text)
		return ExitInterrupted
	case errors.Is(err, errDiffer):
		return ExitDiffer
	}
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	var usage usageError
	var wrong config.Errors
	var one *config.Error
	switch {
	case errors.As(err, &wrong), errors.As(err, &one):
		fmt.Fprintln(p.Stderr, printable(err.Error()))
		return ExitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "fledge: %s\n", printable(err.Error()))
		return ExitUsage
	}
	fmt.Fprintf(p.Stderr, "fledge: %s\n", printable(err.Error()))
	return ExitFailed
}

func (p *Program) command() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "fledge",
		Short: "Build bootable Volant plugins",
		Long: `fledge turns a fledge.toml into a bootable Volant plugin: a root filesystem
image made from an OCI image, or an initramfs made from your own files, and the
manifest.json that Volant installs.

It needs no root, no loop device and no other programs, and the same inputs give
the same bytes everywhere. Only 'fledge boot', which tries a plugin, runs QEMU.`,
		Example: `  fledge build                       # fledge.toml here → NAME.img + manifest.json
  fledge validate                    # is fledge.toml right?
  fledge inspect nginx.img           # what is in it?
  fledge boot NAME.img               # does it start, and answer?
  fledge verify NAME.img --repo o/r  # was it built by that repository?
  volar plugins install --manifest manifest.json`,
		Args:                       unknownCommand,
		SilenceErrors:              true,
		SilenceUsage:               true,
		DisableAutoGenTag:          true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return p.printVersion()
			}
			return p.noCommand(cmd)
		},
	}
	// Not cobra's own flag: a template for its text would link text/template, with
	// which the linker keeps every method of every type, 6 MB of them.
	root.Flags().BoolVarP(&version, "version", "v", false, "version for fledge")
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see '%s --help')", err, cmd.CommandPath())}
	})
	root.AddCommand(p.buildCommand(), p.lockCommand(), p.attestCommand(), p.verifyCommand(), p.releaseCommand(), p.planCommand(), p.validateCommand(), p.inspectCommand(), p.diffCommand(), p.bootCommand(), p.versionCommand(), p.mountCommand())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArgs
		}
	}
	return root
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return usageError{fmt.Errorf("unknown command %q (%s)", args[0], hint)}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q (see '%s --help')", args[0], cmd.CommandPath())}
	}
	return nil
}

func (p *Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE:  func(*cobra.Command, []string) error { return p.printVersion() },
	}
}

func (p *Program) printVersion() error {
	_, err := fmt.Fprintf(p.Stdout, "fledge %s\n", p.Version)
	return printed(err)
}

// noCommand is how a command ends that only holds others.
func (p *Program) noCommand(cmd *cobra.Command) error {
	cmd.SetOut(p.Stderr)
	cmd.Help()
	return usageError{errors.New("no command given")}
}

func (p *Program) reporter(verbose, quiet bool) *reporter {
	return &reporter{w: p.Stderr, terminal: p.StderrWidth > 0, width: p.StderrWidth, verbose: verbose, quiet: quiet, now: time.Now, begins: p.stage.Store}
}

// lastStage is the stage that began last.
func (p *Program) lastStage() string {
	if s := p.stage.Load(); s != nil {
		return *s
	}
	return ""
}

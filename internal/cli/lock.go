package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/internal/outfile"
)

type lockFlags struct {
	buildFlags
	update []string
	check  bool
}

// everything is what --update means without a name.
const everything = "all"

func (p *Program) lockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock [--update [NAME...]]",
		Short: "Pin what fledge.toml names: image, agent, busybox",
		Long: `Write fledge.lock beside fledge.toml: the digests of the image, the agent's release and sha256, and busybox's.
'fledge build' takes exactly these from then on. Commit the file.

Pins that fit fledge.toml stay as they are, missing and stale ones are made, those without a use dropped. What changes is
printed on standard error, the file's path on standard output. Nothing is written when nothing changes. A lock with the marks
of a merge is made anew. The environment is that of 'fledge build'. See docs/lock.md.`,
		Example: `  fledge lock
  fledge lock --update              # all of them
  fledge lock --update image        # only the image
  fledge lock --check               # in continuous integration`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !cmd.Flags().Changed("update") {
				return usageError{fmt.Errorf("unexpected argument %q (to renew a pin: fledge lock --update %s)", args[0], args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.update = append(f.update, args...)
			return p.lock(cmd, f)
		},
	}
	p.configFlag(cmd, &f.buildFlags)
	p.cacheFlag(cmd, &f.buildFlags)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.update, "update", nil, "renew the pin of `NAME`, which is image, agent or busybox; without a name all of them")
	flags.Lookup("update").NoOptDefVal = everything
	flags.BoolVar(&f.check, "check", false, "write nothing and fetch nothing; fail when the file would change")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings, errors and changes only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (p *Program) lock(cmd *cobra.Command, f lockFlags) error {
	renew, err := f.names()
	if err != nil {
		return err
	}
	cfg, err := p.loadConfig(f.config)
	if err != nil {
		return err
	}
	path := lock.PathFor(cfg.File)
	before, err := lock.Load(path)
	var conflict *lock.ConflictError
	merged := errors.As(err, &conflict) && !f.check
	if err != nil && !merged {
		return usage(err)
	}
	if f.check {
		if err := p.checkLock(cfg, before, path); err != nil {
			return err
		}
		return printed(p.printLock(f, path, before, []lock.Change{}))
	}
	if err := useful(cfg, renew, f.update); err != nil {
		return err
	}
	report := p.reporter(f.verbose, f.quiet)
	r := p.request(cfg, f.buildFlags, report)
	defer r.Cache.Close()
	r.Lock = before
	after, err := build.ResolveLock(cmd.Context(), r, renew)
	report.end(err == nil)
	if err != nil {
		return err
	}
	changes := lock.Changes(before, after)
	if before == nil || len(changes) > 0 {
		if err := writeLock(path, after); err != nil {
			return err
		}
	}
	for _, c := range changes {
		fmt.Fprintln(p.Stderr, oneLine(fmt.Sprintf("%s: %s → %s", c.Name, orNone(c.Old), orNone(c.New))))
	}
	return printed(p.printLock(f, path, after, changes))
}

// names are the pins to renew.
func (f *lockFlags) names() ([]string, error) {
	if f.check && len(f.update) > 0 {
		return nil, usageError{errors.New("--check and --update exclude each other")}
	}
	// "--update image" is --update and an argument.
	named := slices.DeleteFunc(slices.Clone(f.update), func(s string) bool { return s == everything })
	for _, name := range named {
		if !slices.Contains(lock.Names, name) {
			return nil, usageError{fmt.Errorf("--update %s: want %s", name, strings.Join(lock.Names, ", "))}
		}
	}
	if len(named) == 0 && len(f.update) > 0 {
		return lock.Names, nil
	}
	return named, nil
}

// useful refuses to renew, by its name, what fledge.toml leaves nothing open of.
func useful(cfg *config.Config, renew, asked []string) error {
	want, err := build.Unpinned(cfg)
	if err != nil {
		return err
	}
	for _, name := range renew {
		if slices.Contains(asked, name) && !want.Pins(name) {
			return usageError{fmt.Errorf("--update %s: %s has no use for such a pin: it takes none, or pins it itself", name, cfg.File)}
		}
	}
	return nil
}

// checkLock fails when a lock is not what 'fledge lock' would leave.
func (p *Program) checkLock(cfg *config.Config, l *lock.Lock, path string) error {
	problems, err := build.LockProblems(cfg, l)
	if err != nil {
		return err
	}
	for _, e := range problems {
		fmt.Fprintln(p.Stderr, oneLine(e.Error()))
	}
	switch {
	case len(problems) > 0:
		return fmt.Errorf("%s is not up to date: run 'fledge lock' and commit it", path)
	case l == nil:
		return fmt.Errorf("%s does not exist: run 'fledge lock' and commit it", path)
	}
	return nil
}

func writeLock(path string, l *lock.Lock) error {
	text, err := l.Encode()
	if err != nil {
		return err
	}
	if _, err := lock.Parse(path, text); err != nil {
		return fmt.Errorf("checking what is written: %w", err)
	}
	f, err := outfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Commit()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// printLock prints the result. The keys of its JSON are a promise: they may grow, not
// change.
func (p *Program) printLock(f lockFlags, path string, l *lock.Lock, changes []lock.Change) error {
	if !f.json {
		_, err := fmt.Fprintln(p.Stdout, path)
		return err
	}
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Path    string        `json:"path"`
		Lock    *lock.Lock    `json:"lock"`
		Changes []lock.Change `json:"changes"`
	}{path, l, append([]lock.Change{}, changes...)})
}

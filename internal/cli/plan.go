package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/release"
)

type planFlags struct {
	changed, repo, tag   string
	cacheKey, json       bool
	quiet, changedWanted bool
}

func (p *Program) planCommand() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan [GLOB...]",
		Short: "Find the plugins of a repository, for a job matrix",
		Long: `Find the fledge.toml files below the current folder that the patterns match, check them, and print what a build of each is about:
its name, its fledge.toml, its platform and its strategy; with --json the label of GitHub's runner as well. Nothing is fetched or built. Builds need no runner of the
plugin's platform; 'fledge boot' is faster on one.

A pattern has slashes; "*" stands for anything within a name, "**" for any folders, "{a,b}" for either. Without one it is "**/fledge.toml". Hidden folders,
node_modules and symbolic links are passed over. A plugin is called as a build would call it, and no two may have one name.

--json prints one line, the value of strategy.matrix in a workflow. See docs/many-plugins.md.

Environment:
  GITHUB_TOKEN       with --changed, "contents: read" for a private repository
  GITHUB_REPOSITORY  with --changed, the repository, without --repo
  GITHUB_API_URL     with --changed, the API (default https://api.github.com)
  HTTPS_PROXY, NO_PROXY  the proxy, and the hosts that need none`,
		Example: `  fledge plan
  fledge plan 'plugins/*/fledge.toml' --json
  fledge plan --changed main...$(git rev-parse HEAD)
  fledge plan --tag web/v1.2.0`,
		Args: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			f.changedWanted = cmd.Flags().Changed("changed")
			return p.planBuilds(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.changed, "changed", "", "only plugins in whose folder a file differs between two commits, branches or tags, `BASE...HEAD`, as GitHub compares them; all of them when it cannot be told")
	flags.StringVar(&f.repo, "repo", "", "with --changed, `OWNER/NAME` of the repository (default $GITHUB_REPOSITORY)")
	flags.StringVar(&f.tag, "tag", "", "only plugins that a release of `TAG` is about: NAME of NAME/v1.2.3 or NAME-v1.2.3, all of v1.2.3")
	flags.BoolVar(&f.cacheKey, "cache-key", false, "print a key for a cache of what the builds download instead: a digest of all fledge.toml and fledge.lock files")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the job matrix as one line of JSON")
	return cmd
}

func (p *Program) planBuilds(ctx context.Context, f planFlags, patterns []string) error {
	if f.json && f.cacheKey {
		return usageError{errors.New("--json and --cache-key exclude each other")}
	}
	base, head, ok := strings.Cut(f.changed, "...")
	if f.changedWanted && (!ok || base == "" || head == "") {
		return usageError{fmt.Errorf("--changed is %q: want BASE...HEAD, two commits, branches or tags", f.changed)}
	}
	if base == "HEAD" || head == "HEAD" { // GitHub's, which is the default branch
		return usageError{errors.New("--changed names HEAD, which GitHub takes for the default branch: name the commit, $(git rev-parse HEAD)")}
	}
	root, err := os.OpenRoot(p.WorkDir)
	if err != nil {
		return fmt.Errorf("opening the current folder: %w", err)
	}
	defer root.Close()
	plugins, err := plan.Find(root, patterns)
	if errors.As(err, new(*plan.PatternError)) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	report := p.reporter(false, f.quiet)
	if f.tag != "" {
		if plugins, _ = plan.Tagged(plugins, f.tag); len(plugins) == 0 {
			report.notice("tag %q is of no plugin here", f.tag)
		}
	}
	if f.changedWanted {
		if plugins, err = p.changedPlugins(ctx, f, base, head, plugins, report); err != nil {
			return err
		}
	}
	return p.printPlan(f, plugins)
}

// changedPlugins selects among plugins. Where it cannot be told what changed all are
// built: that costs time, and the other way would cost a build.
func (p *Program) changedPlugins(ctx context.Context, f planFlags, base, head string, plugins []plan.Plugin, report *reporter) ([]plan.Plugin, error) {
	prefix, err := p.inRepository()
	if err != nil {
		report.notice("building everything: %v", err)
		return plugins, nil
	}
	comparer, err := p.comparer(cmp.Or(f.repo, p.Getenv("GITHUB_REPOSITORY")), report)
	if err != nil {
		return nil, usageError{err}
	}
	files, all, err := comparer.Changed(ctx, base, head)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		report.notice("building everything: %v", err)
	case all:
		report.notice("building everything: what changed in %s cannot be listed", f.changed)
	default:
		return plan.Changed(plugins, prefix, files), nil
	}
	return plugins, nil
}

// comparer is what tells what changed in a repository.
func (p *Program) comparer(repo string, report *reporter) (plan.Comparer, error) {
	if repo == "" {
		return nil, errors.New("which repository is not said: name it with --repo OWNER/NAME")
	}
	if p.compare != nil {
		return p.compare(repo)
	}
	return p.github(repo, "contents: read", release.Patience{}, report)
}

// inRepository is where the current folder is in the checkout around it, "." for all
// of it, with slashes.
func (p *Program) inRepository() (string, error) {
	for at := p.WorkDir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			rel, err := filepath.Rel(at, p.WorkDir)
			return filepath.ToSlash(rel), err
		}
		if at == filepath.Dir(at) {
			return "", errors.New("no folder around this one has a .git, so the place of changed files is not known")
		}
	}
}

func (p *Program) printPlan(f planFlags, plugins []plan.Plugin) error {
	if f.cacheKey {
		_, err := fmt.Fprintln(p.Stdout, plan.CacheKey(plugins))
		return printed(err)
	}
	if f.json {
		line, err := plan.Matrix(plugins)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Stdout, "%s\n", line)
		return printed(err)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, plugin := range plugins {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", plugin.Name, plugin.Config, plugin.Platform, plugin.Strategy)
	}
	return printed(w.Flush())
}

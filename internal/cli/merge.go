package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/merge"
)

type mergeFlags struct {
	output               string
	verbose, quiet, json bool
}

func (p *Program) releaseMergeCommand() *cobra.Command {
	var f mergeFlags
	cmd := &cobra.Command{
		Use:   "merge FOLDER...",
		Short: "Put several plugins into one folder for one release",
		Long: `Put several plugins into one folder for one release. A FOLDER is what 'fledge build -o FOLDER/NAME.img' has made, or one above such
folders. Everything is verified before anything is written: manifests and checksums against the files, SBOMs, build records, bundles.

The files keep their bytes. With more than one plugin manifest.json of NAME becomes NAME.manifest.json, and one SHA256SUMS lists
everything but the bundles. Their paths are printed on standard output. 'fledge attest' signs them there, 'fledge release upload' puts
them on a release. See docs/release.md.`,
		Example: `  fledge release merge dist/web dist/db -o dist/release
  fledge release merge dist -o dist/release      # every plugin below dist
  fledge attest --attest required dist/release/web.img dist/release/db.cpio.gz
  fledge release upload v1.2.0 dist/release/*`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("release merge wants folders of plugins (see '%s --help')", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.releaseMerge(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "`folder` of the merged plugins: missing, empty, or of an earlier merge, which is replaced")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every step")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (p *Program) releaseMerge(ctx context.Context, f mergeFlags, folders []string) error {
	switch {
	case f.verbose && f.quiet:
		return usageError{errors.New("--verbose and --quiet exclude each other")}
	case f.output == "":
		return usageError{errors.New("where the plugins are merged is not said: name a folder with -o")}
	}
	report := p.reporter(f.verbose, f.quiet)
	report.stageBegins("merging plugins into %s", filepath.Clean(f.output))
	r, err := merge.Merge(ctx, folders, f.output)
	report.end(err == nil)
	if wrong := (*merge.UsageError)(nil); errors.As(err, &wrong) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		report.event(build.Event{Kind: build.Warning, Message: w})
	}
	for _, x := range r.Plugins {
		report.event(build.Event{Kind: build.Detail, Message: fmt.Sprintf("%s %s from %s", x.Name, x.Version, shown(x.Folder))})
	}
	if f.json {
		text, err := marshal(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Stdout, "%s\n", text)
		return printed(err)
	}
	_, err = fmt.Fprintln(p.Stdout, printable(strings.Join(r.Paths(), "\n")))
	return printed(err)
}

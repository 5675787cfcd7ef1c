package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/mapping"
	"github.com/volant/fledge-action/build/tree"
)

// checkSources finds mapped files that are not there, so that they are missed
// before anything is fetched. The rest of a mapping's rules is seen when it is
// applied.
func checkSources(c *config.Config, root *os.Root) error {
	var errs []error
	for _, m := range mappings(c) {
		if _, err := root.Stat(path.Clean(m.Source)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, &mapping.Error{
				Mapping: m, Err: fmt.Errorf("reading source: %w; sources are relative to the folder of fledge.toml", fs.ErrNotExist),
			})
		}
	}
	return placed(c, errors.Join(errs...))
}

// checkMappings applies the mappings to nothing, as far as that tells what they do
// to an image. Whether a file goes to a destination or into a folder there, only
// the image knows; two sources that clash because of it are warned about.
func checkMappings(ctx context.Context, c *config.Config, root *os.Root) (warnings []string, err error) {
	all := mappings(c)
	apply := func(ms []mapping.Mapping) (mapping.Report, error) { // to an empty tree
		return mapping.Apply(ctx, tree.New(), root, ms, mapping.Options{Reserved: reserved(c)})
	}
	report, clash := apply(all)
	if clash == nil {
		return texts(report.Warnings), nil
	}
	var errs []error
	var certain []mapping.Mapping
	for _, m := range all {
		report, err := apply([]mapping.Mapping{m})
		if err != nil {
			errs = append(errs, each(err)...)
		}
		warnings = append(warnings, texts(report.Warnings)...)
		into := strings.HasSuffix(m.Dest, "/") || strings.HasSuffix(m.Dest, "/.")
		if info, err := root.Stat(path.Clean(m.Source)); err != nil || info.IsDir() || into {
			certain = append(certain, m)
		}
	}
	if errs == nil {
		_, err := apply(certain)
		errs = each(err)
	}
	if errs != nil {
		return warnings, placed(c, errors.Join(errs...))
	}
	for _, err := range each(placed(c, clash)) {
		warnings = append(warnings, err.Error()+", unless the image has a folder there")
	}
	return warnings, nil
}

// each is the errors that err joins, or err itself.
func each(err error) []error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func texts(warnings []mapping.Warning) []string {
	var all []string
	for _, w := range warnings {
		all = append(all, w.String())
	}
	return all
}

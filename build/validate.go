package build

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/volant/fledge-action/build/config"
)

// Validate finds what is wrong with a request as far as the project's own files
// tell: nothing is fetched and nothing is written. It returns warnings in any case.
func Validate(ctx context.Context, r Request) ([]string, error) {
	var warnings []string
	for _, w := range r.Config.Warnings {
		warnings = append(warnings, w.Error())
	}
	if r.Template != nil {
		for _, w := range r.Template.Warnings {
			warnings = append(warnings, w.Error())
		}
	}
	b := &builder{Request: r}
	if err := checkReference(r.Config); err != nil {
		return warnings, err
	}
	if err := b.checkLock(); err != nil {
		return warnings, err
	}
	root, err := os.OpenRoot(r.Config.Dir)
	if err != nil {
		return warnings, fmt.Errorf("opening the project folder: %w", err)
	}
	defer root.Close()
	b.root = root
	more, err := checkMappings(ctx, r.Config, root)
	if warnings = append(warnings, more...); err != nil {
		return warnings, err
	}
	err = b.gatherLocal(ctx)
	return append(warnings, b.result.Warnings...), err
}

// gatherLocal resolves the parts that are files of the project, and reports what is
// wrong with all of them.
func (b *builder) gatherLocal(ctx context.Context) error {
	c := b.Config
	var all config.Errors
	for _, part := range []struct {
		here   bool
		gather func(context.Context) error
	}{
		{c.Agent.SourceStrategy == config.AgentLocal, b.gatherAgent},
		{c.Strategy == config.Initramfs && c.Source.LocalBusybox(), b.gatherBusybox},
		{c.Strategy == config.Initramfs, b.gatherInit},
	} {
		if !part.here {
			continue
		}
		var wrong *config.Error
		switch err := part.gather(ctx); {
		case err == nil:
		case errors.As(err, &wrong):
			all = append(all, wrong)
		default:
			return err
		}
	}
	if all == nil {
		return nil
	}
	return all
}

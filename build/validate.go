package build

import (
	"context"
	"fmt"
	"os"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/image"
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
	if err := notBuilt(r.Config); err != nil {
		warnings = append(warnings, err.Error())
	}
	if err := checkReference(r.Config); err != nil {
		return warnings, err
	}
	root, err := os.OpenRoot(r.Config.Dir)
	if err != nil {
		return warnings, fmt.Errorf("opening the project folder: %w", err)
	}
	defer root.Close()
	more, err := checkMappings(ctx, r.Config, root)
	if warnings = append(warnings, more...); err != nil {
		return warnings, err
	}
	return warnings, checkAgent(ctx, r, root)
}

// checkAgent looks at an agent that is a file of the project.
func checkAgent(ctx context.Context, r Request, root *os.Root) error {
	a := r.Config.Agent
	if a.SourceStrategy != config.AgentLocal {
		return nil
	}
	platform, err := image.ParsePlatform(r.Config.Source.Platform)
	if err != nil {
		return r.Config.Errorf("source.platform", "%v", err)
	}
	_, err = guest.Resolve(ctx, guest.Request{Strategy: guest.Local, Path: a.Path, SHA256: a.Checksum, Arch: platform.Architecture, Root: root})
	if err != nil {
		return r.Config.Errorf("agent.path", "%v", err)
	}
	return nil
}

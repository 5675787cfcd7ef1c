package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/lock"
)

func (p *Program) validateCommand() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check fledge.toml and the files beside it",
		Long: `Check fledge.toml, manifest.toml or a JSON template, fledge.lock, and that what they map exists.

Nothing is fetched or written, so what depends on the image is left to
'fledge build'. Problems are printed on standard error, all of them, each with its place.`,
		Example: `  fledge validate
  fledge validate --config web/fledge.toml --manifest web/manifest.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, template, err := p.load(f)
			if err != nil {
				return err
			}
			pins, err := lock.Load(lock.PathFor(cfg.File))
			if err != nil {
				return usage(err)
			}
			warnings, err := build.Validate(cmd.Context(), build.Request{Config: cfg, Template: template, WorkDir: p.WorkDir, Lock: pins})
			for _, w := range warnings {
				fmt.Fprintf(p.Stderr, "warning: %s\n", printable(w))
			}
			if err != nil {
				return err
			}
			return printed(p.printValid(cfg, f, warnings))
		},
	}
	p.configFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (p *Program) printValid(cfg *config.Config, f buildFlags, warnings []string) error {
	if !f.json {
		_, err := fmt.Fprintf(p.Stdout, "%s: ok\n", cfg.File)
		return err
	}
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Config   string   `json:"config"`
		Strategy string   `json:"strategy"`
		Warnings []string `json:"warnings"`
	}{cfg.File, cfg.Strategy, append([]string{}, warnings...)})
}

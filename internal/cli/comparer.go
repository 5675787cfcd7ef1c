package cli

import (
	"errors"

	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/release"
)

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

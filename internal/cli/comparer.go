package cli

import (
	"errors"

	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/release"
)

// errNoCompare is a client that cannot compare commits.
var errNoCompare = errors.New("this fledge cannot ask what changed")

// comparer is what tells what changed in a repository.
func (p *Program) comparer(repo string) (plan.Comparer, error) {
	if repo == "" {
		return nil, errors.New("which repository is not said: name it with --repo OWNER/NAME")
	}
	if p.compare != nil {
		return p.compare(repo)
	}
	client, err := release.New(release.Config{Repo: repo, API: p.Getenv("GITHUB_API_URL"), Token: p.Getenv("GITHUB_TOKEN"), UserAgent: "fledge/" + p.Version})
	if err != nil {
		return nil, err
	}
	if c, ok := any(client).(plan.Comparer); ok {
		return c, nil
	}
	return nil, errNoCompare
}

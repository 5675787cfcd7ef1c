package gha

import (
	"cmp"
	"strings"
)

// Context is what the environment tells of the job. What the runner does not set is "".
type Context struct {
	Workspace       string // absolute, in this container
	Repository      string // "owner/name"
	RefName         string // "v1.2.3"
	RefType         string // "branch" or "tag"
	SHA             string // of the commit that the job runs for
	EventName       string // "push", "pull_request"
	ServerURL       string // "https://github.com" if not set
	Actor           string
	RunnerWorkspace string // a path of the host
	Debug           bool   // with debug logging
	Act             bool   // in nektos/act, not GitHub's runner
}

// Tag is the name of the tag that the job runs for, "" if it does not.
func (c Context) Tag() string {
	if c.RefType != "tag" {
		return ""
	}
	return c.RefName
}

// PullRequest reports whether the job runs for a pull request.
func (c Context) PullRequest() bool {
	return c.EventName == "pull_request" || c.EventName == "pull_request_target"
}

// Context reads the environment.
func (w *Workflow) Context() Context {
	return Context{
		Workspace:       w.getenv("GITHUB_WORKSPACE"),
		Repository:      w.getenv("GITHUB_REPOSITORY"),
		RefName:         w.getenv("GITHUB_REF_NAME"),
		RefType:         w.getenv("GITHUB_REF_TYPE"),
		SHA:             w.getenv("GITHUB_SHA"),
		EventName:       w.getenv("GITHUB_EVENT_NAME"),
		ServerURL:       strings.TrimRight(cmp.Or(w.getenv("GITHUB_SERVER_URL"), "https://github.com"), "/"),
		Actor:           w.getenv("GITHUB_ACTOR"),
		RunnerWorkspace: w.getenv("RUNNER_WORKSPACE"),
		Debug:           w.getenv("RUNNER_DEBUG") == "1",
		Act:             w.getenv("ACT") == "true",
	}
}

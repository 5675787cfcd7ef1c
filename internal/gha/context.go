package gha

import "strings"

// Context is what the environment tells of the job. What the runner does not set is
// "": act, for one, knows no RepositoryID, OwnerID, WorkflowRef and WorkflowSHA.
type Context struct {
	Workspace       string // absolute, in this container
	Repository      string // "owner/name"
	RepositoryID    string
	Owner           string
	OwnerID         string
	Ref             string // "refs/tags/v1.2.3"
	RefName         string // "v1.2.3"
	RefType         string // "branch" or "tag"
	SHA             string // of the commit that the job runs for
	EventName       string // "push", "pull_request"
	EventPath       string
	BaseRef         string // of a pull request: the branch that it goes to
	HeadRef         string // of a pull request: the branch that it comes from
	ServerURL       string // "https://github.com" if not set
	APIURL          string // "https://api.github.com" if not set
	Actor           string
	RunID           string
	RunAttempt      string
	Workflow        string // the name
	WorkflowRef     string // "owner/name/.github/workflows/release.yml@refs/tags/v1.2.3"
	WorkflowSHA     string
	Job             string
	Action          string // the step's id
	ActionRef       string // of this action, as in "uses:"
	ActionRepo      string // of this action; "" when it is in the job's repository
	RunnerTemp      string
	RunnerWorkspace string // a path of the host
	RunnerOS        string
	RunnerArch      string // "X64", "ARM64"
	Actions         bool   // a job runs
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

// Context reads the environment. Numbers stay text: nothing is computed with them.
func (w *Workflow) Context() Context {
	known, _ := w.lib.Context() // its errors are about numbers, which are not taken from it
	runID, attempt := digits(w.getenv("GITHUB_RUN_ID")), digits(w.getenv("GITHUB_RUN_ATTEMPT"))
	return Context{
		Workspace:       known.Workspace,
		Repository:      known.Repository,
		RepositoryID:    w.getenv("GITHUB_REPOSITORY_ID"),
		Owner:           known.RepositoryOwner,
		OwnerID:         w.getenv("GITHUB_REPOSITORY_OWNER_ID"),
		Ref:             known.Ref,
		RefName:         known.RefName,
		RefType:         known.RefType,
		SHA:             known.SHA,
		EventName:       known.EventName,
		EventPath:       w.getenv("GITHUB_EVENT_PATH"),
		BaseRef:         known.BaseRef,
		HeadRef:         known.HeadRef,
		ServerURL:       strings.TrimRight(known.ServerURL, "/"),
		APIURL:          strings.TrimRight(known.APIURL, "/"),
		Actor:           known.Actor,
		RunID:           runID,
		RunAttempt:      attempt,
		Workflow:        known.Workflow,
		WorkflowRef:     w.getenv("GITHUB_WORKFLOW_REF"),
		WorkflowSHA:     w.getenv("GITHUB_WORKFLOW_SHA"),
		Job:             known.Job,
		Action:          known.Action,
		ActionRef:       w.getenv("GITHUB_ACTION_REF"),
		ActionRepo:      known.ActionRepository,
		RunnerTemp:      w.getenv("RUNNER_TEMP"),
		RunnerWorkspace: w.getenv("RUNNER_WORKSPACE"),
		RunnerOS:        w.getenv("RUNNER_OS"),
		RunnerArch:      w.getenv("RUNNER_ARCH"),
		Actions:         known.Actions,
		Debug:           w.getenv("RUNNER_DEBUG") == "1",
		Act:             w.getenv("ACT") == "true",
	}
}

// digits is text if it is a number.
func digits(text string) string {
	if strings.Trim(text, "0123456789") != "" {
		return ""
	}
	return text
}

package statement

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// workflowBuildType says that a workflow of GitHub Actions built it.
const workflowBuildType = "https://actions.github.io/buildtypes/workflow/v1"

// DefaultServerURL is GitHub's address where claims name none.
const DefaultServerURL = "https://github.com"

// Claims are what GitHub's OIDC token says about the job that asked for it, after
// its signature has been checked. The environment says nearly the same, but every
// earlier step of the job can change that.
type Claims struct {
	Issuer               string // iss
	Subject              string // sub; not in the predicate
	Ref                  string // ref, such as "refs/tags/v1"
	SHA                  string // sha, of the commit
	Repository           string // repository, "owner/name"
	EventName            string // event_name
	JobWorkflowRef       string // job_workflow_ref: the workflow that the job is in, with its ref
	WorkflowRef          string // workflow_ref: the workflow that was triggered
	RepositoryID         string // repository_id
	RepositoryOwnerID    string // repository_owner_id
	RunnerEnvironment    string // runner_environment: "github-hosted" or "self-hosted"
	RunID                string // run_id
	RunAttempt           string // run_attempt
	RepositoryVisibility string // repository_visibility; not in the predicate, may be ""
	ServerURL            string // not a claim: "https://github.com" (also for "") or an enterprise's server
}

// Check tells which claims are missing or cannot be true.
func (c Claims) Check() error {
	var missing []string
	for _, claim := range []struct{ name, value string }{
		{"iss", c.Issuer},
		{"ref", c.Ref},
		{"sha", c.SHA},
		{"repository", c.Repository},
		{"event_name", c.EventName},
		{"job_workflow_ref", c.JobWorkflowRef},
		{"workflow_ref", c.WorkflowRef},
		{"repository_id", c.RepositoryID},
		{"repository_owner_id", c.RepositoryOwnerID},
		{"runner_environment", c.RunnerEnvironment},
		{"run_id", c.RunID},
		{"run_attempt", c.RunAttempt},
	} {
		if claim.value == "" {
			missing = append(missing, claim.name)
		}
		if !printable(claim.value) {
			return fmt.Errorf("claim %s: %q is not printable text of at most %d bytes", claim.name, claim.value, maxClaim)
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("OIDC token lacks claims: %s", strings.Join(missing, ", "))
	case !isHex(c.SHA, 40) && !isHex(c.SHA, 64):
		return fmt.Errorf("claim sha: %q is not a commit", c.SHA)
	}
	return nil
}

// maxClaim is the longest claim, in bytes.
const maxClaim = 4096

func printable(s string) bool {
	return len(s) <= maxClaim && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

type provenance struct {
	BuildDefinition workflowDefinition `json:"buildDefinition"`
	RunDetails      workflowRun        `json:"runDetails"`
}

type workflowDefinition struct {
	BuildType            string             `json:"buildType"`
	ExternalParameters   workflowParameters `json:"externalParameters"`
	InternalParameters   githubParameters   `json:"internalParameters"`
	ResolvedDependencies []sourceDependency `json:"resolvedDependencies"`
}

type workflowParameters struct {
	Workflow struct {
		Ref        string `json:"ref"`
		Repository string `json:"repository"`
		Path       string `json:"path"`
	} `json:"workflow"`
}

type githubParameters struct {
	GitHub struct {
		EventName         string `json:"event_name"`
		RepositoryID      string `json:"repository_id"`
		RepositoryOwnerID string `json:"repository_owner_id"`
		RunnerEnvironment string `json:"runner_environment"`
	} `json:"github"`
}

type sourceDependency struct {
	URI    string `json:"uri"`
	Digest struct {
		GitCommit string `json:"gitCommit"`
	} `json:"digest"`
}

type workflowRun struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
	Metadata struct {
		InvocationID string `json:"invocationId"`
	} `json:"metadata"`
}

// Provenance says which workflow built the subjects. The predicate is what
// GitHub's own action writes of the same claims, key by key: GitHub compares it with the
// signer's certificate when it is uploaded, so nothing of our own is added.
func Provenance(c Claims, subjects []Subject) (Statement, error) {
	s, err := provenanceStatement(c, subjects)
	if err != nil {
		return Statement{}, fmt.Errorf("making provenance: %w", err)
	}
	return s, nil
}

func provenanceStatement(c Claims, subjects []Subject) (Statement, error) {
	if err := c.Check(); err != nil {
		return Statement{}, err
	}
	server, err := serverURL(c.ServerURL)
	if err != nil {
		return Statement{}, err
	}
	repository := server + "/" + c.Repository

	var p provenance
	p.BuildDefinition.BuildType = workflowBuildType
	workflow := &p.BuildDefinition.ExternalParameters.Workflow
	workflow.Ref, workflow.Repository, workflow.Path = c.Ref, repository, workflowPath(c)
	github := &p.BuildDefinition.InternalParameters.GitHub
	github.EventName, github.RunnerEnvironment = c.EventName, c.RunnerEnvironment
	github.RepositoryID, github.RepositoryOwnerID = c.RepositoryID, c.RepositoryOwnerID
	source := sourceDependency{URI: "git+" + repository + "@" + c.Ref}
	source.Digest.GitCommit = c.SHA
	p.BuildDefinition.ResolvedDependencies = []sourceDependency{source}
	p.RunDetails.Builder.ID = server + "/" + c.JobWorkflowRef
	p.RunDetails.Metadata.InvocationID = repository + "/actions/runs/" + c.RunID + "/attempts/" + c.RunAttempt
	return newStatement(TypeProvenance, p, subjects)
}

// workflowPath is the triggered workflow's path in its repository. The first "@"
// ends it: what follows is a ref, which may have further ones.
func workflowPath(c Claims) string {
	path, _, _ := strings.Cut(strings.Replace(c.WorkflowRef, c.Repository+"/", "", 1), "@")
	return path
}

// serverURL checks the address that all URLs of the predicate begin with.
func serverURL(server string) (string, error) {
	if server == "" {
		return DefaultServerURL, nil
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || server != u.Scheme+"://"+u.Host || u.Scheme != "https" {
		return "", errors.New("GitHub's server URL " + fmt.Sprintf("%.100q", server) + " is not https://HOST")
	}
	return server, nil
}

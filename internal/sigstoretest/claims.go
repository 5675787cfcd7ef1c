package sigstoretest

import "strings"

// Claims are what a token says about the job that asks for it. The names are
// GitHub's: https://docs.github.com/actions/reference/security/oidc. The zero value
// of a field leaves the claim out, but for Issuer.
type Claims struct {
	Issuer               string `json:"iss"`
	Subject              string `json:"sub"`
	Ref                  string `json:"ref,omitempty"`
	SHA                  string `json:"sha,omitempty"`
	Repository           string `json:"repository,omitempty"`
	RepositoryOwner      string `json:"repository_owner,omitempty"`
	RepositoryID         string `json:"repository_id,omitempty"`
	RepositoryOwnerID    string `json:"repository_owner_id,omitempty"`
	RepositoryVisibility string `json:"repository_visibility,omitempty"`
	EventName            string `json:"event_name,omitempty"`
	Workflow             string `json:"workflow,omitempty"`
	WorkflowRef          string `json:"workflow_ref,omitempty"`
	WorkflowSHA          string `json:"workflow_sha,omitempty"`
	JobWorkflowRef       string `json:"job_workflow_ref,omitempty"`
	JobWorkflowSHA       string `json:"job_workflow_sha,omitempty"`
	RunnerEnvironment    string `json:"runner_environment,omitempty"`
	RunID                string `json:"run_id,omitempty"`
	RunNumber            string `json:"run_number,omitempty"`
	RunAttempt           string `json:"run_attempt,omitempty"`
	Environment          string `json:"environment,omitempty"`
}

// Issuer is the name of GitHub's issuer of tokens.
const Issuer = "https://token.actions.githubusercontent.com"

// DefaultClaims are those of a push of a tag to a public repository, whose workflow
// builds by itself.
func DefaultClaims() Claims {
	c := Claims{
		Issuer:               Issuer,
		Ref:                  "refs/tags/v1.2.3",
		SHA:                  strings.Repeat("5d", 20),
		RepositoryID:         "1296269",
		RepositoryOwnerID:    "583231",
		RepositoryVisibility: "public",
		EventName:            "push",
		RunnerEnvironment:    "github-hosted",
		RunID:                "7310042",
		RunNumber:            "42",
		RunAttempt:           "1",
	}
	return c.In("octo-org/plugin").By("octo-org/plugin/.github/workflows/release.yml")
}

// In returns the claims for another repository, "owner/name". Which workflow runs
// stays as it is.
func (c Claims) In(repository string) Claims {
	c.Repository = repository
	c.RepositoryOwner, _, _ = strings.Cut(repository, "/")
	c.Subject = "repo:" + repository + ":ref:" + c.Ref
	return c
}

// By returns the claims for another workflow, "owner/name/path", at the same ref.
func (c Claims) By(workflow string) Claims {
	c.Workflow = workflow[strings.LastIndex(workflow, "/")+1:]
	c.WorkflowRef, c.WorkflowSHA = workflow+"@"+c.Ref, c.SHA
	return c.Called(workflow)
}

// Called returns the claims for a job of a reusable workflow, "owner/name/path":
// its identity is the called workflow, its run that of the caller.
func (c Claims) Called(workflow string) Claims {
	c.JobWorkflowRef, c.JobWorkflowSHA = workflow+"@"+c.Ref, c.SHA
	return c
}

// SAN is the identity that a certificate made from these claims carries.
func (c Claims) SAN() string { return "https://github.com/" + c.JobWorkflowRef }

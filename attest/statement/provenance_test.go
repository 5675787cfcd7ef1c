package statement

import (
	"encoding/json"
	"strings"
	"testing"
)

// claims are those of a release by a tag, built by a reusable workflow.
func claims() Claims {
	return Claims{
		Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:acme/web:ref:refs/tags/v1.2.0",
		Ref: "refs/tags/v1.2.0", SHA: "0123456789abcdef0123456789abcdef01234567", Repository: "acme/web", EventName: "push",
		JobWorkflowRef: "volant/fledge-action/.github/workflows/build.yml@refs/tags/v1",
		WorkflowRef:    "acme/web/.github/workflows/release.yml@refs/tags/v1.2.0",
		RepositoryID:   "1001", RepositoryOwnerID: "2002", RunnerEnvironment: "github-hosted",
		RunID: "7000000001", RunAttempt: "2", RepositoryVisibility: "public",
	}
}

func TestProvenanceGolden(t *testing.T) {
	tests := map[string]func(*Claims){
		"tag": func(*Claims) {},
		"tag-at": func(c *Claims) {
			c.Ref, c.WorkflowRef = "refs/tags/@acme/web@1.2.0", "acme/web/.github/workflows/release.yml@refs/tags/@acme/web@1.2.0"
		},
		"ghe": func(c *Claims) { c.ServerURL, c.Issuer = "https://octo.ghe.com", "https://token.actions.octo.ghe.com" },
		"pull": func(c *Claims) {
			c.Ref, c.EventName, c.WorkflowRef = "refs/pull/7/merge", "pull_request", "acme/web/.github/workflows/ci.yml@refs/pull/7/merge"
		},
		"required": func(c *Claims) { c.WorkflowRef = "acme/rules/.github/workflows/all.yml@refs/heads/main" }, // by a ruleset
	}
	for name, change := range tests {
		c := claims()
		change(&c)
		s, err := Provenance(c, subjects())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		payload, err := s.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, "provenance-"+name+".json", payload)
	}
}

func TestWorkflowPathEndsAtTheFirstAt(t *testing.T) {
	for ref, want := range map[string]string{
		"acme/web/.github/workflows/ci.yml@refs/heads/main":     ".github/workflows/ci.yml",
		"acme/web/.github/workflows/ci.yml@refs/tags/@acme/x@1": ".github/workflows/ci.yml",
		"acme/web/.github/workflows/ci.yml@refs/tags/acme/web/": ".github/workflows/ci.yml",
		"acme/web/.github/workflows/a@b.yml@refs/heads/main":    ".github/workflows/a", // as GitHub has it
		"acme/web/.github/workflows/ci.yml":                     ".github/workflows/ci.yml",
		"acme/other/.github/workflows/ci.yml@refs/heads/main":   "acme/other/.github/workflows/ci.yml",
	} {
		if got := workflowPath(Claims{Repository: "acme/web", WorkflowRef: ref}); got != want {
			t.Errorf("%s: %q, want %q", ref, got, want)
		}
	}
}

func TestMissingClaimsAreNamed(t *testing.T) {
	fields := map[string]func(*Claims) *string{
		"iss":                 func(c *Claims) *string { return &c.Issuer },
		"ref":                 func(c *Claims) *string { return &c.Ref },
		"sha":                 func(c *Claims) *string { return &c.SHA },
		"repository":          func(c *Claims) *string { return &c.Repository },
		"event_name":          func(c *Claims) *string { return &c.EventName },
		"job_workflow_ref":    func(c *Claims) *string { return &c.JobWorkflowRef },
		"workflow_ref":        func(c *Claims) *string { return &c.WorkflowRef },
		"repository_id":       func(c *Claims) *string { return &c.RepositoryID },
		"repository_owner_id": func(c *Claims) *string { return &c.RepositoryOwnerID },
		"runner_environment":  func(c *Claims) *string { return &c.RunnerEnvironment },
		"run_id":              func(c *Claims) *string { return &c.RunID },
		"run_attempt":         func(c *Claims) *string { return &c.RunAttempt },
	}
	for name, field := range fields {
		c := claims()
		*field(&c) = ""
		_, err := Provenance(c, subjects())
		if err == nil || !strings.HasSuffix(err.Error(), "lacks claims: "+name) {
			t.Errorf("without %s: %v", name, err)
		}
		*field(&c) = "a\nb"
		_, err = Provenance(c, subjects())
		refused(t, name+" with a newline", err, "claim "+name)
		*field(&c) = strings.Repeat("a", 4097)
		_, err = Provenance(c, subjects())
		refused(t, name+" too long", err, "claim "+name, "4096")
	}
	c := claims()
	c.RunID, c.Ref = "", ""
	_, err := Provenance(c, subjects())
	refused(t, "two missing", err, "lacks claims: ref, run_id")
	c = claims()
	c.Subject, c.RepositoryVisibility = "", ""
	if _, err := Provenance(c, subjects()); err != nil {
		t.Errorf("without what the predicate does not hold: %v", err)
	}
}

func TestClaimsThatCannotBeAreRefused(t *testing.T) {
	c := claims()
	c.SHA = "main"
	_, err := Provenance(c, subjects())
	refused(t, "sha", err, `claim sha: "main" is not a commit`)
	for _, server := range []string{"github.com", "http://github.com", "https://github.com/", "https://u@github.com", "https://github.com/x", "https://", ":"} {
		c := claims()
		c.ServerURL = server
		_, err := Provenance(c, subjects())
		refused(t, server, err, "is not https://HOST")
	}
}

func TestProvenanceHoldsNothingOfOurOwn(t *testing.T) {
	s, err := Provenance(claims(), subjects())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]json.RawMessage
	if err := json.Unmarshal(s.Predicate, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got["buildDefinition"]) != 4 || len(got["runDetails"]) != 2 {
		t.Errorf("%s", s.Predicate)
	}
	if strings.Contains(string(s.Predicate), "fledge:") || strings.Contains(string(s.Predicate), "public") {
		t.Errorf("%s", s.Predicate)
	}
}

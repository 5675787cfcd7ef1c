package verify

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
)

// workflowBuildType is that of provenance by a workflow of GitHub Actions.
const workflowBuildType = "https://actions.github.io/buildtypes/workflow/v1"

// object is a JSON object whose keys are told apart by case, as encoding/json's
// structs do not.
type object map[string]any

// at is the text at a path of keys, "" if there is none.
func (o object) at(path ...string) string {
	for i, key := range path {
		if i == len(path)-1 {
			s, _ := o[key].(string)
			return s
		}
		next, _ := o[key].(map[string]any)
		o = next
	}
	return ""
}

// contradictions tells where provenance says other things than the certificate of
// its signer, or leaves out what it has to say.
func contradictions(predicate json.RawMessage, s Signer) ([]string, error) {
	var p object
	if err := json.Unmarshal(predicate, &p); err != nil {
		return nil, fmt.Errorf("reading provenance: %w", err)
	}
	if t := p.at("buildDefinition", "buildType"); t != workflowBuildType {
		return nil, fmt.Errorf("provenance has buildType %.200q; fledge can compare only %q with a certificate", t, workflowBuildType)
	}
	var found []string
	compare := func(what, says, certificate string) {
		if says != certificate || says == "" {
			found = append(found, fmt.Sprintf("provenance says %s %.200q, the certificate %.200q", what, says, certificate))
		}
	}
	optional := func(what, says, certificate string) {
		if says != "" {
			compare(what, says, certificate)
		}
	}
	workflow := []string{"buildDefinition", "externalParameters", "workflow"}
	compare("repository", p.at(append(workflow, "repository")...), s.Repository)
	compare("ref", p.at(append(workflow, "ref")...), s.Ref)
	compare("workflow path", p.at(append(workflow, "path")...), workflowPath(s))
	compare("builder", p.at("runDetails", "builder", "id"), s.Identity)
	compare("run", p.at("runDetails", "metadata", "invocationId"), s.Run)
	github := []string{"buildDefinition", "internalParameters", "github"}
	optional("event", p.at(append(github, "event_name")...), s.Event)
	optional("repository id", p.at(append(github, "repository_id")...), s.RepositoryID)
	optional("owner id", p.at(append(github, "repository_owner_id")...), s.OwnerID)
	optional("runner environment", p.at(append(github, "runner_environment")...), s.Runner)
	return append(found, wrongSources(p, s)...), nil
}

// wrongSources compares the sources that provenance names with the commit of the
// certificate.
func wrongSources(p object, s Signer) []string {
	definition, _ := p["buildDefinition"].(map[string]any)
	list, _ := definition["resolvedDependencies"].([]any)
	want := "git+" + s.Repository + "@" + s.Ref
	var found []string
	named := false
	for _, item := range list {
		d, _ := item.(map[string]any)
		uri, commit := object(d).at("uri"), object(d).at("digest", "gitCommit")
		if uri != want && !strings.HasPrefix(uri, "git+"+s.Repository) && commit == "" {
			continue // something else that was read
		}
		named = true
		if uri != want {
			found = append(found, fmt.Sprintf("provenance says source %.200q, the certificate %.200q", uri, want))
		}
		if commit != s.Commit || commit == "" {
			found = append(found, fmt.Sprintf("provenance says commit %.200q, the certificate %.200q", commit, s.Commit))
		}
	}
	if !named {
		found = append(found, fmt.Sprintf("provenance says no source, the certificate %.200q at commit %.200q", want, s.Commit))
	}
	return found
}

// workflowPath is the path of the workflow that was triggered, in its repository.
func workflowPath(s Signer) string {
	w, ok := splitIdentity(s.Workflow)
	if !ok || !strings.EqualFold(w.repo, s.Repository) {
		return s.Workflow
	}
	return w.path
}

// checkPredicate reads the predicate of a statement that has been verified. Of the two
// results the first is the signer's fault and grave, the second tells that the
// statement cannot be used here.
func checkPredicate(v *Verified) (grave []string, unusable error) {
	switch v.Statement.PredicateType {
	case statement.TypeProvenance:
		if v.Signer.Key != "" {
			return nil, nil // a key has no certificate to compare with
		}
		return contradictions(v.Statement.Predicate, v.Signer)
	case statement.TypeBuild:
		record, err := statement.DecodeRecord(v.Statement.Predicate)
		if err != nil {
			return nil, fmt.Errorf("build record cannot be read; another version of fledge may have written it: %w", err)
		}
		v.Record = record
	}
	return nil, nil
}

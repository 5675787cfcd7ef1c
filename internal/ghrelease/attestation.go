package ghrelease

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Attestation is one that the repository keeps.
type Attestation struct {
	ID      int64
	Bundle  []byte   // as it was sent
	Digests []string // of its subjects, "sha256:" and hex
}

// Attestations is a copy of all, in the order in which they came.
func (s *Server) Attestations() []Attestation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attestations)
}

// SetRefusal sets RefuseAttestations while the server runs.
func (s *Server) SetRefusal(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.RefuseAttestations = status
}

// attest keeps a bundle. GitHub verifies what it is given; the double only reads it.
func (s *Server) attest(c call) reply {
	if s.RefuseAttestations != 0 {
		return s.refuseAttestation()
	}
	var g struct {
		Bundle json.RawMessage `json:"bundle"`
	}
	if err := json.Unmarshal(c.body, &g); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	digests, err := subjects(g.Bundle)
	if err != nil {
		return invalid("Attestation", "custom", "bundle", "bundle is invalid: "+err.Error())
	}
	a := Attestation{ID: s.id(), Bundle: bytes.Clone(g.Bundle), Digests: digests}
	s.attestations = append(s.attestations, a)
	return answer(http.StatusCreated, map[string]any{"id": a.ID})
}

// refuseAttestation is how GitHub refuses to keep any.
func (s *Server) refuseAttestation() reply {
	switch s.RefuseAttestations {
	case http.StatusUnprocessableEntity:
		return invalid("Attestation", "custom", "bundle", "bundle is not signed by a trusted authority")
	case http.StatusForbidden:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return refuse(s.RefuseAttestations, http.StatusText(s.RefuseAttestations))
}

// subjects are the digests that a bundle's statement is about.
func subjects(bundle []byte) ([]string, error) {
	var b struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		return nil, err
	}
	var st struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(b.Envelope.Payload, &st); err != nil {
		return nil, fmt.Errorf("its payload is no statement: %w", err)
	}
	var all []string
	for _, sub := range st.Subject {
		if d := sub.Digest["sha256"]; d != "" {
			all = append(all, "sha256:"+d)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("its statement has no subject")
	}
	return all, nil
}

// listAttestations answers with those about a digest, the newest first.
func (s *Server) listAttestations(c call, digest string) reply {
	all := []any{}
	for _, a := range slices.Backward(s.attestations) {
		if slices.Contains(a.Digests, digest) {
			all = append(all, map[string]any{
				"bundle": json.RawMessage(a.Bundle), "repository_id": 1, "initiator": "user",
				"bundle_url": fmt.Sprintf("%s/attestations/%d", s.Objects, a.ID),
			})
		}
	}
	if len(all) == 0 {
		return refuse(http.StatusNotFound, "Not Found")
	}
	return answer(http.StatusOK, map[string]any{"attestations": all})
}

// SetComparison adds to Comparisons while the server runs.
func (s *Server) SetComparison(basehead string, diff Comparison) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Comparisons == nil {
		s.Comparisons = map[string]Comparison{}
	}
	s.Comparisons[basehead] = diff
}

// Comparison is how a commit differs from another one.
type Comparison struct {
	Status string // "ahead", "behind", "diverged" or "identical"
	Files  []ComparedFile
}

// ComparedFile is one of the files that differ.
type ComparedFile struct {
	Name, Previous string // Previous is the name before a renaming, "" without one
	Status         string // "" is "modified", or "renamed" where Previous says so
}

// mostCompared is how many files a comparison lists.
const mostCompared = 300

// compare answers with the first page. A commit that is known is identical with
// itself.
func (s *Server) compare(c call, basehead string) reply {
	diff, known := s.Comparisons[basehead]
	base, head, _ := strings.Cut(basehead, "...")
	if base == head && slices.Contains(s.Commits, head) {
		diff, known = Comparison{Status: "identical"}, true
	}
	if !known {
		return refuse(http.StatusNotFound, "Not Found")
	}
	files := []any{}
	for _, f := range diff.Files[:min(len(diff.Files), mostCompared)] {
		file := map[string]any{"sha": strings.Repeat("d", 40), "filename": f.Name, "status": "modified", "additions": 1, "deletions": 1, "changes": 2, "patch": "@@ -1 +1 @@"}
		if f.Previous != "" {
			file["status"], file["previous_filename"] = "renamed", f.Previous
		}
		if f.Status != "" {
			file["status"] = f.Status
		}
		files = append(files, file)
	}
	return answer(http.StatusOK, map[string]any{"status": diff.Status, "ahead_by": 1, "behind_by": 0, "total_commits": 1, "commits": []any{}, "files": files})
}

// generateNotes lists what was merged since the tag that is asked for, or since the
// release before.
func (s *Server) generateNotes(c call) reply {
	var g struct {
		Tag      string  `json:"tag_name"`
		Target   *string `json:"target_commitish"`
		Previous *string `json:"previous_tag_name"`
	}
	if err := json.Unmarshal(c.body, &g); err != nil || g.Tag == "" {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if !s.Tags[g.Tag] && g.Target == nil {
		return invalid("Release", "custom", "tag_name", "tag_name is not a valid tag")
	}
	if g.Previous == nil {
		for _, rel := range s.releases {
			if !rel.Draft && rel.Tag != g.Tag {
				g.Previous = &rel.Tag
			}
		}
	}
	since := "commits/" + g.Tag
	if g.Previous != nil {
		if !s.Tags[*g.Previous] {
			return invalid("Release", "custom", "previous_tag_name", "previous_tag_name is not a valid tag")
		}
		since = "compare/" + *g.Previous + "..." + g.Tag
	}
	body := fmt.Sprintf("## What's Changed\n%s\n\n**Full Changelog**: %s/%s/%s", strings.Join(s.Merged, "\n"), s.Web, s.Repo, since)
	return answer(http.StatusOK, map[string]any{"name": g.Tag, "body": body})
}

package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/internal/verifytarget"
)

// What 'fledge verify --json' prints. The keys are a promise: they may grow, not change.
type (
	verifyJSON struct {
		OK      bool         `json:"ok"`
		Targets []targetJSON `json:"targets"`
	}

	targetJSON struct {
		Target     string          `json:"target"`
		Result     string          `json:"result"` // "verified", "failed" or "nothing"
		Files      []fileJSON      `json:"files"`
		Statements []statementJSON `json:"statements"`
		Reasons    []reasonJSON    `json:"reasons"`
		Ignored    []reasonJSON    `json:"ignored"`
		Notes      []string        `json:"notes"`
		Rebuilt    []rebuilt       `json:"rebuilt,omitempty"`
	}

	fileJSON struct {
		Name     string            `json:"name"`
		Role     verifytarget.Role `json:"role"`
		Digest   string            `json:"digest"`
		Size     int64             `json:"size"`
		Verified bool              `json:"verified"`
	}

	statementJSON struct {
		Bundle        string          `json:"bundle"`
		PredicateType string          `json:"predicate_type"`
		Subjects      []subjectJSON   `json:"subjects"`
		Signer        signerJSON      `json:"signer"`
		Timestamps    []timestampJSON `json:"timestamps"`
		TrustedRoot   string          `json:"trusted_root,omitempty"`
		Record        *recordJSON     `json:"build,omitempty"`
	}

	subjectJSON struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
	}

	signerJSON struct {
		Key          string `json:"key,omitempty"`
		Identity     string `json:"identity,omitempty"`
		Issuer       string `json:"issuer,omitempty"`
		Repository   string `json:"repository,omitempty"`
		RepositoryID string `json:"repository_id,omitempty"`
		Owner        string `json:"owner,omitempty"`
		OwnerID      string `json:"owner_id,omitempty"`
		Ref          string `json:"ref,omitempty"`
		Commit       string `json:"commit,omitempty"`
		Workflow     string `json:"workflow,omitempty"`
		Event        string `json:"event,omitempty"`
		Run          string `json:"run,omitempty"`
		Runner       string `json:"runner,omitempty"`
		CA           string `json:"certificate_authority,omitempty"`
	}

	timestampJSON struct {
		Source string    `json:"source"`
		URI    string    `json:"uri"`
		Time   time.Time `json:"time"`
	}

	recordJSON struct {
		Fledge       string                 `json:"fledge"`
		FledgeDigest string                 `json:"fledge_digest"`
		Config       string                 `json:"config"`
		ConfigDigest string                 `json:"config_digest"`
		Strategy     string                 `json:"strategy"`
		Format       string                 `json:"format"`
		Platform     string                 `json:"platform"`
		Epoch        int64                  `json:"epoch"`
		Content      string                 `json:"content_digest,omitempty"`
		Materials    []recordDependencyJSON `json:"materials"`
	}

	recordDependencyJSON struct {
		Name    string            `json:"name"`
		URI     string            `json:"uri"`
		Digest  map[string]string `json:"digest"`
		Version string            `json:"version,omitempty"`
		Proof   string            `json:"proof,omitempty"`
	}

	reasonJSON struct {
		Code    verify.Kind `json:"code"`
		Bundle  string      `json:"bundle,omitempty"`
		Message string      `json:"message"`
	}
)

func printVerifyJSON(w io.Writer, reports []*verifytarget.Report, again [][]rebuilt) error {
	x := verifyJSON{OK: true, Targets: []targetJSON{}}
	for i, r := range reports {
		t := targetOf(r)
		t.Rebuilt = again[i]
		x.OK = x.OK && r.OK()
		x.Targets = append(x.Targets, t)
	}
	out, err := marshal(x, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", out)
	return err
}

func targetOf(r *verifytarget.Report) targetJSON {
	x := targetJSON{
		Target: r.Target, Result: "verified", Files: []fileJSON{}, Statements: []statementJSON{},
		Reasons: reasonsOf(r.Problems), Ignored: reasonsOf(r.Ignored), Notes: append([]string{}, r.Notes...),
	}
	switch {
	case len(r.Problems) > 0:
		x.Result = "failed"
	case r.Nothing:
		x.Result = "nothing"
	}
	for i, f := range r.Files {
		x.Files = append(x.Files, fileJSON{f.Name, f.Role, "sha256:" + f.SHA256, f.Size, r.Verified[i]})
	}
	for _, b := range r.Bundles {
		x.Statements = append(x.Statements, statementOf(b))
	}
	return x
}

func reasonsOf(problems []*verify.Problem) []reasonJSON {
	list := []reasonJSON{}
	for _, p := range problems {
		list = append(list, reasonJSON{p.Kind, p.Bundle, p.Message})
	}
	return list
}

func statementOf(v verify.Verified) statementJSON {
	x := statementJSON{
		Bundle: v.Source, PredicateType: v.Statement.PredicateType, Signer: signerJSON(v.Signer),
		Timestamps: []timestampJSON{}, TrustedRoot: v.Root, Record: recordOf(v.Record),
	}
	for _, s := range v.Statement.Subject {
		x.Subjects = append(x.Subjects, subjectJSON{s.Name, digestText(s.Digest)})
	}
	for _, t := range v.Timestamps {
		x.Timestamps = append(x.Timestamps, timestampJSON(t))
	}
	return x
}

func recordOf(r *statement.Record) *recordJSON {
	if r == nil {
		return nil
	}
	x := &recordJSON{
		Fledge: r.Fledge.Version, FledgeDigest: "sha256:" + r.Fledge.SHA256, Config: r.Config.Name, ConfigDigest: "sha256:" + r.Config.SHA256,
		Strategy: r.Strategy, Format: r.Format, Platform: r.Platform, Epoch: r.Epoch, Content: r.ContentDigest, Materials: []recordDependencyJSON{},
	}
	for _, d := range r.Dependencies {
		x.Materials = append(x.Materials, recordDependencyJSON(d))
	}
	return x
}

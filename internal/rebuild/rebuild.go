package rebuild

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
)

// A ChangedError reports a file of the project that is not the recorded one.
type ChangedError struct {
	Path       string
	Have, Want string // sha256 in hex
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s (sha256:%s) is not the one of the build (sha256:%s); check out the commit that it was built from", e.Path, e.Have, e.Want)
}

// Request is the build of a record in a project's folder. Where its output goes, what it
// fetches with and what it tells are left to the caller.
func Request(rec *statement.Record, dir string) (build.Request, error) {
	r := build.Request{
		Epoch: time.Unix(rec.Epoch, 0).UTC(), URL: rec.Options[statement.OptionArtifactURL], Version: rec.Options[statement.OptionPluginVersion],
		AllowUnbootable: rec.Options[statement.OptionAllowUnbootable] == "true", Locked: true,
	}
	path, err := below(dir, rec.Config.Name)
	if err != nil {
		return r, err
	}
	if r.Config, err = config.Load(path); err != nil {
		return r, err
	}
	if err := same(path, r.Config.Digest, rec.Config); err != nil {
		return r, err
	}
	if rec.Template != nil {
		if path, err = below(dir, rec.Template.Name); err != nil {
			return r, err
		}
		if r.Template, err = config.LoadTemplate(path); err != nil {
			return r, err
		}
		if err := same(path, r.Template.Digest, *rec.Template); err != nil {
			return r, err
		}
	}
	if r.Lock, err = build.RecordedLock(r.Config, materials(rec)); err != nil {
		return r, fmt.Errorf("reading build record: %w", err)
	}
	return r, nil
}

// below is the path of a file of the project.
func below(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("reading build record: %q is no file of a project", name)
	}
	return filepath.Join(dir, name), nil
}

func same(path, digest string, want statement.File) error {
	if have := strings.TrimPrefix(digest, "sha256:"); have != want.SHA256 {
		return &ChangedError{Path: path, Have: have, Want: want.SHA256}
	}
	return nil
}

// materials are the record's dependencies in the words of a build.
func materials(rec *statement.Record) []build.Material {
	var all []build.Material
	for _, d := range rec.Dependencies {
		if sum := d.Digest["sha256"]; sum != "" {
			all = append(all, build.Material{Name: d.Name, URI: d.URI, Digest: "sha256:" + sum, Version: d.Version})
		}
	}
	return all
}

// Differences tells which inputs of a build are not those of the record, in words,
// for a result that is not the same.
func Differences(rec *statement.Record, r *build.Result) []string {
	before, after := map[string][]string{}, map[string][]string{}
	var names []string
	note := func(in map[string][]string, name, digest string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		in[name] = append(in[name], strings.TrimPrefix(digest, "sha256:"))
	}
	for _, d := range rec.Dependencies {
		note(before, d.Name, d.Digest["sha256"])
	}
	for _, m := range r.Materials {
		if m.Name != "config" && m.Name != "manifest template" { // compared already
			note(after, m.Name, m.Digest)
		}
	}
	var all []string
	for _, name := range names {
		if !slices.Equal(before[name], after[name]) {
			all = append(all, fmt.Sprintf("%s was sha256:%s and is sha256:%s now", name, list(before[name]), list(after[name])))
		}
	}
	if r.Artifact.Format != rec.Format {
		all = append(all, fmt.Sprintf("the format was %q and is %q now", rec.Format, r.Artifact.Format))
	}
	return all
}

func list(digests []string) string {
	if len(digests) == 0 {
		return "(not there)"
	}
	return strings.Join(digests, " ")
}

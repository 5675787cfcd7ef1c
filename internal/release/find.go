package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v89/github"
)

const (
	perPage  = 100
	maxPages = 10 // of releases that are looked through for drafts
	// A new draft may be missing from the list for some seconds.
	visibleTries = 5
	visibleWait  = time.Second
)

// find returns the release to use, nil if there is none: the one of the given id, else
// the tag's published one, else the tag's draft with the lowest id.
func (r *run) find(ctx context.Context) (*github.RepositoryRelease, error) {
	what := "finding " + r.where()
	if r.o.ID != 0 {
		rel, _, err := r.c.gh.Repositories.GetRelease(ctx, r.c.owner, r.c.repo, r.o.ID)
		if isStatus(err, http.StatusNotFound) {
			return nil, &Error{Reason: NotFound, What: what, Why: fmt.Sprintf("there is no release with id %d", r.o.ID), Do: "leave the id out to have the release found by its tag", Status: http.StatusNotFound, Err: err}
		}
		if err == nil && rel.TagName != r.tag {
			return nil, &Error{Reason: Invalid, What: what, Why: fmt.Sprintf("release %d has the tag %q", r.o.ID, rel.TagName), Do: "give the tag and the id of one release"}
		}
		return rel, r.judge(ctx, what, err)
	}
	rel, _, err := r.c.gh.Repositories.GetReleaseByTag(ctx, r.c.owner, r.c.repo, url.PathEscape(r.tag))
	if err == nil {
		return rel, nil
	}
	if !isStatus(err, http.StatusNotFound) {
		return nil, r.judge(ctx, what, err)
	}
	drafts, err := r.drafts(ctx)
	if err != nil || len(drafts) == 0 {
		return nil, err
	}
	return drafts[0], r.ambiguous(ctx, drafts)
}

// drafts are those of the tag, the lowest id first. The one that this run made is
// among them even when the list does not have it yet.
func (r *run) drafts(ctx context.Context) ([]*github.RepositoryRelease, error) {
	what := "listing releases of " + r.c.owner + "/" + r.c.repo
	var found []*github.RepositoryRelease
	for page := 1; page <= maxPages; page++ {
		all, resp, err := r.c.gh.Repositories.ListReleases(ctx, r.c.owner, r.c.repo, &github.ListOptions{Page: page, PerPage: perPage})
		if err != nil {
			return nil, r.judge(ctx, what, err)
		}
		for _, rel := range all {
			if rel != nil && rel.Draft && rel.TagName == r.tag {
				found = append(found, rel)
			}
		}
		if resp.NextPage == 0 {
			break
		}
	}
	if r.created != 0 && !slices.ContainsFunc(found, func(d *github.RepositoryRelease) bool { return d.ID == r.created }) {
		own, _, err := r.c.gh.Repositories.GetRelease(ctx, r.c.owner, r.c.repo, r.created)
		switch {
		case isStatus(err, http.StatusNotFound):
			r.created = 0
		case err != nil:
			return nil, r.judge(ctx, what, err)
		case own.Draft:
			found = append(found, own)
		}
	}
	// A page may repeat what moved down from the one before.
	slices.SortFunc(found, func(a, b *github.RepositoryRelease) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(found, func(a, b *github.RepositoryRelease) bool { return a.ID == b.ID }), nil
}

// ambiguous refuses drafts of which more than the first has other files than the
// wanted ones: which of them is meant cannot be told. Once this run has written, it
// stays with its choice.
func (r *run) ambiguous(ctx context.Context, drafts []*github.RepositoryRelease) error {
	if r.wrote {
		return nil
	}
	foreign := false
	var ids []string
	for i, d := range drafts {
		ids = append(ids, fmt.Sprint(d.ID))
		if i == 0 || foreign {
			continue
		}
		plain, err := r.holdsNothingElse(ctx, d)
		if err != nil {
			return err
		}
		foreign = !plain
	}
	if !foreign {
		return nil
	}
	return &Error{
		Reason: Ambiguous, What: "finding " + r.where(), Why: fmt.Sprintf("%d drafts have this tag (ids %s)", len(ids), strings.Join(ids, ", ")),
		Do: "delete all but one, or name the one to use by its id",
	}
}

// holdsNothingElse tells whether every asset of a draft is a wanted one, one that may be
// replaced by it, or the remains of an upload of one.
func (r *run) holdsNothingElse(ctx context.Context, d *github.RepositoryRelease) (bool, error) {
	for _, a := range d.Assets {
		at := remoteOf(a)
		name, mark := at.of()
		i := slices.IndexFunc(r.assets, func(want Asset) bool { return want.Name == name })
		if i < 0 || mark == oldMark && !r.replaces(true) {
			return false, nil
		}
		if !at.whole() || r.replaces(true) {
			continue
		}
		if same, err := r.same(ctx, r.assets[i], at); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// checkTag makes sure that publishing does not make a tag: GitHub would, at the newest
// commit of the default branch.
func (r *run) checkTag(ctx context.Context) error {
	if r.tagSeen {
		return nil
	}
	what := "finding tag " + r.tag + " in " + r.c.owner + "/" + r.c.repo
	_, _, err := r.c.gh.Git.GetRef(ctx, r.c.owner, r.c.repo, "tags/"+r.tag)
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusConflict) { // 409: a repository without a commit
		return &Error{Reason: NoTag, What: what, Why: "it is not there", Do: "push it first: git push origin " + r.tag, Err: err}
	}
	r.tagSeen = err == nil
	return r.judge(ctx, what, err)
}

// create makes a draft and returns the one to use, which another run may have made at
// the same time.
func (r *run) create(ctx context.Context) (*github.RepositoryRelease, error) {
	what := "creating a draft of " + r.where()
	req := github.CreateReleaseRequest{TagName: r.tag, Name: github.Ptr(r.title()), Draft: github.Ptr(true), Prerelease: github.Ptr(r.o.Prerelease)}
	notes, err := r.allNotes(ctx)
	if err != nil {
		return nil, err
	}
	if notes != "" {
		req.Body = &notes
	}
	r.c.tell(Stage, "creating a draft of %s", r.where())
	own, _, err := r.c.gh.Repositories.CreateRelease(ctx, r.c.owner, r.c.repo, req)
	if err != nil {
		// The tag is there, so GitHub's habit of saying 404 for a tag that a job's
		// token may not make leaves the permission.
		return nil, r.judge(ctx, what, err)
	}
	r.created, r.made, r.wrote = own.ID, true, true
	r.c.tell(Detail, "draft %d", own.ID)
	for range visibleTries {
		visible, err := r.listed(ctx, own.ID)
		if err != nil {
			return nil, err
		}
		if visible {
			break
		}
		if err := r.c.sleep(ctx, visibleWait); err != nil {
			return nil, err
		}
	}
	rel, err := r.find(ctx)
	if err == nil && rel == nil { // published or deleted since the tag was asked for
		err = r.gone(what, nil)
	}
	return rel, err
}

// listed tells whether the newest releases have an id.
func (r *run) listed(ctx context.Context, id int64) (bool, error) {
	all, _, err := r.c.gh.Repositories.ListReleases(ctx, r.c.owner, r.c.repo, &github.ListOptions{PerPage: perPage})
	if err != nil {
		return false, r.judge(ctx, "listing releases of "+r.c.owner+"/"+r.c.repo, err)
	}
	return slices.ContainsFunc(all, func(rel *github.RepositoryRelease) bool { return rel.ID == id }), nil
}

// title is the name of a release that this run makes.
func (r *run) title() string { return cmp.Or(r.o.Name, r.tag) }

// publish makes the draft public. Everything is on it.
func (r *run) publish(ctx context.Context, rel *github.RepositoryRelease) error {
	what := "publishing " + r.where()
	if r.o.ID == 0 {
		drafts, err := r.drafts(ctx)
		if err != nil {
			return err
		}
		if len(drafts) > 0 && drafts[0].ID < rel.ID {
			return &again{err: &Error{Reason: Rejected, What: what, Why: fmt.Sprintf("another run made a draft before this one (id %d)", drafts[0].ID)}}
		}
	}
	r.c.tell(Stage, "publishing %s", r.where())
	req := github.UpdateReleaseRequest{TagName: github.Ptr(r.tag), Draft: github.Ptr(false)}
	body := ""
	if r.o.Body != "" || rel.GetBody() == "" {
		var err error
		if body, err = r.allNotes(ctx); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		to    **string
		value string
	}{{&req.Name, r.o.Name}, {&req.Body, body}, {&req.MakeLatest, r.o.MakeLatest}} {
		if f.value != "" {
			*f.to = github.Ptr(f.value)
		}
	}
	if r.o.Prerelease {
		req.Prerelease = github.Ptr(true)
	}
	_, _, err := r.c.gh.Repositories.UpdateRelease(ctx, r.c.owner, r.c.repo, rel.ID, req)
	if isStatus(err, http.StatusNotFound) {
		return r.gone(what, err)
	}
	if a, ok := answerOf(err); ok && a.says("immutable") && !a.says("was used by") {
		// Another run has published it in this moment.
		return &again{err: &Error{Reason: Immutable, What: what, Why: a.text(), Status: a.status, Err: err}}
	}
	return r.judge(ctx, what, err)
}

// gone is the failure of a request about a release that was there a moment ago.
func (r *run) gone(what string, err error) error {
	return &again{err: &Error{Reason: NotFound, What: what, Why: "the release or the asset is gone", Do: "somebody else deletes them", Status: http.StatusNotFound, Err: err}}
}

// finish reads the release back, and removes the drafts that it makes superfluous.
func (r *run) finish(ctx context.Context, id int64) (*Result, error) {
	what := "reading " + r.where() + " back"
	rel, _, err := r.c.gh.Repositories.GetRelease(ctx, r.c.owner, r.c.repo, id)
	if isStatus(err, http.StatusNotFound) {
		return nil, r.gone(what, err)
	}
	if err != nil {
		return nil, r.judge(ctx, what, err)
	}
	if rel.Draft && !r.o.Draft {
		return nil, &again{err: &Error{Reason: Unavailable, What: what, Why: "it is still a draft"}}
	}
	list, err := r.list(ctx, id)
	if err != nil {
		return nil, err
	}
	result := &Result{Tag: r.tag, ID: id, URL: rel.HTMLURL, Draft: rel.Draft, Immutable: rel.GetImmutable(), Created: r.made}
	for _, want := range r.assets {
		at := list[want.Name]
		same, err := r.same(ctx, want, at)
		if err != nil {
			return nil, err
		}
		if !same {
			return nil, &again{err: &Error{Reason: Clashes, What: what, Why: want.Name + " is not what was uploaded: somebody else has changed it"}}
		}
		result.Assets = append(result.Assets, Published{
			Name: want.Name, ID: at.id, URL: at.url, Size: want.Size, Digest: want.Digest, Done: cmp.Or(r.did[want.Name], Skipped),
		})
	}
	r.tidy(ctx, rel)
	result.Warnings = r.warnings
	return result, nil
}

// tidy deletes drafts of the tag that hold nothing that the release does not have.
// Before the release is published, that is the one that this run made, if another was
// used in the end: of the others somebody may be about to publish one. What cannot
// be deleted does no harm.
func (r *run) tidy(ctx context.Context, rel *github.RepositoryRelease) {
	if r.o.ID != 0 {
		return
	}
	drafts, err := r.drafts(ctx)
	if err != nil {
		r.warn(ctx, "looking for left drafts: %v", err)
		return
	}
	for _, d := range drafts {
		own := d.ID == r.created
		if d.ID == rel.ID || rel.Draft && !own {
			continue
		}
		if err := r.drop(ctx, d.ID, own, rel.GetBody()); err != nil {
			r.warn(ctx, "draft %d (%s) has the same tag and was left: %v", d.ID, d.HTMLURL, err)
		}
	}
}

// drop deletes a draft with which nothing is lost. Title and notes of one that
// another run made are compared with what this run would have made; the notes may also
// be those that the release has.
func (r *run) drop(ctx context.Context, id int64, own bool, body string) error {
	d, _, err := r.c.gh.Repositories.GetRelease(ctx, r.c.owner, r.c.repo, id) // the list may be old
	switch {
	case isStatus(err, http.StatusNotFound):
		return nil
	case err != nil:
		return r.judge(ctx, "reading it", err)
	case !d.Draft || d.TagName != r.tag:
		return errors.New("it has changed")
	}
	plain, err := r.holdsNothingElse(ctx, d)
	if err != nil {
		return err
	}
	if !plain || !own && (d.GetName() != r.title() || d.GetBody() != r.notes() && d.GetBody() != body) {
		return errors.New("it has files, a title or notes of its own")
	}
	if _, err := r.c.gh.Repositories.DeleteRelease(ctx, r.c.owner, r.c.repo, id); err != nil && !isStatus(err, http.StatusNotFound) {
		return r.judge(ctx, "deleting it", err)
	}
	r.c.tell(Detail, "deleted draft %d, which had nothing of its own", id)
	return nil
}

// warn tells of what is left and does no harm.
func (r *run) warn(ctx context.Context, format string, args ...any) {
	if ctx.Err() != nil {
		return // everything was done, and nobody waits for more
	}
	text := fmt.Sprintf(format, args...)
	r.warnings = append(r.warnings, text)
	r.c.tell(Notice, "%s", text)
}

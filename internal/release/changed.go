package release

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v89/github"
)

// MaxChanged is how many changed files GitHub lists, all of them on the first page.
const MaxChanged = 300

// Changed lists the files that differ between head and the point where it parted from base, as
// "git diff base...head" does, sorted, with slashes. Both are commits, branches or tags. A renamed file counts
// under both names.
//
// All is true, without an error and without files, where that cannot be told: GitHub lists MaxChanged
// files at most; base is not known (the zeros that a push event has for a new
// branch, or a commit that a forced push removed); or head is behind base.
func (c *Client) Changed(ctx context.Context, base, head string) (files []string, all bool, err error) {
	what := fmt.Sprintf("comparing %s with %s of %s/%s", head, base, c.owner, c.repo)
	for _, ref := range []string{base, head} {
		if !validTag(ref) {
			return nil, false, &Error{Reason: Invalid, What: what, Why: fmt.Sprintf("%q names no commit", ref)}
		}
	}
	if strings.Trim(base, "0") == "" {
		return nil, true, nil
	}
	err = c.persist(ctx, func() (int, error) {
		files, all, err = c.changed(ctx, what, base, head)
		return 0, err
	})
	return files, all, err
}

func (c *Client) changed(ctx context.Context, what, base, head string) ([]string, bool, error) {
	// The commits are of no interest: one of them a page.
	diff, _, err := c.gh.Repositories.CompareCommits(ctx, c.owner, c.repo, base, head, &github.ListOptions{PerPage: 1})
	if isStatus(err, http.StatusNotFound) {
		return c.missing(ctx, what, head)
	}
	if err != nil {
		return nil, false, c.judge(ctx, what, readContents, err)
	}
	if len(diff.Files) >= MaxChanged || diff.GetStatus() == "behind" {
		return nil, true, nil
	}
	files := []string{}
	for _, f := range diff.Files {
		for _, name := range []string{f.GetFilename(), f.GetPreviousFilename()} {
			if name != "" {
				files = append(files, name)
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files), false, nil
}

// missing tells a base that is gone, or has nothing in common with head, from a head or
// a whole repository that is not there: the latter are mistakes. A head that is there
// can be compared with itself.
func (c *Client) missing(ctx context.Context, what, head string) ([]string, bool, error) {
	_, _, err := c.gh.Repositories.CompareCommits(ctx, c.owner, c.repo, head, head, &github.ListOptions{PerPage: 1})
	if isStatus(err, http.StatusNotFound) {
		return nil, false, &Error{
			Reason: NotFound, What: what, Why: fmt.Sprintf("404: %s is not there", head),
			Do: fmt.Sprintf("push it, check the name %s/%s, and for a private repository that the token has %q", c.owner, c.repo, readContents), Status: http.StatusNotFound, Err: err,
		}
	}
	if err != nil {
		return nil, false, c.judge(ctx, what, readContents, err)
	}
	return nil, true, nil
}

package release

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-github/v89/github"
)

// Previous is the release before another one.
type Previous struct {
	Tag    string          `json:"tag"`
	URL    string          `json:"url"`    // its page
	Assets []PreviousAsset `json:"assets"` // never nil
}

// PreviousAsset is one of its files.
type PreviousAsset struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`             // bytes
	Digest string `json:"digest,omitempty"` // "sha256:" and hex; "" where GitHub has none
}

// Previous finds the release that was published last before tag's own, or last of all
// when tag has none yet. Drafts do not count, and prereleases only if tag's release is
// one or, while it is not published, its version has a pre-release part. Of a tag
// with a prefix ("web/" of "web/v1.2", "web-" of "web-v1.2") it is the last one with the
// same prefix. It is nil if there is none, or none among the newest 1000 releases.
func (c *Client) Previous(ctx context.Context, tag string) (previous *Previous, err error) {
	err = c.persist(ctx, func() (int, error) {
		previous, err = c.previous(ctx, tag)
		return 0, err
	})
	return previous, err
}

func (c *Client) previous(ctx context.Context, tag string) (*Previous, error) {
	what := fmt.Sprintf("looking for the release before %s of %s/%s", tag, c.owner, c.repo)
	prefix, version := splitTag(tag)
	pre := isPrerelease(version)
	own, _, err := c.gh.Repositories.GetReleaseByTag(ctx, c.owner, c.repo, url.PathEscape(tag))
	switch {
	case isStatus(err, http.StatusNotFound):
		own = nil
	case err != nil:
		return nil, c.judge(ctx, what, readContents, err)
	default:
		pre = own.Prerelease
	}
	fits := func(r *github.RepositoryRelease) bool {
		mine, _ := splitTag(r.TagName)
		return !r.Draft && r.TagName != tag && mine == prefix && (pre || !r.Prerelease) && (own == nil || published(r, own) < 0)
	}
	for page := 1; page <= maxPages; page++ {
		all, resp, err := c.gh.Repositories.ListReleases(ctx, c.owner, c.repo, &github.ListOptions{Page: page, PerPage: perPage})
		if err != nil {
			return nil, c.judge(ctx, what, readContents, err)
		}
		// The list is in the order of making, not of publishing; within a page the
		// difference is seen.
		var found *github.RepositoryRelease
		for _, r := range all {
			if r != nil && fits(r) && (found == nil || published(r, found) > 0) {
				found = r
			}
		}
		if found != nil {
			return previousOf(found), nil
		}
		if resp.NextPage == 0 {
			break
		}
	}
	return nil, nil
}

// published compares when two releases were published, to the second, and then made.
func published(a, b *github.RepositoryRelease) int {
	return cmp.Or(a.GetPublishedAt().Compare(b.GetPublishedAt().Time), cmp.Compare(a.ID, b.ID))
}

func previousOf(r *github.RepositoryRelease) *Previous {
	p := &Previous{Tag: r.TagName, URL: r.HTMLURL, Assets: []PreviousAsset{}}
	for _, a := range r.Assets {
		if at := remoteOf(a); at.whole() {
			p.Assets = append(p.Assets, PreviousAsset{Name: at.name, Size: at.size, Digest: at.digest})
		}
	}
	return p
}

var (
	afterSlash = regexp.MustCompile(`^v?[0-9]`)
	afterDash  = regexp.MustCompile(`^.*-v[0-9]`) // the last one
	preRelease = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*-`)
)

// splitTag parts a tag into what stands before its version and the version: "web/" and
// "v1.2" of "web/v1.2", "web-" and "v1.2" of "web-v1.2", "" and "v1.2" of "v1.2". A tag
// without a version has the prefix "" too.
func splitTag(tag string) (prefix, version string) {
	slash := strings.LastIndex(tag, "/") + 1
	if afterSlash.MatchString(tag[slash:]) {
		return tag[:slash], tag[slash:]
	}
	if upTo := afterDash.FindString(tag[slash:]); upTo != "" {
		at := slash + len(upTo) - len("v0")
		return tag[:at], tag[at:]
	}
	return "", tag
}

// isPrerelease tells a version with a pre-release part (https://semver.org, 9).
func isPrerelease(version string) bool {
	core, _, _ := strings.Cut(version, "+")
	return preRelease.MatchString(core)
}

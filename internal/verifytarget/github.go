package verifytarget

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/fetch/attestations"
)

const (
	defaultAPI  = "https://api.github.com"
	acceptJSON  = "application/vnd.github+json"
	acceptBytes = "application/octet-stream"
)

// github asks GitHub's API. The token goes to its host only.
type github struct {
	fetch *fetch.Client
	base  string // URL without a slash at its end
	host  string
	token string
}

func newGitHub(o Options) (*github, error) {
	base := strings.TrimRight(cmp.Or(o.BaseURL, defaultAPI), "/")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &UsageError{fmt.Errorf("base URL %q is no URL of an API", o.BaseURL)}
	}
	return &github{fetch: o.Fetch, base: base, host: u.Host, token: o.Token}, nil
}

func (g *github) json(ctx context.Context, path string, max int64, into any) error {
	body, err := g.fetch.Bytes(ctx, fetch.Request{URL: g.base + path, Max: max, Accept: acceptJSON, Token: g.token, TokenHost: g.host})
	if err != nil {
		return g.explain(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer of %s: it is not what GitHub's API sends: %w", g.host, err)
	}
	return nil
}

// explain adds what the user can do about an answer.
func (g *github) explain(err error) error {
	var status *fetch.StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch {
	case status.Code == http.StatusUnauthorized:
		return fmt.Errorf("%w; renew or unset GITHUB_TOKEN", err)
	case status.Code == http.StatusForbidden && g.token == "":
		return fmt.Errorf("%w; set GITHUB_TOKEN: without a token all who share this address have 60 requests an hour together", err)
	}
	return err
}

// repoPath is where the API has a repository.
func repoPath(repo string) string {
	owner, name, _ := strings.Cut(repo, "/")
	return "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name)
}

// releaseURL takes the address of a release's page apart. The tag is "" for the
// latest one.
func releaseURL(u *url.URL) (repo, tag string, ok bool) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case slices.Contains(parts, "..") || slices.Contains(parts, "."):
	case len(parts) == 4 && parts[2] == "releases" && parts[3] == "latest":
		return parts[0] + "/" + parts[1], "", true
	case len(parts) >= 5 && parts[2] == "releases" && parts[3] == "tag":
		return parts[0] + "/" + parts[1], strings.Join(parts[4:], "/"), true
	}
	return "", "", false
}

// release is a place: the assets of a release.
type release struct {
	*github
	repo   string
	tag    string
	names  []string
	assets map[string]int64 // name to number
}

// maxAssets is how many files a release may have; GitHub has the same limit.
const maxAssets = 1000

func (g *github) release(ctx context.Context, repo, tag string) (*release, error) {
	var answer struct {
		Tag    string `json:"tag_name"`
		Assets []struct {
			ID    int64  `json:"id"`
			Name  string `json:"name"`
			State string `json:"state"`
		} `json:"assets"`
	}
	path := repoPath(repo) + "/releases/latest"
	if tag != "" {
		path = strings.TrimSuffix(path, "latest") + "tags/" + url.PathEscape(tag)
	}
	if err := g.json(ctx, path, 16<<20, &answer); err != nil {
		if errors.Is(absent(err), fs.ErrNotExist) && g.token == "" {
			err = fmt.Errorf("%w; a private repository needs GITHUB_TOKEN", err)
		}
		return nil, fmt.Errorf("looking for the release: %w", err)
	}
	if len(answer.Assets) > maxAssets {
		return nil, fmt.Errorf("looking for the release: %d assets, more than the limit of %d", len(answer.Assets), maxAssets)
	}
	r := &release{github: g, repo: repo, tag: answer.Tag, assets: map[string]int64{}}
	for _, a := range answer.Assets {
		if _, twice := r.assets[a.Name]; twice || a.State != "" && a.State != "uploaded" {
			return nil, fmt.Errorf("looking for the release: asset %q is there twice or not uploaded completely", a.Name)
		}
		r.assets[a.Name] = a.ID
		r.names = append(r.names, a.Name)
	}
	return r, nil
}

func (r *release) where(name string) string { return r.repo + " " + r.tag + " " + name }
func (r *release) path(string) string       { return "" }

func (r *release) read(ctx context.Context, name string, max int64, into func(io.Reader) error) error {
	id, ok := r.assets[name]
	if !ok {
		return fs.ErrNotExist
	}
	// Made from the number alone: the URLs in an answer are whatever the answer
	// says, and this one gets the token.
	address := r.base + repoPath(r.repo) + "/releases/assets/" + strconv.FormatInt(id, 10)
	return r.fetch.Stream(ctx, fetch.Request{
		URL: address, Max: cmp.Or(max, MaxArtifact), Accept: acceptBytes, Token: r.token, TokenHost: r.host,
	}, into)
}

// attestations asks a repository for the bundles of a digest.
func (g *github) attestations(ctx context.Context, repo, digest string) ([]verify.Bundle, error) {
	found, err := attestations.API{
		Fetch: g.fetch, Repository: g.base + repoPath(repo), Host: g.host, Token: g.token,
		MaxAnswer: verify.MaxFile, MaxBundle: verify.MaxBundle, Most: verify.MaxBundles,
	}.Of(ctx, "sha256:"+digest)
	if err != nil {
		return nil, fmt.Errorf("asking GitHub for attestations: %w", g.explain(err))
	}
	var all []verify.Bundle
	for i, b := range found {
		all = append(all, verify.Bundle{Source: fmt.Sprintf("attestation %d of %s", i+1, repo), JSON: b})
	}
	return all, nil
}

package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/tree"
)

// The release and its assets.
const (
	repository     = "volantvm/volant"
	agentAsset     = "kestrel"
	kernelAsset    = "bzImage"
	checksumsAsset = "checksums.txt"
	defaultBase    = "https://api.github.com"

	acceptJSON  = "application/vnd.github+json"
	acceptBytes = "application/octet-stream"
)

// MaxKernel is the largest kernel accepted, in bytes.
const MaxKernel = 256 << 20

// latest is the version that stands for the newest release.
const latest = "latest"

// release is what is used of GitHub's description of one.
// https://docs.github.com/rest/releases/releases
type release struct {
	Tag    string  `json:"tag_name"`
	Assets []asset `json:"assets"`
}

type asset struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Size    int64  `json:"size"`
	Digest  string `json:"digest"` // null for assets older than the field
	Browser string `json:"browser_download_url"`
}

// github asks one repository's API.
type github struct {
	fetch *fetch.Client
	base  string // the API's URL down to the repository's releases
	host  string // that gets the token
	token string
}

func newGitHub(r Request) (*github, error) {
	base := strings.TrimRight(cmp.Or(r.BaseURL, defaultBase), "/")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("checking base URL: %q is no URL of an API", r.BaseURL)
	}
	return &github{fetch: r.Fetch, base: base + "/repos/" + repository + "/releases", host: u.Host, token: r.Token}, nil
}

// resolveRelease finds the release, its checksum for the agent, and the agent.
func resolveRelease(ctx context.Context, r Request) (Agent, error) {
	pick := func(rel release) (asset, error) { return rel.agent(r.Arch) }
	d, err := download(ctx, r, pick, MaxAgent)
	return Agent{Version: d.Version, Digest: d.Digest, URI: d.URI, Content: d.Content}, err
}

// Asset is a verified file of a release.
type Asset struct {
	Version string // the release's tag
	Digest  string // "sha256:" and hex
	URI     string // where it came from, without credentials
	Content tree.Content
}

// ResolveKernel finds Volant's own kernel, the asset bzImage of a release, and
// verifies it as the agent is verified. It brings an initramfs with an init, the
// agent and busybox. Of r it takes Version, Arch, BaseURL, Token and Fetch. That
// there is none for an architecture is an error.
func ResolveKernel(ctx context.Context, r Request) (Asset, error) {
	r.SHA256 = ""
	pick := func(rel release) (asset, error) { return rel.asset(kernelAsset) }
	if r.Arch != "amd64" {
		return Asset{}, fmt.Errorf("resolving kernel: Volant publishes its kernel for amd64 only, not for %q", r.Arch)
	}
	d, err := download(ctx, r, pick, MaxKernel)
	if err != nil {
		return Asset{}, fmt.Errorf("resolving kernel: %w", err)
	}
	return d, nil
}

// download finds the release that r names and fetches the asset that pick chooses
// from it, at most limit bytes of it.
func download(ctx context.Context, r Request, pick func(release) (asset, error), limit int64) (Asset, error) {
	g, err := newGitHub(r)
	if err != nil {
		return Asset{}, err
	}
	rel, err := g.release(ctx, cmp.Or(r.Version, latest))
	if err != nil {
		return Asset{}, err
	}
	a, err := pick(rel)
	if err != nil {
		return Asset{}, fmt.Errorf("reading release %q: %w", rel.Tag, err)
	}
	sum, err := g.checksum(ctx, rel, a, limit)
	if err != nil {
		return Asset{}, fmt.Errorf("reading release %q: %w", rel.Tag, err)
	}
	if pin := pinned(r); pin != "" && pin != sum {
		return Asset{}, fmt.Errorf("checking %s of release %q: %w: %s is %s but the release has %s", a.Name, rel.Tag, ErrChanged, r.pinnedBy(), pin, sum)
	}
	content, err := g.fetch.File(ctx, fetch.Request{
		URL: g.assetURL(a), SHA256: sum, Max: limit, Accept: acceptBytes, Token: g.token, TokenHost: g.host,
	})
	if err != nil {
		return Asset{}, fmt.Errorf("downloading %s of release %q: %w", a.Name, rel.Tag, g.explain(err))
	}
	return Asset{Version: rel.Tag, Digest: content.Digest(), URI: g.uri(a), Content: content}, nil
}

// release finds the release for a version: the tag as it was given, then with or
// without its "v".
func (g *github) release(ctx context.Context, version string) (release, error) {
	if err := checkVersion(version); err != nil {
		return release{}, err
	}
	if version == latest {
		rel, err := g.get(ctx, "/latest")
		if isNotFound(err) {
			return release{}, fmt.Errorf("looking for the latest release: %s has no release; use [agent] source_strategy = \"local\" or \"http\"", repository)
		}
		return rel, err
	}
	for _, tag := range []string{version, otherTag(version)} {
		rel, err := g.get(ctx, "/tags/"+url.PathEscape(tag))
		switch {
		case isNotFound(err):
			continue
		case err != nil:
			return release{}, err
		case rel.Tag != tag:
			return release{}, fmt.Errorf("looking for release %q: the API answers with %q", tag, rel.Tag)
		}
		return rel, nil
	}
	return release{}, fmt.Errorf("looking for release %q: %s has %w%s", version, repository, ErrNoTag, g.someTags(ctx))
}

// otherTag is a tag with its "v" put on or taken off.
func otherTag(tag string) string {
	if bare, ok := strings.CutPrefix(tag, "v"); ok {
		return bare
	}
	return "v" + tag
}

// checkVersion refuses what cannot be a tag, before it becomes part of a URL.
func checkVersion(version string) error {
	const most = 128 // bytes
	bad := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` \:?*[~^`, r) }
	if len(version) > most || strings.ContainsFunc(version, bad) || strings.Contains(version, "..") || strings.Trim(version, "/") != version {
		return fmt.Errorf("checking version: %q is no tag of a release; use \"latest\" or one like \"v0.6.5\"", shorten(version, most))
	}
	return nil
}

func shorten(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// get reads the description of one release.
func (g *github) get(ctx context.Context, path string) (release, error) {
	var rel release
	if err := g.json(ctx, path, &rel); err != nil {
		return release{}, err
	}
	if rel.Tag == "" || len(rel.Tag) > 255 {
		return release{}, errors.New("reading release: the answer is no description of a release")
	}
	return rel, nil
}

func (g *github) json(ctx context.Context, path string, into any) error {
	body, err := g.fetch.Bytes(ctx, fetch.Request{URL: g.base + path, Accept: acceptJSON, Token: g.token, TokenHost: g.host})
	if err != nil {
		return g.explain(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading release: the answer is not what GitHub's API sends; is the base URL right?: %w", err)
	}
	return nil
}

// someTags lists releases for an error message, as far as that works.
func (g *github) someTags(ctx context.Context) string {
	var rels []release
	if err := g.json(ctx, "?per_page=10", &rels); err != nil || len(rels) == 0 {
		return ""
	}
	var tags []string
	for _, rel := range rels[:min(len(rels), 10)] {
		tags = append(tags, strconv.Quote(shorten(rel.Tag, 64)))
	}
	return "; the newest are " + strings.Join(tags, ", ")
}

// agent finds the asset for an architecture. Volant publishes amd64 under the
// plain name; another architecture would need a name of its own.
func (rel release) agent(arch string) (asset, error) {
	if arch == "amd64" {
		return rel.asset(agentAsset)
	}
	a, err := rel.asset(agentAsset + "-" + arch)
	if err != nil {
		return asset{}, fmt.Errorf("%w; Volant publishes the agent for amd64 only: build kestrel for %s and use [agent] source_strategy = \"local\" with its path, or \"http\"", err, arch)
	}
	return a, nil
}

// asset finds the one asset of a name.
func (rel release) asset(name string) (asset, error) {
	var found []asset
	var names []string
	for _, a := range rel.Assets {
		names = append(names, strconv.Quote(shorten(a.Name, 64)))
		if a.Name == name {
			found = append(found, a)
		}
	}
	const most = 20 // names in a message
	switch {
	case len(found) == 0 && len(names) == 0:
		return asset{}, fmt.Errorf("it has no asset %q, nor any other", name)
	case len(found) == 0:
		return asset{}, fmt.Errorf("it has no asset %q, only %s", name, strings.Join(names[:min(len(names), most)], ", "))
	case len(found) > 1:
		return asset{}, fmt.Errorf("it has %d assets %q", len(found), name)
	case found[0].State != "" && found[0].State != "uploaded":
		return asset{}, fmt.Errorf("asset %q is not uploaded completely (state %q)", name, found[0].State)
	}
	return found[0], nil
}

// checksum is the sha256 that the release promises for a, which may have limit bytes.
func (g *github) checksum(ctx context.Context, rel release, a asset, limit int64) (string, error) {
	list, err := rel.asset(checksumsAsset)
	if err != nil {
		return "", fmt.Errorf("%w; without it %s cannot be verified", err, a.Name)
	}
	if a.Size > limit {
		return "", fmt.Errorf("asset %q has %d bytes, the limit is %d", a.Name, a.Size, limit)
	}
	body, err := g.fetch.Bytes(ctx, fetch.Request{
		URL: g.assetURL(list), SHA256: gitHubDigest(list), Max: MaxChecksums, Accept: acceptBytes, Token: g.token, TokenHost: g.host,
	})
	if err != nil {
		return "", g.explain(err)
	}
	sum, err := findChecksum(body, a.Name)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", checksumsAsset, err)
	}
	if digest := gitHubDigest(a); digest != "" && !strings.EqualFold(digest, sum) {
		return "", fmt.Errorf("checking %s: %s says %s but GitHub's digest of the asset is %s; one of them was changed after the release", a.Name, checksumsAsset, sum, digest)
	}
	return sum, nil
}

// gitHubDigest is the sha256 that GitHub computed at the upload, "" if it has none.
func gitHubDigest(a asset) string {
	digest, _ := strings.CutPrefix(a.Digest, "sha256:")
	if digest == a.Digest {
		return ""
	}
	return digest
}

// assetURL is where an asset's bytes are had. It is made from the number alone:
// the URLs in an answer are whatever the answer says, and this one gets the token.
func (g *github) assetURL(a asset) string {
	return g.base + "/assets/" + strconv.FormatInt(a.ID, 10)
}

// uri is the asset's public address if the API gives one that can be shown.
func (g *github) uri(a asset) string {
	u, err := url.Parse(a.Browser)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(a.Browser) > 2048 {
		return g.assetURL(a)
	}
	return fetch.Redact(u)
}

func isNotFound(err error) bool {
	var status *fetch.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// explain adds what the user can do about an answer of the API.
func (g *github) explain(err error) error {
	var status *fetch.StatusError
	if !errors.As(err, &status) {
		return err
	}
	limited := strings.Contains(strings.ToLower(status.Message), "rate limit")
	switch {
	case status.Code == http.StatusUnauthorized:
		return fmt.Errorf("%w; GitHub refuses the token: it is wrong or has expired; renew or unset GITHUB_TOKEN", err)
	case status.Code != http.StatusForbidden && status.Code != http.StatusTooManyRequests:
		return err
	case g.token == "":
		return fmt.Errorf("%w; set GITHUB_TOKEN: without a token all who share this address have 60 requests an hour together", err)
	case limited || status.Code == http.StatusTooManyRequests:
		return fmt.Errorf("%w; the rate limit of this token is used up: wait, or use another one", err)
	}
	return fmt.Errorf("%w; the token must be allowed to read public repositories", err)
}

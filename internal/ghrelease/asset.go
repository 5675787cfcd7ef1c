package ghrelease

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostAssets is how many assets a release takes.
const mostAssets = 1000

var odd = regexp.MustCompile(`[^A-Za-z0-9_+@-]+`)

// Sanitize is what GitHub makes of an asset's name, as far as it is known: runs of
// other characters than letters, digits and _ + @ - become one dot, and dots at the
// ends go away.
func Sanitize(name string) string {
	clean := strings.Trim(odd.ReplaceAllString(name, "."), ".")
	if ext := path.Ext(name); ext == name && ext != "" && clean != "" {
		return "default." + clean
	}
	if clean == "" {
		return "default"
	}
	return clean
}

func (rel *Release) find(id int64) *Asset {
	for i := range rel.Assets {
		if rel.Assets[i].ID == id {
			return &rel.Assets[i]
		}
	}
	return nil
}

// named finds an asset by its name.
func (rel *Release) named(name string) *Asset {
	for i := range rel.Assets {
		if rel.Assets[i].Name == name {
			return &rel.Assets[i]
		}
	}
	return nil
}

func (s *Server) listAssets(c call, id int64) reply {
	rel := s.find(id)
	if rel == nil || rel.Draft && !c.writer {
		return refuse(http.StatusNotFound, "Not Found")
	}
	all := []any{}
	for i := range rel.Assets {
		all = append(all, s.assetJSON(rel, &rel.Assets[i]))
	}
	return s.page(c, all)
}

// upload takes an asset's bytes. It is the only call with two moments: the empty
// asset stands there while its bytes arrive.
func (s *Server) upload(c call) reply {
	a, id := s.begin(c)
	if a.status >= 300 {
		return a
	}
	s.changed()
	if s.Pause != nil {
		s.Pause(c.r)
	}
	a = s.complete(c, id)
	if a.status < 300 {
		s.changed()
	}
	return a
}

// begin makes the empty asset.
func (s *Server) begin(c call) (reply, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.parts) != 3 || c.parts[0] != "releases" || c.parts[2] != "assets" || c.r.Method != http.MethodPost {
		return refuse(http.StatusNotFound, "Not Found"), 0
	}
	id, _ := strconv.ParseInt(c.parts[1], 10, 64)
	rel := s.find(id)
	kind := c.r.Header.Get("Content-Type")
	name := c.r.URL.Query().Get("name")
	_, _, badKind := mime.ParseMediaType(kind)
	switch {
	case rel == nil:
		return refuse(http.StatusNotFound, "Not Found"), 0
	case c.r.ContentLength <= 0:
		return refuse(http.StatusBadRequest, "Bad Content-Length: "+c.r.Header.Get("Content-Length")), 0
	case badKind != nil:
		return refuse(http.StatusUnsupportedMediaType, "Bad Content-Type"), 0
	case name == "":
		return refuse(http.StatusBadRequest, "Missing name"), 0
	case rel.Immutable:
		return invalid("ReleaseAsset", "custom", "", "Cannot upload assets to an immutable release."), 0
	case rel.named(Sanitize(name)) != nil:
		return invalid("ReleaseAsset", "already_exists", "name", ""), 0
	case len(rel.Assets) >= mostAssets:
		return invalid("ReleaseAsset", "custom", "file_count", fmt.Sprintf("file_count limited to %d assets per release", mostAssets)), 0
	}
	a := Asset{ID: s.id(), Name: Sanitize(name), State: "starter", ContentType: kind, created: s.now()}
	rel.Assets = append(rel.Assets, a)
	return reply{status: http.StatusOK}, a.ID
}

// complete gives the asset its bytes.
func (s *Server) complete(c call, id int64) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rel := range s.releases {
		a := rel.find(id)
		if a == nil {
			continue
		}
		a.Content = slices.Clone(c.body)
		if s.Corrupt != nil {
			s.Corrupt(a.Name, a.Content)
		}
		a.State = "uploaded"
		if !s.NoDigests {
			a.Digest = digest(a.Content)
		}
		return answer(http.StatusCreated, s.assetJSON(rel, a))
	}
	return refuse(http.StatusNotFound, "Not Found") // somebody deleted it meanwhile
}

func (s *Server) asset(c call, id int64) reply {
	for _, rel := range s.releases {
		a := rel.find(id)
		if a == nil || rel.Draft && !c.writer {
			continue
		}
		switch c.r.Method {
		case http.MethodGet:
			if c.r.Header.Get("Accept") != "application/octet-stream" {
				return answer(http.StatusOK, s.assetJSON(rel, a))
			}
			if a.State != "uploaded" {
				return refuse(http.StatusNotFound, "Not Found")
			}
			found := refuse(http.StatusFound, "Found")
			found.header.Set("Location", fmt.Sprintf("%s/%d?signature=secret", s.Objects, a.ID))
			return found
		case http.MethodPatch:
			return s.rename(c, rel, a)
		case http.MethodDelete:
			if rel.Immutable {
				return invalid("ReleaseAsset", "custom", "", "Cannot delete asset from an immutable release")
			}
			rel.Assets = slices.DeleteFunc(rel.Assets, func(o Asset) bool { return o.ID == id })
			return reply{status: http.StatusNoContent, header: http.Header{}}
		}
	}
	return refuse(http.StatusNotFound, "Not Found")
}

func (s *Server) rename(c call, rel *Release, a *Asset) reply {
	var g struct {
		Name *string `json:"name"`
	}
	if err := json.Unmarshal(c.body, &g); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if rel.Immutable {
		return invalid("ReleaseAsset", "custom", "", "Cannot update asset of an immutable release")
	}
	if g.Name != nil {
		name := Sanitize(*g.Name)
		if other := rel.named(name); other != nil && other != a {
			return invalid("ReleaseAsset", "already_exists", "name", "")
		}
		a.Name = name
	}
	return answer(http.StatusOK, s.assetJSON(rel, a))
}

// bytes serves what browsers and the API's redirects ask for.
func (s *Server) bytes(r *http.Request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rel := range s.releases {
		for _, a := range rel.Assets {
			byName := !rel.Draft && at(r, s.Web) && r.URL.Path == fmt.Sprintf("/%s/releases/download/%s/%s", s.Repo, rel.Tag, a.Name)
			byID := at(r, s.Objects) && r.URL.Path == fmt.Sprintf("/%d", a.ID)
			if a.State == "uploaded" && (byName || byID) {
				return reply{http.StatusOK, http.Header{"Content-Type": {"application/octet-stream"}, "Content-Length": {strconv.Itoa(len(a.Content))}}, a.Content}
			}
		}
	}
	return refuse(http.StatusNotFound, "Not Found")
}

// releaseJSON and assetJSON have what the description requires.
type releaseJSON struct {
	ID              int64           `json:"id"`
	NodeID          string          `json:"node_id"`
	Tag             string          `json:"tag_name"`
	TargetCommitish string          `json:"target_commitish"`
	Name            string          `json:"name"`
	Body            string          `json:"body"`
	Draft           bool            `json:"draft"`
	Prerelease      bool            `json:"prerelease"`
	Immutable       bool            `json:"immutable"`
	CreatedAt       time.Time       `json:"created_at"`
	PublishedAt     *time.Time      `json:"published_at"`
	URL             string          `json:"url"`
	AssetsURL       string          `json:"assets_url"`
	HTMLURL         string          `json:"html_url"`
	UploadURL       string          `json:"upload_url"`
	TarballURL      *string         `json:"tarball_url"`
	ZipballURL      *string         `json:"zipball_url"`
	Author          json.RawMessage `json:"author"`
	Assets          []assetJSON     `json:"assets"`
}

type assetJSON struct {
	ID                 int64           `json:"id"`
	NodeID             string          `json:"node_id"`
	Name               string          `json:"name"`
	Label              *string         `json:"label"`
	State              string          `json:"state"`
	ContentType        string          `json:"content_type"`
	Size               int             `json:"size"`
	Digest             *string         `json:"digest"`
	DownloadCount      int             `json:"download_count"`
	Uploader           json.RawMessage `json:"uploader"`
	CreatedAt          time.Time       `json:"created_at"`
	UpdatedAt          time.Time       `json:"updated_at"`
	URL                string          `json:"url"`
	BrowserDownloadURL string          `json:"browser_download_url"`
}

func (s *Server) releaseJSON(rel *Release) releaseJSON {
	url := fmt.Sprintf("%s/repos/%s/releases/%d", s.API, s.Repo, rel.ID)
	j := releaseJSON{
		ID: rel.ID, NodeID: "R", Tag: rel.Tag, TargetCommitish: "main", Name: rel.Name, Body: rel.Body,
		Draft: rel.Draft, Prerelease: rel.Prerelease, Immutable: rel.Immutable, CreatedAt: rel.created,
		URL: url, AssetsURL: url + "/assets", HTMLURL: fmt.Sprintf("%s/%s/releases/tag/%s", s.Web, s.Repo, rel.pathTag()),
		UploadURL: fmt.Sprintf("%s/repos/%s/releases/%d/assets{?name,label}", s.Uploads, s.Repo, rel.ID),
		Author:    author, Assets: []assetJSON{},
	}
	if !rel.Draft {
		j.PublishedAt = &rel.published
	}
	for i := range rel.Assets {
		j.Assets = append(j.Assets, s.assetJSON(rel, &rel.Assets[i]))
	}
	return j
}

// pathTag stands for the tag in URLs: a draft has none.
func (rel *Release) pathTag() string {
	if rel.Draft {
		return fmt.Sprintf("untagged-%020x", rel.ID)
	}
	return rel.Tag
}

// author is who made everything.
var author = func() json.RawMessage {
	u := map[string]any{"login": "octocat", "id": 1, "node_id": "U", "gravatar_id": "", "type": "User", "site_admin": false}
	for _, key := range []string{
		"avatar_url", "url", "html_url", "followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url",
		"organizations_url", "repos_url", "events_url", "received_events_url",
	} {
		u[key] = "https://github.test/octocat/" + key
	}
	text, err := json.Marshal(u)
	if err != nil {
		panic(err)
	}
	return text
}()

func (s *Server) assetJSON(rel *Release, a *Asset) assetJSON {
	j := assetJSON{
		ID: a.ID, NodeID: "A", Name: a.Name, State: a.State, ContentType: a.ContentType, Size: len(a.Content), CreatedAt: a.created, UpdatedAt: a.created,
		URL:                fmt.Sprintf("%s/repos/%s/releases/assets/%d", s.API, s.Repo, a.ID),
		BrowserDownloadURL: fmt.Sprintf("%s/%s/releases/download/%s/%s", s.Web, s.Repo, rel.pathTag(), a.Name),
	}
	if a.Digest != "" {
		j.Digest = &a.Digest
	}
	return j
}

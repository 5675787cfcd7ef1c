package ghtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
)

// Asset is one file of a release.
type Asset struct {
	Name    string
	Content []byte
	Digest  string // the "digest" field; "" is null, as for assets older than the field
	State   string // "" means "uploaded"
	Size    int64  // 0 means the length of Content
}

// Release is one release.
type Release struct {
	Tag        string
	Draft      bool
	Prerelease bool
	Assets     []Asset
}

// A Fault replaces an answer.
type Fault struct {
	Path     string // the request's path holds this
	Status   int    // 0 means the usual answer, see Truncate
	Header   map[string]string
	Body     string
	Truncate bool // the usual answer breaks off in its middle
	Times    int  // how often; 0 means always
}

// Request is one request that a server got.
type Request struct {
	Server string // "api" or "download"
	Method string
	Path   string // with the query
	Header http.Header
}

// Server is the API of one repository. Use New.
type Server struct {
	URL      string // of the API, without a slash at its end
	Download string // of the server that assets are redirected to

	repo string

	mu        sync.Mutex
	releases  []Release          // the newest last
	proofs    map[string][]proof // by digest
	faults    []*Fault
	requests  []Request
	token     string
	anonymous int // requests without a token still allowed; -1 for any number
}

// New starts an API for a repository "owner/name". It ends with the test.
func New(t testing.TB, repo string) *Server {
	t.Helper()
	s := &Server{repo: repo, anonymous: -1}
	api := httptest.NewServer(s.handler("api", s.api))
	t.Cleanup(api.Close)
	download := httptest.NewServer(s.handler("download", s.download))
	t.Cleanup(download.Close)
	s.URL = api.URL
	// Another host name, not another port only: clients pass headers on to those.
	s.Download = strings.Replace(download.URL, "127.0.0.1", "localhost", 1)
	return s
}

// Add publishes releases, the newest last.
func (s *Server) Add(releases ...Release) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases = append(s.releases, releases...)
}

// A proof is an attestation's bundle.
type proof struct {
	bundle []byte
	stored bool
}

// Attest keeps bundles for a digest, "sha256:…". Stored ones are not in the API's
// answer, but at an address on the download server, compressed with Snappy.
func (s *Server) Attest(digest string, stored bool, bundles ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proofs == nil {
		s.proofs = map[string][]proof{}
	}
	for _, b := range bundles {
		s.proofs[digest] = append(s.proofs[digest], proof{b, stored})
	}
}

// Fail adds faults.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		s.faults = append(s.faults, &f)
	}
}

// SetToken makes token the only one that is accepted.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// LimitAnonymous lets n more requests without a token pass. Those after them are
// answered as by GitHub when its hourly limit is used up.
func (s *Server) LimitAnonymous(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anonymous = n
}

// Requests are those so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// handler records requests and applies faults.
func (s *Server) handler(name string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, Request{Server: name, Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone()})
		fault := s.fault(r)
		s.mu.Unlock()
		switch {
		case fault == nil:
			next(w, r)
		case fault.Truncate:
			truncate(w, r, next)
		default:
			for key, value := range fault.Header {
				w.Header().Set(key, value)
			}
			w.WriteHeader(fault.Status)
			fmt.Fprint(w, fault.Body)
		}
	})
}

// fault takes the first fault for a request.
func (s *Server) fault(r *http.Request) *Fault {
	for i, f := range s.faults {
		if !strings.Contains(r.URL.RequestURI(), f.Path) {
			continue
		}
		if f.Times == 1 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		f.Times--
		return f
	}
	return nil
}

// truncate sends half of what next answers and cuts the connection.
func truncate(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	whole := httptest.NewRecorder()
	next(whole, r)
	for key, values := range whole.Header() {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
	w.WriteHeader(whole.Code)
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// api answers as api.github.com does.
func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admit(w, r) {
		return
	}
	digest, attested := strings.CutPrefix(r.URL.Path, "/repos/"+s.repo+"/attestations/")
	path, ok := strings.CutPrefix(r.URL.Path, "/repos/"+s.repo+"/releases")
	switch {
	case attested && r.Method == http.MethodGet:
		s.attestations(w, digest)
	case !ok || r.Method != http.MethodGet:
		refuse(w, http.StatusNotFound, "Not Found")
	case path == "":
		s.list(w, r)
	case path == "/latest":
		s.one(w, func(rel Release) bool { return !rel.Prerelease })
	case strings.HasPrefix(path, "/tags/"):
		s.one(w, func(rel Release) bool { return rel.Tag == strings.TrimPrefix(path, "/tags/") })
	case strings.HasPrefix(path, "/assets/"):
		s.asset(w, r, strings.TrimPrefix(path, "/assets/"))
	default:
		refuse(w, http.StatusNotFound, "Not Found")
	}
}

// admit checks the token and counts requests without one.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) bool {
	auth := r.Header.Get("Authorization")
	switch {
	case auth != "" && s.token != "" && auth != "Bearer "+s.token:
		refuse(w, http.StatusUnauthorized, "Bad credentials")
	case auth == "" && s.anonymous == 0:
		w.Header().Set("X-RateLimit-Limit", "60")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", "1700003600")
		refuse(w, http.StatusForbidden, "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a higher rate limit.)")
	default:
		if auth == "" && s.anonymous > 0 {
			s.anonymous--
		}
		return true
	}
	return false
}

// one answers with the newest published release that fits.
func (s *Server) one(w http.ResponseWriter, fits func(Release) bool) {
	for i, rel := range slices.Backward(s.releases) {
		if !rel.Draft && fits(rel) {
			answer(w, s.releaseJSON(i))
			return
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
}

// list answers with one page of the published releases, the newest first.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	page, err := strconv.Atoi(r.FormValue("page"))
	if err != nil || page < 1 {
		page = 1
	}
	size, err := strconv.Atoi(r.FormValue("per_page"))
	if err != nil || size < 1 || size > 100 {
		size = 30
	}
	all := []any{}
	for i, rel := range slices.Backward(s.releases) {
		if !rel.Draft {
			all = append(all, s.releaseJSON(i))
		}
	}
	all = all[min(len(all), (page-1)*size):min(len(all), page*size)]
	answer(w, all)
}

// asset answers with an asset's description, or with the way to its bytes.
func (s *Server) asset(w http.ResponseWriter, r *http.Request, id string) {
	i, j, ok := s.find(id)
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "Not Found")
	case r.Header.Get("Accept") == "application/octet-stream":
		http.Redirect(w, r, fmt.Sprintf("%s/objects/%s?signature=secret", s.Download, id), http.StatusFound)
	default:
		answer(w, s.assetJSON(i, j))
	}
}

// attestations answers with the bundles of a digest.
// https://docs.github.com/rest/repos/attestations
func (s *Server) attestations(w http.ResponseWriter, digest string) {
	if len(s.proofs[digest]) == 0 {
		refuse(w, http.StatusNotFound, "Not Found")
		return
	}
	all := []any{}
	for i, p := range s.proofs[digest] {
		one := map[string]any{"bundle": json.RawMessage(p.bundle), "repository_id": 1, "bundle_url": fmt.Sprintf("%s/attestations/%s/%d", s.Download, digest, i)}
		if p.stored {
			one["bundle"] = nil
		}
		all = append(all, one)
	}
	answer(w, map[string]any{"attestations": all})
}

// storedBundle serves what attestations points to.
func (s *Server) storedBundle(w http.ResponseWriter, path string) bool {
	digest, number, _ := strings.Cut(strings.TrimPrefix(path, "/attestations/"), "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(s.proofs[digest]) {
		return false
	}
	_, _ = w.Write(s2.EncodeSnappy(nil, s.proofs[digest][i].bundle))
	return true
}

// download serves bytes, and nothing to who sends a token along.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
		return
	}
	for i, rel := range s.releases {
		for j, a := range rel.Assets {
			byName := fmt.Sprintf("/%s/releases/download/%s/%s", s.repo, rel.Tag, a.Name)
			if r.URL.Path == byName || r.URL.Path == "/objects/"+id(i, j) {
				w.Header().Set("Content-Type", "application/octet-stream")
				w.Header().Set("Content-Length", strconv.Itoa(len(a.Content)))
				_, _ = w.Write(a.Content)
				return
			}
		}
	}
	if !s.storedBundle(w, r.URL.Path) {
		http.NotFound(w, r)
	}
}

// id numbers assets: release and asset are in it.
func id(release, asset int) string { return strconv.Itoa((release+1)*1000 + asset) }

func (s *Server) find(want string) (release, asset int, ok bool) {
	for i, rel := range s.releases {
		for j := range rel.Assets {
			if id(i, j) == want {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

const date = "2024-01-01T00:00:00Z"

func (s *Server) releaseJSON(i int) any {
	rel := s.releases[i]
	assets := []any{}
	for j := range rel.Assets {
		assets = append(assets, s.assetJSON(i, j))
	}
	return map[string]any{
		"id": i + 1, "node_id": "R", "tag_name": rel.Tag, "target_commitish": "main", "name": rel.Tag,
		"url":      fmt.Sprintf("%s/repos/%s/releases/%d", s.URL, s.repo, i+1),
		"html_url": fmt.Sprintf("%s/%s/releases/tag/%s", s.Download, s.repo, rel.Tag),
		"draft":    rel.Draft, "prerelease": rel.Prerelease, "immutable": false,
		"created_at": date, "published_at": date, "assets": assets,
	}
}

func (s *Server) assetJSON(i, j int) any {
	rel := s.releases[i]
	a := rel.Assets[j]
	var digest any
	if a.Digest != "" {
		digest = a.Digest
	}
	state, size := "uploaded", int64(len(a.Content))
	if a.State != "" {
		state = a.State
	}
	if a.Size != 0 {
		size = a.Size
	}
	number, _ := strconv.Atoi(id(i, j))
	return map[string]any{
		"id": number, "node_id": "A", "name": a.Name, "label": nil, "state": state, "size": size, "digest": digest,
		"content_type": "application/octet-stream", "download_count": 0, "uploader": nil, "created_at": date, "updated_at": date,
		"url":                  fmt.Sprintf("%s/repos/%s/releases/assets/%d", s.URL, s.repo, number),
		"browser_download_url": fmt.Sprintf("%s/%s/releases/download/%s/%s", s.Download, s.repo, rel.Tag, a.Name),
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

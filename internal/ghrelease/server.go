package ghrelease

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Release is one release.
type Release struct {
	ID                           int64
	Tag, Name, Body              string
	Draft, Prerelease, Immutable bool
	Latest                       string // make_latest, as it was given
	Assets                       []Asset

	created   time.Time
	published time.Time
	visible   time.Time // in lists
}

// Asset is one file of a release.
type Asset struct {
	ID          int64
	Name, State string
	ContentType string
	Content     []byte
	Digest      string // "" is null

	created time.Time
}

// Server is the API of one repository. The fields are set before the first request.
type Server struct {
	Repo string // "owner/name"
	// URLs without a slash at the end: of the API, of uploads, of web pages, which
	// are where assets are downloaded, and of their bytes. [New] sets those of the
	// in-memory hosts.
	API, Uploads, Web, Objects string

	Token     string // that is accepted; "" takes any
	ReadOnly  bool   // tokens may not write
	Immutable bool   // the repository's setting
	NoDigests bool   // assets have none, as on older servers
	Tags      map[string]bool
	Protected map[string]bool               // tags that nobody may make
	Burned    map[string]bool               // tags that an immutable release had
	Now       func() time.Time              // nil is a fixed time
	ListDelay func() time.Duration          // how long a new draft is missing from lists; nil for never
	Fault     func(r *http.Request) Fault   // nil for none
	Pause     func(r *http.Request)         // called while an upload's bytes are on their way
	OnChange  func(s *Server)               // called after every change, with the state at rest
	Corrupt   func(name string, b []byte)   // may change an upload's bytes
	Contract  *Contract                     // nil checks nothing
	Log       func(r *http.Request, st int) // called after every request

	// RefuseAttestations is the status with which attestations are refused: 403 of a
	// token without "attestations: write", 404 of a server that has none or a plan
	// without them, 422; 0 keeps them.
	RefuseAttestations int
	Comparisons        map[string]Comparison // by "BASE...HEAD"
	Commits            []string              // that are known, beside those of Comparisons
	Merged             []string              // lines of generated notes

	mu           sync.Mutex
	releases     []*Release
	attestations []Attestation
	violations   []string
	last         int64 // id
}

// New returns a server without releases, that has the given tags.
func New(repo string, tags ...string) *Server {
	s := &Server{
		Repo: repo, API: "https://api.github.test", Uploads: "https://uploads.github.test", Web: "https://github.test", Objects: "https://objects.github.test",
		Tags: map[string]bool{}, Protected: map[string]bool{}, Burned: map[string]bool{},
	}
	for _, tag := range tags {
		s.Tags[tag] = true
	}
	return s
}

// Start serves on loopback until the test ends: four servers, of which the one with
// the bytes has another host name than the API.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	var servers []*httptest.Server
	for _, at := range []*string{&s.API, &s.Uploads, &s.Web, &s.Objects} {
		server := httptest.NewUnstartedServer(s)
		servers = append(servers, server)
		path := ""
		if u, err := url.Parse(*at); err == nil {
			path = u.Path // as GitHub Enterprise Server has
		}
		*at = "http://" + server.Listener.Addr().String() + path
	}
	s.Objects = strings.Replace(s.Objects, "127.0.0.1", "localhost", 1)
	for _, server := range servers { // each reads all the addresses
		server.Start()
		t.Cleanup(server.Close)
	}
}

// Add puts a release there, as if somebody had made it before, and returns its id.
func (s *Server) Add(rel Release) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	rel.ID, rel.created, rel.visible, rel.published = s.id(), s.now(), s.now(), s.now()
	for i := range rel.Assets {
		a := &rel.Assets[i]
		a.ID, a.State, a.ContentType = s.id(), cmp.Or(a.State, "uploaded"), cmp.Or(a.ContentType, "application/octet-stream")
		if a.created.IsZero() {
			a.created = s.now()
		}
		if a.Digest == "" && a.State == "uploaded" && !s.NoDigests {
			a.Digest = digest(a.Content)
		}
	}
	if !rel.Draft {
		s.Tags[rel.Tag] = true
	}
	s.releases = append(s.releases, &rel)
	return rel.ID
}

// Releases is a copy of all releases, in the order in which they were made.
func (s *Server) Releases() []Release {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies()
}

func (s *Server) copies() []Release {
	all := make([]Release, 0, len(s.releases))
	for _, rel := range s.releases {
		c := *rel
		c.Assets = slices.Clone(rel.Assets)
		all = append(all, c)
	}
	return all
}

// Drop deletes a release, as somebody with a browser does.
func (s *Server) Drop(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases = slices.DeleteFunc(s.releases, func(r *Release) bool { return r.ID == id })
}

// Violations are requests and answers that GitHub's contract does not have.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Unix(1_700_000_000, 0).UTC()
	}
	return s.Now().UTC()
}

func (s *Server) id() int64 {
	s.last++
	return s.last
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// reply is an answer before it is sent.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP answers over a connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Scheme, r.URL.Host = "http", r.Host
	a, err := s.exchange(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the connection is cut
	}
	for key, values := range a.header {
		w.Header()[key] = values
	}
	if cut := a.header.Get("X-Cut"); cut != "" {
		w.Header().Del("X-Cut")
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)*2+2))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// RoundTrip answers in memory.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	a, err := s.exchange(r)
	if err != nil {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(a.body)
	if a.header.Get("X-Cut") != "" {
		a.header.Del("X-Cut")
		body = io.MultiReader(body, brokenReader{})
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(body), ContentLength: -1, Request: r,
	}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// exchange has a request answered, with the fault that is its lot.
func (s *Server) exchange(r *http.Request) (reply, error) {
	fault := None
	if s.Fault != nil {
		fault = s.Fault(r)
	}
	a, err := s.faulty(r, fault)
	if err == nil && a.header != nil {
		a.header.Set("Date", s.now().Format(http.TimeFormat))
	}
	if s.Log != nil {
		s.Log(r, a.status)
	}
	return a, err
}

// do checks, answers and checks again.
func (s *Server) do(r *http.Request) (reply, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil && r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return reply{}, err // the client's own fault: it broke off
	}
	if r.Context().Err() != nil {
		return reply{}, r.Context().Err()
	}
	a := s.route(r, body)
	s.verify(r, body, a)
	return a, nil
}

func (s *Server) verify(r *http.Request, body []byte, a reply) {
	if s.Contract == nil || !s.isAPI(r) && !s.isUpload(r) {
		return
	}
	if err := s.Contract.Check(r, s.below(r), body, a.status, a.header, a.body); err != nil {
		s.violate("%s %s: %d: %v", r.Method, r.URL, a.status, err)
	}
}

func (s *Server) violate(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

func at(r *http.Request, base string) bool {
	u, err := url.Parse(base)
	return err == nil && r.URL.Host == u.Host
}

// below is a request's path below that of the server it was sent to.
func (s *Server) below(r *http.Request) string {
	base := s.API
	if s.isUpload(r) {
		base = s.Uploads
	}
	u, err := url.Parse(base)
	if err != nil {
		return r.URL.Path
	}
	return strings.TrimPrefix(r.URL.Path, u.Path)
}

func (s *Server) isAPI(r *http.Request) bool    { return at(r, s.API) }
func (s *Server) isUpload(r *http.Request) bool { return at(r, s.Uploads) }

// route finds who answers.
func (s *Server) route(r *http.Request, body []byte) reply {
	authorization := r.Header.Get("Authorization")
	switch {
	case at(r, s.Web), at(r, s.Objects):
		if authorization != "" {
			s.violate("%s %s: a token was sent along", r.Method, r.URL)
			return refuse(http.StatusBadRequest, "Only one auth mechanism allowed")
		}
		return s.bytes(r)
	case !s.isAPI(r) && !s.isUpload(r):
		return refuse(http.StatusMisdirectedRequest, "no such host")
	case s.Token != "" && authorization != "" && authorization != "Bearer "+s.Token:
		return refuse(http.StatusUnauthorized, "Bad credentials")
	case !slices.Contains([]string{"", "2022-11-28"}, r.Header.Get("X-Github-Api-Version")): // without it GitHub takes its default
		return refuse(http.StatusBadRequest, "unsupported API version")
	}
	path, inRepo := strings.CutPrefix(s.below(r), "/repos/"+s.Repo+"/")
	writer := authorization != "" && !s.ReadOnly
	switch {
	case !inRepo:
		return refuse(http.StatusNotFound, "Not Found")
	case r.Method != http.MethodGet && authorization == "":
		return refuse(http.StatusUnauthorized, "Requires authentication")
	case r.Method != http.MethodGet && !writer:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	call := call{r: r, path: path, parts: strings.Split(path, "/"), body: body, writer: writer}
	if s.isUpload(r) {
		return s.upload(call)
	}
	s.mu.Lock()
	a := s.answer(call)
	s.mu.Unlock()
	if r.Method != http.MethodGet && a.status < 300 {
		s.changed()
	}
	return a
}

func (s *Server) changed() {
	if s.OnChange != nil {
		s.OnChange(s)
	}
}

// call is one request about the repository.
type call struct {
	r      *http.Request
	path   string // below the repository
	parts  []string
	body   []byte
	writer bool
}

func (s *Server) answer(c call) reply {
	id := int64(0) // of the release, or of the asset
	for _, part := range c.parts[1:] {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && id == 0 {
			id = n
		}
	}
	method := c.r.Method
	switch {
	case c.path == "releases" && method == http.MethodGet:
		return s.listReleases(c)
	case c.path == "releases" && method == http.MethodPost:
		return s.create(c)
	case c.path == "releases/generate-notes" && method == http.MethodPost:
		return s.generateNotes(c)
	case c.path == "attestations" && method == http.MethodPost:
		return s.attest(c)
	case strings.HasPrefix(c.path, "attestations/") && len(c.parts) == 2 && method == http.MethodGet:
		return s.listAttestations(c, c.parts[1])
	case strings.HasPrefix(c.path, "compare/") && method == http.MethodGet:
		return s.compare(c, strings.TrimPrefix(c.path, "compare/"))
	case c.path == "releases/latest" && method == http.MethodGet:
		return s.one(func(r *Release) bool { return !r.Draft && !r.Prerelease })
	case strings.HasPrefix(c.path, "releases/tags/") && method == http.MethodGet:
		tag := strings.TrimPrefix(c.path, "releases/tags/")
		return s.one(func(r *Release) bool { return !r.Draft && r.Tag == tag })
	case strings.HasPrefix(c.path, "releases/assets/"):
		return s.asset(c, id)
	case strings.HasPrefix(c.path, "releases/") && strings.HasSuffix(c.path, "/assets") && method == http.MethodGet:
		return s.listAssets(c, id)
	case strings.HasPrefix(c.path, "releases/") && len(c.parts) == 2:
		return s.release(c, id)
	case strings.HasPrefix(c.path, "git/ref/tags/") && method == http.MethodGet:
		tag := strings.TrimPrefix(c.path, "git/ref/tags/")
		if !s.Tags[tag] {
			return refuse(http.StatusNotFound, "Not Found")
		}
		sha := strings.Repeat("c0ffee00", 5)
		u := fmt.Sprintf("%s/repos/%s/git/refs/tags/%s", s.API, s.Repo, tag)
		return answer(http.StatusOK, map[string]any{"ref": "refs/tags/" + tag, "node_id": "R", "url": u, "object": map[string]any{"sha": sha, "type": "commit", "url": u}})
	}
	s.violations = append(s.violations, method+" "+c.r.URL.String()+": the double has no such call")
	return refuse(http.StatusNotFound, "Not Found")
}

func (s *Server) find(id int64) *Release {
	for _, rel := range s.releases {
		if rel.ID == id {
			return rel
		}
	}
	return nil
}

func (s *Server) one(fits func(*Release) bool) reply {
	for _, rel := range slices.Backward(s.releases) {
		if fits(rel) {
			return answer(http.StatusOK, s.releaseJSON(rel))
		}
	}
	return refuse(http.StatusNotFound, "Not Found")
}

func (s *Server) listReleases(c call) reply {
	all := []any{}
	for _, rel := range slices.Backward(s.releases) {
		if !rel.Draft || c.writer && !s.now().Before(rel.visible) {
			all = append(all, s.releaseJSON(rel))
		}
	}
	return s.page(c, all)
}

// page answers with a part of a list, and the way to the next.
func (s *Server) page(c call, all []any) reply {
	number := func(name string, otherwise, most int) int {
		n, err := strconv.Atoi(c.r.URL.Query().Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return min(n, most)
	}
	size, page := number("per_page", 30, 100), number("page", 1, 1<<20)
	from, to := min(len(all), (page-1)*size), min(len(all), page*size)
	a := answer(http.StatusOK, all[from:to])
	if to < len(all) {
		next := *c.r.URL
		q := next.Query()
		q.Set("page", strconv.Itoa(page+1))
		next.RawQuery = q.Encode()
		a.header.Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next.String()))
	}
	return a
}

// given is what a request about a release may hold.
type given struct {
	Tag        *string `json:"tag_name"`
	Name       *string `json:"name"`
	Body       *string `json:"body"`
	Draft      *bool   `json:"draft"`
	Prerelease *bool   `json:"prerelease"`
	Latest     *string `json:"make_latest"`
}

func (s *Server) create(c call) reply {
	var g given
	if err := json.Unmarshal(c.body, &g); err != nil || g.Tag == nil || *g.Tag == "" {
		return invalid("Release", "missing_field", "tag_name", "")
	}
	rel := &Release{Tag: *g.Tag, Draft: true}
	rel.created, rel.visible = s.now(), s.now()
	if s.ListDelay != nil {
		rel.visible = rel.visible.Add(s.ListDelay())
	}
	if refusal := s.apply(rel, g); refusal != nil {
		return *refusal
	}
	rel.ID = s.id()
	s.releases = append(s.releases, rel)
	return answer(http.StatusCreated, s.releaseJSON(rel))
}

// apply changes a release, and publishes it where that is asked for.
func (s *Server) apply(rel *Release, g given) *reply {
	refusal := func(a reply) *reply { return &a }
	if rel.Immutable && (g.Tag != nil && *g.Tag != rel.Tag || g.Draft != nil && *g.Draft || g.Prerelease != nil && *g.Prerelease != rel.Prerelease) {
		return refusal(invalid("Release", "custom", "", "Cannot change an immutable release."))
	}
	next := *rel
	if g.Tag != nil {
		next.Tag = *g.Tag
	}
	if g.Name != nil {
		next.Name = *g.Name
	}
	if g.Body != nil {
		next.Body = *g.Body
	}
	if g.Prerelease != nil {
		next.Prerelease = *g.Prerelease
	}
	if g.Latest != nil {
		next.Latest = *g.Latest
	}
	if g.Draft == nil || *g.Draft || !rel.Draft {
		*rel = next
		return nil
	}
	taken := slices.ContainsFunc(s.releases, func(o *Release) bool { return o.ID != rel.ID && !o.Draft && o.Tag == next.Tag })
	switch {
	case taken:
		return refusal(invalid("Release", "already_exists", "tag_name", ""))
	case s.Burned[next.Tag]:
		return refusal(invalid("Release", "custom", "tag_name", "tag_name was used by an immutable release"))
	case !s.Tags[next.Tag] && s.Protected[next.Tag]:
		return refusal(invalid("Release", "custom", "pre_receive", "pre_receive Repository rule violations found: Cannot create ref due to creations being restricted."))
	}
	s.Tags[next.Tag] = true
	next.Draft, next.published, next.Immutable = false, s.now(), s.Immutable
	*rel = next
	return nil
}

func (s *Server) release(c call, id int64) reply {
	rel := s.find(id)
	if rel == nil || rel.Draft && !c.writer {
		return refuse(http.StatusNotFound, "Not Found")
	}
	switch c.r.Method {
	case http.MethodGet:
		return answer(http.StatusOK, s.releaseJSON(rel))
	case http.MethodPatch:
		var g given
		if err := json.Unmarshal(c.body, &g); err != nil {
			return refuse(http.StatusBadRequest, "Problems parsing JSON")
		}
		if refusal := s.apply(rel, g); refusal != nil {
			return *refusal
		}
		return answer(http.StatusOK, s.releaseJSON(rel))
	case http.MethodDelete:
		if rel.Immutable {
			s.Burned[rel.Tag] = true
		}
		s.releases = slices.DeleteFunc(s.releases, func(o *Release) bool { return o == rel })
		return reply{status: http.StatusNoContent, header: http.Header{}}
	}
	return refuse(http.StatusNotFound, "Not Found")
}

// refuse is an error in GitHub's usual form.
func refuse(status int, message string) reply {
	return answer(status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

// invalid is the error of a request that GitHub understands and does not accept.
func invalid(resource, code, field, message string) reply {
	detail := map[string]any{"resource": resource, "code": code}
	if field != "" {
		detail["field"] = field
	}
	if message != "" {
		detail["message"] = message
	}
	return answer(http.StatusUnprocessableEntity, map[string]any{
		"message": "Validation Failed", "errors": []any{detail}, "documentation_url": "https://docs.github.com/rest/releases/releases", "status": "422",
	})
}

func answer(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return reply{status: status, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: body}
}

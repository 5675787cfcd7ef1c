package ghrelease

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

// ask makes a request as a job with the right to write.
func ask(t *testing.T, s *Server, method, url, body string, header ...string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	req.Header.Set("X-Github-Api-Version", "2022-11-28")
	req.Header.Set("Accept", "application/vnd.github.v3+json")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := s.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text) + resp.Header.Get("Location"), err
}

func TestHabits(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := New("o/r", "v1")
	s.Now = func() time.Time { return now }
	s.ListDelay = func() time.Duration { return 3 * time.Second }
	s.Protected["v9"], s.Burned["v8"] = true, true
	s.Contract = TheContract(t)
	api, up := s.API+"/repos/o/r/", s.Uploads+"/repos/o/r/"
	octets := []string{"Content-Type", "application/octet-stream"}
	steps := []struct {
		does, method, url, body string
		header                  []string
		status                  int
		says                    string
	}{
		{"no tag yet", "GET", api + "git/ref/tags/v2", "", nil, 404, ""},
		{"a tag", "GET", api + "git/ref/tags/v1", "", nil, 200, `"ref":"refs/tags/v1"`},
		{"a draft", "POST", api + "releases", `{"tag_name":"v1","draft":true}`, nil, 201, `"id":1`},
		{"another of the same tag", "POST", api + "releases", `{"tag_name":"v1","draft":true,"name":"two"}`, nil, 201, `"id":2`},
		{"no tag in it", "POST", api + "releases", `{}`, nil, 422, "missing_field"},
		{"a draft has no tag", "GET", api + "releases/tags/v1", "", nil, 404, ""},
		{"nor is it listed yet", "GET", api + "releases", "", nil, 200, "[]"},
		{"but has an id", "GET", api + "releases/1", "", nil, 200, `"draft":true`},
		{"which readers do not see", "GET", api + "releases/1", "", []string{"Authorization", ""}, 404, ""},
		{"an upload", "POST", up + "releases/1/assets?name=a+b~(1).img", "bytes", octets, 201, `"name":"a.b.1.img"`},
		{"its name is taken", "POST", up + "releases/1/assets?name=a.b.1.img", "bytes", octets, 422, `"already_exists"`},
		{"without bytes", "POST", up + "releases/1/assets?name=b", "", octets, 400, "Content-Length"},
		{"no such release", "POST", up + "releases/7/assets?name=b", "x", octets, 404, ""},
		{"an asset", "GET", api + "releases/assets/3", "", nil, 200, `"digest":"sha256:`},
		{"its bytes", "GET", api + "releases/assets/3", "", []string{"Accept", "application/octet-stream"}, 302, s.Objects + "/3?signature=secret"},
		{"are no token's", "GET", s.Objects + "/3", "", nil, 400, "Only one auth mechanism"},
		{"are there", "GET", s.Objects + "/3", "", []string{"Authorization", ""}, 200, "bytes"},
		{"by name only of what is published", "GET", s.Web + "/o/r/releases/download/v1/a.b.1.img", "", []string{"Authorization", ""}, 404, ""},
		{"another asset", "POST", up + "releases/1/assets?name=c", "x", octets, 201, `"id":4`},
		{"a taken name", "PATCH", api + "releases/assets/4", `{"name":"a.b.1.img"}`, nil, 422, "already_exists"},
		{"a new name", "PATCH", api + "releases/assets/4", `{"name":"d e"}`, nil, 200, `"name":"d.e"`},
		{"gone", "DELETE", api + "releases/assets/4", "", nil, 204, ""},
		{"twice", "DELETE", api + "releases/assets/4", "", nil, 404, ""},
		{"published", "PATCH", api + "releases/1", `{"draft":false}`, nil, 200, `"draft":false`},
		{"so has its tag", "GET", api + "releases/tags/v1", "", nil, 200, `"id":1`},
		{"and is the latest", "GET", api + "releases/latest", "", nil, 200, `"id":1`},
		{"which the other cannot have", "PATCH", api + "releases/2", `{"draft":false}`, nil, 422, `"field":"tag_name"`},
		{"nor a protected one", "PATCH", api + "releases/2", `{"draft":false,"tag_name":"v9"}`, nil, 422, "creations being restricted"},
		{"nor a burned one", "PATCH", api + "releases/2", `{"draft":false,"tag_name":"v8"}`, nil, 422, "immutable"},
		{"one that is made", "PATCH", api + "releases/2", `{"draft":false,"tag_name":"v2","prerelease":true}`, nil, 200, ""},
		{"here", "GET", api + "git/ref/tags/v2", "", nil, 200, ""},
		{"to readers", "GET", s.Web + "/o/r/releases/download/v1/a.b.1.img", "", []string{"Authorization", ""}, 200, "bytes"},
		{"of whom none writes", "DELETE", api + "releases/1", "", []string{"Authorization", ""}, 401, ""},
		{"gone", "DELETE", api + "releases/1", "", nil, 204, ""},
		{"elsewhere", "GET", s.API + "/repos/o/other/releases", "", nil, 404, ""},
	}
	for _, st := range steps {
		status, text, err := ask(t, s, st.method, st.url, st.body, st.header...)
		if err != nil || status != st.status || !strings.Contains(text, st.says) {
			t.Errorf("%s: %s %s: %d %s, %v; want %d %q", st.does, st.method, st.url, status, text, err, st.status, st.says)
		}
	}
	got := s.Violations()
	if len(got) != 1 || !strings.Contains(got[0], "a token was sent along") {
		t.Errorf("violations %q, want that of the token", got)
	}
}

func TestImmutable(t *testing.T) {
	s := New("o/r", "v1")
	s.Immutable, s.Contract = true, TheContract(t)
	api := s.API + "/repos/o/r/"
	for _, st := range []struct {
		method, url, body string
		status            int
	}{
		{"POST", api + "releases", `{"tag_name":"v1","draft":true}`, 201},
		{"POST", s.Uploads + "/repos/o/r/releases/1/assets?name=a", "x", 201},
		{"PATCH", api + "releases/1", `{"draft":false}`, 200},
		{"POST", s.Uploads + "/repos/o/r/releases/1/assets?name=b", "x", 422},
		{"DELETE", api + "releases/assets/2", "", 422},
		{"PATCH", api + "releases/assets/2", `{"name":"b"}`, 422},
		{"PATCH", api + "releases/1", `{"draft":true}`, 422},
		{"PATCH", api + "releases/1", `{"name":"title"}`, 200},
		{"DELETE", api + "releases/1", "", 204},
		{"POST", api + "releases", `{"tag_name":"v1","draft":false}`, 422},
	} {
		if status, text, err := ask(t, s, st.method, st.url, st.body); err != nil || status != st.status || st.status == 422 && !strings.Contains(text, "immutable") {
			t.Errorf("%s %s: %d %s, %v; want %d", st.method, st.url, status, text, err, st.status)
		}
	}
	if v := s.Violations(); len(v) != 0 {
		t.Errorf("violations %q", v)
	}
}

func TestListsHavePages(t *testing.T) {
	s := New("o/r")
	for i := range 250 {
		s.Add(Release{Tag: fmt.Sprint("t", i)})
	}
	next, pages := s.API+"/repos/o/r/releases?per_page=100", 0
	for next != "" {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, next, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Github-Api-Version", "2022-11-28")
		resp, err := s.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		link, _, _ := strings.Cut(resp.Header.Get("Link"), ">")
		next = strings.TrimPrefix(link, "<")
	}
	if pages != 3 {
		t.Errorf("%d pages, want 3", pages)
	}
}

// Each fault does, or does not, what it says.
func TestFaults(t *testing.T) {
	tests := []struct {
		fault  Fault
		status int // 0 for an error
		assets string
	}{
		{None, 201, "a uploaded"},
		{Before502, 502, ""},
		{After502, 502, "a uploaded"},
		{CutBefore, 0, ""},
		{CutAfter, 0, "a uploaded"},
		{CutAnswer, 0, "a uploaded"},
		{Starter, 502, "a starter"},
		{CutUpload, 0, "a starter"},
		{Secondary, 403, ""},
		{SecondaryBare, 403, ""},
		{Primary, 403, ""},
		{TooMany, 429, ""},
		{Unavailable, 503, ""},
	}
	if len(tests) != int(Faults) {
		t.Errorf("%d faults are tried of %d", len(tests), Faults)
	}
	for _, tt := range tests {
		s := New("o/r")
		s.Add(Release{Tag: "v1", Draft: true})
		s.Fault = func(*http.Request) Fault { return tt.fault }
		status, _, err := ask(t, s, "POST", s.Uploads+"/repos/o/r/releases/1/assets?name=a", "bytes", "Content-Type", "text/plain")
		if tt.status == 0 && err == nil || tt.status != 0 && status != tt.status {
			t.Errorf("fault %d: %d, %v", tt.fault, status, err)
		}
		var assets []string
		for _, a := range s.Releases()[0].Assets {
			assets = append(assets, a.Name+" "+a.State)
		}
		if got := strings.Join(assets, ","); got != tt.assets {
			t.Errorf("fault %d leaves %q, want %q", tt.fault, got, tt.assets)
		}
	}
	// Over a connection, answers break off too.
	s := New("o/r")
	s.Start(t)
	s.Fault = func(*http.Request) Fault { return CutAnswer }
	resp, err := http.Get(s.API + "/repos/o/r/releases") //nolint:noctx // ends with the server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ends with %v", err)
	}
}

func TestSanitize(t *testing.T) {
	for name, want := range map[string]string{
		"web-1.0_x+y@z.img": "web-1.0_x+y@z.img", "a b": "a.b", "a~(1)": "a.1", ".hidden": "default.hidden", "ä.img": "img", "a.": "a", "a  b": "a.b", "…": "default",
	} {
		if got := Sanitize(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

// What is against the description is seen.
func TestContractSeesViolations(t *testing.T) {
	c, err := ReadContract(testneed.Data(t, DescriptionFile))
	if err != nil {
		t.Fatal(err)
	}
	const asset = `{"id":1,"node_id":"A","name":"a","label":null,"state":"starter","content_type":"x/y","size":1,"digest":null,"download_count":0,"uploader":null,
		"created_at":"2024-01-01T00:00:00Z","updated_at":"2024-01-01T00:00:00Z","url":"https://x/1","browser_download_url":"https://x/a"}`
	tests := []struct {
		method, path, kind, body string
		status                   int
		answer                   string
		want                     string // "" is good
	}{
		{"GET", "/repos/o/r/releases/assets/1", "", "", 200, asset, ""},
		{"GET", "/repos/o/r/releases/assets/1", "", "", 200, strings.Replace(asset, `"starter"`, `"new"`, 1), "state"},
		{"GET", "/repos/o/r/releases/assets/1", "", "", 200, strings.Replace(asset, `"id":1,`, ``, 1), `"id" is missing`},
		{"GET", "/repos/o/r/releases/assets/x", "", "", 200, asset, "asset_id"},
		{"PATCH", "/repos/o/r/releases/assets/1", "application/json", `{"name":1}`, 200, asset, "name"},
		{"POST", "/repos/o/r/releases/1/assets?name=a", "application/x-tar", "bytes", 201, asset, ""},
		{"POST", "/repos/o/r/releases/1/assets", "application/x-tar", "bytes", 201, asset, "name"},
		{"POST", "/repos/o/r/releases/1/assets?name=a", "", "bytes", 201, asset, "content type"},
		{"POST", "/repos/o/r/releases", "application/json", `{"draft":true}`, 201, `{}`, "tag_name"},
		{"POST", "/repos/o/r/releases", "application/json", `{"tag_name":"v1","make_latest":"yes"}`, 201, `{}`, "make_latest"},
		{"POST", "/repos/o/r/releases", "application/json", `{}`, 422, `{"message":"x","documentation_url":"y"}`, ""},
		{"POST", "/repos/o/r/releases", "application/json", `{}`, 422, `{"message":"x"}`, "documentation_url"},
		{"GET", "/repos/o/r/releases/tags/a/b", "", "", 404, `{"message":"Not Found"}`, ""},
		{"GET", "/repos/o/r/git/ref/tags/a/b", "", "", 404, `{"message":"Not Found"}`, ""},
		{"GET", "/repos/o/r/nothing", "", "", 200, `{}`, "no such call"},
		{"PUT", "/repos/o/r/releases", "", "", 200, `{}`, "no such call"},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://api.github.test"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.kind != "" {
			req.Header.Set("Content-Type", tt.kind)
		}
		for range 2 { // the second time from memory
			err = c.Check(req, req.URL.Path, []byte(tt.body), tt.status, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, []byte(tt.answer))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s %s %s: %v, want %q", tt.method, tt.path, tt.body, err, tt.want)
			}
		}
	}
}

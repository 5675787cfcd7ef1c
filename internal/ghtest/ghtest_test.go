package ghtest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func server(t *testing.T) *Server {
	s := New(t, "o/r")
	s.Add(
		Release{Tag: "v1.0.0", Assets: []Asset{{Name: "a", Content: []byte("one")}}},
		Release{Tag: "v1.1.0", Assets: []Asset{{Name: "a", Content: []byte("two"), Digest: "sha256:x"}, {Name: "b", Content: []byte("bee"), State: "starter", Size: 9}}},
		Release{Tag: "v2.0.0-rc.1", Prerelease: true},
		Release{Tag: "v3.0.0", Draft: true},
	)
	return s
}

func get(t *testing.T, url string, header ...string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestReleases(t *testing.T) {
	s := server(t)
	tests := []struct {
		path   string
		status int
		tags   string
	}{
		{"/repos/o/r/releases/latest", 200, "v1.1.0"},
		{"/repos/o/r/releases/tags/v1.0.0", 200, "v1.0.0"},
		{"/repos/o/r/releases/tags/v2.0.0-rc.1", 200, "v2.0.0-rc.1"},
		{"/repos/o/r/releases/tags/v3.0.0", 404, ""}, // a draft has no tag yet
		{"/repos/o/r/releases/tags/1.0.0", 404, ""},
		{"/repos/o/other/releases/latest", 404, ""},
		{"/repos/o/r/releases", 200, "v2.0.0-rc.1 v1.1.0 v1.0.0"},
		{"/repos/o/r/releases?per_page=2", 200, "v2.0.0-rc.1 v1.1.0"},
		{"/repos/o/r/releases?per_page=2&page=2", 200, "v1.0.0"},
		{"/repos/o/r/releases?per_page=2&page=9", 200, ""},
	}
	for _, tt := range tests {
		status, body, err := get(t, s.URL+tt.path)
		if err != nil || status != tt.status {
			t.Errorf("%s answers %d, %v, want %d", tt.path, status, err, tt.status)
		}
		if got := tags(t, body); got != tt.tags {
			t.Errorf("%s has %q, want %q", tt.path, got, tt.tags)
		}
	}
}

func tags(t *testing.T, body string) string {
	t.Helper()
	type release struct {
		Tag string `json:"tag_name"`
	}
	var many []release
	if strings.HasPrefix(body, "{") {
		body = "[" + body + "]"
	}
	if err := json.Unmarshal([]byte(body), &many); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range many {
		names = append(names, r.Tag)
	}
	return strings.Join(names, " ")
}

func TestAssetsComeFromAnotherHostThatRefusesTokens(t *testing.T) {
	s := server(t)
	if _, body, err := get(t, s.URL+"/repos/o/r/releases/assets/2001"); err != nil || !strings.Contains(body, `"state":"starter"`) || !strings.Contains(body, `"size":9`) || !strings.Contains(body, `"digest":null`) {
		t.Errorf("description of b: %s, %v", body, err)
	}
	status, body, err := get(t, s.URL+"/repos/o/r/releases/assets/2000", "Accept", "application/octet-stream", "Authorization", "Bearer x")
	if err != nil || status != 200 || body != "two" {
		t.Errorf("bytes of a: %d %q, %v", status, body, err)
	}
	for _, path := range []string{"/objects/2000", "/o/r/releases/download/v1.1.0/a"} {
		if status, body, _ := get(t, s.Download+path); status != 200 || body != "two" {
			t.Errorf("%s answers %d %q", path, status, body)
		}
		if status, _, _ := get(t, s.Download+path, "Authorization", "Bearer x"); status != 400 {
			t.Errorf("%s with a token answers %d, want 400", path, status)
		}
	}
	if status, _, _ := get(t, s.Download+"/objects/9"); status != 404 {
		t.Errorf("an unknown object answers %d, want 404", status)
	}
	var got []string
	for _, r := range s.Requests()[:3] {
		got = append(got, r.Server+" "+r.Path)
	}
	if want := "api /repos/o/r/releases/assets/2001, api /repos/o/r/releases/assets/2000, download /objects/2000?signature=secret"; strings.Join(got, ", ") != want {
		t.Errorf("requests %q, want %q", got, want)
	}
}

func TestTokensAndLimits(t *testing.T) {
	s := server(t)
	s.SetToken("good")
	s.LimitAnonymous(1)
	url := s.URL + "/repos/o/r/releases/latest"
	for _, tt := range []struct {
		name, token string
		status      int
		saying      string
	}{
		{"the first without a token", "", 200, "v1.1.0"},
		{"the second without a token", "", 403, "rate limit exceeded"},
		{"a bad token", "bad", 401, "Bad credentials"},
		{"the good token", "good", 200, "v1.1.0"},
	} {
		var header []string
		if tt.token != "" {
			header = []string{"Authorization", "Bearer " + tt.token}
		}
		if status, body, _ := get(t, url, header...); status != tt.status || !strings.Contains(body, tt.saying) {
			t.Errorf("%s: %d %s, want %d %q", tt.name, status, body, tt.status, tt.saying)
		}
	}
}

func TestFaultsComeInOrder(t *testing.T) {
	s := server(t)
	s.Fail(
		Fault{Path: "/latest", Status: 502, Header: map[string]string{"Retry-After": "1"}, Body: "bad gateway", Times: 2},
		Fault{Path: "/latest", Truncate: true, Times: 1},
		Fault{Path: "/tags/", Status: 500},
	)
	url := s.URL + "/repos/o/r/releases/latest"
	for i := range 2 {
		if status, body, _ := get(t, url); status != 502 || body != "bad gateway" {
			t.Errorf("request %d: %d %q", i, status, body)
		}
	}
	if _, _, err := get(t, url); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("third request: %v, want a body that breaks off", err)
	}
	if status, _, err := get(t, url); status != 200 || err != nil {
		t.Errorf("fourth request: %d, %v", status, err)
	}
	for range 3 {
		if status, _, _ := get(t, s.URL+"/repos/o/r/releases/tags/v1.0.0"); status != 500 {
			t.Errorf("a fault without Times ended: %d", status)
		}
	}
}

func TestAttestations(t *testing.T) {
	s := server(t)
	s.Attest("sha256:aa", false, []byte(`{"a":1}`))
	s.Attest("sha256:bb", true, []byte(`{"b":2}`))
	if status, body, _ := get(t, s.URL+"/repos/o/r/attestations/sha256:aa"); status != 200 || !strings.Contains(body, `"bundle":{"a":1}`) {
		t.Errorf("bundle in the answer: %d %s", status, body)
	}
	if status, body, _ := get(t, s.URL+"/repos/o/r/attestations/sha256:bb"); status != 200 || !strings.Contains(body, `"bundle":null`) {
		t.Errorf("stored bundle: %d %s", status, body)
	}
	if status, body, _ := get(t, s.Download+"/attestations/sha256:bb/0"); status != 200 || !strings.Contains(body, `{"b":2}`) {
		t.Errorf("stored bundle's bytes: %d %q", status, body)
	}
	for _, path := range []string{"/repos/o/r/attestations/sha256:cc", "/repos/o/other/attestations/sha256:aa"} {
		if status, _, _ := get(t, s.URL+path); status != 404 {
			t.Errorf("%s answers %d", path, status)
		}
	}
}

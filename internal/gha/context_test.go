package gha

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestContextIsThatOfTheRunner(t *testing.T) {
	c := New(env(
		"GITHUB_WORKSPACE", "/github/workspace", "GITHUB_REPOSITORY", "o/r", "GITHUB_REF", "refs/tags/v1.2.3", "GITHUB_REF_NAME", "v1.2.3",
		"GITHUB_REF_TYPE", "tag", "GITHUB_SHA", "abc", "GITHUB_EVENT_NAME", "push", "GITHUB_SERVER_URL", "https://ghe.example/", "GITHUB_ACTOR", "a",
		"RUNNER_WORKSPACE", "/home/runner/work/r", "RUNNER_DEBUG", "1", "ACT", "true",
	), io.Discard).Context()
	want := Context{
		Workspace: "/github/workspace", Repository: "o/r", RefName: "v1.2.3", RefType: "tag", SHA: "abc", EventName: "push",
		ServerURL: "https://ghe.example", Actor: "a", RunnerWorkspace: "/home/runner/work/r", Debug: true, Act: true,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for i := range reflect.TypeFor[Context]().NumField() {
		if reflect.ValueOf(c).Field(i).IsZero() {
			t.Errorf("%s is not read", reflect.TypeFor[Context]().Field(i).Name)
		}
	}
	if c.Tag() != "v1.2.3" || c.PullRequest() {
		t.Errorf("tag %q, pull request %v", c.Tag(), c.PullRequest())
	}
}

func TestContextOfABareEnvironment(t *testing.T) {
	c := New(env("GITHUB_REF_NAME", "main", "GITHUB_REF_TYPE", "branch"), io.Discard).Context()
	want := Context{ServerURL: "https://github.com", RefName: "main", RefType: "branch"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if c.Tag() != "" {
		t.Errorf("tag %q", c.Tag())
	}
}

const (
	shaA, shaB = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"
	zeros      = "0000000000000000000000000000000000000000"
)

func event(t *testing.T, text string) (Event, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return New(env("GITHUB_EVENT_PATH", file, "GITHUB_REPOSITORY", "Owner/repo"), io.Discard).Event()
}

func TestEvents(t *testing.T) {
	pull := func(head string) string {
		return `{"pull_request": {"number": 7, "base": {"sha": "` + shaA + `"}, "head": {"sha": "` + shaB + `", "repo": ` + head + `}}}`
	}
	request := Event{Base: shaA, Head: shaB}
	fork := request
	fork.Fork = true
	for text, want := range map[string]Event{
		`{}`: {},
		`{"before": "` + shaA + `", "after": "` + shaB + `"}`:                 {Before: shaA, After: shaB},
		`{"before": "` + zeros + `", "after": "` + shaB + `"}`:                {After: shaB},
		`{"before": "` + shaA + `", "after": "` + shaB + `", "forced": true}`: {After: shaB},
		pull(`{"full_name": "owner/repo"}`):                                   request,
		pull(`{"full_name": "else/repo"}`):                                    fork,
		pull(`null`):                                                          fork,
	} {
		got, err := event(t, text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	if got, err := New(env(), io.Discard).Event(); err != nil || got != (Event{}) {
		t.Errorf("without a file: %+v, %v", got, err)
	}
}

func TestBadEventsAreErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "unexpected end of JSON input",
		`[]`:                            "cannot unmarshal array",
		`{"before": "--upload-pack=x"}`: `before is "--upload-pack=x", not a commit's id`,
		`{"pull_request": {"base": {"sha": "a"}}`:                              "unexpected end",
		`{"pull_request": {"head": {"sha": "` + strings.ToUpper(shaB) + `"}}}`: "pull_request.head.sha is",
		`{"x": "` + strings.Repeat("a", MaxEvent-8) + `"}`:                     "has more than 33554432 bytes",
	} {
		got, err := event(t, text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "reading the job's event: ") || got != (Event{}) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	if _, err := event(t, `{"x": "`+strings.Repeat("a", MaxEvent-9)+`"}`); err != nil {
		t.Errorf("%d bytes: %v", MaxEvent, err)
	}
	if _, err := New(env("GITHUB_EVENT_PATH", "/missing/event.json"), io.Discard).Event(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

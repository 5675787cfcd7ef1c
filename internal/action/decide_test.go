package action

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/volant/fledge-action/internal/gha"
	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/summary"
)

func (s settings) String() string { return fmt.Sprintf("%#v", s) }

func settingsOf(t *testing.T, s *step) settings {
	t.Helper()
	set, err := readSettings(gha.New(func(name string) string { return s.env[name] }, &s.log).Inputs())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestDecide(t *testing.T) {
	one := []plan.Plugin{{Name: "web"}}
	two := []plan.Plugin{{Name: "web"}, {Name: "api"}}
	tag := func(name string) job {
		return job{Context: gha.Context{RefType: "tag", RefName: name, EventName: "push"}}
	}
	pull := job{Context: gha.Context{RefType: "branch", RefName: "7/merge", EventName: "pull_request"}}
	fork := pull
	fork.fork = true
	tests := map[string]struct {
		s       settings
		j       job
		plugins []plan.Plugin
		upload  bool
		tag     string
		version string
		count   int
		notice  bool
	}{
		"tag":                      {settings{upload: "auto"}, tag("v1.2.3"), one, true, "v1.2.3", "1.2.3", 1, false},
		"tag without v":            {settings{upload: "auto"}, tag("1.2.3"), one, true, "1.2.3", "1.2.3", 1, false},
		"tag of one of two":        {settings{upload: "auto"}, tag("api/v1.2.3"), two, true, "api/v1.2.3", "1.2.3", 1, false},
		"tag with a dash":          {settings{upload: "auto"}, tag("api-v1.2.3"), two, true, "api-v1.2.3", "1.2.3", 1, false},
		"tag of both":              {settings{upload: "auto"}, tag("v1.2.3"), two, true, "v1.2.3", "1.2.3", 2, false},
		"tag of nobody":            {settings{upload: "auto"}, tag("lib/v1.2.3"), two, false, "lib/v1.2.3", "", 2, true},
		"tag of nobody, and yet":   {settings{upload: "always"}, tag("lib/v1.2.3"), two, true, "lib/v1.2.3", "", 2, false},
		"own version":              {settings{upload: "auto", version: "9"}, tag("v1.2.3"), one, true, "v1.2.3", "9", 1, false},
		"never":                    {settings{upload: "never"}, tag("v1.2.3"), one, false, "v1.2.3", "1.2.3", 1, false},
		"branch":                   {settings{upload: "auto"}, job{Context: gha.Context{RefType: "branch", RefName: "v1.2.3", EventName: "push"}}, one, false, "", "", 1, false},
		"branch and a tag's name":  {settings{upload: "auto", tag: "v2"}, job{Context: gha.Context{RefType: "branch", EventName: "workflow_dispatch"}}, one, true, "v2", "2", 1, false},
		"pull request":             {settings{upload: "auto"}, pull, one, false, "", "", 1, false},
		"pull request with a tag":  {settings{upload: "auto", tag: "v2"}, pull, one, false, "v2", "2", 1, false},
		"pull request of a fork":   {settings{upload: "auto"}, fork, one, false, "", "", 1, true},
		"what build jobs left":     {settings{upload: "auto"}, tag("v1.2.3"), nil, true, "v1.2.3", "", 0, false},
		"always, in spite of fork": {settings{upload: "always", tag: "v2"}, fork, one, true, "v2", "2", 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := decide(tt.s, tt.j, tt.plugins)
			if d.upload != tt.upload || d.tag != tt.tag || d.version != tt.version || len(d.plugins) != tt.count || (d.notice != "") != tt.notice {
				t.Errorf("upload %v, tag %q, version %q, %d plugins, notice %q", d.upload, d.tag, d.version, len(d.plugins), d.notice)
			}
		})
	}
}

func TestSigns(t *testing.T) {
	tests := map[string]struct {
		s    settings
		j    job
		want bool
	}{
		"with a token":              {settings{sign: "auto", attest: "auto"}, job{token: true}, true},
		"with a key":                {settings{sign: "auto", attest: "auto", key: "k"}, job{}, true},
		"with nothing":              {settings{sign: "auto", attest: "auto"}, job{}, false},
		"required":                  {settings{sign: "auto", attest: "required"}, job{}, true},
		"keyless":                   {settings{sign: "keyless", attest: "auto"}, job{}, true},
		"fork":                      {settings{sign: "auto", attest: "auto"}, job{token: true, fork: true}, false},
		"fork with a key":           {settings{sign: "auto", attest: "auto", key: "k"}, job{fork: true}, false},
		"fork that insists":         {settings{sign: "auto", attest: "required"}, job{fork: true}, true},
		"none":                      {settings{sign: "none", attest: "auto"}, job{token: true}, false},
		"off":                       {settings{sign: "auto", attest: "off"}, job{token: true}, false},
		"a dry run, though it must": {settings{sign: "keyless", attest: "required", dryRun: true}, job{token: true}, false},
	}
	for name, tt := range tests {
		if got := signs(tt.s, tt.j); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPrerelease(t *testing.T) {
	for version, want := range map[string]bool{
		"1.2.3": false, "1.2.3-rc.1": true, "v1.2.3-alpha": true, "1.2.3+build-7": false, "2024-01-05": false, "1.2": false, "": false, "1.2.3-": false,
	} {
		if got := prerelease("auto", version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
	if !prerelease("true", "1.2.3") || prerelease("false", "1.2.3-rc.1") {
		t.Error("what is said does not count")
	}
}

func TestBaseURL(t *testing.T) {
	j := job{Context: gha.Context{Repository: "acme/web", ServerURL: "https://github.com", RunnerWorkspace: "/home/runner/work/web"}}
	act := j
	act.Act = true
	tests := map[string]struct {
		s    settings
		j    job
		d    decision
		own  bool
		want string
	}{
		"given":            {settings{baseURL: "https://cdn.example/x"}, j, decision{upload: true, tag: "v1"}, true, "https://cdn.example/x/"},
		"release":          {settings{}, j, decision{upload: true, tag: "v1"}, true, "https://github.com/acme/web/releases/download/v1/"},
		"release of many":  {settings{}, j, decision{upload: true, tag: "api/v1"}, false, "https://github.com/acme/web/releases/download/api/v1/"},
		"fledge.toml's":    {settings{}, j, decision{}, true, ""},
		"runner":           {settings{}, j, decision{}, false, "/home/runner/work/web/web/sub/dist/"},
		"in act":           {settings{}, act, decision{}, false, ""},
		"unknown":          {settings{}, job{}, decision{}, false, ""},
		"given as a path":  {settings{baseURL: "/srv/plugins/"}, j, decision{}, false, "/srv/plugins/"},
		"given with slash": {settings{baseURL: "https://cdn.example/"}, j, decision{}, false, "https://cdn.example/"},
	}
	for name, tt := range tests {
		if got := baseURL(tt.s, tt.j, tt.d, "sub/dist", tt.own); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestChangedRange(t *testing.T) {
	s := settings{changed: true}
	pull := gha.Event{Base: "b", Head: "h"}
	for name, tt := range map[string]struct {
		s    settings
		j    job
		e    gha.Event
		want string
	}{
		"pull request": {s, job{}, pull, "b...h"},
		"push":         {s, job{}, gha.Event{Before: "x", After: "y"}, "x...y"},
		"new branch":   {s, job{}, gha.Event{After: "y"}, ""},
		"tag":          {s, job{Context: gha.Context{RefType: "tag", RefName: "v1"}}, gha.Event{Before: "x", After: "y"}, ""},
		"not asked":    {settings{}, job{}, pull, ""},
	} {
		if got := changedRange(tt.s, tt.j, tt.e); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestDependabotIsAFork(t *testing.T) {
	c := gha.Context{EventName: "pull_request", Actor: "dependabot[bot]"}
	if !newJob(c, gha.Event{}, false).fork {
		t.Error("its pull request counts as one that may write")
	}
	c.EventName = "push"
	if newJob(c, gha.Event{}, false).fork {
		t.Error("its push counts as a pull request")
	}
}

func TestABuildersNameReachesTheCommandLine(t *testing.T) {
	for given, want := range map[string]string{"": "", "auto": "auto", "Loop": "loop", "userspace": "userspace"} {
		s := settingsOf(t, newStep(t).with("filesystem-builder", given))
		c := buildCommand(s, decision{}, plan.Plugin{Config: "fledge.toml"}, "dist/", "", "cache", true)
		got := ""
		if at := slices.Index(c.repeat, "--filesystem-builder"); at >= 0 {
			got = c.repeat[at+1]
		}
		if got != want {
			t.Errorf("%q: %q", given, c.repeat)
		}
	}
}

func TestWhatTheSecondBuildHasShown(t *testing.T) {
	var bytes, content built
	for text, b := range map[string]*built{`{"reproducible": true}`: &bytes, `{"content_reproducible": true, "content_digest": "sha256:a"}`: &content} {
		if err := json.Unmarshal([]byte(text), b); err != nil {
			t.Fatal(err)
		}
	}
	twice := settings{twice: true}
	for _, c := range []struct {
		s    settings
		b    *built
		want summary.Reproducible
	}{{settings{}, &bytes, summary.Unchecked}, {twice, &bytes, summary.SameBytes}, {twice, &content, summary.SameContent}} {
		if got := checked(c.s, c.b); got != c.want {
			t.Errorf("%+v: %d, want %d", *c.b, got, c.want)
		}
	}
	one, two := summary.Plugin{Reproducible: summary.SameBytes}, summary.Plugin{Reproducible: summary.SameContent}
	if a, b := reproducible([]summary.Plugin{one, one}), reproducible([]summary.Plugin{one, two}); a != "true" || b != "content" {
		t.Errorf("got %q and %q", a, b)
	}
}

package workflowtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const top = "../.."

type workflow struct {
	Permissions *map[string]string `yaml:"permissions"`
	Jobs        map[string]job     `yaml:"jobs"`
}

type job struct {
	Permissions *map[string]string `yaml:"permissions"`
	Timeout     int                `yaml:"timeout-minutes"`
	Uses        string             `yaml:"uses"`
	With        map[string]any     `yaml:"with"`
	Secrets     any                `yaml:"secrets"`
	Steps       []step             `yaml:"steps"`
}

type step struct {
	Uses string         `yaml:"uses"`
	Run  string         `yaml:"run"`
	With map[string]any `yaml:"with"`
}

// pinned is an action of other people as our own workflows name it.
var pinned = regexp.MustCompile(`^\s*(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)

// writers are the jobs that may write something, and what. Every other job reads the
// repository at most.
var writers = map[string]map[string]string{
	"fledge-release.yml/release": {"contents": "write", "id-token": "write", "attestations": "write"},
	"release.yml/image":          {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
	"release.yml/publish":        {"contents": "write"},
	"e2e.yml/release":            {"contents": "write", "id-token": "write", "attestations": "write"},
}

// faults are the rules that a workflow of ours breaks. Examples are for other people:
// they name actions by version, and their jobs have the rights that they need.
func faults(name, text string, example bool) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	var w workflow
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		return []string{err.Error()}
	}
	if w.Permissions == nil || len(*w.Permissions) > 0 {
		fault("permissions at the top are not {}")
	}
	for id, j := range w.Jobs {
		if j.Permissions == nil {
			fault("job %s: no permissions", id)
		} else if !example {
			for right, value := range *j.Permissions {
				allowed, known := writers[name+"/"+id]
				if known && allowed[right] != value || !known && (right != "contents" || value != "read") {
					fault("job %s: %s: %s is not in the table of writers", id, right, value)
				}
			}
		}
		if !example && j.Uses == "" && (j.Timeout == 0 || j.Timeout > 360) {
			fault("job %s: no timeout", id)
		}
		if j.Secrets == "inherit" {
			fault("job %s: hands all secrets on", id)
		}
		for _, s := range j.Steps {
			if strings.Contains(s.Run, "${{") {
				fault("job %s: an expression inside of a script: %q", id, s.Run)
			}
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
				fault("job %s: a checkout keeps the token", id)
			}
		}
	}
	for i, line := range strings.Split(text, "\n") {
		uses, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "- "), "uses: ")
		if !ok || example || strings.HasPrefix(uses, "./") || uses == "volant/fledge-action@v1" {
			continue
		}
		if !pinned.MatchString(line) {
			fault("line %d: %q is not OWNER/NAME@COMMIT # vX.Y.Z", i+1, uses)
		}
	}
	slices.Sort(faults)
	return faults
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWorkflowsKeepTheRules(t *testing.T) {
	for _, path := range files(t, ".github/workflows/*.yml") {
		for _, f := range faults(filepath.Base(path), read(t, path), false) {
			t.Errorf("%s: %s", path, f)
		}
	}
	for _, path := range files(t, "examples/workflows/*.yml") {
		for _, f := range faults(filepath.Base(path), read(t, path), true) {
			t.Errorf("%s: %s", path, f)
		}
	}
}

// Each change breaks one rule.
func TestEveryRuleCanBeBroken(t *testing.T) {
	const good = `permissions: {}
jobs:
  build:
    permissions:
      contents: read
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0
        with:
          persist-credentials: false
      - run: echo "$NAME"
`
	if got := faults("x.yml", good, false); got != nil {
		t.Fatalf("the good one: %q", got)
	}
	for _, test := range []struct{ old, new, want string }{
		{"permissions: {}\n", "", "permissions at the top"},
		{"permissions: {}\n", "permissions: {contents: read}\n", "permissions at the top"},
		{"    permissions:\n      contents: read\n", "", "no permissions"},
		{"contents: read", "contents: write", "not in the table"},
		{"contents: read", "id-token: write", "not in the table"},
		{"    timeout-minutes: 5\n", "", "no timeout"},
		{`"$NAME"`, "${{ github.head_ref }}", "inside of a script"},
		{"persist-credentials: false", "persist-credentials: true", "keeps the token"},
		{"        with:\n          persist-credentials: false\n", "", "keeps the token"},
		{"08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "v5.0.0", "is not OWNER/NAME@COMMIT"},
		{" # v5.0.0", "", "is not OWNER/NAME@COMMIT"},
		{"    timeout-minutes: 5\n", "    timeout-minutes: 5\n    secrets: inherit\n", "hands all secrets on"},
	} {
		text := strings.Replace(good, test.old, test.new, 1)
		got := faults("x.yml", text, false)
		if text == good || len(got) != 1 || !strings.Contains(got[0], test.want) {
			t.Errorf("%q for %q: %q, want one fault with %q", test.new, test.old, got, test.want)
		}
	}
}

type inputs struct {
	Inputs map[string]struct {
		Required bool `yaml:"required"`
	} `yaml:"inputs"`
	Outputs map[string]any `yaml:"outputs"`
	On      struct {
		Call *inputs `yaml:"workflow_call"`
	} `yaml:"on"`
}

func definition(t *testing.T, name string) inputs {
	t.Helper()
	var in inputs
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(top, name))), &in); err != nil {
		t.Fatal(err)
	}
	if in.On.Call != nil {
		return *in.On.Call
	}
	return in
}

// definedBy says which file defines what "uses" names, "" for none of ours.
func definedBy(uses string) string {
	name, _, _ := strings.Cut(uses, "@")
	switch strings.TrimPrefix(name, "volant/fledge-action") {
	case "", "./":
		return "action.yml"
	case "/verify", "./verify":
		return "verify/action.yml"
	case "/.github/workflows/fledge-release.yml":
		return ".github/workflows/fledge-release.yml"
	}
	return ""
}

// actionlint knows the inputs of actions in this repository only where they are named by
// "./", and GitHub only warns.
func TestWorkflowsUseInputsThatAreThere(t *testing.T) {
	paths := append(files(t, ".github/workflows/*.yml"), files(t, "examples/workflows/*.yml")...)
	checked := 0
	check := func(path, uses string, with map[string]any) {
		file := definedBy(uses)
		if uses == "" || file == "" {
			return
		}
		checked++
		known := definition(t, file).Inputs
		for name := range with {
			if _, ok := known[name]; !ok {
				t.Errorf("%s: %s has no input %q", path, file, name)
			}
		}
		for name, input := range known {
			if _, ok := with[name]; input.Required && !ok {
				t.Errorf("%s: %s needs the input %q", path, file, name)
			}
		}
	}
	for _, path := range paths {
		var w workflow
		if err := yaml.Unmarshal([]byte(read(t, path)), &w); err != nil {
			t.Fatal(err)
		}
		for _, j := range w.Jobs {
			check(path, j.Uses, j.With)
			for _, s := range j.Steps {
				check(path, s.Uses, s.With)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d uses were checked", checked)
	}
}

var outputUse = regexp.MustCompile(`steps\.(\w+)\.outputs\.([\w-]+)`)

// A misspelled output is an empty text.
func TestWorkflowsUseOutputsThatAreThere(t *testing.T) {
	paths := append(files(t, ".github/workflows/*.yml"), files(t, "examples/workflows/*.yml")...)
	checked := 0
	for _, path := range paths {
		text := read(t, path)
		var w struct {
			Jobs map[string]struct {
				Steps []struct {
					ID   string `yaml:"id"`
					Uses string `yaml:"uses"`
				} `yaml:"steps"`
			} `yaml:"jobs"`
		}
		if err := yaml.Unmarshal([]byte(text), &w); err != nil {
			t.Fatal(err)
		}
		defined := map[string]string{} // of a step's id: ids are unique in our files
		for _, j := range w.Jobs {
			for _, s := range j.Steps {
				if s.ID != "" && definedBy(s.Uses) != "" && s.Uses != "" {
					defined[s.ID] = definedBy(s.Uses)
				}
			}
		}
		for _, use := range outputUse.FindAllStringSubmatch(text, -1) {
			file := defined[use[1]]
			if file == "" {
				continue
			}
			checked++
			if _, ok := definition(t, file).Outputs[use[2]]; !ok {
				t.Errorf("%s: %s has no output %q", path, file, use[2])
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d outputs were checked", checked)
	}
}

// shown are the examples in a Markdown file: a comment names the file, the block after it
// has its text.
var shown = regexp.MustCompile("(?s)<!-- example: ([a-z-]+\\.yml) -->\n```yaml\n(.*?)```")

func TestDocumentsShowTheExamples(t *testing.T) {
	for name, least := range map[string]int{"README.md": 2, "docs/migration.md": 1} {
		path := filepath.Join(top, name)
		text := read(t, path)
		matches := shown.FindAllStringSubmatch(text, -1)
		if announced := strings.Count(text, "<!-- example: "); len(matches) != announced || announced < least {
			t.Errorf("%s: %d examples are announced, %d blocks found, want %d at least", name, announced, len(matches), least)
		}
		made := shown.ReplaceAllStringFunc(text, func(block string) string {
			example := shown.FindStringSubmatch(block)[1]
			return "<!-- example: " + example + " -->\n```yaml\n" + read(t, filepath.Join(top, "examples/workflows", example)) + "```"
		})
		if made == text {
			continue
		}
		if os.Getenv("UPDATE_GOLDEN") == "" {
			t.Errorf("%s shows other texts than examples/workflows; UPDATE_GOLDEN=1 go test ./internal/workflowtest writes them", name)
			continue
		}
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

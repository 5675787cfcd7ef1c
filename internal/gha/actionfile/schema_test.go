package actionfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/internal/testneed"
)

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// faults checks files as GitHub's own parser does.
func faults(t *testing.T, root string, files ...string) []string {
	t.Helper()
	script := testneed.Node(t, "schema.mjs", "@actions/languageservice")
	out, err := exec.Command("node", append([]string{script, root}, files...)...).Output()
	if err != nil {
		t.Fatalf("schema.mjs: %v: %s", err, exitOutput(err))
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func exitOutput(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

var (
	isAction   = regexp.MustCompile(`(^|/)action\.ya?ml$`)
	isWorkflow = regexp.MustCompile(`^\.github/workflows/[^/]+\.ya?ml$`)
	isExample  = regexp.MustCompile(`^examples/.*workflows/[^/]+\.ya?ml$`)
)

// files are the action files and workflows of the module, test data aside.
func files(t *testing.T, root string) (actions, workflows, examples []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{"testdata", "node_modules", ".git"}, d.Name()) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, path)
		switch rel = filepath.ToSlash(rel); {
		case isAction.MatchString(rel):
			actions = append(actions, rel)
		case isWorkflow.MatchString(rel):
			workflows = append(workflows, rel)
		case isExample.MatchString(rel):
			examples = append(examples, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return actions, workflows, examples
}

func TestActionsAndWorkflowsFitGitHubsSchema(t *testing.T) {
	dir := root(t)
	actions, workflows, examples := files(t, dir)
	if len(workflows) == 0 {
		t.Fatal("no workflow found")
	}
	// What GitHub would say depends on the path: examples are looked at as if they lay
	// where they are copied to.
	copied := t.TempDir()
	all := slices.Concat(actions, workflows)
	for _, file := range slices.Concat(actions, workflows, examples) {
		to := file
		if slices.Contains(examples, file) {
			to = ".github/workflows/example-" + strings.ReplaceAll(strings.TrimPrefix(file, "examples/"), "/", "-")
			all = append(all, to)
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(copied, filepath.Dir(to)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, to), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("checking %s", strings.Join(all, ", "))
	for _, fault := range faults(t, copied, all...) {
		if fault != "" {
			t.Error(fault)
		}
	}
}

// TestTheSchemaFindsFaults shows that the check above can fail.
func TestTheSchemaFindsFaults(t *testing.T) {
	got := faults(t, "testdata/schema", "good/action.yml", "bad/action.yml", ".github/workflows/bad.yml")
	want := []string{
		"bad/action.yml:6:14: Unrecognized named-value: 'secrets'",
		"bad/action.yml:9:5: Unexpected value 'vlue'",
		"bad/action.yml:13:3: Unexpected value 'options'",
		"bad/action.yml:14:34: Unexpected value 'grey'",
		".github/workflows/bad.yml:2:31: Unexpected value 'id-tokn'",
		".github/workflows/bad.yml:8:9: Unexpected value 'wth'",
		".github/workflows/bad.yml:9:19: Unrecognized named-value: 'foo'",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestActionFilesAreReadByParse holds what GitHub's schema leaves open: unknown keys of
// an input, and what the Marketplace asks for.
func TestActionFilesAreReadByParse(t *testing.T) {
	dir := root(t)
	actions, _, _ := files(t, dir)
	names := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	for _, file := range actions {
		f := parse(t, filepath.Join(dir, file))
		if f.Name == "" || f.Description == "" || len(f.Description) > 125 {
			t.Errorf("%s: name %q, description of %d bytes; the Marketplace takes 1 to 125", file, f.Name, len(f.Description))
		}
		if f.Runs.Using != "docker" {
			t.Errorf("%s: runs.using is %q", file, f.Runs.Using)
		}
		for _, in := range f.Inputs {
			if !names.MatchString(in.Name) || in.Description == "" || in.Required && in.Default != "" {
				t.Errorf("%s: input %q: has a bad name, no description, or a default although it is required", file, in.Name)
			}
		}
		for _, out := range f.Outputs {
			if !names.MatchString(out.Name) || out.Description == "" {
				t.Errorf("%s: output %q: has a bad name or no description", file, out.Name)
			}
		}
	}
}

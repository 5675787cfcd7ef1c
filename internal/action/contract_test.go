package action

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/gha/actionfile"
)

func actionFile(t *testing.T, name string) *actionfile.File {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := actionfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// root is the repository: a test's folder is that of its package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEveryInputIsReadAndEveryReadIsAnInput: action.yml and the code name the same.
func TestEveryInputIsReadAndEveryReadIsAnInput(t *testing.T) {
	for name, args := range map[string][]string{"action.yml": nil, "verify/action.yml": {"verify"}} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, i := range actionFile(t, filepath.Join(root(t), name)).Inputs {
				want = append(want, i.Name)
			}
			slices.Sort(want)
			s := newStep(t).with("target", "x", "command", "install")
			p := &Program{Version: "test", Stdout: &s.log, Setenv: os.Setenv, Getenv: func(name string) string { s.asked[name] = true; return s.env[name] }}
			p.Run(t.Context(), args)
			var got []string
			for asked := range maps.Keys(s.asked) {
				if input, ok := strings.CutPrefix(asked, "INPUT_"); ok {
					got = append(got, strings.ToLower(input))
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("the code reads %v, %s has %v", got, name, want)
			}
		})
	}
}

// TestDefaultsAreThoseOfTheCode: an input that is not given at all means the same as
// its default.
func TestDefaultsAreThoseOfTheCode(t *testing.T) {
	f := actionFile(t, filepath.Join(root(t), "action.yml"))
	s := newStep(t)
	empty := settingsOf(t, s)
	for _, i := range f.Inputs {
		if !strings.Contains(i.Default, "${{") {
			s.with(i.Name, i.Default)
		}
	}
	given := settingsOf(t, s)
	if empty.String() != given.String() {
		t.Errorf("without inputs\n%s\nwith the defaults of action.yml\n%s", empty, given)
	}
}

// TestEveryOutputIsSetAndEverySetIsAnOutput looks at the code: which outputs are set
// depends on what is done.
func TestEveryOutputIsSetAndEverySetIsAnOutput(t *testing.T) {
	dir := root(t)
	want := map[string]bool{}
	for _, name := range []string{"action.yml", "verify/action.yml"} {
		for _, o := range actionFile(t, filepath.Join(dir, name)).Outputs {
			want[o.Name] = true
		}
	}
	got := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`p\.outputs\["([a-z-]+)"\] =|kind[A-Z]\w+: "([a-z-]+)"`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range set.FindAllStringSubmatch(string(text), -1) {
			got[m[1]+m[2]] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the code sets %v, the files have %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// TestTablesAreThoseOfTheActionFiles holds the tables in documents against the files.
func TestTablesAreThoseOfTheActionFiles(t *testing.T) {
	dir := root(t)
	embed(t, filepath.Join(dir, "docs/action.md"), "inputs", "outputs", "verify-inputs", "verify-outputs")
	embed(t, filepath.Join(dir, "README.md"), "inputs", "outputs")
}

// embed compares the tables in a document, by their markers, with the action files.
func embed(t *testing.T, name string, markers ...string) {
	t.Helper()
	dir := root(t)
	main, verify := actionFile(t, filepath.Join(dir, "action.yml")), actionFile(t, filepath.Join(dir, "verify/action.yml"))
	tables := map[string]string{
		"inputs": main.InputTable(), "outputs": main.OutputTable(),
		"verify-inputs": verify.InputTable(), "verify-outputs": verify.OutputTable(),
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	made := text
	for _, marker := range markers {
		if made, err = actionfile.Embed(made, marker, tables[marker]); err != nil {
			t.Fatal(err)
		}
	}
	if string(made) == string(text) {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatalf("%s is out of date: run make golden", name)
	}
	if err := os.WriteFile(name, made, 0o644); err != nil {
		t.Fatal(err)
	}
}

package actionfile

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, file string) *File {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseKeepsEverythingInOrder(t *testing.T) {
	want := &File{
		Name: "fledge", Description: "Build a plugin", Author: "volant",
		Inputs: []Input{
			{Name: "command", Description: "`build`, `plan` or `release`:\nwhat to do.\n\nA second paragraph with a|pipe.\n", Default: "build"},
			{Name: "target", Description: "What to verify", Required: true},
			{Name: "key-password", Description: "Masked"},
			{Name: "locked", Description: "A boolean", Default: "false"},
			{Name: "odd", Description: "An odd default", Default: "`a|b`", Deprecated: "use command"},
			{Name: "github-token", Description: "The job's token", Default: "${{ github.token }}"},
		},
		Outputs:  []Output{{"artifact", "Path of the artifact"}, {"any", `"true" | "false"`}},
		Runs:     Runs{Using: "docker", Image: "../Dockerfile", Args: []string{"verify"}, Env: map[string]string{"A": "b"}},
		Branding: Branding{"package", "blue"},
	}
	if diff := cmp.Diff(want, parse(t, "testdata/action.yml")); diff != "" {
		t.Error(diff)
	}
}

func TestTablesAreEmbedded(t *testing.T) {
	f := parse(t, "testdata/action.yml")
	doc, err := os.ReadFile("testdata/tables.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]string{"inputs": f.InputTable(), "outputs": f.OutputTable()} {
		if doc, err = Embed(doc, name, table); err != nil {
			t.Fatal(err)
		}
	}
	const golden = "testdata/tables.golden.md"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(doc)); diff != "" {
		t.Errorf("%s; UPDATE_GOLDEN=1 rewrites it:\n%s", golden, diff)
	}
	again, err := Embed(doc, "inputs", f.InputTable())
	if err != nil || !bytes.Equal(again, doc) {
		t.Errorf("embedding once more changes the document (%v)", err)
	}
}

func TestEmbedNeedsBothMarksOnce(t *testing.T) {
	for doc, want := range map[string]string{
		"":                   `"<!-- a:begin -->" is there 0 times`,
		"<!-- a:begin -->\n": `"<!-- a:end -->" is there 0 times`,
		"<!-- a:begin -->\n<!-- a:begin -->\n<!-- a:end -->\n": `"<!-- a:begin -->" is there 2 times`,
		"<!-- a:end -->\n<!-- a:begin -->\n":                   `is above`,
	} {
		if _, err := Embed([]byte(doc), "a", "text"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", doc, err, want)
		}
	}
}

func TestParseRefusesWhatActionsDoNotHave(t *testing.T) {
	for text, want := range map[string]string{
		"runs: {using: docker, options: --privileged}": "field options not found",
		"nam: x":                       "field nam not found",
		"inputs: {a: {descripton: x}}": `inputs: line 1: "a": line 1: "descripton": unknown key`,
		"inputs: {a: {description: x}, a: {default: y}}": `"a" is there twice`,
		"inputs: {a: {description: x, description: y}}":  `"description" is there twice`,
		"inputs: [a]":                    "is no mapping",
		"inputs: {a: text}":              "is no mapping",
		"outputs: {a: {value: x}}":       `outputs: line 1: "a": line 1: "value": unknown key`,
		"name: a\n---\nname: b":          "more than one document",
		"":                               "EOF",
		"inputs: {a: {required: maybe}}": "cannot unmarshal",
	} {
		if f, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", text, f, err, want)
		}
	}
}

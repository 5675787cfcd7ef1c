// Package actionfile reads action.yml files
// (https://docs.github.com/actions/reference/workflows-and-actions/metadata-syntax) and
// writes the tables of inputs and outputs that documents embed. Tests use it: they hold
// the documents, and what the program asks for, against the file. No shipped package
// imports it.
//
// It accepts container actions only, and no key that GitHub's schema lacks. Inputs and
// outputs keep the file's order. The tables are a function of the file.
package actionfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is an action.yml.
type File struct {
	Name, Description, Author string
	Inputs                    []Input
	Outputs                   []Output
	Runs                      Runs
	Branding                  Branding
}

// Input is one that a workflow gives with "with:".
type Input struct {
	Name        string `yaml:"-"`
	Description string `yaml:"description"`
	Required    bool   `yaml:"required"`
	Default     string `yaml:"default"` // may be an expression: "${{ github.token }}"
	Deprecated  string `yaml:"deprecationMessage"`
}

// Output is one that later steps read.
type Output struct {
	Name        string `yaml:"-"`
	Description string `yaml:"description"`
}

// Runs is the container.
type Runs struct {
	Using          string            `yaml:"using"`
	Image          string            `yaml:"image"`
	Entrypoint     string            `yaml:"entrypoint"`
	Args           []string          `yaml:"args"`
	Env            map[string]string `yaml:"env"`
	PreEntrypoint  string            `yaml:"pre-entrypoint"`
	PreIf          string            `yaml:"pre-if"`
	PostEntrypoint string            `yaml:"post-entrypoint"`
	PostIf         string            `yaml:"post-if"`
}

// Branding is how the action looks in GitHub's Marketplace.
type Branding struct {
	Icon  string `yaml:"icon"`
	Color string `yaml:"color"`
}

// document is a File whose mappings keep their order.
type document struct {
	Name        string    `yaml:"name"`
	Description string    `yaml:"description"`
	Author      string    `yaml:"author"`
	Inputs      yaml.Node `yaml:"inputs"`
	Outputs     yaml.Node `yaml:"outputs"`
	Runs        Runs      `yaml:"runs"`
	Branding    Branding  `yaml:"branding"`
}

// Parse reads a file. Errors name the line.
func Parse(text []byte) (*File, error) {
	var d document
	if err := strict(text, &d); err != nil {
		return nil, err
	}
	f := &File{Name: d.Name, Description: d.Description, Author: d.Author, Runs: d.Runs, Branding: d.Branding}
	err := each(&d.Inputs, func(name string, value *yaml.Node) error {
		input := Input{Name: name}
		err := decode(value, &input, "description", "required", "default", "deprecationMessage")
		f.Inputs = append(f.Inputs, input)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	err = each(&d.Outputs, func(name string, value *yaml.Node) error {
		output := Output{Name: name}
		err := decode(value, &output, "description")
		f.Outputs = append(f.Outputs, output)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	return f, nil
}

// strict decodes one document, and refuses keys that out does not have.
func strict(text []byte, out any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(out); err != nil {
		return err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// each calls do for the keys of a mapping in order. One that is there twice is an error.
func each(mapping *yaml.Node, do func(name string, value *yaml.Node) error) error {
	if mapping.Kind != 0 && mapping.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: is no mapping", mapping.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		if seen[key.Value] {
			return fmt.Errorf("line %d: %q is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if err := do(key.Value, mapping.Content[i+1]); err != nil {
			return fmt.Errorf("line %d: %q: %w", key.Line, key.Value, err)
		}
	}
	return nil
}

// decode reads a mapping with none but the given keys. The type of a node cannot say so.
func decode(value *yaml.Node, out any, keys ...string) error {
	err := each(value, func(name string, _ *yaml.Node) error {
		if !slices.Contains(keys, name) {
			return errors.New("unknown key")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return value.Decode(out)
}

// InputTable is the inputs as a Markdown table.
func (f *File) InputTable() string {
	var b strings.Builder
	b.WriteString("| Input | Default | Meaning |\n|---|---|---|\n")
	for _, in := range f.Inputs {
		standard := ""
		switch {
		case in.Required:
			standard = "**required**"
		case in.Default != "":
			standard = code(in.Default)
		}
		meaning := in.Description
		if in.Deprecated != "" {
			meaning = "Deprecated: " + in.Deprecated + "\n\n" + meaning
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(in.Name), standard, cell(meaning))
	}
	return b.String()
}

// OutputTable is the outputs as a Markdown table.
func (f *File) OutputTable() string {
	var b strings.Builder
	b.WriteString("| Output | Meaning |\n|---|---|\n")
	for _, out := range f.Outputs {
		fmt.Fprintf(&b, "| %s | %s |\n", code(out.Name), cell(out.Description))
	}
	return b.String()
}

// code is text in a cell as it is. A cell ends at each |, in code too, that has no
// backslash.
func code(text string) string {
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	space := ""
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		space = " "
	}
	return fence + space + strings.ReplaceAll(text, "|", `\|`) + space + fence
}

// cell is Markdown in a cell: an empty line becomes a break, any other line end a space.
func cell(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.ReplaceAll(strings.Join(paragraphs, "<br>"), "|", `\|`)
}

// Embed puts text between the lines "<!-- NAME:begin -->" and "<!-- NAME:end -->" of a
// document, each of which has to be there once.
func Embed(document []byte, name, text string) ([]byte, error) {
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->\n"
	doc := string(document)
	for _, mark := range []string{begin, end} {
		if n := strings.Count(doc, mark); n != 1 {
			return nil, fmt.Errorf("the line %q is there %d times, not once", strings.TrimSpace(mark), n)
		}
	}
	before, rest, _ := strings.Cut(doc, begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return nil, fmt.Errorf("the line %q is above %q", strings.TrimSpace(end), strings.TrimSpace(begin))
	}
	return []byte(before + begin + "\n" + text + "\n" + end + after), nil
}

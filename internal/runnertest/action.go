package runnertest

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// runs is the part of action.yml of that name.
type runs struct {
	entrypoint string
	args       []string
	env        []variable
}

// manifest is what is read of action.yml. Mappings keep their order.
type manifest struct {
	Inputs yaml.Node `yaml:"inputs"`
	Runs   struct {
		Using      string    `yaml:"using"`
		Image      string    `yaml:"image"`
		Entrypoint string    `yaml:"entrypoint"`
		Args       []string  `yaml:"args"`
		Env        yaml.Node `yaml:"env"`
	} `yaml:"runs"`
}

// action reads action.yml and evaluates it for the step: with: first, then what it left
// to defaults. An input without a default is an empty text.
func (j *job) action() ([]variable, runs, error) {
	var m manifest
	if j.step.ActionFile != "" {
		text, err := os.ReadFile(j.step.ActionFile)
		if err != nil {
			return nil, runs{}, err
		}
		if err := yaml.Unmarshal(text, &m); err != nil {
			return nil, runs{}, fmt.Errorf("%s: %w", j.step.ActionFile, err)
		}
		if m.Runs.Using != "docker" {
			return nil, runs{}, fmt.Errorf("%s: runs.using is %q, not docker", j.step.ActionFile, m.Runs.Using)
		}
	}
	var inputs environment
	for _, name := range sortedKeys(j.step.With) {
		inputs.set(name, j.step.With[name])
	}
	err := eachKey(m.Inputs, func(name string, node *yaml.Node) error {
		var input struct {
			Default string `yaml:"default"`
		}
		if err := node.Decode(&input); err != nil {
			return err
		}
		value, err := j.evaluate(input.Default, nil)
		if !inputs.has(name) {
			inputs.set(name, value)
		}
		return err
	})
	if err != nil {
		return nil, runs{}, fmt.Errorf("%s: inputs: %w", j.step.ActionFile, err)
	}
	r, err := j.runs(m, inputs)
	if err != nil {
		return nil, runs{}, fmt.Errorf("%s: runs: %w", j.step.ActionFile, err)
	}
	return inputs, r, nil
}

func (j *job) runs(m manifest, inputs environment) (runs, error) {
	r := runs{entrypoint: m.Runs.Entrypoint}
	if r.entrypoint == "" {
		r.entrypoint = j.step.With["entryPoint"]
	}
	for _, arg := range m.Runs.Args {
		value, err := j.evaluate(arg, inputs)
		if err != nil {
			return r, err
		}
		r.args = append(r.args, value)
	}
	if m.Runs.Args == nil {
		r.args = strings.Fields(j.step.With["args"])
	}
	return r, eachKey(m.Runs.Env, func(name string, node *yaml.Node) error {
		value, err := j.evaluate(node.Value, inputs)
		r.env = append(r.env, variable{name, value})
		return err
	})
}

// eachKey calls do for the keys of a mapping, in their order.
func eachKey(node yaml.Node, do func(name string, value *yaml.Node) error) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if err := do(node.Content[i].Value, node.Content[i+1]); err != nil {
			return fmt.Errorf("%s: %w", node.Content[i].Value, err)
		}
	}
	return nil
}

var (
	expression = regexp.MustCompile(`\$\{\{(.*?)\}\}`)
	access     = regexp.MustCompile(`^\s*(github|inputs)\.([A-Za-z_][A-Za-z0-9_-]*)\s*$`)
)

// evaluate replaces expressions. A value of the github context that is not there is an
// empty text for the runner; here it is a mistake.
func (j *job) evaluate(text string, inputs environment) (string, error) {
	var failed error
	value := expression.ReplaceAllStringFunc(text, func(whole string) string {
		match := access.FindStringSubmatch(whole[3 : len(whole)-2])
		if match != nil && match[1] == "github" {
			if value, ok := j.github[match[2]]; ok {
				return value
			}
		}
		if match != nil && match[1] == "inputs" {
			for _, in := range inputs {
				if in.name == match[2] {
					return in.value
				}
			}
		}
		failed = fmt.Errorf("the expression %q is not one that is known here", whole)
		return ""
	})
	return value, failed
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

package gha

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/internal/spelling"
)

// maxQuoted is how much of a wrong value an error shows, in bytes.
const maxQuoted = 100

// Inputs are the action's inputs. What is asked for and cannot be had is the zero
// value, and a mistake that Err returns: a program asks for all of its inputs and then
// for Err, and the user sees all mistakes at once.
//
// White space around a value does not count, except for Secret. An input that is
// empty is one that was not given. Inputs are for one goroutine.
type Inputs struct {
	workflow *Workflow
	mistakes InputErrors
}

// InputError is a mistake in one input.
type InputError struct {
	Name  string // as in action.yml
	Value string // as given; "" when it is not
	Want  string // what it has to be: "true or false"
	Hint  string // "" or the value that was meant
}

func (e *InputError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("input %q is missing: it has to be %s", e.Name, e.Want)
	}
	text := fmt.Sprintf("input %q is %q: it has to be %s", e.Name, shorten(e.Value, maxQuoted, runeLen), e.Want)
	if e.Hint != "" {
		text += fmt.Sprintf(" (did you mean %q?)", e.Hint)
	}
	return text
}

// InputErrors are all mistakes, in the order in which the inputs were asked for.
type InputErrors []*InputError

func (e InputErrors) Error() string {
	lines := make([]string, len(e))
	for i, mistake := range e {
		lines[i] = mistake.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes for errors.As.
func (e InputErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i, mistake := range e {
		all[i] = mistake
	}
	return all
}

// Inputs returns the inputs of the step, none asked for yet.
func (w *Workflow) Inputs() *Inputs { return &Inputs{workflow: w} }

// variable is what the runner calls an input: hyphens are kept.
func variable(name string) string {
	return "INPUT_" + strings.ToUpper(strings.ReplaceAll(name, " ", "_"))
}

func (i *Inputs) raw(name string) string {
	return i.workflow.getenv(variable(name))
}

// String returns an input, "" when it is not given.
func (i *Inputs) String(name string) string { return strings.TrimSpace(i.raw(name)) }

// Required returns an input that has to be given; want says what it is ("a file, a
// folder or a release").
func (i *Inputs) Required(name, want string) string {
	value := i.String(name)
	if value == "" {
		i.wrong(name, "", want, "")
	}
	return value
}

// Secret returns an input that nobody may see. It is masked. White space is part of
// it, but for line breaks at its end.
func (i *Inputs) Secret(name string) string {
	secret := strings.TrimRight(i.raw(name), "\r\n")
	i.workflow.Mask(secret)
	return secret
}

// Bool returns an input that is true or false, in any case. Empty is false.
func (i *Inputs) Bool(name string) bool { return i.BoolOr(name, false) }

// BoolOr is Bool for an input that is something else when it is empty.
func (i *Inputs) BoolOr(name string, empty bool) bool {
	switch value := i.String(name); {
	case value == "":
		return empty
	case strings.EqualFold(value, "true"):
		return true
	case !strings.EqualFold(value, "false"):
		i.wrong(name, value, "true or false", "")
	}
	return false
}

// OneOf returns which of values an input is, in any case. Empty is the first of them,
// which may be "".
func (i *Inputs) OneOf(name string, values ...string) string {
	value := i.String(name)
	if value == "" {
		return values[0]
	}
	for _, v := range values {
		if strings.EqualFold(value, v) {
			return v
		}
	}
	allowed := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
	i.wrong(name, value, alternatives(allowed), nearest(strings.ToLower(value), allowed))
	return values[0]
}

// alternatives is "a, b or c".
func alternatives(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// Lines returns the lines of an input that are not empty, without the white space
// around them.
func (i *Inputs) Lines(name string) []string {
	var lines []string
	for _, line := range splitLines(i.raw(name)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Int returns an input that is a number of decimal digits and fits into 63 bits. Empty
// is 0.
func (i *Inputs) Int(name string) int64 {
	value := i.String(name)
	if value == "" {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		i.wrong(name, value, "a whole number, 0 or more", "")
	}
	return int64(n)
}

// Reject adds a mistake that only the caller can see: a path that leads out of the
// workspace. want completes "it has to be".
func (i *Inputs) Reject(name, want string) { i.wrong(name, i.String(name), want, "") }

// wrong adds a mistake. A masked value is not kept in it.
func (i *Inputs) wrong(name, value, want, hint string) {
	i.workflow.mu.Lock()
	defer i.workflow.mu.Unlock()
	i.mistakes = append(i.mistakes, &InputError{Name: name, Value: i.workflow.secrets.redact(value), Want: want, Hint: hint})
}

// Err returns all mistakes as InputErrors, nil if there are none.
func (i *Inputs) Err() error {
	if len(i.mistakes) == 0 {
		return nil
	}
	return slices.Clone(i.mistakes)
}

// nearest is the candidate with the fewest letters to change, "" if that is more than
// one in three.
func nearest(name string, candidates []string) string {
	best, fewest := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if d := spelling.Distance(name, c); d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

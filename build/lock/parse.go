package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/BurntSushi/toml"

	"github.com/volant/fledge-action/build/config"
)

// header begins every lock.
const header = `# What the names in fledge.toml stand for: every build takes exactly these inputs.
# Made by "fledge lock". Commit this file, and do not edit it: "fledge lock --update"
# renews all pins, "fledge lock --update image" one of them.
`

// A ConflictError is a lock in which git has left the two sides of a merge.
type ConflictError struct{ At *config.Error }

func (e *ConflictError) Error() string { return e.At.Error() }

// Unwrap gives the error's place.
func (e *ConflictError) Unwrap() error { return e.At }

// Load reads the lock at path. It returns nil when there is none.
func Load(path string) (*Lock, error) {
	text, err := config.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading lock: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a lock. file names it in messages.
func Parse(file string, text []byte) (*Lock, error) {
	if line := conflict(text); line > 0 {
		return nil, &ConflictError{&config.Error{
			File: file, Line: line, Column: 1,
			Message: "the two sides of a merge are still here: run 'fledge lock', which makes the pins anew, and commit the file",
		}}
	}
	l := &Lock{File: file}
	places, err := config.Decode(file, text, l)
	l.places = places
	if l.Version > Version {
		// Its other keys may be of any kind.
		return nil, config.Errors{l.Errorf("version", "the lock has version %d and this fledge reads version %d: use the fledge that wrote it, or a newer one", l.Version, Version)}
	}
	if err != nil {
		return nil, err
	}
	if errs := l.check(); len(errs) > 0 {
		return nil, errs
	}
	return l, nil
}

// conflict finds the line, from 1, at which git marks the first side of a merge;
// 0 if there is none. No line of TOML begins like that outside a string of
// several lines, which no lock has.
func conflict(text []byte) int {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		for _, mark := range []string{"<<<<<<< ", "||||||| ", ">>>>>>> "} {
			if bytes.HasPrefix(line, []byte(mark)) {
				return number
			}
		}
	}
	return 0
}

// check applies the rules between keys.
func (l *Lock) check() config.Errors {
	var errs config.Errors
	fail := func(key, format string, args ...any) { errs = append(errs, l.Errorf(key, format, args...)) }
	if i := l.Image; i != nil {
		switch {
		case (i.Manifest == "") == (i.Config == ""):
			fail(ImageName, `[image] needs "manifest" or "config", and not both`)
		case i.Index != "" && i.Manifest == "":
			fail("image.index", `"image.index" needs "image.manifest" beside it`)
		}
	}
	if a := l.Agent; a != nil {
		release := a.Strategy == config.AgentRelease
		for _, k := range []struct {
			name, value     string
			ofRelease, must bool
		}{{"version", a.Version, true, true}, {"release", a.Release, true, true}, {"url", a.URL, true, false}, {"path", a.Path, false, true}} {
			switch key := "agent." + k.name; {
			case k.value != "" && k.ofRelease != release:
				fail(key, "%q has no meaning with strategy = %q", key, a.Strategy)
			case k.value == "" && k.must && k.ofRelease == release:
				fail(AgentName, "missing key %q: strategy = %q needs it", key, a.Strategy)
			}
		}
	}
	return errs
}

// Encode writes the lock in its one form.
func (l *Lock) Encode() ([]byte, error) {
	b := bytes.NewBufferString(header)
	e := toml.NewEncoder(b)
	e.Indent = ""
	if err := e.Encode(l); err != nil {
		return nil, fmt.Errorf("encoding lock: %w", err)
	}
	return b.Bytes(), nil
}

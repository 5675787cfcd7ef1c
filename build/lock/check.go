package lock

import (
	"fmt"
	"path/filepath"

	"github.com/volant/fledge-action/build/config"
)

// A Finding is an input that a lock does not pin as fledge.toml has it.
type Finding struct {
	Name string // one of Names
	// Stale says how the pin does not fit, "" if there is none. Key is where in the
	// lock that is to be seen.
	Stale string
	Key   string
}

// Check compares a lock, which may be nil, with what has to be pinned: a lock that
// says what each pin is for, and of the agent the SHA256 it must have, if fledge.toml
// says so. It returns the pins that hold, in a lock of the same file, and what is
// left open.
func (l *Lock) Check(want *Lock) (holds *Lock, open []Finding) {
	holds = &Lock{Version: Version}
	if l != nil {
		holds.File, holds.places = l.File, l.places
	}
	for _, name := range Names {
		if !want.Pins(name) {
			continue
		}
		f := Finding{Name: name}
		if l.Pins(name) {
			f.Key, f.Stale = l.stale(want, name)
			if f.Stale == "" {
				holds.take(l, name)
				continue
			}
		}
		open = append(open, f)
	}
	return holds, open
}

// Unused are the names of pins that want does not ask for.
func (l *Lock) Unused(want *Lock) []string {
	var names []string
	for _, name := range Names {
		if l.Pins(name) && !want.Pins(name) {
			names = append(names, name)
		}
	}
	return names
}

// take shares a pin of another lock.
func (l *Lock) take(from *Lock, name string) {
	switch name {
	case ImageName:
		l.Image = from.Image
	case AgentName:
		l.Agent = from.Agent
	case BusyboxName:
		l.Busybox = from.Busybox
	}
}

// stale finds the first word of fledge.toml that a pin is not for any more.
func (l *Lock) stale(want *Lock, name string) (key, why string) {
	type word struct{ key, have, want string }
	var words []word
	switch name {
	case ImageName:
		have, want := l.Image, want.Image
		words = []word{{"reference", have.Reference, want.Reference}, {"platform", have.Platform, want.Platform}}
	case AgentName:
		have, want := l.Agent, want.Agent
		words = []word{
			{"strategy", have.Strategy, want.Strategy},
			{"version", have.Version, want.Version},
			{"path", have.Path, want.Path},
			{"architecture", have.Architecture, want.Architecture},
		}
		if want.SHA256 != "" {
			words = append(words, word{"sha256", have.SHA256, want.SHA256})
		}
	case BusyboxName:
		words = []word{{"architecture", l.Busybox.Architecture, want.Busybox.Architecture}}
	}
	for _, w := range words {
		if w.have != w.want {
			return name + "." + w.key, fmt.Sprintf("it is for %s %q, and fledge.toml has %q", w.key, w.have, w.want)
		}
	}
	return "", ""
}

// Describe says which input is not pinned. l is the lock, or nil, and at the place
// in fledge.toml; a stale pin has its place in the lock.
func (f Finding) Describe(l *Lock, what string, at *config.Error) *config.Error {
	e := *at
	switch {
	case l == nil:
		e.Message = fmt.Sprintf("%s is not pinned, and there is no lock", what)
	case f.Stale == "":
		e.Message = fmt.Sprintf("%s does not pin %s", l.name(), what)
	default:
		e.Message = fmt.Sprintf("%s has a stale pin of %s: %s", l.name(), what, f.Stale)
		if l.File != "" {
			place := l.Errorf(f.Key, "")
			e.File, e.Line, e.Column = place.File, place.Line, place.Column
		}
	}
	return &e
}

// name is what messages call the lock.
func (l *Lock) name() string {
	if l.File == "" {
		return "the lock"
	}
	return filepath.Base(l.File)
}

package lock

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/build/config"
)

// Version is the format's.
const Version = 1

// The names of what can be pinned, which are those of the tables.
const (
	ImageName   = "image"
	AgentName   = "agent"
	BusyboxName = "busybox"
)

// Names are all of them, in the order of the file.
var Names = []string{ImageName, AgentName, BusyboxName}

// A Lock is what a fledge.lock says. Its zero value but for the version pins
// nothing.
type Lock struct {
	Version int      `toml:"version" json:"version" required:"true" min:"1" max:"1000000"`
	Image   *Image   `toml:"image,omitempty" json:"image,omitempty"`
	Agent   *Agent   `toml:"agent,omitempty" json:"agent,omitempty"`
	Busybox *Busybox `toml:"busybox,omitempty" json:"busybox,omitempty"`

	File string `toml:"-" json:"-"` // for messages; "" when it was not read from a file

	places config.Places
}

// Image pins an image. Reference and Platform are what it is for.
type Image struct {
	Reference string `toml:"reference" json:"reference" required:"true" format:"image"`
	Platform  string `toml:"platform" json:"platform" required:"true" format:"platform"`
	// Index is what the reference stands for when that is an index, Manifest the
	// platform's image manifest.
	Index    string `toml:"index,omitempty" json:"index,omitempty" format:"digest"`
	Manifest string `toml:"manifest,omitempty" json:"manifest,omitempty" format:"digest"`
	// Config is the digest of the image's config, which names the digests of all
	// layers. It is for images without a manifest: those of docker save.
	Config string `toml:"config,omitempty" json:"config,omitempty" format:"digest"`
}

// Root is the digest that the reference stands for, "" for an image without one.
func (i *Image) Root() string {
	if i.Index != "" {
		return i.Index
	}
	return i.Manifest
}

// Agent pins the agent. Strategy, Version, Path and Architecture are what it is for.
type Agent struct {
	Strategy     string `toml:"strategy" json:"strategy" required:"true" enum:"release,local"`
	Version      string `toml:"version,omitempty" json:"version,omitempty" format:"version"` // with release: as fledge.toml asks
	Path         string `toml:"path,omitempty" json:"path,omitempty"`                        // with local
	Architecture string `toml:"architecture" json:"architecture" required:"true" format:"name"`
	Release      string `toml:"release,omitempty" json:"release,omitempty" format:"tag"` // the tag
	URL          string `toml:"url,omitempty" json:"url,omitempty" format:"http-url"`    // of the release's file, for people
	SHA256       string `toml:"sha256" json:"sha256" required:"true" format:"hex-sha256"`
}

// Busybox pins the default busybox. Architecture is what it is for.
type Busybox struct {
	Architecture string `toml:"architecture" json:"architecture" required:"true" format:"name"`
	URL          string `toml:"url" json:"url" required:"true" format:"http-url"`
	SHA256       string `toml:"sha256" json:"sha256" required:"true" format:"hex-sha256"`
}

// PathFor is where the lock of a configuration is: beside it, with the suffix
// .lock in place of .toml.
func PathFor(configFile string) string {
	dir, base := filepath.Split(configFile)
	return filepath.Join(dir, strings.TrimSuffix(base, ".toml")+".lock")
}

// Errorf makes an error at the place of a key of the lock.
func (l *Lock) Errorf(key, format string, args ...any) *config.Error {
	e := &config.Error{File: l.File, Key: key, Message: fmt.Sprintf(format, args...)}
	if l.File != "" {
		p := l.places.Of(key)
		e.Line, e.Column = p.Line, p.Column
	}
	return e
}

// Pins tells whether the lock has a pin of that name. A nil lock has none.
func (l *Lock) Pins(name string) bool { return l.pin(name) != "" }

// pin shows a pin, "" if there is none.
func (l *Lock) pin(name string) string {
	switch {
	case l == nil:
	case name == ImageName && l.Image != nil:
		i := l.Image
		text := fmt.Sprintf("%s (%s)", i.Reference, i.Platform)
		for _, d := range []struct{ what, digest string }{{"index", i.Index}, {"manifest", i.Manifest}, {"config", i.Config}} {
			if d.digest != "" {
				text += " " + d.what + " " + d.digest
			}
		}
		return text
	case name == AgentName && l.Agent != nil:
		a := l.Agent
		what := a.Path
		if a.Strategy == config.AgentRelease {
			what = "release " + a.Release
			if a.Version != a.Release {
				what += " for " + a.Version
			}
		}
		return fmt.Sprintf("%s (%s) sha256:%s", what, a.Architecture, a.SHA256)
	case name == BusyboxName && l.Busybox != nil:
		b := l.Busybox
		return fmt.Sprintf("%s (%s) sha256:%s", b.URL, b.Architecture, b.SHA256)
	}
	return ""
}

// A Change is one pin of two locks that differ in it.
type Change struct {
	Name string `json:"name"`
	Old  string `json:"old"` // "" if there was none
	New  string `json:"new"` // "" if there is none any more
}

// Changes compares two locks, each of which may be nil. Its order is that of Names.
func Changes(before, after *Lock) []Change {
	var all []Change
	for _, name := range Names {
		c := Change{Name: name, Old: before.pin(name), New: after.pin(name)}
		if c.Old != c.New || !samePin(before, after, name) {
			all = append(all, c)
		}
	}
	return all
}

// samePin compares all of a pin that both locks have or lack.
func samePin(a, b *Lock, name string) bool {
	switch {
	case !a.Pins(name):
		return true
	case name == ImageName:
		return *a.Image == *b.Image
	case name == AgentName:
		return *a.Agent == *b.Agent
	}
	return *a.Busybox == *b.Busybox
}

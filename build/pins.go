package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/image"
	"github.com/volant/fledge-action/build/lock"
)

// Unpinned says what a configuration leaves open for a lock: a lock whose pins say
// what they would be for. Not among them is what fledge.toml pins by digest itself,
// and what is a file of the project that every checkout has.
func Unpinned(c *config.Config) (*lock.Lock, error) {
	want := &lock.Lock{Version: lock.Version}
	platform, err := image.ParsePlatform(c.Source.Platform)
	if err != nil {
		return nil, c.Errorf("source.platform", "%v", err)
	}
	if c.Source.Image != "" {
		r, err := image.Parse(c.Source.Image)
		if err != nil {
			return nil, c.Errorf("source.image", "%v", err)
		}
		if !r.Pinned() {
			want.Image = &lock.Image{Reference: c.Source.Image, Platform: platform.String()}
		}
	}
	want.Agent = unpinnedAgent(c.Agent, platform.Architecture)
	// A busybox of the author's own always comes with its sum.
	if s := c.Source; c.Strategy == config.Initramfs && s.Busybox && s.BusyboxURL == "" && s.BusyboxSHA256 == "" {
		want.Busybox = &lock.Busybox{Architecture: platform.Architecture}
	}
	return want, nil
}

func unpinnedAgent(a config.Agent, arch string) *lock.Agent {
	sum := strings.TrimPrefix(a.Checksum, "sha256:")
	switch {
	case a.SourceStrategy == config.AgentRelease && (sum == "" || a.Version == "latest"):
		return &lock.Agent{Strategy: a.SourceStrategy, Version: a.Version, Architecture: arch, SHA256: sum}
	case a.SourceStrategy == config.AgentLocal && sum == "":
		return &lock.Agent{Strategy: a.SourceStrategy, Path: a.Path, Architecture: arch}
	}
	return nil // a URL always has a checksum
}

// lockFile is what the configuration's lock is called.
func lockFile(c *config.Config) string { return filepath.Base(lock.PathFor(c.File)) }

// lockKeys are where fledge.toml says what a pin is for.
var lockKeys = map[string]string{
	lock.ImageName: "source.image", lock.AgentName: "agent", lock.BusyboxName: "source",
}

// describeInput names an input for messages.
func describeInput(name string, want *lock.Lock) string {
	switch {
	case name == lock.ImageName:
		return fmt.Sprintf("the image %q", want.Image.Reference)
	case name == lock.BusyboxName:
		return "busybox"
	case want.Agent.Strategy == config.AgentLocal:
		return fmt.Sprintf("the agent %q", want.Agent.Path)
	}
	return fmt.Sprintf("the agent (release %q)", want.Agent.Version)
}

// LockProblems are the inputs that a lock, which may be nil, does not pin as the
// configuration has them, each with its place; and the pins of the lock that the
// configuration has no use for.
func LockProblems(c *config.Config, l *lock.Lock) (config.Errors, error) {
	want, err := Unpinned(c)
	if err != nil {
		return nil, err
	}
	var all config.Errors
	_, open := l.Check(want)
	for _, f := range open {
		all = append(all, f.Describe(l, describeInput(f.Name, want), c.Errorf(lockKeys[f.Name], "")))
	}
	for _, name := range l.Unused(want) {
		all = append(all, l.Errorf(name, "a pin of %s that fledge.toml has no use for", name))
	}
	return all, nil
}

// checkLock finds the pins that hold. What is left open is an error of a locked
// build, and else a warning when there is a lock, or ought to be one.
func (b *builder) checkLock() error {
	want, err := Unpinned(b.Config)
	if err != nil {
		return err
	}
	var open []lock.Finding
	b.pins, open = b.Lock.Check(want)
	var missing config.Errors
	var names []string
	for _, f := range open {
		what := describeInput(f.Name, want)
		e := f.Describe(b.Lock, what, b.Config.Errorf(lockKeys[f.Name], ""))
		switch {
		case b.Locked:
			e.Message += fmt.Sprintf(": run 'fledge lock --update %s' and commit %s", f.Name, lockFile(b.Config))
			missing = append(missing, e)
		case b.Lock != nil:
			e.Message += ": run 'fledge lock'"
			b.warn(e.Error())
		}
		names = append(names, what)
		b.unpinned = append(b.unpinned, f.Name)
	}
	if missing != nil {
		return missing
	}
	if b.Release && names != nil {
		b.warn(fmt.Sprintf("a release is built from inputs that may change: %s; run 'fledge lock' and commit %s", strings.Join(names, ", "), lockFile(b.Config)))
	}
	return nil
}

// pinOfImage is what the lock says of the image.
func (b *builder) pinOfImage() image.Pin {
	p := b.pins.Image
	if p == nil {
		return image.Pin{}
	}
	return image.Pin{Digest: p.Root(), Manifest: p.Manifest, Config: p.Config}
}

// explainPin adds to an error of a pinned input where the pin is and how it is
// renewed, if that can be the reason.
func (b *builder) explainPin(name string, err error) error {
	if err == nil || !b.pins.Pins(name) {
		return err
	}
	for _, reason := range []error{image.ErrNotFound, image.ErrPlatform, image.ErrPin, guest.ErrChanged, guest.ErrNoTag} {
		if errors.Is(err, reason) {
			return fmt.Errorf("%w (%s; run 'fledge lock --update %s' to pin what is there now)", err, b.pins.Errorf(name, "pinned by the lock"), name)
		}
	}
	return err
}

// agentRequest is what is asked for: the pin, or what fledge.toml says.
func (b *builder) agentRequest(arch string) guest.Request {
	a := b.Config.Agent
	r := guest.Request{
		Strategy: guest.Strategy(a.SourceStrategy), Version: a.Version, Path: a.Path, URL: a.URL,
		SHA256: a.Checksum, Arch: arch, BaseURL: a.BaseURL, Token: b.Token, Root: b.root, Fetch: b.fetcher(), Prove: b.ProveAgent,
	}
	if p := b.pins.Agent; p != nil {
		r.Version, r.SHA256, r.Pinned = p.Release, p.SHA256, "the lock's agent.sha256"
	}
	return r
}

// busyboxRequest is that of busybox.
func (b *builder) busyboxRequest(arch string) guest.BusyboxRequest {
	s := b.Config.Source
	r := guest.BusyboxRequest{
		URL: s.BusyboxURL, SHA256: s.BusyboxSHA256, Mirrors: s.BusyboxMirrors, Arch: arch, Root: b.root, Fetch: b.fetcher(),
	}
	if p := b.pins.Busybox; p != nil {
		r.URL, r.SHA256, r.Pinned = p.URL, p.SHA256, "the lock's busybox.sha256"
	}
	return r
}

// RecordedLock makes the lock with which a build takes again what an earlier one has
// read: the Materials of its Result, from wherever they were kept. A record that lacks
// something that c leaves open, or that has malformed digests, is an error.
func RecordedLock(c *config.Config, record []Material) (*lock.Lock, error) {
	l, err := Unpinned(c)
	if err != nil {
		return nil, err
	}
	read := map[string]Material{}
	for _, m := range record {
		if _, twice := read[m.Name]; !twice {
			read[m.Name] = m
		}
	}
	if i := l.Image; i != nil {
		if i.Manifest, i.Index = read["image"].Digest, read["image index"].Digest; i.Manifest == "" {
			i.Config = read["image config"].Digest
		}
	}
	if a, m := l.Agent, read["agent"]; a != nil {
		a.SHA256 = strings.TrimPrefix(m.Digest, "sha256:")
		if a.Strategy == config.AgentRelease {
			a.Release, a.URL = m.Version, m.URI
		}
	}
	if b, m := l.Busybox, read["busybox"]; b != nil {
		b.URL, b.SHA256 = m.URI, strings.TrimPrefix(m.Digest, "sha256:")
	}
	text, err := l.Encode()
	if err != nil {
		return nil, err
	}
	if l, err = lock.Parse("", text); err != nil {
		return nil, fmt.Errorf("making a lock of a recorded build: %w", err)
	}
	return l, nil
}

// ResolveLock makes the lock of a configuration: the pins of r.Lock that hold and
// are not among renew, and for everything else that the configuration leaves open
// what it stands for now. Nothing is written.
func ResolveLock(ctx context.Context, r Request, renew []string) (*lock.Lock, error) {
	want, err := Unpinned(r.Config)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(r.Config.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the project folder: %w", err)
	}
	defer root.Close()
	b := &builder{Request: r, root: root, pins: &lock.Lock{}}
	made, _ := r.Lock.Check(want)
	for _, pin := range []struct {
		name string
		make func(context.Context, *lock.Lock, *lock.Lock) error
	}{{lock.ImageName, b.pinImage}, {lock.AgentName, b.pinAgent}, {lock.BusyboxName, b.pinBusybox}} {
		if !want.Pins(pin.name) || made.Pins(pin.name) && !slices.Contains(renew, pin.name) {
			continue
		}
		if err := pin.make(ctx, want, made); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (b *builder) pinImage(ctx context.Context, want, made *lock.Lock) error {
	if err := b.openImage(ctx); err != nil {
		return err
	}
	im := b.image
	b.image = nil
	pin := *want.Image
	switch pin.Manifest = im.ManifestDigest; {
	case pin.Manifest == "":
		pin.Config = im.ConfigDigest
	case im.Digest != im.ManifestDigest:
		pin.Index = im.Digest
	}
	made.Image = &pin
	return im.Close()
}

func (b *builder) pinAgent(ctx context.Context, want, made *lock.Lock) error {
	if err := b.gatherAgent(ctx); err != nil {
		return err
	}
	a, pin := b.parts.agent, *want.Agent
	pin.SHA256 = strings.TrimPrefix(a.Digest, "sha256:")
	if pin.Strategy == config.AgentRelease {
		pin.Release, pin.URL = a.Version, a.URI
	}
	made.Agent = &pin
	return nil
}

func (b *builder) pinBusybox(ctx context.Context, want, made *lock.Lock) error {
	if err := b.gatherBusybox(ctx); err != nil {
		return err
	}
	x := b.parts.busybox
	// The file of a mirror is the same; what is written down is the publisher's place.
	made.Busybox = &lock.Busybox{Architecture: want.Busybox.Architecture, URL: guest.PinnedBusyboxURL, SHA256: strings.TrimPrefix(x.Digest, "sha256:")}
	return nil
}

package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/guest/shim"
	"github.com/volant/fledge-action/build/image"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/build/mapping"
	"github.com/volant/fledge-action/build/tree"
)

// parts are what goes into the artifact beside the image and the mapped files,
// all of it verified. What is not wanted is zero.
type parts struct {
	agent   guest.Agent
	busybox guest.Busybox
	init    guest.File // of the project
	shim    []byte     // PID 1 of an initramfs
}

// gather resolves the parts.
func (b *builder) gather(ctx context.Context) error {
	if err := b.gatherAgent(ctx); err != nil {
		return err
	}
	if b.Config.Strategy != config.Initramfs {
		return nil
	}
	if err := b.gatherBusybox(ctx); err != nil {
		return err
	}
	return b.gatherInit(ctx)
}

func (b *builder) fetcher() *fetch.Client {
	return &fetch.Client{HTTP: &http.Client{Transport: b.Transport}, Cache: b.Cache, Policy: b.policy()}
}

// arch is the architecture of what is built.
func (b *builder) arch() (string, error) {
	if b.image != nil {
		return b.image.Platform.Architecture, nil
	}
	p, err := image.ParsePlatform(b.Config.Source.Platform)
	if err != nil {
		return "", b.Config.Errorf("source.platform", "%v", err)
	}
	return p.Architecture, nil
}

func (b *builder) gatherAgent(ctx context.Context) error {
	c := b.Config
	arch, err := b.arch()
	if err != nil {
		return err
	}
	if c.Agent.SourceStrategy != config.AgentNone {
		b.stage("fetching agent (%s)", c.Agent.SourceStrategy)
	}
	b.parts.agent, err = guest.Resolve(ctx, b.agentRequest(arch))
	err = b.explainPin(lock.AgentName, err)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return err
	case c.Agent.SourceStrategy == config.AgentLocal:
		return c.Errorf("agent.path", "%v", err)
	case !c.IsSet("agent"):
		other := `or "none"`
		if c.Strategy == config.Initramfs {
			other = "or an [init] of your own"
		}
		return fmt.Errorf("%w; without an [agent] table the agent comes from Volant's latest release: "+
			"write source_strategy = \"local\" %s to do without the network", err, other)
	default:
		return err
	}
	b.warnAll(b.parts.agent.Warnings)
	return nil
}

func (b *builder) gatherBusybox(ctx context.Context) error {
	s := b.Config.Source
	if !s.Busybox {
		return nil
	}
	arch, err := b.arch()
	if err != nil {
		return err
	}
	b.stage("fetching busybox")
	b.parts.busybox, err = guest.ResolveBusybox(ctx, b.busyboxRequest(arch))
	err = b.explainPin(lock.BusyboxName, err)
	switch {
	case err == nil:
	case ctx.Err() == nil && (errors.Is(err, guest.ErrUnpinned) || s.LocalBusybox()):
		return b.Config.Errorf("source.busybox_url", "%v", err)
	default:
		return err
	}
	b.warnAll(b.parts.busybox.Warnings)
	return nil
}

// gatherInit makes PID 1: the shim, and what it starts.
func (b *builder) gatherInit(ctx context.Context) error {
	init := b.Config.Init
	if init.None {
		return nil
	}
	if b.projectInit() {
		f, err := guest.ReadInit(ctx, b.root, init.Path)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		default:
			return b.Config.Errorf("init.path", "%v", err)
		}
		b.parts.init = f
	}
	arch, err := b.arch()
	if err != nil {
		return err
	}
	b.parts.shim, err = shim.Binary(arch, b.next())
	switch {
	case errors.Is(err, shim.ErrNext):
		return b.Config.Errorf("init.path", "%v", err)
	case err != nil:
		return b.Config.Errorf("source.platform", "%v", err)
	}
	return nil
}

// projectInit tells whether the init is a file of the project.
func (b *builder) projectInit() bool {
	p := b.Config.Init.Path
	return p != "" && !path.IsAbs(p)
}

// next is what fledge's init starts.
func (b *builder) next() string {
	switch p := b.Config.Init.Path; {
	case p == "":
		return guest.AgentPath
	case b.projectInit():
		return config.ProjectInit
	default:
		return path.Clean(p)
	}
}

// install puts the parts into the tree, under what is mapped.
func (b *builder) install(t *tree.Tree) (links *guest.Links, replaced tree.Content, err error) {
	if b.Config.Strategy == config.Initramfs {
		if links, err = b.installBase(t); err != nil {
			return nil, nil, err
		}
	}
	in, err := guest.Install(t, b.parts.agent, b.epoch)
	if err != nil {
		return nil, nil, err
	}
	b.warnAll(in.Warnings)
	if in.Path != "" {
		b.detail("agent at /%s: %s", in.Path, b.parts.agent.Digest)
	}
	return links, in.Replaced, nil
}

// installBase adds what every initramfs has: folders, PID 1, busybox.
func (b *builder) installBase(t *tree.Tree) (*guest.Links, error) {
	if err := guest.Skeleton(t, b.epoch); err != nil {
		return nil, err
	}
	for _, init := range []struct {
		path    string
		content tree.Content
	}{{config.ProjectInit, b.parts.init.Content}, {guest.InitPath, tree.Bytes(b.parts.shim)}} {
		if init.content == nil || init.content.Size() == 0 {
			continue
		}
		warning, err := guest.InstallInit(t, init.path, init.content, b.epoch)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			b.warn(warning)
		}
	}
	// After the init, which a link must not stand for.
	links, err := guest.InstallBusybox(t, b.parts.busybox, b.epoch)
	if err != nil {
		return nil, err
	}
	if links.Len() > 0 {
		b.detail("busybox at /bin/busybox with %d links: %s", links.Len(), b.parts.busybox.Digest)
	}
	return links, nil
}

// materials lists what was read. Their order is fixed.
func (b *builder) materials(mapped mapping.Report) []Material {
	var all []Material
	add := func(name, uri, digest string) {
		if digest != "" {
			all = append(all, Material{Name: name, URI: uri, Digest: digest})
		}
	}
	if im := b.image; im != nil {
		add("image", im.Ref, im.ManifestDigest) // a Docker archive has none
		if im.Digest != im.ManifestDigest {
			add("image index", im.Ref, im.Digest)
		}
		add("image config", im.Ref, im.ConfigDigest)
		for _, l := range im.Layers {
			add("image layer", im.Ref, cmp.Or(l.Digest, l.DiffID))
		}
	}
	p := b.parts
	if p.agent.Digest != "" {
		all = append(all, Material{Name: "agent", URI: p.agent.URI, Digest: p.agent.Digest, Version: p.agent.Version})
	}
	add("busybox", p.busybox.URI, p.busybox.Digest)
	add("init", p.init.URI, p.init.Digest)
	if p.shim != nil {
		arch, _ := b.arch()
		add("init shim", "fledge:shim/"+arch, digestOf(p.shim))
	}
	if len(b.Config.Mappings) > 0 {
		add("mappings", ".", mapped.Digest)
	}
	add("config", filepath.Base(b.Config.File), b.Config.Digest)
	if b.Template != nil {
		add("manifest template", filepath.Base(b.Template.File), b.Template.Digest)
	}
	return all
}

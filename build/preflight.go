package build

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/preflight"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/manifest"
)

// checkGuest refuses what cannot boot and a workload that cannot start: Volant would
// boot the VM and halt it. All reasons are in the error, which is config.Errors.
func (b *builder) checkGuest(ctx context.Context, d *config.Draft, t *tree.Tree) error {
	b.stage("checking that the guest boots")
	g, err := b.guest(d, t)
	if err != nil {
		return err
	}
	found, err := preflight.Check(ctx, g)
	if err != nil {
		return err
	}
	var fatal config.Errors
	for _, f := range found {
		switch e := b.place(d, f); {
		case f.Note:
			b.detail("%s", e.Error())
		case !f.Fatal:
			b.warn(e.Error())
		case b.AllowUnbootable:
			b.warn(e.Error() + " (built all the same: unbootable artifacts are allowed)")
		default:
			fatal = append(fatal, e)
		}
	}
	if len(fatal) == 0 {
		return nil
	}
	slices.SortStableFunc(fatal, func(a, b *config.Error) int { return cmp.Compare(a.Line, b.Line) })
	return fatal
}

// guest describes what is to boot.
func (b *builder) guest(d *config.Draft, t *tree.Tree) (preflight.Guest, error) {
	w := d.Manifest.Workload
	g := preflight.Guest{
		Tree: t, Medium: preflight.Rootfs, Entrypoint: w.Entrypoint, Workdir: w.Workdir, Env: w.Env, Free: b.freeBytes(),
	}
	var err error
	if g.Arch, err = b.arch(); err != nil {
		return g, err
	}
	if b.Config.Strategy == config.Initramfs {
		g.Medium, g.Boot = preflight.Initramfs, b.bootChain()
	}
	return g, nil
}

// bootChain is what runs as process 1 of an initramfs, one after the other.
func (b *builder) bootChain() []string {
	if b.Config.Init.None {
		return []string{guest.InitPath}
	}
	return []string{guest.InitPath, b.next()}
}

// place finds the line that a finding is about.
func (b *builder) place(d *config.Draft, f preflight.Finding) *config.Error {
	if strings.HasPrefix(f.Key, "workload.") {
		return d.Explain(manifest.Problem{Key: f.Key, Message: f.Message, Fix: f.Fix})
	}
	text := f.Message
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return b.Config.Errorf(f.Key, "%s", text)
}

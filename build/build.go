package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/image"
	"github.com/volant/fledge-action/build/layer"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/build/size"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// builder is one build on its way.
type builder struct {
	Request
	root   *os.Root     // the project folder
	image  *image.Image // nil without one
	parts  parts
	pins   *lock.Lock // those of Lock that hold
	epoch  time.Time
	path   string // of the artifact, absolute
	result Result

	unpinned []string // names of package lock
}

// Build makes the artifact and the manifest. A configuration that cannot be built
// is a *config.Error or config.Errors. Most of those come before anything is
// fetched; what only the image's files tell, such as a program that is not
// there, comes later. Nothing is written in either case.
func Build(ctx context.Context, r Request) (*Result, error) {
	b := &builder{Request: r}
	if err := b.check(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(r.Config.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the project folder: %w", err)
	}
	defer root.Close()
	b.root = root
	if err := checkSources(r.Config, root); err != nil {
		return nil, err
	}
	if err := b.checkKernel(ctx); err != nil {
		return nil, err
	}
	warned := len(b.result.Warnings)
	result, err := b.run(ctx)
	for tries := 0; errors.Is(err, cache.ErrCorrupt) && tries < maxCorrupt; tries++ {
		// A blob in the cache turned out to be damaged after its bytes had been
		// used. It is not in the cache any more.
		b.result = Result{Warnings: b.result.Warnings[:warned]}
		b.warn(err.Error() + "; starting over")
		warned++
		result, err = b.run(ctx)
	}
	return result, err
}

// maxCorrupt is how many damaged blobs of the cache a build survives.
const maxCorrupt = 16

// run builds once.
func (b *builder) run(ctx context.Context) (*Result, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if b.image != nil {
		defer b.image.Close()
	}
	return b.build(ctx)
}

// check refuses what this version does not build.
func (b *builder) check() error {
	c := b.Config
	if err := checkReference(c); err != nil {
		return err
	}
	if err := checkOutput(b.Output); err != nil {
		return err
	}
	if err := config.CheckVersion(b.Version); b.Version != "" && err != nil {
		return &config.Error{Key: "plugin-version", Message: "plugin-version " + err.Error()}
	}
	if err := b.checkLock(); err != nil {
		return err
	}
	for _, w := range c.Warnings {
		b.warn(w.Error())
	}
	if c.Strategy == config.OCIRootfs && c.Filesystem.Type == typeSquashfs {
		b.warn(squashfsNeeds)
	}
	if c.ByKernel() {
		b.warn(kernelNeeds(loop.Type(c.Filesystem.Type)))
	}
	if b.Template != nil {
		for _, w := range b.Template.Warnings {
			b.warn(w.Error())
		}
	}
	return nil
}

// checkOutput refuses a path that cannot be the artifact's.
func checkOutput(path string) error {
	switch {
	case path == "":
		return nil
	case filepath.Base(path) == ManifestName:
		return &config.Error{Key: "output", Message: fmt.Sprintf("output %q: that is the manifest's name; choose another", path)}
	}
	return nil
}

// checkReference refuses an image reference that can stand for nothing.
func checkReference(c *config.Config) error {
	if c.Source.Image == "" {
		return nil
	}
	if _, err := image.Parse(c.Source.Image); err != nil {
		return c.Errorf("source.image", "%v", err)
	}
	return nil
}

// open reads what is small: the image's manifest and config, the agent, busybox
// and init. Then everything is known that decides whether the build makes sense.
func (b *builder) open(ctx context.Context) error {
	if err := b.openImage(ctx); err != nil {
		return err
	}
	if b.epoch = b.chooseEpoch(); !b.Epoch.IsZero() {
		b.detail("epoch %s from the caller", b.epoch.Format(time.RFC3339))
	}
	err := b.prepare()
	if err == nil {
		err = b.gather(ctx)
	}
	if err != nil && b.image != nil {
		err = errors.Join(err, b.image.Close())
	}
	return err
}

// openImage reads the image's manifest and config. An initramfs may have none.
func (b *builder) openImage(ctx context.Context) error {
	c := b.Config
	if c.Source.Image == "" {
		return nil
	}
	b.stage("opening image %s", c.Source.Image)
	im, err := image.Open(ctx, c.Source.Image, image.Options{
		Dir: c.Dir, Pin: b.pinOfImage(), Platform: c.Source.Platform, PlainHTTP: c.Source.PlainHTTP,
		Keychain: b.Keychain, Transport: b.Transport, Cache: b.Cache, TempDir: b.TempDir, DockerHost: b.DockerHost, Policy: b.policy(),
	})
	b.image = im
	return b.explainPin(lock.ImageName, err)
}

// policy tells of every failure that is tried again.
func (b *builder) policy() fetch.Policy {
	return fetch.Policy{Warn: func(err error) { b.event(Event{Kind: Warning, Message: err.Error()}) }}
}

func (b *builder) chooseEpoch() time.Time {
	var created time.Time
	if b.image != nil {
		created = b.image.Config.Created
	}
	switch {
	case !b.Epoch.IsZero():
		return b.Epoch.UTC().Truncate(time.Second)
	case created.Unix() > 0 && created.Year() < 2200: // anything else is no time of creation
		return created.UTC().Truncate(time.Second)
	}
	return DefaultEpoch
}

// build does the work: layers, guest parts and mappings into a tree whose contents
// the medium has stored, then the artifact, then the manifest.
func (b *builder) build(ctx context.Context) (*Result, error) {
	if err := b.guard(); err != nil {
		return nil, err
	}
	out, err := outfile.Create(b.path)
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	mf, err := outfile.Create(b.manifestPath())
	if err != nil {
		return nil, err
	}
	defer mf.Abort()
	m, err := b.medium(out)
	if err != nil {
		return nil, err
	}
	defer m.Close()

	t, err := b.flatten(ctx, m)
	if err != nil {
		return nil, err
	}
	mapped, err := b.addFiles(ctx, m, t)
	if err != nil {
		return nil, err
	}
	d, err := b.draft(t)
	if err != nil {
		return nil, err
	}
	if err := b.checkGuest(ctx, d, t); err != nil {
		return nil, err
	}
	if b.result.Size, err = size.Measure(ctx, t); err != nil {
		return nil, err
	}
	artifact, err := m.write(ctx, t, mapped.Digest)
	if err != nil {
		return nil, err
	}
	if err := b.digestContent(ctx, t, artifact.Format); err != nil {
		return nil, err
	}
	if err := b.writeManifest(d, artifact.Digest, mf); err != nil {
		return nil, err
	}
	if err := b.listSoftware(ctx, t, d, artifact, mapped); err != nil {
		return nil, err
	}
	b.checkStale(artifact)
	r := &b.result
	r.Artifact, r.Materials = artifact, b.materials(mapped)
	r.Size.Artifact, r.Size.Download = artifact.Size, artifact.Size
	if r.Filesystem != nil {
		r.Size.Empty = r.Filesystem.Free
	}
	if r.Kernel != nil {
		r.Size.Empty = r.Kernel.Free
	}
	r.ManifestPath = b.manifestPath()
	r.Manifest, r.Epoch, r.Platform, r.Tree, r.Unpinned = d.Manifest, b.epoch, b.platform(), t, b.unpinned
	if b.Confirm != nil {
		if err := b.Confirm(ctx, r, out.File); err != nil {
			return nil, err
		}
	}
	if err := b.commit(ctx, out, mf); err != nil {
		return nil, err
	}
	return r, nil
}

// writeManifest completes the manifest, checks it and writes it.
func (b *builder) writeManifest(d *config.Draft, digest string, w io.Writer) error {
	b.describe(d, digest)
	warnings, err := d.Check()
	if err != nil {
		return err
	}
	for _, w := range append(d.Warnings, warnings...) {
		if !b.warned(w) {
			b.warn(w.Error())
		}
	}
	text, err := d.Manifest.Encode()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("writing %s: %w", ManifestName, err)
	}
	return nil
}

// flatten reads the image's layers into a tree; without an image it is empty.
func (b *builder) flatten(ctx context.Context, sink layer.Sink) (*tree.Tree, error) {
	if b.image == nil {
		t := tree.New()
		t.Root().ModTime = b.epoch
		return t, nil
	}
	b.stage("reading layers of %s (%d)", b.image.Platform, len(b.image.Layers))
	var read atomic.Int64
	total := int64(0)
	for _, l := range b.image.Layers {
		total += l.Size
	}
	sources := make([]layer.Source, len(b.image.Layers))
	for i, l := range b.image.Layers {
		l.Progress = func(n int) { b.event(Event{Kind: Progress, Done: read.Add(int64(n)), Total: total}) }
		name := l.Digest
		if name == "" {
			name = l.DiffID
		}
		sources[i] = layer.Source{Digest: name, Open: func(ctx context.Context) (io.ReadCloser, error) {
			b.detail("layer %d of %d: %s, %d bytes", i+1, len(b.image.Layers), name, l.Size)
			return l.Open(ctx)
		}}
	}
	return layer.Flatten(ctx, sources, sink, layer.Options{Epoch: b.epoch})
}

func (b *builder) event(e Event) {
	if b.Report != nil {
		b.Report(e)
	}
}

func (b *builder) stage(format string, args ...any) {
	b.event(Event{Kind: StageBegins, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) detail(format string, args ...any) {
	b.event(Event{Kind: Detail, Message: fmt.Sprintf(format, args...)})
}

// warned tells whether the file that a warning points to had the same one when it
// was read.
func (b *builder) warned(w *config.Error) bool {
	earlier := b.Config.Warnings
	if b.Template != nil {
		earlier = append(earlier[:len(earlier):len(earlier)], b.Template.Warnings...)
	}
	return slices.ContainsFunc(earlier, func(e *config.Error) bool {
		return w.Line > 0 && e.File == w.File && e.Line == w.Line && e.Column == w.Column && e.Key == w.Key
	})
}

func (b *builder) warn(message string) {
	b.result.Warnings = append(b.result.Warnings, message)
	b.event(Event{Kind: Warning, Message: message})
}

func (b *builder) warnAll(messages []string) {
	for _, m := range messages {
		b.warn(m)
	}
}

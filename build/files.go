package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/build/mapping"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/outfile"
)

// addFiles puts the guest's parts and the mapped files into the tree.
func (b *builder) addFiles(ctx context.Context, m medium, t *tree.Tree) (mapping.Report, error) {
	b.stage("adding %s", b.additions())
	links, replaced, err := b.install(t)
	if err != nil {
		return mapping.Report{}, err
	}
	report, err := b.addMappings(ctx, m, t)
	if err != nil {
		return mapping.Report{}, err
	}
	if links != nil {
		warning, err := links.Yield()
		if err != nil {
			return mapping.Report{}, err
		}
		if warning != "" {
			b.warn(warning)
		}
	}
	for _, c := range append(report.Replaced, replaced) {
		// The agent's bytes are not in the artifact yet; a mapping that takes its name
		// leaves nothing to give back.
		if c == nil || c == b.parts.agent.Content {
			continue
		}
		if err := m.Discard(c); err != nil {
			return mapping.Report{}, err
		}
	}
	return report, nil
}

func (b *builder) addMappings(ctx context.Context, m medium, t *tree.Tree) (mapping.Report, error) {
	skip, prefixes := b.ownOutputs()
	report, err := mapping.Apply(ctx, t, b.root, mappings(b.Config), mapping.Options{
		ModTime: b.epoch, Sink: m, Programs: b.firstPrograms(), Reserved: reserved(b.Config), Skip: skip, SkipPrefixes: prefixes,
	})
	if err != nil {
		return mapping.Report{}, placed(b.Config, err)
	}
	for _, f := range report.Files {
		b.detail("%s → /%s %04o %d bytes", f.Source, f.Dest, f.Mode.Perm(), f.Size)
	}
	for _, warning := range report.Warnings {
		b.warn(warning.String())
	}
	return report, nil
}

// firstPrograms are the names of an initramfs that the kernel and fledge's init
// start: what is mapped there is executable.
func (b *builder) firstPrograms() []string {
	switch init := b.Config.Init; {
	case b.Config.Strategy != config.Initramfs:
		return nil
	case init.None:
		return []string{strings.TrimPrefix(guest.InitPath, "/")}
	case path.IsAbs(init.Path):
		return []string{strings.TrimPrefix(path.Clean(init.Path), "/")}
	}
	return nil
}

// reserved are the names of fledge's own that no mapping may take.
func reserved(c *config.Config) map[string]string {
	names := map[string]string{}
	for name, why := range c.Reserved() {
		names[strings.TrimPrefix(name, "/")] = why
	}
	return names
}

// additions says what is added to the image's files, or makes up the artifact.
func (b *builder) additions() string {
	files := fmt.Sprintf("%d mappings", len(b.Config.Mappings))
	if len(b.Config.Mappings) == 1 {
		files = "1 mapping"
	}
	if b.parts.agent.Content != nil {
		files = "agent and " + files
	}
	if b.Config.Strategy == config.Initramfs {
		files = "base, " + files
	}
	return files
}

// placed gives errors of mappings their places in fledge.toml. Other errors stay
// as they are.
func placed(c *config.Config, err error) error {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var all config.Errors
	for _, err := range list.Unwrap() {
		var wrong *mapping.Error
		if !errors.As(err, &wrong) {
			return err
		}
		e := &config.Error{File: c.File, Key: "mappings", Message: err.Error()}
		for _, m := range c.Mappings {
			if m.Source == wrong.Mapping.Source && m.Dest == wrong.Mapping.Dest {
				e.Line, e.Column = m.Line, m.Column
			}
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b *config.Error) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

func mappings(c *config.Config) []mapping.Mapping {
	ms := make([]mapping.Mapping, len(c.Mappings))
	for i, m := range c.Mappings {
		ms[i] = mapping.Mapping{Source: m.Source, Dest: m.Dest}
	}
	return ms
}

// ownOutputs are the paths of the artifact and the manifest below the project
// folder, and how their names begin before they are complete: a mapped folder must
// not take in what this build or an earlier one leaves there. The same goes for the
// lock, with which a build makes the same bytes as without.
func (b *builder) ownOutputs() (names, prefixes []string) {
	dir := b.Config.Dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(b.WorkDir, dir)
	}
	below := func(path string) []string {
		rel, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(rel) {
			return nil
		}
		return []string{filepath.ToSlash(rel)}
	}
	own := []string{b.path, b.manifestPath()}
	if file := b.Config.File; file != "" {
		own = append(own, lock.PathFor(filepath.Join(dir, filepath.Base(file))))
	}
	for _, path := range own {
		names = append(names, below(path)...)
		prefixes = append(prefixes, below(outfile.TempPrefix(path))...)
	}
	return names, prefixes
}

func (b *builder) manifestPath() string { return filepath.Join(filepath.Dir(b.path), ManifestName) }

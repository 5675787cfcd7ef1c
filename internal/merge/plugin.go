package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/release"
	"github.com/volant/fledge-action/manifest"
)

// A plugin is one that has been verified.
type plugin struct {
	Plugin
	sources  []source // of Files, in their order
	warnings []string
}

// A source is a file in the folder of a plugin, as it was when it was hashed.
type source struct {
	name string
	info os.FileInfo
}

// reader reads one folder.
type reader struct {
	root    *os.Root
	entries []fs.DirEntry
	m       *manifest.Manifest
	p       *plugin
}

// read verifies the plugin in a folder.
func read(ctx context.Context, folder string) (*plugin, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &reader{root: root, p: &plugin{Plugin: Plugin{Folder: folder}}}
	if r.entries, err = list(root, "."); err != nil {
		return nil, err
	}
	if err := r.manifest(); err != nil {
		return nil, err
	}
	artifact, err := r.artifact()
	if err != nil {
		return nil, err
	}
	if err := r.take(ctx, artifact); err != nil {
		return nil, err
	}
	if err := r.checkChecksum(); err != nil {
		return nil, err
	}
	for _, check := range []func() error{r.checkSBOM, r.checkRecord, r.checkBundles} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if err := r.checkSums(ctx); err != nil {
		return nil, err
	}
	r.nameOthers()
	return r.p, nil
}

func (r *reader) has(name string) bool {
	return slices.ContainsFunc(r.entries, func(e fs.DirEntry) bool { return e.Name() == name })
}

// manifest reads manifest.json.
func (r *reader) manifest() error {
	data, err := r.bytes(build.ManifestName, manifest.MaxSize)
	if err != nil {
		return err
	}
	if r.m, err = manifest.Decode(bytes.NewReader(data)); err != nil {
		return fmt.Errorf("%s: %w", build.ManifestName, err)
	}
	for _, p := range r.m.Validate() {
		if !p.Warning {
			return fmt.Errorf("%s: Volant would refuse it: %s", build.ManifestName, p)
		}
	}
	r.p.Name, r.p.Version = r.m.Name, r.m.Version
	r.p.URL, _ = r.m.Artifact()
	return nil
}

// artifact tells which file is the artifact: the one that the manifest's url names,
// else the only one with the name of one.
func (r *reader) artifact() (string, error) {
	if name := path.Base(r.p.URL); r.has(name) && !strings.HasSuffix(name, ".json") && name != build.SumsName {
		return name, nil
	}
	var found []string
	for _, e := range r.entries {
		if build.Stem(e.Name()) != e.Name() {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("the artifact is not there: %s says %q; build it again", build.ManifestName, r.p.URL)
	}
	return "", fmt.Errorf("%s could each be the artifact, and %s says %q; give each plugin a folder of its own", shown(strings.Join(found, ", ")), build.ManifestName, r.p.URL)
}

// take hashes the files of the plugin.
func (r *reader) take(ctx context.Context, artifact string) error {
	stem := build.Stem(artifact)
	files := []File{{Name: artifact, Role: Artifact}, {Name: build.ManifestName, Role: Manifest}}
	for _, f := range sbom.Formats {
		files = append(files, File{Name: build.SBOMPath(artifact, f), Role: SBOM})
	}
	files = append(files, File{Name: stem + build.RecordSuffix, Role: Record})
	for _, name := range bundleNames(artifact) {
		files = append(files, File{Name: name, Role: Bundle})
	}
	for _, f := range files {
		if !r.has(f.Name) {
			continue
		}
		sub, info, err := r.hash(ctx, f.Name)
		if err != nil {
			return err
		}
		f.Size, f.SHA256 = info.Size(), sub.SHA256()
		r.p.Files, r.p.sources = append(r.p.Files, f), append(r.p.sources, source{f.Name, info})
	}
	return nil
}

// bundleNames are those of an artifact's bundles.
func bundleNames(artifact string) []string {
	stem := build.Stem(artifact)
	names := []string{stem + build.BundleSuffix, stem + build.BundlesSuffix}
	if artifact != stem {
		names = append(names, artifact+build.BundleSuffix)
	}
	return names
}

// open opens a regular file.
func (r *reader) open(name string) (*os.File, os.FileInfo, error) {
	before, err := r.root.Lstat(name) // first, since opening a FIFO would wait
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: it is not a regular file", shown(name))
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = fmt.Errorf("%s: it changes while it is read", shown(name))
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// bytes reads a small file.
func (r *reader) bytes(name string, most int64) ([]byte, error) {
	f, _, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: more than the limit of %d bytes", shown(name), most)
	}
	return data, err
}

func (r *reader) hash(ctx context.Context, name string) (statement.Subject, os.FileInfo, error) {
	f, info, err := r.open(name)
	if err != nil {
		return statement.Subject{}, nil, err
	}
	defer f.Close()
	switch {
	case info.Size() == 0:
		return statement.Subject{}, nil, fmt.Errorf("%s is empty: GitHub takes no empty files", shown(name))
	case info.Size() > release.MaxSize:
		return statement.Subject{}, nil, fmt.Errorf("%s has %d bytes: GitHub takes %d; make it smaller", shown(name), info.Size(), int64(release.MaxSize))
	}
	sub, err := statement.Digest(ctx, name, f)
	return sub, info, err
}

// file is the first file of a role, nil if there is none.
func (p *plugin) file(role Role) *File {
	i := slices.IndexFunc(p.Files, func(f File) bool { return f.Role == role })
	if i < 0 {
		return nil
	}
	return &p.Files[i]
}

func (r *reader) checkChecksum() error {
	artifact := r.p.file(Artifact)
	_, checksum := r.m.Artifact()
	if got := "sha256:" + artifact.SHA256; got != checksum {
		return fmt.Errorf("%s is about an artifact with checksum %q, but %s has %q; build both again", build.ManifestName, checksum, shown(artifact.Name), got)
	}
	return nil
}

func (r *reader) checkSBOM() error {
	var names []string
	for _, f := range r.p.Files {
		if f.Role == SBOM {
			names = append(names, f.Name)
		}
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
	default:
		return fmt.Errorf("%s are both there; remove the one that is not of the build", strings.Join(names, " and "))
	}
	data, err := r.bytes(names[0], sbom.MaxDocument)
	if err != nil {
		return err
	}
	id, err := sbom.Identify(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", shown(names[0]), err)
	}
	if got := "sha256:" + r.p.file(Artifact).SHA256; id.Artifact != "" && id.Artifact != got && id.Fledge {
		return fmt.Errorf("%s is about another artifact (%s); remove it, or build again", shown(names[0]), id.Artifact)
	}
	return nil
}

func (r *reader) checkRecord() error {
	f := r.p.file(Record)
	if f == nil {
		return nil
	}
	data, err := r.bytes(f.Name, statement.MaxRecord)
	if err != nil {
		return err
	}
	rec, err := statement.DecodeRecord(data)
	if err != nil {
		return fmt.Errorf("%s: %w", shown(f.Name), err)
	}
	r.p.Platform = rec.Platform
	return nil
}

// checkBundles refuses bundles of an earlier artifact. Whose they are is not asked.
func (r *reader) checkBundles() error {
	artifact := r.p.file(Artifact)
	about := func(b verify.Bundle) bool {
		return slices.ContainsFunc(verify.Subjects(b), func(s statement.Subject) bool { return s.SHA256() == artifact.SHA256 })
	}
	for _, f := range r.p.Files {
		if f.Role != Bundle {
			continue
		}
		data, err := r.bytes(f.Name, verify.MaxFile)
		if err != nil {
			return err
		}
		bundles, err := verify.Bundles(f.Name, data)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(bundles, about) {
			return fmt.Errorf("%s has no bundle that is about %s; remove it, or sign again", shown(f.Name), shown(artifact.Name))
		}
	}
	return nil
}

// checkSums compares SHA256SUMS, if there is one, with the files.
func (r *reader) checkSums(ctx context.Context) error {
	data, err := r.bytes(build.SumsName, statement.MaxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	listed, err := statement.ParseSums(data)
	if err != nil {
		return fmt.Errorf("%s: %w", build.SumsName, err)
	}
	have := map[string]string{} // name to sha256
	for _, f := range r.p.Files {
		have[f.Name] = f.SHA256
	}
	for _, s := range listed {
		got, ok := have[s.Name]
		if !ok {
			if !r.has(s.Name) {
				return fmt.Errorf("%s lists %s, which is not there; build again", build.SumsName, shown(s.Name))
			}
			sub, _, err := r.hash(ctx, s.Name)
			if err != nil {
				return err
			}
			got = sub.SHA256()
		}
		if got != s.SHA256() {
			return fmt.Errorf("%s says %s of %s, which has %s; build again", build.SumsName, s.SHA256(), shown(s.Name), got)
		}
	}
	for _, f := range r.p.Files {
		if f.Role != Bundle && !slices.ContainsFunc(listed, func(s statement.Subject) bool { return s.Name == f.Name }) {
			return fmt.Errorf("%s does not list %s, so it is of another build; remove it, or build again", build.SumsName, shown(f.Name))
		}
	}
	return nil
}

// BootSuffix is the end of the name of what 'fledge boot --json' printed of a plugin, when
// a job keeps that beside it. It is not taken, which nobody needs to be told.
const BootSuffix = ".boot.json"

// nameOthers warns of what is not taken.
func (r *reader) nameOthers() {
	boot := build.Stem(r.p.file(Artifact).Name) + BootSuffix
	var names []string
	for _, e := range r.entries {
		own := e.Name() == build.SumsName || e.Name() == boot || slices.ContainsFunc(r.p.sources, func(s source) bool { return s.name == e.Name() })
		if !own {
			names = append(names, shown(e.Name()))
		}
	}
	if len(names) > 0 {
		r.p.warnings = append(r.p.warnings, fmt.Sprintf("%s: not of the plugin and not taken: %s", shown(r.p.Folder), someOf(names)))
	}
}

// renameManifest gives the manifest the name that it has among those of others.
func (p *plugin) renameManifest() {
	p.file(Manifest).Name = build.Stem(p.file(Artifact).Name) + build.ManifestSuffix
}

// extension is that of the artifact.
func (p *plugin) extension() string {
	name := p.file(Artifact).Name
	return strings.TrimPrefix(name, build.Stem(name))
}

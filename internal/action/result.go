package action

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/internal/merge"
	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/summary"
)

// Kinds of files in the output "artifacts".
const (
	kindArtifact  = string(summary.Artifact)
	kindManifest  = string(summary.Manifest)
	kindSBOM      = string(summary.SBOMFile)
	kindRecord    = string(summary.Record)
	kindChecksums = string(summary.Checksums)
	kindBundle    = string(summary.Bundle)
	kindBundles   = string(summary.Bundles)
)

// file is one element of the output "artifacts". Its keys are a promise.
type file struct {
	Name     string `json:"name"`
	Path     string `json:"path"` // relative to the workspace
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"` // hex
	Kind     string `json:"kind"`
	Platform string `json:"platform"`
	URL      string `json:"url"` // of the release, or what the manifest says of the artifact
	Plugin   string `json:"plugin"`
	Version  string `json:"version"`

	path string // absolute
}

func (f file) digest() string { return "sha256:" + f.SHA256 }

// pluginFiles are those of one plugin.
type pluginFiles struct {
	name, version, platform string
	files                   []file
}

// results are the files that there are.
type results struct {
	workspace, start string // absolute
	plugins          []*pluginFiles
	sums             *file // of everything
	pages            []string
	warnings         []string
}

// all are all files, the common checksums last.
func (r *results) all() []file {
	var all []file
	for _, x := range r.plugins {
		all = append(all, x.files...)
	}
	if r.sums != nil {
		all = append(all, *r.sums)
	}
	return all
}

// signed tells whether there are bundles about every plugin.
func (r *results) signed() bool {
	return !slices.ContainsFunc(r.plugins, func(x *pluginFiles) bool {
		return !slices.ContainsFunc(x.files, func(f file) bool { return f.Kind == kindBundle })
	})
}

// add takes the files of a build.
func (r *results) add(ctx context.Context, x plan.Plugin, b *built) error {
	m := &b.Manifest.Content
	url := ""
	switch {
	case m.Rootfs != nil:
		url = m.Rootfs.URL
	case m.Initramfs != nil:
		url = m.Initramfs.URL
	}
	pf := &pluginFiles{name: m.Name, version: m.Version, platform: x.Platform}
	r.plugins = append(r.plugins, pf)
	f := file{Name: filepath.Base(b.Artifact.Path), Size: b.Artifact.Size, SHA256: strings.TrimPrefix(b.Artifact.Digest, "sha256:"), Kind: kindArtifact, URL: url, path: r.absolute(b.Artifact.Path)}
	pf.put(r.workspace, f)
	others := []struct{ kind, path string }{{kindManifest, b.Manifest.Path}, {kindRecord, b.Record}, {kindChecksums, b.Sums}}
	if b.SBOM != nil {
		others = append(others, struct{ kind, path string }{kindSBOM, b.SBOM.Path})
	}
	for _, o := range others {
		if o.path == "" {
			continue
		}
		if err := pf.hash(r.workspace, o.kind, r.absolute(o.path)); err != nil {
			return err
		}
	}
	pf.sort()
	return r.sign(m.Name, b.Attestation)
}

// sign takes the bundles about a plugin.
func (r *results) sign(name string, a *attested) error {
	if a == nil {
		return nil
	}
	at := slices.IndexFunc(r.plugins, func(x *pluginFiles) bool { return x.name == name })
	if at < 0 {
		return fmt.Errorf("a plugin %q was signed and not built", name)
	}
	r.pages = append(r.pages, a.Pages...)
	pf := r.plugins[at]
	pf.files = slices.DeleteFunc(pf.files, func(f file) bool { return f.Kind == kindBundle || f.Kind == kindBundles })
	for kind, path := range map[string]string{kindBundle: a.Bundle, kindBundles: a.Bundles} {
		if err := pf.hash(r.workspace, kind, r.absolute(path)); err != nil {
			return err
		}
	}
	pf.sort()
	return nil
}

// sort puts the files into the order in which they are listed.
func (x *pluginFiles) sort() {
	slices.SortStableFunc(x.files, func(a, b file) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) })
}

// rank is the order in which files are listed.
func rank(kind string) int {
	return slices.Index([]string{kindArtifact, kindManifest, kindSBOM, kindRecord, kindChecksums, kindBundle, kindBundles}, kind)
}

// put adds a file and fills in what it shares with the plugin.
func (x *pluginFiles) put(workspace string, f file) {
	f.Plugin, f.Version, f.Platform = x.name, x.version, x.platform
	f.Path = relative(workspace, f.path)
	x.files = append(x.files, f)
}

// hash adds a small file, reading it.
func (x *pluginFiles) hash(workspace, kind, path string) error {
	f, err := hashed(kind, path)
	if err != nil {
		return err
	}
	x.put(workspace, f)
	return nil
}

func hashed(kind, path string) (file, error) {
	in, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer in.Close()
	h := sha256.New()
	size, err := io.Copy(h, in)
	if err != nil {
		return file{}, fmt.Errorf("hashing %s: %w", path, err)
	}
	return file{Name: filepath.Base(path), Size: size, SHA256: fmt.Sprintf("%x", h.Sum(nil)), Kind: kind, path: path}, nil
}

// relative is a path relative to the workspace.
func relative(workspace, path string) string {
	rel, err := filepath.Rel(workspace, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

// artifactOf is the path of a merged plugin's artifact.
func artifactOf(x merge.Plugin) string {
	for _, f := range x.Files {
		if f.Role == merge.Artifact {
			return f.Path
		}
	}
	return ""
}

// mergedVersion is that which a tag gives the merged plugins; "" if it has none.
func mergedVersion(m *merge.Result, tag string) string {
	var all []plan.Plugin
	for _, x := range m.Plugins {
		all = append(all, plan.Plugin{Name: x.Name})
	}
	if _, version := plan.Tagged(all, tag); version != "" {
		return version
	}
	if len(m.Plugins) == 1 {
		return m.Plugins[0].Version
	}
	return ""
}

// kindOf turns a role of a merged file into a kind.
func kindOf(f merge.File) string {
	switch f.Role {
	case merge.Record:
		return kindRecord
	case merge.Bundle:
		if strings.HasSuffix(f.Name, ".jsonl") {
			return kindBundles
		}
		return kindBundle
	}
	return string(f.Role)
}

// merged replaces the files by those of a merged folder.
func (r *results) merged(m *merge.Result) {
	r.plugins = nil
	for _, x := range m.Plugins {
		pf := &pluginFiles{name: x.Name, version: x.Version, platform: x.Platform}
		r.plugins = append(r.plugins, pf)
		for _, f := range x.Files {
			kind := kindOf(f)
			url := ""
			if kind == kindArtifact {
				url = x.URL
			}
			pf.put(r.workspace, file{Name: f.Name, Size: f.Size, SHA256: f.SHA256, Kind: kind, URL: url, path: r.absolute(f.Path)})
		}
	}
	at := r.absolute(m.Sums.Path)
	r.sums = &file{Name: m.Sums.Name, Size: m.Sums.Size, SHA256: m.Sums.SHA256, Kind: kindChecksums, Path: relative(r.workspace, at), path: at}
}

// absolute is a path that a command has printed.
func (r *results) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.start, path)
}

// paths are those of all files, relative to the folder where commands run.
func (r *results) paths() []string {
	var all []string
	for _, f := range r.all() {
		all = append(all, relative(r.start, f.path))
	}
	return all
}

// uploaded fills in where the files are downloaded.
func (r *results) uploaded(u *uploaded) {
	urls := map[string]string{}
	for _, a := range u.Assets {
		urls[a.Name] = a.URL
	}
	for _, x := range r.plugins {
		for i, f := range x.files {
			x.files[i].URL = cmp.Or(urls[f.Name], f.URL)
		}
	}
	if r.sums != nil {
		r.sums.URL = urls[r.sums.Name]
	}
}

// publishOutputs sets the outputs about files.
func (p *Program) publishOutputs(r *results) {
	all := r.all()
	if len(all) == 0 {
		return
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // strings and numbers
	}
	p.outputs["artifacts"] = string(text)
	p.outputs["signed"] = strconv.FormatBool(r.signed())
	if len(r.pages) > 0 {
		p.outputs["attestation-url"] = r.pages[0]
	}
	if r.sums != nil {
		p.outputs["checksums"] = r.sums.Path
	}
	same := r.plugins[0].version
	for _, x := range r.plugins {
		if x.version != same {
			same = ""
		}
	}
	if same != "" {
		p.outputs["version"] = same
	}
	if len(r.plugins) > 1 {
		return
	}
	names := map[string]string{kindArtifact: "artifact", kindManifest: "manifest", kindSBOM: "sbom", kindBundle: "provenance", kindChecksums: "checksums"}
	for _, f := range r.plugins[0].files {
		if name := names[f.Kind]; name != "" {
			p.outputs[name] = f.Path
		}
		switch f.Kind {
		case kindArtifact:
			p.outputs["artifact-digest"] = f.digest()
		case kindManifest:
			p.outputs["manifest-digest"] = f.digest()
		}
	}
}

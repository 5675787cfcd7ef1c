package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/release"
)

// Limits.
const (
	MaxPlugins = 256    // plugins: as many as GitHub runs jobs of one matrix
	MaxNames   = 1000   // names in one folder
	MaxFolders = 10_000 // folders that are looked into
)

// A Role is what a file is for, in the words of 'fledge verify'.
type Role string

// Roles, in the order in which a plugin's files are listed.
const (
	Artifact Role = "artifact"
	Manifest Role = "manifest"
	SBOM     Role = "sbom"
	Record   Role = "build record"
	Bundle   Role = "bundle"
	Sums     Role = "checksums"
)

// A UsageError is a choice of folders that cannot be merged.
type UsageError struct{ error }

func (e *UsageError) Unwrap() error { return e.error }

func refuse(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// File is a file of the merged folder. Its keys in JSON are a promise.
type File struct {
	Name   string `json:"name"`   // on the release
	Path   string `json:"path"`   // in the merged folder
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
	Role   Role   `json:"role"`
}

// Plugin is one of the merged plugins. Its keys in JSON are a promise.
type Plugin struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Platform string `json:"platform,omitempty"` // "linux/amd64"; "" without a build record
	URL      string `json:"url"`                // where the manifest says that the artifact is
	Folder   string `json:"folder"`             // that it was taken from
	Files    []File `json:"files"`              // the artifact first, then its manifest
}

// Result is a merged folder. Its keys in JSON are a promise.
type Result struct {
	Folder   string   `json:"folder"`
	Plugins  []Plugin `json:"plugins"` // sorted by name
	Sums     File     `json:"sums"`    // SHA256SUMS
	Warnings []string `json:"warnings"`
}

// Paths are those of all files, plugin by plugin, and of SHA256SUMS.
func (r *Result) Paths() []string {
	var all []string
	for _, p := range r.Plugins {
		for _, f := range p.Files {
			all = append(all, f.Path)
		}
	}
	return append(all, r.Sums.Path)
}

// Merge verifies the plugins in the folders, and in the folders below those that are
// none of a plugin, and puts their files into the folder dir.
func Merge(ctx context.Context, folders []string, dir string) (*Result, error) {
	if len(folders) == 0 {
		return nil, refuse("no folder of a plugin is named")
	}
	dir = filepath.Clean(dir)
	into, err := look(dir)
	if err != nil {
		return nil, err
	}
	f := finder{out: into.info}
	if err := f.all(ctx, folders); err != nil {
		return nil, err
	}
	plugins, err := readAll(ctx, f.found)
	if err != nil {
		return nil, err
	}
	if err := name(plugins); err != nil {
		return nil, err
	}
	r := &Result{Folder: dir, Plugins: []Plugin{}, Warnings: append([]string{}, f.warnings...)}
	sums := sumsOf(plugins)
	if r.Sums, err = sumsFile(ctx, sums); err != nil {
		return nil, err
	}
	r.Sums.Path = filepath.Join(dir, build.SumsName)
	for _, p := range plugins {
		for i := range p.Files {
			p.Files[i].Path = filepath.Join(dir, p.Files[i].Name)
		}
		r.Plugins = append(r.Plugins, p.Plugin)
		r.Warnings = append(r.Warnings, p.warnings...)
	}
	return r, into.fill(ctx, plugins, sums)
}

// readAll verifies every plugin and tells what is wrong with each of them.
func readAll(ctx context.Context, folders []string) ([]*plugin, error) {
	var plugins []*plugin
	var wrong []error
	for _, folder := range folders {
		p, err := read(ctx, folder)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", shown(folder), err))
			continue
		}
		plugins = append(plugins, p)
	}
	slices.SortStableFunc(plugins, func(a, b *plugin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Folder, b.Folder))
	})
	return plugins, errors.Join(wrong...)
}

// name gives the files the names that they have on the release, and refuses two plugins
// or two files with one name.
func name(plugins []*plugin) error {
	byName, byFile := map[string]*plugin{}, map[string]*plugin{}
	var wrong []error
	files := 1 // SHA256SUMS
	for _, p := range plugins {
		if other := byName[p.Name]; other != nil {
			wrong = append(wrong, refuse("%s and %s are both plugin %q: give one of them another name ([plugin] name in its fledge.toml)", shown(other.Folder), shown(p.Folder), p.Name))
			continue // their files have the same names as well
		}
		byName[p.Name] = p
		if len(plugins) > 1 {
			p.renameManifest()
		}
		for _, f := range p.Files {
			files++
			if err := release.CheckName(f.Name); err != nil {
				wrong = append(wrong, &UsageError{fmt.Errorf("%s: %w", shown(p.Folder), err)})
			}
			other := byFile[f.Name]
			if other == nil {
				byFile[f.Name] = p
				continue
			}
			wrong = append(wrong, refuse("%s and %s both have a %s for the release: build one of them under another name (-o NAME%s)", shown(other.Folder), shown(p.Folder), f.Name, p.extension()))
			break // one is enough to say so
		}
	}
	if files > release.MaxAssets {
		wrong = append(wrong, refuse("%d plugins have %d files: GitHub takes %d a release; make several releases of them", len(plugins), files, release.MaxAssets))
	}
	return errors.Join(wrong...)
}

// sumsOf is the text of SHA256SUMS: of all files but the bundles.
func sumsOf(plugins []*plugin) []byte {
	var subjects []statement.Subject
	for _, p := range plugins {
		for _, f := range p.Files {
			if f.Role != Bundle {
				subjects = append(subjects, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
			}
		}
	}
	return statement.Sums(subjects)
}

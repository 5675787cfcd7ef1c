package relnotes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// File is one file of the release.
type File struct {
	Name     string
	Size     int64  // bytes
	Digest   string // "sha256:" and 64 hex digits
	Manifest *manifest.Manifest
}

// Release is what the notes are about.
type Release struct {
	Repo  string                   // "owner/name"
	Page  string                   // the release's URL
	URL   func(name string) string // where a file is downloaded
	Files []File
}

// MaxManifests is how many plugins are described; of more, the first ones are.
const MaxManifests = 100

// maxFiles is how many files are listed, for GitHub's limit of the notes' length.
const maxFiles = 200

// Notes are the release's notes; "" when no file is a manifest.
func (r Release) Notes() string {
	var plugins []File
	for _, f := range r.Files {
		if f.Manifest != nil && len(plugins) < MaxManifests && installs(f.Manifest) {
			plugins = append(plugins, f)
		}
	}
	if len(plugins) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("## Install\n\n```\n")
	for i, f := range plugins {
		if i > 0 {
			b.WriteByte('\n')
		}
		m := f.Manifest
		fmt.Fprintf(&b, "volar plugins install --manifest %s\n", inShell(r.URL(f.Name)))
		fmt.Fprintf(&b, "volar vms create NAME --plugin %s --cpu %d --memory %d\n", m.Name, m.Resources.CPUCores, m.Resources.MemoryMB)
	}
	b.WriteString("```\n\nA VM gets the processors and the memory (MB) that the command says, whatever the manifest asks for.\n\n")
	b.WriteString("## Verify\n\n```\n" + r.verify() + "```\n\n")
	b.WriteString("## Files\n\n| file | bytes | sha256 |\n|---|---|---|\n")
	for i, f := range r.Files {
		if i == maxFiles {
			fmt.Fprintf(&b, "| %d more | | |\n", len(r.Files)-i)
			break
		}
		fmt.Fprintf(&b, "| `%s` | %d | `%s` |\n", f.Name, f.Size, strings.TrimPrefix(f.Digest, "sha256:"))
	}
	return b.String()
}

// installs tells whether Volant takes a manifest.
func installs(m *manifest.Manifest) bool {
	return !slices.ContainsFunc(m.Validate(), func(p manifest.Problem) bool { return !p.Warning })
}

// verify are the commands for the best proof that is on the release.
func (r Release) verify() string {
	sums := false
	for _, f := range r.Files {
		if strings.HasSuffix(f.Name, ".sigstore.json") {
			return fmt.Sprintf("fledge verify %s --repo %s\n", inShell(r.Page), r.Repo)
		}
		sums = sums || f.Name == "SHA256SUMS"
	}
	if sums {
		return fmt.Sprintf("curl -fsSLO %s\nsha256sum --check --ignore-missing SHA256SUMS\n", inShell(r.URL("SHA256SUMS")))
	}
	return "sha256sum FILE   # and compare with the table below\n"
}

// inShell escapes what URLs may hold and shells act on.
func inShell(url string) string {
	return strings.NewReplacer("$", "%24", "&", "%26", ";", "%3B", "'", "%27", "`", "%60").Replace(url)
}

// Problem is a manifest that does not go with the release.
type Problem struct {
	File    string
	Message string // with what to do
	// Wrong is set when installing from the release would fail, unset when it may
	// be meant so.
	Wrong bool
}

// Problems compares manifests with the files that they are released with.
func (r Release) Problems() []Problem {
	byURL := map[string]File{}
	for _, f := range r.Files {
		byURL[r.URL(f.Name)] = f
	}
	base := strings.TrimSuffix(r.URL("x"), "x")
	var all []Problem
	for _, f := range r.Files {
		if f.Manifest == nil {
			continue
		}
		for _, p := range f.Manifest.Validate() {
			all = append(all, Problem{f.Name, p.String(), !p.Warning})
		}
		url, checksum := f.Manifest.Artifact()
		artifact, here := byURL[url]
		switch {
		case url == "":
		case here && artifact.Digest != checksum && checksum != "":
			all = append(all, Problem{f.Name, fmt.Sprintf("checksum is %s, and %s has %s: build them together", checksum, artifact.Name, artifact.Digest), true})
		case here:
		case strings.HasPrefix(url, base):
			all = append(all, Problem{f.Name, fmt.Sprintf("url %q is of this release, and no such file is uploaded: add it", url), false})
		default:
			all = append(all, Problem{f.Name, fmt.Sprintf("url %q is not a file of this release: build with --artifact-url %s", url, r.URL(baseName(url))), false})
		}
	}
	return all
}

func baseName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

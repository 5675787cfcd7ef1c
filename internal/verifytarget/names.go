package verifytarget

import (
	"path"
	"strings"
)

// A Role is what a file is for.
type Role string

// Roles.
const (
	Artifact Role = "artifact"
	Manifest Role = "manifest"
	Sums     Role = "checksums"
	SBOM     Role = "sbom"
	Record   Role = "build record"
	Other    Role = "file" // listed in SHA256SUMS, nothing of ours
)

// The names of files that do not depend on the artifact's.
const (
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"
)

// manifestSuffix is behind the stem of an artifact in the name of its manifest, where
// there are several plugins.
const manifestSuffix = "." + manifestName

// suffixes are what artifacts' names end in.
var suffixes = []string{".img", ".cpio.gz", ".cpio.zst", ".cpio"}

// stem is an artifact's name without what tells its format.
func stem(name string) string {
	for _, s := range suffixes {
		if short, ok := strings.CutSuffix(name, s); ok && short != "" {
			return short
		}
	}
	return name
}

// role tells what a file is by its name.
func role(name string) Role {
	switch {
	case name == manifestName, strings.HasSuffix(name, manifestSuffix) && name != manifestSuffix:
		return Manifest
	case name == sumsName:
		return Sums
	case strings.HasSuffix(name, ".spdx.json"), strings.HasSuffix(name, ".cdx.json"):
		return SBOM
	case strings.HasSuffix(name, ".build.json"):
		return Record
	case stem(name) != name:
		return Artifact
	}
	return Other
}

// isBundle tells whether a file holds bundles, by its name.
func isBundle(name string) bool {
	return strings.HasSuffix(name, ".sigstore.json") || strings.HasSuffix(name, ".intoto.jsonl")
}

// bundleNames are where the bundles of a file may be.
func bundleNames(name string) []string {
	names := []string{stem(name) + ".sigstore.json", stem(name) + ".intoto.jsonl"}
	if full := name + ".sigstore.json"; full != names[0] {
		names = append(names, full)
	}
	return names
}

// companions are the files that belong to an artifact; SHA256SUMS, which speaks of
// the others, last.
func companions(name string) []string {
	s := stem(name)
	return []string{s + manifestSuffix, manifestName, s + ".spdx.json", s + ".cdx.json", s + ".build.json", sumsName}
}

// lastName is the last part of a path or a URL's path.
func lastName(s string) string {
	if s = path.Base(s); s == "/" || s == "." {
		return ""
	}
	return s
}

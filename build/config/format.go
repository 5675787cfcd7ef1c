package config

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// A format is a rule for strings. Its pattern serves the editor schema too, so
// it keeps to what all engines of regular expressions share.
type format struct {
	pattern string
	want    string
	re      *regexp.Regexp
}

func (f format) matches(s string) bool { return f.re.MatchString(s) }

func newFormat(pattern, want string) format {
	return format{pattern: pattern, want: want, re: regexp.MustCompile(pattern)}
}

// formats are the values of the tag "format".
var formats = map[string]format{
	"absolute":     newFormat(`^/`, "an absolute path"),
	"api-url":      newFormat(`^(https://[^/?#\s]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)(/[^?#\s]*)?$`, "an https URL, or http on loopback"),
	"artifact-url": newFormat(`^(https?://[^/?#\s]+\S*|/.*)$`, "an https URL or an absolute path on the Volant host"),
	"digest":       newFormat(`^sha256:[0-9a-f]{64}$`, "sha256: and 64 hex digits in lower case"),
	"file-url":     newFormat(`^((https?|file)://\S+|[^:]+)$`, "an http, https or file URL, or a path"),
	"hex-sha256":   newFormat(`^[0-9a-f]{64}$`, "the 64 hex digits of a sha256 in lower case"),
	"http-method":  newFormat(`^[A-Z]+$`, "an HTTP method in capitals, such as POST"),
	"http-url":     newFormat(`^https?://[^/?#\s]+\S*$`, "an http or https URL"),
	"image":        newFormat(`^\S+$`, "an image reference without spaces"),
	"name":         newFormat(`^[A-Za-z0-9][A-Za-z0-9._~-]*$`, "letters, digits, '.', '_', '-' and '~', a letter or digit first"),
	"platform":     newFormat(`^linux/[a-z0-9_]+(/[a-z0-9._]+)?$`, "linux/ARCH, such as linux/amd64"),
	"sha256":       newFormat(`^(sha256:)?[0-9A-Fa-f]{64}$`, "the 64 hex digits of a sha256, with or without \"sha256:\" before them"),
	"tag":          newFormat(`^[^\s:?*~^\\]+$`, "the tag of a release"),
	"version":      newFormat(`^[^\s/]+$`, "a version without spaces and slashes"),
}

// CheckVersion tells whether a plugin's version is one that fledge.toml may have.
func CheckVersion(version string) error {
	if f := formats["version"]; !f.matches(version) {
		return fmt.Errorf("%q: want %s", version, f.want)
	}
	return nil
}

// Bounds of a mapping's paths, those of Linux.
const (
	maxPath = 4095
	maxName = 255
)

// badSource says what is wrong with a mapping's source, "" if nothing is.
func badSource(s string) string {
	switch clean := path.Clean(s); {
	case s == "":
		return "is empty"
	case strings.ContainsRune(s, 0):
		return "contains a NUL character"
	case path.IsAbs(s):
		return "is absolute: sources are relative to fledge.toml, so copy the file into the project first"
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "leaves the project: sources are relative to fledge.toml and stay in its folder"
	}
	return tooLong(s)
}

// badDest says what is wrong with a mapping's destination.
func badDest(s string) string {
	switch {
	case s == "":
		return "is empty"
	case !path.IsAbs(s):
		return "is relative: write the absolute path in the artifact (/" + strings.TrimPrefix(s, "./") + "?)"
	}
	for name := range strings.SplitSeq(s, "/") {
		if name == ".." {
			return `contains ".."`
		}
	}
	return tooLong(s)
}

func tooLong(s string) string {
	if len(s) > maxPath {
		return "is longer than 4095 bytes"
	}
	for name := range strings.SplitSeq(s, "/") {
		if len(name) > maxName {
			return "has a name longer than 255 bytes"
		}
	}
	return ""
}

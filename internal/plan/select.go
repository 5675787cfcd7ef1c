package plan

import (
	"context"
	"path"
	"regexp"
	"strings"
)

// Comparer tells what changed in a repository between two commits, branches or tags: all
// files whose path, with slashes and relative to the repository, differs or did. all is set
// when they cannot be listed.
type Comparer interface {
	Changed(ctx context.Context, base, head string) (files []string, all bool, err error)
}

// Changed are the plugins with a changed file in the folder of their fledge.toml. Prefix is
// the place of the root of [Find] in the repository, "" for the repository itself.
func Changed(plugins []Plugin, prefix string, files []string) []Plugin {
	var changed []Plugin
	for _, p := range plugins {
		dir := path.Join(prefix, p.Dir)
		for _, file := range files {
			if contains(dir, file) || contains(file, dir) {
				changed = append(changed, p)
				break
			}
		}
	}
	return changed
}

// contains tells whether a path is a folder or lies below it. A changed file that
// contains a folder is a submodule.
func contains(dir, name string) bool {
	return dir == "." || dir == "" || name == dir || strings.HasPrefix(name, dir+"/")
}

// versionForm is what stands behind a plugin's name in a tag.
var versionForm = regexp.MustCompile(`^v?([0-9][0-9A-Za-z.+_-]*)$`)

// Tagged are the plugins that a tag is for, and the version that it gives them: of "web/v1.2.3"
// or "web-v1.2.3" the plugin web, if there is one, and of "v1.2.3" all, with "1.2.3". A tag that
// has no version gives "" and is for all. "lib/v1.2.3" without a plugin lib is for none.
func Tagged(plugins []Plugin, tag string) (selected []Plugin, version string) {
	longest := 0 // "web-v2-v1.0.0" is web-v2's if there is one
	for _, p := range plugins {
		rest, ok := strings.CutPrefix(tag, p.Name)
		if !ok || rest == "" || rest[0] != '/' && rest[0] != '-' || len(p.Name) < longest {
			continue
		}
		if v := versionForm.FindStringSubmatch(rest[1:]); v != nil {
			selected, version, longest = []Plugin{p}, v[1], len(p.Name)
		}
	}
	if selected != nil {
		return selected, version
	}
	if v := versionForm.FindStringSubmatch(tag); v != nil {
		return plugins, v[1]
	}
	if at := strings.LastIndexByte(tag, '/'); at >= 0 && versionForm.MatchString(tag[at+1:]) {
		return nil, versionForm.FindStringSubmatch(tag[at+1:])[1]
	}
	return plugins, ""
}

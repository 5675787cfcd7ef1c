package plan

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/volant/fledge-action/build/config"
)

// DefaultPattern finds the plugins of a repository.
const DefaultPattern = "**/fledge.toml"

// Limits of Find.
const (
	MaxPatterns = 256
	MaxPattern  = 1024      // bytes of one
	MaxBraces   = 8         // "{" in one
	MaxEntries  = 1_000_000 // files and folders that are looked at
	MaxDepth    = 64        // folders in one another
	MaxPlugins  = 1000
)

// finder looks for files below a root.
type finder struct {
	root       *os.Root
	entries    int // that were looked at
	maxEntries int
	found      map[string]bool // paths with slashes
}

// find returns the paths that patterns name, sorted.
func (f *finder) find(patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		patterns = []string{DefaultPattern}
	}
	if len(patterns) > MaxPatterns {
		return nil, fmt.Errorf("looking for plugins: %d patterns: %d at most", len(patterns), MaxPatterns)
	}
	f.found = map[string]bool{}
	for _, pattern := range patterns {
		clean, err := checkPattern(pattern)
		if err != nil {
			return nil, err
		}
		look := f.named
		if strings.ContainsAny(clean, `*?[{`) {
			look = f.matching
		}
		if err := look(clean); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(f.found)), nil
}

// checkPattern refuses what leaves the root, and cleans the rest.
func checkPattern(pattern string) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", &PatternError{Pattern: pattern, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(pattern) > MaxPattern:
		return refuse("it has %d bytes: %d at most", len(pattern), MaxPattern)
	case strings.Count(pattern, "{") > MaxBraces:
		return refuse("more than %d braces", MaxBraces)
	case pattern == "":
		return refuse("it is empty")
	case strings.Contains(pattern, `\`):
		return refuse("write folders with '/'")
	case path.IsAbs(pattern):
		return refuse("want a path relative to the current folder")
	case !doublestar.ValidatePattern(pattern):
		return refuse("its brackets or braces do not fit together")
	}
	clean := path.Clean(pattern)
	if slices.Contains(strings.FieldsFunc(clean, func(r rune) bool { return strings.ContainsRune("/{},", r) }), "..") {
		return refuse("want a path below the current folder")
	}
	return clean, nil
}

// A PatternError is a pattern that cannot be used, or finds nothing.
type PatternError struct{ Pattern, Message string }

func (e *PatternError) Error() string {
	return fmt.Sprintf("looking for plugins: %q: %s", e.Pattern, e.Message)
}

// named adds one file, or the fledge.toml of a folder.
func (f *finder) named(name string) error {
	info, err := f.lstat(name)
	if err == nil && info.IsDir() {
		name = path.Join(name, config.FileName)
		info, err = f.lstat(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &PatternError{name, "no such file; see docs/fledge-toml.md for how to write one"}
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &PatternError{name, "not a regular file"}
	}
	return f.add(name)
}

// lstat refuses links in the whole of a path: what is behind one has a path of its own.
func (f *finder) lstat(name string) (info fs.FileInfo, err error) {
	for at := 0; at <= len(name); at++ {
		if at < len(name) && name[at] != '/' {
			continue
		}
		if info, err = f.root.Lstat(name[:at]); err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, &PatternError{name, fmt.Sprintf("%q is a symbolic link: name what it points to", name[:at])}
		}
	}
	return info, nil
}

func (f *finder) add(name string) error {
	f.found[name] = true
	if len(f.found) > MaxPlugins {
		return fmt.Errorf("looking for plugins: more than %d files: use a narrower pattern", MaxPlugins)
	}
	return nil
}

// matching adds the files that a pattern with wildcards matches.
func (f *finder) matching(pattern string) error {
	base, _ := doublestar.SplitPattern(pattern)
	if _, err := f.lstat(base); errors.As(err, new(*PatternError)) {
		return err // WalkDir follows links on the way to where it begins
	}
	matched := false
	err := fs.WalkDir(f.root.FS(), base, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == base {
			return fs.SkipAll
		}
		if err != nil {
			return fmt.Errorf("looking for plugins: %w; name their fledge.toml files instead of a pattern", err)
		}
		if f.entries++; f.entries > f.maxEntries {
			return fmt.Errorf("looking for plugins: %q: more than %d files and folders: use a narrower pattern", pattern, f.maxEntries)
		}
		if d.IsDir() {
			return enter(pattern, name, d.Name(), name == base)
		}
		if !d.Type().IsRegular() || !doublestar.MatchUnvalidated(pattern, name) {
			return nil
		}
		matched = true
		return f.add(name)
	})
	if err == nil && !matched {
		err = &PatternError{pattern, "no file matches; a plugin is a folder with a " + config.FileName}
	}
	return err
}

// enter tells with fs.SkipDir which folders are passed over.
func enter(pattern, name, base string, first bool) error {
	hidden := strings.HasPrefix(base, ".") && base != "." || base == "node_modules"
	switch {
	case strings.Count(name, "/") >= MaxDepth:
		return fmt.Errorf("looking for plugins: %q: folders are nested more than %d deep: use a narrower pattern", pattern, MaxDepth)
	case !first && hidden && !strings.Contains("/"+pattern+"/", "/"+base+"/"):
		return fs.SkipDir
	}
	return nil
}

// read reads a regular file, but no more than shows that it is too large. The text is nil
// if it is not there, and only then.
func (f *finder) read(name string) ([]byte, error) {
	info, err := f.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &PatternError{name, "not a regular file"}
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, config.MaxSize+1))
	if err := cmp.Or(err, file.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return append([]byte{}, text...), nil
}

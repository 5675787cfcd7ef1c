package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/build"
)

// finder looks for the folders of plugins.
type finder struct {
	out      os.FileInfo // the merged folder, which is none of a plugin; nil if it is missing
	found    []string
	seen     []os.FileInfo // of found
	hits     int           // folders of plugins that were come by, again or not
	looked   int           // folders
	leftOut  []string      // folders with files and without a manifest
	warnings []string
}

// all finds the plugins of the folders, or below them.
func (f *finder) all(ctx context.Context, folders []string) error {
	for _, folder := range folders {
		if err := f.below(ctx, filepath.Clean(folder)); err != nil {
			return err
		}
	}
	if len(f.leftOut) > 0 {
		slices.Sort(f.leftOut)
		f.leftOut = slices.Compact(f.leftOut)
		f.warnings = append(f.warnings, "not taken, for want of a manifest.json: "+someOf(f.leftOut))
	}
	return nil
}

// below finds the plugins of one folder that the user names.
func (f *finder) below(ctx context.Context, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return &UsageError{fmt.Errorf("looking for plugins: %w", err)}
	}
	defer root.Close()
	if info, err := root.Stat("."); err == nil && f.isOut(info) {
		return refuse("%s is the folder that the plugins are merged into; name the folders that they were built in", shown(folder))
	}
	hits, left := f.hits, len(f.leftOut)
	if err := f.walk(ctx, root, folder, "."); err != nil || f.hits > hits {
		return err
	}
	if len(f.leftOut) > left {
		return refuse("%s: no manifest.json, which 'fledge build' writes beside the artifact: %s", shown(folder), someOf(f.leftOut[left:]))
	}
	return refuse("%s: there is no plugin in it; name the folder of what 'fledge build' has made, or one above it", shown(folder))
}

func (f *finder) isOut(info os.FileInfo) bool { return f.out != nil && os.SameFile(f.out, info) }

// walk looks into the folder at of a root and, if it is none of a plugin, into those below
// it. Links are not followed, hidden folders passed over.
func (f *finder) walk(ctx context.Context, root *os.Root, shownAs, at string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.looked++; f.looked > MaxFolders {
		return refuse("looking for plugins: more than %d folders; name those of the plugins", MaxFolders)
	}
	here := filepath.Join(shownAs, filepath.FromSlash(at))
	entries, err := list(root, at)
	if err != nil {
		return fmt.Errorf("looking for plugins in %s: %w", shown(here), err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == build.ManifestName }) {
		return f.add(root, here, at)
	}
	files := 0
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case !e.IsDir():
			files++
		default:
			sub := path.Join(at, e.Name())
			if info, err := root.Stat(sub); err == nil && f.isOut(info) {
				continue
			}
			if err := f.walk(ctx, root, shownAs, sub); err != nil {
				return err
			}
		}
	}
	if files > 0 {
		f.leftOut = append(f.leftOut, shown(here))
	}
	return nil
}

// add adds the folder of a plugin, unless it is there.
func (f *finder) add(root *os.Root, here, at string) error {
	info, err := root.Stat(at)
	if err != nil {
		return fmt.Errorf("looking for plugins: %w", err)
	}
	f.hits++
	if slices.ContainsFunc(f.seen, func(x os.FileInfo) bool { return os.SameFile(x, info) }) {
		return nil
	}
	if len(f.found) == MaxPlugins {
		return refuse("looking for plugins: more than %d; make several releases of them", MaxPlugins)
	}
	f.found, f.seen = append(f.found, here), append(f.seen, info)
	return nil
}

// list reads the names in a folder, sorted.
func list(root *os.Root, at string) ([]fs.DirEntry, error) {
	dir, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(MaxNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > MaxNames {
		return nil, fmt.Errorf("more than %d names in it", MaxNames)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// someOf lists names, not more than are read.
func someOf(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// shown is a name in a message: quoted if it is not plain.
func shown(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) || r == '"' {
			return strconv.Quote(name)
		}
	}
	return name
}

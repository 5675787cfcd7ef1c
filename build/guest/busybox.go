package guest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
)

// The pinned busybox: a static one for amd64.
const (
	PinnedBusyboxURL    = "https://busybox.net/downloads/binaries/1.35.0-x86_64-linux-musl/busybox"
	PinnedBusyboxSHA256 = "6e123e7f3202a8c1e9b1f94d8941580a25135382b99e8d3e34fb858bba311348"
)

// MaxBusybox is the largest busybox accepted, in bytes. It is held in memory.
const MaxBusybox = 16 << 20

// BusyboxRequest is what [source] says of busybox and what is needed to act on it.
type BusyboxRequest struct {
	URL     string   // http, https or file URL, or a path; "" is the pinned one
	SHA256  string   // 64 hex digits, with or without "sha256:"; every URL but the pinned one needs it
	Pinned  string   // what says SHA256, for messages; "" means "busybox_sha256 in [source]"
	Mirrors []string // further places of the same file, tried in this order
	Arch    string   // of the platform: "amd64", "arm64"

	Root  *os.Root      // the project folder, for relative paths
	Fetch *fetch.Client // for http and https
}

// Busybox is a verified busybox. Its zero value is none.
type Busybox struct {
	Digest   string // "sha256:" and hex
	URI      string // where it came from, without credentials
	Content  tree.Bytes
	Warnings []string

	applets []applet
}

// ErrUnpinned is wrapped by errors about a busybox that has no sum to be checked
// against.
var ErrUnpinned = errors.New("no sha256 to check it against")

// ResolveBusybox finds the busybox that r asks for, verifies it and reads which
// applets it has.
func ResolveBusybox(ctx context.Context, r BusyboxRequest) (Busybox, error) {
	if r.URL == "" {
		if r.Arch != "amd64" && len(r.Mirrors) == 0 {
			return Busybox{}, fmt.Errorf("resolving busybox: the pinned one is for amd64, the platform is %s; set busybox_url and busybox_sha256 in [source]", r.Arch)
		}
		r.URL = PinnedBusyboxURL
	}
	if r.SHA256 == "" && r.URL == PinnedBusyboxURL {
		r.SHA256 = PinnedBusyboxSHA256
	}
	b, err := r.find(ctx)
	if err != nil {
		return Busybox{}, fmt.Errorf("resolving busybox: %w", err)
	}
	interp, err := checkELF(b.Content, r.Arch)
	if err != nil {
		return Busybox{}, fmt.Errorf("checking busybox %s: %w", b.URI, err)
	}
	if interp != "" {
		b.Warnings = append(b.Warnings, fmt.Sprintf("busybox %s is not static: it needs %s and its libraries in the artifact", b.URI, interp))
	}
	if b.applets = applets(b.Content); b.applets == nil {
		b.Warnings = append(b.Warnings, fmt.Sprintf("busybox %s has no list of applets that can be read, so nothing is linked to it; run its programs as 'busybox NAME'", b.URI))
	}
	return b, nil
}

// find takes the first place that has the right bytes.
func (r BusyboxRequest) find(ctx context.Context) (Busybox, error) {
	var failed []error
	var warnings []string
	for _, place := range append([]string{r.URL}, r.Mirrors...) {
		content, err := r.read(ctx, place)
		if err == nil {
			sum := sha256.Sum256(content)
			return Busybox{Digest: fmt.Sprintf("sha256:%x", sum), URI: placeURI(place), Content: content, Warnings: warnings}, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrUnpinned) {
			return Busybox{}, err
		}
		failed = append(failed, err)
		warnings = append(warnings, fmt.Sprintf("%v; trying the next place", err))
	}
	return Busybox{}, errors.Join(failed...)
}

// read reads one place and checks what is there.
func (r BusyboxRequest) read(ctx context.Context, place string) (tree.Bytes, error) {
	u, err := url.Parse(place)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return r.download(ctx, place)
	}
	content, err := r.readFile(place)
	if err != nil {
		return nil, fmt.Errorf("reading busybox %q: %w", place, err)
	}
	sum := sha256.Sum256(content)
	switch seen := hex.EncodeToString(sum[:]); {
	case r.SHA256 == "":
		return nil, unpinned(place, seen)
	case seen != r.sum():
		return nil, fmt.Errorf("checking busybox %q: busybox_sha256 is %s but the file has %s", place, r.sum(), seen)
	}
	return content, nil
}

func (r BusyboxRequest) sum() string {
	return strings.ToLower(strings.TrimPrefix(r.SHA256, "sha256:"))
}

func unpinned(place, seen string) error {
	return fmt.Errorf("%s has %w: compare the sum of what is there now, %s, with the publisher's and write busybox_sha256 = %q in [source]",
		placeURI(place), ErrUnpinned, seen, seen)
}

// download reads a URL, through the cache if the sum is known.
func (r BusyboxRequest) download(ctx context.Context, place string) (tree.Bytes, error) {
	if r.SHA256 == "" {
		body, err := r.Fetch.Bytes(ctx, fetch.Request{URL: place, Max: MaxBusybox})
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		return nil, unpinned(place, hex.EncodeToString(sum[:]))
	}
	content, err := r.Fetch.File(ctx, fetch.Request{URL: place, SHA256: r.SHA256, Max: MaxBusybox})
	if err != nil {
		return nil, fmt.Errorf("%w (%s is %s)", err, cmp.Or(r.Pinned, "busybox_sha256 in [source]"), r.sum())
	}
	f, err := content.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// readFile reads a file URL or a path: a relative one below the project folder,
// an absolute one anywhere, since the author of fledge.toml names it.
func (r BusyboxRequest) readFile(place string) (tree.Bytes, error) {
	name, isURL := strings.CutPrefix(place, "file://")
	if isURL {
		var err error
		if name, err = url.PathUnescape(name); err != nil || !path.IsAbs(name) {
			return nil, errors.New("a file URL has three slashes and an absolute path, as in file:///opt/busybox")
		}
	}
	root := r.Root
	if path.IsAbs(name) {
		dir, err := os.OpenRoot(filepath.Dir(name))
		if err != nil {
			return nil, hostfile.Cause(err)
		}
		defer dir.Close()
		root, name = dir, filepath.Base(name)
	}
	name, err := hostfile.Clean(name)
	if err != nil {
		return nil, err
	}
	at, err := hostfile.Resolve(root, name)
	if err != nil {
		return nil, err
	}
	file, err := hostfile.Stat(root, at)
	if err != nil {
		return nil, err
	}
	if file.Size() > MaxBusybox {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", file.Size(), MaxBusybox)
	}
	f, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// placeURI shows a place without credentials.
func placeURI(place string) string {
	if u, err := url.Parse(place); err == nil && u.Host != "" {
		return fetch.Redact(u)
	}
	return (&url.URL{Path: place}).String()
}

// Links are the links of a busybox that was put into a tree.
type Links struct {
	tree *tree.Tree
	made map[string]*tree.Node // by name in the tree
	self string                // where busybox is
	node *tree.Node            // and what it is
}

// binDirs are the folders that programs are looked for in.
var binDirs = []string{"bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"}

// InstallBusybox puts a busybox at /bin/busybox and a link for each of its
// applets at the place the binary says, relative to it. What the tree has under a
// name in any folder of programs stays: neither is it replaced nor is a link put
// beside it that would be found first. For no busybox it does nothing.
func InstallBusybox(t *tree.Tree, b Busybox, modTime time.Time) (*Links, error) {
	links := &Links{tree: t, made: map[string]*tree.Node{}}
	if b.Content == nil {
		return links, nil
	}
	bin, err := binDir(t)
	if err != nil {
		return nil, fmt.Errorf("installing busybox: %w", err)
	}
	self := path.Join(bin, "busybox")
	if _, err := t.Lookup(self); err == nil {
		return links, nil // the image brings its own, and links of its choice
	}
	dir := tree.Node{Mode: fs.ModeDir | 0o755, ModTime: modTime}
	if err := t.MkdirAll(bin, dir); err != nil {
		return nil, fmt.Errorf("installing busybox: %w", err)
	}
	links.self, links.node = self, &tree.Node{Mode: 0o755, ModTime: modTime, Content: b.Content}
	if err := t.Put(self, links.node); err != nil {
		return nil, fmt.Errorf("installing busybox: %w", err)
	}
	taken := programs(t)
	for _, a := range b.applets {
		if taken[path.Base(string(a))] != nil {
			continue
		}
		if err := links.add(string(a), dir); err != nil {
			return nil, fmt.Errorf("installing busybox: link %q: %w", "/"+string(a), err)
		}
	}
	return links, nil
}

// add makes one link, through the links of its folder. A folder that leads
// nowhere gets none.
func (l *Links) add(name string, dir tree.Node) error {
	at, err := l.tree.Resolve(path.Dir(name), true)
	switch {
	case errors.Is(err, tree.ErrLoop), errors.Is(err, tree.ErrNotDir):
		return nil
	case err != nil:
		return err
	}
	if n, err := l.tree.Lookup(at); err == nil && !n.Mode.IsDir() {
		return nil
	}
	if err := l.tree.MkdirAll(at, dir); err != nil {
		return err
	}
	name = path.Join(at, path.Base(name))
	if _, err := l.tree.Lookup(name); err == nil {
		return nil
	}
	target, err := filepath.Rel(at, l.self) // both are in the form of package tree
	if err != nil {
		return err
	}
	link := &tree.Node{Mode: fs.ModeSymlink | 0o777, ModTime: dir.ModTime, Target: target}
	if err := l.tree.Put(name, link); err != nil {
		return err
	}
	l.made[name] = link
	return nil
}

// Yield takes away the links whose name another program has got since, in
// whatever folder: it is that one which is meant. When busybox itself has been
// replaced all links go, since the other one may not have their programs; the
// warning says so.
func (l *Links) Yield() (warning string, err error) {
	if len(l.made) == 0 {
		return "", nil
	}
	if n, err := l.tree.Lookup(l.self); err != nil || n != l.node {
		return fmt.Sprintf("the mapped %q takes the place of fledge's, so no programs are linked to it; write busybox = false in [source] and map links, or name the file by busybox_url",
			"/"+l.self), l.remove(func(string) bool { return true })
	}
	own := func(n *tree.Node) bool { return n.Mode&fs.ModeSymlink != 0 && path.Base(n.Target) == "busybox" }
	others := map[string]bool{}
	for base, nodes := range programs(l.tree) {
		for _, n := range nodes {
			others[base] = others[base] || !own(n)
		}
	}
	return "", l.remove(func(name string) bool { return others[path.Base(name)] })
}

// remove takes away the links that are still there and have one of the names.
func (l *Links) remove(which func(name string) bool) error {
	for name, link := range l.made {
		if n, err := l.tree.Lookup(name); err == nil && n == link && which(name) {
			if err := l.tree.Remove(name); err != nil {
				return fmt.Errorf("removing busybox link: %w", err)
			}
		}
	}
	return nil
}

// Len is how many links there are.
func (l *Links) Len() int { return len(l.made) }

// programs lists what is in the folders of programs, by its last component.
func programs(t *tree.Tree) map[string][]*tree.Node {
	all := map[string][]*tree.Node{}
	seen := map[*tree.Node]bool{}
	for _, dir := range binDirs {
		at, err := t.Resolve(dir, true)
		if err != nil {
			continue
		}
		n, err := t.Lookup(at)
		if err != nil || seen[n] {
			continue
		}
		seen[n] = true
		for base, child := range n.Children() {
			if !child.Mode.IsDir() {
				all[base] = append(all[base], child)
			}
		}
	}
	return all
}

// IsPinned reports whether url stands for the pinned busybox.
func IsPinned(url string) bool { return cmp.Or(url, PinnedBusyboxURL) == PinnedBusyboxURL }

package verifytarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/manifest"
)

// Options says how files and bundles are looked for.
type Options struct {
	Bundles []string // paths of files with bundles, instead of those beside the target
	Offline bool     // the network is not asked
	// Repos are those, "owner/name", whose attestations GitHub is asked for when
	// there is no bundle.
	Repos   []string
	Fetch   *fetch.Client
	BaseURL string // of GitHub's API; "" is https://api.github.com
	Token   string // for that API
}

// A UsageError is a target that cannot be one.
type UsageError struct{ error }

func (e *UsageError) Unwrap() error { return e.error }

// A File belongs to a target.
type File struct {
	Name     string // base name
	Role     Role
	Path     string // on this machine, "" for a remote one
	SHA256   string // hex
	Size     int64  // bytes
	Required bool   // it has to be verified; the others have to agree with what was signed

	from    place
	several bool // checksums of several plugins
}

// Found is what belongs to a target.
type Found struct {
	Target  string
	Files   []File // the artifact first, if there is one
	Bundles []verify.Bundle
	// Problems are contradictions between the files.
	Problems []*verify.Problem
	Notes    []string
}

// Kinds of problems that are found by comparing files.
const (
	Checksum verify.Kind = "checksum" // a checksum is not that of the file
	Changed  verify.Kind = "changed"  // a file is not the one that was signed
)

// finder collects what belongs to one target.
type finder struct {
	Options
	found *Found
	peek  bool // only bundles matter: nothing is hashed

	several bool // the checksums beside the artifact are of several plugins
}

// Find finds the files and bundles that belong to a target.
func Find(ctx context.Context, target string, o Options) (*Found, error) {
	f := &finder{Options: o, found: &Found{Target: target}}
	if err := f.find(ctx, target); err != nil {
		return nil, err
	}
	return f.found, nil
}

// Claimed tells who the bundles of a target say has signed it, without verifying
// anything, for a hint. The network is not asked.
func Claimed(ctx context.Context, target string, o Options) []string {
	o.Offline, o.Repos = true, nil
	f := &finder{Options: o, found: &Found{}, peek: true}
	if f.find(ctx, target) != nil {
		return nil
	}
	var signers []string
	for _, b := range f.found.Bundles {
		if s := verify.Claimed(b); s != "" && !slices.Contains(signers, s) {
			signers = append(signers, s)
		}
	}
	return signers
}

func (f *finder) find(ctx context.Context, target string) error {
	if err := f.given(); err != nil {
		return err
	}
	var err error
	if strings.HasPrefix(target, "https://") || strings.HasPrefix(target, "http://") {
		err = f.remote(ctx, target)
	} else {
		err = f.local(ctx, target)
	}
	if err == nil && len(f.Bundles) == 0 && !f.Offline {
		err = f.askGitHub(ctx)
	}
	return err
}

// given reads the bundles that the user names.
func (f *finder) given() error {
	for _, path := range f.Bundles {
		dir, name := filepath.Split(path)
		data, err := bytesOf(context.Background(), named{folder{filepath.Clean(dir)}, name}, name, verify.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return &UsageError{fmt.Errorf("%s: no such file", path)}
		}
		if err != nil {
			return &UsageError{err}
		}
		if err := f.add(path, data); err != nil {
			return &UsageError{err}
		}
	}
	return nil
}

func (f *finder) add(source string, data []byte) error {
	bundles, err := verify.Bundles(source, data)
	if err != nil {
		return err
	}
	f.found.Bundles = append(f.found.Bundles, bundles...)
	return nil
}

// local finds what belongs to a path.
func (f *finder) local(ctx context.Context, target string) error {
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &UsageError{fmt.Errorf("%s: no such file", target)}
	case err != nil:
		return &UsageError{err}
	case info.IsDir():
		return &UsageError{fmt.Errorf("%s is a folder; name the artifact, manifest.json or SHA256SUMS in it", target)}
	}
	dir, name := filepath.Split(target)
	return f.file(ctx, named{folder{filepath.Clean(dir)}, name}, name)
}

// remote finds what belongs to a URL.
func (f *finder) remote(ctx context.Context, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return &UsageError{fmt.Errorf("%q is no URL", target)}
	}
	if f.Offline {
		return &UsageError{fmt.Errorf("%s is fetched, which --offline excludes; fetch it first and name the file", fetch.Redact(u))}
	}
	if repo, tag, ok := releaseURL(u); ok {
		if f.BaseURL == "" && u.Host != "github.com" {
			return &UsageError{fmt.Errorf("%s is no release on github.com; give the API of %s with --base-url", fetch.Redact(u), u.Host)}
		}
		return f.release(ctx, repo, tag)
	}
	w, name, err := newWeb(f.Fetch, target, "")
	if err != nil {
		return &UsageError{err}
	}
	return f.file(ctx, w, name)
}

// file finds what belongs to one file of a place.
func (f *finder) file(ctx context.Context, p place, name string) error {
	switch {
	case name == sumsName:
		return f.sums(ctx, p, name)
	case strings.HasSuffix(name, ".json"):
		data, err := bytesOf(ctx, p, name, manifest.MaxSize)
		if err == nil {
			if m, err := manifest.Decode(strings.NewReader(string(data))); err == nil {
				if url, _ := m.Artifact(); url != "" {
					return f.manifest(ctx, p, name, m)
				}
			}
		}
		if name == manifestName {
			return f.badManifest(p, name, data, err)
		}
	}
	return f.artifact(ctx, p, name)
}

// badManifest says why a manifest.json cannot be followed.
func (f *finder) badManifest(p place, name string, data []byte, err error) error {
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.where(name), err)
	}
	if _, err := manifest.Decode(strings.NewReader(string(data))); err != nil {
		return fmt.Errorf("reading %s: %w", p.where(name), err)
	}
	return fmt.Errorf("reading %s: it names no artifact, neither in rootfs nor in initramfs", p.where(name))
}

// artifact finds what belongs to an artifact.
func (f *finder) artifact(ctx context.Context, p place, name string) error {
	file, err := f.hash(ctx, p, name)
	if err != nil {
		return err
	}
	file.Role, file.Required = Artifact, true
	f.found.Files = append(f.found.Files, file)
	for _, c := range companions(name) {
		if err := f.companion(ctx, p, c, file); err != nil {
			return err
		}
	}
	return f.bundles(ctx, p, bundleNames(name))
}

// companion adds a file that belongs to an artifact, if it is there and does.
func (f *finder) companion(ctx context.Context, p place, name string, artifact File) error {
	if slices.ContainsFunc(f.found.Files, func(x File) bool { return x.Name == name }) {
		return nil
	}
	belongs := true
	var err error
	switch role(name) {
	case Manifest:
		belongs, err = f.compareManifest(ctx, p, name, artifact)
	case Sums:
		belongs, err = f.compareSums(ctx, p, name, artifact)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !belongs {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := f.hash(ctx, p, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file.several = f.several && file.Role == Sums
	f.found.Files = append(f.found.Files, file)
	return nil
}

// compareManifest compares a manifest with the artifact that it may be about.
func (f *finder) compareManifest(ctx context.Context, p place, name string, artifact File) (belongs bool, err error) {
	data, err := bytesOf(ctx, p, name, manifest.MaxSize)
	if err != nil {
		return false, err
	}
	m, err := manifest.Decode(strings.NewReader(string(data)))
	if err != nil {
		f.note("%s is no manifest that Volant reads: %v", p.where(name), err)
		return false, nil
	}
	url, checksum := m.Artifact()
	if other := lastName(url); other != artifact.Name && (name != stem(artifact.Name)+manifestSuffix || checksum == "") {
		f.note("%s is about another artifact, %q", p.where(name), other)
		return false, nil
	}
	f.checkChecksum(p.where(name), checksum, artifact)
	return true, nil
}

// checkChecksum compares a manifest's checksum with the artifact.
func (f *finder) checkChecksum(where, checksum string, artifact File) {
	switch {
	case f.peek:
	case checksum == "":
		f.note("%s has no checksum: Volant does not check what it fetches", where)
	case checksum != "sha256:"+artifact.SHA256:
		f.problem("%s says checksum %q, but %s has sha256:%s", where, checksum, artifact.Name, artifact.SHA256)
	}
}

// compareSums compares SHA256SUMS with what is found so far.
func (f *finder) compareSums(ctx context.Context, p place, name string, artifact File) (belongs bool, err error) {
	data, err := bytesOf(ctx, p, name, statement.MaxSums)
	if err != nil {
		return false, err
	}
	sums, err := statement.ParseSums(data)
	if err != nil {
		f.note("%s cannot be read: %v", p.where(name), err)
		return false, nil
	}
	if !slices.ContainsFunc(sums, func(s statement.Subject) bool { return s.Name == artifact.Name }) {
		return false, nil
	}
	f.several = several(sums)
	f.checkSums(p.where(name), sums)
	return true, nil
}

// several tells whether checksums are of several plugins.
func several(sums []statement.Subject) bool {
	artifacts := 0
	for _, s := range sums {
		if role(s.Name) == Artifact {
			artifacts++
		}
	}
	return artifacts > 1
}

// checkSums compares checksums with the files of those names.
func (f *finder) checkSums(where string, sums []statement.Subject) {
	if f.peek {
		return
	}
	for _, s := range sums {
		for _, file := range f.found.Files {
			if file.Name == s.Name && file.SHA256 != s.SHA256() {
				f.problem("%s says %s of %s, but the file has %s", where, s.SHA256(), s.Name, file.SHA256)
			}
		}
	}
}

// manifest finds the artifact that a manifest names, and what belongs to it.
func (f *finder) manifest(ctx context.Context, p place, name string, m *manifest.Manifest) error {
	own, err := f.hash(ctx, p, name)
	if err != nil {
		return err
	}
	own.Role, own.Required = Manifest, true
	url, checksum := m.Artifact()
	where, base, err := f.follow(ctx, p, url)
	if err != nil {
		return fmt.Errorf("following %s to its artifact: %w", p.where(name), err)
	}
	artifact, err := f.hash(ctx, where, base)
	if err != nil {
		return fmt.Errorf("following %s to its artifact: %w", p.where(name), err)
	}
	artifact.Role, artifact.Required = Artifact, true
	f.found.Files = append(f.found.Files, artifact, own)
	f.checkChecksum(p.where(name), checksum, artifact)
	places := []place{p}
	if where != p {
		places = append(places, where)
	}
	for _, at := range places {
		for _, c := range companions(base) {
			if role(c) == Manifest {
				continue
			}
			if err := f.companion(ctx, at, c, artifact); err != nil {
				return err
			}
		}
		if err := f.bundles(ctx, at, append(bundleNames(base), name+".sigstore.json")); err != nil {
			return err
		}
	}
	return nil
}

// follow finds where a manifest's artifact is: beside the manifest if a file of that name is
// there, else where the manifest says.
func (f *finder) follow(ctx context.Context, p place, address string) (place, string, error) {
	name := lastName(address)
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		name = lastName(u.Path)
	}
	if name == "" {
		return nil, "", fmt.Errorf("%q names no file", address)
	}
	remote, isRemote := p.(*web)
	if !isRemote || !strings.Contains(address, "://") {
		err := p.read(ctx, name, 0, func(io.Reader) error { return errFound })
		if errors.Is(err, errFound) {
			return p, name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	switch {
	case strings.Contains(address, "://") && f.Offline:
		return nil, "", fmt.Errorf("it is at %s, which --offline excludes, and %s is not there", address, p.where(name))
	case strings.Contains(address, "://"):
		origin := ""
		if isRemote {
			origin = remote.base.Host
		}
		return newWeb(f.Fetch, address, origin)
	case filepath.IsAbs(address) && !isRemote:
		return folder{filepath.Dir(address)}, name, nil
	}
	return nil, "", fmt.Errorf("%s is not there, and %q is no address that can be fetched", p.where(name), address)
}

// errFound ends the reading of a file that only has to be there.
var errFound = errors.New("found")

// sums finds the files that SHA256SUMS lists.
func (f *finder) sums(ctx context.Context, p place, name string) error {
	data, err := bytesOf(ctx, p, name, statement.MaxSums)
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.where(name), err)
	}
	sums, err := statement.ParseSums(data)
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.where(name), err)
	}
	return f.all(ctx, p, names(sums, name), sums, p.where(name))
}

// names are those of checksums, artifacts first, and the checksums' own.
func names(sums []statement.Subject, own string) []string {
	var list []string
	for _, s := range sums {
		list = append(list, s.Name)
	}
	slices.SortStableFunc(list, func(a, b string) int { return order(a) - order(b) })
	return append(list, own)
}

// order puts artifacts first.
func order(name string) int {
	if role(name) == Artifact {
		return 0
	}
	return 1
}

// all hashes files that all have to be verified, compares them with checksums and adds
// their bundles.
func (f *finder) all(ctx context.Context, p place, names []string, sums []statement.Subject, sumsAt string) error {
	var bundles []string
	for _, name := range names {
		file, err := f.hash(ctx, p, name)
		if errors.Is(err, fs.ErrNotExist) {
			f.problem("%s lists %s, which is not there", sumsAt, name)
			continue
		}
		if err != nil {
			return err
		}
		file.Required = true
		if file.Role == Sums && several(sums) {
			// Jobs that build one plugin each cannot sign it. Every file that it lists is
			// required.
			file.Required, file.several = false, true
		}
		f.found.Files = append(f.found.Files, file)
		for _, b := range bundleNames(name) {
			if !slices.Contains(bundles, b) {
				bundles = append(bundles, b)
			}
		}
	}
	f.checkSums(sumsAt, sums)
	for _, file := range f.found.Files {
		if file.Role != Manifest {
			continue
		}
		for _, artifact := range f.artifactsOf(file.Name) {
			if _, err := f.compareManifest(ctx, p, file.Name, artifact); err != nil {
				return err
			}
		}
	}
	return f.bundles(ctx, p, bundles)
}

// artifactsOf are those that a manifest may be about: the one whose name it has, else all.
func (f *finder) artifactsOf(manifest string) []File {
	var all []File
	for _, file := range f.found.Files {
		if file.Role != Artifact {
			continue
		}
		if manifest == stem(file.Name)+manifestSuffix {
			return []File{file}
		}
		all = append(all, file)
	}
	return all
}

// release finds what belongs to a release.
func (f *finder) release(ctx context.Context, repo, tag string) error {
	g, err := newGitHub(f.Options)
	if err != nil {
		return err
	}
	r, err := g.release(ctx, repo, tag)
	if err != nil {
		return err
	}
	var files []string
	others := 0
	for _, name := range r.names {
		switch {
		case isBundle(name):
		case role(name) == Other:
			others++
		default:
			files = append(files, name)
		}
	}
	slices.SortStableFunc(files, func(a, b string) int { return order(a) - order(b) })
	if len(files) == 0 {
		return &UsageError{fmt.Errorf("release %s of %s has no artifact, no manifest.json and no SHA256SUMS", r.tag, repo)}
	}
	if others > 0 {
		f.note("%d further files of the release are not looked at", others)
	}
	var sums []statement.Subject
	if slices.Contains(files, sumsName) {
		data, err := bytesOf(ctx, r, sumsName, statement.MaxSums)
		if err != nil {
			return err
		}
		if sums, err = statement.ParseSums(data); err != nil {
			return fmt.Errorf("reading %s: %w", r.where(sumsName), err)
		}
	}
	return f.all(ctx, r, files, sums, r.where(sumsName))
}

// bundles reads those of the names that are there, unless the user named others.
func (f *finder) bundles(ctx context.Context, p place, names []string) error {
	if len(f.Bundles) > 0 {
		return nil
	}
	for _, name := range names {
		data, err := bytesOf(ctx, p, name, verify.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = f.add(name, data)
		}
		if err != nil {
			return fmt.Errorf("reading bundles: %w", err)
		}
	}
	return nil
}

// askGitHub asks for the attestations of the first file if there is no bundle, and
// for those of each of several artifacts that no bundle is about.
func (f *finder) askGitHub(ctx context.Context) error {
	files := f.unspoken()
	if len(f.Repos) == 0 || len(files) == 0 {
		return nil
	}
	g, err := newGitHub(f.Options)
	if err != nil {
		return err
	}
	for _, file := range files {
		for _, repo := range f.Repos {
			bundles, err := g.attestations(ctx, repo, file.SHA256)
			if err != nil {
				return err
			}
			for i := range bundles {
				if len(files) > 1 { // each answer is numbered from 1
					bundles[i].Source += " about " + file.Name
				}
			}
			f.found.Bundles = append(f.found.Bundles, bundles...)
		}
	}
	return nil
}

// unspoken are the files whose attestations GitHub is asked for.
func (f *finder) unspoken() []File {
	var artifacts []File
	for _, file := range f.found.Files {
		if file.Role == Artifact {
			artifacts = append(artifacts, file)
		}
	}
	if len(artifacts) < 2 {
		if len(f.found.Bundles) > 0 || len(f.found.Files) == 0 {
			return nil
		}
		return f.found.Files[:1]
	}
	about := byDigest(f.found.Bundles)
	return slices.DeleteFunc(artifacts, func(file File) bool { return len(about.named[file.SHA256]) > 0 })
}

// hash reads a file to its end.
func (f *finder) hash(ctx context.Context, p place, name string) (File, error) {
	file := File{Name: name, Role: role(name), Path: p.path(name), from: p}
	err := p.read(ctx, name, 0, func(r io.Reader) error {
		if f.peek {
			return nil
		}
		counted := &counter{r: r}
		s, err := statement.Digest(ctx, name, counted)
		file.SHA256, file.Size = s.SHA256(), counted.n
		return err
	})
	if err != nil {
		return File{}, fmt.Errorf("reading %s: %w", p.where(name), err)
	}
	return file, nil
}

// Copy fetches a file once more into w. It has to be the same still.
func (f *Found) Copy(ctx context.Context, file File, w io.WriteSeeker) error {
	var got statement.Subject
	err := file.from.read(ctx, file.Name, 0, func(r io.Reader) (err error) {
		if _, err := w.Seek(0, io.SeekStart); err != nil {
			return err
		}
		got, err = statement.Digest(ctx, file.Name, io.TeeReader(r, w))
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", file.from.where(file.Name), err)
	}
	if got.SHA256() != file.SHA256 {
		return fmt.Errorf("reading %s: it has changed meanwhile", file.from.where(file.Name))
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (f *finder) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(f.found.Notes, text) {
		f.found.Notes = append(f.found.Notes, text)
	}
}

func (f *finder) problem(format string, args ...any) {
	f.found.Problems = append(f.found.Problems, &verify.Problem{Kind: Checksum, Message: fmt.Sprintf(format, args...)})
}

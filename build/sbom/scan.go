package sbom

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/sbom/rpmdb"
	"github.com/volant/fledge-action/build/tree"
)

// Scan reads what is in the tree of in. See the package's documentation for what is an
// error and what a warning.
func Scan(ctx context.Context, in Input) (*Document, error) {
	s := &scanner{ctx: ctx, in: in, found: map[string]*Package{}}
	for _, step := range []func() error{s.osRelease, s.databases, s.programs, s.parts, s.files} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("listing packages: %w", err)
		}
	}
	return s.document(), nil
}

type scanner struct {
	ctx      context.Context // of the one call of Scan
	in       Input
	distro   Distro
	found    map[string]*Package // by package URL
	related  int                 // capabilities of all of them
	cut      bool                // some of them were left out
	seen     bool                // a database was
	warnings []string
	hashed   []hashedFile
}

func (s *scanner) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// maxRelatedAll is how many capabilities of all packages are held against one another.
const maxRelatedAll = 1_000_000

// budget takes its capabilities from a package that has too many. It is listed all the
// same.
func (s *scanner) budget(p *Package) {
	more := len(p.requires) + len(p.provides)
	if s.related+more <= maxRelatedAll {
		s.related += more
		return
	}
	p.requires, p.provides = nil, nil
	if !s.cut {
		s.warn("packages provide and need more than %d things: which one needs which is not listed of all", maxRelatedAll)
	}
	s.cut = true
}

// add takes a package that the file at path tells of.
func (s *scanner) add(p Package, path string) error {
	for _, f := range []struct{ what, value string }{
		{"name", p.Name}, {"version", p.Version}, {"architecture", p.Arch}, {"source", p.Upstream}, {"homepage", p.Homepage},
	} {
		if len(f.value) > maxField {
			return fmt.Errorf("a %s of %d bytes, the limit is %d", f.what, len(f.value), maxField)
		}
	}
	if p.Name == "" {
		return errors.New("a package without a name")
	}
	p.PURL = p.purl(s.distro).String()
	s.budget(&p)
	old := s.found[p.PURL]
	if old == nil {
		if len(s.found) == maxPackages {
			return errPackages
		}
		p.Where = []string{path}
		s.found[p.PURL] = &p
		return nil
	}
	if !slices.Contains(old.Where, path) {
		old.Where = append(old.Where, path)
	}
	old.requires = append(old.requires, p.requires...)
	return nil
}

// lookup finds a regular file; nil when there is none. name is that of the file itself.
func (s *scanner) lookup(name string) (n *tree.Node, at string) {
	at, err := s.in.Tree.Resolve(name, true)
	if errors.Is(err, tree.ErrLoop) {
		s.warn("/%s: %v", name, err)
	}
	if err != nil {
		return nil, ""
	}
	if n, err = s.in.Tree.Lookup(at); err != nil || !n.Mode.IsRegular() {
		return nil, ""
	}
	if n.Content == nil {
		return &tree.Node{Mode: n.Mode, Content: tree.Bytes(nil)}, at
	}
	return n, at
}

func (s *scanner) osRelease() error {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		n, at := s.lookup(name)
		if n == nil {
			continue
		}
		if n.Size() > maxOSRelease {
			s.warn("/%s has %d bytes, the limit is %d; the distribution is not known", at, n.Size(), maxOSRelease)
			continue
		}
		b, err := readAll(n.Content)
		if err != nil {
			return err
		}
		s.distro = parseOSRelease(string(b))
		return nil
	}
	return nil
}

func readAll(c tree.Content) ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, c.Size()))
}

// A database is one kind of database at one place.
type database struct {
	name string
	kind Kind
	read func(s *scanner, c tree.Content, add func(Package) error) error
}

func databases() []database {
	all := []database{
		{"lib/apk/db/installed", KindAPK, readAPK},
		{"usr/lib/apk/db/installed", KindAPK, readAPK},
		{"var/lib/dpkg/status", KindDeb, readDpkg},
	}
	for _, dir := range []string{"var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"} {
		for _, file := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			all = append(all, database{dir + "/" + file, KindRPM, readRPM})
		}
	}
	return all
}

// databases reads the databases of package managers.
func (s *scanner) databases() error {
	done := map[string]bool{}
	for _, d := range append(databases(), s.statusFiles()...) {
		n, at := s.lookup(d.name)
		if n == nil || done[at] {
			continue
		}
		done[at] = true
		if err := s.database(d, n, at); err != nil {
			return err
		}
	}
	if !s.seen && s.distro.ID != "" {
		s.warn("os-release says %s, and no package database is in the tree: the distribution's packages are not listed", cmp.Or(s.distro.Name, s.distro.ID))
	}
	return nil
}

// statusFiles are the files of var/lib/dpkg/status.d, one for each package.
func (s *scanner) statusFiles() []database {
	const dir = "var/lib/dpkg/status.d"
	at, err := s.in.Tree.Resolve(dir, true)
	if err != nil {
		return nil
	}
	n, err := s.in.Tree.Lookup(at)
	if err != nil || !n.Mode.IsDir() {
		return nil
	}
	var all []database
	for base := range n.Children() {
		if !strings.HasSuffix(base, ".md5sums") && len(all) <= maxPackages {
			all = append(all, database{at + "/" + base, KindDeb, readStatusFile})
		}
	}
	return all
}

// database reads one. What is wrong with it is a warning.
func (s *scanner) database(d database, n *tree.Node, at string) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.seen = true
	count := 0
	err := d.read(s, n.Content, func(p Package) error {
		if count%1000 == 0 && s.ctx.Err() != nil {
			return readError{s.ctx.Err()}
		}
		if err := s.add(p, "/"+at); err != nil {
			return err
		}
		count++
		return nil
	})
	var read readError
	if errors.As(err, &read) {
		return fmt.Errorf("reading %q: %w", "/"+at, read.error)
	}
	if err != nil {
		s.warn("%s database /%s cannot be read whole: %v; %d packages of it are listed", d.kind, at, err, count)
	}
	if d.kind == KindRPM && strings.HasSuffix(at, ".sqlite") {
		if wal, _ := s.lookup(d.name + "-wal"); wal != nil && wal.Size() > 0 {
			s.warn("rpm database /%s has a write-ahead log of %d bytes, which is not read: packages may be missing", at, wal.Size())
		}
	}
	return nil
}

// opened hands a text database to its parser.
func opened(c tree.Content, parse func(io.Reader) error) error {
	if c.Size() > maxDatabase {
		return fmt.Errorf("%d bytes, the limit is %d", c.Size(), maxDatabase)
	}
	r, err := c.Open()
	if err != nil {
		return readError{err}
	}
	defer r.Close()
	return parse(r)
}

func readAPK(_ *scanner, c tree.Content, add func(Package) error) error {
	return opened(c, func(r io.Reader) error { return parseAPK(r, add) })
}

func readDpkg(_ *scanner, c tree.Content, add func(Package) error) error {
	return opened(c, func(r io.Reader) error { return parseDpkg(r, true, add) })
}

func readStatusFile(_ *scanner, c tree.Content, add func(Package) error) error {
	return opened(c, func(r io.Reader) error { return parseDpkg(r, false, add) })
}

func readRPM(s *scanner, c tree.Content, add func(Package) error) error {
	f := s.open(c, 2*rpmdb.MaxSize) // Berkeley DB: each page up to twice
	defer f.Close()
	err := rpmdb.Read(f, c.Size(), func(p rpmdb.Package) error {
		if p.Name == "gpg-pubkey" { // a key in the shape of a package
			return nil
		}
		version := p.Version
		if p.Release != "" {
			version += "-" + p.Release
		}
		supplier := ""
		if p.Vendor != "" && len(p.Vendor) <= maxField {
			supplier = "Organization: " + p.Vendor
		}
		return add(Package{
			Kind: KindRPM, Name: p.Name, Version: version, Epoch: p.Epoch, Arch: p.Arch, Upstream: p.SourceRPM,
			Licence: parseLicence(p.License), Supplier: supplier, Homepage: p.URL, requires: p.Requires, provides: p.Provides,
		})
	})
	if f.err != nil {
		return readError{f.err}
	}
	return err
}

// file is a content that is read at random. It keeps the first error of the content
// itself, which is nothing that a format could be blamed for.
type file struct {
	*tree.ReaderAt
	ctx  context.Context
	left int64 // bytes that may be read
	err  error
}

func (s *scanner) open(c tree.Content, limit int64) *file {
	return &file{ReaderAt: tree.NewReaderAt(c), ctx: s.ctx, left: limit}
}

var errMuch = errors.New("too much has to be read")

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.left -= int64(len(p)); f.left < 0 {
		return 0, errMuch
	}
	err := f.ctx.Err()
	n := 0
	if err == nil {
		n, err = f.ReaderAt.ReadAt(p, off)
	}
	if err != nil && err != io.EOF && off >= 0 && f.err == nil {
		f.err = err
	}
	return n, err
}

// hashedFile is a file of the project with its sums, in hex.
type hashedFile struct {
	File
	sha1, sha256 string
}

// files computes the sums of the project's files. SPDX wants SHA-1 too.
func (s *scanner) files() error {
	for _, f := range s.in.Files {
		n, err := s.in.Tree.Lookup(f.Path)
		if err != nil {
			return err
		}
		one, two := sha1.New(), sha256.New()
		if err := s.hash(n, one, two); err != nil {
			return fmt.Errorf("reading %q: %w", "/"+f.Path, err)
		}
		s.hashed = append(s.hashed, hashedFile{f, fmt.Sprintf("%x", one.Sum(nil)), fmt.Sprintf("%x", two.Sum(nil))})
	}
	slices.SortFunc(s.hashed, func(a, b hashedFile) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

func (s *scanner) hash(n *tree.Node, hashes ...hash.Hash) error {
	if n.Content == nil {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, 256<<10)
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		k, err := r.Read(buf)
		for _, h := range hashes {
			h.Write(buf[:k])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parts lists the programs that fledge added and nothing has replaced.
func (s *scanner) parts() error {
	for _, part := range s.in.Parts {
		n, at := s.lookup(part.Path)
		if n == nil {
			continue
		}
		sum := sha256.New()
		if err := s.hash(n, sum); err != nil {
			return fmt.Errorf("reading %q: %w", "/"+at, err)
		}
		digest := fmt.Sprintf("sha256:%x", sum.Sum(nil))
		if digest != part.Digest {
			continue
		}
		p := Package{Kind: KindGeneric, Name: part.Name, Version: part.Version, Digest: digest}
		if p.Version == "" && p.Name == "busybox" {
			b, err := readAll(n.Content)
			if err != nil {
				return err
			}
			p.Version = busyboxVersion(b)
		}
		if err := s.add(p, "/"+at); err != nil {
			return err
		}
	}
	return nil
}

// busyboxVersion finds the version in busybox's banner, "" without one.
func busyboxVersion(b []byte) string {
	_, rest, ok := bytes.Cut(b, []byte("BusyBox v"))
	end := bytes.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if !ok || end <= 0 || end > 20 {
		return ""
	}
	return string(rest[:end])
}

// document sorts what was found and connects it.
func (s *scanner) document() *Document {
	d := &Document{Distro: s.distro, in: s.in, files: s.hashed}
	for _, p := range s.found {
		slices.Sort(p.Where)
		p.id = identifier("Package-"+string(p.Kind)+"-"+p.Name, p.PURL)
		d.Packages = append(d.Packages, *p)
	}
	slices.SortFunc(d.Packages, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.PURL, b.PURL))
	})
	if !connect(d.Packages) {
		s.warn("packages have more than %d dependencies; the others are not listed", maxNeeds)
	}
	d.Warnings = s.warnings
	return d
}

const (
	maxProviders = 8       // packages that count as providers of one capability
	maxNeeds     = 200_000 // dependencies of all packages
)

// connect finds the packages that each one needs: those that provide a capability, by
// name, whatever version is asked for. It tells whether that were not too many.
func connect(all []Package) bool {
	type capability struct {
		kind Kind
		name string
	}
	providers := map[capability][]int{}
	for i, p := range all {
		names := append([]string{p.Name}, p.provides...)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			c := capability{p.Kind, name}
			if len(providers[c]) < maxProviders {
				providers[c] = append(providers[c], i)
			}
		}
	}
	total := 0
	for i := range all {
		p := &all[i]
		for _, name := range p.requires {
			for _, j := range providers[capability{p.Kind, name}] {
				if j != i {
					p.needs = append(p.needs, j)
				}
			}
			if len(p.needs) > maxNeeds {
				break
			}
		}
		slices.Sort(p.needs)
		p.needs = slices.Compact(p.needs)
		p.requires, p.provides = nil, nil
		if total += len(p.needs); total > maxNeeds {
			p.needs = nil
			return false
		}
	}
	return true
}

// identifier is an identifier that both formats allow, unique for key.
func identifier(name, key string) string {
	if len(name) > 80 {
		name = name[:80]
	}
	return fmt.Sprintf("%s-%x", idString(name), sha256.Sum256([]byte(key)))[:len(idString(name))+17]
}

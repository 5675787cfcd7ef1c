package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/compare"
	"github.com/volant/fledge-action/internal/tool"
)

// second is a build's repetition by another process in another world. What such
// a world changes is listed in docs/reproducibility.md.
type second struct {
	*Program
	flags  buildFlags
	config *config.Config
	format sbom.Format // of the SBOM, "" for none
	report *reporter

	dir string // all of the second build's files
}

// confirm implements build.Request.Confirm: it builds again and compares. When the
// two differ they are kept for a look at them; nothing is left otherwise.
func (s *second) confirm(ctx context.Context, r *build.Result, artifact *os.File) (err error) {
	s.report.event(build.Event{Kind: build.StageBegins, Message: "building again in another world"})
	if s.dir, err = os.MkdirTemp("", "fledge-again-"); err != nil {
		return fmt.Errorf("making a folder for the second build: %w", err)
	}
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	manifest, err := r.Manifest.Encode()
	if err != nil {
		return err
	}
	texts := []document{{build.ManifestName, manifest}}
	if r.SBOM != nil {
		texts = append(texts, document{filepath.Base(build.SBOMPath(r.Artifact.Path, s.format)), r.SBOM.Data})
	}
	again, err := s.build(ctx, r)
	if err != nil {
		return err
	}
	if err := changedInputs(r.Materials, again.Materials); err != nil {
		return err
	}
	what, err := s.compare(ctx, artifact, r, again, texts)
	if err != nil {
		return err
	}
	if what == "" {
		if !r.Reproducible {
			s.report.notice("the second build has other bytes, as every build of a filesystem that the kernel writes (%s), and holds the same: content digest %s", r.Artifact.Format, r.ContentDigest)
		}
		return nil
	}
	if err := s.keep(ctx, artifact, r.Artifact, texts); err != nil {
		return err
	}
	s.report.end(false)
	err = s.explain(ctx, what, filepath.Base(r.Artifact.Path))
	kept = ctx.Err() == nil
	return err
}

// document is a small file that a build writes beside the artifact.
type document struct {
	name string
	data []byte
}

// What differs, if it is not a text.
const (
	theArtifact = "the artifact"
	theContent  = "the content of the artifact"
)

// repeated is what the second build tells of itself.
type repeated struct {
	Artifact  build.Artifact
	Materials []build.Material
}

// Folders in second.dir, and links in it to what is the same in both worlds.
const (
	firstDir    = "first"
	secondDir   = "second"
	tempDir     = "tmp"
	currentDir  = "current"
	projectLink = "project"
	homeLink    = "home"
	cacheLink   = "cache"
)

// build runs the second build.
func (s *second) build(ctx context.Context, r *build.Result) (*repeated, error) {
	if s.Executable == "" {
		return nil, errors.New("building a second time: the system does not tell where this program is")
	}
	argv, err := s.prepare(r)
	if err != nil {
		return nil, fmt.Errorf("preparing the second build: %w", err)
	}
	var out capped
	process, err := tool.Start(tool.Command{
		Path: s.Executable, Argv: argv, Dir: filepath.Join(s.dir, currentDir), Env: s.world(), Stdout: &out,
	})
	if err != nil {
		return nil, fmt.Errorf("building a second time: %w", err)
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Kill()
		return nil, ctx.Err()
	}
	if err := process.Err(); err != nil {
		err = fmt.Errorf("building a second time, after the first build succeeded: %w", err)
		if r.Unpinned != nil {
			err = fmt.Errorf("%w (not pinned, and so possibly changed in between: %s; run 'fledge lock')", err, strings.Join(r.Unpinned, ", "))
		}
		return nil, err
	}
	var result repeated
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return nil, fmt.Errorf("reading the second build's result: %w", err)
	}
	return &result, nil
}

// prepare makes the second build's folders and decides its arguments. Links give
// the project, the home and the cache other paths.
func (s *second) prepare(r *build.Result) ([]string, error) {
	for _, name := range []string{secondDir, tempDir, currentDir} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	project := s.absolute(s.config.Dir)
	url, _ := r.Manifest.Artifact()
	argv := []string{
		s.Argv0, "build", "--quiet", "--json", "--umask", "077", "--attest", "off", "--sbom", cmp.Or(string(s.format), noSBOM),
		"--config", filepath.Join(s.dir, projectLink, filepath.Base(s.config.File)),
		"--output", filepath.Join(s.dir, secondDir, filepath.Base(r.Artifact.Path)),
		"--artifact-url", url,
		"--leave-out", r.ManifestPath, "--leave-out", s.dir, "--leave-out", r.Artifact.Path,
	}
	for _, path := range build.Companions(r.Artifact.Path) {
		argv = append(argv, "--leave-out", path)
	}
	links := map[string]string{projectLink: project}
	if home := s.Getenv("HOME"); filepath.IsAbs(home) {
		links[homeLink] = home
	}
	if cache := s.cacheDir(s.flags.cacheDir); cache == "" {
		argv = append(argv, "--cache-dir", "none")
	} else {
		links[cacheLink] = s.absolute(cache)
		argv = append(argv, "--cache-dir", filepath.Join(s.dir, cacheLink))
	}
	if s.flags.manifest != "" {
		argv = append(argv, "--manifest", s.absolute(s.flags.manifest))
	}
	if s.flags.version != "" {
		argv = append(argv, "--plugin-version", s.flags.version)
	}
	if s.flags.builder != "" {
		argv = append(argv, "--filesystem-builder", s.flags.builder)
	}
	if s.flags.locked {
		argv = append(argv, "--locked")
	}
	if s.flags.unbootable {
		argv = append(argv, "--allow-unbootable")
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
			return nil, err
		}
	}
	return argv, nil
}

func (s *second) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.WorkDir, path)
}

// world is the environment of the second build: that of this process, which holds
// credentials, proxies and SOURCE_DATE_EPOCH, with other values for what must
// not matter. The last of two values counts.
func (s *second) world() []string {
	env := append([]string{}, s.Environ...)
	set := func(name string, values ...string) {
		for _, v := range values {
			if v != s.Getenv(name) {
				env = append(env, name+"="+v)
				return
			}
		}
	}
	set("TZ", "Asia/Kathmandu", "America/St_Johns")
	set("LANG", "tr_TR.UTF-8", "C")
	set("LC_ALL", "tr_TR.UTF-8", "C")
	set("TMPDIR", filepath.Join(s.dir, tempDir))
	set("PWD", filepath.Join(s.dir, currentDir))
	if filepath.IsAbs(s.Getenv("HOME")) {
		set("HOME", filepath.Join(s.dir, homeLink))
	}
	processors := "1"
	if runtime.GOMAXPROCS(0) == 1 {
		processors = "3"
	}
	return append(env, "GOMAXPROCS="+processors)
}

// maxResult is how much of the second build's result is read, in bytes.
const maxResult = 16 << 20

// capped is a buffer of at most maxResult bytes.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > maxResult {
		return 0, fmt.Errorf("the result has more than %d bytes, which is the limit", maxResult)
	}
	return c.Buffer.Write(p)
}

// changedInputs is an error when two builds have not read the same, which then
// tells nothing about whether the build is reproducible.
func changedInputs(first, then []build.Material) error {
	old, now := digests(first), digests(then)
	var changed []string
	image, pin := false, false
	for _, m := range append(append([]build.Material{}, first...), then...) {
		a, b := old[m.Name], now[m.Name]
		if a == b {
			continue
		}
		delete(old, m.Name)
		delete(now, m.Name)
		what, pinned := m.Name, m.Name == "agent" || m.Name == "busybox"
		if m.Name == "image" || strings.HasPrefix(m.Name, "image ") {
			if image {
				continue // its manifest, config and layers change together
			}
			what, image, pinned = fmt.Sprintf("image %q", m.URI), true, true
		}
		changed = append(changed, fmt.Sprintf("the %s changed (%s, then %s)", what, cmp.Or(a, "none"), cmp.Or(b, "none")))
		pin = pin || pinned
	}
	if changed == nil {
		return nil
	}
	advice := "build again while nothing writes to the project"
	if pin {
		advice = "pin it with 'fledge lock' and build again"
	}
	return fmt.Errorf("between the two builds %s, so they cannot be compared; %s", strings.Join(changed, ", "), advice)
}

// digests are those of all materials of each name.
func digests(all []build.Material) map[string]string {
	byName := map[string]string{}
	for _, m := range all {
		byName[m.Name] = strings.TrimPrefix(byName[m.Name]+" "+m.Digest, " ")
	}
	return byName
}

// compare says in which of their files the two builds differ, "" if in none.
func (s *second) compare(ctx context.Context, first io.ReaderAt, r *build.Result, again *repeated, texts []document) (string, error) {
	a := r.Artifact
	path := filepath.Join(s.dir, secondDir, filepath.Base(a.Path))
	other, size, err := openFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the second artifact: %w", err)
	}
	defer other.Close()
	what := ""
	if r.Reproducible {
		what, err = sameBytes(ctx, first, a.Size, other, size)
	} else {
		what, err = sameContent(ctx, first, a.Size, other, size, r.ContentDigest)
	}
	if err != nil || what != "" {
		return what, err
	}
	for _, t := range texts {
		text, err := os.ReadFile(filepath.Join(s.dir, secondDir, t.name))
		if err != nil {
			return "", fmt.Errorf("reading what the second build wrote: %w", err)
		}
		if r.Reproducible && !bytes.Equal(t.data, text) ||
			!r.Reproducible && !bytes.Equal(withoutDigest(t.data, a.Digest), withoutDigest(text, again.Artifact.Digest)) {
			return t.name, nil
		}
	}
	return "", nil
}

func sameBytes(ctx context.Context, a io.ReaderAt, sizeA int64, b io.ReaderAt, sizeB int64) (string, error) {
	off, err := compare.SameBytes(ctx, a, sizeA, b, sizeB)
	if err != nil {
		return "", fmt.Errorf("comparing the artifacts: %w", err)
	}
	if off >= 0 {
		return theArtifact, nil
	}
	return "", nil
}

// sameContent reads both artifacts, and so finds too what the kernel did not write as it was
// told: want is the digest of what the first build has put into its artifact.
func sameContent(ctx context.Context, a io.ReaderAt, sizeA int64, b io.ReaderAt, sizeB int64, want string) (string, error) {
	one, err := contentDigest(ctx, a, sizeA)
	if err != nil {
		return "", fmt.Errorf("reading the artifact: %w", err)
	}
	if one != want {
		return "", fmt.Errorf("the artifact does not hold what was put into it: its content digest is %s, and that of the files is %s; please report it", one, want)
	}
	two, err := contentDigest(ctx, b, sizeB)
	if err != nil {
		return "", fmt.Errorf("reading the second artifact: %w", err)
	}
	if one != two {
		return theContent, nil
	}
	return "", nil
}

// named finds what an SBOM is called by: a digest of it all, the artifact's digest included.
var named = regexp.MustCompile(`(?m)^(\s*"(?:documentNamespace|serialNumber)": ").*$`)

// withoutDigest is a text without what follows from the artifact's digest, which is another
// one in each build of what the kernel writes.
func withoutDigest(text []byte, digest string) []byte {
	text = bytes.ReplaceAll(text, []byte(strings.TrimPrefix(digest, "sha256:")), []byte("the artifact's"))
	return named.ReplaceAll(text, []byte("$1"))
}

// keep writes the first build's files beside those of the second, and removes what
// is not for looking at.
func (s *second) keep(ctx context.Context, first *os.File, a build.Artifact, texts []document) error {
	dir := filepath.Join(s.dir, firstDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("keeping the first build: %w", err)
	}
	err := copySparse(ctx, filepath.Join(dir, filepath.Base(a.Path)), first, a.Size)
	for _, t := range texts {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, t.name), t.data, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the first build: %w", err)
	}
	for _, name := range []string{tempDir, currentDir, projectLink, homeLink, cacheLink} {
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("clearing up after the second build: %w", err)
		}
	}
	return nil
}

// copySparse writes a copy in which runs of zeros are holes.
func copySparse(ctx context.Context, path string, from io.ReaderAt, size int64) error {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < size && err == nil; at += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), size-at)]
		if err = ctx.Err(); err != nil {
			break
		}
		if _, err = io.ReadFull(io.NewSectionReader(from, at, size-at), p); err == nil && !bytes.Equal(p, zeros[:len(p)]) {
			_, err = to.WriteAt(p, at)
		}
	}
	if err == nil {
		err = to.Truncate(size)
	}
	return errors.Join(err, to.Close())
}

// explain prints how the two builds differ and makes the error of it.
func (s *second) explain(ctx context.Context, what, name string) error {
	a, b := filepath.Join(s.dir, firstDir), filepath.Join(s.dir, secondDir)
	shown := "as shown above"
	if what != theArtifact && what != theContent {
		shown = firstLine(filepath.Join(a, what), filepath.Join(b, what))
	} else if err := printDifferences(ctx, s.Stderr, filepath.Join(a, name), filepath.Join(b, name), diffFlags{}); !errors.Is(err, errDiffer) {
		shown = fmt.Sprintf("in a way that cannot be shown (%v)", err)
	}
	return fmt.Errorf("not reproducible: of the same inputs two builds made %s differently, %s; nothing was written, and both are kept for a look at them, in %s and %s", what, shown, a, b)
}

// firstLine tells the first line in which two texts differ.
func firstLine(a, b string) string {
	x, errA := os.ReadFile(a)
	y, errB := os.ReadFile(b)
	if err := errors.Join(errA, errB); err != nil {
		return err.Error()
	}
	old, now := strings.Split(string(x), "\n"), strings.Split(string(y), "\n")
	at := 0
	for at < min(len(old), len(now)) && old[at] == now[at] {
		at++
	}
	line := func(all []string) string {
		if at < len(all) {
			return strconv.Quote(all[at])
		}
		return "no more"
	}
	return fmt.Sprintf("in line %d: %s, then %s", at+1, line(old), line(now))
}

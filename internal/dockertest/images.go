package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

// images are those that tests share, by their names.
type images struct {
	mu     sync.Mutex
	byName map[string]*shared
}

// shared is an image that is made for the first test that wants it.
type shared struct {
	once sync.Once
	err  error
}

// make makes an image if nobody did. It may be for tests after this one too, so make has
// no context of a test's.
func (i *images) make(t testing.TB, name string, make func() error) {
	t.Helper()
	i.mu.Lock()
	s := i.byName[name]
	if s == nil {
		s = new(shared)
		if i.byName == nil {
			i.byName = map[string]*shared{}
		}
		i.byName[name] = s
	}
	i.mu.Unlock()
	s.once.Do(func() { s.err = make() })
	if s.err != nil {
		t.Fatal(s.err)
	}
}

// A Layer is the tar of an image's one layer. Errors are kept until it is imported.
type Layer struct {
	tar *tar.Writer
	err error
}

// Folder puts a folder into the layer. mode has the bits of chmod(2).
func (l *Layer) Folder(name string, mode int64) {
	l.put(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

// File puts a file into the layer.
func (l *Layer) File(name string, mode int64, body []byte) {
	l.put(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(body))}, bytes.NewReader(body))
}

// Link puts a symbolic link into the layer.
func (l *Layer) Link(name, target string) {
	l.put(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// Program builds the Go command in a folder, a static binary, and puts it into the layer.
func (l *Layer) Program(name, folder string) {
	if l.err != nil {
		return
	}
	temp, err := os.MkdirTemp("", "fledge-docker-program")
	if err != nil {
		l.err = err
		return
	}
	defer os.RemoveAll(temp)
	file := filepath.Join(temp, "program")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", file, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, l.err = output(cmd); l.err == nil {
		l.copy(name, file)
	}
}

// copy puts a file of the machine into the layer.
func (l *Layer) copy(name, from string) {
	f, err := os.Open(from)
	if err != nil {
		l.err = errors.Join(l.err, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		l.err = errors.Join(l.err, err)
		return
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	l.put(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size(), ModTime: info.ModTime()}, f)
}

func (l *Layer) put(h *tar.Header, body io.Reader) {
	if l.err != nil {
		return
	}
	h.Name = strings.TrimPrefix(h.Name, "/")
	if l.err = l.tar.WriteHeader(h); l.err == nil && body != nil {
		_, l.err = io.Copy(l.tar, body)
	}
}

// Import makes an image of one layer for the first test that asks for its name, and
// returns the name. changes are instructions of a Dockerfile, such as
// `ENTRYPOINT ["/probe"]`.
func (d *Docker) Import(t testing.TB, name string, fill func(*Layer), changes ...string) string {
	t.Helper()
	d.images.make(t, name, func() error { return d.put(context.Background(), name, fill, changes...) })
	return name
}

func (d *Docker) put(ctx context.Context, name string, fill func(*Layer), changes ...string) error {
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	cmd := d.Command(ctx, append(args, "-", name)...)
	r, w := io.Pipe()
	cmd.Stdin = r
	go func() {
		l := &Layer{tar: tar.NewWriter(w)}
		fill(l)
		_ = w.CloseWithError(errors.Join(l.err, l.tar.Close()))
	}()
	_, err := output(cmd)
	_ = r.CloseWithError(io.ErrClosedPipe) // fill may still be at it
	return err
}

// Busybox makes the image "busybox" of the machine's static busybox, with links for
// its applets, and returns its name.
func (d *Docker) Busybox(t testing.TB) string {
	t.Helper()
	testneed.Tool(t, "busybox")
	return d.Import(t, "busybox:latest", (*Layer).Busybox, `CMD ["sh"]`)
}

// Busybox puts what a shell needs into the layer: the machine's static busybox, links for
// its applets in /bin, a user, folders. A file that comes later takes an applet's place.
func (l *Layer) Busybox() {
	program, err := testneed.Look("busybox")
	if err != nil {
		l.err = err
		return
	}
	applets, err := output(exec.Command(program, "--list"))
	if err != nil {
		l.err = err
		return
	}
	l.Folder("bin", 0o755)
	l.copy("bin/busybox", program)
	for applet := range strings.Lines(applets) {
		if applet = strings.TrimSpace(applet); applet != "busybox" {
			l.Link("bin/"+applet, "busybox")
		}
	}
	l.Folder("etc", 0o755)
	l.File("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	l.Folder("root", 0o700)
	l.Folder("tmp", 0o1777)
}

// golangTag is the tag under which the stand-in for Go's image is kept. Dockerfiles
// name the real one, with its digest.
const golangTag = "fledge-test/golang:local"

// Golang makes the stand-in for Go's official image, and returns its name: the Go that
// runs the test, the modules that the Dockerfile's programs need, what building them left
// in Go's build cache, busybox for a shell, and Debian's packages in /packages. It has no
// network.
func (d *Docker) Golang(t testing.TB) string {
	t.Helper()
	testneed.Tool(t, "busybox")
	packages := testneed.Packages(t)
	d.images.make(t, golangTag, func() error { return d.golang(context.Background(), packages) })
	return golangTag
}

func (d *Docker) golang(ctx context.Context, packages string) error {
	begun := time.Now()
	parts, err := goParts(ctx)
	if err != nil {
		return err
	}
	debs, err := os.ReadDir(packages)
	if err != nil {
		return err
	}
	listed := time.Since(begun)
	err = d.put(ctx, golangTag, func(l *Layer) {
		l.Busybox()
		for _, p := range parts {
			l.copy(p.name, p.file)
		}
		for _, deb := range debs {
			l.copy("packages/"+deb.Name(), filepath.Join(packages, deb.Name()))
		}
	}, "ENV PATH=/usr/local/go/bin:/go/bin:/bin", "ENV GOPATH=/go", "ENV GOTOOLCHAIN=local", "ENV GOPROXY=off", "ENV GOSUMDB=off", "WORKDIR /go")
	logf("the Go image took %.1fs: %.1fs to compile and list %d files, the rest to import them", time.Since(begun).Seconds(), listed.Seconds(), len(parts))
	return err
}

// logf tells how long things take; "go test" shows it with -v or when a test fails.
func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, "dockertest: "+format+"\n", args...) }

// Fledge builds this repository's Dockerfile, as a runner does for "image: Dockerfile",
// on top of Golang, and returns the image's name.
func (d *Docker) Fledge(t testing.TB) string {
	t.Helper()
	const name = "fledge-test/action:local"
	base := d.Golang(t)
	d.images.make(t, name, func() error {
		begun := time.Now()
		source, err := output(exec.Command("go", "env", "GOMOD"))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(source), "Dockerfile"))
		if err != nil {
			return err
		}
		dockerfile, err := from(string(text), base)
		if err != nil {
			return err
		}
		file := filepath.Join(d.Dir, "Dockerfile")
		if err := os.WriteFile(file, []byte(dockerfile), 0o644); err != nil {
			return err
		}
		_, err = d.run(context.Background(), "build", "--network", "none", "--build-arg", "TOOLS=-lock /packages/"+testneed.PackagesLock+" -debs /packages", "-t", name, "-f", file, filepath.Dir(source))
		logf("building the Dockerfile took %.1fs", time.Since(begun).Seconds())
		return err
	})
	return name
}

var golangStage = regexp.MustCompile(`(?m)^FROM golang:(\d+\.\d+)\.\d+-bookworm@sha256:[0-9a-f]{64} AS `)

// from puts another image in the place of Go's, which has to be pinned by a digest and
// to have the language version of the Go that runs the test.
func from(dockerfile, base string) (string, error) {
	found := golangStage.FindAllStringSubmatch(dockerfile, -1)
	if len(found) != 1 {
		return "", fmt.Errorf("the Dockerfile has %d stages from a golang image with a digest, want 1", len(found))
	}
	if have := runtime.Version(); !strings.HasPrefix(have+".", "go"+found[0][1]+".") {
		return "", fmt.Errorf("the Dockerfile builds with Go %s, and %s runs the tests", found[0][1], have)
	}
	return golangStage.ReplaceAllString(dockerfile, "FROM "+base+" AS "), nil
}

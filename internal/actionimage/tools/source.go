package tools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Archive is where a lock's paths begin: every version of every Debian package is there.
const Archive = "https://snapshot.debian.org/archive/"

// A Source says what is unpacked, and from where.
type Source struct {
	Lock    *Lock  // nil: Committed
	Debs    string // folder of packages; "": they are fetched
	Archive string // "": the constant

	pause time.Duration // before the first repetition; 0: two seconds
}

// Files are those of an architecture, by name.
func (s Source) Files(ctx context.Context, arch string) ([]File, error) {
	if s.Lock == nil {
		var err error
		if s.Lock, err = Committed(); err != nil {
			return nil, err
		}
	}
	var all []File
	for _, p := range s.Lock.Packages {
		if p.Arch != arch {
			continue
		}
		files, err := s.files(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("package %s %s for %s: %w", p.Name, p.Version, p.Arch, err)
		}
		all = append(all, files...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the lock has no files for %q", arch)
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i, f := range all[1:] {
		if f.Name == all[i].Name || strings.HasPrefix(f.Name, all[i].Name+"/") {
			return nil, fmt.Errorf("two packages have %q", all[i].Name)
		}
	}
	return all, nil
}

func (s Source) files(ctx context.Context, p Package) ([]File, error) {
	deb, err := s.Package(ctx, p)
	if err != nil {
		return nil, err
	}
	files, err := Read(deb, func(name string) bool { return slices.Contains(p.Files, name) })
	if err != nil {
		return nil, err
	}
	for _, name := range p.Files {
		if n := len(slices.Collect(named(files, name))); n != 1 {
			return nil, fmt.Errorf("it has %q %d times, want once; renew the lock: make tools-lock", name, n)
		}
	}
	return files, nil
}

func named(files []File, name string) func(func(File) bool) {
	return func(yield func(File) bool) {
		for _, f := range files {
			if f.Name == name && !yield(f) {
				return
			}
		}
	}
}

// Package returns a package's bytes, which are those of the lock.
func (s Source) Package(ctx context.Context, p Package) ([]byte, error) {
	read := s.fetch
	if s.Debs != "" {
		read = s.open
	}
	deb, err := read(ctx, p)
	if err != nil {
		return nil, err
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(deb)); int64(len(deb)) != p.Size || sum != p.SHA256 {
		return nil, fmt.Errorf("not the lock's %d bytes with digest %s, but %s; renew the lock: make tools-lock", p.Size, p.SHA256, sum)
	}
	return deb, nil
}

func (s Source) open(_ context.Context, p Package) ([]byte, error) {
	root, err := os.OpenRoot(s.Debs)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(p.File())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, p.Size+1))
}

const (
	attempts = 5
	patience = 5 * time.Minute // for a package
)

// passing is a failure that another attempt may not have.
type passing struct{ error }

func (s Source) fetch(ctx context.Context, p Package) ([]byte, error) {
	archive := s.Archive
	if archive == "" {
		archive = Archive
	}
	at, err := url.Parse(archive)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	at = at.JoinPath(strings.ReplaceAll(url.PathEscape(p.Path), "%2F", "/"))
	pause := s.pause
	if pause == 0 {
		pause = 2 * time.Second
	}
	for n := 1; ; n++ {
		deb, err := get(ctx, at.String(), p.Size)
		var again passing
		if err == nil || n == attempts || !errors.As(err, &again) {
			return deb, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// get reads one byte more than size at most.
func get(ctx context.Context, from string, size int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(to *http.Request, via []*http.Request) error {
		if first := via[0].URL; to.URL.Scheme != first.Scheme || to.URL.Host != first.Host || len(via) > 5 {
			return fmt.Errorf("redirected to %s; want the same server, at most five times", to.URL)
		}
		return nil
	}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, passing{err}
	}
	defer answer.Body.Close()
	if code := answer.StatusCode; code != http.StatusOK {
		err := fmt.Errorf("fetching %s: the answer is %s", from, answer.Status)
		if code == http.StatusTooManyRequests || code >= 500 {
			err = passing{err}
		}
		return nil, err
	}
	deb, err := io.ReadAll(io.LimitReader(answer.Body, size+1))
	if err != nil {
		return nil, passing{fmt.Errorf("fetching %s: %w", from, err)}
	}
	return deb, nil
}

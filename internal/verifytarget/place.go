package verifytarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/build/fetch"
)

// MaxArtifact is the longest remote file that is hashed, in bytes.
const MaxArtifact = 64 << 30

// A place has files: a folder, a URL's, a release.
type place interface {
	// read hands a file to into, perhaps again from its start after a fault. A file
	// that is not there is fs.ErrNotExist, one over max bytes an error.
	read(ctx context.Context, name string, max int64, into func(io.Reader) error) error
	// where names a file for messages.
	where(name string) string
	// path is a file's path on this machine, "" for a remote one.
	path(name string) string
}

// bytesOf reads a small file.
func bytesOf(ctx context.Context, p place, name string, max int64) (data []byte, err error) {
	err = p.read(ctx, name, max, func(r io.Reader) error {
		data, err = io.ReadAll(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// folder is one on this machine.
type folder struct{ dir string }

func (f folder) where(name string) string { return filepath.Join(f.dir, name) }
func (f folder) path(name string) string  { return filepath.Join(f.dir, name) }

func (f folder) read(_ context.Context, name string, max int64, into func(io.Reader) error) error {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(name) // first, since opening a FIFO would wait
	if err != nil {
		return err
	}
	file, err := regular(f.where(name), info, max, func() (*os.File, error) { return root.Open(name) })
	if err != nil {
		return err
	}
	defer file.Close()
	return into(file)
}

// named is a file that the user names, wherever links lead, in its folder.
type named struct {
	folder
	name string
}

func (n named) read(ctx context.Context, name string, max int64, into func(io.Reader) error) error {
	if name != n.name {
		return n.folder.read(ctx, name, max, into)
	}
	path := n.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	file, err := regular(path, info, max, func() (*os.File, error) { return os.Open(path) })
	if err != nil {
		return err
	}
	defer file.Close()
	return into(file)
}

func regular(path string, info fs.FileInfo, max int64, open func() (*os.File, error)) (*os.File, error) {
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: it is not a regular file", path)
	}
	if max > 0 && info.Size() > max {
		return nil, fmt.Errorf("reading %s: %d bytes, more than the limit of %d", path, info.Size(), max)
	}
	return open()
}

// web is what stands beside a URL.
type web struct {
	fetch  *fetch.Client
	base   *url.URL // of the folder; its path ends in a slash
	name   string   // of the file that the URL named
	query  string   // that the URL had, which is for that file alone
	origin string   // the host on whose word it is asked; "" for the user's
}

// newWeb splits a URL into place and name.
func newWeb(client *fetch.Client, raw, origin string) (*web, string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, "", fmt.Errorf("%q is not an https URL without user and password", raw)
	}
	name := lastName(u.Path)
	if name == "" || strings.HasSuffix(u.Path, "/") {
		return nil, "", fmt.Errorf("%s names no file", fetch.Redact(u))
	}
	base := *u
	base.Path, base.RawPath = strings.TrimSuffix(u.Path, name), ""
	base.RawQuery, base.Fragment = "", ""
	return &web{fetch: client, base: &base, name: name, query: u.RawQuery, origin: origin}, name, nil
}

func (w *web) url(name string) *url.URL {
	u := w.base.JoinPath(url.PathEscape(name))
	if name == w.name {
		u.RawQuery = w.query
	}
	return u
}

func (w *web) where(name string) string { return fetch.Redact(w.url(name)) }
func (w *web) path(string) string       { return "" }

func (w *web) read(ctx context.Context, name string, max int64, into func(io.Reader) error) error {
	if max == 0 {
		max = MaxArtifact
	}
	err := w.fetch.Stream(ctx, fetch.Request{URL: w.url(name).String(), Max: max, Origin: w.origin}, into)
	return absent(err)
}

// absent makes fs.ErrNotExist of the answers that say that there is no such file. Storage
// services answer 403 for those when they may not be listed.
func absent(err error) error {
	var status *fetch.StatusError
	if errors.As(err, &status) {
		switch status.Code {
		case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
			return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
	}
	return err
}

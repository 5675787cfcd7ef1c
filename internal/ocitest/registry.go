package ocitest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A Registry is a container registry on a loopback address, over plain http,
// for as long as its test runs.
type Registry struct {
	Host string // 127.0.0.1:port

	handler http.Handler
	mu      sync.Mutex
	faults  []*Fault
	seen    []string
	user    string
	pass    string
}

// A Fault is a way to misbehave. The zero value of each field leaves it out.
type Fault struct {
	Path  string // answers to requests whose path has this in it
	Times int    // how many of them; 0 means all

	Status   int           // answer so, with an empty body
	Header   http.Header   // set these as well
	Cut      int           // close the connection after so many bytes of the body
	Corrupt  bool          // flip a bit in the middle of the body
	Truncate int           // leave out so many bytes at the end, with a length to match
	NoRange  bool          // ignore the Range header
	Redirect string        // send the client to this URL plus path and query
	Hold     chan struct{} // send half of the body, then wait for this to be closed or the client to leave
}

// NewRegistry starts a registry that is stopped with the test.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	srv := httptest.NewServer(r)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	r.Host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

// RequireBasic makes the registry ask for a user and password.
func (r *Registry) RequireBasic(user, pass string) { r.user, r.pass = user, pass }

// Add makes the registry misbehave from now on. Of several faults that fit a
// request the first that is not used up counts.
func (r *Registry) Add(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &f)
}

// Seen returns the requests so far, "GET /v2/…", that have part in them.
func (r *Registry) Seen(part string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var seen []string
	for _, s := range r.seen {
		if strings.Contains(s, part) {
			seen = append(seen, s)
		}
	}
	return seen
}

// Push puts an image in a repository ("team/app:1", or "team/app" for no tag)
// and returns the reference to it.
func (r *Registry) Push(t testing.TB, name string, im *Image) string {
	t.Helper()
	repo, tag, tagged := strings.Cut(name, ":")
	r.put(t, repo, im)
	if !tagged {
		return fmt.Sprintf("%s/%s@%s", r.Host, repo, im.Digest())
	}
	r.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, string(im.MediaType), im.Raw)
	return r.Host + "/" + name
}

func (r *Registry) put(t testing.TB, repo string, im *Image) {
	t.Helper()
	for _, c := range im.Children {
		r.put(t, repo, c)
	}
	for _, b := range append(slices.Clone(im.Blobs), im.Config) {
		if b != nil {
			r.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+Digest(b), "application/octet-stream", b)
		}
	}
	r.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+im.Digest(), string(im.MediaType), im.Raw)
}

// do asks the registry without the network and without faults.
func (r *Registry) do(t testing.TB, method, path, mediaType string, body []byte) {
	t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

// ServeHTTP answers a client.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fault := r.next(req)
	if r.user != "" {
		if user, pass, ok := req.BasicAuth(); !ok || user != r.user || pass != r.pass {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
	}
	if fault == nil {
		r.handler.ServeHTTP(w, req)
		return
	}
	for key := range fault.Header {
		w.Header().Set(key, fault.Header.Get(key))
	}
	switch {
	case fault.Redirect != "":
		http.Redirect(w, req, fault.Redirect+req.URL.RequestURI(), http.StatusTemporaryRedirect)
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
	default:
		r.spoil(w, req, fault)
	}
}

// next notes the request and returns the fault for it, if any.
func (r *Registry) next(req *http.Request) *Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := req.Method + " " + req.URL.Path
	if rng := req.Header.Get("Range"); rng != "" {
		line += " " + rng
	}
	r.seen = append(r.seen, line)
	for i, f := range r.faults {
		if !strings.Contains(req.URL.Path, f.Path) {
			continue
		}
		hit := *f
		if f.Times--; f.Times == 0 {
			r.faults = slices.Delete(r.faults, i, i+1)
		}
		return &hit
	}
	return nil
}

// spoil sends the right answer in a wrong way.
func (r *Registry) spoil(w http.ResponseWriter, req *http.Request, f *Fault) {
	if f.NoRange {
		req.Header.Del("Range")
	}
	rec := httptest.NewRecorder()
	r.handler.ServeHTTP(rec, req)
	body := rec.Body.Bytes()
	for key := range rec.Header() {
		w.Header().Set(key, rec.Header().Get(key))
	}
	if f.Corrupt && len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	body = body[:max(0, len(body)-f.Truncate)]
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rec.Code)
	switch {
	case f.Cut > 0 && f.Cut < len(body):
		_, _ = w.Write(body[:f.Cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case f.Hold != nil:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-f.Hold:
			_, _ = w.Write(body[len(body)/2:])
		case <-req.Context().Done():
		}
	default:
		_, _ = w.Write(body)
	}
}

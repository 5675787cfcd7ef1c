package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// incompressible is n bytes that gzip cannot shrink, the same every time.
func incompressible(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return string(b)
}

// threeLayers is an image whose blobs are large enough to be interrupted.
func threeLayers(t testing.TB) *ocitest.Image {
	body := incompressible(600_000)
	return ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{
		{Entries: []ocitest.Entry{ocitest.File("bottom", body)}},
		{Entries: []ocitest.Entry{ocitest.File("middle", body[1:])}},
		{Entries: []ocitest.Entry{ocitest.File("top", body[2:])}},
	}})
}

func TestNetworkFaultsAreMended(t *testing.T) {
	tests := map[string]ocitest.Fault{
		"503 for a manifest":         {Path: "/manifests/", Times: 2, Status: 503},
		"429 for a manifest":         {Path: "/manifests/", Times: 2, Status: 429, Header: http.Header{"Retry-After": {"7"}}},
		"503 for the ping":           {Path: "/v2/", Times: 2, Status: 503},
		"500 for blobs":              {Path: "/blobs/", Times: 3, Status: 500},
		"cut manifest":               {Path: "/manifests/", Times: 1, Cut: 10},
		"cut blobs":                  {Path: "/blobs/", Times: 6, Cut: 100_000},
		"cut blobs, no ranges after": {Path: "/blobs/", Times: 6, Cut: 100_000, NoRange: true},
	}
	im := threeLayers(t)
	for name, fault := range tests {
		reg := ocitest.NewRegistry(t)
		ref := reg.Push(t, "app:v1", im)
		reg.Add(fault)
		var warned sync.Map
		policy := fetch.Policy{Sleep: quick.Sleep, Warn: func(err error) { warned.Store(err.Error(), true) }}
		got, err := Open(t.Context(), ref, Options{Policy: policy})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, raw := range topDown(t, got) {
			if string(raw) != string(im.Tars[i]) {
				t.Errorf("%s: layer %d differs", name, i)
			}
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
		n := 0
		warned.Range(func(any, any) bool { n++; return true })
		if n == 0 {
			t.Errorf("%s: no warning", name)
		}
	}
}

func TestBrokenDownloadIsResumedNotRestarted(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	reg.Add(ocitest.Fault{Path: "/blobs/" + ocitest.Digest(im.Blobs[2]), Times: 1, Cut: 100_000})
	topDown(t, mustOpen(t, ref, Options{Prefetch: -1}))
	seen := reg.Seen(ocitest.Digest(im.Blobs[2]))
	if len(seen) != 2 || !strings.HasSuffix(seen[1], fmt.Sprintf(" bytes=100000-%d", len(im.Blobs[2])-1)) {
		t.Errorf("requests %q, want the second from byte 100000 on", seen)
	}
}

func TestLastingFaultsAreErrorsThatNameTheBlob(t *testing.T) {
	im := threeLayers(t)
	top := ocitest.Digest(im.Blobs[2])
	tests := map[string]struct {
		fault ocitest.Fault
		want  string
	}{
		"500":       {ocitest.Fault{Path: "/blobs/" + top, Status: 500}, "500"},
		"404":       {ocitest.Fault{Path: "/blobs/" + top, Status: 404}, "404"},
		"cut":       {ocitest.Fault{Path: "/blobs/" + top, Cut: 1000, NoRange: true}, "unexpected EOF"},
		"corrupt":   {ocitest.Fault{Path: "/blobs/" + top, Corrupt: true}, "content is sha256:"},
		"truncated": {ocitest.Fault{Path: "/blobs/" + top, Truncate: 1}, "ends after"},
	}
	for name, test := range tests {
		for _, prefetch := range []int{0, -1} {
			reg := ocitest.NewRegistry(t)
			ref := reg.Push(t, "app:v1", im)
			reg.Add(test.fault)
			got := mustOpen(t, ref, Options{Prefetch: prefetch})
			_, err := readLayer(got.Layers[2])
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), top) {
				t.Errorf("%s: %v, want %q and the blob", name, err, test.want)
			}
			if n := len(reg.Seen(top)); n > 15 {
				t.Errorf("%s: %d requests", name, n)
			}
			if _, err := readLayer(got.Layers[1]); err != nil {
				t.Errorf("%s: another layer: %v", name, err)
			}
		}
	}
}

func TestCorruptDownloadDoesNotEnterTheCache(t *testing.T) {
	im := threeLayers(t)
	top := ocitest.Digest(im.Blobs[2])
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	reg.Add(ocitest.Fault{Path: "/blobs/" + top, Times: 1, Corrupt: true})
	c := cache.New(cache.Options{Dir: t.TempDir(), Warn: func(err error) { t.Error(err) }})
	t.Cleanup(func() { _ = c.Close() }) // after the image, which may still be downloading ahead
	got := mustOpen(t, ref, Options{Cache: c})
	if _, err := readLayer(got.Layers[2]); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("first: %v, want a mismatch", err)
	}
	if raw, err := readLayer(got.Layers[2]); err != nil || string(raw) != string(im.Tars[2]) {
		t.Errorf("second: %v", err)
	}
}

func TestCacheIsUsedAndChecked(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	dir := t.TempDir()
	read := func() error {
		c := cache.New(cache.Options{Dir: dir, Warn: func(err error) { t.Error(err) }})
		defer c.Close()
		got := mustOpen(t, ref, Options{Cache: c})
		defer got.Close()
		for i := len(got.Layers) - 1; i >= 0; i-- {
			if raw, err := readLayer(got.Layers[i]); err != nil {
				return err
			} else if string(raw) != string(im.Tars[i]) {
				t.Errorf("layer %d differs", i)
			}
		}
		return nil
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	const blobs = 4 // three layers and the config
	if n := len(reg.Seen("/blobs/")); n != blobs {
		t.Errorf("cold: %d requests for blobs, want %d", n, blobs)
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if n := len(reg.Seen("/blobs/")); n != blobs {
		t.Errorf("warm: %d requests for blobs, want still %d", n, blobs)
	}
	entry := filepath.Join(dir, "sha256", strings.TrimPrefix(ocitest.Digest(im.Blobs[1]), "sha256:"))
	bad := append([]byte(nil), im.Blobs[1]...)
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(entry, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, cache.ErrCorrupt) {
		t.Errorf("damaged entry: %v, want ErrCorrupt", err)
	}
	if err := read(); err != nil {
		t.Errorf("after the damaged entry was dropped: %v", err)
	}
	if n := len(reg.Seen("/blobs/")); n != blobs+1 {
		t.Errorf("in the end: %d requests for blobs, want %d", n, blobs+1)
	}
}

func TestLayersAreDownloadedAheadFromTheTop(t *testing.T) {
	var spec ocitest.Spec
	for i := range 6 {
		spec.Layers = append(spec.Layers, ocitest.Layer{Entries: []ocitest.Entry{ocitest.File("f", strings.Repeat("x", i))}})
	}
	im := ocitest.Build(t, spec)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	hold := make(chan struct{})
	reg.Add(ocitest.Fault{Path: "/blobs/" + im.ConfigDigest(), Times: 1, NoRange: true}) // not the config
	reg.Add(ocitest.Fault{Path: "/blobs/", Hold: hold})
	got := mustOpen(t, ref, Options{Prefetch: 2})
	if n := len(reg.Seen("/blobs/")); n != 1 {
		t.Errorf("before a layer was opened: %d requests for blobs, want the config's", n)
	}
	r, err := got.Layers[5].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// Layer 5 is wanted and takes no part in the two: 5 is skipped as under way
	// by the first worker until it ends, so 4 goes with it.
	want := map[string]bool{ocitest.Digest(im.Blobs[5]): true, ocitest.Digest(im.Blobs[4]): true}
	for deadline := time.Now().Add(20 * time.Second); len(reg.Seen("/blobs/")) < 3 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // for those that must not come
	for _, s := range reg.Seen("/blobs/")[1:] {
		digest := s[strings.LastIndex(s, "/")+1:]
		if !want[digest] {
			t.Errorf("request %s before the others were done", s)
		}
		delete(want, digest)
	}
	if len(want) != 0 {
		t.Errorf("not asked for yet: %v", want)
	}
	close(hold)
	topDown(t, got)
	if n := len(reg.Seen("/blobs/")); n != 7 {
		t.Errorf("%d requests for blobs in all, want 7", n)
	}
}

func TestManyReadersShareOneDownload(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	got := mustOpen(t, reg.Push(t, "app:v1", im), Options{})
	var readers sync.WaitGroup
	for n := range 12 {
		readers.Go(func() {
			if raw, err := readLayer(got.Layers[n%3]); err != nil || string(raw) != string(im.Tars[n%3]) {
				t.Errorf("reader %d: %v", n, err)
			}
		})
	}
	readers.Wait()
	if n := len(reg.Seen("/blobs/")); n != 4 {
		t.Errorf("%d requests for blobs, want 4", n)
	}
}

func TestCancellationEndsReadsAtOnce(t *testing.T) {
	im := threeLayers(t)
	before := runtime.NumGoroutine()
	func() {
		reg := ocitest.NewRegistry(t)
		ref := reg.Push(t, "app:v1", im)
		hold := make(chan struct{})
		defer close(hold)
		reg.Add(ocitest.Fault{Path: "/blobs/" + ocitest.Digest(im.Blobs[2]), Hold: hold})
		for name, cancelImage := range map[string]bool{"the layer's context": false, "the image's context": true} {
			imageCtx, stopImage := context.WithCancel(t.Context())
			layerCtx, stopLayer := context.WithCancel(t.Context())
			got, err := Open(imageCtx, ref, Options{Policy: quick})
			if err != nil {
				t.Fatal(err)
			}
			r, err := got.Layers[2].Open(layerCtx)
			if err != nil {
				t.Fatal(err)
			}
			stop := stopLayer
			if cancelImage {
				stop = stopImage
			}
			time.AfterFunc(50*time.Millisecond, stop)
			start := time.Now()
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want context.Canceled", name, err)
			}
			if err := errors.Join(r.Close(), got.Close()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
			stopImage()
			stopLayer()
		}
	}()
	noMoreThan(t, before+3) // the registry's own, until the test ends
}

func TestClosedImageDownloadsNothing(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	got, err := Open(t.Context(), reg.Push(t, "app:v1", threeLayers(t)), Options{Policy: quick})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readLayer(got.Layers[0]); err == nil {
		t.Error("a layer opens after its image was closed")
	}
}

func TestStalledServerIsGivenUp(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	hold := make(chan struct{})
	defer close(hold)
	reg.Add(ocitest.Fault{Path: "/blobs/" + ocitest.Digest(im.Blobs[2]), Times: 1, Hold: hold})
	policy := quick
	policy.Idle = 50 * time.Millisecond
	got := mustOpen(t, ref, Options{Policy: policy, Prefetch: -1})
	if raw, err := readLayer(got.Layers[2]); err != nil || string(raw) != string(im.Tars[2]) {
		t.Errorf("stalled once: %v, want it resumed", err)
	}
}

func TestMissingImagesSayWhatThereIs(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	for _, tag := range []string{"1.27", "1.27-alpine", "1.26", "latest", "mainline", "stable", "perl"} {
		reg.Push(t, "team/app:"+tag, im)
	}
	dir, _ := sources(t, im)
	tests := []struct {
		ref, want string
	}{
		{reg.Host + "/team/app:1.27-alpin", `has no tag "1.27-alpin"; near it are: 1.27-alpine, 1.27`},
		{reg.Host + "/team/other:1", `has no tag "1"; check the spelling (a private image needs: docker login ` + reg.Host + ")"},
		{reg.Host + "/team/app@" + ocitest.Digest([]byte("no")), "has no " + ocitest.Digest([]byte("no"))},
		{"oci:layout:v2", `no tag "v2" in "layout"; it has v1`},
		{"oci:nowhere", `no directory "nowhere"`},
		{"oci:.", "no index.json, so it is not an OCI image layout"},
		{"oci:layout@" + ocitest.Digest([]byte("no")), "is missing from the layout"},
		{"oci-archive:nowhere.tar", `no file "nowhere.tar"`},
		{"oci-archive:modern.tar", "no index.json"},
		{"docker-archive:oci.tar", "use oci-archive:"},
		{"docker-archive:modern.tar:team/app:v2", `no image "team/app:v2" in the archive; it has team/app:v1`},
	}
	for _, test := range tests {
		_, err := Open(t.Context(), test.ref, Options{Dir: dir, Policy: quick})
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.ref, err, test.want)
		}
	}
}

func TestSeveralImagesNeedATag(t *testing.T) {
	dir := t.TempDir()
	one, two := sample(t), threeLayers(t)
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"one": one, "two": two})
	ocitest.DockerArchive(t, filepath.Join(dir, "a.tar"), ocitest.Legacy, map[string]*ocitest.Image{"app:one": one, "app:two": two})
	for ref, want := range map[string]*ocitest.Image{
		"oci:layout": nil, "oci:layout:one": one, "oci:layout:two": two,
		"docker-archive:a.tar": nil, "docker-archive:a.tar:app:one": one, "docker-archive:a.tar:docker.io/library/app:two": two,
	} {
		im, err := Open(t.Context(), ref, Options{Dir: dir})
		if want == nil {
			if err == nil || !strings.Contains(err.Error(), "2 images; name one") || !strings.Contains(err.Error(), "two") {
				t.Errorf("%s: %v", ref, err)
			}
			continue
		}
		if err != nil || im.ConfigDigest != want.ConfigDigest() {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		_ = im.Close()
	}
}

// keychain has one password for everything.
type keychain struct{ user, pass string }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: k.user, Password: k.pass}, nil
}

func TestCredentials(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "team/app:v1", im)
	reg.RequireBasic("me", "secret")
	got := mustOpen(t, ref, Options{Keychain: keychain{"me", "secret"}})
	topDown(t, got)
	for name, k := range map[string]authn.Keychain{"none": nil, "wrong": keychain{"me", "hunter2"}} {
		_, err := Open(t.Context(), ref, Options{Keychain: k, Policy: quick})
		if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "run: docker login "+reg.Host) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}

// elsewhere answers blob requests of a registry on another port and keeps their
// headers.
func elsewhere(t *testing.T, reg *ocitest.Registry) (url string, headers *[]http.Header) {
	headers = new([]http.Header)
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		*headers = append(*headers, req.Header.Clone())
		mu.Unlock()
		req.SetBasicAuth("me", "secret") // it serves anybody
		reg.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, headers
}

func TestRedirectedBlobsArriveWithoutCredentials(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	reg.RequireBasic("me", "secret")
	url, headers := elsewhere(t, reg)
	reg.Add(ocitest.Fault{Path: "/blobs/", Times: 1, Redirect: url}) // the config's
	got := mustOpen(t, ref, Options{Keychain: keychain{"me", "secret"}})
	topDown(t, got)
	if len(*headers) != 1 || (*headers)[0].Get("Authorization") != "" {
		t.Errorf("the other host saw %v", *headers)
	}
}

func TestLargeBlobsMayBeRedirectedAnywhere(t *testing.T) {
	im := ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{{Tar: make([]byte, maxTagList+1), Compression: ocitest.Plain}}})
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "app:v1", im)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/cdn":
			_, _ = w.Write(im.Blobs[0])
		case strings.HasSuffix(req.URL.Path, "/blobs/"+ocitest.Digest(im.Blobs[0])):
			http.Redirect(w, req, "/cdn", http.StatusFound)
		default:
			reg.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(srv.Close)
	topDown(t, mustOpen(t, strings.TrimPrefix(srv.URL, "http://")+"/app:v1", Options{}))
}

func TestRedirectsAreLimited(t *testing.T) {
	im := sample(t)
	for _, path := range []string{"/manifests/", "/blobs/"} {
		reg := ocitest.NewRegistry(t)
		ref := reg.Push(t, "app:v1", im)
		reg.Add(ocitest.Fault{Path: path, Redirect: "http://" + reg.Host})
		_, err := Open(t.Context(), ref, Options{Policy: quick})
		if !errors.Is(err, fetch.ErrRefused) || !strings.Contains(err.Error(), "more than 10 redirects") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// lan is a transport that pretends to reach a registry at any address.
type lan struct {
	handler http.Handler
	mu      sync.Mutex
	schemes map[string]bool
	tls     bool // https works
}

func (l *lan) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.schemes[req.URL.Scheme] = true
	l.mu.Unlock()
	if req.URL.Scheme == "https" && !l.tls {
		return nil, errors.New("no https here")
	}
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func TestPlainHTTPIsForLoopbackOrWhenAsked(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "app:v1", im)
	for _, host := range []string{"10.1.2.3:5000", "192.168.0.9", "172.16.0.1:5000", "registry.local:5000", "a.localhost:5000", "registry.example.com", "127.0.0.1.example.com:80"} {
		l := &lan{handler: reg, schemes: map[string]bool{}}
		_, err := Open(t.Context(), host+"/app:v1", Options{Policy: quick, Transport: l})
		if err == nil || l.schemes["http"] {
			t.Errorf("%s without https: %v, schemes %v, want an error and no http", host, err, l.schemes)
		}
		if _, err := Open(t.Context(), host+"/app:v1", Options{Policy: quick, Transport: &lan{handler: reg, schemes: map[string]bool{}, tls: true}}); err != nil {
			t.Errorf("%s with https: %v", host, err)
		}
		l = &lan{handler: reg, schemes: map[string]bool{}}
		got, err := Open(t.Context(), host+"/app:v1", Options{Policy: quick, Transport: l, PlainHTTP: true})
		if err != nil || !l.schemes["http"] {
			t.Errorf("%s with PlainHTTP: %v", host, err)
			continue
		}
		topDown(t, got)
		_ = got.Close()
	}
	for _, host := range []string{"localhost:5000", "127.0.0.2:5000", "[::1]:5000"} {
		l := &lan{handler: reg, schemes: map[string]bool{}}
		got, err := Open(t.Context(), host+"/app:v1", Options{Policy: quick, Transport: l})
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_ = got.Close()
	}
}

func TestRedirectsToPrivatePlacesAreRefused(t *testing.T) {
	im := sample(t)
	for _, target := range []string{"https://169.254.169.254", "https://10.0.0.1", "https://localhost", "http://127.0.0.1", "http://cdn.example.com", "https://[::1]", "ftp://cdn.example.com"} {
		for _, path := range []string{"/blobs/", "/manifests/"} {
			reg := ocitest.NewRegistry(t)
			reg.Push(t, "app:v1", im)
			reg.Add(ocitest.Fault{Path: path, Redirect: target})
			l := &lan{handler: reg, schemes: map[string]bool{}, tls: true}
			_, err := Open(t.Context(), "registry.example.com/app:v1", Options{Policy: quick, Transport: l})
			if err == nil || l.schemes["http"] {
				t.Errorf("%s for %s: %v, schemes %v", target, path, err, l.schemes)
			}
		}
	}
}

func TestAnswersOfARegistryAreShortened(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, strings.Repeat("<p>sorry\x1b[31m</p>", 5000))
		}
	}))
	defer srv.Close()
	_, err := Open(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/app:v1", Options{Policy: quick})
	if err == nil || len(err.Error()) > 500 || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "418") {
		t.Errorf("error of %d bytes: %.200v", len(err.Error()), err)
	}
}

// What an index leads to is answered as hostile as the index itself may be.
func TestAnswersBelowAnIndexAreShortened(t *testing.T) {
	index := platforms(t, nil, "linux/amd64")
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "app:v1", index)
	for _, path := range []string{"/manifests/sha256:", "/blobs/"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, path) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, strings.Repeat("<p>sorry\x1b[31m</p>", 5000))
				return
			}
			reg.ServeHTTP(w, req)
		}))
		_, err := Open(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/app:v1", Options{Policy: quick})
		srv.Close()
		if err == nil || len(err.Error()) > 700 || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: error of %d bytes: %.300v", path, len(fmt.Sprint(err)), err)
		}
	}
}

func TestTagListIsLimited(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case strings.Contains(req.URL.Path, "/manifests/"):
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(req.URL.Path, "/tags/"):
			_, _ = io.WriteString(w, `{"tags":["`)
			for { // until the client leaves
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}
	}))
	defer srv.Close()
	_, err := Open(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/app:v1", Options{Policy: quick})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

func TestLayerURLsAreNeverAsked(t *testing.T) {
	asked := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer srv.Close()
	im := ocitest.Build(t, ocitest.Spec{
		Layers:       []ocitest.Layer{{Tar: []byte("x")}},
		EditManifest: func(m *v1.Manifest) { m.Layers[0].URLs = []string{srv.URL} },
	})
	if _, err := Open(t.Context(), ocitest.NewRegistry(t).Push(t, "app:v1", im), Options{Policy: quick}); err == nil || asked {
		t.Errorf("%v, asked %v", err, asked)
	}
}

func TestBearerTokens(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "team/app:v1", im)
	var mu sync.Mutex
	var tokens []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/token" {
			mu.Lock()
			defer mu.Unlock()
			user, pass, _ := req.BasicAuth()
			tokens = append(tokens, user+":"+pass+" "+req.URL.Query().Get("scope"))
			_, _ = io.WriteString(w, `{"token":"t0ken"}`)
			return
		}
		if req.Header.Get("Authorization") != "Bearer t0ken" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, req.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reg.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	ref := strings.TrimPrefix(srv.URL, "http://") + "/team/app:v1"
	topDown(t, mustOpen(t, ref, Options{Keychain: keychain{"me", "secret"}}))
	if len(tokens) != 1 || tokens[0] != "me:secret repository:team/app:pull" {
		t.Errorf("tokens asked for: %q, want one", tokens)
	}
}

func TestImagesShareAStore(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", im)
	dir := t.TempDir()
	var builds sync.WaitGroup
	for range 4 {
		builds.Go(func() {
			c := cache.New(cache.Options{Dir: dir, Warn: func(err error) { t.Error(err) }})
			defer c.Close()
			got, err := Open(t.Context(), ref, Options{Cache: c, Policy: quick})
			if err != nil {
				t.Error(err)
				return
			}
			defer got.Close()
			for i := len(got.Layers) - 1; i >= 0; i-- {
				if raw, err := readLayer(got.Layers[i]); err != nil || string(raw) != string(im.Tars[i]) {
					t.Errorf("layer %d: %v", i, err)
				}
			}
		})
	}
	builds.Wait()
}

// TestSkopeoAgrees reads what skopeo makes of an image.
func TestSkopeoAgrees(t *testing.T) {
	testneed.Tool(t, "skopeo")
	skopeo, err := testneed.Look("skopeo")
	if err != nil {
		t.Fatal(err)
	}
	im := threeLayers(t) // docker archives cannot hold zstd
	reg := ocitest.NewRegistry(t)
	dir := t.TempDir()
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"v1": im})
	for _, to := range []string{"oci:copy:v1", "oci-archive:copy.tar:v1", "docker-archive:docker.tar:team/app:v1", "docker://" + reg.Host + "/team/app:v1"} {
		cmd := exec.Command(skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "oci:layout:v1", to)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", to, err, out)
			continue
		}
		got := mustOpen(t, to, Options{Dir: dir})
		if !strings.HasPrefix(to, "docker-archive:") && got.ConfigDigest != im.ConfigDigest() { // skopeo writes it anew there
			t.Errorf("%s: config %s, want %s", to, got.ConfigDigest, im.ConfigDigest())
		}
		for i, raw := range topDown(t, got) {
			if string(raw) != string(im.Tars[i]) {
				t.Errorf("%s: layer %d differs", to, i)
			}
		}
	}
	// And skopeo finds ours sound.
	ref := reg.Push(t, "team/ours:v1", im)
	ocitest.DockerArchive(t, filepath.Join(dir, "ours.tar"), ocitest.Legacy, map[string]*ocitest.Image{"team/app:v1": im})
	for i, from := range []string{"docker://" + ref, "docker-archive:ours.tar"} {
		cmd := exec.Command(skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", from, fmt.Sprintf("dir:ours-%d", i))
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", from, err, out)
		}
	}
}

func TestPlainHTTPRegistryIsExplained(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	ref, err := Parse(reg.Host + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{
		tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
		errors.New("http: server gave HTTP response to HTTPS client"),
	} {
		got := explain(cause, ref, ref.remote, nil).Error()
		if !strings.Contains(got, "speaks plain HTTP") || !strings.Contains(got, "plain_http = true") {
			t.Errorf("explain(%v) = %s", cause, got)
		}
	}
}

// endless sends zeros until the client leaves or has had far too many.
func endless(w http.ResponseWriter) (sent int) {
	for sent < 64<<20 {
		n, err := w.Write(make([]byte, 1<<16))
		if sent += n; err != nil {
			break
		}
	}
	return sent
}

// Whatever a document's size is said to be, no more than its limit is read. The
// repository's name must not make a manifest pass for a blob, which may be large.
func TestEndlessDocumentsAreCut(t *testing.T) {
	im := ocitest.Build(t, ocitest.Spec{EditManifest: func(m *v1.Manifest) { m.Config.Size = -1 }})
	for name, test := range map[string]struct{ path, repo string }{
		"config of a negative size":              {"/blobs/", "app"},
		"manifest":                               {"/manifests/", "app"},
		"manifest of a repository called blobs":  {"/manifests/", "team/blobs/app"},
		"manifest of a repository called sha256": {"/manifests/", "team/blobs/sha256"},
	} {
		reg := ocitest.NewRegistry(t)
		reg.Push(t, test.repo+":v1", im)
		sent := make(chan int, 10)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, test.path) {
				sent <- endless(w)
				return
			}
			reg.ServeHTTP(w, req)
		}))
		_, err := Open(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/"+test.repo+":v1", Options{Policy: quick})
		srv.Close()
		close(sent)
		if err == nil {
			t.Errorf("%s: it opens", name)
		}
		for n := range sent {
			if n > 3*MaxDocument { // what the sockets hold comes on top
				t.Errorf("%s: the client took %d bytes", name, n)
			}
		}
	}
}

// Docker's schema 1 manifests are signed: their digest is of a part of them.
func TestSignedSchema1IsCalledByItsName(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
			w.Header().Set("Docker-Content-Digest", ocitest.Digest([]byte("payload")))
			_, _ = io.WriteString(w, `{"schemaVersion":1,"fsLayers":[],"signatures":[]}`)
		}
	}))
	defer srv.Close()
	_, err := Open(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/app:v1", Options{Policy: quick})
	if err == nil || !strings.Contains(err.Error(), "schema 1 is not supported") {
		t.Errorf("%v", err)
	}
}

// internet is a transport to hosts that are handlers, over https. It keeps who
// was sent which credentials.
type internet struct {
	hosts map[string]http.HandlerFunc
	mu    sync.Mutex
	asked map[string][]string // by host: the kinds of its Authorization headers
}

func (n *internet) RoundTrip(req *http.Request) (*http.Response, error) {
	kind, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	n.mu.Lock()
	n.asked[req.URL.Host] = append(n.asked[req.URL.Host], kind)
	n.mu.Unlock()
	host := n.hosts[req.URL.Host]
	if host == nil || req.URL.Scheme != "https" {
		return nil, fmt.Errorf("nobody at %s", req.URL.Host)
	}
	w := httptest.NewRecorder()
	host(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// The password goes to the token server, the token to the registry, and neither
// to where blobs are kept.
func TestTokenServerAndBlobsOnOtherHosts(t *testing.T) {
	im := sample(t)
	for realm, ok := range map[string]bool{
		"https://auth.example.com/token": true, "http://auth.example.com/token": false, "https://169.254.169.254/token": false,
		"https://localhost/token": false, "ftp://auth.example.com/token": false, "": false,
	} {
		reg := ocitest.NewRegistry(t)
		reg.Push(t, "team/app:v1", im)
		n := &internet{asked: map[string][]string{}, hosts: map[string]http.HandlerFunc{
			"auth.example.com": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"t0ken"}`) },
			"cdn.example.com":  reg.ServeHTTP,
			"registry.example.com": func(w http.ResponseWriter, req *http.Request) {
				switch {
				case req.Header.Get("Authorization") != "Bearer t0ken":
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="test"`, realm))
					w.WriteHeader(http.StatusUnauthorized)
				case strings.Contains(req.URL.Path, "/blobs/"):
					http.Redirect(w, req, "https://cdn.example.com"+req.URL.Path+"?signature=s3cret", http.StatusTemporaryRedirect)
				default:
					reg.ServeHTTP(w, req)
				}
			},
		}}
		got, err := Open(t.Context(), "registry.example.com/team/app:v1", Options{Policy: quick, Transport: n, Keychain: keychain{"me", "secret"}})
		if !ok {
			if err == nil || len(n.asked) > 1 || strings.Contains(err.Error(), "secret") {
				t.Errorf("realm %q: %v, asked %v", realm, err, n.asked)
			}
			continue
		}
		if err != nil {
			t.Errorf("realm %q: %v", realm, err)
			continue
		}
		topDown(t, got)
		_ = got.Close()
		for host, want := range map[string]string{"auth.example.com": "Basic", "cdn.example.com": ""} {
			for _, kind := range n.asked[host] {
				if kind != want {
					t.Errorf("%s got credentials of the kind %q, want %q", host, kind, want)
				}
			}
			if len(n.asked[host]) == 0 {
				t.Errorf("%s was never asked", host)
			}
		}
		for _, kind := range n.asked["registry.example.com"] {
			if kind != "" && kind != "Bearer" {
				t.Errorf("the registry got %q", kind)
			}
		}
	}
}

// Tokens live for minutes, downloads for longer.
func TestTokensThatExpireAreRenewed(t *testing.T) {
	im := threeLayers(t)
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "team/app:v1", im)
	reg.Add(ocitest.Fault{Path: "/blobs/" + ocitest.Digest(im.Blobs[1]), Times: 2, Cut: 100_000})
	var mu sync.Mutex
	issued, uses := 0, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		if req.URL.Path == "/token" {
			issued, uses = issued+1, 0
			fmt.Fprintf(w, `{"token":"t%d","expires_in":60}`, issued)
			mu.Unlock()
			return
		}
		uses++
		valid := req.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", issued) && uses <= 2
		mu.Unlock()
		if !valid {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",error="invalid_token"`, req.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reg.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	got := mustOpen(t, strings.TrimPrefix(srv.URL, "http://")+"/team/app:v1", Options{Prefetch: -1})
	for i, raw := range topDown(t, got) {
		if string(raw) != string(im.Tars[i]) {
			t.Errorf("layer %d differs", i)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if issued < 3 {
		t.Errorf("%d tokens were issued: none expired", issued)
	}
}

package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/cache"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// clock notes what a policy waits instead of waiting.
type clock struct {
	mu    sync.Mutex
	waits []time.Duration
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, d)
	return ctx.Err()
}

// server answers with handler and counts.
func server(t *testing.T, handler http.HandlerFunc) (url string, count *int) {
	t.Helper()
	var mu sync.Mutex
	count = new(int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		*count++
		mu.Unlock()
		handler(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, count
}

func client(t *testing.T, dir string) (*Client, *clock) {
	t.Helper()
	store := cache.New(cache.Options{Dir: dir, TempDir: t.TempDir()})
	t.Cleanup(func() { _ = store.Close() })
	c := new(clock)
	return &Client{Cache: store, Policy: Policy{Sleep: c.sleep}}, c
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}

func read(c *Content) (string, error) {
	r, err := c.Open()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func TestFileIsFetchedOnceAndChecked(t *testing.T) {
	url, count := server(t, text("busybox"))
	dir := t.TempDir()
	for _, digest := range []string{sum("busybox"), "sha256:" + sum("busybox"), strings.ToUpper(sum("busybox"))} {
		c, _ := client(t, dir)
		got, err := c.File(t.Context(), Request{URL: url + "/x", SHA256: digest})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if s, err := read(got); s != "busybox" || err != nil {
				t.Errorf("%q, %v", s, err)
			}
		}
		if got.Size() != 7 || got.Digest() != "sha256:"+sum("busybox") {
			t.Errorf("size %d, digest %s", got.Size(), got.Digest())
		}
	}
	if *count != 1 {
		t.Errorf("%d requests, want 1", *count)
	}
}

func TestDamagedCacheEntryIsFetchedAgain(t *testing.T) {
	url, count := server(t, text("busybox"))
	dir := t.TempDir()
	c, _ := client(t, dir)
	r := Request{URL: url, SHA256: sum("busybox")}
	if _, err := c.File(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"busyboX", "busy", ""} {
		before := *count
		if err := os.WriteFile(filepath.Join(dir, "sha256", sum("busybox")), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := c.File(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := read(got); s != "busybox" || err != nil || *count != before+1 {
			t.Errorf("entry %q: %q, %v after %d requests", bad, s, err, *count-before)
		}
	}
}

func TestWrongBytesAreRefusedAtOnce(t *testing.T) {
	url, count := server(t, text("trojan"))
	dir := t.TempDir()
	c, _ := client(t, dir)
	if _, err := c.File(t.Context(), Request{URL: url, SHA256: sum("busybox")}); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("File: %v, want a mismatch", err)
	}
	if _, err := c.Bytes(t.Context(), Request{URL: url, SHA256: sum("busybox")}); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("Bytes: %v, want a mismatch", err)
	}
	if *count != 2 {
		t.Errorf("%d requests, want 2: a mismatch is not tried again", *count)
	}
	if names, _ := os.ReadDir(filepath.Join(dir, "sha256")); len(names) != 0 {
		t.Errorf("the cache holds %v", names)
	}
}

func TestFileNeedsADigest(t *testing.T) {
	c, _ := client(t, "")
	for _, digest := range []string{"", "sha256:", "12", strings.Repeat("g", 64), "sha512:" + sum("")} {
		if _, err := c.File(t.Context(), Request{URL: "https://example.com", SHA256: digest}); err == nil {
			t.Errorf("SHA256 %q is accepted", digest)
		}
	}
}

func TestBodiesAreLimited(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
			if chunked {
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		})
		c, _ := client(t, "")
		r := Request{URL: url, SHA256: sum(strings.Repeat("x", 1000)), Max: 1000}
		if b, err := c.Bytes(t.Context(), r); err != nil || len(b) != 1000 {
			t.Errorf("Bytes at the limit: %d, %v", len(b), err)
		}
		if got, err := c.File(t.Context(), r); err != nil || got.Size() != 1000 {
			t.Errorf("File at the limit: %v", err)
		}
		c, _ = client(t, "")
		r.Max = 999
		_, err := c.Bytes(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "limit of 999") || !chunked && !strings.Contains(err.Error(), "body has 1000 bytes") {
			t.Errorf("Bytes past the limit: %v", err)
		}
		if _, err := c.File(t.Context(), r); err == nil || !strings.Contains(err.Error(), "limit of 999") {
			t.Errorf("File past the limit: %v", err)
		}
	}
}

func TestFaultsAreTriedAgain(t *testing.T) {
	date := "Mon, 02 Jan 2006 15:04:05 GMT"
	s := time.Second
	tests := []struct {
		name  string
		fail  func(w http.ResponseWriter)
		times int // how often it fails
		waits []time.Duration
		ok    bool
	}{
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }, 3, []time.Duration{s, 2 * s, 4 * s}, true},
		{"503 for ever", func(w http.ResponseWriter) { w.WriteHeader(503) }, 99, []time.Duration{s, 2 * s, 4 * s}, false},
		{"429 with seconds", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(429)
		}, 1, []time.Duration{17 * s}, true},
		{"429 with a date", func(w http.ResponseWriter) {
			w.Header().Set("Date", date)
			w.Header().Set("Retry-After", "Mon, 02 Jan 2006 15:04:35 GMT")
			w.WriteHeader(429)
		}, 1, []time.Duration{30 * s}, true},
		{"at the longest wait", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(503)
		}, 1, []time.Duration{60 * s}, true},
		{"past the longest wait", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "61")
			w.WriteHeader(503)
		}, 1, nil, false},
		{"closed connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 2, []time.Duration{s, 2 * s}, true},
		{"cut body", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "busy")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 2, []time.Duration{s, 2 * s}, true},
		{"404", func(w http.ResponseWriter) { w.WriteHeader(404) }, 1, nil, false},
		{"501", func(w http.ResponseWriter) { w.WriteHeader(501) }, 1, nil, false},
	}
	for _, test := range tests {
		for _, file := range []bool{true, false} {
			var asked atomic.Int32
			url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
				if int(asked.Add(1)) <= test.times {
					test.fail(w)
				}
				_, _ = io.WriteString(w, "busybox")
			})
			c, waited := client(t, "")
			r := Request{URL: url, SHA256: sum("busybox")}
			var err error
			if file {
				_, err = c.File(t.Context(), r)
			} else {
				_, err = c.Bytes(t.Context(), r)
			}
			if (err == nil) != test.ok {
				t.Errorf("%s: %v", test.name, err)
			}
			if diff := cmp.Diff(test.waits, waited.waits); diff != "" {
				t.Errorf("%s: waits (-want +got):\n%s", test.name, diff)
			}
		}
	}
}

func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	c, waited := client(t, "")
	if _, err := c.Bytes(t.Context(), Request{URL: "http://" + addr}); err == nil || len(waited.waits) != 3 {
		t.Errorf("%v after %d waits, want 3", err, len(waited.waits))
	}
}

func TestStalledConnectionIsTriedAgain(t *testing.T) {
	for name, early := range map[string]bool{"before the header": true, "in the body": false} {
		stall := make(chan struct{})
		var asked atomic.Int32
		url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) > 1 {
				_, _ = io.WriteString(w, "busybox")
				return
			}
			if !early {
				_, _ = io.WriteString(w, "busy")
				_ = http.NewResponseController(w).Flush()
			}
			<-stall
		})
		c, _ := client(t, "")
		var why []error
		c.Policy.Idle = 200 * time.Millisecond
		c.Policy.Warn = func(err error) { why = append(why, err) }
		b, err := c.Bytes(t.Context(), Request{URL: url})
		close(stall)
		// A busy machine may let the second answer wait as well.
		idle := func(err error) bool { return errors.As(err, new(*IdleError)) }
		if string(b) != "busybox" || err != nil || len(why) == 0 || !idle(errors.Join(why...)) {
			t.Errorf("%s: %q, %v; warnings %v", name, b, err, why)
		}
	}
}

func TestSlowReaderIsNoStall(t *testing.T) {
	url, _ := server(t, text(strings.Repeat("x", 1<<20)))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Policy{Idle: 50 * time.Millisecond}.Transport(nil).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		if _, err := io.ReadFull(resp.Body, make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCancellation(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		stall := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "busy")
			_ = http.NewResponseController(w).Flush()
			<-stall
		}))
		defer srv.Close()
		defer close(stall)
		c, _ := client(t, t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		start := time.Now()
		_, err := c.File(ctx, Request{URL: srv.URL, SHA256: sum("busybox")})
		if !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	}()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // it is one
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestCancellationWhileWaiting(t *testing.T) {
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := (&Client{}).Bytes(ctx, Request{URL: url})
	if !errors.Is(err, context.Canceled) || time.Since(start) > 900*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestStatusErrorsSayWhy(t *testing.T) {
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message":"API rate limit\u001b[31m exceeded %s"}`, strings.Repeat("x", 500))
	})
	c, _ := client(t, "")
	_, err := c.Bytes(t.Context(), Request{URL: url + "/a/b?secret=1"})
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 403 || !strings.HasPrefix(status.Message, "API rate limit [31m exceeded") {
		t.Fatalf("%v", err)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 400 {
		t.Errorf("error %q", err)
	}
}

// fake pretends to reach any host; it answers by URL.
type fake struct {
	mu      sync.Mutex
	answers map[string]string // URL to body, or "-> URL" for a redirect
	seen    []string          // URL and Authorization
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, strings.TrimSpace(req.URL.String()+" "+req.Header.Get("Authorization")))
	body, ok := f.answers[req.URL.String()]
	w := httptest.NewRecorder()
	if to, redirect := strings.CutPrefix(body, "-> "); redirect {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	} else if !ok {
		w.WriteHeader(http.StatusNotFound)
	} else {
		_, _ = io.WriteString(w, body)
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func TestTokenGoesToItsHostOnly(t *testing.T) {
	const token = "ghp_secret"
	tests := []struct {
		name    string
		url     string
		host    string
		answers map[string]string
		seen    []string
	}{
		{
			name: "same host", url: "https://api.test/a", host: "api.test",
			answers: map[string]string{"https://api.test/a": "-> https://api.test/b", "https://api.test/b": "x"},
			seen:    []string{"https://api.test/a Bearer ghp_secret", "https://api.test/b Bearer ghp_secret"},
		},
		{
			name: "redirect to another host", url: "https://api.test/a", host: "api.test",
			answers: map[string]string{"https://api.test/a": "-> https://cdn.test/b?sig=1", "https://cdn.test/b?sig=1": "x"},
			seen:    []string{"https://api.test/a Bearer ghp_secret", "https://cdn.test/b?sig=1"},
		},
		{
			name: "redirect to a subdomain", url: "https://api.test/a", host: "api.test",
			answers: map[string]string{"https://api.test/a": "-> https://evil.api.test/b", "https://evil.api.test/b": "x"},
			seen:    []string{"https://api.test/a Bearer ghp_secret", "https://evil.api.test/b"},
		},
		{
			name: "redirect to another port", url: "https://api.test/a", host: "api.test",
			answers: map[string]string{"https://api.test/a": "-> https://api.test:8443/b", "https://api.test:8443/b": "x"},
			seen:    []string{"https://api.test/a Bearer ghp_secret", "https://api.test:8443/b"},
		},
		{
			name: "URL of another host", url: "https://cdn.test/a", host: "api.test",
			answers: map[string]string{"https://cdn.test/a": "x"},
			seen:    []string{"https://cdn.test/a"},
		},
		{
			name: "loopback over http", url: "http://127.0.0.1:1/a", host: "127.0.0.1:1",
			answers: map[string]string{"http://127.0.0.1:1/a": "x"},
			seen:    []string{"http://127.0.0.1:1/a Bearer ghp_secret"},
		},
		{
			name: "plain http", url: "http://api.test/a", host: "api.test",
			answers: map[string]string{"http://api.test/a": "x"},
			seen:    []string{"http://api.test/a"},
		},
	}
	for _, test := range tests {
		f := &fake{answers: test.answers}
		c := &Client{HTTP: &http.Client{Transport: f}}
		_, err := c.Bytes(t.Context(), Request{URL: test.url, Token: token, TokenHost: test.host, PlainHTTP: true})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.seen, f.seen); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestTokenIsInNoError(t *testing.T) {
	const token = "ghp_secret"
	url, _ := server(t, func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"message":"bad credentials %s"}`, req.Header.Get("Authorization"))
	})
	c, _ := client(t, "")
	_, err := c.Bytes(t.Context(), Request{URL: url, Token: token, TokenHost: strings.TrimPrefix(url, "http://")})
	if err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("%v", err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	loop := map[string]string{}
	for i := range 20 {
		loop[fmt.Sprintf("https://a.test/%d", i)] = fmt.Sprintf("-> https://a.test/%d", i+1)
	}
	ten := map[string]string{"https://a.test/10": "x"}
	for i := range 10 {
		ten[fmt.Sprintf("https://a.test/%d", i)] = loop[fmt.Sprintf("https://a.test/%d", i)]
	}
	redirect := func(to string) map[string]string {
		return map[string]string{"https://a.test/0": "-> " + to, to: "x"}
	}
	tests := []struct {
		name    string
		url     string
		answers map[string]string
		plain   bool
		want    string // "" means it works
		asked   int
	}{
		{"ten redirects", "https://a.test/0", ten, false, "", 11},
		{"eleven redirects", "https://a.test/0", loop, false, "more than 10 redirects", 11},
		{"downgrade", "https://a.test/0", redirect("http://a.test/1"), false, "plain http", 1},
		{"downgrade with PlainHTTP", "https://a.test/0", redirect("http://a.test/1"), true, "redirect from https to plain http", 1},
		{"http", "http://a.test/0", nil, false, "plain http", 0},
		{"http with PlainHTTP", "http://a.test/0", map[string]string{"http://a.test/0": "x"}, true, "", 1},
		{"http elsewhere with PlainHTTP", "http://a.test/0", map[string]string{"http://a.test/0": "-> http://b.test/1"}, true, "plain http", 1},
		{"http to https", "http://a.test/0", map[string]string{"http://a.test/0": "-> https://a.test/1", "https://a.test/1": "x"}, true, "", 2},
		{"metadata service", "https://a.test/0", redirect("https://169.254.169.254/1"), false, "private address", 1},
		{"private address", "https://a.test/0", redirect("https://192.168.1.1/1"), false, "private address", 1},
		{"mapped address", "https://a.test/0", redirect("https://[::ffff:10.0.0.1]/1"), false, "private address", 1},
		{"carrier-grade NAT", "https://a.test/0", redirect("https://100.100.100.200/1"), false, "private address", 1},
		{"mapped carrier-grade NAT", "https://a.test/0", redirect("https://[::ffff:100.100.100.200]/1"), false, "private address", 1},
		{"unspecified", "https://a.test/0", redirect("https://0.0.0.0/1"), false, "private address", 1},
		{"loopback", "https://a.test/0", redirect("https://127.0.0.1/1"), false, "private address", 1},
		{"loopback by http", "https://a.test/0", redirect("http://127.0.0.1/1"), false, "plain http", 1},
		{"localhost", "https://a.test/0", redirect("https://localhost/1"), false, "private address", 1},
		{"localhost, fully qualified", "https://a.test/0", redirect("https://localhost./1"), false, "private address", 1},
		{"loopback, fully qualified", "https://a.test/0", redirect("https://127.0.0.1./1"), false, "private address", 1},
		{"loopback as one number", "https://a.test/0", redirect("https://2130706433/1"), false, "private address", 1},
		{"loopback in hexadecimal", "https://a.test/0", redirect("https://0x7f000001/1"), false, "private address", 1},
		{"loopback in octal", "https://a.test/0", redirect("https://0177.0.0.1/1"), false, "private address", 1},
		{"loopback with parts left out", "https://a.test/0", redirect("https://127.1/1"), false, "private address", 1},
		{"local IPv6 address", "https://a.test/0", redirect("https://[fd00::1]/1"), false, "private address", 1},
		{"IPv6 address with a zone", "https://a.test/0", redirect("https://[fe80::1%25eth0]/1"), false, "private address", 1},
		{"a name with digits", "https://a.test/0", redirect("https://10.0.0.1.nip.test/1"), false, "", 2},
		{"public address", "https://a.test/0", redirect("https://203.0.113.1/1"), false, "", 2},
		{"private origin", "https://10.0.0.1/0", map[string]string{"https://10.0.0.1/0": "x"}, false, "", 1},
		{"file", "file:///etc/passwd", nil, false, "a URL with a host", 0},
		{"redirect to a file", "https://a.test/0", redirect("file:///etc/passwd"), false, "neither https nor http", 1},
		{"ftp", "ftp://a.test/0", nil, false, "neither https nor http", 0},
		{"password in the URL", "https://me:secret@a.test/0", nil, false, "without user or password", 0},
		{"no host", "https:///0", nil, false, "a URL with a host", 0},
		{"no URL", "::", nil, false, "missing protocol scheme", 0},
	}
	for _, test := range tests {
		f := &fake{answers: test.answers}
		c := &Client{HTTP: &http.Client{Transport: f}}
		b, err := c.Bytes(t.Context(), Request{URL: test.url, PlainHTTP: test.plain})
		switch {
		case test.want == "" && (err != nil || string(b) != "x"):
			t.Errorf("%s: %q, %v", test.name, b, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v", test.name, err)
		}
		if len(f.seen) != test.asked {
			t.Errorf("%s: asked %q, want %d requests", test.name, f.seen, test.asked)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "LOCALHOST": true, "127.0.0.1:1": true, "127.9.9.9": true,
		"[::1]:5000": true, "[::1]": true, "::ffff:127.0.0.1": true,
		"localhost.example.com": false, "a.localhost": false, "127.0.0.1.example.com": false, "10.0.0.1": false, "": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %v", host, got)
		}
	}
}

func TestOnlyRepeatableRequestsAreRepeated(t *testing.T) {
	url, count := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Policy{Sleep: new(clock).sleep}.Transport(nil).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if *count != 1 {
		t.Errorf("%d requests, want 1", *count)
	}
}

// A server that sends one byte after the other is never idle.
func TestDripIsEnded(t *testing.T) {
	url, _ := server(t, func(w http.ResponseWriter, req *http.Request) {
		for req.Context().Err() == nil {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	client := http.Client{Transport: Within(Policy{Idle: time.Minute}.Transport(nil), 200*time.Millisecond)}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var slow *SlowError
	if _, err := io.Copy(io.Discard, resp.Body); !errors.As(err, &slow) || Temporary(err) {
		t.Errorf("%v, want a SlowError that is not tried again", err)
	}
}

func TestAnAnswerThatNeverBeginsIsEnded(t *testing.T) {
	url, _ := server(t, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	client := http.Client{Transport: Within(Policy{Idle: time.Minute}.Transport(nil), 50*time.Millisecond)}
	resp, err := client.Get(url)
	var slow *SlowError
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.As(err, &slow) {
		t.Errorf("%v, want a SlowError", err)
	}
}

func TestStreamStoresNothingAndBeginsAnew(t *testing.T) {
	var asked atomic.Int32
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			_, _ = io.WriteString(w, "busybox")
			return
		}
		w.Header().Set("Content-Length", "7")
		_, _ = io.WriteString(w, "busy")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	dir := t.TempDir()
	c, _ := client(t, dir)
	var bodies []string
	err := c.Stream(t.Context(), Request{URL: url, Max: 7}, func(r io.Reader) error {
		b, err := io.ReadAll(r)
		bodies = append(bodies, string(b))
		return err
	})
	if want := []string{"busy", "busybox"}; err != nil || !cmp.Equal(bodies, want) {
		t.Errorf("bodies %q, %v, want %q", bodies, err, want)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("the cache holds %v", names)
	}
	err = c.Stream(t.Context(), Request{URL: url, Max: 6}, func(r io.Reader) error { _, err := io.ReadAll(r); return err })
	if err == nil || !strings.Contains(err.Error(), "limit of 6") {
		t.Errorf("past the limit: %v", err)
	}
}

func TestPrivateAddressesAreRefusedOnTheWordOfOthers(t *testing.T) {
	url, count := server(t, text("x"))
	c, _ := client(t, "")
	if _, err := c.Bytes(t.Context(), Request{URL: url, Origin: "example.com"}); !errors.Is(err, ErrRefused) {
		t.Errorf("loopback on the word of a public host: %v", err)
	}
	if _, err := c.Bytes(t.Context(), Request{URL: "https://10.0.0.1/x", Origin: "example.com:8443"}); !errors.Is(err, ErrRefused) {
		t.Errorf("private address on the word of a public host: %v", err)
	}
	if b, err := c.Bytes(t.Context(), Request{URL: url, Origin: "localhost:1"}); err != nil || string(b) != "x" {
		t.Errorf("loopback on the word of loopback: %q, %v", b, err)
	}
	if *count != 1 {
		t.Errorf("%d requests, want 1", *count)
	}
}

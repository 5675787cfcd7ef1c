package sigstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// A Fault is what a [Proxy] does to a request instead of passing it on. The zero
// Fault passes it on.
type Fault struct {
	// Times is how many requests are so treated; 0 means all until Heal.
	Times int
	// Match limits the fault to some requests; nil means every one.
	Match func(*http.Request) bool
	// Delay comes before anything else. The request's end ends it.
	Delay time.Duration
	// Status is the answer's, with Body and Header. 0 passes the request on after Delay.
	Status int
	Header map[string]string
	Body   string
	// Hang never answers.
	Hang bool
	// Cut passes the request on and closes the connection in the middle of the answer.
	Cut bool
	// Lose passes the request on and closes the connection before the answer: what was
	// asked for is done, and the client does not know.
	Lose bool
}

// HTML is the answer of a gateway that stands before a broken service.
func HTML(status int) Fault {
	return Fault{Status: status, Header: map[string]string{"Content-Type": "text/html"}, Body: "<html><body><h1>We will be back soon</h1></body></html>\n"}
}

// A Proxy stands before a service. Its methods may be called at any time.
type Proxy struct {
	address string // host:port that it listens on
	next    http.Handler

	mu       sync.Mutex
	server   *http.Server // nil while it is down
	listener net.Listener
	fault    *Fault
	left     int
	requests []Request
}

// A Request is one that reached a proxy.
type Request struct {
	Method, Path string
	Query        url.Values
	Fault        bool // it was not simply passed on
}

// newProxy listens on a free port and passes requests on to next.
func newProxy(next http.Handler) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{address: l.Addr().String(), next: next}
	p.serve(l)
	return p, nil
}

// to passes requests on to a service of this machine.
func to(address string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
		},
		// A service that is not there is seen as it would be without a proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    &http.Transport{DisableKeepAlives: true},
	}
}

func (p *Proxy) serve(l net.Listener) {
	p.listener = l
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(l) }(p.server) // ends with Close
}

// URL is where the service is asked for, without a slash at its end.
func (p *Proxy) URL() string { return "http://" + p.address }

// Fail treats the coming requests so.
func (p *Proxy) Fail(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.left = &f, f.Times
}

// Heal ends a fault.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

// Down closes the port: connections are refused, and those that are open end.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		_ = p.listener.Close() // the server does so only once it has begun to serve
		_ = p.server.Close()   // nothing is to be saved
		p.server = nil
	}
}

// Up opens the port again.
func (p *Proxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("opening %s again: %w", p.address, err)
	}
	p.serve(l)
	return nil
}

// Requests are those that came so far. While the port was closed none did.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.requests...)
}

// take notes a request and says what is to be done to it.
func (p *Proxy) take(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()}
	defer func() { p.requests = append(p.requests, entry) }()
	f := p.fault
	if f == nil || f.Match != nil && !f.Match(r) {
		return Fault{}
	}
	if f.Times > 0 {
		if p.left--; p.left <= 0 {
			p.fault = nil
		}
	}
	entry.Fault = true
	return *f
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.take(r)
	// The server sees that the client went away only once the body is read.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !wait(r.Context(), f.Delay) {
		return
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
	case f.Status != 0:
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body) // the client went away
	case f.Lose:
		p.next.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case f.Cut:
		p.next.ServeHTTP(&cutter{ResponseWriter: w}, r)
		panic(http.ErrAbortHandler)
	default:
		p.next.ServeHTTP(w, r)
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// discard is where a lost answer goes.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// cutter passes half of the first piece of an answer on.
type cutter struct {
	http.ResponseWriter
	cut bool
}

var errCut = errors.New("the answer is cut here")

func (c *cutter) Write(b []byte) (int, error) {
	if c.cut {
		return 0, errCut
	}
	c.cut = true
	n, err := c.ResponseWriter.Write(b[:len(b)/2])
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	if err == nil {
		err = errCut
	}
	return n, err
}

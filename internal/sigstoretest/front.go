package sigstoretest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// front is an HTTPS proxy that is itself every host it knows, with certificates of
// an authority of its own, and refuses all others.
type front struct {
	ca     *ca
	proxy  *http.Server
	inner  *http.Server // what is spoken inside of the tunnels
	opened tunnels
	url    string

	mu     sync.Mutex
	hosts  map[string]http.Handler
	certs  map[string]*tls.Certificate
	strays []string
}

func newFront() (*front, error) {
	authority, err := newCAForHosts()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{
		ca: authority, url: "http://" + l.Addr().String(),
		opened: tunnels{make(chan net.Conn), make(chan struct{}), new(sync.Once)},
		hosts:  map[string]http.Handler{}, certs: map[string]*tls.Certificate{},
	}
	f.proxy = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	f.inner = &http.Server{Handler: http.HandlerFunc(f.answer), ReadHeaderTimeout: time.Minute}
	go func() { _ = f.proxy.Serve(l) }() // both end with close
	go func() { _ = f.inner.Serve(f.opened) }()
	return f, nil
}

func newCAForHosts() (*ca, error) {
	return issue(nil, authority("sigstoretest", "sigstoretest hosts", 0))
}

func (f *front) close() {
	_ = f.proxy.Close() // nothing is to be saved
	_ = f.inner.Close()
}

// handle makes the front answer for a host.
func (f *front) handle(host string, h http.Handler) error {
	cert, err := newHost(f.ca, host)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts[host], f.certs[host] = h, cert
	return nil
}

// host is who answers for a name, and with which certificate.
func (f *front) host(name string) (http.Handler, *tls.Certificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[name], f.certs[name]
}

func (f *front) stray(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strays = append(f.strays, name)
}

func (f *front) strayed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.strays)
}

// ServeHTTP is the proxy: it opens tunnels to the hosts it knows.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Hostname()
	handler, cert := f.host(name)
	if r.Method != http.MethodConnect || handler == nil || r.URL.Port() != "443" {
		f.stray(r.URL.Host)
		http.Error(w, "sigstoretest: no way to "+r.URL.Host, http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	f.opened.add(tls.Server(tunnel{conn, buffered.Reader}, &tls.Config{
		Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}))
}

// answer serves a request that came through a tunnel.
func (f *front) answer(w http.ResponseWriter, r *http.Request) {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	handler, _ := f.host(name)
	if handler == nil {
		http.Error(w, "sigstoretest: not this host", http.StatusMisdirectedRequest)
		return
	}
	handler.ServeHTTP(w, r)
}

// tunnel is a connection of which some bytes may have been read already.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

func (t tunnel) Read(p []byte) (int, error) { return t.r.Read(p) }

// tunnels is a listener for connections that the proxy opened.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func (t tunnels) add(c net.Conn) {
	select {
	case t.conns <- c:
	case <-t.closed:
		_ = c.Close()
	}
}

var errClosed = errors.New("closed")

func (t tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.closed:
		return nil, errClosed
	}
}

func (t tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t tunnels) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

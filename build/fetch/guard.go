package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// MaxRedirects is how many redirects are followed for one request.
const MaxRedirects = 10

// ErrRefused is wrapped by errors about requests that policy forbids: plain
// http, downgrades, too many redirects, private addresses.
var ErrRefused = errors.New("refused")

// Guard returns a RoundTripper that lets through base only what may be asked on
// behalf of origin, a host or host:port:
//
//   - https to anywhere but private, link-local and loopback addresses, which
//     only the origin itself may have;
//   - http between loopback hosts, and to the origin's host if plainHTTP;
//   - no redirect from https to http, and at most MaxRedirects in a row.
//
// Addresses are judged as they are written; names are not resolved.
func Guard(base http.RoundTripper, origin string, plainHTTP bool) http.RoundTripper {
	return &guard{base: base, origin: hostname(origin), plainHTTP: plainHTTP}
}

type guard struct {
	base      http.RoundTripper
	origin    string // host name without port
	plainHTTP bool
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.check(req); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	return g.base.RoundTrip(req)
}

func (g *guard) check(req *http.Request) error {
	host := strings.ToLower(req.URL.Hostname())
	switch req.URL.Scheme {
	case "https":
	case "http":
		loop := loopback(host) && loopback(g.origin)
		if !loop && (!g.plainHTTP || host != g.origin) {
			return fmt.Errorf("%w: %s is plain http, which is allowed only for loopback hosts unless asked for", ErrRefused, Redact(req.URL))
		}
	default:
		return fmt.Errorf("%w: %s is neither https nor http", ErrRefused, Redact(req.URL))
	}
	if host != g.origin && !loopback(g.origin) && private(host) {
		return fmt.Errorf("%w: %s sends us to the private address %q", ErrRefused, g.origin, host)
	}
	hops := 0
	for r := req; r.Response != nil && r.Response.Request != nil; r = r.Response.Request {
		if hops++; hops > MaxRedirects {
			return fmt.Errorf("%w: more than %d redirects", ErrRefused, MaxRedirects)
		}
		if r.URL.Scheme == "http" && r.Response.Request.URL.Scheme == "https" {
			return fmt.Errorf("%w: redirect from https to plain http at %s", ErrRefused, Redact(r.URL))
		}
	}
	return nil
}

// Loopback tells whether a host or host:port is this machine: "localhost" or an
// address in 127.0.0.0/8 or ::1. Other names, "x.localhost" too, are not, for
// they may resolve to anything.
func Loopback(hostport string) bool { return loopback(hostname(hostport)) }

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// private tells whether a host name is an address that a public server has no
// business to send us to.
func private(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return numeric(host)
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() ||
		addr.IsMulticast() || sharedSpace.Contains(addr)
}

// numeric tells names that some resolvers take for an IPv4 address in another
// spelling, such as 127.1 or 0x7f000001: no top-level domain is a number.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits, hex := strings.CutPrefix(last, "0x")
	if hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// sharedSpace is carrier-grade NAT's range, where some clouds keep metadata.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// hostname cuts the port and the brackets off a host.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return strings.ToLower(host)
	}
	return strings.ToLower(strings.Trim(hostport, "[]"))
}

// Redact returns a URL for messages: without user, query and fragment, where
// secrets live.
func Redact(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

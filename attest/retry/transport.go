package retry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Transport returns a RoundTripper that repeats base's requests (nil means
// http.DefaultTransport). An answer with another state than the repeated ones, an
// error among them, is returned as it is. A body that breaks off is the reader's to
// repeat, by [Options.Do].
//
// An http.Client's Timeout is for all tries together, and should be 0.
func (o Options) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{options: o, base: base}
}

type transport struct {
	options Options
	base    http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	o := t.options
	o.Service = cmp.Or(o.Service, req.URL.Host)
	w := o.begin()
	for first := true; ; first = false {
		again, err := rewound(req, first)
		if err != nil {
			return nil, err
		}
		resp, err := t.once(again)
		fault := Fault(resp, err)
		if fault == nil || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
			return resp, err
		}
		if resp != nil {
			_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
			_ = resp.Body.Close()
		}
		if err := w.pause(req.Context(), fault.Err, fault.AtLeast); err != nil {
			return nil, err
		}
	}
}

// rewound is the request with its body from the start.
func rewound(req *http.Request, first bool) (*http.Request, error) {
	if first || req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("repeating the request's body: %w", err)
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

// Fault tells what a request has met that may be gone at the next try: a fault of
// the network or an answer that says so. Otherwise it is nil.
func Fault(resp *http.Response, err error) *Temporary {
	switch {
	case err != nil && IsFault(err):
		return &Temporary{Err: err}
	case err != nil || !temporaryStatus(resp.StatusCode):
		return nil
	}
	err = fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	return &Temporary{Err: err, AtLeast: retryAfter(resp.Header)}
}

func temporaryStatus(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500 && code != http.StatusNotImplemented
}

// retryAfter reads how long a server asks to wait, 0 for nothing. A date is taken
// relative to the answer's own, since clocks differ.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(0, seconds)) * time.Second
	}
	until, err1 := http.ParseTime(value)
	now, err2 := http.ParseTime(h.Get("Date"))
	if err1 != nil || err2 != nil {
		return 0
	}
	return max(0, until.Sub(now))
}

// once makes one try, which ends when it takes too long.
func (t *transport) once(req *http.Request) (*http.Response, error) {
	longest := cmp.Or(t.options.Try, DefaultTry)
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(longest, func() { cancel(&SilentError{longest}) })
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		timer.Stop()
		err = silent(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &body{resp.Body, ctx, func() { timer.Stop(); cancel(nil) }}
	return resp, nil
}

// body keeps its try's context until it is closed.
type body struct {
	io.ReadCloser
	ctx context.Context // lives exactly as long as the body
	end func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		err = silent(b.ctx, err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// IsFault tells whether an error is one of the network that may be gone at the
// next try.
func IsFault(err error) bool {
	var slow *SilentError
	var dns *net.DNSError
	var op *net.OpError
	var timeout net.Error
	var alert tls.AlertError
	var untrusted *tls.CertificateVerificationError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &alert), errors.As(err, &untrusted):
		return false
	case errors.As(err, &slow), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return true
	case errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.As(err, &op): // refused, reset, unreachable …
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	}
	return http2Fault(err)
}

// http2Fault recognises what net/http does not export: a stream that was reset and
// a server that goes away.
func http2Fault(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "stream error: stream ID ") || strings.HasPrefix(text, "http2: server sent GOAWAY") ||
		strings.HasPrefix(text, "http2: client connection lost")
}

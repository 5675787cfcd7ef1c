package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Policy says how often and how patiently a server is asked. The zero value is
// usable.
type Policy struct {
	// Attempts is how often a request is made in all; 0 means 4.
	Attempts int
	// Idle ends a connection on which nothing arrives for so long; 0 means 60 s.
	// The time a reader takes between two reads does not count.
	Idle time.Duration
	// MaxWait is the longest Retry-After that is obeyed; 0 means 60 s. A server
	// that asks for more is not asked again.
	MaxWait time.Duration
	// Sleep waits, or returns early with the context's error; nil uses a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Warn, if set, is told of every failure that is tried again.
	Warn func(error)
}

func (p Policy) attempts() int          { return max(1, cmp.Or(p.Attempts, 4)) }
func (p Policy) idle() time.Duration    { return cmp.Or(p.Idle, time.Minute) }
func (p Policy) maxWait() time.Duration { return cmp.Or(p.MaxWait, time.Minute) }

// Pause waits before try number attempt+1 (attempt counts from 1), at least the
// given time, and tells Warn why.
func (p Policy) Pause(ctx context.Context, attempt int, atLeast time.Duration, why error) error {
	if p.Warn != nil {
		p.Warn(fmt.Errorf("trying again: %w", why))
	}
	wait := max(atLeast, time.Second<<min(attempt-1, 4))
	if p.Sleep != nil {
		return p.Sleep(ctx, wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An IdleError reports a connection on which nothing arrived for too long.
type IdleError struct{ After time.Duration }

func (e *IdleError) Error() string { return fmt.Sprintf("server sent nothing for %v", e.After) }

// Transport returns a RoundTripper that applies the policy to base (nil means
// http.DefaultTransport): GET and HEAD requests are repeated until an answer
// other than 408, 429 and 5xx arrives, and bodies that stall fail with an
// [*IdleError]. A body that breaks off is the caller's to resume.
func (p Policy) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{policy: p, base: base}
}

type transport struct {
	policy Policy
	base   http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	repeatable := req.Method == http.MethodGet || req.Method == http.MethodHead
	for attempt := 1; ; attempt++ {
		resp, err := t.once(req)
		wait, why := t.again(resp, err)
		if why == nil || !repeatable || attempt >= t.policy.attempts() || req.Context().Err() != nil {
			return resp, err
		}
		if resp != nil {
			_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
			_ = resp.Body.Close()
		}
		why = fmt.Errorf("%s: %w", Redact(req.URL), why)
		if err := t.policy.Pause(req.Context(), attempt, wait, why); err != nil {
			return nil, err
		}
	}
}

// again tells why a request should be repeated, nil for not at all, and how long
// the server asks to wait before.
func (t *transport) again(resp *http.Response, err error) (time.Duration, error) {
	if err != nil {
		if Temporary(err) {
			return 0, err
		}
		return 0, nil
	}
	if !temporaryStatus(resp.StatusCode) {
		return 0, nil
	}
	wait := retryAfter(resp.Header)
	if wait > t.policy.maxWait() {
		return 0, nil
	}
	return wait, errors.New(resp.Status)
}

// once makes one try, with an eye on the time it takes.
func (t *transport) once(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	idle := t.policy.idle()
	timer := time.AfterFunc(idle, func() { cancel(&IdleError{After: idle}) })
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		err = stalled(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &idleBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timer: timer, idle: idle}
	return resp, nil
}

// stalled replaces err by the IdleError that caused it, if one did.
func stalled(ctx context.Context, err error) error {
	var idle *IdleError
	if errors.As(context.Cause(ctx), &idle) {
		return idle
	}
	return err
}

// idleBody cancels its request when one Read takes too long.
type idleBody struct {
	io.ReadCloser
	ctx    context.Context // lives exactly as long as the body
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		err = stalled(b.ctx, err)
	}
	return n, err
}

func (b *idleBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// Temporary tells whether a network fault may be gone on the next try.
func Temporary(err error) bool {
	var idle *IdleError
	var dns *net.DNSError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &idle):
		return true
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	}
	for _, fault := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, fault) {
			return true
		}
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	return streamReset(err)
}

// streamReset recognises an HTTP/2 stream that the server reset. net/http does
// not export the type but converts it to any struct with these fields.
func streamReset(err error) bool {
	var reset streamError
	return errors.As(err, &reset)
}

type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream reset: code %d", e.Code) }

func temporaryStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= 500
}

// retryAfter reads how long a server asks to wait, 0 for nothing. A date is
// taken relative to the answer's own Date, so that no clock is needed.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(0, seconds)) * time.Second
	}
	then, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, then.Sub(now))
}

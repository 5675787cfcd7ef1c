package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// MaxDocumentTime is how long a small answer may take, from the request to the
// last byte, with all tries. A server that sends a byte now and then is never
// idle.
const MaxDocumentTime = 15 * time.Minute

// A SlowError reports an answer that took longer than it may.
type SlowError struct{ After time.Duration }

func (e *SlowError) Error() string { return fmt.Sprintf("answer is not complete after %v", e.After) }

// Within returns a RoundTripper that ends requests, with their bodies, after d.
func Within(base http.RoundTripper, d time.Duration) http.RoundTripper {
	return &within{base: base, d: d}
}

type within struct {
	base http.RoundTripper
	d    time.Duration
}

func (w *within) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), w.d, &SlowError{After: w.d})
	resp, err := w.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = slow(ctx, err)
		cancel()
		return nil, err
	}
	resp.Body = &withinBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel}
	return resp, nil
}

// slow replaces err by the SlowError that caused it, if one did.
func slow(ctx context.Context, err error) error {
	var s *SlowError
	if errors.As(context.Cause(ctx), &s) {
		return s
	}
	return err
}

type withinBody struct {
	io.ReadCloser
	ctx    context.Context // lives exactly as long as the body
	cancel func()
}

func (b *withinBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = slow(b.ctx, err)
	}
	return n, err
}

func (b *withinBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

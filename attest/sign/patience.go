package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/volant/fledge-action/attest/retry"
)

// maxAnswer is the longest answer of a service, in bytes. A log's entry is the longest
// with some 10 KB.
const maxAnswer = 1 << 20

// patience is what a Signer has for faults, all of them together.
type patience struct {
	budget  time.Duration
	options retry.Options
	now     func() time.Time

	mu    sync.Mutex
	spent time.Duration
}

// do tries until it goes well, or until the budget of all that is done is spent.
func (p *patience) do(ctx context.Context, service string, try func(context.Context) error) error {
	o := p.options
	o.Service = service
	o.Budget = p.left()
	start, failed := p.now(), false
	err := o.Do(ctx, func(ctx context.Context) error {
		err := bare(try(ctx))
		failed = failed || err != nil
		return err
	})
	if failed {
		p.spend(p.now().Sub(start))
	}
	var gaveUp *retry.GaveUp
	if errors.As(err, &gaveUp) {
		return &GaveUp{Service: gaveUp.Service, After: max(p.total(), gaveUp.After).Round(time.Second), Last: gaveUp.Last}
	}
	return err
}

func (p *patience) left() time.Duration {
	return max(p.budget-p.total(), 1) // 0 would mean retry's default
}

func (p *patience) spend(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent += d
}

func (p *patience) total() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spent
}

// patient sends requests of one service again and again.
type patient struct {
	once
	patience *patience
	check    func() error // before every try
}

func (t *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, body, err := t.take(req)
	if err != nil {
		return nil, err
	}
	var resp *http.Response
	err = t.patience.do(ctx, t.service, func(ctx context.Context) error {
		if err := t.check(); err != nil {
			return err
		}
		var err error
		resp, err = t.send(ctx, req, body) //nolint:bodyclose // it is in memory
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// once sends a request of one service, and tells apart what its client does not:
// faults that pass, refusals, and pages of something in between.
type once struct {
	// ctx replaces the request's: sigstore-go v1.3.0 makes those of Fulcio and the
	// timestamp authority without one. Nil leaves it.
	ctx     context.Context
	service string
	base    http.RoundTripper
	passes  int // a state that the service's client reads itself
}

func (t *once) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, body, err := t.take(req)
	if err != nil {
		return nil, err
	}
	return t.send(ctx, req, body)
}

// take reads what a request is sent with.
func (t *once) take(req *http.Request) (context.Context, []byte, error) {
	ctx := req.Context()
	if t.ctx != nil {
		ctx = t.ctx
	}
	body, err := drain(req)
	return ctx, body, err
}

// drain reads a request's body, so that it can be sent again. It is ours, and no
// larger than a statement.
func drain(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer func() { _ = req.Body.Close() }()
	return io.ReadAll(req.Body)
}

func (t *once) send(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	req = req.Clone(ctx)
	req.Body, req.GetBody = http.NoBody, nil
	if req.ContentLength = int64(len(body)); len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := t.base.RoundTrip(req)
	if fault := retry.Fault(resp, err); fault != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return nil, fault
	}
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return nil, err
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("%s: answer larger than %d bytes", t.service, maxAnswer)
	case resp.StatusCode != t.passes && resp.StatusCode/100 != 2:
		return nil, &StatusError{Service: t.service, Code: resp.StatusCode, Text: printable(answer, req.Header)}
	case bytes.HasPrefix(bytes.TrimSpace(answer), []byte("<")):
		// While a service has an outage, something in between may answer.
		return nil, &retry.Temporary{Err: fmt.Errorf("%d with a web page instead of an answer", resp.StatusCode)}
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	resp.ContentLength = int64(len(answer))
	return resp, nil
}

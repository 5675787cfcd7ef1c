package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Defaults, and the bounds of one wait.
const (
	DefaultBudget = 10 * time.Minute
	DefaultTry    = time.Minute
	firstWait     = time.Second
	longestWait   = 90 * time.Second // Retry-After may ask for more
)

// Options say how patient to be, and with whom. The zero value is usable.
type Options struct {
	// Service is the name in messages, such as "transparency log"; "" takes the
	// request's host.
	Service string
	// Budget is how long a request is tried in all; 0 means DefaultBudget. No try
	// begins after it. A context may end it earlier.
	Budget time.Duration
	// Try is how long one try may take, with the reading of its body; 0 means
	// DefaultTry.
	Try time.Duration
	// Warn, if set, is told of every fault after which there is a further try.
	Warn func(error)

	// For tests; nil means the real ones.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
	Rand  func() float64 // in [0, 1)
}

// GaveUp is the error when patience has ended.
type GaveUp struct {
	Service string
	After   time.Duration // since the first try, to the second
	Tries   int
	Last    error // what the last try met
}

func (e *GaveUp) Error() string {
	tries := fmt.Sprintf("%d tries", e.Tries)
	if e.Tries == 1 {
		tries = "1 try"
	}
	return fmt.Sprintf("%s unreachable for %v (%s, last: %v)", e.Service, e.After, tries, e.Last)
}

func (e *GaveUp) Unwrap() error { return e.Last }

// Temporary marks an error of a function for [Options.Do] as one that may be gone
// at the next try. AtLeast is how long to wait before, for instance what Retry-After asks for.
type Temporary struct {
	Err     error
	AtLeast time.Duration
}

func (e *Temporary) Error() string { return e.Err.Error() }
func (e *Temporary) Unwrap() error { return e.Err }

// Do calls try until it returns nil or an error that is no fault of the moment: a
// [*Temporary] one, or one of the network's. Its context ends after Options.Try.
func (o Options) Do(ctx context.Context, try func(context.Context) error) error {
	w := o.begin()
	for {
		err := w.once(ctx, try)
		atLeast, temporary := passing(err)
		if err == nil || !temporary {
			return err
		}
		if err := w.pause(ctx, err, atLeast); err != nil {
			return err
		}
	}
}

func (w *waiter) once(ctx context.Context, try func(context.Context) error) error {
	longest := cmp.Or(w.Try, DefaultTry)
	ctx, cancel := context.WithTimeoutCause(ctx, longest, &SilentError{longest})
	defer cancel()
	return silent(ctx, try(ctx))
}

// silent replaces err by the SilentError that caused it, if one did.
func silent(ctx context.Context, err error) error {
	var slow *SilentError
	if err != nil && err != io.EOF && errors.As(context.Cause(ctx), &slow) {
		return slow
	}
	return err
}

// SilentError reports a try that took too long.
type SilentError struct{ After time.Duration }

func (e *SilentError) Error() string { return fmt.Sprintf("no complete answer within %v", e.After) }

// passing tells whether an error may be gone at the next try, and how long to wait
// at least.
func passing(err error) (time.Duration, bool) {
	var gaveUp *GaveUp
	var temporary *Temporary
	switch {
	case errors.As(err, &gaveUp): // a Transport has been patient already
		return 0, false
	case errors.As(err, &temporary):
		return temporary.AtLeast, true
	}
	return 0, IsFault(err)
}

// waiter is the patience with one request.
type waiter struct {
	Options
	start time.Time
	tries int
}

func (o Options) begin() *waiter {
	w := &waiter{Options: o}
	w.Service = cmp.Or(o.Service, "service")
	w.Budget = cmp.Or(o.Budget, DefaultBudget)
	if w.Now == nil {
		w.Now = time.Now
	}
	if w.Sleep == nil {
		w.Sleep = sleep
	}
	if w.Rand == nil {
		w.Rand = rand.Float64
	}
	w.start = w.Now()
	return w
}

// pause waits before the next try, or tells why there is none.
func (w *waiter) pause(ctx context.Context, why error, atLeast time.Duration) error {
	w.tries++
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w (last: %w)", w.Service, err, why)
	}
	if atLeast > 0 {
		why = fmt.Errorf("%w, asks to wait %v", why, atLeast)
	}
	wait := max(atLeast, w.jitter())
	passed := w.Now().Sub(w.start)
	if passed+wait > w.Budget {
		return &GaveUp{Service: w.Service, After: passed.Round(time.Second), Tries: w.tries, Last: why}
	}
	if w.Warn != nil {
		w.Warn(fmt.Errorf("%s: trying again in %v: %w", w.Service, wait.Round(100*time.Millisecond), why))
	}
	if err := w.Sleep(ctx, wait); err != nil {
		return fmt.Errorf("%s: %w (last: %w)", w.Service, err, why)
	}
	return nil
}

// jitter is a random part of the longest wait after so many tries.
func (w *waiter) jitter() time.Duration {
	longest := min(firstWait<<min(w.tries-1, 10), longestWait)
	return time.Duration(w.Rand() * float64(longest))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

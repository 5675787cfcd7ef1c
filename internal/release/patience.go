package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Patience says how often and how long what may pass is tried again. The zero value is
// what GitHub asks for.
type Patience struct {
	// Attempts is how often in a row something may fail, without having come
	// further than before; 0 means 6.
	Attempts int
	// MaxWait is the longest wait that a server is granted; 0 means 15 minutes.
	MaxWait time.Duration
	// Sleep waits, or returns early with the context's error; nil uses a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Random yields numbers in [0, 1) for the waits between tries; nil uses math/rand.
	Random func() float64
}

// persist repeats a pass until it comes to its end, or fails for good: with an error
// that is no *again, or too often. A pass tells how far it came.
func (c *Client) persist(ctx context.Context, pass func() (score int, err error)) error {
	best := 0
	var waited time.Duration // for other runs
	for failures := 1; ; failures++ {
		score, err := pass()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var again *again
		if !errors.As(err, &again) {
			return err
		}
		if score > best {
			best, failures = score, 1
		}
		if failures >= cmp.Or(c.patience.Attempts, 6) {
			again.err.Why += fmt.Sprintf(" (%d tries)", failures)
			return again.err
		}
		if again.wait > cmp.Or(c.patience.MaxWait, 15*time.Minute) {
			again.err.Do = fmt.Sprintf("run the same again in %v: it goes on where this run ended", again.wait)
			return again.err
		}
		wait := again.wait
		if wait == 0 {
			wait = c.backoff(failures)
		}
		if again.others && waited < waitForOthers {
			failures--
			waited += wait
		}
		c.tell(Notice, "%s: %s; trying again in %v", again.err.What, again.err.Why, wait.Round(time.Second/10))
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// backoff is the wait before another try: at most 1 s after the first failure,
// doubled with each up to 60 s, and random, so that several runs do not meet again.
func (c *Client) backoff(failures int) time.Duration {
	random := c.patience.Random
	if random == nil {
		random = rand.Float64
	}
	most := min(time.Second<<min(failures-1, 10), time.Minute)
	return time.Duration((0.1 + 0.9*random()) * float64(most))
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.patience.Sleep != nil {
		return c.patience.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) tell(kind Kind, format string, args ...any) {
	if c.report != nil {
		c.report(Event{Kind: kind, Message: fmt.Sprintf(format, args...)})
	}
}

package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Asset is one file to be put on a release.
type Asset struct {
	Name      string // see [CheckName]
	MediaType string // "" is application/octet-stream
	Size      int64  // bytes, from 1 to MaxSize
	Digest    string // "sha256:" and 64 lower-case hex digits

	// Open may be called any number of times; each call yields the same bytes.
	Open func() (io.ReadCloser, error)
}

// Clash says what happens when a release has an asset of a wanted name with other
// bytes. One with the same bytes is always left alone.
type Clash string

const (
	ClashFail    Clash = "fail"    // an error, before anything is written; "" is the same
	ClashReplace Clash = "replace" // the asset is replaced
	ClashAuto    Clash = "auto"    // replaced on a draft, an error on a published release
)

// Options says how to publish. The zero value publishes.
type Options struct {
	// ID is the release to use; 0 finds it by the tag.
	ID int64
	// Draft leaves the release a draft.
	Draft bool
	// Prerelease marks the release as one when it is published.
	Prerelease bool
	// MakeLatest is "true", "false", "legacy", or "" for GitHub's own default.
	MakeLatest string
	// Name and Body are title and notes. "" leaves those of a draft that is there;
	// a new one is named after its tag. A published release keeps its own.
	Name, Body string
	// Notes are the notes of a release that would have none.
	Notes string
	Clash Clash
	// DryRun only reads, and tells what would be done.
	DryRun bool

	// Attempts is how often in a row something may fail, with no asset more in
	// its place than before; 0 means 6.
	Attempts int
	// MaxWait is the longest wait that a server is granted; 0 means 15 minutes.
	MaxWait time.Duration
	// Sleep waits, or returns early with the context's error; nil uses a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Random yields numbers in [0, 1) for the waits between tries; nil uses math/rand.
	Random func() float64
	// Report, if set, is told what happens, from the goroutine of Publish.
	Report func(Event)
}

// Kind is what an [Event] is about.
type Kind int

const (
	Stage    Kind = iota // Message: a stage begins
	Detail               // Message: something was done
	Progress             // Done of Total bytes of the stage are sent
	Notice               // Message: something the user should know, such as a wait
)

// Event is something that happens while publishing.
type Event struct {
	Kind        Kind
	Message     string
	Done, Total int64
}

// Done is what happened to an asset.
type Done string

const (
	Uploaded Done = "uploaded"
	Skipped  Done = "skipped" // it was there, with the same bytes
	Replaced Done = "replaced"
)

// Published is one wanted asset on the release.
type Published struct {
	Name   string `json:"name"`
	ID     int64  `json:"id,omitempty"`
	URL    string `json:"url,omitempty"` // to download it; of a draft, with rights only
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	Done   Done   `json:"done"`
}

// Result is the release as GitHub shows it after the last step.
type Result struct {
	Tag       string
	ID        int64 // 0 when a dry run found no release
	URL       string
	Draft     bool
	Immutable bool
	Created   bool        // by this run
	Assets    []Published // in the order given
	Warnings  []string
}

// Publish puts assets, in their order, on the release of tag, and publishes it.
// What a visible asset names should stand before it. On an error nothing is undone:
// the same call goes on where this one ended.
func (c *Client) Publish(ctx context.Context, tag string, assets []Asset, o Options) (*Result, error) {
	if err := check(tag, assets, o); err != nil {
		return nil, err
	}
	sums, err := readSums(assets)
	if err != nil {
		return nil, err
	}
	r := &run{
		c: c, o: o, tag: tag, assets: assets, sums: sums,
		unsure: map[string]bool{}, did: map[string]Done{}, digests: map[int64]string{},
	}
	return r.loop(ctx)
}

// run is one call of Publish.
type run struct {
	c      *Client
	o      Options
	tag    string
	assets []Asset
	sums   []sum // the lines of SHA256SUMS, if it is among the assets

	created  int64            // the draft that this run made, until it is gone
	made     bool             // this run made a draft
	wrote    bool             // something was written
	tagSeen  bool             // the tag is there
	unsure   map[string]bool  // names that an upload of this run may have left an empty asset of
	did      map[string]Done  // what this run did for a wanted name
	digests  map[int64]string // of assets that GitHub gives no digest of
	score    int              // how far this pass came
	best     int              // how far any pass came
	waited   time.Duration    // for other runs
	warnings []string
}

// loop makes passes until one comes to the end.
func (r *run) loop(ctx context.Context) (*Result, error) {
	for failures := 1; ; failures++ {
		r.score = 0
		result, err := r.pass(ctx)
		if err == nil {
			return result, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var again *again
		if !errors.As(err, &again) {
			return nil, err
		}
		if r.score > r.best {
			r.best, failures = r.score, 1
		}
		if failures >= cmp.Or(r.o.Attempts, 6) {
			again.err.Why += fmt.Sprintf(" (%d tries)", failures)
			return nil, again.err
		}
		if again.wait > cmp.Or(r.o.MaxWait, 15*time.Minute) {
			again.err.Do = fmt.Sprintf("run the same again in %v: it goes on where this run ended", again.wait)
			return nil, again.err
		}
		wait := again.wait
		if wait == 0 {
			wait = r.backoff(failures)
		}
		if again.others && r.waited < waitForOthers {
			failures--
			r.waited += wait
		}
		r.tell(Notice, "%s: %s; trying again in %v", again.err.What, again.err.Why, wait.Round(time.Second/10))
		if err := r.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// pass does what is missing, from the start.
func (r *run) pass(ctx context.Context) (*Result, error) {
	rel, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	if (rel == nil || rel.Draft) && !r.o.Draft {
		if err := r.checkTag(ctx); err != nil {
			return nil, err
		}
	}
	if r.o.DryRun {
		return r.plan(ctx, rel)
	}
	if rel == nil {
		if rel, err = r.create(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.settle(ctx, rel); err != nil {
		return nil, err
	}
	if rel.Draft && !r.o.Draft {
		if err := r.publish(ctx, rel); err != nil {
			return nil, err
		}
		r.score++
	}
	return r.finish(ctx, rel.ID)
}

// backoff is the wait before another try: at most 1 s after the first failure,
// doubled with each up to 60 s, and random, so that several runs do not meet again.
func (r *run) backoff(failures int) time.Duration {
	random := r.o.Random
	if random == nil {
		random = rand.Float64
	}
	most := min(time.Second<<min(failures-1, 10), time.Minute)
	return time.Duration((0.1 + 0.9*random()) * float64(most))
}

func (r *run) sleep(ctx context.Context, d time.Duration) error {
	if r.o.Sleep != nil {
		return r.o.Sleep(ctx, d)
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

func (r *run) tell(kind Kind, format string, args ...any) {
	if r.o.Report != nil {
		r.o.Report(Event{Kind: kind, Message: fmt.Sprintf(format, args...)})
	}
}

// where names the release in messages.
func (r *run) where() string { return fmt.Sprintf("release %s of %s/%s", r.tag, r.c.owner, r.c.repo) }

// replaces tells whether assets of a release may be replaced.
func (r *run) replaces(draft bool) bool {
	return r.o.Clash == ClashReplace || r.o.Clash == ClashAuto && draft
}

package release

import (
	"context"
	"fmt"
	"io"
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
	// GenerateNotes has GitHub list what was merged since the previous release of the
	// same prefix (see [SplitTag]), behind Body or Notes and a blank line. Notes that
	// a draft or a published release has are left as they are. What does not fit
	// into MaxNotes is left out, and so is all of it when GitHub refuses, with a
	// warning.
	GenerateNotes bool
	Clash         Clash
	// DryRun only reads, and tells what would be done.
	DryRun bool
}

// Kind is what an [Event] is about.
type Kind int

const (
	Stage    Kind = iota // Message: a stage begins
	Detail               // Message: something was done
	Progress             // Done of Total bytes of the stage are sent
	Notice               // Message: something the user should know, such as a wait
)

// Event is something that happens during a call.
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
	merged   *string          // the notes that GitHub generated, once it was asked
	warnings []string
}

// loop makes passes until one comes to the end.
func (r *run) loop(ctx context.Context) (result *Result, err error) {
	err = r.c.persist(ctx, func() (int, error) {
		r.score = 0
		var err error
		result, err = r.pass(ctx)
		return r.score, err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
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

// where names the release in messages.
func (r *run) where() string { return fmt.Sprintf("release %s of %s/%s", r.tag, r.c.owner, r.c.repo) }

// replaces tells whether assets of a release may be replaced.
func (r *run) replaces(draft bool) bool {
	return r.o.Clash == ClashReplace || r.o.Clash == ClashAuto && draft
}

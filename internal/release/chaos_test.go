package release

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ghrelease"
)

var (
	chaosSeeds = flag.Int("chaos", 2000, "how many stories TestChaos tells")
	chaosStory = flag.String("story", "", `the one story that TestChaos tells, with all requests, as "scene/seed"`)
)

// failedOnce are stories that once ended badly: while the package was written, or with
// one of its rules taken out.
var failedOnce = []string{
	"remains/316", "remains/44", "nothing/16", "nothing/720", "nothing, no digests/98", "published/245", "published, half there/374",
	"two drafts of ours/973", "published, replace, no digests/8", "published, other bytes/9", "drafts beside a release/4", "their draft/26",
	"different bytes, replace/46", "different bytes, replace/478", "different bytes, replace/1630", "different bytes, replace/1902",
	"different bytes, replace/5726", "different bytes, replace/6590", "published, different bytes, replace/15",
}

// A chaos is one seed's story: up to three runs at once, each request of which may be
// the last, on a GitHub with faults. Everything happens on one goroutine at a time
// and by a clock that is moved here, so that a seed is always the same story.
type chaos struct {
	t      *testing.T
	rng    *rand.Rand
	server *ghrelease.Server
	now    time.Time
	trace  []string

	scene  scene
	faults float64 // probability that a request meets one
	deaths float64 // probability that a run dies at a request
	broken []string
	seen   map[string]string // what was public: "release/name" to the bytes
	others string            // what belongs to somebody else
}

// scene is what is there before, and what the runs are to do.
type scene struct {
	name    string
	options Options
	before  func(s *ghrelease.Server)
	wanted  func(run int) []Asset // of the runs at once; the last one is 0's
	differ  bool                  // the runs want different bytes
	refused bool                  // every run has to fail: the release has other bytes
	body    string                // of the release in the end, "" for any
	mixed   bool                  // all runs but the first only make a draft
}

func chaosFiles(version string) []Asset {
	img, bundle, list := file("a.img", "image "+version), file("a.img.sigstore.json", "bundle "+version), file("manifest.json", "manifest "+version)
	sums := fmt.Sprintf("%s  a.img\n%s  manifest.json\n", strings.TrimPrefix(img.Digest, "sha256:"), strings.TrimPrefix(list.Digest, "sha256:"))
	return []Asset{img, bundle, file("SHA256SUMS", sums), list}
}

func scenes() []scene {
	same := func(int) []Asset { return chaosFiles("new") }
	old := chaosFiles("old")
	bytesOf := func(a Asset) []byte {
		f, _ := a.Open()
		b := make([]byte, a.Size)
		_, _ = f.Read(b)
		return b
	}
	assets := func(all ...Asset) []ghrelease.Asset {
		var out []ghrelease.Asset
		for _, a := range all {
			out = append(out, ghrelease.Asset{Name: a.Name, Content: bytesOf(a)})
		}
		return out
	}
	add := func(rel ghrelease.Release) func(*ghrelease.Server) {
		return func(s *ghrelease.Server) { s.Add(rel) }
	}
	theirs := put("theirs.txt", "theirs")
	return []scene{
		{name: "nothing", wanted: same},
		{name: "nothing, generated notes", wanted: same, options: Options{Notes: "ours", GenerateNotes: true}, body: "ours\n\n## What's Changed\n* one\n\n**Full Changelog**: https://github.test/o/r/compare/v0...v1"},
		{name: "nothing, given notes", wanted: same, options: Options{Body: "given", GenerateNotes: true}, body: "given\n\n## What's Changed\n* one\n\n**Full Changelog**: https://github.test/o/r/compare/v0...v1"},
		{name: "nothing, immutable", wanted: same, before: func(s *ghrelease.Server) { s.Immutable = true }},
		{name: "nothing, no digests", wanted: same, before: func(s *ghrelease.Server) { s.NoDigests = true }},
		{name: "draft mode", wanted: same, options: Options{Draft: true}},
		{name: "drafts beside a release", wanted: same, mixed: true},
		{name: "published", wanted: same, before: add(ghrelease.Release{Tag: "v1", Name: "v1", Assets: []ghrelease.Asset{theirs}})},
		{name: "published, half there", wanted: same, before: add(ghrelease.Release{Tag: "v1", Assets: append(assets(chaosFiles("new")[:2]...), theirs)})},
		{name: "published, replace", wanted: same, options: Options{Clash: ClashReplace}, before: add(ghrelease.Release{Tag: "v1", Assets: append(assets(old...), theirs)})},
		{name: "published, replace, no digests", wanted: same, options: Options{Clash: ClashReplace}, before: func(s *ghrelease.Server) {
			s.NoDigests = true
			s.Add(ghrelease.Release{Tag: "v1", Assets: append(assets(old...), theirs)})
		}},
		{name: "published, other bytes", wanted: same, refused: true, before: add(ghrelease.Release{Tag: "v1", Assets: append(assets(old[1:]...), theirs)})},
		{name: "their draft", wanted: same, before: add(ghrelease.Release{Tag: "v1", Draft: true, Body: "theirs", Assets: []ghrelease.Asset{theirs}})},
		{name: "their draft, auto", wanted: same, options: Options{Clash: ClashAuto}, before: add(ghrelease.Release{Tag: "v1", Draft: true, Assets: append(assets(old[:3]...), theirs)})},
		{name: "remains", wanted: same, before: add(ghrelease.Release{Tag: "v1", Name: "v1", Draft: true, Assets: []ghrelease.Asset{{Name: "a.img", State: "starter"}, {Name: "manifest.json", State: "starter"}}})},
		{name: "two drafts of ours", wanted: same, before: func(s *ghrelease.Server) {
			s.Add(ghrelease.Release{Tag: "v1", Name: "v1", Draft: true})
			s.Add(ghrelease.Release{Tag: "v1", Name: "v1", Draft: true, Assets: assets(chaosFiles("new")[:3]...)})
		}},
		{name: "different bytes, replace", differ: true, options: Options{Clash: ClashReplace}, wanted: func(run int) []Asset { return chaosFiles(fmt.Sprint("new", run)) }},
		{name: "published, different bytes, replace", differ: true, options: Options{Clash: ClashReplace}, wanted: func(run int) []Asset { return chaosFiles(fmt.Sprint("new", run)) }, before: add(ghrelease.Release{Tag: "v1", Assets: append(assets(old...), theirs)})},
	}
}

// run is one call of Publish, as a coroutine that stops at each request.
type chaosRun struct {
	name   string
	next   func() (time.Duration, bool)
	stop   func()
	cancel context.CancelFunc
	wake   time.Time
	over   bool
	killed bool
	err    error
	result *Result
}

type death struct{}

type yieldKey struct{}

// wait gives up the turn, for a time. It does not return when the run has died.
func wait(ctx context.Context, d time.Duration) {
	if yield, ok := ctx.Value(yieldKey{}).(func(time.Duration) bool); ok && !yield(d) {
		panic(death{})
	}
}

func (c *chaos) start(name string, assets []Asset, o Options) *chaosRun {
	r := &chaosRun{name: name, wake: c.now}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	var seq iter.Seq[time.Duration] = func(yield func(time.Duration) bool) {
		defer func() {
			if p := recover(); p != nil {
				if _, died := p.(death); !died {
					panic(p)
				}
				r.killed = true
			}
		}()
		ctx := context.WithValue(ctx, yieldKey{}, yield)
		sleep := func(ctx context.Context, d time.Duration) error {
			wait(ctx, d)
			return ctx.Err()
		}
		client, err := New(Config{
			Repo: "o/r", API: c.server.API, Token: "secret", Transport: chaosTransport{c}, Patience: Patience{Sleep: sleep, Random: c.rng.Float64},
		})
		if err != nil {
			panic(err)
		}
		r.result, r.err = client.Publish(ctx, "v1", assets, o)
	}
	r.next, r.stop = iter.Pull(seq)
	return r
}

// chaosTransport lets others go first at each request. A cancelled request may have
// been done.
type chaosTransport struct{ c *chaos }

func (t chaosTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	wait(req.Context(), 0)
	if req.Context().Err() != nil && t.c.rng.IntN(2) == 0 {
		return nil, req.Context().Err()
	}
	resp, err := t.c.server.RoundTrip(req)
	if req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	return resp, err
}

// all runs to the end, in an order that the seed chooses.
func (c *chaos) all(runs ...*chaosRun) {
	for steps := 0; ; steps++ {
		var ready []*chaosRun
		var soonest time.Time
		for _, r := range runs {
			switch {
			case r.over:
			case !r.wake.After(c.now):
				ready = append(ready, r)
			case soonest.IsZero() || r.wake.Before(soonest):
				soonest = r.wake
			}
		}
		if len(ready) == 0 && soonest.IsZero() {
			return
		}
		if len(ready) == 0 {
			c.now = soonest
			continue
		}
		if steps > 20_000 {
			c.broken = append(c.broken, "it does not end")
			for _, r := range runs {
				r.stop()
			}
			return
		}
		r := ready[c.rng.IntN(len(ready))]
		c.now = c.now.Add(time.Duration(c.rng.IntN(400)) * time.Millisecond)
		if p := c.rng.Float64(); p < c.deaths {
			if c.rng.IntN(3) > 0 {
				c.trace = append(c.trace, r.name+" dies")
				r.stop()
				r.over, r.killed = true, true
				continue
			}
			c.trace = append(c.trace, r.name+" is cancelled")
			r.cancel()
			r.killed = true
		}
		c.trace = append(c.trace, r.name)
		d, ok := r.next()
		if !ok {
			c.trace = append(c.trace, fmt.Sprintf("%s ends: %v", r.name, r.err))
			r.over = true
			r.cancel()
		}
		r.wake = c.now.Add(d)
	}
}

// changed checks what has to hold at every moment.
func (c *chaos) changed(s *ghrelease.Server) {
	bad := func(format string, args ...any) {
		c.broken = append(c.broken, fmt.Sprintf(format, args...))
		c.trace = append(c.trace, "BROKEN "+c.broken[len(c.broken)-1])
	}
	public := 0
	now := map[string]string{}
	all := s.Releases()
	for _, rel := range all {
		if rel.Tag != "v1" || rel.Draft {
			continue
		}
		public++
		there := map[string][]ghrelease.Asset{}
		for _, a := range rel.Assets {
			base, _, _ := strings.Cut(a.Name, oldMark)
			if a.State == "uploaded" {
				there[base] = append(there[base], a)
				now[fmt.Sprintf("%d/%s", rel.ID, a.Name)] = string(a.Content)
			}
		}
		for key, content := range c.seen {
			id, name, _ := strings.Cut(key, "/")
			if id != fmt.Sprint(rel.ID) || reserved.MatchString(name) {
				continue
			}
			if c.scene.options.Clash != ClashReplace && now[key] != content {
				bad("public %s was %q and is %q", name, content, now[key])
			}
			if len(there[name]) == 0 && !c.scene.differ {
				bad("public %s has no bytes any more", name)
			}
		}
		if c.scene.before == nil && !c.scene.differ {
			for _, want := range c.scene.wanted(0) {
				if len(there[want.Name]) == 0 {
					bad("published without %s", want.Name)
				}
			}
		}
	}
	for key, content := range c.seen {
		if _, still := now[key]; !still && c.scene.options.Clash != ClashReplace {
			bad("public %s with %q is gone", key, content)
		}
	}
	if c.seen = now; public > 1 {
		bad("%d published releases have the tag", public)
	}
	if text := others(all); text != c.others {
		bad("what is not ours was %q and is %q", c.others, text)
	}
}

// tell tells one story and returns what went wrong.
func tell(t *testing.T, scene string, seed uint64) *chaos {
	c := &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0)}
	for _, sc := range scenes() {
		if sc.name == scene {
			c.scene = sc
		}
	}
	if c.scene.name == "" {
		t.Fatalf("there is no scene %q", scene)
	}
	c.faults = []float64{0, 0.02, 0.1, 0.3}[c.rng.IntN(4)]
	c.deaths = []float64{0, 0, 0.01, 0.05}[c.rng.IntN(4)]
	delay := []time.Duration{0, 2 * time.Second, 20 * time.Second, time.Hour}[c.rng.IntN(4)]
	s := ghrelease.New("o/r", "v1", "v0", "v2")
	c.server = s
	s.Token, s.Now, s.Contract, s.Merged = "secret", func() time.Time { return c.now }, ghrelease.TheContract(t), []string{"* one"}
	s.Add(ghrelease.Release{Tag: "v0", Assets: []ghrelease.Asset{put("a.img", "zero")}})
	s.Add(ghrelease.Release{Tag: "v2", Draft: true, Assets: []ghrelease.Asset{put("a.img", "two")}})
	if c.scene.before != nil {
		c.scene.before(s)
	}
	s.ListDelay = func() time.Duration {
		if delay == 0 {
			return 0
		}
		return time.Duration(c.rng.Int64N(int64(delay)))
	}
	s.Fault = func(r *http.Request) ghrelease.Fault {
		if c.rng.Float64() >= c.faults {
			return ghrelease.None
		}
		f := ghrelease.Fault(1 + c.rng.IntN(int(ghrelease.Faults)-1))
		c.trace = append(c.trace, fmt.Sprintf("  fault %d", f))
		return f
	}
	s.Pause = func(r *http.Request) { wait(r.Context(), time.Duration(c.rng.IntN(20))*time.Second) }
	s.Log = func(r *http.Request, status int) {
		c.trace = append(c.trace, fmt.Sprintf("  %s %s %d", r.Method, r.URL.RequestURI(), status))
	}
	c.others = others(s.Releases())
	c.changed(s)
	s.OnChange = c.changed

	var runs []*chaosRun
	for i := range 1 + c.rng.IntN(3) {
		o := c.scene.options
		o.Draft = o.Draft || c.scene.mixed && i > 0
		runs = append(runs, c.start(fmt.Sprintf("run %d", i), c.scene.wanted(i), o))
	}
	c.all(runs...)
	for _, r := range runs {
		c.judge(r)
	}
	c.last(false)
	return c
}

// others is what belongs to somebody else.
func others(all []ghrelease.Release) string {
	var text []string
	for _, rel := range all {
		if rel.Tag != "v1" {
			text = append(text, fmt.Sprintf("%d %s %v %s", rel.ID, rel.Tag, rel.Draft, contents(rel)))
		}
		for _, a := range rel.Assets {
			if a.Name == "theirs.txt" {
				text = append(text, string(a.Content))
			}
		}
	}
	return strings.Join(text, "\n")
}

// judge looks at how a run ended: nothing but faults, deaths and other bytes excuse a
// failure, and those only with an error that says so.
func (c *chaos) judge(r *chaosRun) {
	if r.killed || r.err == nil {
		return
	}
	var e *Error
	switch {
	case c.scene.mixed && errors.As(r.err, &e) && e.Reason == Invalid && strings.Contains(e.Why, "a draft was asked for"):
	case c.scene.refused && errors.As(r.err, &e) && e.Reason == Clashes:
	case !errors.As(r.err, &e):
		c.broken = append(c.broken, fmt.Sprintf("%s: %v is no *Error", r.name, r.err))
	case c.scene.differ && e.Reason == Clashes:
	case c.faults == 0 && !c.scene.differ:
		c.broken = append(c.broken, fmt.Sprintf("%s: %v, without any fault", r.name, r.err))
	case !slices.Contains([]Reason{Unavailable, RateLimited, NotFound, Rejected, Clashes, Checksums, Immutable}, e.Reason):
		c.broken = append(c.broken, fmt.Sprintf("%s: %v", r.name, r.err))
	}
}

// last is the run after everything, on a GitHub without faults: it has to come to the
// end, and leave nothing but the one release.
func (c *chaos) last(again bool) {
	c.faults, c.deaths = 0, 0
	c.now = c.now.Add(2 * time.Hour)
	writes := 0
	c.server.Log = func(r *http.Request, status int) {
		if r.Method != http.MethodGet {
			writes++
		}
		c.trace = append(c.trace, fmt.Sprintf("  %s %s %d", r.Method, r.URL.RequestURI(), status))
	}
	o := c.scene.options
	o.Draft = false
	wanted := c.scene.wanted(0)
	if c.scene.options.Draft && !again {
		for _, rel := range c.server.Releases() {
			if rel.Tag == "v1" && !rel.Draft {
				c.broken = append(c.broken, "a draft was published")
			}
		}
	}
	r := c.start("last run", wanted, o)
	c.all(r)
	if c.scene.refused {
		if writes != 0 {
			c.broken = append(c.broken, "something was written for nothing")
		}
		c.judge(r)
		return
	}
	if r.err != nil {
		c.broken = append(c.broken, fmt.Sprintf("the last run: %v", r.err))
		return
	}
	found := 0
	for _, rel := range c.server.Releases() {
		if rel.Tag != "v1" {
			continue
		}
		if found++; rel.Draft {
			c.broken = append(c.broken, fmt.Sprintf("draft %d is left: %s", rel.ID, contents(rel)))
			continue
		}
		if c.scene.body != "" && rel.Body != c.scene.body {
			c.broken = append(c.broken, fmt.Sprintf("the notes are %q", rel.Body))
		}
		var want, got []string
		for _, a := range wanted {
			want = append(want, a.Name+" "+a.Digest)
		}
		for _, a := range rel.Assets {
			if a.Name != "theirs.txt" {
				got = append(got, a.Name+" "+fmt.Sprint(file("", string(a.Content)).Digest))
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			c.broken = append(c.broken, fmt.Sprintf("the release has %q, want %q", got, want))
		}
	}
	if found != 1 {
		c.broken = append(c.broken, fmt.Sprintf("%d releases have the tag", found))
	}
	if again && writes != 0 {
		c.broken = append(c.broken, fmt.Sprintf("a run with nothing to do wrote %d times", writes))
	}
	if !again {
		c.last(true)
	}
}

func TestChaos(t *testing.T) {
	all, count := scenes(), *chaosSeeds
	if testing.Short() {
		count = min(count, 200)
	}
	stories := slices.Clone(failedOnce)
	for seed := range count {
		stories = append(stories, fmt.Sprintf("%s/%d", all[seed%len(all)].name, seed))
	}
	if *chaosStory != "" {
		stories = []string{*chaosStory}
	}
	const shards = 4
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			failures := 0
			for i := shard; i < len(stories); i += shards {
				if !good(t, stories[i]) {
					failures++
				}
				if failures == 5 {
					t.Fatal("and so on")
				}
			}
		})
	}
}

// good tells a story and reports a bad end.
func good(t *testing.T, story string) bool {
	scene, number, _ := strings.Cut(story, "/")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	c := tell(t, scene, seed)
	for _, v := range c.server.Violations() {
		c.broken = append(c.broken, "against GitHub's contract: "+v)
	}
	if *chaosStory != "" {
		t.Log(strings.Join(c.trace, "\n"))
	}
	if len(c.broken) > 0 {
		t.Errorf("story %q: %s\nall requests: go test ./internal/release -run TestChaos/0 -v -story %q", story, strings.Join(c.broken, "\n  "), story)
	}
	return len(c.broken) == 0
}

// TestChaosIsTheSameEachTime: a story that failed can be looked at again.
func TestChaosIsTheSameEachTime(t *testing.T) {
	for seed, scene := range scenes() {
		a, b := tell(t, scene.name, uint64(seed)), tell(t, scene.name, uint64(seed))
		if !slices.Equal(a.trace, b.trace) {
			t.Fatalf("%s/%d has two stories", scene.name, seed)
		}
	}
}

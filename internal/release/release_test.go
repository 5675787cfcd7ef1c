package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ghrelease"
)

func TestPublishedReleaseIsCompleteFromTheStart(t *testing.T) {
	w := newWorld(t)
	w.OnChange = func(s *ghrelease.Server) {
		if r := s.Releases()[0]; !r.Draft && len(r.Assets) != 3 {
			t.Errorf("published with %q", contents(r))
		}
	}
	kind := file("a.img", "one")
	kind.MediaType = "application/vnd.example+gzip"
	got := w.must(Options{Name: "First", Body: "notes", MakeLatest: "true"}, kind, file("b.sigstore.json", "two"), file("manifest.json", "{}"))
	r := w.release()
	if r.Draft || r.Prerelease || r.Tag != "v1" || r.Name != "First" || r.Body != "notes" || r.Latest != "true" || contents(r) != "a.img=one b.sigstore.json=two manifest.json={}" {
		t.Errorf("release %+v", r)
	}
	if r.Assets[0].ContentType != "application/vnd.example+gzip" || r.Assets[1].ContentType != "application/octet-stream" {
		t.Errorf("media types %q, %q", r.Assets[0].ContentType, r.Assets[1].ContentType)
	}
	if done(got) != "a.img uploaded, b.sigstore.json uploaded, manifest.json uploaded" || !got.Created || got.Draft || got.ID != r.ID || got.URL != w.Web+"/o/r/releases/tag/v1" {
		t.Errorf("result %+v", got)
	}
	for i, a := range got.Assets {
		if want := DownloadURL(w.Web, "o/r", "v1", a.Name); a.URL != want || a.ID != r.Assets[i].ID || a.Digest != r.Assets[i].Digest || a.Size != int64(len(r.Assets[i].Content)) {
			t.Errorf("asset %+v, want URL %q", a, want)
		}
	}
	if len(w.slept) != 0 || len(w.writes) != 5 {
		t.Errorf("slept %v, wrote %q", w.slept, w.writes)
	}
}

func TestWhatIsThereIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.must(Options{}, file("a", "one"), file("b", "two"))
	w.writes = nil
	got := w.must(Options{Prerelease: true, Name: "other"}, file("b", "two"), file("a", "one"))
	if done(got) != "b skipped, a skipped" || got.Created || len(w.writes) != 0 {
		t.Errorf("result %+v, writes %q", got, w.writes)
	}
}

func TestDraftStaysADraft(t *testing.T) {
	w := newWorld(t)
	delete(w.Tags, "v1") // it need not be there yet
	got := w.must(Options{Draft: true, Prerelease: true}, file("a", "one"))
	if r := w.release(); !r.Draft || !r.Prerelease || r.Name != "v1" || !got.Draft || !strings.Contains(got.Assets[0].URL, "/untagged-") {
		t.Errorf("result %+v", got)
	}
	w.Tags["v1"] = true
	if got := w.must(Options{}, file("a", "one"), file("b", "two")); got.Draft || done(got) != "a skipped, b uploaded" || got.Created {
		t.Errorf("result %+v", got)
	}
	w.refused(Invalid, Options{Draft: true}, []Asset{file("c", "three")}, "it is published, and a draft was asked for")
	if got := w.must(Options{Draft: true}, file("a", "one")); got.Draft {
		t.Errorf("result %+v", got)
	}
}

func TestDraftOfAPersonIsCompletedAndKeepsWhatItHas(t *testing.T) {
	w := newWorld(t)
	id := w.Add(ghrelease.Release{Tag: "v1", Name: "Title", Body: "by hand", Draft: true, Prerelease: true, Assets: []ghrelease.Asset{put("theirs.txt", "x")}})
	w.must(Options{}, file("a", "one"))
	if r := w.release(); r.ID != id || r.Draft || !r.Prerelease || r.Name != "Title" || r.Body != "by hand" || contents(r) != "theirs.txt=x a=one" {
		t.Errorf("release %+v", r)
	}
}

func TestNotesOfAReleaseThatHasNone(t *testing.T) {
	for _, tt := range []struct {
		there string // "-" for no draft
		o     Options
		want  string
	}{
		{"-", Options{Notes: "made"}, "made"},
		{"", Options{Notes: "made"}, "made"},
		{"theirs", Options{Notes: "made"}, "theirs"},
		{"-", Options{Notes: "made", Body: "given"}, "given"},
		{"theirs", Options{Notes: "made", Body: "given"}, "given"},
	} {
		w := newWorld(t)
		if tt.there != "-" {
			w.Add(ghrelease.Release{Tag: "v1", Draft: true, Body: tt.there})
		}
		w.must(tt.o, file("a", "one"))
		if got := w.release().Body; got != tt.want {
			t.Errorf("%q with %+v: notes %q, want %q", tt.there, tt.o, got, tt.want)
		}
	}
}

func TestInterruptedRunIsContinued(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.OnChange = func(s *ghrelease.Server) {
		if contents(s.Releases()[0]) == "a=one b=two" {
			cancel()
		}
	}
	files := []Asset{file("a", "one"), file("b", "two"), file("c", "three")}
	if _, err := w.client().Publish(ctx, "v1", files, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	if r := w.release(); !r.Draft {
		t.Fatalf("published: %+v", r)
	}
	w.writes = nil
	if got := w.must(Options{}, files...); done(got) != "a skipped, b skipped, c uploaded" {
		t.Errorf("%s", done(got))
	}
	if want := "POST releases/1/assets?name=c, PATCH releases/1"; strings.Join(w.writes, ", ") != want {
		t.Errorf("writes %q, want %s", w.writes, want)
	}
}

func TestOtherBytesAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	for _, draft := range []bool{false, true} {
		w := newWorld(t)
		w.Add(ghrelease.Release{Tag: "v1", Draft: draft, Assets: []ghrelease.Asset{put("b", "old")}})
		w.refused(Clashes, Options{}, []Asset{file("a", "one"), file("b", "new")}, "other bytes are there: b has "+file("b", "old").Digest, "(here "+file("b", "new").Digest+")", "--clash replace")
		w.refused(Clashes, Options{DryRun: true}, []Asset{file("a", "one"), file("b", "new")}, "b has")
		if len(w.writes) != 0 {
			t.Errorf("wrote %q", w.writes)
		}
	}
}

func TestAutoReplacesInDraftsOnly(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: []ghrelease.Asset{put("b", "old")}})
	if got := w.must(Options{Clash: ClashAuto}, file("a", "one"), file("b", "new")); done(got) != "a uploaded, b replaced" || contents(w.release()) != "a=one b=new" && contents(w.release()) != "b=new a=one" {
		t.Errorf("%s: %s", done(got), contents(w.release()))
	}
	w.refused(Clashes, Options{Clash: ClashAuto}, []Asset{file("b", "newer")}, "other bytes")
}

// The old bytes are there until the new ones have the name.
func TestReplacementNeverLeavesTheNameWithoutBytes(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a", "old"), put("theirs", "x")}})
	var states []string
	w.OnChange = func(s *ghrelease.Server) { states = append(states, contents(s.Releases()[0])) }
	got := w.must(Options{Clash: ClashReplace}, file("a", "new"))
	fresh := freshName(file("a", "new"))
	want := []string{
		"a=old theirs=x " + fresh + "=", // its bytes are on their way
		"a=old theirs=x " + fresh + "=new",
		"a.old-2=old theirs=x " + fresh + "=new",
		"a.old-2=old theirs=x a=new",
		"theirs=x a=new",
	}
	if !slices.Equal(states, want) || done(got) != "a replaced" {
		t.Errorf("%s, states\n%s\nwant\n%s", done(got), strings.Join(states, "\n"), strings.Join(want, "\n"))
	}
}

// A replacement ended anywhere is ended by the next run, or taken back by one that may
// not replace.
func TestHalfAReplacementIsMended(t *testing.T) {
	fresh := freshName(file("a", "new"))
	whole := ghrelease.Asset{Name: fresh, Content: []byte("new")}
	tests := []struct {
		name   string
		there  []ghrelease.Asset // ids count from 2
		clash  Clash
		want   string
		done   string
		reason Reason
	}{
		{"before the exchange", []ghrelease.Asset{put("a", "old"), whole}, ClashReplace, "a=new", "a replaced", ""},
		{"in the exchange", []ghrelease.Asset{put("a.old-2", "old"), whole}, ClashReplace, "a=new", "a replaced", ""},
		{"in the exchange, older bytes", []ghrelease.Asset{put("a.old-2", "old"), put(freshName(file("a", "newer")), "newer")}, ClashReplace, "a=new", "a replaced", ""},
		{"after it", []ghrelease.Asset{put("a.old-2", "old"), put("a", "new")}, ClashReplace, "a=new", "a skipped", ""},
		{"after it, no replacing", []ghrelease.Asset{put("a.old-2", "old"), put("a", "new")}, ClashFail, "a=new", "a skipped", ""},
		{"in the exchange, no replacing", []ghrelease.Asset{put("a.old-2", "old"), whole}, ClashFail, "a.old-2=old " + fresh + "=new", "", Clashes},
		{"in the exchange, the old bytes wanted", []ghrelease.Asset{put("a.old-2", "new"), put("a.new-0123456789ab", "other")}, ClashFail, "a=new a.new-0123456789ab=other", "a skipped", ""},
		{"the old one is gone", []ghrelease.Asset{whole}, ClashFail, "a=new", "a replaced", ""},
		{"an empty upload", []ghrelease.Asset{put("a", "old"), {Name: fresh, State: "starter"}}, ClashReplace, "a=new", "a replaced", ""},
		{"names that only look so", []ghrelease.Asset{put("a", "new"), put("a.old-99", "x"), put("a.new-0123456789ab", "y"), put("b.old-5", "z")}, ClashReplace, "a=new a.old-99=x a.new-0123456789ab=y b.old-5=z", "a skipped", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.Add(ghrelease.Release{Tag: "v1", Assets: tt.there})
			w.now = w.now.Add(time.Hour)
			if tt.reason != "" {
				w.refused(tt.reason, Options{Clash: tt.clash}, []Asset{file("a", "new")})
			} else if got := w.must(Options{Clash: tt.clash}, file("a", "new")); done(got) != tt.done {
				t.Errorf("%s, want %s", done(got), tt.done)
			}
			if contents(w.release()) != tt.want {
				t.Errorf("release has %q, want %q", contents(w.release()), tt.want)
			}
		})
	}
}

// The exchange is not broken off by who cancels the run.
func TestCancelledExchangeIsCompleted(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a", "old")}})
	ctx, cancel := context.WithCancel(t.Context())
	w.OnChange = func(s *ghrelease.Server) {
		if strings.HasPrefix(contents(s.Releases()[0]), "a.old-2") {
			cancel()
		}
	}
	_, err := w.client().Publish(ctx, "v1", []Asset{file("a", "new")}, Options{Clash: ClashReplace})
	if !errors.Is(err, context.Canceled) || contents(w.release()) != "a.old-2=old a=new" {
		t.Errorf("%v: %s", err, contents(w.release()))
	}
}

// When the second half fails, the first is taken back.
func TestFailedExchangeIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a", "old")}})
	renames := 0
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if r.Method != http.MethodPatch {
			return ghrelease.None
		}
		if renames++; renames == 2 {
			return ghrelease.Before502
		}
		return ghrelease.None
	}
	var states []string
	w.OnChange = func(s *ghrelease.Server) { states = append(states, contents(s.Releases()[0])) }
	w.must(Options{Clash: ClashReplace}, file("a", "new"))
	if len(states) < 4 || !strings.HasPrefix(states[3], "a=old ") || states[len(states)-1] != "a=new" {
		t.Errorf("states %q", states)
	}
}

func TestEmptyAssetsOfBrokenUploadsAreReplaced(t *testing.T) {
	for _, fault := range []ghrelease.Fault{ghrelease.Starter, ghrelease.CutUpload, ghrelease.After502, ghrelease.CutAfter, ghrelease.CutAnswer, ghrelease.Before502, ghrelease.CutBefore} {
		w := newWorld(t)
		w.Fault = func(r *http.Request) ghrelease.Fault {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/assets") {
				w.Fault = nil
				return fault
			}
			return ghrelease.None
		}
		got := w.must(Options{}, file("a", "one"), file("b", "two"))
		if contents(w.release()) != "a=one b=two" || done(got) != "a uploaded, b uploaded" {
			t.Errorf("fault %d: %s, %s", fault, done(got), contents(w.release()))
		}
		if len(w.slept) != 1 || w.slept[0] != 550*time.Millisecond {
			t.Errorf("fault %d: slept %v", fault, w.slept)
		}
	}
}

// A foreign empty asset may be an upload under way.
func TestForeignUploadIsGivenTime(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: []ghrelease.Asset{{Name: "a", State: "starter"}}})
	w.now = w.now.Add(50 * time.Second)
	w.must(Options{}, file("a", "one"))
	if want := []time.Duration{30 * time.Second, 30 * time.Second, 10 * time.Second}; !slices.Equal(w.slept, want) {
		t.Errorf("slept %v, want %v", w.slept, want)
	}
	if contents(w.release()) != "a=one" {
		t.Errorf("release has %q", contents(w.release()))
	}
}

// The refusal of an upload tells that the empty asset is not this run's.
func TestUploadOfAnotherRunIsNotEnded(t *testing.T) {
	w := newWorld(t)
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/assets") {
			w.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.Starter }
			other := r.Clone(t.Context())
			other.Body = io.NopCloser(strings.NewReader("one"))
			if resp, err := w.Server.RoundTrip(other); err != nil || resp.StatusCode != http.StatusBadGateway {
				t.Errorf("the other run's upload: %+v, %v", resp, err)
			}
			w.Fault = nil
		}
		return ghrelease.None
	}
	w.must(Options{}, file("a", "one"))
	if len(w.slept) < 4 || w.slept[1] != 30*time.Second {
		t.Errorf("slept %v", w.slept)
	}
}

func TestOtherBytesThanSentAreSentAgain(t *testing.T) {
	w := newWorld(t)
	times := 0
	w.Corrupt = func(_ string, b []byte) {
		if times++; times < 3 {
			b[0] ^= 1
		}
	}
	w.must(Options{}, file("a", "one"))
	if contents(w.release()) != "a=one" || times != 3 {
		t.Errorf("release has %q after %d uploads", contents(w.release()), times)
	}
	w = newWorld(t)
	w.Corrupt = func(_ string, b []byte) { b[0] ^= 1 }
	w.refused(Unavailable, Options{}, []Asset{file("a", "one")}, "GitHub has 3 bytes with sha256:", "(6 tries)")
	if r := w.release(); !r.Draft || len(r.Assets) != 0 {
		t.Errorf("release %+v", r)
	}
}

func TestChangedFileIsToldAndNotPublished(t *testing.T) {
	w := newWorld(t)
	a := file("a", "one")
	a.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("two")), nil }
	w.refused(Changed, Options{}, []Asset{a}, "uploading a to release v1 of o/r: the file changed")
	if r := w.release(); !r.Draft || len(r.Assets) != 0 {
		t.Errorf("release %+v", r)
	}
	for _, text := range []string{"on", "ones"} {
		a.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		w.patience.Attempts = 1
		if _, err := w.publish(Options{}, a); err == nil {
			t.Errorf("a file of %d bytes is taken for one of 3", len(text))
		}
	}
	a.Open = func() (io.ReadCloser, error) { return nil, errors.New("no such file") }
	w.refused(Changed, Options{}, []Asset{a}, "no such file")
	a.Open = func() (io.ReadCloser, error) { return io.NopCloser(brokenFile{}), nil }
	w.refused(Changed, Options{}, []Asset{a}, "reading the file: input/output error")
}

type brokenFile struct{}

func (brokenFile) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// Older servers give no digests: the bytes are read.
func TestWithoutDigestsTheBytesAreCompared(t *testing.T) {
	w := newWorld(t)
	w.NoDigests = true
	w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: []ghrelease.Asset{put("a", "one"), put("b", "TWO")}})
	w.refused(Clashes, Options{}, []Asset{file("a", "one"), file("b", "two")}, "other bytes are there: b has "+file("b", "TWO").Digest)
	if got := w.must(Options{Clash: ClashReplace}, file("a", "one"), file("b", "two")); done(got) != "a skipped, b replaced" || contents(w.release()) != "a=one b=two" {
		t.Errorf("%s: %s", done(got), contents(w.release()))
	}
}

func TestImmutableReleaseIsNotWrittenTo(t *testing.T) {
	w := newWorld(t)
	w.Immutable = true
	got := w.must(Options{}, file("a", "one"))
	if r := w.release(); !got.Immutable || !r.Immutable {
		t.Fatalf("result %+v, release %+v", got, r)
	}
	w.writes = nil
	if got := w.must(Options{Clash: ClashReplace}, file("a", "one")); done(got) != "a skipped" || !got.Immutable {
		t.Errorf("result %+v", got)
	}
	w.refused(Immutable, Options{Clash: ClashReplace}, []Asset{file("a", "other"), file("b", "two")}, "the release is immutable", "a, b", "use a new tag")
	w.refused(Immutable, Options{DryRun: true}, []Asset{file("b", "two")}, "does not have")
	if len(w.writes) != 0 {
		t.Errorf("wrote %q", w.writes)
	}
	w.Drop(got.ID)
	w.Burned["v1"] = true
	w.refused(Immutable, Options{}, []Asset{file("a", "one")}, "tag_name was used by an immutable release", "use a new tag")
}

// Published by somebody else in the moment of an upload.
func TestReleaseThatBecomesImmutable(t *testing.T) {
	w := newWorld(t)
	w.Immutable = true
	var other *Result
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if r.Method == http.MethodPost && r.URL.Query().Get("name") == "b" {
			w.Fault = nil
			var err error
			if other, err = w.client().Publish(t.Context(), "v1", []Asset{file("a", "one")}, Options{}); err != nil {
				t.Error(err)
			}
		}
		return ghrelease.None
	}
	w.refused(Immutable, Options{}, []Asset{file("a", "one"), file("b", "two")}, "does not have", ": b;")
	if other == nil || !other.Immutable {
		t.Errorf("the other run: %+v", other)
	}
}

func TestMissingTagIsNotMade(t *testing.T) {
	w := newWorld(t)
	delete(w.Tags, "v1")
	w.refused(NoTag, Options{}, []Asset{file("a", "one")}, "finding tag v1 in o/r: it is not there; push it first: git push origin v1")
	w.refused(NoTag, Options{DryRun: true}, []Asset{file("a", "one")})
	if len(w.Releases()) != 0 {
		t.Errorf("releases %+v", w.Releases())
	}
}

func TestTagsWithSlashes(t *testing.T) {
	w := newWorld(t)
	const tag = "plugins/a/v1.0+x"
	w.Tags[tag] = true
	for range 2 {
		got, err := w.client().Publish(t.Context(), tag, []Asset{file("a", "one")}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if want := w.Web + "/o/r/releases/download/" + tag + "/a"; got.Assets[0].URL != want || DownloadURL(w.Web, "o/r", tag, "a") != want {
			t.Errorf("URL %q", got.Assets[0].URL)
		}
	}
	w.release()
}

func TestDraftThatIsVisibleLate(t *testing.T) {
	w := newWorld(t)
	w.ListDelay = func() time.Duration { return 3 * time.Second }
	w.must(Options{}, file("a", "one"))
	if r := w.release(); r.Draft || !slices.Equal(w.slept, []time.Duration{time.Second, time.Second, time.Second}) {
		t.Errorf("slept %v", w.slept)
	}
	w = newWorld(t)
	w.ListDelay = func() time.Duration { return time.Hour }
	w.must(Options{}, file("a", "one"))
	w.release()
}

// All runs use the draft with the lowest id, and the others go away in the end.
func TestSeveralDrafts(t *testing.T) {
	ours := ghrelease.Release{Tag: "v1", Name: "v1", Draft: true}
	with := func(rel ghrelease.Release, assets ...ghrelease.Asset) ghrelease.Release {
		rel.Assets = assets
		return rel
	}
	noted := ours
	noted.Body = "written by hand"
	t.Run("ours", func(t *testing.T) {
		w := newWorld(t)
		w.Add(with(ours, put("a", "one")))
		w.Add(with(ours, put("a", "one"), put("b", "two")))
		if got := w.must(Options{}, file("a", "one"), file("b", "two")); got.ID != 1 || len(got.Warnings) != 0 {
			t.Errorf("result %+v", got)
		}
		w.release()
	})
	t.Run("a lower one is visible late", func(t *testing.T) {
		w := newWorld(t)
		w.ListDelay = func() time.Duration { return time.Minute }
		if _, err := w.client().Publish(t.Context(), "v1", []Asset{file("theirs", "x")}, Options{Draft: true}); err != nil {
			t.Fatal(err)
		}
		w.ListDelay = nil
		w.OnChange = func(s *ghrelease.Server) {
			if all := s.Releases(); len(all) == 2 && contents(all[1]) == "a=one" {
				w.now = w.now.Add(time.Minute)
			}
		}
		if got := w.must(Options{}, file("a", "one")); got.ID != 1 || contents(w.release()) != "theirs=x a=one" {
			t.Errorf("result %+v, release %+v", got, w.release())
		}
	})
	t.Run("the second has other files", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ours)
		w.Add(with(ours, put("theirs", "x")))
		w.refused(Ambiguous, Options{}, []Asset{file("a", "one")}, "2 drafts have this tag (ids 1, 2)", "delete all but one")
		if len(w.writes) != 0 {
			t.Errorf("wrote %q", w.writes)
		}
		if got := w.must(Options{ID: 2}, file("a", "one")); got.ID != 2 || len(w.Releases()) != 2 {
			t.Errorf("result %+v", got)
		}
	})
	t.Run("the second has other bytes", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ours)
		w.Add(with(ours, put("a", "x")))
		w.refused(Ambiguous, Options{}, []Asset{file("a", "one")})
	})
	t.Run("the second has notes", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ours)
		w.Add(noted)
		got := w.must(Options{}, file("a", "one"))
		if len(w.Releases()) != 2 || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "draft 2 (") || !strings.Contains(got.Warnings[0], "of its own") {
			t.Errorf("warnings %q, releases %+v", got.Warnings, w.Releases())
		}
	})
	t.Run("one was published meanwhile", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a", "one")}})
		w.Add(ours)
		if got := w.must(Options{}, file("a", "one")); got.ID != 1 {
			t.Errorf("result %+v", got)
		}
		w.release()
	})
	t.Run("draft mode deletes nobody else's", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ours)
		w.Add(ours)
		if got := w.must(Options{Draft: true}, file("a", "one")); got.ID != 1 || len(w.Releases()) != 2 {
			t.Errorf("result %+v", got)
		}
	})
}

// Another run publishes a draft in the moment in which this one would delete it.
func TestPublishedReleaseIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.ListDelay = func() time.Duration { return time.Minute }
	w.must(Options{Draft: true}, file("a", "one")) // the first, which the second run does not see at once
	failed := false
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/assets") {
			w.now, failed = w.now.Add(time.Minute), true // now it sees the first
			return ghrelease.Before502
		}
		all := w.Releases()
		if failed && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, fmt.Sprintf("releases/%d", all[1].ID)) {
			w.Fault = nil
			if _, err := w.client().Publish(t.Context(), "v1", []Asset{file("a", "one")}, Options{ID: all[1].ID}); err != nil {
				t.Error(err)
			}
		}
		return ghrelease.None
	}
	got := w.must(Options{Draft: true}, file("a", "one"))
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "it has changed") || w.Fault != nil {
		t.Errorf("warnings %q", got.Warnings)
	}
	published := 0
	for _, r := range w.Releases() {
		if !r.Draft {
			published++
		}
	}
	if published != 1 {
		t.Errorf("releases %+v", w.Releases())
	}
}

func TestReleaseByID(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Draft: true})
	w.Add(ghrelease.Release{Tag: "v1", Draft: true})
	w.Add(ghrelease.Release{Tag: "v0"})
	if got := w.must(Options{ID: 2}, file("a", "one")); got.ID != 2 || got.Draft || got.Created {
		t.Errorf("result %+v", got)
	}
	w.refused(NotFound, Options{ID: 9}, []Asset{file("a", "one")}, "no release with id 9")
	w.refused(Invalid, Options{ID: 3}, []Asset{file("a", "one")}, `release 3 has the tag "v0"`)
}

func TestSums(t *testing.T) {
	a, b := file("a", "one"), file("b", "two")
	line := func(f Asset, name string) string { return strings.TrimPrefix(f.Digest, "sha256:") + "  " + name + "\n" }
	t.Run("right", func(t *testing.T) {
		w := newWorld(t)
		w.must(Options{}, a, b, file(SumsName, line(a, "a")+strings.Replace(line(b, "b"), "  ", " *", 1)))
	})
	t.Run("about a file that is there already", func(t *testing.T) {
		w := newWorld(t)
		w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: []ghrelease.Asset{put("b", "two")}})
		w.must(Options{}, a, file(SumsName, line(a, "a")+line(b, "b")))
	})
	tests := []struct{ name, text, want string }{
		{"wrong", line(b, "a"), "it says " + b.Digest + " of a, which has " + a.Digest},
		{"about another file", line(a, "a") + line(b, "c"), `it names "c", which is neither uploaded nor on the release`},
		{"other bytes on the release", line(a, "there"), "of there, which has " + file("", "x").Digest + " on the release"},
		{"no lines", "\n", "line 1: want 64"},
		{"upper case", strings.ToUpper(line(a, "a")), "line 1: want 64 lower-case hex digits"},
		{"no name", line(a, "a") + line(b, ""), "line 2: want"},
		{"one space", strings.Replace(line(a, "a"), "  ", " ", 1), "line 1: want"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: []ghrelease.Asset{put("there", "x")}})
			w.refused(Checksums, Options{}, []Asset{a, b, file(SumsName, tt.text)}, tt.want)
			if len(w.writes) != 0 {
				t.Errorf("wrote %q", w.writes)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		w := newWorld(t)
		name := strings.Repeat("n", 100)
		full := strings.Repeat(line(file("", "x"), name), maxSums/167-1)
		full += line(file("", "x"), name+strings.Repeat("n", maxSums-len(full)-167))
		w.refused(Checksums, Options{}, []Asset{file(SumsName, full)}, "it names \"nnn")
		w.refused(Checksums, Options{}, []Asset{file(SumsName, full+" ")}, "it has 1048577 bytes: want 1048576 at most")
	})
	t.Run("served otherwise", func(t *testing.T) {
		w := newWorld(t)
		c := w.through(changing{w.Server, func(r *http.Request, resp *http.Response) *http.Response {
			if r.URL.Host == "objects.github.test" {
				return withBody(resp, strings.NewReader(line(b, "a")))
			}
			return resp
		}})
		_, err := c.Publish(t.Context(), "v1", []Asset{a, file(SumsName, line(a, "a"))}, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Reason != Checksums || !strings.Contains(err.Error(), "GitHub serves other lines than were uploaded (6 tries)") || !w.release().Draft {
			t.Errorf("error %v, release %+v", err, w.release())
		}
	})
}

// What is left of a replacement is not deleted if it has got another name since it was
// listed.
func TestWhatHasChangedSinceItWasListedIsKept(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a.old-2", "old"), put("a", "new")}})
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/releases/assets/2") {
			w.Fault = nil
			other := r.Clone(t.Context())
			other.Method, other.Body, other.ContentLength = http.MethodPatch, io.NopCloser(strings.NewReader(`{"name":"kept"}`)), -1
			other.Header.Set("Content-Type", "application/json")
			if resp, err := w.Server.RoundTrip(other); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("renaming: %+v, %v", resp, err)
			}
		}
		return ghrelease.None
	}
	w.must(Options{}, file("a", "new"))
	if contents(w.release()) != "kept=old a=new" || w.Fault != nil {
		t.Errorf("release has %q", contents(w.release()))
	}
}

func TestRenamedUploadIsRefused(t *testing.T) {
	w := newWorld(t)
	err := publishThrough(t, w, func(r *http.Request, resp *http.Response) *http.Response {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/assets") {
			return resp
		}
		body, _ := io.ReadAll(resp.Body)
		return withBody(resp, strings.NewReader(strings.Replace(string(body), `"name":"a"`, `"name":"b"`, 1)))
	})
	if err == nil || !strings.Contains(err.Error(), `GitHub named it "b"`) || len(w.release().Assets) != 0 || !w.release().Draft {
		t.Errorf("error %v, release %+v", err, w.release())
	}
}

// What was uploaded is looked at again before it is published, and afterwards.
func TestAssetsThatGoAwayMeanwhile(t *testing.T) {
	for _, draft := range []bool{true, false} {
		w := newWorld(t)
		deleted := false
		w.Fault = func(r *http.Request) ghrelease.Fault {
			all := w.Releases()
			if deleted || len(all) == 0 || all[0].Draft != draft || len(all[0].Assets) != 2 || r.Method != http.MethodGet {
				return ghrelease.None
			}
			deleted = true
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, fmt.Sprintf("%s/repos/o/r/releases/assets/%d", w.API, all[0].Assets[0].ID), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer secret")
			req.Header.Set("X-Github-Api-Version", "2022-11-28")
			if resp, err := w.Server.RoundTrip(req); err != nil || resp.StatusCode != http.StatusNoContent {
				t.Errorf("deleting: %+v, %v", resp, err)
			}
			return ghrelease.None
		}
		w.OnChange = func(s *ghrelease.Server) {
			if r := s.Releases()[0]; draft && !r.Draft && len(r.Assets) != 2 {
				t.Error("published without an asset")
			}
		}
		w.must(Options{}, file("a", "one"), file("b", "two"))
		if r := w.release(); r.Draft || len(r.Assets) != 2 || !deleted {
			t.Errorf("release %+v", r)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	files := []Asset{file("a", "one")}
	t.Run("bad token", func(t *testing.T) {
		w := newWorld(t)
		w.Token = "other"
		w.refused(Unauthorized, Options{}, files, "401 Bad credentials", "GITHUB_TOKEN")
	})
	t.Run("read-only token", func(t *testing.T) {
		w := newWorld(t)
		w.ReadOnly = true
		w.refused(Forbidden, Options{}, files, "creating a draft of release v1 of o/r: 403 Resource not accessible by integration", `the token lacks "contents: write" for o/r: add "permissions: contents: write" to the job`)
	})
	t.Run("no such repository", func(t *testing.T) {
		w := newWorld(t)
		w.Repo = "o/other"
		w.refused(NotFound, Options{}, files, "404 Not Found", "check the name o/r")
	})
	t.Run("GitHub is down", func(t *testing.T) {
		w := newWorld(t)
		w.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.Unavailable }
		w.refused(Unavailable, Options{}, files, "503 Service Unavailable (6 tries)")
		want := []time.Duration{550 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond, 4400 * time.Millisecond, 8800 * time.Millisecond}
		if !slices.Equal(w.slept, want) {
			t.Errorf("slept %v, want %v", w.slept, want)
		}
	})
	t.Run("no connection", func(t *testing.T) {
		w := newWorld(t)
		w.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.CutBefore }
		w.patience.Attempts = 2
		w.refused(Unavailable, Options{}, files, "finding release v1 of o/r: connection reset by peer (2 tries)")
	})
	t.Run("a rule protects the tag", func(t *testing.T) {
		w := newWorld(t)
		w.Protected["v1"] = true
		w.OnChange = func(*ghrelease.Server) { delete(w.Tags, "v1") } // after it was seen
		w.refused(TagProtected, Options{}, files, "release v1 of o/r", "creations being restricted", "protects the tag")
	})
}

func TestRateLimitsAreWaitedFor(t *testing.T) {
	tests := []struct {
		fault ghrelease.Fault
		want  time.Duration
	}{
		{ghrelease.Secondary, 90 * time.Second}, {ghrelease.SecondaryBare, time.Minute}, {ghrelease.Primary, 90 * time.Second}, {ghrelease.TooMany, 90 * time.Second},
	}
	for _, tt := range tests {
		for _, at := range []int{1, 4, 6, 8} {
			w := newWorld(t)
			n := 0
			w.Fault = func(*http.Request) ghrelease.Fault {
				if n++; n == at {
					return tt.fault
				}
				return ghrelease.None
			}
			w.must(Options{}, file("a", "one"))
			if !slices.Equal(w.slept, []time.Duration{tt.want}) {
				t.Errorf("fault %d at request %d: slept %v, want %v", tt.fault, at, w.slept, tt.want)
			}
			if !slices.ContainsFunc(w.events, func(e string) bool {
				return strings.Contains(e, "rate limit") && strings.Contains(e, "trying again in "+tt.want.String())
			}) {
				t.Errorf("events %q", w.events)
			}
		}
	}
	w := newWorld(t)
	w.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.Primary }
	w.patience.MaxWait = time.Minute
	w.refused(RateLimited, Options{}, []Asset{file("a", "one")}, "API rate limit exceeded", "run the same again in 1m30s")
}

// A failure counts only as long as nothing gets better.
func TestManyFailuresWithProgressAreNoFailure(t *testing.T) {
	w := newWorld(t)
	var files []Asset
	for i := range 20 {
		files = append(files, file(fmt.Sprint("f", i), fmt.Sprint(i)))
	}
	fail := map[string]int{}
	w.Fault = func(r *http.Request) ghrelease.Fault {
		if name := r.URL.Query().Get("name"); name != "" && fail[name] < 3 {
			fail[name]++
			return ghrelease.Before502
		}
		return ghrelease.None
	}
	w.must(Options{}, files...)
	if len(w.slept) != 60 {
		t.Errorf("slept %d times", len(w.slept))
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	w := newWorld(t)
	got := w.must(Options{DryRun: true}, file("a", "one"))
	if done(got) != "a uploaded" || !got.Created || got.ID != 0 || len(w.Releases()) != 0 {
		t.Errorf("result %+v", got)
	}
	w.Add(ghrelease.Release{Tag: "v1", Assets: []ghrelease.Asset{put("a", "one"), put("b", "old")}})
	got = w.must(Options{DryRun: true, Clash: ClashReplace}, file("a", "one"), file("b", "two"), file("c", "three"))
	if done(got) != "a skipped, b replaced, c uploaded" || got.ID != 1 || got.Created || got.Draft || len(w.writes) != 0 {
		t.Errorf("result %+v, wrote %q", got, w.writes)
	}
}

func TestAsManyAssetsAsGitHubTakes(t *testing.T) {
	many := func(n int) []ghrelease.Asset {
		var all []ghrelease.Asset
		for i := range n {
			all = append(all, put(fmt.Sprintf("f%04d", i), "x"))
		}
		return all
	}
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v1", Draft: true, Assets: many(MaxAssets - 1)})
	w.refused(Invalid, Options{}, []Asset{file("a", "one"), file("b", "two")}, "999 assets are there, and 2 more are to come: GitHub takes 1000")
	if got := w.must(Options{}, file("f0998", "x"), file("a", "one")); done(got) != "f0998 skipped, a uploaded" {
		t.Errorf("%s", done(got))
	}
	w.writes = nil
	w.refused(Invalid, Options{Clash: ClashReplace}, []Asset{file("f0998", "y")}, "1000 assets are there, and 1 more are to come")
	if len(w.writes) != 0 {
		t.Errorf("wrote %q", w.writes)
	}
	w.must(Options{}, file("f0998", "x"))
}

// Over real connections, with an Enterprise Server's paths and a list of two pages.
func TestOverHTTP(t *testing.T) {
	w := newWorld(t)
	for i := range 120 {
		w.Add(ghrelease.Release{Tag: fmt.Sprint("old", i), Draft: true})
	}
	w.Server.Add(ghrelease.Release{Tag: "v0"})
	w.Server.API, w.Server.Uploads = "https://github.test/api/v3", "https://github.test/api/uploads"
	w.Log, w.Now = nil, nil // a request that was cut off may still be worked on
	w.Start(t)
	var n atomic.Int32
	w.Fault = func(*http.Request) ghrelease.Fault {
		faults := map[int32]ghrelease.Fault{2: ghrelease.CutAnswer, 7: ghrelease.CutAfter, 14: ghrelease.CutUpload, 22: ghrelease.Before502}
		return faults[n.Add(1)]
	}
	client := func() *Client {
		c, err := New(Config{Repo: "o/r", API: w.API, Token: "secret", Patience: restless})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := file("a", strings.Repeat("one", 1<<18))
	files := []Asset{a, file("SHA256SUMS", strings.TrimPrefix(a.Digest, "sha256:")+"  a\n"), file("manifest.json", "{}")}
	got, err := client().Publish(t.Context(), "v1", files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Draft || done(got) != "a uploaded, SHA256SUMS uploaded, manifest.json uploaded" || n.Load() < 22 {
		t.Errorf("result %+v after %d requests", got, n.Load())
	}
	if got, err = client().Publish(t.Context(), "v1", files, Options{}); err != nil || done(got) != "a skipped, SHA256SUMS skipped, manifest.json skipped" {
		t.Errorf("%+v, %v", got, err)
	}
}

// restless waits for nothing.
var restless = Patience{Sleep: func(context.Context, time.Duration) error { return nil }, Attempts: 1000}

// Two runs at once, for the race detector.
func TestTwoRunsAtOnceOverHTTP(t *testing.T) {
	w := newWorld(t)
	w.Log = nil
	w.Start(t)
	w.Now = nil
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			c, err := New(Config{Repo: "o/r", API: w.API, Token: "secret", Patience: restless})
			if err == nil {
				_, err = c.Publish(t.Context(), "v1", []Asset{file("a", "one"), file("b", "two")}, Options{})
			}
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if r := w.release(); r.Draft || len(r.Assets) != 2 {
		t.Errorf("release %+v", r)
	}
}

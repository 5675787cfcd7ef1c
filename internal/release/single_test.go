package release

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/volant/fledge-action/internal/ghrelease"
)

// bundleOf is a bundle about digests, which nobody has signed.
func bundleOf(digests ...string) []byte {
	var subjects []string
	for _, d := range digests {
		subjects = append(subjects, fmt.Sprintf(`{"name":"a","digest":{"sha256":%q}}`, d))
	}
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[%s]}`, strings.Join(subjects, ","))
	return []byte(fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{},"dsseEnvelope":{"payload":%q}}`, base64.StdEncoding.EncodeToString([]byte(payload))))
}

// reason fails the test unless err is an *Error with a reason and texts.
func reason(t *testing.T, err error, want Reason, texts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Fatalf("error is %v, want one with reason %q", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestAttestationIsKeptAsItIs(t *testing.T) {
	w := newWorld(t)
	bundle := bundleOf("aa", "bb")
	id, err := w.client().KeepAttestation(t.Context(), append(bundle, '\n'))
	all := w.Attestations()
	if err != nil || len(all) != 1 || all[0].ID != id || string(all[0].Bundle) != string(bundle) || strings.Join(all[0].Digests, " ") != "sha256:aa sha256:bb" {
		t.Fatalf("id %d, %v; kept %+v", id, err, all)
	}
	if got := AttestationURL("https://github.com/", "o/r", 7); got != "https://github.com/o/r/attestations/7" {
		t.Errorf("page %s", got)
	}
}

// TestAttestationSurvivesEveryFault: whatever happens once, it is kept in the end, twice
// only where the answer of the first time was lost.
func TestAttestationSurvivesEveryFault(t *testing.T) {
	for f := range ghrelease.Faults {
		w := newWorld(t)
		n := 0
		w.Fault = func(*http.Request) ghrelease.Fault {
			if n++; n == 1 {
				return f
			}
			return ghrelease.None
		}
		id, err := w.client().KeepAttestation(t.Context(), bundleOf("aa"))
		all := w.Attestations()
		lost := slices.Contains([]ghrelease.Fault{ghrelease.After502, ghrelease.CutAfter, ghrelease.CutAnswer}, f)
		want := 1
		if lost {
			want = 2
		}
		if err != nil || len(all) != want || all[len(all)-1].ID != id || (len(w.slept) == 0) != (f == ghrelease.None) {
			t.Errorf("fault %d: %d, %v; %d kept, want %d; slept %v", f, id, err, len(all), want, w.slept)
		}
		for _, a := range all {
			if string(a.Bundle) != string(bundleOf("aa")) {
				t.Errorf("fault %d: kept %s", f, a.Bundle)
			}
		}
	}
}

func TestAttestationRefusalsSayWhatToDo(t *testing.T) {
	for status, tt := range map[int]struct {
		reason Reason
		texts  []string
	}{
		401: {Unauthorized, []string{"GITHUB_TOKEN"}},
		403: {Forbidden, []string{`the token lacks "attestations: write" for o/r`, `add "permissions: attestations: write"`, "a pull request from a fork never has it", "Enterprise Cloud"}},
		404: {NotFound, []string{"check the name o/r", `"attestations: write"`, "Enterprise Cloud", "Enterprise Server keeps none"}},
		422: {Rejected, []string{"not signed by a trusted authority", "its own or the public-good Sigstore"}},
	} {
		w := newWorld(t)
		w.RefuseAttestations = status
		_, err := w.client().KeepAttestation(t.Context(), bundleOf("aa"))
		reason(t, err, tt.reason, tt.texts...)
		if len(w.slept) != 0 || len(w.writes) != 1 {
			t.Errorf("%d: slept %v, wrote %q", status, w.slept, w.writes)
		}
	}
	w := newWorld(t)
	w.ReadOnly = true
	_, err := w.client().KeepAttestation(t.Context(), bundleOf("aa"))
	reason(t, err, Forbidden, "attestations: write")
	for _, text := range []string{"", "[]", "{", "1 2"} {
		_, err := w.client().KeepAttestation(t.Context(), []byte(text))
		reason(t, err, Invalid, "no JSON object")
	}
	most := append(bundleOf("aa"), strings.Repeat(" ", MaxBundle)...)
	most = append(most[:MaxBundle-1], '}')
	most[len(bundleOf("aa"))-1] = ' ' // the closing brace stands at the end
	if _, err := newWorld(t).client().KeepAttestation(t.Context(), most); err != nil {
		t.Errorf("a bundle of MaxBundle bytes: %v", err)
	}
	more := append(slices.Clone(most[:len(most)-1]), ' ', '}')
	_, err = w.client().KeepAttestation(t.Context(), more)
	reason(t, err, TooLarge, "the bundle has 16777217 bytes: want 16777216 at most")
}

func TestWaitingForAnAttestationCanBeCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.Fault = func(*http.Request) ghrelease.Fault {
		cancel()
		return ghrelease.Secondary
	}
	if _, err := w.client().KeepAttestation(ctx, bundleOf("aa")); !errors.Is(err, context.Canceled) || len(w.Attestations()) != 0 {
		t.Errorf("error %v, kept %+v", err, w.Attestations())
	}
}

func TestSplitTag(t *testing.T) {
	for tag, want := range map[string][2]string{
		"v1.2.0": {"", "v1.2.0"}, "1.2.0": {"", "1.2.0"}, "web/v1.2": {"web/", "v1.2"}, "web/1.2": {"web/", "1.2"}, "web-v1.2": {"web-", "v1.2"},
		"a/web-v1.2-rc.1": {"a/web-", "v1.2-rc.1"}, "web-v2-v1.0": {"web-v2-", "v1.0"}, "v1.0-rc1": {"", "v1.0-rc1"}, "nightly": {"", "nightly"}, "web/nightly": {"", "web/nightly"},
		"web-1.2": {"", "web-1.2"}, "": {"", ""}, "v": {"", "v"}, "-v1": {"-", "v1"}, "é-v1": {"é-", "v1"},
	} {
		if prefix, version := splitTag(tag); prefix != want[0] || version != want[1] {
			t.Errorf("%q: %q, %q; want %q", tag, prefix, version, want)
		}
	}
	for version, want := range map[string]bool{"v1.2": false, "v1.2-rc.1": true, "1.0.0+build-5": false, "1-alpha+x": true, "nightly-build": false} {
		if isPrerelease(version) != want {
			t.Errorf("%q is a prerelease: %v", version, !want)
		}
	}
}

func TestPrevious(t *testing.T) {
	build := func(w *world, releases ...ghrelease.Release) {
		for _, r := range releases {
			w.now = w.now.Add(time.Hour)
			w.Add(r)
		}
	}
	rel := func(tag string) ghrelease.Release {
		return ghrelease.Release{Tag: tag, Assets: []ghrelease.Asset{put("a", tag)}}
	}
	pre := func(tag string) ghrelease.Release { return ghrelease.Release{Tag: tag, Prerelease: true} }
	draft := func(tag string) ghrelease.Release { return ghrelease.Release{Tag: tag, Draft: true} }
	for name, tt := range map[string]struct {
		there []ghrelease.Release
		tag   string
		want  string // "" for none
	}{
		"nothing":                         {nil, "v1", ""},
		"only itself":                     {[]ghrelease.Release{rel("v1")}, "v1", ""},
		"the newest":                      {[]ghrelease.Release{rel("v1"), rel("v2")}, "v3", "v2"},
		"before one that is published":    {[]ghrelease.Release{rel("v1"), rel("v2"), rel("v3")}, "v2", "v1"},
		"drafts do not count":             {[]ghrelease.Release{rel("v1"), draft("v2")}, "v3", "v1"},
		"nor prereleases":                 {[]ghrelease.Release{rel("v1"), pre("v2-rc")}, "v2", "v1"},
		"but for a prerelease":            {[]ghrelease.Release{rel("v1"), pre("v2-rc.1")}, "v2-rc.2", "v2-rc.1"},
		"but for one that is marked so":   {[]ghrelease.Release{rel("v1"), pre("v2-rc"), pre("v2")}, "v2", "v2-rc"},
		"of one prefix":                   {[]ghrelease.Release{rel("web/v1"), rel("api/v1"), rel("v9")}, "web/v2", "web/v1"},
		"of another prefix":               {[]ghrelease.Release{rel("web-v1"), rel("api-v1")}, "api-v2", "api-v1"},
		"of none":                         {[]ghrelease.Release{rel("v1"), rel("web/v2")}, "v2", "v1"},
		"the first one of a prefix":       {[]ghrelease.Release{rel("v1"), rel("web/v2")}, "api/v1", ""},
		"a tag that needs to be escaped":  {[]ghrelease.Release{rel("web/v1"), rel("web/v2"), rel("web/v3")}, "web/v2", "web/v1"},
		"published in another order":      {[]ghrelease.Release{rel("v1"), rel("v1.1"), rel("v2")}, "v1.1", "v1"},
		"one that has no version and one": {[]ghrelease.Release{rel("nightly"), rel("web/v1")}, "v1", "nightly"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			build(w, tt.there...)
			got, err := w.client().Previous(t.Context(), tt.tag)
			switch {
			case err != nil:
				t.Fatal(err)
			case got == nil && tt.want != "" || got != nil && got.Tag != tt.want:
				t.Errorf("got %+v, want %q", got, tt.want)
			case got != nil && (got.URL != PageURL(w.Web, "o/r", tt.want) || got.Assets == nil):
				t.Errorf("got %+v", got)
			}
			if len(w.writes) != 0 {
				t.Errorf("wrote %q", w.writes)
			}
		})
	}
}

func TestPreviousTellsWhatWasReleased(t *testing.T) {
	w := newWorld(t)
	w.Add(ghrelease.Release{Tag: "v0", Assets: []ghrelease.Asset{put("a.img", "one"), {Name: "b", State: "starter"}}})
	got, err := w.client().Previous(t.Context(), "v1")
	want := PreviousAsset{Name: "a.img", Size: 3, Digest: file("a.img", "one").Digest}
	if err != nil || got == nil || len(got.Assets) != 1 || got.Assets[0] != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestPreviousLooksAtATenthOfAThousandAtATime(t *testing.T) {
	for _, tt := range []struct {
		more, gets int
		want       bool
	}{{0, 2, true}, {98, 2, true}, {99, 2, true}, {100, 3, true}, {999, 11, true}, {1000, 11, false}, {1100, 11, false}} {
		w := newWorld(t)
		w.Contract = nil // for its time
		w.Add(ghrelease.Release{Tag: "web/v1"})
		for i := range tt.more {
			w.Add(ghrelease.Release{Tag: fmt.Sprintf("v%d", i)})
		}
		got, err := w.client().Previous(t.Context(), "web/v2")
		if err != nil || (got != nil) != tt.want || w.gets != tt.gets {
			t.Errorf("behind %d: %+v, %v, %d requests, want %d", tt.more, got, err, w.gets, tt.gets)
		}
	}
}

func TestPreviousFails(t *testing.T) {
	w := newWorld(t)
	w.Fault = func(*http.Request) ghrelease.Fault { return ghrelease.Unavailable }
	_, err := w.client().Previous(t.Context(), "v1")
	reason(t, err, Unavailable, "looking for the release before v1 of o/r: 503", "(6 tries)")
	w = newWorld(t)
	w.Server.Repo = "o/other"
	_, err = w.client().Previous(t.Context(), "v1")
	reason(t, err, NotFound, "check the name o/r", `"contents: read"`)
}

func TestChanged(t *testing.T) {
	many := func(n int) (all []ghrelease.ComparedFile) {
		for i := range n {
			all = append(all, ghrelease.ComparedFile{Name: fmt.Sprintf("f%03d", i)})
		}
		return all
	}
	const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	w := newWorld(t)
	w.Commits = []string{b, "feature/x+y"}
	w.Comparisons = map[string]ghrelease.Comparison{
		a + "..." + b:              {Status: "ahead", Files: []ghrelease.ComparedFile{{Name: "web/é b.toml"}, {Name: "new/a", Previous: "old/a"}, {Name: "gone", Status: "removed"}, {Name: "gone", Status: "added"}}},
		"v1...main":                {Status: "diverged", Files: many(299)},
		"v2...main":                {Status: "ahead", Files: many(300)},
		"v3...main":                {Status: "ahead", Files: many(301)},
		"main...v1":                {Status: "behind"},
		"main...main":              {Status: "identical"},
		"release/1...feature/x+y":  {Status: "ahead", Files: many(1)},
		"release/1...feature/none": {Status: "ahead", Files: many(1)},
	}
	for _, tt := range []struct {
		base, head, want string
		count            int
		all              bool
	}{
		{a, b, "gone new/a old/a web/é b.toml", 4, false},
		{"v1", "main", "", 299, false},
		{"v2", "main", "", 0, true},
		{"v3", "main", "", 0, true},
		{"main", "v1", "", 0, true},
		{"main", "main", "", 0, false},
		{"release/1", "feature/x+y", "f000", 1, false},
		{strings.Repeat("0", 40), b, "", 0, true}, // a new branch
		{strings.Repeat("c", 40), b, "", 0, true}, // forced away
	} {
		files, all, err := w.client().Changed(t.Context(), tt.base, tt.head)
		if err != nil || all != tt.all || len(files) != tt.count || tt.want != "" && strings.Join(files, " ") != tt.want {
			t.Errorf("%s...%s: %q, %v, %v", tt.base, tt.head, files, all, err)
		}
	}
	_, _, err := w.client().Changed(t.Context(), a, strings.Repeat("c", 40))
	reason(t, err, NotFound, "cccc is not there", "check the name o/r")
	for _, bad := range []string{"", "-x", "a..b", "eve:main", "a b"} {
		_, _, err := w.client().Changed(t.Context(), bad, b)
		reason(t, err, Invalid, "names no commit")
		_, _, err = w.client().Changed(t.Context(), a, bad)
		reason(t, err, Invalid, "names no commit")
	}
	n := 0
	w.Fault = func(*http.Request) ghrelease.Fault {
		if n++; n == 1 {
			return ghrelease.CutAnswer
		}
		return ghrelease.None
	}
	if files, all, err := w.client().Changed(t.Context(), a, b); err != nil || all || len(files) != 4 || len(w.slept) != 1 {
		t.Errorf("after a fault: %q, %v, %v, slept %v", files, all, err, w.slept)
	}
}

func TestGeneratedNotesStandBehindOurs(t *testing.T) {
	for _, tt := range []struct {
		name  string
		there string // notes of a draft; "-" for no draft
		o     Options
		want  string // %s are the generated ones
	}{
		{"ours", "-", Options{Notes: "made\n"}, "made\n\n%s"},
		{"given", "-", Options{Notes: "made", Body: "given"}, "given\n\n%s"},
		{"none", "-", Options{}, "%s"},
		{"an empty draft", "", Options{Notes: "made"}, "made\n\n%s"},
		{"a draft with notes", "theirs", Options{Notes: "made"}, "theirs"},
		{"a draft with notes, given", "theirs", Options{Body: "given"}, "given\n\n%s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.Merged = []string{"* one", "* two"}
			w.Add(ghrelease.Release{Tag: "v0"})
			w.Add(ghrelease.Release{Tag: "web/v3"})
			if tt.there != "-" {
				w.Add(ghrelease.Release{Tag: "v1", Draft: true, Body: tt.there})
			}
			tt.o.GenerateNotes = true
			w.must(tt.o, file("a", "one"))
			all := w.Releases()
			made := "## What's Changed\n* one\n* two\n\n**Full Changelog**: " + w.Web + "/o/r/compare/v0...v1"
			want := strings.ReplaceAll(tt.want, "%s", made)
			if got := all[len(all)-1]; got.Tag != "v1" || got.Body != want {
				t.Errorf("notes of %s %q, want %q", got.Tag, got.Body, want)
			}
			if asked := slices.Contains(w.writes, "POST releases/generate-notes"); asked != strings.Contains(tt.want, "%s") {
				t.Errorf("wrote %q", w.writes)
			}
		})
	}
}

// TestGeneratedNotesComeOnce: a run that goes on where one ended adds none.
func TestGeneratedNotesComeOnce(t *testing.T) {
	for _, o := range []Options{{Notes: "made"}, {Body: "given"}} {
		w := newWorld(t)
		o.GenerateNotes = true
		w.Merged = []string{"* one"}
		ctx, cancel := context.WithCancel(t.Context())
		w.OnChange = func(s *ghrelease.Server) {
			if all := s.Releases(); len(all) > 0 && contents(all[0]) == "a=one" {
				cancel()
			}
		}
		files := []Asset{file("a", "one"), file("b", "two")}
		if _, err := w.client().Publish(ctx, "v1", files, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("error is %v", err)
		}
		w.OnChange = nil
		before := w.release().Body
		w.must(o, files...)
		w.must(o, files...)
		if got := w.release().Body; got != before || strings.Count(got, "* one") != 1 || w.release().Draft {
			t.Errorf("notes %q, then %q", before, got)
		}
	}
	w := newWorld(t)
	w.must(Options{GenerateNotes: true, DryRun: true}, file("a", "one"))
	if len(w.writes) != 0 {
		t.Errorf("a dry run wrote %q", w.writes)
	}
}

func TestReleaseIsPublishedWithoutNotesThatGitHubRefuses(t *testing.T) {
	w := newWorld(t)
	delete(w.Tags, "v1")
	got := w.must(Options{Draft: true, GenerateNotes: true, Notes: "made"}, file("a", "one"))
	if w.release().Body != "made" || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "asking for GitHub's notes of release v1 of o/r: 422") {
		t.Errorf("notes %q, warnings %q", w.release().Body, got.Warnings)
	}
}

func TestGeneratedNotesAreCutAtALine(t *testing.T) {
	line := strings.Repeat("é", 99) + "\n"
	for _, tt := range []struct {
		notes, more int // characters
		want        int
	}{
		{0, MaxNotes, MaxNotes},
		{0, MaxNotes + 1, MaxNotes - 1}, // without the line break at the end
		{1000, MaxNotes - 1002, MaxNotes},
		{1000, MaxNotes - 1001, 1002 + (MaxNotes-1002)/100*100 - 1},
		{MaxNotes - 3, 500, MaxNotes - 3},
		{MaxNotes, 500, MaxNotes},
	} {
		more := strings.Repeat(line, tt.more/100+1)
		more = string([]rune(more)[:tt.more])
		if more = strings.TrimSuffix(more, "\n"); utf8.RuneCountInString(more) < tt.more {
			more += "x"
		}
		notes := strings.Repeat("n", tt.notes)
		got := join(notes, more)
		if n := utf8.RuneCountInString(got); n != tt.want || !strings.HasPrefix(got, notes) || !utf8.ValidString(got) {
			t.Errorf("%d and %d: %d characters, want %d", tt.notes, tt.more, n, tt.want)
		}
	}
}

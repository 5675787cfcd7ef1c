package release

import (
	"strings"
	"testing"

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
	if r.Draft || r.Tag != "v1" || r.Name != "First" || r.Body != "notes" || r.Latest != "true" || contents(r) != "a.img=one b.sigstore.json=two manifest.json={}" {
		t.Errorf("release %+v", r)
	}
	if r.Assets[0].ContentType != "application/vnd.example+gzip" || r.Assets[1].ContentType != "application/octet-stream" {
		t.Errorf("media types %q, %q", r.Assets[0].ContentType, r.Assets[1].ContentType)
	}
	if done(got) != "a.img uploaded, b.sigstore.json uploaded, manifest.json uploaded" || !got.Created || got.Draft || got.ID != r.ID || got.URL != w.Web+"/o/r/releases/tag/v1" {
		t.Errorf("result %+v", got)
	}
	for _, a := range got.Assets {
		if want := DownloadURL(w.Web, "o/r", "v1", a.Name); a.URL != want {
			t.Errorf("URL %q, want %q", a.URL, want)
		}
	}
	if len(w.slept) != 0 {
		t.Errorf("slept %v", w.slept)
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
	got := w.must(Options{Draft: true}, file("a", "one"))
	if r := w.release(); !r.Draft || !got.Draft || !strings.Contains(got.Assets[0].URL, "/untagged-") {
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

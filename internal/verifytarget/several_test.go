package verifytarget

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/ghtest"
)

// sumsOf is the SHA256SUMS of texts.
func sumsOf(files map[string]string) string {
	var subjects []statement.Subject
	for name, text := range files {
		subjects = append(subjects, statement.Subject{Name: name, Digest: map[string]string{"sha256": sum(text)}})
	}
	return string(statement.Sums(subjects))
}

// A signing is how the plugins of a merged folder were signed.
type signing int

const (
	byJobs   signing = iota // each where it was built: with its manifest.json and its own SHA256SUMS
	together                // in the merged folder, with its SHA256SUMS
	kept                    // by jobs, and GitHub has the bundles
)

// mergedFolder is a folder of the plugins a and b. kept bundles are returned by artifact.
func (f *fixture) mergedFolder(how signing) (files, bundles map[string]string) {
	f.Helper()
	files, bundles = map[string]string{}, map[string]string{}
	for _, name := range []string{"a", "b"} {
		image := "image " + name
		files[name+".img"] = image
		files[name+".manifest.json"] = manifestFor("https://github.com/o/r/releases/download/v1/"+name+".img", "sha256:"+sum(image))
	}
	files[sumsName] = sumsOf(files)
	for _, name := range []string{"a", "b"} {
		own := map[string]string{name + ".img": files[name+".img"]}
		if how == together {
			own[name+".manifest.json"], own[sumsName] = files[name+".manifest.json"], files[sumsName]
		} else {
			own[manifestName] = files[name+".manifest.json"]
			own[sumsName] = sumsOf(own)
		}
		b := f.bundle(own)
		bundles[files[name+".img"]] = b
		if how != kept {
			files[name+".intoto.jsonl"] = b + "\n"
		}
	}
	return files, bundles
}

func (f *fixture) writeAll(files map[string]string) {
	for name, text := range files {
		f.write(name, text)
	}
}

const both = "a.img artifact, b.img artifact, a.manifest.json manifest, b.manifest.json manifest, SHA256SUMS checksums"

func sorted(list string) string {
	all := strings.Split(list, ", ")
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestEveryPluginIsVerifiedWithItsOwnBundles(t *testing.T) {
	for _, tt := range []struct {
		how         signing
		all, single string // files of SHA256SUMS and of one artifact
		note        string
	}{
		{byJobs, both + "!", "a.img artifact, a.manifest.json manifest, SHA256SUMS checksums!", "SHA256SUMS is not among the files that were signed"},
		{together, both, "a.img artifact, a.manifest.json manifest, SHA256SUMS checksums", ""},
	} {
		f := newFixture(t)
		files, _ := f.mergedFolder(tt.how)
		f.writeAll(files)
		s := ghtest.New(t, "o/r")
		var assets []ghtest.Asset
		for _, name := range slices.Sorted(maps.Keys(files)) {
			assets = append(assets, ghtest.Asset{Name: name, Content: []byte(files[name])})
		}
		s.Add(ghtest.Release{Tag: "v1", Assets: assets})
		o := options()
		o.BaseURL = s.URL
		for target, want := range map[string]string{
			filepath.Join(f.dir, sumsName):           tt.all,
			"https://github.com/o/r/releases/tag/v1": tt.all,
			filepath.Join(f.dir, "a.img"):            tt.single,
			filepath.Join(f.dir, "a.manifest.json"):  tt.single,
		} {
			r, err := f.report(target, o)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || sorted(r.files()) != sorted(want) || strings.Join(r.Notes, "\n") != tt.note {
				t.Errorf("%d: %s: files %q, want %q; notes %q; %s", tt.how, target, r.files(), want, r.Notes, r.words())
			}
		}
	}
}

func TestChangedFilesOfSeveralPlugins(t *testing.T) {
	evil := manifestFor("https://github.com/o/r/releases/download/v1/a.img", "sha256:"+sum("image a"))
	evil = strings.Replace(evil, `"/web"`, `"/evil"`, 1)
	tests := []struct {
		name   string
		how    signing
		change func(files map[string]string)
		target string
		want   string
	}{
		{"a manifest, beside its artifact", byJobs, func(m map[string]string) { m["a.manifest.json"] = evil }, "a.img", "changed: a.manifest.json (sha256:"},
		{"a manifest, beside its artifact", together, func(m map[string]string) { m["a.manifest.json"] = evil; m[sumsName] = sumsOf(m) }, "a.img", "changed: a.manifest.json (sha256:"},
		{"a manifest that leads elsewhere", byJobs, func(m map[string]string) { m["a.manifest.json"] = m["b.manifest.json"] }, "a.img", "checksum: "},
		{"a manifest and the checksums", byJobs, func(m map[string]string) {
			m["a.manifest.json"] = evil
			m[sumsName] = sumsOf(map[string]string{"a.img": m["a.img"], "a.manifest.json": evil, "b.img": m["b.img"], "b.manifest.json": m["b.manifest.json"]})
		}, sumsName, "subject: a.manifest.json (sha256:"},
		{"manifests that change places", byJobs, func(m map[string]string) {
			m["a.manifest.json"], m["b.manifest.json"] = m["b.manifest.json"], m["a.manifest.json"]
			m[sumsName] = sumsOf(map[string]string{"a.img": m["a.img"], "a.manifest.json": m["a.manifest.json"], "b.img": m["b.img"], "b.manifest.json": m["b.manifest.json"]})
		}, sumsName, "checksum: "},
		{"an artifact that nobody signed", byJobs, func(m map[string]string) { m["c.img"] = "c"; m[sumsName] += sum("c") + "  c.img\n" }, sumsName, "subject: c.img (sha256:"},
		{"checksums that were signed and lost a plugin", together, func(m map[string]string) {
			m[sumsName] = sumsOf(map[string]string{"a.img": m["a.img"], "b.img": m["b.img"]})
		}, sumsName, "changed: SHA256SUMS (sha256:"},
		{"checksums that lie", byJobs, func(m map[string]string) { m[sumsName] = strings.Replace(m[sumsName], sum("image b"), sum("x"), 1) }, sumsName, "checksum: "},
		{"the bundles of one plugin are gone", byJobs, func(m map[string]string) { delete(m, "b.intoto.jsonl") }, sumsName, "subject: b.img (sha256:"},
	}
	for _, tt := range tests {
		f := newFixture(t)
		files, _ := f.mergedFolder(tt.how)
		tt.change(files)
		f.writeAll(files)
		r, err := f.report(filepath.Join(f.dir, tt.target), options())
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if r.OK() || !strings.Contains(r.words(), tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, r.words(), tt.want)
		}
	}
}

func TestGitHubIsAskedForEachArtifactWithoutABundle(t *testing.T) {
	f := newFixture(t)
	files, bundles := f.mergedFolder(kept)
	files["a.intoto.jsonl"] = bundles[files["a.img"]] + "\n"
	f.writeAll(files)
	s := ghtest.New(t, "o/r")
	for text, b := range bundles {
		s.Attest("sha256:"+sum(text), true, []byte(b))
	}
	o := options()
	o.BaseURL, o.Repos = s.URL, []string{"o/r"}
	r, err := f.report(filepath.Join(f.dir, sumsName), o)
	if err != nil || !r.OK() || r.files() != both+"!" {
		t.Errorf("%v: %s", err, r.words())
	}
	asked := 0
	for _, q := range s.Requests() {
		if q.Server != "download" && strings.Contains(q.Path, "/attestations/") {
			asked++
			if !strings.Contains(q.Path, sum("image b")) {
				t.Errorf("asked for %s", q.Path)
			}
		}
	}
	if asked != 1 {
		t.Errorf("%d questions, want 1", asked)
	}
}

// TestAttestationsOfSeveralArtifactsAreToldApart: GitHub's answer for each begins with its
// first.
func TestAttestationsOfSeveralArtifactsAreToldApart(t *testing.T) {
	f := newFixture(t)
	files, bundles := f.mergedFolder(kept)
	f.writeAll(files)
	s := ghtest.New(t, "o/r")
	for text, b := range bundles {
		s.Attest("sha256:"+sum(text), true, []byte(b))
	}
	o := options()
	o.BaseURL, o.Repos = s.URL, []string{"o/r"}
	r, err := f.report(filepath.Join(f.dir, sumsName), o)
	if err != nil || !r.OK() {
		t.Fatalf("%v: %s", err, r.words())
	}
	var sources []string
	for _, b := range r.Bundles {
		sources = append(sources, b.Source)
	}
	if got, want := strings.Join(sources, ", "), "attestation 1 of o/r about a.img, attestation 1 of o/r about b.img"; got != want {
		t.Errorf("bundles %q, want %q", got, want)
	}
}

// TestBundlesAreLookedUpByDigest: the work grows with the plugins, not with their
// square.
func TestBundlesAreLookedUpByDigest(t *testing.T) {
	f := newFixture(t)
	files, _ := f.mergedFolder(byJobs)
	f.writeAll(files)
	found, err := Find(t.Context(), filepath.Join(f.dir, sumsName), options())
	if err != nil {
		t.Fatal(err)
	}
	about := byDigest(found.Bundles)
	if n := len(about.of(sum("image a"))); n != 1 {
		t.Errorf("%d bundles are looked at for a.img, want 1", n)
	}
	if n := len(about.of(sum("nothing"))); n != 2 {
		t.Errorf("%d bundles are looked at for a file that none names, want all 2", n)
	}
}

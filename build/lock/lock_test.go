package lock

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/volant/fledge-action/build/config"
)

var (
	hexA = strings.Repeat("a", 64)
	hexB = strings.Repeat("b", 64)
	hexC = strings.Repeat("c", 64)
)

func full() *Lock {
	return &Lock{
		Version: 1,
		Image:   &Image{Reference: "nginx:1.27", Platform: "linux/amd64", Index: "sha256:" + hexA, Manifest: "sha256:" + hexB},
		Agent:   &Agent{Strategy: "release", Version: "latest", Architecture: "amd64", Release: "v0.6.5", URL: "https://example.com/kestrel", SHA256: hexC},
		Busybox: &Busybox{Architecture: "amd64", URL: "https://example.com/busybox", SHA256: hexA},
	}
}

// text is full() as it has to be written, without its header.
var text = `version = 1

[image]
reference = "nginx:1.27"
platform = "linux/amd64"
index = "sha256:` + hexA + `"
manifest = "sha256:` + hexB + `"

[agent]
strategy = "release"
version = "latest"
architecture = "amd64"
release = "v0.6.5"
url = "https://example.com/kestrel"
sha256 = "` + hexC + `"

[busybox]
architecture = "amd64"
url = "https://example.com/busybox"
sha256 = "` + hexA + `"
`

func encode(t testing.TB, l *Lock) string {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var sameLock = cmp.Options{cmpopts.IgnoreUnexported(Lock{}), cmpopts.IgnoreFields(Lock{}, "File")}

func TestALockHasOneText(t *testing.T) {
	got := encode(t, full())
	if diff := cmp.Diff(header+text, got); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	for _, l := range []*Lock{full(), {Version: 1}, {Version: 1, Agent: &Agent{Strategy: "local", Path: "a \"b\"\n\x01é", Architecture: "arm64", SHA256: hexA}}} {
		again, err := Parse("fledge.lock", []byte(encode(t, l)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, again, sameLock); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	}
	// What an editor or git on Windows makes of the line ends changes nothing.
	if _, err := Parse("fledge.lock", []byte(strings.ReplaceAll(got, "\n", "\r\n"))); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoLockIsRefused(t *testing.T) {
	with := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in the text", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", `l:1:1: missing key "version"`},
		{"not TOML", with("[agent]", "[agent"), "l:9:"},
		{"not UTF-8", "version = 1 # \xff", "l:1:15: not UTF-8"},
		{"an unknown key", with("index =", "indx ="), `l:6:1: unknown key "image.indx" (did you mean "index"?)`},
		{"an unknown table", text + "[kernel]\n", `l:21:1: unknown key "kernel"`},
		{"a list of tables", with("[image]", "[[image]]"), `write [image], not [[image]]`},
		{"a number for a string", with(`"linux/amd64"`, "7"), `l:5:12: "image.platform" is a whole number, want a string`},
		{"a later version", "version = 2\n[new]\nx = []\n", "l:1:11: the lock has version 2 and this fledge reads version 1: use the fledge that wrote it, or a newer one"},
		{"version 0", with("version = 1", "version = 0"), `l:1:11: "version" is 0, want 1 to`},
		{"version of text", with("version = 1", `version = "1"`), `l:1:11: "version" is a string, want a whole number (write 1 without quotes)`},
		{"a short digest", with(`sha256:`+hexA, `sha256:`+hexA[1:]), `l:6:9: "image.index" is "sha256:aaa`},
		{"a digest in capitals", with(`sha256:`+hexB, `sha256:`+strings.ToUpper(hexB)), `want sha256: and 64 hex digits in lower case`},
		{"another digest", with(`sha256:`+hexB, `sha512:`+hexB), `l:7:12: "image.manifest" is "sha512:`},
		{"a prefix on a sum", with(hexC, "sha256:"+hexC), `l:15:10: "agent.sha256" is "sha256:`},
		{"a path for a digest", with(`sha256:`+hexB, `../../etc/passwd`), `l:7:12: "image.manifest" is "../../etc/passwd", want sha256:`},
		{"no reference", with("reference = \"nginx:1.27\"\n", ""), `l:3:1: missing key "image.reference"`},
		{"no digest of an image", "version = 1\n[image]\nreference = \"a\"\nplatform = \"linux/amd64\"\n", `l:2:1: [image] needs "manifest" or "config", and not both`},
		{"two digests of an image", with("index = ", "config = "), `l:3:1: [image] needs "manifest" or "config", and not both`},
		{"an index alone", with("manifest =", "config ="), `l:6:9: "image.index" needs "image.manifest" beside it`},
		{"another strategy", with(`"release"`, `"http"`), `l:10:12: "agent.strategy" is "http", want release or local`},
		{"a release without a tag", with("release = \"v0.6.5\"\n", ""), `l:9:1: missing key "agent.release": strategy = "release" needs it`},
		{"a path of a release", with("url = ", "path = \"kestrel\"\nurl = "), `l:14:8: "agent.path" has no meaning with strategy = "release"`},
		{"a local agent without a path", "version = 1\n[agent]\nstrategy = \"local\"\narchitecture = \"amd64\"\nsha256 = \"" + hexA + "\"\n", `missing key "agent.path"`},
		{"what is no tag", with(`release = "v0.6.5"`, `release = "v1?x=y"`), `l:13:11: "agent.release" is "v1?x=y", want the tag of a release`},
		{"busybox from a file", with("https://example.com/busybox", "file:///etc/shadow"), `l:19:7: "busybox.url" is "file:///etc/shadow", want an http or https URL`},
		{"a merge", with("[agent]\n", "<<<<<<< HEAD\n[agent]\n"), "l:9:1: the two sides of a merge are still here: run 'fledge lock'"},
		{"the end of a merge", text + ">>>>>>> theirs\n", "l:21:1: the two sides of a merge"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := Parse("l", []byte(test.text))
			if err == nil || l != nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Parse = %v, %v; want an error with %q", l, err, test.want)
			}
			if at := new(config.Error); !errors.As(err, &at) || at.Line == 0 {
				t.Errorf("the error %T has no place", err)
			}
			var conflict *ConflictError
			if errors.As(err, &conflict) != strings.Contains(test.name, "merge") {
				t.Errorf("a conflict is %v", conflict)
			}
		})
	}
}

func TestALockIsNoLargerThanItsLimit(t *testing.T) {
	pad := func(n int) []byte { return []byte(text + "#" + strings.Repeat("x", n-len(text)-1)) }
	if _, err := Parse("l", pad(config.MaxSize)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := Parse("l", pad(config.MaxSize+1)); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("past the bound: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if l, err := Load(filepath.Join(dir, "none")); l != nil || err != nil {
		t.Errorf("no file: %v, %v", l, err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	path := filepath.Join(dir, "fledge.lock")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), l, sameLock); diff != "" || l.File != path {
		t.Errorf("file %q (-want +got):\n%s", l.File, diff)
	}
}

func TestPathFor(t *testing.T) {
	for in, want := range map[string]string{
		"fledge.toml": "fledge.lock", "web/fledge.toml": "web/fledge.lock", "./web.toml": "web.lock",
		"/p/other": "/p/other.lock", "fledge.lock": "fledge.lock.lock",
	} {
		if got := PathFor(in); got != want {
			t.Errorf("PathFor(%q) = %q, want %q", in, got, want)
		}
	}
}

// wanted is what full() is for.
func wanted() *Lock {
	l := full()
	l.Image.Index, l.Image.Manifest = "", ""
	l.Agent.Release, l.Agent.URL, l.Agent.SHA256 = "", "", ""
	l.Busybox.URL, l.Busybox.SHA256 = "", ""
	return l
}

func TestPinsHoldWhileTheirWordsStay(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(want *Lock)
		open   string // name, key and reason
	}{
		{"nothing", func(*Lock) {}, ""},
		{"another tag", func(w *Lock) { w.Image.Reference = "nginx:1.28" }, `image image.reference it is for reference "nginx:1.27", and fledge.toml has "nginx:1.28"`},
		{"another platform", func(w *Lock) { w.Image.Platform = "linux/arm64" }, `image image.platform it is for platform "linux/amd64", and fledge.toml has "linux/arm64"`},
		{"another strategy", func(w *Lock) { w.Agent = &Agent{Strategy: "local", Path: "k", Architecture: "amd64"} }, `agent agent.strategy it is for strategy "release", and fledge.toml has "local"`},
		{"another version", func(w *Lock) { w.Agent.Version = "v1" }, `agent agent.version it is for version "latest", and fledge.toml has "v1"`},
		{"another architecture", func(w *Lock) { w.Agent.Architecture = "arm64" }, `agent agent.architecture it is for architecture "amd64", and fledge.toml has "arm64"`},
		{"the same checksum", func(w *Lock) { w.Agent.SHA256 = hexC }, ""},
		{"another checksum", func(w *Lock) { w.Agent.SHA256 = hexA }, `agent agent.sha256 it is for sha256 "` + hexC + `", and fledge.toml has "` + hexA + `"`},
		{"another machine for busybox", func(w *Lock) { w.Busybox.Architecture = "arm64" }, `busybox busybox.architecture it is for architecture "amd64", and fledge.toml has "arm64"`},
		{"no image", func(w *Lock) { w.Image = nil }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := wanted()
			test.change(want)
			holds, open := full().Check(want)
			var got []string
			for _, f := range open {
				got = append(got, f.Name+" "+f.Key+" "+f.Stale)
			}
			if s := strings.Join(got, "\n"); s != test.open {
				t.Errorf("open are %q, want %q", s, test.open)
			}
			for _, name := range Names {
				stale := strings.HasPrefix(test.open, name)
				if holds.Pins(name) != (want.Pins(name) && !stale) {
					t.Errorf("%s holds: %v", name, holds.Pins(name))
				}
			}
		})
	}
}

func TestNoLockPinsNothing(t *testing.T) {
	for _, l := range []*Lock{nil, {Version: 1}} {
		holds, open := l.Check(wanted())
		if len(open) != 3 || holds.Pins(ImageName) || l.Unused(wanted()) != nil {
			t.Errorf("open are %+v", open)
		}
	}
	if holds, open := full().Check(&Lock{}); open != nil || holds.Pins(AgentName) {
		t.Errorf("of nothing %+v is open", open)
	}
	if got := full().Unused(&Lock{Image: wanted().Image}); !reflect.DeepEqual(got, []string{"agent", "busybox"}) {
		t.Errorf("unused are %q", got)
	}
}

func TestDescribeTellsThePlace(t *testing.T) {
	read, err := Parse("web/fledge.lock", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	at := &config.Error{File: "web/fledge.toml", Line: 4, Column: 9}
	stale := Finding{Name: "image", Stale: "why", Key: "image.platform"}
	for _, test := range []struct {
		f    Finding
		l    *Lock
		want string
	}{
		{Finding{Name: "image"}, nil, "web/fledge.toml:4:9: the image is not pinned, and there is no lock"},
		{Finding{Name: "image"}, read, "web/fledge.toml:4:9: fledge.lock does not pin the image"},
		{stale, read, "web/fledge.lock:5:12: fledge.lock has a stale pin of the image: why"},
		{stale, full(), "web/fledge.toml:4:9: the lock has a stale pin of the image: why"},
	} {
		if got := test.f.Describe(test.l, "the image", at).Error(); got != test.want {
			t.Errorf("described as %q, want %q", got, test.want)
		}
	}
	if at.Message != "" {
		t.Error("the place was changed")
	}
}

func TestChanges(t *testing.T) {
	after := full()
	after.Image.Manifest = "sha256:" + hexC
	after.Agent.URL = "https://example.com/moved"
	after.Busybox = nil
	got := Changes(full(), after)
	want := []Change{
		{"image", "nginx:1.27 (linux/amd64) index sha256:" + hexA + " manifest sha256:" + hexB, "nginx:1.27 (linux/amd64) index sha256:" + hexA + " manifest sha256:" + hexC},
		{"agent", "release v0.6.5 for latest (amd64) sha256:" + hexC, "release v0.6.5 for latest (amd64) sha256:" + hexC},
		{"busybox", "https://example.com/busybox (amd64) sha256:" + hexA, ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := Changes(full(), full()); got != nil {
		t.Errorf("between equals: %+v", got)
	}
	if got := Changes(nil, full()); len(got) != 3 || got[0].Old != "" {
		t.Errorf("from nothing: %+v", got)
	}
}

func seeds(t testing.TB) []string {
	local := &Lock{Version: 1, Agent: &Agent{Strategy: "local", Path: "k", Architecture: "arm64", SHA256: hexA}}
	docker := &Lock{Version: 1, Image: &Image{Reference: "docker-archive:x.tar", Platform: "linux/arm/v7", Config: "sha256:" + hexA}}
	return []string{encode(t, full()), encode(t, local), encode(t, docker), "version = 1", "version = 2", "<<<<<<< x", "version = 1\nimage = {reference = 'a'}"}
}

// FuzzParse: what is read is written so that it is read as the same, and any
// error has a place.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkParse(t, text) })
}

func checkParse(t *testing.T, text []byte) bool {
	l, err := Parse("l", text)
	if err != nil {
		if at := new(config.Error); !errors.As(err, &at) || at.Line < 1 {
			t.Fatalf("error %T without a place: %v", err, err)
		}
		return false
	}
	again, err := Parse("l", []byte(encode(t, l)))
	if err != nil {
		t.Fatalf("written anew it does not parse: %v\n%s", err, encode(t, l))
	}
	if diff := cmp.Diff(l, again, sameLock); diff != "" || encode(t, l) != encode(t, again) {
		t.Fatalf("written anew it differs (-first +again):\n%s", diff)
	}
	return true
}

func TestFuzzSeedsReachTheEnd(t *testing.T) {
	parsed := 0
	for _, s := range seeds(t) {
		if checkParse(t, []byte(s)) {
			parsed++
		}
	}
	if parsed != 4 {
		t.Errorf("%d seeds parse, want 4", parsed)
	}
}

package build

import (
	"archive/tar"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ghtest"
	"github.com/volant/fledge-action/internal/ocitest"
)

// appImage is an image of one program, and a file that says which version it is.
func appImage(t *testing.T, platform, version string) *ocitest.Image {
	t.Helper()
	machine := elf.EM_X86_64
	if platform == "linux/arm64" {
		machine = elf.EM_AARCH64
	}
	return ocitest.Build(t, ocitest.Spec{
		Platform: platform,
		Config:   v1.Config{Entrypoint: []string{"/app"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
		Layers: []ocitest.Layer{
			{Entries: []ocitest.Entry{{Header: tar.Header{Name: "app", Mode: 0o755}, Body: string(elftest.Make(elftest.Spec{Machine: machine}))}}},
			{Entries: []ocitest.Entry{ocitest.File("etc/version", version), ocitest.File("etc/resolv.conf", "nameserver 192.0.2.1\n")}},
		},
	})
}

// of makes a request for a fledge.toml in dir.
func of(t *testing.T, dir, toml string) Request {
	t.Helper()
	if !strings.Contains(toml, "strategy = \"initramfs\"") {
		toml = "strategy = \"oci_rootfs\"\n" + toml
	}
	text := "version = \"1\"\n" + toml + "\n"
	if err := os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(dir, "fledge.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Config: c, WorkDir: dir, Output: "x.img", Cache: cache.New(cache.Options{TempDir: dir}), TempDir: dir}
}

func fromImage(ref, platform string) string {
	return fmt.Sprintf("source.image = %q\nsource.platform = %q\n%s", ref, platform, noAgent)
}

// relocked is the lock of a request, written and read again, as its file would be.
func relocked(t *testing.T, r Request, renew ...string) *lock.Lock {
	t.Helper()
	l, err := ResolveLock(t.Context(), r, renew)
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := lock.Parse(filepath.Join(r.Config.Dir, "fledge.lock"), text)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

type outcome struct {
	artifact, manifest string
	result             *Result
}

func built(t *testing.T, r Request) outcome {
	t.Helper()
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(result.ManifestPath)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{result.Artifact.Digest, string(text), result}
}

// TestALockKeepsTheImageWhenItsTagMoves, whether the tag stands for an index or for
// one image.
func TestALockKeepsTheImageWhenItsTagMoves(t *testing.T) {
	for _, kind := range []string{"image", "index"} {
		t.Run(kind, func(t *testing.T) {
			reg := ocitest.NewRegistry(t)
			push := func(version string) string {
				im := appImage(t, "", version)
				if kind == "index" {
					im = ocitest.Index(t, nil, appImage(t, "linux/arm64", version), im)
				}
				return reg.Push(t, "team/app:1", im)
			}
			r := of(t, t.TempDir(), fromImage(push("one"), "linux/amd64"))
			before := built(t, r)
			r.Lock = relocked(t, r)
			if (r.Lock.Image.Index != "") != (kind == "index") {
				t.Errorf("the pin is %+v", r.Lock.Image)
			}

			push("two")
			r.Locked = true
			after := built(t, r)
			if after.artifact != before.artifact || after.manifest != before.manifest {
				t.Errorf("with a lock another artifact is made:\n%s\n%s", before.manifest, after.manifest)
			}
			if diff := cmp.Diff(before.result.Materials, after.result.Materials); diff != "" {
				t.Errorf("materials (-before +after):\n%s", diff)
			}
			if after.result.Warnings != nil {
				t.Errorf("warnings %q", after.result.Warnings)
			}
			r.Lock, r.Locked = nil, false
			if moved := built(t, r); moved.artifact == before.artifact {
				t.Error("the tag did not move")
			}
		})
	}
}

// TestALockChangesNoByte, wherever the image is.
func TestALockChangesNoByte(t *testing.T) {
	dir := t.TempDir()
	im := appImage(t, "", "one")
	index := ocitest.Index(t, nil, im, appImage(t, "linux/arm64", "one"))
	reg := ocitest.NewRegistry(t)
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": im, "2": index})
	ocitest.OCIArchive(t, filepath.Join(dir, "oci.tar"), map[string]*ocitest.Image{"1": im})
	ocitest.DockerArchive(t, filepath.Join(dir, "docker.tar"), ocitest.Legacy, map[string]*ocitest.Image{"app:1": im})
	for _, test := range []struct{ name, ref, index, manifest, config string }{
		{"registry", reg.Push(t, "app:1", im), "", im.Digest(), ""},
		{"index", reg.Push(t, "app:2", index), index.Digest(), im.Digest(), ""},
		{"layout", "oci:layout:1", "", im.Digest(), ""},
		{"index in a layout", "oci:layout:2", index.Digest(), im.Digest(), ""},
		{"OCI archive", "oci-archive:oci.tar:1", "", im.Digest(), ""},
		{"Docker archive", "docker-archive:docker.tar", "", "", im.ConfigDigest()},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := of(t, dir, fromImage(test.ref, "linux/amd64"))
			free := built(t, r)
			if got := free.result.Unpinned; len(got) != 1 || got[0] != "image" {
				t.Errorf("unpinned are %q", got)
			}
			r.Lock = relocked(t, r)
			want := lock.Image{Reference: test.ref, Platform: "linux/amd64", Index: test.index, Manifest: test.manifest, Config: test.config}
			if diff := cmp.Diff(&want, r.Lock.Image); diff != "" {
				t.Errorf("pin (-want +got):\n%s", diff)
			}
			r.Locked = true
			locked := built(t, r)
			if locked.artifact != free.artifact || locked.manifest != free.manifest {
				t.Errorf("a lock changes what is made:\n%s\n%s", free.manifest, locked.manifest)
			}
			if diff := cmp.Diff(free.result.Materials, locked.result.Materials); diff != "" {
				t.Errorf("materials (-free +locked):\n%s", diff)
			}
			if locked.result.Unpinned != nil {
				t.Errorf("unpinned are %q", locked.result.Unpinned)
			}
		})
	}
}

// TestMaterialsAreEnoughToBuildAgain: a lock made from the values in a result builds
// the same.
func TestMaterialsAreEnoughToBuildAgain(t *testing.T) {
	reg, hub := ocitest.NewRegistry(t), ghtest.New(t, "volantvm/volant")
	hub.Add(release("v1"))
	im := appImage(t, "", "one")
	index := ocitest.Index(t, nil, im, appImage(t, "linux/arm64", "one"))
	ref := reg.Push(t, "app:1", index)
	r := of(t, t.TempDir(), fmt.Sprintf("source.image = %q\n[agent]\nbase_url = %q\n", ref, hub.URL))
	r.Template = template(t, r.WorkDir)
	first := built(t, r)

	got := map[string][]Material{}
	for _, m := range first.result.Materials {
		got[m.Name] = append(got[m.Name], m)
	}
	for name, want := range map[string][]string{
		"image": {im.Digest()}, "image index": {index.Digest()}, "image config": {im.ConfigDigest()},
		"image layer": {ocitest.Digest(im.Blobs[0]), ocitest.Digest(im.Blobs[1])},
		"config":      {r.Config.Digest}, "manifest template": {r.Template.Digest},
	} {
		var digests []string
		for _, m := range got[name] {
			digests = append(digests, m.Digest)
		}
		if diff := cmp.Diff(want, digests); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	toml, err := os.ReadFile(filepath.Join(r.WorkDir, "fledge.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := digestOf(toml); r.Config.Digest != want {
		t.Errorf("config digest %s, want %s", r.Config.Digest, want)
	}

	reg.Push(t, "app:1", appImage(t, "", "two"))
	hub.Add(release("v2"))
	if r.Lock, err = RecordedLock(r.Config, first.result.Materials); err != nil {
		t.Fatal(err)
	}
	want := &lock.Lock{
		Version: 1,
		Image:   &lock.Image{Reference: ref, Platform: "linux/amd64", Index: index.Digest(), Manifest: im.Digest()},
		Agent:   &lock.Agent{Strategy: "release", Version: "latest", Architecture: "amd64", Release: "v1", URL: got["agent"][0].URI, SHA256: got["agent"][0].Digest[7:]},
	}
	if diff := cmp.Diff(want, r.Lock, cmpopts.IgnoreUnexported(lock.Lock{})); diff != "" {
		t.Errorf("lock (-want +got):\n%s", diff)
	}
	r.Locked = true
	if again := built(t, r); again.artifact != first.artifact || again.manifest != first.manifest {
		t.Error("another artifact is made")
	}
}

func template(t *testing.T, dir string) *config.Template {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "manifest.toml"), []byte("labels = {a = \"b\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tmpl, err := config.FindTemplate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// release is one of Volant, whose agent differs from one to the next.
func release(tag string) ghtest.Release {
	k := append(elftest.Program(), tag...)
	return ghtest.Release{Tag: tag, Assets: []ghtest.Asset{
		{Name: "kestrel", Content: k},
		{Name: "checksums.txt", Content: fmt.Appendf(nil, "%x  kestrel\n", sha256.Sum256(k))},
	}}
}

func TestALockKeepsTheAgent(t *testing.T) {
	hub := ghtest.New(t, "volantvm/volant")
	hub.Add(release("v1"))
	dir := t.TempDir()
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": appImage(t, "", "one")})
	r := of(t, dir, fmt.Sprintf("source.image = \"oci:layout:1\"\n[agent]\nbase_url = %q\n", hub.URL))
	before := built(t, r)
	l := relocked(t, r)
	want := &lock.Agent{
		Strategy: "release", Version: "latest", Architecture: "amd64", Release: "v1",
		URL: l.Agent.URL, SHA256: fmt.Sprintf("%x", sha256.Sum256(release("v1").Assets[0].Content)),
	}
	if diff := cmp.Diff(want, l.Agent); diff != "" || !strings.HasPrefix(l.Agent.URL, "http") {
		t.Errorf("pin (-want +got):\n%s", diff)
	}
	hub.Add(release("v2"))
	r.Lock, r.Locked = l, true
	if after := built(t, r); after.artifact != before.artifact || after.manifest != before.manifest {
		t.Error("a later release is taken")
	}
	// What holds stays, what is named is renewed, and nothing else.
	if kept := relocked(t, r); kept.Agent.Release != "v1" {
		t.Errorf("locking again gives %+v", kept.Agent)
	}
	if kept := relocked(t, r, "image"); kept.Agent.Release != "v1" {
		t.Errorf("renewing the image gives %+v", kept.Agent)
	}
	if renewed := relocked(t, r, "agent"); renewed.Agent.Release != "v2" || *renewed.Image != *l.Image {
		t.Errorf("renewing gives %+v", renewed.Agent)
	}

	// A release whose file was replaced, with its list.
	changed := release("v1")
	changed.Assets[0].Content = release("v3").Assets[0].Content
	changed.Assets[1].Content = release("v3").Assets[1].Content
	hub = ghtest.New(t, "volantvm/volant")
	hub.Add(changed)
	r.Config = of(t, dir, fmt.Sprintf("source.image = \"oci:layout:1\"\n[agent]\nbase_url = %q\n", hub.URL)).Config
	wantError(t, r, 1, `checking kestrel of release "v1": not what is expected: the lock's agent.sha256 is `+l.Agent.SHA256+" but the release has ", "fledge.lock:11:1: pinned by the lock; run 'fledge lock --update agent'")
	hub = ghtest.New(t, "volantvm/volant")
	hub.Add(release("v2"))
	r.Config = of(t, dir, fmt.Sprintf("source.image = \"oci:layout:1\"\n[agent]\nbase_url = %q\n", hub.URL)).Config
	wantError(t, r, 1, `looking for release "v1": volantvm/volant has no such tag; the newest are "v2"`, "run 'fledge lock --update agent'")
}

// wantError builds and wants an error with all the texts, and nothing written. code
// is what the command would exit with.
func wantError(t *testing.T, r Request, code int, texts ...string) {
	t.Helper()
	r.Output = "refused.img"
	_, err := Build(t.Context(), r)
	if err == nil {
		t.Fatal("it is built")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q\nwant %q", err, text)
		}
	}
	usage := errors.As(err, new(config.Errors)) || errors.As(err, new(*config.Error))
	if usage != (code == 2) {
		t.Errorf("a mistake of the user's: %v, of %T", usage, err)
	}
	if _, err := os.Stat(filepath.Join(r.WorkDir, r.Output)); err == nil {
		t.Error("the artifact is there all the same")
	}
}

func TestALockOfOtherBytesFailsTheBuild(t *testing.T) {
	for _, test := range []struct {
		name   string
		toml   string
		change func(t *testing.T, dir string, l *lock.Lock)
		want   []string
	}{
		{"layout without the blob", "source.image = \"oci:layout:1\"\n" + noAgent, func(t *testing.T, dir string, _ *lock.Lock) {
			os.RemoveAll(filepath.Join(dir, "layout"))
			ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": appImage(t, "", "two")})
		}, []string{`opening image "oci:layout:1": `, "image not found: blob sha256:", "run 'fledge lock --update image' to pin what is there now"}},
		{"manifest of another platform", "source.image = \"oci:layout:2\"\n" + noAgent, func(t *testing.T, _ string, l *lock.Lock) {
			l.Image.Manifest = l.Image.Index
		}, []string{"not the image that is pinned: its manifest is sha256:", "run 'fledge lock --update image'"}},
		{"Docker archive made anew", "source.image = \"docker-archive:docker.tar\"\n" + noAgent, func(t *testing.T, dir string, _ *lock.Lock) {
			ocitest.DockerArchive(t, filepath.Join(dir, "docker.tar"), ocitest.Legacy, map[string]*ocitest.Image{"app:1": appImage(t, "", "two")})
		}, []string{"not the image that is pinned: its config is sha256:", "run 'fledge lock --update image'"}},
		{"local agent built anew", "source.image = \"oci:layout:1\"\n[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n", func(t *testing.T, dir string, _ *lock.Lock) {
			os.WriteFile(filepath.Join(dir, "kestrel"), append(elftest.Program(), 1), 0o644)
		}, []string{`fledge.toml:6:8: resolving agent: checking "kestrel": not what is expected: the lock's agent.sha256 is `, "run 'fledge lock --update agent'"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			im := appImage(t, "", "one")
			ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": im, "2": ocitest.Index(t, nil, im)})
			ocitest.DockerArchive(t, filepath.Join(dir, "docker.tar"), ocitest.Legacy, map[string]*ocitest.Image{"app:1": im})
			os.WriteFile(filepath.Join(dir, "kestrel"), elftest.Program(), 0o644)
			r := of(t, dir, test.toml)
			r.Lock = relocked(t, r)
			built(t, r)
			test.change(t, dir, r.Lock)
			code := 1
			if strings.Contains(test.want[0], "fledge.toml:") {
				code = 2
			}
			wantError(t, r, code, test.want...)
		})
	}
}

// TestAStalePinIsAWarningAndALockedBuildsError for each input and each reason.
func TestAStalePinIsAWarningAndALockedBuildsError(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:1", ocitest.Index(t, nil, appImage(t, "", "one"), appImage(t, "linux/arm64", "one")))
	other := reg.Push(t, "app:2", ocitest.Index(t, nil, appImage(t, "", "two"), appImage(t, "linux/arm64", "two")))
	dir := t.TempDir()
	r := of(t, dir, fromImage(ref, "linux/amd64"))
	l := relocked(t, r)
	for _, test := range []struct {
		name, ref, platform string
		lock                *lock.Lock
		warning, err        string
	}{
		{
			"another tag", other, "linux/amd64", l, `fledge.lock:7:13: fledge.lock has a stale pin of the image "` + other + `": it is for reference "` + ref + `", and fledge.toml has "` + other + `": run 'fledge lock'`,
			`fledge.lock:7:13: fledge.lock has a stale pin of the image "` + other + `": it is for reference "` + ref + `", and fledge.toml has "` + other + `": run 'fledge lock --update image' and commit fledge.lock`,
		},
		{
			"another platform", ref, "linux/arm64", l, `fledge.lock:8:12: fledge.lock has a stale pin of the image "` + ref + `": it is for platform "linux/amd64", and fledge.toml has "linux/arm64": run 'fledge lock'`,
			`it is for platform "linux/amd64", and fledge.toml has "linux/arm64": run 'fledge lock --update image'`,
		},
		{"the platform in other words", ref, "linux/x86_64", l, "", ""},
		{
			"an empty lock", ref, "linux/amd64", &lock.Lock{Version: 1, File: "p/fledge.lock"}, `fledge.toml:3:16: fledge.lock does not pin the image "` + ref + `": run 'fledge lock'`,
			`fledge.toml:3:16: fledge.lock does not pin the image "` + ref + `": run 'fledge lock --update image' and commit fledge.lock`,
		},
		{"no lock", ref, "linux/amd64", nil, "", `fledge.toml:3:16: the image "` + ref + `" is not pinned, and there is no lock: run 'fledge lock --update image' and commit fledge.lock`},
		{"an image by digest", ref[:strings.LastIndex(ref, ":")] + "@" + l.Image.Index, "linux/amd64", nil, "", ""},
		{"an image by digest and an unused pin", ref[:strings.LastIndex(ref, ":")] + "@" + l.Image.Index, "linux/amd64", l, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := of(t, dir, fromImage(test.ref, test.platform))
			r.Lock = test.lock
			result := built(t, r).result
			if got := strings.ReplaceAll(strings.Join(result.Warnings, "\n"), dir+"/", ""); got != test.warning {
				t.Errorf("warnings %q\nwant %q", got, test.warning)
			}
			r.Locked = true
			if test.err == "" {
				built(t, r)
				return
			}
			wantError(t, r, 2, test.err)
		})
	}
	renewed := of(t, dir, fromImage(ref, "linux/arm64"))
	renewed.Lock = l
	if after := relocked(t, renewed); after.Image.Index != l.Image.Index || after.Image.Manifest == l.Image.Manifest || after.Image.Platform != "linux/arm64" {
		t.Errorf("for the other platform the pin is %+v, of %+v", after.Image, l.Image)
	}
}

// TestWhatIsLeftOpen: what a fledge.toml pins itself, or does not use, needs no lock.
func TestWhatIsLeftOpen(t *testing.T) {
	hex := strings.Repeat("a", 64)
	digest := "@sha256:" + hex
	rootfs := func(image, rest string) string {
		return "strategy = \"oci_rootfs\"\nsource.image = \"" + image + "\"\n" + rest
	}
	initramfs := func(rest string) string { return "strategy = \"initramfs\"\n" + rest }
	for _, test := range []struct{ toml, want string }{
		{rootfs("nginx", ""), "image agent"},
		{rootfs("nginx"+digest, ""), "agent"},
		{rootfs("nginx:1"+digest, noAgent), ""},
		{rootfs("oci:d:1", noAgent), "image"},
		{rootfs("oci:d"+digest, noAgent), ""},
		{rootfs("oci-archive:d.tar", noAgent), "image"},
		{rootfs("docker-archive:d.tar", noAgent), "image"},
		{rootfs("docker-daemon:x:1", noAgent), "image"},
		{rootfs("docker-daemon:sha256:"+hex, noAgent), ""},
		{rootfs("nginx"+digest, "agent.version = \"v1\"\n"), "agent"},
		{rootfs("nginx"+digest, "agent.version = \"v1\"\nagent.checksum = \""+hex+"\"\n"), ""},
		{rootfs("nginx"+digest, "agent.checksum = \""+hex+"\"\n"), "agent"},
		{rootfs("nginx"+digest, "agent.source_strategy = \"http\"\nagent.url = \"https://h/k\"\nagent.checksum = \""+hex+"\"\n"), ""},
		{rootfs("nginx"+digest, "agent.source_strategy = \"local\"\nagent.path = \"k\"\n"), "agent"},
		{rootfs("nginx"+digest, "agent.source_strategy = \"local\"\nagent.path = \"k\"\nagent.checksum = \""+hex+"\"\n"), ""},
		{initramfs(""), "agent busybox"},
		{initramfs("init.path = \"x\"\n"), "busybox"},
		{initramfs("init.path = \"x\"\nsource.busybox = false\n"), ""},
		{initramfs("init.path = \"x\"\nsource.busybox_url = \"b\"\nsource.busybox_sha256 = \"" + hex + "\"\n"), ""},
		{initramfs("init.path = \"x\"\nsource.busybox_sha256 = \"" + hex + "\"\n"), ""},
		{initramfs("init.path = \"x\"\nsource.busybox_mirrors = [\"https://h/b\"]\n"), "busybox"},
		{initramfs("init.path = \"x\"\nsource.image = \"nginx\"\nsource.busybox = false\n"), "image"},
	} {
		c, err := config.Parse("fledge.toml", []byte("version = \"1\"\n"+test.toml))
		if err != nil {
			t.Fatal(err)
		}
		want, err := Unpinned(c)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range lock.Names {
			if want.Pins(name) {
				got = append(got, name)
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s\nleaves %q open, want %q", test.toml, s, test.want)
		}
	}
}

func TestAReleaseWarnsOfWhatMayChange(t *testing.T) {
	dir := t.TempDir()
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": appImage(t, "", "one")})
	os.WriteFile(filepath.Join(dir, "kestrel"), elftest.Program(), 0o644)
	r := of(t, dir, "source.image = \"oci:layout:1\"\n[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n")
	r.Release = true
	want := `a release is built from inputs that may change: the image "oci:layout:1", the agent "kestrel"; run 'fledge lock' and commit fledge.lock`
	if got := built(t, r).result.Warnings; len(got) != 1 || got[0] != want {
		t.Errorf("warnings %q, want %q", got, want)
	}
	r.Lock = relocked(t, r)
	if got := built(t, r).result.Warnings; got != nil {
		t.Errorf("warnings %q of a locked release", got)
	}
}

// roundTripper answers every request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestALockKeepsBusybox(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, busyboxFile) }))
	defer server.Close()
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "my-init"), elftest.Program(), 0o755)
	r := of(t, dir, "strategy = \"initramfs\"\n[init]\npath = \"my-init\"\n")
	r.Output = "x.cpio.gz"
	pin := &lock.Busybox{Architecture: "amd64", URL: server.URL + "/busybox", SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(busyboxFile)))}
	r.Lock, r.Locked = &lock.Lock{Version: 1, Busybox: pin}, true
	result := built(t, r).result
	if listing(t, result.Artifact.Path)["bin/busybox"] == "" {
		t.Error("there is no busybox")
	}
	if kept := relocked(t, r); *kept.Busybox != *pin {
		t.Errorf("locking again gives %+v", kept.Busybox)
	}
	wrong := *pin
	wrong.SHA256 = strings.Repeat("0", 64)
	r.Lock = &lock.Lock{Version: 1, Busybox: &wrong}
	wantError(t, r, 1, "the lock's busybox.sha256 is 0000")

	// What is pinned first is the default, by the sum that this fledge knows.
	var asked []string
	r.Lock = nil
	r.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		asked = append(asked, req.URL.String())
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(busyboxFile)), Request: req}, nil
	})
	_, err := ResolveLock(t.Context(), r, nil)
	if err == nil || !strings.Contains(err.Error(), guest.PinnedBusyboxSHA256) || len(asked) == 0 || asked[0] != guest.PinnedBusyboxURL {
		t.Errorf("asked %q: %v", asked, err)
	}
}

// TestTheLockIsInNoMappedFolder: it must not make a difference that it is there.
func TestTheLockIsInNoMappedFolder(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "my-init"), elftest.Program(), 0o755)
	r := of(t, dir, "strategy = \"initramfs\"\nsource.busybox = false\n[init]\npath = \"my-init\"\n[mappings]\n\".\" = \"/app\"\n")
	r.Output = filepath.Join(t.TempDir(), "x.cpio.gz")
	before := built(t, r)
	os.WriteFile(filepath.Join(dir, "fledge.lock"), []byte("version = 1\n"), 0o644)
	if after := built(t, r); after.artifact != before.artifact {
		t.Error("the lock is in the artifact")
	}
	os.WriteFile(filepath.Join(dir, "other.lock"), []byte("version = 1\n"), 0o644)
	if after := built(t, r); after.artifact == before.artifact {
		t.Error("another file is not in the artifact")
	}
}

func TestARecordThatIsNoneOfThisBuildIsRefused(t *testing.T) {
	hex := strings.Repeat("a", 64)
	rootfs := "version = \"1\"\nstrategy = \"oci_rootfs\"\nsource.image = \"nginx\"\n" + noAgent
	initramfs := "version = \"1\"\nstrategy = \"initramfs\"\ninit.path = \"x\"\n"
	for _, test := range []struct {
		name, toml string
		record     []Material
		want       string // "" is none
	}{
		{"of a registry's image", rootfs, []Material{{Name: "image", Digest: "sha256:" + hex}, {Name: "image config", Digest: "sha256:" + hex}}, ""},
		{"of a Docker archive", rootfs, []Material{{Name: "image config", Digest: "sha256:" + hex}}, ""},
		{"of nothing", rootfs, nil, `[image] needs "manifest" or "config"`},
		{"with another digest", rootfs, []Material{{Name: "image", Digest: "sha512:" + hex}}, `"image.manifest" is "sha512:`},
		{"of busybox", initramfs, []Material{{Name: "busybox", URI: "https://h/busybox", Digest: "sha256:" + hex}}, ""},
		{"of a busybox from a file", initramfs, []Material{{Name: "busybox", URI: "file:///etc/shadow", Digest: "sha256:" + hex}}, `"busybox.url" is "file:///etc/shadow"`},
		{"without busybox", initramfs, nil, `"busybox.url" is empty`},
	} {
		c, err := config.Parse("fledge.toml", []byte(test.toml))
		if err != nil {
			t.Fatal(err)
		}
		l, err := RecordedLock(c, test.record)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("a record %s: %v, want %q", test.name, err, test.want)
		}
		if want, _ := Unpinned(c); err == nil {
			if _, open := l.Check(want); open != nil {
				t.Errorf("a record %s leaves %v open", test.name, open)
			}
		}
	}
}

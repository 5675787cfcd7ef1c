package build

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ext4read"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// project makes a folder with an image of one program, layout:1, and the given
// fledge.toml below the usual beginning.
func project(t *testing.T, spec ocitest.Spec, toml string) Request {
	t.Helper()
	dir := t.TempDir()
	machine := elf.EM_X86_64
	if spec.Platform == "linux/arm64" {
		machine = elf.EM_AARCH64
	}
	spec.Layers = append(spec.Layers, ocitest.Layer{Entries: []ocitest.Entry{
		{Header: tar.Header{Name: "app", Mode: 0o755}, Body: string(elftest.Make(elftest.Spec{Machine: machine}))},
		{Header: tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}},
		{Header: tar.Header{Name: "usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755}},
		ocitest.File("etc/data", "old data"),
	}})
	spec.Config = v1.Config{Entrypoint: []string{"/app"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}}
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": ocitest.Build(t, spec)})
	text := "version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"oci:layout:1\"\n" + toml
	c, err := config.Parse(filepath.Join(dir, "fledge.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Config: c, WorkDir: dir, Cache: cache.New(cache.Options{}), TempDir: dir}
}

const noAgent = "[agent]\nsource_strategy = \"none\"\n"

func TestEpoch(t *testing.T) {
	created := time.Date(2024, 5, 6, 7, 8, 9, 987, time.UTC)
	for _, test := range []struct {
		name          string
		created, from time.Time
		want          time.Time
	}{
		{"of the image", created, time.Time{}, created.Truncate(time.Second)},
		{"of the caller", created, time.Unix(42, 0), time.Unix(42, 0)},
		{"of the caller, 1970", created, time.Unix(0, 0), time.Unix(0, 0)},
		{"of neither", time.Time{}, time.Time{}, DefaultEpoch},
		{"of an image from 1970", time.Unix(0, 0), time.Time{}, DefaultEpoch},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := project(t, ocitest.Spec{Created: test.created}, noAgent)
			r.Epoch = test.from
			result, err := Build(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if !result.Epoch.Equal(test.want) {
				t.Errorf("epoch %v, want %v", result.Epoch, test.want)
			}
		})
	}
}

// TestAMappingMayReplaceTheAgent: the agent's bytes are not in the image yet when
// a mapping takes its name.
func TestAMappingMayReplaceTheAgent(t *testing.T) {
	platform := "linux/" + runtime.GOARCH // the agent is this program
	r := project(t, ocitest.Spec{Platform: platform}, "platform = \""+platform+"\"\n[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n[mappings]\n\"mine\" = \"/bin/kestrel\"\n\"mine2\" = \"/etc/data\"\n")
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		testneed.Missing(t, "proc", err.Error())
	}
	for name, content := range map[string]string{"kestrel": string(exe), "mine": "mine", "mine2": "new data"} {
		if err := os.WriteFile(filepath.Join(r.WorkDir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(result.Artifact.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := ext4read.Open(f, result.Artifact.Size, ext4read.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	in, err := img.Lookup("usr/bin/kestrel")
	if err != nil || in.Size != 4 || in.Mode.Perm() != 0o755 {
		t.Errorf("agent: %+v, %v", in, err)
	}
	problems, err := img.Check(t.Context(), ext4read.CheckOptions{ZeroFree: true, ExactBackups: true})
	if err != nil || len(problems) > 0 {
		t.Errorf("check: %v, %v", problems, err)
	}
}

func TestMaxSize(t *testing.T) {
	toml := noAgent + "[filesystem]\nsize_buffer_mb = 40\n[build]\nmax_size_mb = "
	if _, err := Build(t.Context(), project(t, ocitest.Spec{}, toml+"60\n")); err != nil {
		t.Errorf("an artifact below the limit: %v", err)
	}
	r := project(t, ocitest.Spec{}, toml+"40\n")
	_, err := Build(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), `build.max_size_mb = 40 allows; free space takes 41.3 MiB, "/" 0.0 MiB`) {
		t.Errorf("an artifact over the limit: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.WorkDir, "layout.img")); err == nil {
		t.Error("the artifact is there all the same")
	}
}

// unbootable is an image whose program lacks a library and whose agent's way is
// blocked, built with a workdir that is not there.
func unbootable(t *testing.T) Request {
	return project(t, ocitest.Spec{Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
		{Header: tar.Header{Name: "prog", Mode: 0o755}, Body: string(elftest.Dynamic("/lib/ld-musl-x86_64.so.1", "libz.so.1"))},
		{Header: tar.Header{Name: "lib/ld-musl-x86_64.so.1", Mode: 0o755}, Body: string(elftest.Program())},
		{Header: tar.Header{Name: "usr/local", Typeflag: tar.TypeSymlink, Linkname: "/opt"}},
	}}}}, noAgent+"[workload]\nworkdir = \"/nope\"\nentrypoint = [\"/prog\"]\n")
}

func TestWhatCannotBootIsRefusedAllAtOnce(t *testing.T) {
	r := unbootable(t)
	_, err := Build(t.Context(), r)
	var all config.Errors
	if !errors.As(err, &all) || len(all) != 3 {
		t.Fatalf("error %v, want 3 of config.Errors", err)
	}
	for i, want := range []struct {
		line int
		text string
	}{
		{4, `"/usr/local" is a symbolic link to "/opt"`},
		{8, `"/nope" is not in the artifact; name a folder of the artifact`},
		{9, `"/prog" needs "libz.so.1", which is not in the artifact; install the package`},
	} {
		if all[i].Line != want.line || !strings.Contains(all[i].Message, want.text) {
			t.Errorf("error %d: %v, want line %d and %q", i, all[i], want.line, want.text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(r.WorkDir, "*.img")); len(left) > 0 {
		t.Errorf("%q is there all the same", left)
	}
}

func TestWhatCannotBootIsBuiltWhenAllowed(t *testing.T) {
	r := unbootable(t)
	r.AllowUnbootable = true
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for _, w := range result.Warnings {
		if strings.HasSuffix(w, "(built all the same: unbootable artifacts are allowed)") {
			said++
		}
	}
	if said != 3 {
		t.Errorf("warnings %q, want 3 of what does not boot", result.Warnings)
	}
}

func TestSizeOfTheResult(t *testing.T) {
	result, err := Build(t.Context(), project(t, ocitest.Spec{}, noAgent))
	if err != nil {
		t.Fatal(err)
	}
	s := result.Size
	if s.Artifact != result.Artifact.Size || s.Download != s.Artifact || s.Empty != result.Filesystem.Free || s.Content == 0 || len(s.Directories) == 0 {
		t.Errorf("size %+v of artifact %+v", s, result.Artifact)
	}
}

func TestUUIDIsOfVersion8(t *testing.T) {
	all := make([]byte, 16)
	for i := range all {
		all[i] = 0xff
	}
	u := uuid(all)
	if u[6] != 0x8f || u[8] != 0xbf || u[0] != 0xff {
		t.Errorf("uuid = %x", u)
	}
}

func TestExecutable(t *testing.T) {
	tr := tree.New()
	for name, n := range map[string]*tree.Node{
		"usr": {Mode: os.ModeDir | 0o755}, "run": {Mode: 0o755}, "data": {Mode: 0o644},
		"link": {Mode: os.ModeSymlink | 0o777, Target: "/run"}, "loop": {Mode: os.ModeSymlink | 0o777, Target: "loop"},
	} {
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"/run": true, "/link": true, "/data": false, "/usr": false, "/none": false, "/loop": false, "/run/x": false} {
		if got := executable(tr, name); got != want {
			t.Errorf("executable(%q) = %v", name, got)
		}
	}
}

// TestOwnOutputs are left out of mapped folders only below the project.
func TestOwnOutputs(t *testing.T) {
	const all = "x.img manifest.json x.intoto.jsonl x.sigstore.json x.build.json x.spdx.json x.cdx.json SHA256SUMS"
	for _, test := range []struct{ dir, path, want string }{
		{"/p", "/p/x.img", all},
		{"/p", "/p/out/x.img", "out/" + strings.ReplaceAll(all, " ", " out/")},
		{"/p", "/elsewhere/x.img", ""},
		{"sub", "/cwd/sub/x.img", all},
		{".", "/cwd/x.img", all},
	} {
		b := &builder{Request: Request{Config: &config.Config{Dir: test.dir}, WorkDir: "/cwd"}, path: test.path}
		names, prefixes := b.ownOutputs()
		if got := strings.Join(names, " "); got != test.want || len(prefixes) != len(names) {
			t.Errorf("ownOutputs of %s in %s = %q, %q", test.path, test.dir, names, prefixes)
		}
	}
}

// TestOwnOutputsAreFoundThroughLinks: the project and the output may be named by
// different ways to the same folder.
func TestOwnOutputsAreFoundThroughLinks(t *testing.T) {
	dir := resolved(t.TempDir())
	project := filepath.Join(dir, "project")
	if err := os.MkdirAll(filepath.Join(project, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": project, "out": filepath.Join(project, "out")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := &builder{Request: Request{
		Config: &config.Config{Dir: filepath.Join(dir, "link"), File: filepath.Join(dir, "link", "web.toml")}, LeaveOut: []string{filepath.Join(project, "other.img")},
	}, path: filepath.Join(dir, "out", "x.img")}
	names, prefixes := b.ownOutputs()
	if got := strings.Join(names, " "); got != "out/x.img out/manifest.json out/x.intoto.jsonl out/x.sigstore.json out/x.build.json out/x.spdx.json out/x.cdx.json out/SHA256SUMS other.img web.lock" {
		t.Errorf("own outputs are %q", got)
	}
	for i, name := range names {
		if want := path.Join(path.Dir(name), "."+path.Base(name)+".fledge-"); prefixes[i] != want {
			t.Errorf("the hidden name of %s begins with %s, want %s", name, prefixes[i], want)
		}
	}
}

func TestConfirmDecidesWhetherTheOutputsAppear(t *testing.T) {
	r := project(t, ocitest.Spec{}, noAgent)
	no := errors.New("no")
	var seen *Result
	asked := func(answer error) {
		r.Confirm = func(_ context.Context, result *Result, artifact *os.File) error {
			seen = result
			info, err := artifact.Stat()
			if err != nil || info.Size() != result.Artifact.Size {
				t.Errorf("the artifact has %v bytes of %d, %v", info, result.Artifact.Size, err)
			}
			if _, err := os.Stat(result.Artifact.Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the artifact has a name already: %v", err)
			}
			return answer
		}
	}
	asked(no)
	if _, err := Build(t.Context(), r); !errors.Is(err, no) {
		t.Errorf("Build = %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.WorkDir, "*.img")); left != nil {
		t.Errorf("%q is written", left)
	}
	if seen == nil || len(seen.Materials) == 0 || seen.Manifest == nil || seen.Size == nil {
		t.Errorf("the result is %+v", seen)
	}
	asked(nil)
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if result != seen {
		t.Error("another result is returned")
	}
}

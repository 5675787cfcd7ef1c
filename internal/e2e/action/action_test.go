package action

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/plugintest"
	"github.com/volant/fledge-action/internal/runnertest"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

const token = "ghs_0123456789abcdefTOKEN"

// step is one that uses the action in a workspace with these files.
func step(t *testing.T, files map[string]string, with ...string) runnertest.Step {
	t.Helper()
	image := dockertest.Start(t).Fledge(t)
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := runnertest.Step{
		Image: image, ActionFile: filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "action.yml"),
		Files: files, With: map[string]string{}, Token: token,
	}
	for pair := range slices.Chunk(with, 2) {
		s.With[pair[0]] = pair[1]
	}
	return s
}

// want runs the step and wants it to succeed, or not.
func want(t *testing.T, s runnertest.Step, failed bool) *runnertest.Result {
	t.Helper()
	r := runnertest.Run(t, s)
	if r.Failed != failed || len(r.Complaints) > 0 {
		t.Errorf("failed %v, exit code %d, %q", r.Failed, r.Exit, r.Complaints)
	}
	if foreign := r.Foreign(); len(foreign) > 0 {
		t.Errorf("not the runner's: %q", foreign)
	}
	for _, line := range append(append([]string{r.Summary}, r.Raw...), r.Log...) {
		if strings.Contains(line, token) && !strings.HasPrefix(line, "::add-mask::") {
			t.Errorf("the token is shown: %s", line)
		}
	}
	if r.Left {
		t.Error("the container went on")
	}
	if t.Failed() {
		t.Logf("the log:\n%s", r.Text())
	}
	t.Logf("the step took %.1fs", r.Took.Seconds())
	return r
}

// nginx is an image that boots.
func nginx(t *testing.T) *ocitest.Image {
	t.Helper()
	return ocitest.Build(t, ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
			{Header: tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}},
			{Header: tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}},
			{Header: tar.Header{Name: "usr/bin/nginx", Mode: 0o755}, Body: string(elftest.Program())},
		}}},
		Config: v1.Config{Entrypoint: []string{"nginx"}, Env: []string{"PATH=/usr/bin"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
	})
}

// rootfs is a plugin's files made from an image.
func rootfs(dir, image, more string) map[string]string {
	return map[string]string{
		dir + "kestrel": string(elftest.Program()),
		dir + "fledge.toml": fmt.Sprintf(`version = "1"
strategy = "oci_rootfs"
[agent]
source_strategy = "local"
path = "kestrel"
[source]
image = %q
%s`, image, more),
	}
}

func TestARunnerBuildsAnInitramfsPlugin(t *testing.T) {
	r := want(t, step(t, plugintest.Initramfs("", "web", "")), false)
	artifact := r.Outputs["artifact"]
	if artifact == "" || filepath.IsAbs(artifact) {
		t.Fatalf("outputs %q", r.Outputs)
	}
	body, err := os.ReadFile(filepath.Join(r.Workspace, artifact))
	if err != nil {
		t.Fatal(err)
	}
	if digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); r.Outputs["artifact-digest"] != digest || !strings.Contains(r.Summary, digest[len("sha256:"):]) {
		t.Errorf("artifact-digest %s, want %s; summary:\n%s", r.Outputs["artifact-digest"], digest, r.Summary)
	}
	if len(r.Artifacts) == 0 {
		t.Error("nothing is declared by GITHUB_ARTIFACTS")
	}
	for name, o := range r.Owners {
		info, err := os.Lstat(filepath.Join(r.Workspace, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if mode := map[bool]uint32{true: 0o755, false: 0o644}[info.IsDir()]; o.Mode != mode {
			t.Errorf("%s has mode %o", name, o.Mode)
		}
	}
}

func TestARunnerBuildsAPluginFromARegistry(t *testing.T) {
	registry := ocitest.NewRegistry(t)
	ref := registry.Push(t, "nginx:1.27", nginx(t))
	s := step(t, rootfs("plugins/web/", ref, ""), "config", "plugins/*/fledge.toml", "check-reproducible", "true")
	r := want(t, s, false)
	if r.Outputs["reproducible"] != "true" {
		t.Errorf("outputs %q", r.Outputs)
	}
	var artifacts []struct{ Name, Path, SHA256 string }
	if err := json.Unmarshal([]byte(r.Outputs["artifacts"]), &artifacts); err != nil || len(artifacts) < 2 {
		t.Fatalf("%v: %q", err, r.Outputs["artifacts"])
	}
	for _, a := range artifacts {
		if _, err := os.Stat(filepath.Join(r.Workspace, a.Path)); err != nil {
			t.Error(err)
		}
	}
}

func TestAMistakeIsAnnotatedAtItsLine(t *testing.T) {
	files := plugintest.Initramfs("a/", "web", "[filesystem]\nsise = 3\n")
	line := 1 + strings.Count(strings.Split(files["a/fledge.toml"], "sise")[0], "\n")
	r := want(t, step(t, files, "working-directory", "a"), true)
	found := slices.ContainsFunc(r.Annotations, func(a runnertest.Annotation) bool {
		return a.Level == "error" && a.File == "a/fledge.toml" && a.Line == line
	})
	if !found || r.Exit != 2 {
		t.Errorf("exit code %d, annotations %+v, want one at line %d", r.Exit, r.Annotations, line)
	}
}

// TestACancelledBuildIsCleanInTime holds the registry's answer in the middle of a layer.
func TestACancelledBuildIsCleanInTime(t *testing.T) {
	im := nginx(t)
	registry := ocitest.NewRegistry(t)
	ref := registry.Push(t, "nginx:1.27", im)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	blob := "/blobs/" + ocitest.Digest(im.Blobs[0])
	registry.Add(ocitest.Fault{Path: blob, Hold: hold})
	s := step(t, rootfs("", ref, ""))
	cancel := make(chan struct{})
	s.Cancel = cancel
	go func() {
		for len(registry.Seen(blob)) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		close(cancel)
	}()
	r := want(t, s, true)
	if r.Signal != "INT" || r.Cancelled > 7*time.Second {
		t.Errorf("signal %s, ended after %v", r.Signal, r.Cancelled)
	}
	for name := range r.Owners {
		if name != "." && name != "dist" && s.Files[name] == "" {
			t.Errorf("left behind: %s", name)
		}
	}
	t.Logf("it ended %.2fs after the cancellation", r.Cancelled.Seconds())
}

// TestAForksPullRequestIsBuiltAndNotUploaded has a token that may only read.
func TestAForksPullRequestIsBuiltAndNotUploaded(t *testing.T) {
	g := ghrelease.New("octo-org/plugins", "v1.0.0")
	g.Token = "another" // any writing would be refused
	var asked atomic.Int32
	g.Log = func(*http.Request, int) { asked.Add(1) }
	g.Start(t)
	s := step(t, plugintest.Initramfs("", "web", ""), "github-api-url", g.API)
	s.GitHub = map[string]string{"ref": "refs/pull/7/merge", "event_name": "pull_request", "head_ref": "fix", "base_ref": "main"}
	s.Event = map[string]any{"pull_request": map[string]any{"head": map[string]any{"repo": map[string]any{"fork": true, "full_name": "someone/plugins"}}}}
	r := want(t, s, false)
	if r.Outputs["artifact-digest"] == "" || r.Outputs["release-id"] != "" || asked.Load() != 0 {
		t.Errorf("%d requests to GitHub, outputs %q", asked.Load(), r.Outputs)
	}
	if !strings.Contains(r.Summary, strings.TrimPrefix(r.Outputs["artifact-digest"], "sha256:")) {
		t.Errorf("the summary does not have the digest:\n%s", r.Summary)
	}
	told := false
	for _, a := range r.Annotations {
		told = told || a.Level == "notice" && strings.Contains(a.Message, "nothing is uploaded")
		if a.Level == "error" {
			t.Errorf("annotation %+v", a)
		}
	}
	if !told {
		t.Errorf("nobody is told that nothing is uploaded: %+v", r.Annotations)
	}
}

// TestAPrivateImageNeedsRegistryAuth has a registry with a password, which is a secret
// that the log may not show.
func TestAPrivateImageNeedsRegistryAuth(t *testing.T) {
	registry := ocitest.NewRegistry(t)
	ref := registry.Push(t, "team/nginx:1.27", nginx(t))
	const user, password = "robot", "s3cret-of-the-registry"
	registry.RequireBasic(user, password)
	files := rootfs("", ref, "")
	if r := want(t, step(t, files), true); r.Exit != 1 {
		t.Errorf("without credentials: exit code %d\n%s", r.Exit, r.Text())
	}
	both := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	auth := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry.Host, both)
	s := step(t, files, "registry-auth", auth, "check-reproducible", "true")
	r := want(t, s, false)
	if r.Outputs["reproducible"] != "true" {
		t.Errorf("outputs %q", r.Outputs)
	}
	for _, text := range append(append([]string{r.Summary, fmt.Sprint(r.Outputs)}, r.Log...), r.Debug...) {
		if strings.Contains(text, password) || strings.Contains(text, both) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	for name := range r.Owners {
		body, err := os.ReadFile(filepath.Join(r.Workspace, filepath.FromSlash(name)))
		if err == nil && (strings.Contains(string(body), password) || strings.Contains(string(body), both)) {
			t.Errorf("a secret is in %s", name)
		}
	}
}

// TestNoTextBecomesACommand puts commands into everything that is somebody else's text.
func TestNoTextBecomesACommand(t *testing.T) {
	const evil = "x\n::set-output name=artifact::evil\n::add-mask::a\r::error file=a,line=1::evil\n##[error]evil\n${{ github.token }}\n</td><script>"
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]string{
		"image": rootfs("", "::set-output name=artifact::evil", ""),
		"key":   {"fledge.toml": "version = \"1\"\n" + string(quoted) + " = 1\n"},
		"value": {"fledge.toml": "version = \"1\"\nstrategy = " + string(quoted) + "\n"},
		"toml":  {"fledge.toml": evil},
		"mapped": func() map[string]string {
			files := plugintest.Initramfs("", "web", "[mappings]\n\"html\" = \"/srv/html\"\n")
			files["html/x\n::set-output name=artifact::evil\n::error::evil\n%0A##[error]evil"] = "password = 1"
			return files
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			r := runnertest.Run(t, step(t, files))
			if r.Outputs["artifact"] == "evil" {
				t.Errorf("an output was set: %q", r.Outputs)
			}
			for _, c := range r.Commands {
				if strings.HasPrefix(c.Data, "evil") || c.Name == "set-output" || c.Name == "add-mask" && c.Data == "a" {
					t.Errorf("a text was a command: %+v", c)
				}
			}
			var page bytes.Buffer
			reader := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
			if err := reader.Convert([]byte(r.Summary), &page); err != nil || strings.Contains(page.String(), "<script") {
				t.Errorf("%v; the summary's page has a tag:\n%s", err, page.String())
			}
			if len(r.Complaints) > 0 || len(r.Foreign()) > 0 {
				t.Errorf("%q, %q", r.Complaints, r.Foreign())
			}
		})
	}
}

// TestTLSNeedsNoFileOfRoots shows that a CA of one's own counts, and that a server
// which nobody vouches for is refused.
func TestTLSNeedsNoFileOfRoots(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	files := rootfs("", ocitest.NewRegistry(t).Push(t, "nginx:1.27", nginx(t)), "")
	files["fledge.toml"] = strings.Replace(files["fledge.toml"], `source_strategy = "local"`+"\n"+`path = "kestrel"`,
		fmt.Sprintf("source_strategy = \"http\"\nurl = %q\nchecksum = %q", server.URL+"/kestrel", "sha256:"+strings.Repeat("0", 64)), 1)
	files["ca.pem"] = pemOf(server)
	s := step(t, files)
	if r := want(t, s, true); !strings.Contains(r.Text(), "unknown authority") {
		t.Errorf("without its CA:\n%s", r.Text())
	}
	s.Env = map[string]string{"SSL_CERT_FILE": "/github/workspace/ca.pem"}
	if r := want(t, s, true); !strings.Contains(r.Text(), "404") {
		t.Errorf("with its CA:\n%s", r.Text())
	}
}

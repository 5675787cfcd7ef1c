package acttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/testneed"
)

// toolFolder names the folder of act when it is not in the user's cache folder.
const toolFolder = "FLEDGE_ACT_TOOLS"

// top is the repository's folder, seen from this one.
const top = "../.."

// reusable is the path of the reusable workflow.
const reusable = ".github/workflows/fledge-release.yml"

// commit is what the reusable workflow names the action by, as in a release.
const commit = "0123456789abcdef0123456789abcdef01234567"

// program is the path of the act that today's tools/act asks for.
func program(t testing.TB) string {
	t.Helper()
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(top, "tools/act", name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	dir := os.Getenv(toolFolder)
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(cache, "fledge-act")
	}
	path := filepath.Join(dir, "act-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(path); err != nil {
		testneed.Missing(t, "act", "act is not built: make e2e-act-tools")
	}
	return path
}

// A call is what the probe tells of one step.
type call struct {
	Command, Job, Event, Ref string
	Inputs                   map[string]string // in lower case, with the defaults of action.yml
}

// A project is a repository with workflows, and what they use.
type project struct {
	t        *testing.T
	docker   *dockertest.Docker
	act      string
	dir      string // the repository
	action   string // checkout of the action
	handedOn string // what jobs hand on to one another
	image    string // the action's
	home     string

	mu    sync.Mutex
	calls []call
}

// newProject makes a repository of files, and a checkout of the action whose image is one
// of the daemon's.
func newProject(t *testing.T, image string, files map[string]string) *project {
	t.Helper()
	p := &project{t: t, act: program(t), docker: dockertest.Start(t), dir: t.TempDir(), action: t.TempDir(), handedOn: t.TempDir(), home: t.TempDir(), image: image}
	for name, text := range files {
		write(t, p.dir, name, text)
	}
	p.git("init", "-q", "-b", "main")
	p.git("remote", "add", "origin", "https://github.com/octo/plugins")
	p.git("add", "-A")
	p.git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "plugins")
	p.checkOutAction()
	return p
}

func (p *project) git(args ...string) {
	p.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// checkOutAction makes what a release's tag has, but for the image's name.
func (p *project) checkOutAction() {
	p.t.Helper()
	for _, name := range []string{"action.yml", "verify/action.yml"} {
		text := read(p.t, filepath.Join(top, name))
		changed := strings.Replace(text, "image: ../Dockerfile", "image: Dockerfile", 1)
		changed = strings.Replace(changed, "image: Dockerfile", "image: docker://"+p.image, 1)
		if changed == text {
			p.t.Fatalf("%s has no image: Dockerfile", name)
		}
		write(p.t, p.action, name, changed)
	}
	write(p.t, p.action, reusable, read(p.t, filepath.Join(top, reusable)))
	pin := filepath.Join(p.t.TempDir(), "pin")
	if out, err := exec.Command("go", "build", "-o", pin, "../pin").CombinedOutput(); err != nil {
		p.t.Fatalf("building pin: %v\n%s", err, out)
	}
	cmd := exec.Command(pin, "uses", "v1.2.3", commit)
	cmd.Dir = p.action
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("pinning: %v\n%s", err, out)
	}
}

// run runs a workflow of the project for an event and returns act's log. More arguments
// are act's own.
func (p *project) run(event, workflow string, args ...string) (log string, err error) {
	p.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(p.record))
	defer server.Close()
	ctx, stop := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, p.act, append([]string{
		event, "-W", ".github/workflows/" + workflow,
		"-P", "ubuntu-24.04=" + jobImage(p.t, p.docker),
		"--pull=false", "--action-offline-mode", "--no-cache-server",
		"--artifact-server-path", filepath.Join(p.home, "artifacts"), "--artifact-server-addr", "127.0.0.1",
		"--container-daemon-socket", "-", "--container-options", "-v " + p.handedOn + ":/handed-on",
		"--action-cache-path", filepath.Join(p.home, "cache"), "--use-gitignore=false", "--rm",
		"-s", "GITHUB_TOKEN=the-job-token", "--env", "PROBE_URL=" + server.URL,
	}, slices.Concat(p.checkouts(), args)...)...)
	cmd.Dir = p.dir
	cmd.Env = append(p.docker.Env(), "HOME="+p.home, "XDG_CACHE_HOME="+filepath.Join(p.home, ".cache"), "XDG_CONFIG_HOME="+filepath.Join(p.home, ".config"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// standIn is a use of another's action for which testdata has one.
var standIn = regexp.MustCompile(`uses: (actions/(upload-artifact|download-artifact|cache)@[0-9a-f]{40}) `)

// checkouts are act's arguments that name the folders of actions.
func (p *project) checkouts() (args []string) {
	p.t.Helper()
	folders := map[string]string{"volant/fledge-action@v1": p.action, "volant/fledge-action@" + commit: p.action}
	for _, use := range standIn.FindAllStringSubmatch(read(p.t, filepath.Join(p.action, reusable)), -1) {
		folder, err := filepath.Abs(filepath.Join("testdata", use[2]))
		if err != nil {
			p.t.Fatal(err)
		}
		folders[use[1]] = folder
	}
	for _, action := range slices.Sorted(maps.Keys(folders)) {
		args = append(args, "--local-repository", action+"="+folders[action])
	}
	return args
}

func (p *project) record(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var c call
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
}

// called are the calls with a command.
func (p *project) called(command string) (calls []call) {
	for _, c := range p.calls {
		if c.Command == command {
			calls = append(calls, c)
		}
	}
	return calls
}

// bash is what scripts without "shell:" are run by. The job's image has no other shell
// than busybox's, which does not know bash's options.
const bash = `#!/bin/sh
while :; do
  case $1 in
  -o) shift 2 ;;
  -*) shift ;;
  *) break ;;
  esac
done
exec /bin/sh -e "$@"
`

// passes is a program that does nothing; the job's image has it in QEMU's place.
const passes = "#!/bin/sh\n"

// jobImage is the image that jobs run in: busybox with a bash, and a QEMU that nobody
// starts.
func jobImage(t testing.TB, d *dockertest.Docker) string {
	t.Helper()
	testneed.Tool(t, "busybox")
	return d.Import(t, "fledge-job:test", func(l *dockertest.Layer) {
		l.Busybox()
		l.File("bin/bash", 0o755, []byte(bash))
		l.Folder("usr/bin", 0o755)
		l.File("usr/bin/qemu-system-x86_64", 0o755, []byte(passes))
	}, "ENV PATH=/usr/bin:/bin")
}

// probeImage is the image of probe.
func probeImage(t testing.TB) string {
	t.Helper()
	return dockertest.Start(t).Import(t, "fledge-action:probe", func(l *dockertest.Layer) { l.Program("probe", "./probe") }, `ENTRYPOINT ["/probe"]`)
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

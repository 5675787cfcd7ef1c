package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/cli"
	"github.com/volant/fledge-action/internal/ocitest"
)

// spoiler is a fledge that does not make what it should, for the second of two
// builds. $SPOIL says how.
const spoiler = "spoil"

func spoil() {
	option := func(name string) string { return os.Args[slices.Index(os.Args, name)+1] }
	how, file, _ := strings.Cut(os.Getenv("SPOIL"), ":")
	artifact := option("--output")
	switch how {
	case "hang":
		check(os.WriteFile(file, fmt.Appendf(nil, "%d", os.Getpid()), 0o600))
		select {}
	case "fail":
		fmt.Fprintln(os.Stderr, "fledge: no luck today")
		os.Exit(cli.ExitFailed)
	case "babble":
		fmt.Println("[")
		os.Exit(cli.ExitOK)
	case "witness":
		dir, err := os.Getwd()
		check(err)
		seen := strings.Join(os.Environ(), "\n") + "\ncwd=" + dir + "\nproject=" + option("--config") + "\noutput=" + artifact
		check(os.WriteFile(file, fmt.Appendf(nil, "%s\nprocessors=%d\nzone=%s\n", seen, runtime.GOMAXPROCS(0), time.Now().Format("MST")), 0o600))
	}
	code := run()
	switch how {
	case "artifact":
		replace(artifact, "welcome", "WELCOME")
	case "manifest":
		replace(filepath.Join(filepath.Dir(artifact), "manifest.json"), `"enabled": true`, `"enabled": 1`)
	case "nothing":
		check(os.Remove(artifact))
	}
	os.Exit(code)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func replace(path, old, new string) {
	b, err := os.ReadFile(path)
	check(err)
	if !bytes.Contains(b, []byte(old)) {
		panic("nothing to replace in " + path)
	}
	check(os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(new), 1), 0o600))
}

// twice runs 'fledge build --check-reproducible' in dir with a second build that
// is spoiled. temp is its temporary folder.
func twice(t *testing.T, ctx context.Context, dir, how string, args ...string) (code int, stdout, stderr, temp string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("SPOIL", how)
	var out, log bytes.Buffer
	p := &cli.Program{
		Stdout: &out, Stderr: &log, Getenv: os.Getenv, Environ: os.Environ(), WorkDir: dir, Executable: self, Argv0: spoiler,
	}
	args = append([]string{"build", "--check-reproducible", "--config", filepath.Join(dir, "fledge.toml"), "--cache-dir", filepath.Join(dir, "cache")}, args...)
	code = p.Run(ctx, args)
	return code, out.String(), log.String(), temp
}

// nothingWritten wants no output, and no temporary files either.
func nothingWritten(t *testing.T, dir, temp string) {
	t.Helper()
	for _, pattern := range []string{dir + "/*.img", dir + "/manifest.json", dir + "/.*.img*", temp + "/*"} {
		if left, _ := filepath.Glob(pattern); left != nil {
			t.Errorf("%q are left", left)
		}
	}
}

func siteProject(t *testing.T) string {
	t.Helper()
	dir := project(t, "oci:layout:1", "[filesystem]\nsize_buffer_mb = 0\n")
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": nginx(t, false, resolv)})
	return dir
}

func TestTwoBuildsThatDifferAreExplainedAndKept(t *testing.T) {
	for _, test := range []struct{ how, what, shown string }{
		{"artifact", "the artifact differently, as shown above", `usr/share/nginx/html/index.html: content from byte 0 on: sha256:`},
		{"manifest", `manifest.json differently, in line `, `: "  \"enabled\": true,", then "  \"enabled\": 1,"`},
	} {
		t.Run(test.how, func(t *testing.T) {
			dir := siteProject(t)
			code, stdout, stderr, temp := twice(t, t.Context(), dir, test.how)
			if code != cli.ExitFailed || stdout != "" {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
			for _, want := range []string{test.what, test.shown, "not reproducible: of the same inputs two builds made ", "nothing was written, and both are kept for a look at them, in "} {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in\n%s", want, stderr)
				}
			}
			kept, _ := filepath.Glob(temp + "/fledge-again-*")
			if len(kept) != 1 {
				t.Fatalf("%q are kept", kept)
			}
			if got := names(t, kept[0]); got != "first second" {
				t.Errorf("%q are kept", got)
			}
			for _, side := range []string{"first", "second"} {
				if got := names(t, filepath.Join(kept[0], side)); got != "layout.img manifest.json" {
					t.Errorf("of the %s build %q are kept", side, got)
				}
			}
			// What is kept is the two builds: the first has what a build makes.
			if out, err := command(t, dir, "build", "-q", "-o", "plain.img", "--artifact-url", filepath.Join(dir, "layout.img")).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for kept, made := range map[string]string{filepath.Join(kept[0], "first/layout.img"): "plain.img", filepath.Join(kept[0], "first/manifest.json"): "manifest.json"} {
				if read(t, filepath.Dir(kept), filepath.Base(kept)) != read(t, dir, made) {
					t.Errorf("%s is not what a build makes", kept)
				}
			}
			os.Remove(filepath.Join(dir, "plain.img"))
			os.Remove(filepath.Join(dir, "manifest.json"))
			nothingWritten(t, dir, filepath.Join(temp, "none"))
		})
	}
}

func TestASecondBuildThatFailsFailsTheFirst(t *testing.T) {
	for how, want := range map[string]string{
		"fail":    "fledge: building a second time, after the first build succeeded: running spoil: exit status 1: fledge: no luck today",
		"babble":  "fledge: reading the second build's result: ",
		"nothing": "fledge: reading the second artifact: ",
	} {
		t.Run(how, func(t *testing.T) {
			dir := siteProject(t)
			code, stdout, stderr, temp := twice(t, t.Context(), dir, how)
			if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("exit code %d, output %q, errors\n%s", code, stdout, stderr)
			}
			nothingWritten(t, dir, temp)
		})
	}
}

func TestCancelEndsTheSecondBuild(t *testing.T) {
	dir := siteProject(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, err := os.ReadFile(pidFile); err == nil && len(b) > 0 {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	code, stdout, _, temp := twice(t, ctx, dir, "hang:"+pidFile)
	if code != cli.ExitInterrupted || stdout != "" {
		t.Errorf("exit code %d, output %q", code, stdout)
	}
	nothingWritten(t, dir, temp)
	pid := 0
	fmt.Sscan(read(t, filepath.Dir(pidFile), "pid"), &pid)
	if err := syscall.Kill(pid, 0); pid == 0 || err != syscall.ESRCH {
		t.Errorf("process %d of the second build lives: %v", pid, err)
	}
}

// TestTheSecondBuildIsInAnotherWorld, and yet has what it needs of this one.
func TestTheSecondBuildIsInAnotherWorld(t *testing.T) {
	dir := siteProject(t)
	home := t.TempDir()
	write(t, home, ".docker/config.json", "{}")
	for name, value := range map[string]string{
		"HOME": home, "TZ": "UTC", "LC_ALL": "C", "LANG": "C", "GITHUB_TOKEN": "secret", "HTTPS_PROXY": "http://127.0.0.1:1",
		"SOURCE_DATE_EPOCH": "1234567890", "DOCKER_HOST": "unix:///x", "XDG_RUNTIME_DIR": "/x",
	} {
		t.Setenv(name, value)
	}
	file := filepath.Join(t.TempDir(), "seen")
	code, _, stderr, temp := twice(t, t.Context(), dir, "witness:"+file)
	if code != cli.ExitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	seen := read(t, filepath.Dir(file), "seen")
	again := regexp.QuoteMeta(temp) + `/fledge-again-\d+`
	for _, want := range []string{
		"TZ=Asia/Kathmandu", `zone=\+0545`, `LC_ALL=tr_TR\.UTF-8`, `LANG=tr_TR\.UTF-8`, "HOME=" + again + "/home", "TMPDIR=" + again + "/tmp",
		"PWD=" + again + "/current", "cwd=" + again + "/current", "project=" + again + `/project/fledge\.toml`, "output=" + again + `/second/layout\.img`,
		"GITHUB_TOKEN=secret", "HTTPS_PROXY=http://127.0.0.1:1", "SOURCE_DATE_EPOCH=1234567890", "DOCKER_HOST=unix:///x", "XDG_RUNTIME_DIR=/x",
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(seen) {
			t.Errorf("the second build does not see %s:\n%s", want, seen)
		}
	}
	if strings.Contains(seen, fmt.Sprintf("\nprocessors=%d\n", runtime.GOMAXPROCS(0))) {
		t.Errorf("the second build has as many processors:\n%s", seen)
	}
	// The umask is seen in the mode of a file that is kept.
	_, _, stderr, temp = twice(t, t.Context(), siteProject(t), "manifest")
	made, _ := filepath.Glob(temp + "/fledge-again-*/second/layout.img")
	if len(made) != 1 {
		t.Fatalf("%q are kept\n%s", made, stderr)
	}
	if info, err := os.Stat(made[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("with umask 077 a file is made with mode %v, %v", info.Mode(), err)
	}
}

// TestInputsThatMoveBetweenTwoBuildsAreNoDifference of the builds.
func TestInputsThatMoveBetweenTwoBuildsAreNoDifference(t *testing.T) {
	for _, test := range []struct {
		name string
		move func(t *testing.T, dir string, reg *ocitest.Registry)
		want string
	}{
		{"the tag", func(t *testing.T, _ string, reg *ocitest.Registry) {
			reg.Push(t, "library/nginx:1.27", nginx(t, false, resolv, ocitest.File("etc/moved", "")))
		}, `^fledge: between the two builds the image "[0-9.:]+/library/nginx:1\.27" changed \(sha256:[0-9a-f]{64}, then sha256:[0-9a-f]{64}\), so they cannot be compared; pin it with 'fledge lock' and build again\n$`},
		{"the tag, to what cannot be built", func(t *testing.T, _ string, reg *ocitest.Registry) {
			reg.Push(t, "library/nginx:1.27", nginx(t, true, resolv))
		}, `^fledge: building a second time, after the first build succeeded: running spoil: exit status 2: (?s).*the image has neither ENTRYPOINT nor CMD.* \(not pinned, and so possibly changed in between: image, agent; run 'fledge lock'\)\n$`},
		{"a mapped file", func(t *testing.T, dir string, _ *ocitest.Registry) {
			write(t, dir, "html/a.html", "another page")
		}, `^fledge: between the two builds the mappings changed \(sha256:.*, then sha256:.*\), so they cannot be compared; build again while nothing writes to the project\n$`},
		{"the local agent", func(t *testing.T, dir string, _ *ocitest.Registry) {
			write(t, dir, "kestrel", string(executable())+"x")
		}, `^fledge: between the two builds the agent changed .*; pin it with 'fledge lock' and build again\n$`},
		{"fledge.toml", func(t *testing.T, dir string, _ *ocitest.Registry) {
			write(t, dir, "fledge.toml", read(t, dir, "fledge.toml")+"# changed\n")
		}, `^fledge: between the two builds the config changed .*; build again while nothing writes to the project\n$`},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := ocitest.NewRegistry(t)
			reg.Push(t, "library/nginx:1.27", nginx(t, false, resolv))
			var dir string
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// The second build begins with this request.
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/1.27") && asked.Add(1) == 2 {
					test.move(t, dir, reg)
				}
				reg.ServeHTTP(w, r)
			}))
			defer server.Close()
			dir = project(t, strings.TrimPrefix(server.URL, "http://")+"/library/nginx:1.27", "[filesystem]\nsize_buffer_mb = 0\n[mappings]\n\"html\" = \"/html\"\n")
			write(t, dir, "html/a.html", "a page")
			if test.name == "fledge.toml" {
				asked.Store(1) // it is read before anything is asked
			}
			code, stdout, stderr, temp := twice(t, t.Context(), dir, "not at all", "-q")
			if code != cli.ExitFailed || stdout != "" || !regexp.MustCompile(test.want).MatchString(stderr) {
				t.Errorf("exit code %d, output %q, errors\n%s\nwant %s", code, stdout, stderr, test.want)
			}
			nothingWritten(t, dir, temp)
		})
	}
}

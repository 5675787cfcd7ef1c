package cli

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/ghrelease"
)

// An interrupted upload tells that it left something, and the next run goes on.
func TestInterruptedUploadSaysWhatIsLeft(t *testing.T) {
	s := ghrelease.New("acme/web", "v1")
	s.Contract = ghrelease.TheContract(t)
	s.Start(t)
	var names []string
	for _, name := range []string{"a", "b"} {
		names = append(names, filepath.Join(t.TempDir(), name))
		if err := os.WriteFile(names[len(names)-1], []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"GITHUB_API_URL": s.API, "GITHUB_SERVER_URL": s.Web, "GITHUB_REPOSITORY": "acme/web", "GITHUB_TOKEN": "x"}
	run := func(ctx context.Context) (code int, stdout, stderr string) {
		var out, err bytes.Buffer
		p := &Program{Version: "test", Stdout: &out, Stderr: &err, Getenv: func(k string) string { return env[k] }, WorkDir: t.TempDir()}
		code = p.Run(ctx, append([]string{"release", "upload", "v1"}, names...))
		return code, out.String(), err.String()
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Fault = func(r *http.Request) ghrelease.Fault {
		if r.URL.Query().Get("name") == "b" {
			cancel()
		}
		return ghrelease.None
	}
	code, stdout, stderr := run(ctx)
	if code != ExitInterrupted || stdout != "" || !strings.HasSuffix(stderr, "fledge: interrupted; what was uploaded stays on the release: the same command goes on from there\n") {
		t.Errorf("code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.Fault = nil
	code, stdout, stderr = run(t.Context())
	if code != ExitOK || strings.Count(stdout, "\n") != 3 || !strings.Contains(stderr, "skipped   a") {
		t.Errorf("code %d, output %q, errors %q", code, stdout, stderr)
	}
	for _, v := range s.Violations() {
		t.Errorf("against GitHub's contract: %s", v)
	}
}

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/config"
)

// Who runs a command inside of another program gets the error itself, not its text.
func TestRunTellsWhyItFailed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fledge.toml")
	if err := os.WriteFile(file, []byte("version = \"1\"\nstrategi = \"initramfs\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	var got error
	var stage string
	p := &Program{
		Version: "test", Stdout: &stdout, Stderr: &stderr, WorkDir: dir,
		Getenv: func(name string) string { return map[string]string{"GITHUB_TOKEN": "t"}[name] },
		Failed: func(s string, err error) { stage, got = s, err },
	}
	if code := p.Run(t.Context(), []string{"build", "--config", file}); code != ExitUsage {
		t.Errorf("exit code %d, want %d", code, ExitUsage)
	}
	var wrong config.Errors
	if !errors.As(got, &wrong) || len(wrong) == 0 || wrong[0].Line == 0 {
		t.Errorf("got %#v, want config.Errors with lines", got)
	}
	if stage != "" {
		t.Errorf("stage %q, want none: nothing had begun", stage)
	}

	if code := p.Run(t.Context(), []string{"release", "upload", "v1", filepath.Join(dir, "none"), "--repo", "o/r"}); code != ExitUsage {
		t.Errorf("exit code %d, want %d", code, ExitUsage)
	}
	if stage != "hashing" {
		t.Errorf("stage %q, want hashing", stage)
	}
}

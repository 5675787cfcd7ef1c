package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/plan"
)

// changes answers what changed.
type changes struct {
	files []string
	all   bool
	err   error
}

func (c changes) Changed(context.Context, string, string) ([]string, bool, error) {
	return c.files, c.all, c.err
}

func TestPlanOfWhatChanged(t *testing.T) {
	repo := t.TempDir()
	for _, name := range []string{".git", "sub/web", "sub/api"} {
		if err := os.MkdirAll(filepath.Join(repo, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web", "api"} {
		text := "version = \"1\"\nstrategy = \"initramfs\"\n[plugin]\nname = \"" + name + "\"\n"
		if err := os.WriteFile(filepath.Join(repo, "sub", name, "fledge.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name         string
		answer       changes
		plugins, say string
	}{
		{"one", changes{files: []string{"README", "sub/web/x"}}, "web", ""},
		{"a file elsewhere of that name", changes{files: []string{"web/x"}}, "", ""},
		{"too many", changes{all: true}, "api web", "notice: building everything: what changed in main...topic cannot be listed\n"},
		{"an error", changes{err: errors.New("rate limit")}, "api web", "notice: building everything: rate limit\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := &Program{
				Stdout: &stdout, Stderr: &stderr, WorkDir: filepath.Join(repo, "sub"), Getenv: func(string) string { return "" },
				compare: func(string) (plan.Comparer, error) { return test.answer, nil },
			}
			if code := p.Run(t.Context(), []string{"plan", "--changed", "main...topic", "--repo", "acme/web"}); code != ExitOK {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			var names []string
			for line := range strings.Lines(stdout.String()) {
				names = append(names, strings.Fields(line)[0])
			}
			if got := strings.Join(names, " "); got != test.plugins || stderr.String() != test.say {
				t.Errorf("plugins %q, said %q, want %q, %q", got, stderr.String(), test.plugins, test.say)
			}
		})
	}
}

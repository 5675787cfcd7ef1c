package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/loop"
)

// other is a mounter that is not loop.Local.
type other struct{}

func (other) Mount(context.Context, *os.File, loop.Mount) (loop.Mounted, error) { return nil, nil }

func TestWhoMountsAnImage(t *testing.T) {
	noPrivilege, noSocket := errors.New("no CAP_SYS_ADMIN"), errors.New("no Docker socket")
	for name, c := range map[string]struct {
		local, sibling error
		want           loop.Mounter
		asked          bool // for a sibling
	}{
		"with privileges":            {nil, nil, loop.Local{}, false},
		"with privileges, no socket": {nil, noSocket, loop.Local{}, false},
		"in a container with Docker": {noPrivilege, nil, other{}, true},
		"in a container without":     {noPrivilege, noSocket, nil, true},
	} {
		asked := false
		got, err := chooseMounter(loop.XFS, c.local, func() (loop.Mounter, error) {
			asked = true
			if c.sibling != nil {
				return nil, c.sibling
			}
			return other{}, nil
		})
		if got != c.want || asked != c.asked || (err == nil) != (c.want != nil) {
			t.Errorf("%s: got %T, %v, asked %v", name, got, err, asked)
		}
		if err != nil {
			for _, part := range []string{"xfs", "no CAP_SYS_ADMIN", "no Docker socket", `type = "ext4"`} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not say %q", name, err, part)
				}
			}
		}
	}
}

func TestOnlyAKernelsImageIsMounted(t *testing.T) {
	p := &Program{Getenv: func(string) string { return "" }, WorkDir: "/work", Stdout: io.Discard, Stderr: io.Discard}
	for _, c := range []config.Config{
		{Strategy: config.OCIRootfs, Filesystem: config.Filesystem{Type: "ext4"}},
		{Strategy: config.OCIRootfs, Filesystem: config.Filesystem{Type: "squashfs"}},
		{Strategy: config.Initramfs, Filesystem: config.Filesystem{Type: "xfs"}},
	} {
		if m, err := p.mounter(t.Context(), &c, "x.img", p.reporter(false, true)); m != nil || err != nil {
			t.Errorf("%s %s: %T, %v", c.Strategy, c.Filesystem.Type, m, err)
		}
	}
	if _, grace := p.Interruption(); grace != defaultGrace {
		t.Errorf("a build that mounts nothing has %v to clean up", grace)
	}
	p.mounter(t.Context(), &config.Config{Strategy: config.OCIRootfs, Filesystem: config.Filesystem{Type: "btrfs"}}, "x.img", p.reporter(false, true))
	if _, grace := p.Interruption(); grace != mountGrace {
		t.Errorf("a build that mounts has %v to clean up", grace)
	}
}

func TestTheSocketIsNotPutIntoTheCheckout(t *testing.T) {
	env := map[string]string{"RUNNER_TEMP": "/github/runner_temp/", "TMPDIR": "relative"}
	p := &Program{Getenv: func(name string) string { return env[name] }, WorkDir: "/github/workspace"}
	for output, want := range map[string][]string{
		"dist/":    {"/github/runner_temp", "/github/workspace/dist", "/github/workspace"},
		"dist/x":   {"/github/runner_temp", "/github/workspace/dist", "/github/workspace"},
		"/out/a/x": {"/github/runner_temp", "/out/a", "/github/workspace"},
		"":         {"/github/runner_temp", "/github/workspace"},
	} {
		if got := p.socketDirs(output); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", output, got, want)
		}
	}
}

func TestMountIsForASibling(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"mount"}, ExitUsage, "this command is run by 'fledge build'"},
		{[]string{"mount", "/nonexistent/socket"}, ExitFailed, "connecting to the build's socket"},
	} {
		var stderr strings.Builder
		p := &Program{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: &stderr}
		if code := p.Run(t.Context(), c.args); code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%q: exit code %d, %q", c.args, code, stderr.String())
		}
	}
	var help strings.Builder
	p := &Program{Getenv: func(string) string { return "" }, Stdout: &help, Stderr: &help}
	if p.Run(t.Context(), []string{"--help"}); strings.Contains(help.String(), "mount") {
		t.Errorf("it is not hidden:\n%s", help.String())
	}
}

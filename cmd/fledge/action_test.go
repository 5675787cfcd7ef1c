package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ocitest"
)

// TestACancelledActionLeavesTheWorkspaceToItsOwner: GitHub sends SIGINT, and SIGTERM
// 7.5 seconds later.
func TestACancelledActionLeavesTheWorkspaceToItsOwner(t *testing.T) {
	im := nginx(t, false)
	r := ocitest.NewRegistry(t)
	ref := r.Push(t, "nginx:1.27", im)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	blob := "/blobs/" + ocitest.Digest(im.Blobs[0])
	r.Add(ocitest.Fault{Path: blob, Hold: hold})
	dir, temp, files := project(t, ref, "[plugin]\nname = \"web\"\n"), t.TempDir(), t.TempDir()
	owner := os.Geteuid()
	if owner == 0 {
		owner = 1001
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	output := filepath.Join(files, "output")
	if err := os.WriteFile(output, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, "action")
	cmd.Env = append(cmd.Env, "TMPDIR="+temp, "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+dir, "GITHUB_OUTPUT="+output, "GITHUB_REPOSITORY=o/r",
		"INPUT_CACHE-DIR=.cache/fledge", `INPUT_REGISTRY-AUTH={"auths":{"r.example":{"password":"hunter2"}}}`)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(r.Seen(blob)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the layer was never asked for:\n%s", log.String())
		}
	}
	if left, _ := os.ReadDir(temp); len(left) == 0 {
		t.Error("no private folder: the test looks in the wrong place")
	}
	begun := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if took := time.Since(begun); took > 7*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if !strings.Contains(log.String(), "fledge: interrupted") {
		t.Errorf("the log:\n%s", log.String())
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left in the private place: %v", left)
	}
	for _, name := range []string{"dist", ".cache"} {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != owner {
				t.Errorf("%s belongs to %d", path, uid)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "dist")); len(left) > 0 {
		t.Errorf("built: %v", left)
	}
}

package action

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/runnertest"
	"github.com/volant/fledge-action/internal/sibling"
	"github.com/volant/fledge-action/internal/testneed"
)

// runnerLabel is what the runner labels the action's container with.
const runnerLabel = "f1ed6e"

// manyFiles is an image that takes a kernel seconds to write.
func manyFiles(t *testing.T, files int) *ocitest.Image {
	t.Helper()
	entries := []ocitest.Entry{
		{Header: tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}},
		{Header: tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}},
		{Header: tar.Header{Name: "usr/bin/web", Mode: 0o4755, Uid: 33, Gid: 34}, Body: string(elftest.Program())},
		{Header: tar.Header{Name: "usr/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}},
		{Header: tar.Header{Name: "usr/device", Typeflag: tar.TypeChar, Mode: 0o620, Devmajor: 5, Devminor: 1}},
	}
	for i := range files {
		entries = append(entries, ocitest.Entry{Header: tar.Header{Name: fmt.Sprintf("srv/%d/%d", i/500, i), Mode: 0o644, Uid: 1000 + i%5}, Body: fmt.Sprint(i)})
	}
	return ocitest.Build(t, ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Layers:  []ocitest.Layer{{Entries: entries}},
		Config:  v1.Config{Entrypoint: []string{"/usr/bin/web"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
	})
}

// kernelStep builds a filesystem that only the kernel writes.
func kernelStep(t *testing.T, kind string, files int, with ...string) runnertest.Step {
	t.Helper()
	testneed.Tool(t, "mkfs."+kind)
	ref := ocitest.NewRegistry(t).Push(t, "team/web:1", manyFiles(t, files))
	return step(t, rootfs("", ref, fmt.Sprintf("[filesystem]\ntype = %q\n", kind)), with...)
}

// clean wants nothing to be left of siblings, within 7 seconds.
func clean(t *testing.T, r *runnertest.Result) {
	t.Helper()
	d := dockertest.Start(t)
	var left []string
	for begun := time.Now(); time.Since(begun) < 7*time.Second; time.Sleep(50 * time.Millisecond) {
		left = attached(t)
		if ids := d.Run(t, "ps", "-aq", "--filter", "label="+sibling.Label); ids != "" {
			left = append(left, "containers "+ids)
		}
		for _, dir := range []string{r.Workspace, filepath.Join(r.Workspace, "../../_temp")} {
			folders, err := filepath.Glob(filepath.Join(dir, ".fledge-*"))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, folders...)
		}
		if left == nil {
			t.Logf("clean %v after the end", time.Since(begun).Round(10*time.Millisecond))
			return
		}
	}
	t.Errorf("left: %q", left)
}

// attached are the loop devices with files of a workspace.
func attached(t *testing.T) []string {
	t.Helper()
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range devices {
		if text, err := os.ReadFile(d); err == nil && strings.HasPrefix(string(text), "/github/workspace/") {
			found = append(found, d+": "+strings.TrimSpace(string(text)))
		}
	}
	return found
}

func TestARunnerBuildsWhatOnlyTheKernelWrites(t *testing.T) {
	for kind, check := range map[string][]string{"xfs": {"xfs_repair", "-n"}, "btrfs": {"btrfs", "check"}} {
		t.Run(kind, func(t *testing.T) {
			testneed.Tool(t, check[0])
			r := want(t, kernelStep(t, kind, 100, "filesystem-builder", "loop"), false)
			clean(t, r)
			image := filepath.Join(r.Workspace, r.Outputs["artifact"])
			program, err := testneed.Look(check[0])
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(program, append(check[1:], image)...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			dir, unmount := testneed.Mount(t, image, "ro")
			defer unmount()
			for name, want := range map[string]struct {
				mode, uid, gid uint32
				rdev           uint64
			}{
				"usr/bin/web": {syscall.S_IFREG | 0o4755, 33, 34, 0},
				"srv/0/7":     {syscall.S_IFREG | 0o644, 1002, 0, 0},
				"usr/fifo":    {syscall.S_IFIFO | 0o600, 0, 0, 0},
				"usr/device":  {syscall.S_IFCHR | 0o620, 0, 0, 5<<8 | 1},
			} {
				var st syscall.Stat_t
				if err := syscall.Lstat(filepath.Join(dir, name), &st); err != nil {
					t.Error(err)
				} else if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid || st.Rdev != want.rdev {
					t.Errorf("%s: %o %d:%d %x, want %+v", name, st.Mode, st.Uid, st.Gid, st.Rdev, want)
				}
			}
		})
	}
}

// TestNothingIsLeftOfABuildThatEndsWhileItWrites ends it in the middle, in several ways.
func TestNothingIsLeftOfABuildThatEndsWhileItWrites(t *testing.T) {
	kill := func(t *testing.T, d *dockertest.Docker, label string) {
		ids, err := d.Command(t.Context(), "ps", "-q", "--filter", "label="+label).Output()
		if err == nil {
			err = d.Command(t.Context(), append([]string{"kill", "--signal", "KILL"}, strings.Fields(string(ids))...)...).Run()
		}
		if err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		end  func(t *testing.T, d *dockertest.Docker, cancel func())
		exit int
		text string // in the log
	}{
		"cancelled":             {func(_ *testing.T, _ *dockertest.Docker, cancel func()) { cancel() }, 130, "interrupted"},
		"the sibling is killed": {func(t *testing.T, d *dockertest.Docker, _ func()) { kill(t, d, sibling.Label) }, 1, "unmounting in the sibling container: it ended"},
		"the action is killed":  {func(t *testing.T, d *dockertest.Docker, _ func()) { kill(t, d, runnerLabel) }, 137, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := dockertest.Start(t)
			s := kernelStep(t, "xfs", 40_000)
			cancel, ended, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			s.Cancel = cancel
			go func() {
				defer close(done)
				for len(attached(t)) == 0 {
					select {
					case <-ended:
						t.Error("the build ended before it was mounted")
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
				c.end(t, d, func() { close(cancel) })
			}()
			r := runnertest.Run(t, s)
			close(ended)
			<-done
			if !r.Failed || r.Exit != c.exit || r.Left || !strings.Contains(r.Text(), c.text) {
				t.Errorf("exit code %d, left %v\n%s", r.Exit, r.Left, r.Text())
			}
			if r.Cancelled > 7*time.Second || r.Signal == "TERM" || r.Signal == "KILL" {
				t.Errorf("it ended %v after the cancellation, with %s", r.Cancelled, r.Signal)
			}
			clean(t, r)
			for name := range r.Owners {
				if name != "." && name != "dist" && s.Files[name] == "" {
					t.Errorf("left behind: %s", name)
				}
			}
			t.Logf("it took %v, %v of it after the cancellation", r.Took.Round(time.Millisecond), r.Cancelled.Round(time.Millisecond))
		})
	}
}

// TestWithoutADockerSocketAContainerSaysWhatToAdd runs the image by hand.
func TestWithoutADockerSocketAContainerSaysWhatToAdd(t *testing.T) {
	s := kernelStep(t, "xfs", 1)
	dir := t.TempDir()
	for name, text := range s.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := dockertest.Start(t).Command(t.Context(), "run", "--rm", "--network", "host", "-v", dir+":/work", "-w", "/work", "--entrypoint", "/usr/local/bin/fledge", s.Image, "build")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	for _, part := range []string{"xfs can only be written by the kernel", "CAP_SYS_ADMIN", "-v /var/run/docker.sock:/var/run/docker.sock", `type = "ext4"`} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(s.Files) {
		t.Errorf("%v; it left %v", err, entries)
	}
}

func TestABuilderThatCannotBeIsAMistake(t *testing.T) {
	r := want(t, kernelStep(t, "xfs", 1, "filesystem-builder", "userspace"), true)
	if r.Exit != 2 || !strings.Contains(r.Text(), "only the kernel writes xfs") {
		t.Errorf("exit code %d\n%s", r.Exit, r.Text())
	}
}

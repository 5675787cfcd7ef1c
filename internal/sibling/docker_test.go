//go:build linux

package sibling_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/internal/dockertest"
	"github.com/volant/fledge-action/internal/sibling"
	"github.com/volant/fledge-action/internal/testneed"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// A stage is a container without privileges, with a volume and the Docker socket, in
// which testdata/probe has an image mounted.
type stage struct {
	*dockertest.Docker
	volume, image string
	cmd           *exec.Cmd
	stdin         io.Closer
	lines         *bufio.Scanner
	stderr        strings.Builder
}

const probeName = "fledge-sibling-probe"

// begin starts the probe and returns when the image is mounted.
func begin(t *testing.T, kind loop.Type) *stage {
	t.Helper()
	s := &stage{Docker: dockertest.Start(t), volume: t.TempDir()}
	if err := (loop.Local{}).Available(); err != nil {
		testneed.Missing(t, "loop", err.Error())
	}
	testneed.Tool(t, "mkfs."+string(kind))
	name := s.Import(t, "fledge-test/sibling:1", func(l *dockertest.Layer) { l.Program("probe", "./testdata/probe") }, `ENTRYPOINT ["/probe"]`)
	s.image = filepath.Join(s.volume, "image")
	if err := os.WriteFile(s.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.image, 512<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+string(kind), s.image)
	// As a runner's workspace may be: of another user, and closed to all others.
	if err := os.Chown(s.volume, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.volume, 0o700); err != nil {
		t.Fatal(err)
	}
	s.cmd = s.Command(t.Context(), "run", "-i", "--rm", "--name", probeName, "--network", "host", "-v", s.Socket+":/var/run/docker.sock", "-v", s.volume+":/data",
		name, "build", string(kind), "/data/image")
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.lines = bufio.NewScanner(stdout)
	if !s.lines.Scan() || s.lines.Text() != "mounted" {
		t.Fatalf("it printed %q; %v: %s", s.lines.Text(), s.cmd.Wait(), s.stderr.String())
	}
	if got := s.siblings(t); got == "" || s.attached(t) == "" {
		t.Fatalf("while mounted: containers %q, device %q", got, s.attached(t))
	}
	return s
}

// run runs a program of the machine.
func run(t *testing.T, argv ...string) {
	t.Helper()
	path, err := testneed.Look(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
}

// siblings are the containers that are siblings.
func (s *stage) siblings(t *testing.T) string {
	t.Helper()
	return s.Run(t, "ps", "-aq", "--no-trunc", "--filter", "label="+sibling.Label)
}

// attached is the loop device that has the image, "" for none.
func (s *stage) attached(t *testing.T) string {
	t.Helper()
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	// A container's name for the file is not ours: the device tells the inode.
	want, err := os.Stat(s.image)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		text, err := os.ReadFile(d)
		if err != nil {
			continue // detached just now
		}
		name := strings.TrimSpace(string(text))
		if have, err := os.Stat(name); err == nil && os.SameFile(have, want) || name == "/data/image" {
			return d
		}
	}
	return ""
}

// clean waits for everything to be gone, 7 seconds at most.
func (s *stage) clean(t *testing.T) {
	t.Helper()
	var left string
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		folders, err := filepath.Glob(filepath.Join(s.volume, ".fledge-*"))
		if err != nil {
			t.Fatal(err)
		}
		left = fmt.Sprint(s.siblings(t), s.attached(t), strings.Join(folders, " "))
		if left == "" {
			t.Logf("clean after %v", time.Since(begun).Round(10*time.Millisecond))
			return
		}
		if time.Since(begun) > 7*time.Second {
			t.Errorf("left: %s", left)
			return
		}
	}
}

func TestAContainerWithoutPrivilegesWritesAnImage(t *testing.T) {
	for kind, check := range map[loop.Type][]string{loop.XFS: {"xfs_repair", "-n"}, loop.Btrfs: {"btrfs", "check"}} {
		t.Run(string(kind), func(t *testing.T) {
			begun := time.Now()
			testneed.Tool(t, check[0])
			s := begin(t, kind)
			t.Logf("mounted after %v", time.Since(begun).Round(10*time.Millisecond))
			s.stdin.Close()
			if !s.lines.Scan() || s.lines.Text() != "closed" {
				t.Errorf("it printed %q", s.lines.Text())
			}
			if s.attached(t) != "" {
				t.Error("the image is attached after Close has returned")
			}
			if err := s.cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, s.stderr.String())
			}
			s.clean(t)
			run(t, append(check, s.image)...)
			s.look(t, kind)
		})
	}
}

// look mounts the image here and looks at the file.
func (s *stage) look(t *testing.T, kind loop.Type) {
	t.Helper()
	image, err := os.OpenFile(s.image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	m, err := loop.Local{}.Mount(t.Context(), image, loop.Mount{Type: kind})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	info, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d/file", m.Root().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 1001 || st.Gid != 1002 || info.Size() != 8<<20 {
		t.Errorf("%+v", info)
	}
}

func TestNothingIsLeftOfAnEndInTheMiddle(t *testing.T) {
	for name, end := range map[string]func(s *stage, t *testing.T){
		"cancelled": func(s *stage, t *testing.T) {
			begun := time.Now()
			s.Run(t, "kill", "--signal", "INT", probeName)
			if err := s.cmd.Wait(); err == nil || !strings.Contains(s.stderr.String(), "canceled") || time.Since(begun) > 7*time.Second {
				t.Errorf("%v after %v: %s", err, time.Since(begun), s.stderr.String())
			}
		},
		"the build is killed": func(s *stage, t *testing.T) {
			s.Run(t, "kill", "--signal", "KILL", probeName)
			if err := s.cmd.Wait(); err == nil {
				t.Error("it was not killed")
			}
		},
		"the sibling is killed": func(s *stage, t *testing.T) {
			s.Run(t, "kill", "--signal", "KILL", s.siblings(t))
			s.stdin.Close()
			if err := s.cmd.Wait(); err == nil || !strings.Contains(s.stderr.String(), "unmounting in the sibling container: it ended") {
				t.Errorf("%v: %s", err, s.stderr.String())
			}
		},
		"both are killed": func(s *stage, t *testing.T) {
			s.Run(t, "kill", "--signal", "KILL", probeName, s.siblings(t))
			if err := s.cmd.Wait(); err == nil {
				t.Error("it was not killed")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, loop.XFS)
			end(s, t)
			s.clean(t)
		})
	}
}

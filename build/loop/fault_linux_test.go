package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
)

// childImage is the environment variable that makes the test binary a build that waits in
// its middle to be killed: a type and the path of the image.
const childImage = "FLEDGE_TEST_LOOP_CHILD"

func TestMain(m *testing.M) {
	if kind, path, ok := strings.Cut(os.Getenv(childImage), ":"); ok {
		child(Type(kind), path)
	}
	os.Exit(m.Run())
}

func child(kind Type, path string) {
	f, err := os.Create(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tr := tree.New()
	if err := tr.Put("f", &tree.Node{Mode: 0o644, Content: noise(1, 3*bufferSize), ModTime: time.Unix(1, 0)}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	o := options(kind, 0)
	o.Progress = func(done, _ int64) {
		if done > bufferSize {
			fmt.Println("populating")
			time.Sleep(time.Minute)
		}
	}
	_, err = Write(context.Background(), f, tr, o)
	fmt.Println(err)
	os.Exit(1)
}

func TestNothingIsLeftOfAKilledProcess(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		path := filepath.Join(t.TempDir(), "test.img")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childImage+"="+string(kind)+":"+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "populating\n" {
			t.Errorf("%q (%v)", line, err)
		}
		if len(attachedTo(t, path)) != 1 {
			t.Error("no loop device has the image while it is written")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for range 200 { // the kernel detaches after the process is gone
			if len(attachedTo(t, path)) == 0 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		nothingLeft(t, path)
	})
}

// someFiles is a tree that takes a while.
func someFiles(t testing.TB) *tree.Tree {
	tr := manySmall(t, 50, 9000)
	put(t, tr, "large", &tree.Node{Mode: 0o644, Content: noise(1, 4*bufferSize)})
	return tr
}

// mounterFunc is a Mounter that does something before Local.
type mounterFunc func()

func (m mounterFunc) Mount(ctx context.Context, image *os.File, o Mount) (Mounted, error) {
	m()
	return Local{}.Mount(ctx, image, o)
}

func TestCancelledInEachPhase(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		phases := map[string]func(o *Options, cancel func()){
			"at the start": func(_ *Options, cancel func()) { cancel() },
			"before mkfs": func(o *Options, cancel func()) {
				o.Detail = func(s string) {
					if strings.HasPrefix(s, "making") {
						cancel()
					}
				}
			},
			"in mkfs": func(o *Options, cancel func()) {
				o.Path = fakeTool(t, kind.programs()[0].name, `touch "${0%/*}/runs"; exec sleep 60`)
				go func() {
					for range 1000 {
						if _, err := os.Stat(filepath.Join(o.Path, "runs")); err == nil {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
					cancel()
				}()
			},
			"before the mount": func(o *Options, cancel func()) { o.Mounter = mounterFunc(cancel) },
			"mounted": func(o *Options, cancel func()) {
				o.Detail = func(s string) {
					if strings.HasPrefix(s, "mounted") {
						cancel()
					}
				}
			},
			"in a file": func(o *Options, cancel func()) {
				o.Progress = func(done, _ int64) {
					if done > bufferSize {
						cancel()
					}
				}
			},
			"in the check": func(o *Options, cancel func()) {
				o.Detail = func(s string) {
					if strings.HasPrefix(s, "unmounted") {
						cancel()
					}
				}
			},
		}
		for name, prepare := range phases {
			ctx, cancel := context.WithCancel(t.Context())
			o := options(kind, 0)
			prepare(&o, cancel)
			f := newImage(t)
			if _, err := Write(ctx, f, someFiles(t), o); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			nothingLeft(t, f.Name())
		}
	})
}

// fakeTool makes a folder with a program that tells a version and then runs a script.
func fakeTool(t testing.TB, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ncase \"$*\" in -V|--version) echo fake version 0.1; exit 0;; ''|--help|'-O list-all') exit 1;; esac\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFailuresOfProgramsAreTold(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		for i, p := range kind.programs() {
			o := options(kind, 0)
			o.Path = fakeTool(t, p.name, "echo printed; echo the reason >&2; exit 7")
			f := newImage(t)
			_, err := Write(t.Context(), f, someFiles(t), o)
			if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), p.name) {
				t.Errorf("%s: %v", p.name, err)
			}
			if i == 1 && !strings.Contains(err.Error(), "printed") {
				t.Errorf("%s: %v, want what it printed", p.name, err)
			}
			nothingLeft(t, f.Name())
		}
	})
}

func TestBrokenContentEndsTheWork(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		for _, size := range []int64{scanFrom / 2, 2 * scanFrom} { // the latter while it is measured
			tr := tree.New()
			put(t, tr, "bad", &tree.Node{Mode: 0o644, Content: broken(size)})
			f := newImage(t)
			if _, err := Write(t.Context(), f, tr, options(kind, 0)); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), `"/bad"`) {
				t.Error(err)
			}
			nothingLeft(t, f.Name())
		}
	})
}

// TestFullDiskOfTheOutput writes to a disk that is smaller than the content.
func TestFullDiskOfTheOutput(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		dir := t.TempDir()
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=100m"); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
		f, err := os.Create(filepath.Join(dir, "test.img"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		tr := tree.New()
		put(t, tr, "large", &tree.Node{Mode: 0o644, Content: noise(1, 120<<20)})
		_, err = Write(t.Context(), f, tr, options(kind, 0))
		if err == nil || !strings.Contains(err.Error(), "the disk of the output is full") {
			t.Errorf("%v", err)
		}
		nothingLeft(t, f.Name())
	})
}

// turning is content that is a hole when it is measured and is not when it is written.
type turning struct {
	tree.Bytes
	asked *int
}

func (c turning) Open() (io.ReadCloser, error) {
	if *c.asked++; *c.asked == 1 {
		return tree.Bytes(make([]byte, c.Size())).Open()
	}
	return c.Bytes.Open()
}

func TestFullImageIsMadeOnceMoreLarger(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		size := map[Type]int{XFS: 240 << 20, Btrfs: 130 << 20}[kind]
		tr := tree.New()
		put(t, tr, "large", &tree.Node{Mode: 0o644, Content: turning{noise(1, size), new(int)}})
		var told []string
		o := options(kind, 16<<20)
		o.Detail = func(s string) { told = append(told, s) }
		write(t, tr, o)
		if text := strings.Join(told, "\n"); !strings.Contains(text, "making it once more") {
			t.Errorf("it was made at once:\n%s", text)
		}
	})
}

func TestMountFailureLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, kind Type) {
		f := newImage(t)
		if err := f.Truncate(64 << 20); err != nil {
			t.Fatal(err)
		}
		for _, m := range []Mount{{Type: kind}, {Type: kind, Options: []string{"no-such-option"}}, {Type: "nofs"}} {
			if _, err := (Local{}).Mount(t.Context(), f, m); err == nil || !strings.Contains(err.Error(), "mount") {
				t.Errorf("%+v: %v", m, err)
			}
			nothingLeft(t, f.Name())
		}
	})
}

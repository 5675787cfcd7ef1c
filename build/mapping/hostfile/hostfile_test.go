package hostfile

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func folder(t *testing.T, links map[string]string, files ...string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte("hello"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestResolve(t *testing.T) {
	links := map[string]string{
		"d/same": "f", "d/up": "../top", "dir": "d", "dots": "./d/../d/.", "gone": "no/where", "back": "d/..",
		"abs": "/etc", "out": "..", "d/out": "../../x", "hop": "dir/out", "loop": "loop", "under": "top/x",
		"gap": "no/../../x",
	}
	tests := []struct {
		name, want string
		link       string // of the LeaveError
		err        string
	}{
		{name: "top", want: "top"},
		{name: ".", want: "."},
		{name: "d/same", want: "d/f"},
		{name: "dir/same", want: "d/f"},
		{name: "dir/up", want: "top"},
		{name: "dots/f", want: "d/f"},
		{name: "gone", want: "no/where"},
		{name: "gone/x", want: "no/where/x"},
		{name: "back/top", want: "top"},
		{name: "missing/x", want: "missing/x"},
		{name: "under", want: "top/x"},
		{name: "missing/../dir/up", want: "top"},
		{name: "missing/x/y/../../../dir/up", want: "top"},
		{name: "missing/x/../dir/up", want: "missing/dir/up"},
		{name: "missing/../hop", link: "d/out"},
		{name: "under/y/../../../hop", link: "d/out"},
		{name: "d/missing/../out", link: "d/out"},
		{name: "abs", link: "abs"},
		{name: "abs/passwd", link: "abs"},
		{name: "out", link: "out"},
		{name: "hop", link: "d/out"},
		{name: "gap", link: "gap"},
		{name: "loop", err: "too many levels of symbolic links, the limit is 40"},
		{name: "..", err: "leads out of the project folder"},
	}
	root := folder(t, links, "top", "d/f")
	for _, tt := range tests {
		got, err := Resolve(root, tt.name)
		var leave *LeaveError
		switch {
		case tt.link != "":
			if !errors.As(err, &leave) || leave.Link != tt.link || leave.Target != links[tt.link] {
				t.Errorf("Resolve(%q): error %v, want one of link %q", tt.name, err, tt.link)
			}
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Resolve(%q): error %v, want %q", tt.name, err, tt.err)
			}
		case err != nil || got != tt.want:
			t.Errorf("Resolve(%q) = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	// A link's own target is resolved from where the link lies.
	for name, target := range links {
		a, errA := Resolve(root, name)
		b, errB := ResolveLink(root, name, target)
		if a != b || (errA == nil) != (errB == nil) {
			t.Errorf("ResolveLink(%q) = %q, %v; Resolve = %q, %v", name, b, errB, a, errA)
		}
	}
}

func TestCleanLimitsPaths(t *testing.T) {
	long := strings.Repeat("a/", MaxPath/2)
	if _, err := Clean(long + "a"); err != nil {
		t.Errorf("%d bytes: %v", MaxPath, err)
	}
	if _, err := Clean(long + "aa"); err == nil || !strings.Contains(err.Error(), "4096 bytes, the limit is 4095") {
		t.Errorf("%d bytes: error %v", MaxPath+1, err)
	}
}

func TestResolveCountsLinks(t *testing.T) {
	chain := func(n int) map[string]string {
		links := map[string]string{}
		for i := range n {
			links["l"+string(rune('A'+i))] = "l" + string(rune('A'+i+1))
		}
		return links
	}
	if _, err := Resolve(folder(t, chain(MaxSymlinks)), "lA"); err != nil {
		t.Errorf("%d links: %v", MaxSymlinks, err)
	}
	if _, err := Resolve(folder(t, chain(MaxSymlinks+1)), "lA"); !errors.Is(err, ErrLoop) {
		t.Errorf("%d links: error %v, want ErrLoop", MaxSymlinks+1, err)
	}
}

func TestStatTakesRegularFilesOnly(t *testing.T) {
	root := folder(t, map[string]string{"l": "f"}, "f", "d/x")
	if err := syscall.Mkfifo(filepath.Join(root.Name(), "p"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"l": "symbolic link", "d": "directory", "p": "named pipe"} {
		if _, err := Stat(root, name); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), kind) {
			t.Errorf("Stat(%q): error %v, want ErrNotRegular that says %s", name, err, kind)
		}
	}
	if _, err := Stat(root, "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of nothing: %v", err)
	}
	f, err := Stat(root, "f")
	if err != nil || f.Size() != 5 {
		t.Fatalf("Stat(f) = %v, %v", f, err)
	}
}

func TestReadOfAFileThatChangesInTheMiddle(t *testing.T) {
	tests := []struct {
		name   string
		change func(path string) error
		saying string
	}{
		{"untouched", func(string) error { return nil }, ""},
		{"shrinks", func(p string) error { return os.Truncate(p, 3) }, "ended 2 bytes early"},
		{"grows", func(p string) error { return os.Truncate(p, 6) }, "longer than 5 bytes"},
		{"is rewritten", func(p string) error {
			if err := os.WriteFile(p, []byte("HELLO"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(p, time.Unix(9, 9), time.Unix(9, 9))
		}, "written to"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := folder(t, nil, "f")
			f, err := Stat(root, "f")
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(filepath.Join(root.Name(), "f")); err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(r)
			if tt.saying == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), tt.saying) || !strings.Contains(err.Error(), `"f"`) {
				t.Errorf("error %v, want ErrChanged of f that says %q", err, tt.saying)
			}
			if _, again := r.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
				t.Errorf("the next read gives %v, want the same error", again)
			}
		})
	}
}

func TestOpenSeesAnotherSizeBeforeReading(t *testing.T) {
	root := folder(t, nil, "f")
	f, err := Stat(root, "f")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(root.Name(), "f"), 6); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "from 5 to 6 bytes") {
		t.Errorf("error %v, want ErrChanged with both sizes", err)
	}
}

func TestPinnedBytes(t *testing.T) {
	root := folder(t, nil, "f")
	f, err := Stat(root, "f")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		content string
		ok      bool
	}{{"hello", true}, {"HELLO", false}} {
		r, err := f.Pinned(sha256.Sum256([]byte(tt.content))).Open()
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(r)
		r.Close()
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrChanged) {
			t.Errorf("pinned to %q: error %v", tt.content, err)
		}
	}
}

func TestKindNamesEveryType(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o644: "regular file", fs.ModeDir: "directory", fs.ModeSymlink: "symbolic link", fs.ModeNamedPipe: "named pipe (FIFO)",
		fs.ModeSocket: "socket", fs.ModeDevice: "block device", fs.ModeDevice | fs.ModeCharDevice: "character device", fs.ModeIrregular: "special file",
	} {
		if got := Kind(mode); got != want {
			t.Errorf("Kind(%v) = %q, want %q", mode, got, want)
		}
	}
}

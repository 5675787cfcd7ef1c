package outfile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// TestMain makes a child process of the test binary write half a file and be killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("OUTFILE_TEST_HALF"); path != "" {
		if os.Getenv("OUTFILE_TEST_NAMED") != "" {
			unnamed = func(string, string) (*os.File, error) { return nil, errors.ErrUnsupported }
		}
		f, err := Create(path)
		if err != nil {
			panic(err)
		}
		f.WriteString("half")
		f.Sync()
		p, _ := os.FindProcess(os.Getpid())
		p.Kill()
		select {}
	}
	os.Exit(m.Run())
}

func both(t *testing.T, fn func(t *testing.T)) {
	t.Run("unnamed", func(t *testing.T) {
		f, err := openUnnamed(t.TempDir(), "x")
		if err != nil {
			testneed.Missing(t, "tmpfile", err.Error())
		}
		f.Close()
		fn(t)
	})
	t.Run("named", func(t *testing.T) {
		unnamed = func(string, string) (*os.File, error) { return nil, errors.ErrUnsupported }
		defer func() { unnamed = openUnnamed }()
		fn(t)
	})
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestCommitReplacesInOneStep(t *testing.T) {
	both(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.img")
		for _, content := range []string{"first", "second"} {
			f, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(content)
			before, _ := os.ReadFile(path)
			if string(before) == content {
				t.Fatal("the file appeared before Commit")
			}
			if err := f.Commit(); err != nil {
				t.Fatal(err)
			}
			f.Abort()
			if got, _ := os.ReadFile(path); string(got) != content {
				t.Errorf("content %q, want %q", got, content)
			}
		}
		if got := names(t, dir); got != "x.img" {
			t.Errorf("directory holds %q", got)
		}
	})
}

func TestAbortLeavesWhatWasThere(t *testing.T) {
	both(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.img")
		os.WriteFile(path, []byte("old"), 0o600)
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("new")
		f.Abort()
		if got, _ := os.ReadFile(path); string(got) != "old" {
			t.Errorf("content %q, want the old one", got)
		}
		if got := names(t, dir); got != "x.img" {
			t.Errorf("directory holds %q", got)
		}
	})
}

func TestKilledProcessLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.img")
	half := func(named string) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "OUTFILE_TEST_HALF="+path, "OUTFILE_TEST_NAMED="+named)
		if err := cmd.Run(); err == nil {
			t.Fatal("the child was not killed")
		}
	}
	if f, err := openUnnamed(dir, path); err == nil {
		f.Close()
		half("")
		if got := names(t, dir); got != "" {
			t.Errorf("a killed process left %q", got)
		}
	}
	half("1")
	if got := names(t, dir); !strings.HasPrefix(got, ".x.img"+tempMark) {
		t.Fatalf("directory holds %q, want a hidden name to sweep", got)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if got := names(t, dir); got != "" {
		t.Errorf("the next run left %q", got)
	}
}

func TestCreateSparesTheLiving(t *testing.T) {
	unnamed = func(string, string) (*os.File, error) { return nil, errors.ErrUnsupported }
	defer func() { unnamed = openUnnamed }()
	path := filepath.Join(t.TempDir(), "x.img")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	a.WriteString("a")
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("b")
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "b" {
		t.Errorf("content %q, want that of the last Commit", got)
	}
}

func TestCreateRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                             "not a regular file",
		os.DevNull:                      "not a regular file",
		filepath.Join(dir, "none", "x"): "its folder does not exist",
	} {
		if _, err := Create(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Create(%q) = %v, want an error with %q", path, err, want)
		}
	}
}

// TestCommitBothGivesBackTheFirstName makes the second Commit fail: its name has
// become a folder.
func TestCommitBothGivesBackTheFirstName(t *testing.T) {
	for _, old := range []string{"", "old"} {
		both(t, func(t *testing.T) {
			dir := t.TempDir()
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			if old != "" {
				os.WriteFile(a, []byte(old), 0o600)
			}
			first, err := Create(a)
			if err != nil {
				t.Fatal(err)
			}
			second, err := Create(b)
			if err != nil {
				t.Fatal(err)
			}
			first.WriteString("new")
			os.MkdirAll(filepath.Join(b, "in the way"), 0o755)
			if err := CommitBoth(first, second); err == nil {
				t.Fatal("CommitBoth succeeded")
			}
			got, err := os.ReadFile(a)
			if string(got) != old || (old == "") != os.IsNotExist(err) {
				t.Errorf("the first file is %q (%v), want %q", got, err, old)
			}
			if got := names(t, dir); got != strings.TrimSpace(map[bool]string{true: "a "}[old != ""]+"b") {
				t.Errorf("the folder holds %q", got)
			}
		})
	}
}

// TestCommitNeedsNotReadTheFolder: its name is there whether or not the folder can
// be synced.
func TestCommitNeedsNotReadTheFolder(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("SKIP: root can read every folder")
	}
	both(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o300); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		f, err := Create(filepath.Join(dir, "x"))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err != nil {
			t.Error(err)
		}
	})
}

// TestCommitBothKeepsPairsTogether: of two builds into one folder one wins, and not
// each of them one file.
func TestCommitBothKeepsPairsTogether(t *testing.T) {
	both(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		for range 30 {
			begin := make(chan struct{})
			var all sync.WaitGroup
			for _, content := range []string{"1", "2", "3"} {
				first, err := Create(a)
				if err != nil {
					t.Fatal(err)
				}
				second, err := Create(b)
				if err != nil {
					t.Fatal(err)
				}
				first.WriteString(content)
				second.WriteString(content)
				all.Go(func() {
					<-begin
					if err := CommitBoth(first, second); err != nil {
						t.Error(err)
					}
				})
			}
			close(begin)
			all.Wait()
			one, _ := os.ReadFile(a)
			other, err := os.ReadFile(b)
			if err != nil || string(one) != string(other) {
				t.Fatalf("a holds %q and b %q (%v)", one, other, err)
			}
		}
		if got := names(t, dir); got != "a b" {
			t.Errorf("directory holds %q", got)
		}
	})
}

// TestCommitAllGivesBackAllNames makes the last of three files fail.
func TestCommitAllGivesBackAllNames(t *testing.T) {
	both(t, func(t *testing.T) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o600)
		var files []*File
		for _, name := range []string{"a", "b", "c"} {
			f, err := Create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("new")
			files = append(files, f)
		}
		os.MkdirAll(filepath.Join(dir, "c", "in the way"), 0o755)
		if err := CommitAll(files...); err == nil {
			t.Fatal("CommitAll succeeded")
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "a")); string(got) != "old" {
			t.Errorf("the first file is %q", got)
		}
		os.RemoveAll(filepath.Join(dir, "c"))
		if got := names(t, dir); got != "a" {
			t.Errorf("the folder holds %q", got)
		}
	})
}

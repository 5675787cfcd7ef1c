package outfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func folder(t *testing.T, path, content string) *Folder {
	t.Helper()
	f, err := CreateFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Root.WriteFile("x", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFolderAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for _, how := range []string{"exchange", "two renames"} {
		for _, content := range []string{"first", "second"} { // the second replaces the first
			f := folder(t, path, content)
			if f.Path("x") == filepath.Join(path, "x") {
				t.Error("it has its name before it is complete")
			}
			if how == "two renames" {
				swap = func(string, string) error { return errors.ErrUnsupported }
			}
			err := f.Commit()
			swap = exchange
			if err != nil {
				t.Fatal(err)
			}
			f.Abort() // does nothing
			if got, _ := os.ReadFile(filepath.Join(path, "x")); string(got) != content || names(t, dir) != "out" {
				t.Errorf("%s: %q, and %s", how, got, names(t, dir))
			}
		}
	}
	f := folder(t, path, "third")
	f.Abort()
	if got, _ := os.ReadFile(filepath.Join(path, "x")); string(got) != "second" || names(t, dir) != "out" {
		t.Errorf("after Abort: %q, and %s", got, names(t, dir))
	}
}

func TestHiddenFoldersOfTheDeadAreSwept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	dead := TempPrefix(path) + "0123456789abcdef"
	if err := os.MkdirAll(filepath.Join(dead, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	alive := folder(t, path, "alive")
	if _, err := os.Stat(dead); err == nil {
		t.Error("the folder of a dead process is there still")
	}
	other := folder(t, path, "other")
	if _, err := os.Stat(alive.Path("x")); err != nil {
		t.Errorf("a living process has lost its folder: %v", err)
	}
	alive.Abort()
	other.Abort()
	if got := names(t, dir); got != "" {
		t.Errorf("left %s", got)
	}
}

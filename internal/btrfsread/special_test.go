package btrfsread

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

func TestADirectoryOf20000Names(t *testing.T) {
	img, want := makeImage(t, 256<<20, "-m single", "", func(dir string) {
		for i := range 20000 {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644))
		}
	})
	f := openFile(t, img)
	compare(t, want, factsOf(t, f))
	sound(t, f)
}

func TestASubvolumeInsideIsRefused(t *testing.T) {
	testneed.Tool(t, "btrfs")
	img := filepath.Join(fastDir(t), "img")
	makeInto(t, img, "", func(dir string) {
		if out, err := exec.Command("btrfs", "subvolume", "create", filepath.Join(dir, "inner")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	err := openFile(t, img).Walk(func(string, *Inode) error { return nil })
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `"inner": it is a subvolume`) {
		t.Error(err)
	}
}

func TestLzoIsRefusedWhenItIsRead(t *testing.T) {
	img := filepath.Join(fastDir(t), "img")
	makeInto(t, img, "compress-force=lzo", func(dir string) {
		write(t, filepath.Join(dir, "f"), bytes.Repeat([]byte("text "), 10000))
	})
	err := openFile(t, img).Walk(func(_ string, in *Inode) error {
		if in.Type != TypeFile {
			return nil
		}
		r, err := in.Open()
		if err == nil {
			_, err = r.ReadAt(make([]byte, 10), 0)
		}
		return err
	})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "compressed with lzo") {
		t.Error(err)
	}
}

// makeInto is makeImage without the kernel's view.
func makeInto(t testing.TB, img, mount string, fill func(dir string)) {
	t.Helper()
	made, _ := makeImage(t, 128<<20, "-m single", mount, fill)
	must(t, os.Rename(made, img))
}

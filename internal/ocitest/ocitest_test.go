package ocitest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// everywhere puts one image everywhere and returns all the bytes.
func everywhere(t *testing.T) [][]byte {
	t.Helper()
	im := Build(t, Spec{
		Created: time.Unix(1, 0).UTC(),
		Layers: []Layer{
			{Entries: []Entry{File("a", "1"), File("b", "2")}},
			{Entries: []Entry{File("a", "3")}, Compression: Zstd},
			{Entries: []Entry{File("a", "3")}, Compression: Plain},
		},
	})
	index := Index(t, nil, im, Build(t, Spec{Platform: "linux/arm64/v8"}))
	dir := t.TempDir()
	OCIArchive(t, filepath.Join(dir, "oci.tar"), map[string]*Image{"a": im, "b": index, "": im})
	for i, style := range []Style{Modern, Legacy, Compressed} {
		DockerArchive(t, filepath.Join(dir, string(rune('0'+i))+".tar"), style, map[string]*Image{"a:1": im, "b:1": im})
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := [][]byte{im.Raw, im.Config, index.Raw}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func TestBytesDependOnTheArgumentsAlone(t *testing.T) {
	first := everywhere(t)
	if len(first) != 7 {
		t.Fatalf("%d files, want 7", len(first))
	}
	for range 5 {
		for i, b := range everywhere(t) {
			if !bytes.Equal(b, first[i]) {
				t.Errorf("file %d differs from run to run", i)
			}
		}
	}
}

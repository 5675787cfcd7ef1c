package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/ext4read"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// TestScale builds an image of 127 layers with 200,000 inodes, 100,000 of them in
// one directory, and a sparse file of 5 GiB, in bounded memory.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: makes 200,000 files and measures memory; run without -short")
	}
	dir := project(t, "oci:layout:1", "[workload]\nentrypoint = [\"/layer-1\"]\n[filesystem]\nsize_buffer_mb = 0\n")
	spec := ocitest.Spec{Layers: []ocitest.Layer{{Tar: manyFiles(t)}, {Tar: sparseFile(t), Compression: ocitest.Zstd}}}
	for i := len(spec.Layers); i < 127; i++ {
		spec.Layers = append(spec.Layers, ocitest.Layer{Entries: []ocitest.Entry{
			{Header: tar.Header{Name: fmt.Sprintf("layer-%d", i%5), Mode: 0o755}, Body: string(executable()) + fmt.Sprint(i)},
			ocitest.File(fmt.Sprintf("large/.wh.%06d", i), ""),
		}})
	}
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": ocitest.Build(t, spec)})
	peak := runAndWatch(t, command(t, dir, "build", "-q", "-o", "x.img", "--cache-dir", "none"))
	t.Logf("peak memory %d MiB", peak>>20)
	if limit := int64(96<<20 + 200_000*1024); peak > limit {
		t.Errorf("peak memory %d bytes, want at most %d", peak, limit)
	}
	f, err := os.Open(filepath.Join(dir, "x.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	img, err := ext4read.Open(f, info.Size(), ext4read.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	if err := img.Walk(func(string, *ext4read.Inode) error { names++; return nil }); err != nil {
		t.Fatal(err)
	}
	// ".", large, many and its 100 folders, sparse, lost+found, bin, bin/kestrel, five layer-N files;
	// the whiteouts of layers 2 to 126 took 125 files.
	if want := 200_000 - 125 + 1 + 2 + 100 + 1 + 1 + 2 + 5; names != want {
		t.Errorf("%d names in the image, want %d", names, want)
	}
	sparse, err := img.Lookup("sparse")
	if err != nil || sparse.Size != 5<<30 || sparse.Blocks*512 > 1<<20 {
		t.Errorf("sparse: %+v, %v", sparse, err)
	}
	if e2fsck, err := testneed.Look("e2fsck"); err != nil {
		testneed.Missing(t, "e2fsck", "e2fsck not found")
	} else if out, err := exec.Command(e2fsck, "-fn", f.Name()).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// runAndWatch runs a command and returns the most memory it was seen to have
// resident, in bytes. The rusage of a child counts its parent's memory too, from
// the moment between fork and exec.
func runAndWatch(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var peak int64
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, &output)
			}
			return peak
		case <-time.After(10 * time.Millisecond):
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			for line := range strings.Lines(string(status)) {
				var kib int64
				if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
					peak = max(peak, kib<<10)
				}
			}
		}
	}
}

// manyFiles is a tar of 100,000 files in large/ and as many in 100 folders.
func manyFiles(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name, body string) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(body))
	}
	for i := range 100_000 {
		add(fmt.Sprintf("large/%06d", i), "small")
		add(fmt.Sprintf("many/%02d/%05d", i%100, i), "")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sparseFile is GNU tar's idea of a sparse file of 5 GiB with one word in it.
func sparseFile(t *testing.T) []byte {
	t.Helper()
	testneed.Tool(t, "tar")
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("word"), 3<<30)
	if err := f.Truncate(5 << 30); err != nil {
		t.Fatal(err)
	}
	f.Close()
	out, err := exec.Command("tar", "--sparse", "--format=pax", "-C", dir, "-c", "sparse").Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok && strings.Contains(string(e.Stderr), "sparse") {
			testneed.Missing(t, "tar", "tar cannot write sparse files: "+string(e.Stderr))
		}
		t.Fatal(err)
	}
	return out
}

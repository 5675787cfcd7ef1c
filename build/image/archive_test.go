package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// dockerTar opens a docker archive made of entries.
func dockerTar(t testing.TB, entries ...ocitest.Entry) (*Image, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, ocitest.Tar(t, entries...), 0o600); err != nil {
		t.Fatal(err)
	}
	im, err := Open(t.Context(), "docker-archive:"+file, Options{})
	if err == nil {
		t.Cleanup(func() { _ = im.Close() })
	}
	return im, err
}

func link(kind byte, name, target string) ocitest.Entry {
	return ocitest.Entry{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target}}
}

func TestDockerArchiveLinks(t *testing.T) {
	layer := string(ocitest.Tar(t, ocitest.File("f", "x")))
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q,%[1]q]}}`, ocitest.Digest([]byte(layer)))
	manifest := ocitest.File("manifest.json", `[{"Config":"c.json","Layers":["a/layer.tar","b/layer.tar"]}]`)
	tests := []struct {
		name  string
		links []ocitest.Entry
		want  string
	}{
		{"symlink, as docker save wrote", []ocitest.Entry{link(tar.TypeSymlink, "b/layer.tar", "../a/layer.tar")}, ""},
		{"hard link", []ocitest.Entry{link(tar.TypeLink, "b/layer.tar", "a/layer.tar")}, ""},
		{"link before its target, and a chain", []ocitest.Entry{link(tar.TypeSymlink, "b/layer.tar", "../c"), link(tar.TypeSymlink, "c", "a/layer.tar")}, ""},
		{"two entries of a name", []ocitest.Entry{ocitest.File("b/layer.tar", "the later counts"), link(tar.TypeLink, "./b/layer.tar", "a/layer.tar")}, ""},
		{"loop", []ocitest.Entry{link(tar.TypeSymlink, "b/layer.tar", "layer.tar")}, "more than 8 links"},
		{"out of the archive", []ocitest.Entry{link(tar.TypeSymlink, "b/layer.tar", "../../../../etc/passwd")}, `"etc/passwd" in the archive: file does not exist`},
		{"absolute", []ocitest.Entry{link(tar.TypeSymlink, "b/layer.tar", "/etc/passwd")}, `in the archive: file does not exist`},
		{"missing", nil, `"b/layer.tar" in the archive: file does not exist`},
	}
	for _, test := range tests {
		entries := append(test.links, manifest, ocitest.File("c.json", config), ocitest.File("a/layer.tar", layer))
		im, err := dockerTar(t, entries...)
		if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for _, raw := range topDown(t, im) {
			if string(raw) != layer {
				t.Errorf("%s: a layer differs", test.name)
			}
		}
	}
}

func TestDockerArchivesThatAreRefused(t *testing.T) {
	good := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`
	tests := []struct {
		name    string
		entries []ocitest.Entry
		want    string
	}{
		{"config under a wrong digest", []ocitest.Entry{
			ocitest.File("manifest.json", fmt.Sprintf(`[{"Config":"%064d.json"}]`, 0)), ocitest.File(fmt.Sprintf("%064d.json", 0), good),
		}, "does not match"},
		{"more layers than diffIDs", []ocitest.Entry{
			ocitest.File("manifest.json", `[{"Config":"c","Layers":["l"]}]`), ocitest.File("c", good), ocitest.File("l", ""),
		}, "1 layers, but the config has 0"},
		{"no config", []ocitest.Entry{ocitest.File("manifest.json", `[{"Config":"c"}]`)}, "reading config"},
		{"manifest.json of another kind", []ocitest.Entry{ocitest.File("manifest.json", `{}`)}, "reading manifest.json"},
		{"manifest.json past the limit", []ocitest.Entry{ocitest.File("manifest.json", strings.Repeat(" ", MaxDocument+1))}, "limit of 4194304"},
		{"long name", []ocitest.Entry{ocitest.File(strings.Repeat("n", maxEntryName+1), "")}, "limit of 1024 bytes"},
		{"no images", []ocitest.Entry{ocitest.File("manifest.json", `[]`)}, "holds 0 images"},
	}
	for _, test := range tests {
		if _, err := dockerTar(t, test.entries...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := dockerTar(t, ocitest.File("manifest.json", `[{"Config":"c"}]`), ocitest.File("c", good), ocitest.File(strings.Repeat("n", maxEntryName), "")); err != nil {
		t.Errorf("name at the limit: %v", err)
	}
}

func TestSparseArchiveEntriesAreRefused(t *testing.T) {
	// GNU tar's 1.0 format, by hand: archive/tar does not write it. The PAX
	// records go before the entry they are about.
	var pax strings.Builder
	for _, record := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=layer", "GNU.sparse.realsize=1024"} {
		fmt.Fprintf(&pax, "%d %s\n", len(record)+len("00 \n"), record)
	}
	raw := ocitest.Tar(t,
		ocitest.File("PaxHeaders.0/layer", pax.String()),
		ocitest.File("layer", "1\n0\n0\n"+strings.Repeat("\x00", 506)))
	raw[156] = 'x' // the first header's type flag, and its checksum
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	_, err := indexArchive(bytes.NewReader(raw))
	if err == nil || !strings.Contains(err.Error(), `"layer" is sparse`) {
		t.Errorf("%v, want sparse refused", err)
	}
}

func TestArchiveEntriesAreLimited(t *testing.T) {
	entries := make([]ocitest.Entry, maxArchiveEntries)
	for i := range entries {
		entries[i] = ocitest.File(fmt.Sprintf("%d", i), "")
	}
	raw := ocitest.Tar(t, entries...)
	if _, err := indexArchive(bytes.NewReader(raw)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	raw = ocitest.Tar(t, append(entries, ocitest.File("one more", ""))...)
	if _, err := indexArchive(bytes.NewReader(raw)); err == nil || !strings.Contains(err.Error(), "limit of 20000") {
		t.Errorf("past the limit: %v", err)
	}
}

func TestTruncatedArchivesAreRefused(t *testing.T) {
	im := sample(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "a.tar")
	ocitest.DockerArchive(t, file, ocitest.Legacy, map[string]*ocitest.Image{"app:1": im})
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []int{0, 100, 512, 700, len(raw) / 2} {
		if err := os.WriteFile(file, raw[:keep], 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"docker-archive:", "oci-archive:"} {
			if im, err := Open(t.Context(), kind+file, Options{}); err == nil {
				_ = im.Close()
				t.Errorf("%s with %d of %d bytes opens", kind, keep, len(raw))
			}
		}
	}
}

func TestSpooledArchiveIsLimited(t *testing.T) {
	dir, _ := sources(t, sample(t))
	info, err := os.Stat(filepath.Join(dir, "modern.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"modern.tar.gz", "modern.tar.zst"} {
		im, err := Open(t.Context(), "docker-archive:"+name, Options{Dir: dir, MaxLayerBytes: info.Size()})
		if err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		} else {
			_ = im.Close()
		}
		_, err = Open(t.Context(), "docker-archive:"+name, Options{Dir: dir, MaxLayerBytes: info.Size() - 1})
		if err == nil || !strings.Contains(err.Error(), "archive is larger than the limit") {
			t.Errorf("%s past the limit: %v", name, err)
		}
	}
}

func TestNothingButRegularFilesIsOpened(t *testing.T) {
	im := sample(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		testneed.Missing(t, "fifo", err.Error())
	}
	for _, ref := range []string{"docker-archive:fifo", "oci-archive:fifo", "oci-archive:."} {
		if _, err := Open(t.Context(), ref, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, name := range []string{"index.json", "blobs/sha256/" + strings.TrimPrefix(im.Digest(), "sha256:")} {
		layout := t.TempDir()
		ocitest.Layout(t, layout, map[string]*ocitest.Image{"": im})
		if err := os.Remove(filepath.Join(layout, name)); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(layout, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), "oci:"+layout, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLayoutLinksCannotLeadOut(t *testing.T) {
	im := sample(t)
	layout, outside := t.TempDir(), t.TempDir()
	ocitest.Layout(t, layout, map[string]*ocitest.Image{"": im})
	blob := filepath.Join(layout, "blobs/sha256", strings.TrimPrefix(ocitest.Digest(im.Blobs[0]), "sha256:"))
	moved := filepath.Join(outside, "blob")
	if err := os.Rename(blob, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(moved, blob); err != nil {
		t.Fatal(err)
	}
	if _, err := readLayer(mustOpen(t, "oci:"+layout, Options{}).Layers[0]); err == nil {
		t.Error("a blob outside of the layout is read through a link")
	}
}

// daemon listens on a Unix socket as Docker does and saves one archive.
func daemon(t *testing.T, archive string) (host string, paths *[]string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	paths = new([]string)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		*paths = append(*paths, req.URL.Path)
		if !strings.Contains(req.URL.Path, "app:1") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		http.ServeFile(w, req, archive)
	})}
	go srv.Serve(l) // it ends with Close
	t.Cleanup(func() { _ = srv.Close() })
	return "unix://" + socket, paths
}

func TestDockerDaemon(t *testing.T) {
	im := sample(t)
	file := filepath.Join(t.TempDir(), "a.tar")
	ocitest.DockerArchive(t, file, ocitest.Modern, map[string]*ocitest.Image{"team/app:1": im})
	host, paths := daemon(t, file)
	got := mustOpen(t, "docker-daemon:team/app:1", Options{DockerHost: host})
	if got.ConfigDigest != im.ConfigDigest() || got.Name != "app" || got.Tag != "1" {
		t.Errorf("config %s, name %q, tag %q", got.ConfigDigest, got.Name, got.Tag)
	}
	for i, raw := range topDown(t, got) {
		if !bytes.Equal(raw, im.Tars[i]) {
			t.Errorf("layer %d differs", i)
		}
	}
	if (*paths)[0] != "/images/team/app:1/get" {
		t.Errorf("asked for %q", *paths)
	}
	// For a name alone the daemon would send every tag of it.
	for ref, want := range map[string]string{
		"team/app": "team/app:latest", "localhost:5000/team/app": "localhost:5000/team/app:latest", "team/app:1": "team/app:1",
		"team/app@" + ocitest.Digest(nil): "team/app@" + ocitest.Digest(nil),
		ocitest.Digest(nil):               ocitest.Digest(nil),
	} {
		*paths = nil
		im, err := Open(t.Context(), "docker-daemon:"+ref, Options{DockerHost: host})
		if err == nil {
			_ = im.Close()
		}
		if len(*paths) != 1 || (*paths)[0] != "/images/"+want+"/get" {
			t.Errorf("%s: asked for %q, want %q", ref, *paths, want)
		}
	}
	_, err := Open(t.Context(), "docker-daemon:other:2", Options{DockerHost: host})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "run: docker pull other:2") {
		t.Errorf("missing image: %v", err)
	}
	_, err = Open(t.Context(), "docker-daemon:app:1", Options{DockerHost: "unix:///nowhere.sock"})
	if err == nil || !strings.Contains(err.Error(), "is it running") {
		t.Errorf("no daemon: %v", err)
	}
	_, err = Open(t.Context(), "docker-daemon:app:1", Options{DockerHost: "tcp://127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "only unix:///PATH") {
		t.Errorf("tcp: %v", err)
	}
	info, _ := os.Stat(file)
	_, err = Open(t.Context(), "docker-daemon:app:1", Options{DockerHost: host, MaxLayerBytes: info.Size() - 1})
	if err == nil || !strings.Contains(err.Error(), "archive is larger than the limit") {
		t.Errorf("past the limit: %v", err)
	}
}

// archiveSeeds are docker archives for the fuzzer, whole and damaged.
func archiveSeeds(t testing.TB) [][]byte {
	var seeds [][]byte
	for _, style := range []ocitest.Style{ocitest.Modern, ocitest.Legacy, ocitest.Compressed} {
		file := filepath.Join(t.TempDir(), "a.tar")
		im := ocitest.Build(t, ocitest.Spec{Layers: []ocitest.Layer{
			{Entries: []ocitest.Entry{ocitest.File("a", "b")}},
			{Entries: []ocitest.Entry{ocitest.File("a", "b")}},
		}})
		ocitest.DockerArchive(t, file, style, map[string]*ocitest.Image{"app:1": im})
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, raw)
	}
	return seeds
}

// openBytes opens a docker archive in memory.
func openBytes(raw []byte) (*Image, error) {
	entries, err := indexArchive(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	a := &archive{tar: bytes.NewReader(raw), entries: entries, closer: io.NopCloser(nil)}
	return fromDockerArchive(a, "", Platform{OS: "linux", Architecture: "amd64"}, Options{MaxLayerBytes: 1 << 20})
}

func FuzzDockerArchive(f *testing.F) {
	for _, seed := range archiveSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		im, err := openBytes(raw)
		if err != nil {
			return
		}
		for _, l := range im.Layers {
			blob, err := l.blob(context.Background())
			if err != nil {
				continue
			}
			// Without the stream's goroutines, whose order the fuzzer would
			// take for news.
			b, _ := io.ReadAll(&inflater{in: bufio.NewReader(blob), left: l.limit, limit: l.limit})
			if int64(len(b)) > l.limit {
				t.Errorf("%d bytes come out of a layer", len(b))
			}
		}
	})
}

func TestFuzzSeedsReachTheLayers(t *testing.T) {
	for i, seed := range archiveSeeds(t) {
		im, err := openBytes(seed)
		if err != nil || len(im.Layers) != 2 {
			t.Errorf("seed %d: %v", i, err)
			continue
		}
		topDown(t, im)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"nginx:alpine", "docker://a/b@sha256:" + strings.Repeat("0", 64), "oci:x:y", "docker-archive:a:b:c", "docker-daemon:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		r, err := Parse(ref)
		if err != nil {
			return
		}
		if r.Name == "" || r.Kind == "" {
			t.Errorf("Parse(%q) = %+v", ref, r)
		}
		again, err := Parse(r.String())
		if err != nil || again.Name != r.Name || again.Tag != r.Tag || again.Kind != r.Kind {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", r, again, err, r)
		}
	})
}

func FuzzManifest(f *testing.F) {
	im := ocitest.Build(f, ocitest.Spec{Layers: []ocitest.Layer{{Tar: []byte("x")}}})
	f.Add(im.Raw)
	f.Add(ocitest.Index(f, nil, im).Raw)
	f.Add(im.Config)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, index, err := parseManifest(raw)
		if err == nil && (m == nil) == (index == nil) {
			t.Errorf("manifest %v, index %v", m, index)
		}
		if index != nil {
			_, _, _ = pick(index, Platform{OS: "linux", Architecture: "amd64"})
		}
		_, _, _ = fromConfig(raw, Platform{OS: "linux", Architecture: "amd64"})
	})
}

func TestSpoolLeavesNoFile(t *testing.T) {
	dir, _ := sources(t, sample(t))
	temp := t.TempDir()
	im := mustOpen(t, "docker-archive:modern.tar.gz", Options{Dir: dir, TempDir: temp})
	names, err := os.ReadDir(temp)
	if err != nil || len(names) != 0 {
		t.Errorf("%d names in the temporary folder while an archive is open, %v", len(names), err)
	}
	topDown(t, im)
}

package initramfs

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

var update = flag.Bool("update", false, "rewrite golden files")

// extract unpacks an archive with a program and returns what the kernel finds.
func extract(t *testing.T, data []byte, argv ...string) facts.Set {
	t.Helper()
	testneed.Tool(t, argv[0])
	testneed.Root(t)
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	set, err := facts.FromDir(t.Context(), dir, facts.Options{Content: true})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func diff(t *testing.T, want, got facts.Set, except ...facts.Field) {
	t.Helper()
	for _, line := range facts.Diff(want, got, facts.Fields(except...)...) {
		t.Error(line)
	}
}

func TestGNUCpioUnpacksTheTree(t *testing.T) {
	tr := sample(t)
	got := extract(t, archive(t, tr, Options{Compression: None}), "cpio", "-idmu", "--quiet")
	want := archived(t, tr)
	separate(want)
	// It leaves the mode of "." as it is, sets times of folders too early and those of links
	// not at all.
	for name, f := range got {
		if f.Type == "dir" || f.Type == "symlink" {
			f.Mtime = want[name].Mtime
		}
		if name == "." {
			f.Mode = want[name].Mode
		}
		got[name] = f
	}
	diff(t, want, got)
}

func TestBsdcpioUnpacksTheTree(t *testing.T) {
	tr := sample(t)
	got := extract(t, archive(t, tr, Options{Compression: None}), "bsdcpio", "-idmu", "--quiet")
	want := archived(t, tr)
	touch(want, got)
	diff(t, want, got)
}

// touch makes the time of "." that of got: bsdcpio does not set it.
func touch(want, got facts.Set) {
	f := want["."]
	f.Mtime = got["."].Mtime
	want["."] = f
}

// separate makes every name of a symlink an inode of its own.
func separate(s facts.Set) {
	for name, f := range s {
		if f.Type == "symlink" {
			f.Links, f.LinkGroup = 1, nil
			s[name] = f
		}
	}
}

// The list is read by people: a change of it is a change of every archive.
func TestListing(t *testing.T) {
	testneed.Tool(t, "cpio")
	cmd := exec.CommandContext(t.Context(), "cpio", "-tv", "--quiet", "--numeric-uid-gid")
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	tr := sample(t)
	if err := tr.Remove("longest link"); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(archive(t, tr, Options{Compression: None}))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/listing.golden", strings.NewReplacer("\xff", `\xff`, "\xfe", `\xfe`).Replace(string(out)))
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (- old, + new):\n%s", path, d)
	}
}

// entry is one record as a reader by others sees it.
type entry struct {
	name  string
	mode  cpio.FileMode
	uid   int
	gid   int
	links int
	ino   int64
	mtime int64
	body  string
}

func readArchive(r io.Reader) ([]entry, error) {
	var all []entry
	c := cpio.NewReader(r)
	for {
		h, err := c.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(c)
		if err != nil {
			return nil, err
		}
		all = append(all, entry{h.Name, h.Mode, h.Uid, h.Guid, h.Links, h.Inode, h.ModTime.Unix(), h.Linkname + string(body)})
	}
}

// expected is what a reader has to see of a tree.
func expected(t testing.TB, tr *tree.Tree) []entry {
	var all []entry
	inode, last := map[*tree.Node]int64{}, map[*tree.Node]int{}
	for name, n := range tr.Walk() {
		if inode[n] == 0 {
			inode[n] = int64(len(inode) + 1)
		}
		e := entry{
			name: name, mode: cpio.FileMode(tree.UnixMode(n.Mode)), uid: int(n.UID), gid: int(n.GID),
			links: n.Links(), ino: inode[n], mtime: min(max(n.ModTime.Unix(), 0), 1<<32-1), body: n.Target,
		}
		if n.Mode.IsDir() {
			e.links = 2
			for _, c := range n.Children() {
				if c.Mode.IsDir() {
					e.links++
				}
			}
		}
		all = append(all, e)
		last[n] = len(all) - 1
	}
	for n, i := range last {
		if n.Mode.IsRegular() && n.Content != nil {
			all[i].body = string(n.Content.(memory))
		}
	}
	return all
}

func TestAnotherReaderSeesTheTree(t *testing.T) {
	tr := sample(t)
	got, err := readArchive(bytes.NewReader(archive(t, tr, Options{Compression: None})))
	if err != nil {
		t.Fatal(err)
	}
	want := expected(t, tr)
	if len(want) < 50 {
		t.Fatalf("the sample has %d names", len(want))
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("record %d differs: %.300q, want %.300q", i, at(got, i), at(want, i))
		}
	}
	if !slices.IsSortedFunc(got, func(a, b entry) int { return strings.Compare(walkKey(a.name), walkKey(b.name)) }) {
		t.Error("the names are not sorted")
	}
}

// walkKey sorts parents before children and names by their components.
func walkKey(name string) string {
	if name == "." {
		return ""
	}
	return strings.ReplaceAll(name, "/", "\x00")
}

func at(all []entry, i int) any {
	if i < len(all) {
		return all[i]
	}
	return nil
}

func TestHardLinksOfSymlinksKeepTheirTarget(t *testing.T) {
	tr := tree.New()
	link := &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: "x"}
	put(t, tr, "a", link)
	put(t, tr, "b", link)
	data := archive(t, tr, Options{Compression: None})
	got, err := readArchive(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range got[1:] {
		if e.body != "x" || e.links != 2 || e.ino != 2 {
			t.Errorf("%+v", e)
		}
	}
	want := archived(t, tr)
	t.Run("bsdcpio", func(t *testing.T) { diff(t, want, extract(t, data, "bsdcpio", "-idmu", "--quiet"), facts.Mtime) })
	separate(want)
	t.Run("cpio", func(t *testing.T) { diff(t, want, extract(t, data, "cpio", "-idmu", "--quiet"), facts.Mtime) })
}

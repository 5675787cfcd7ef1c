package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type text string

func (s text) Size() int64                  { return int64(len(s)) }
func (s text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(s))), nil }

func dir() *Node           { return &Node{Mode: fs.ModeDir | 0o755} }
func file(c string) *Node  { return &Node{Mode: 0o644, Content: text(c)} }
func link(to string) *Node { return &Node{Mode: fs.ModeSymlink | 0o777, Target: to} }
func names(t *Tree) []string {
	var all []string
	for name := range t.Walk() {
		all = append(all, name)
	}
	return all
}

// build makes a tree from lines "name/", "name->target" and "name", with the
// parents they lack.
func build(t testing.TB, lines ...string) *Tree {
	t.Helper()
	tr := New()
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, "->")
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			if err := tr.MkdirAll(name[:i], *dir()); err != nil {
				t.Fatal(err)
			}
		}
		n := file(name)
		switch {
		case strings.HasSuffix(name, "/"):
			continue
		case isLink:
			n = link(target)
		}
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// check makes sure of what must always hold: names are valid, links counts the
// names of each node, a directory has one name, nothing unlinked has children.
func check(t testing.TB, tr *Tree) {
	t.Helper()
	count := map[*Node]int{}
	last := ""
	for name, n := range tr.Walk() {
		if err := CheckName(name); err != nil {
			t.Fatalf("walk yields %q: %v", name, err)
		}
		if got, err := tr.Lookup(name); got != n || err != nil {
			t.Fatalf("Lookup(%q) = %p, %v; walk yields %p", name, got, err, n)
		}
		if !n.Mode.IsDir() && n.Len() != 0 {
			t.Fatalf("%q is no directory and has children", name)
		}
		if name == last {
			t.Fatalf("walk yields %q twice", name)
		}
		last = name
		count[n]++
	}
	for n, want := range count {
		if n.Links() != want || n.Mode.IsDir() && want != 1 {
			t.Fatalf("node of mode %v has %d names and says %d", n.Mode, want, n.Links())
		}
	}
}

func TestNewHasARootOnly(t *testing.T) {
	tr := New()
	if got := names(tr); !slices.Equal(got, []string{"."}) {
		t.Errorf("names %q", got)
	}
	r := tr.Root()
	if r.Mode != fs.ModeDir|0o755 || r.UID != 0 || r.GID != 0 || !r.ModTime.Equal(time.Unix(0, 0)) || r.Links() != 1 {
		t.Errorf("root %+v", r)
	}
	if n, err := tr.Lookup("."); n != r || err != nil {
		t.Errorf("Lookup(.) = %v, %v", n, err)
	}
	check(t, tr)
}

func TestPutReplacesOneNameOfAHardLink(t *testing.T) {
	tr := New()
	old := file("old")
	for _, name := range []string{"a", "b"} {
		if err := tr.Put(name, old); err != nil {
			t.Fatal(err)
		}
	}
	if old.Links() != 2 {
		t.Errorf("links = %d, want 2", old.Links())
	}
	young := file("new")
	if err := tr.Put("a", young); err != nil {
		t.Fatal(err)
	}
	if n, _ := tr.Lookup("b"); n != old || old.Links() != 1 {
		t.Errorf("b = %p with %d links, want the old inode with 1", n, old.Links())
	}
	if n, _ := tr.Lookup("a"); n != young {
		t.Error("a is not the new inode")
	}
	check(t, tr)
}

func TestPutOfTheSameNodeChangesNothing(t *testing.T) {
	tr := build(t, "d/f")
	for _, name := range []string{"d", "d/f"} {
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Put(name, n); err != nil {
			t.Errorf("putting %q where it is: %v", name, err)
		}
	}
	if got := names(tr); !slices.Equal(got, []string{".", "d", "d/f"}) {
		t.Errorf("names %q", got)
	}
	check(t, tr)
}

func TestPutReplacesAWholeSubtree(t *testing.T) {
	tr := build(t, "d/s/f", "d/g")
	shared, err := tr.Lookup("d/g")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("kept", shared); err != nil {
		t.Fatal(err)
	}
	inner, err := tr.Lookup("d/s/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("d", file("now a file")); err != nil {
		t.Fatal(err)
	}
	if got := names(tr); !slices.Equal(got, []string{".", "d", "kept"}) {
		t.Errorf("names %q", got)
	}
	if shared.Links() != 1 || inner.Links() != 0 {
		t.Errorf("links: %d of the node with another name, want 1; %d of the other, want 0", shared.Links(), inner.Links())
	}
	check(t, tr)
}

func TestPutOfANodeFromTheSubtreeItReplaces(t *testing.T) {
	tr := build(t, "d/f")
	f, err := tr.Lookup("d/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("d", f); err != nil {
		t.Fatal(err)
	}
	if got := names(tr); !slices.Equal(got, []string{".", "d"}) {
		t.Errorf("names %q", got)
	}
	check(t, tr)
}

func TestARemovedDirectoryCanBePutAgainEmpty(t *testing.T) {
	tr := build(t, "d/f")
	d, err := tr.Lookup("d")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Remove("d"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("e", d); err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("e/x", file("")); err != nil {
		t.Errorf("putting below it: %v", err)
	}
	if got := names(tr); !slices.Equal(got, []string{".", "e", "e/x"}) {
		t.Errorf("names %q", got)
	}
	check(t, tr)
}

func TestPutRefuses(t *testing.T) {
	tests := []struct {
		name string
		put  string
		node func(*Tree) *Node
		want error
	}{
		{"the root", ".", func(*Tree) *Node { return dir() }, ErrName},
		{"an invalid name", "a//b", func(*Tree) *Node { return file("") }, ErrName},
		{"a missing parent", "x/y", func(*Tree) *Node { return file("") }, ErrNotExist},
		{"a parent that is a file", "f/y", func(*Tree) *Node { return file("") }, ErrNotDir},
		{"a parent that is a link to a directory", "l/y", func(*Tree) *Node { return file("") }, ErrNotDir},
		{"a second name of a directory", "e", func(t *Tree) *Node { n, _ := t.Lookup("d"); return n }, nil},
		{"a directory below itself", "d/e", func(t *Tree) *Node { n, _ := t.Lookup("d"); return n }, nil},
		{"the root below itself", "d/e", func(t *Tree) *Node { return t.Root() }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := build(t, "d/", "f", "l->d")
			n := tt.node(tr)
			links := n.Links()
			before := names(tr)
			err := tr.Put(tt.put, n)
			if err == nil {
				t.Fatal("no error") // and perhaps a tree that a walk does not come to the end of
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.put)) {
				t.Errorf("error %v, want %v that names %q", err, tt.want, tt.put)
			}
			if got := names(tr); !slices.Equal(got, before) || n.Links() != links {
				t.Errorf("the tree had %q, now %q; links %d, now %d", before, got, links, n.Links())
			}
			check(t, tr)
		})
	}
}

func TestRemove(t *testing.T) {
	tr := build(t, "d/s/f", "d/g", "h", "l->d")
	shared, err := tr.Lookup("d/g")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("other", shared); err != nil {
		t.Fatal(err)
	}
	if err := tr.Remove("d"); err != nil {
		t.Fatal(err)
	}
	if got := names(tr); !slices.Equal(got, []string{".", "h", "l", "other"}) {
		t.Errorf("names %q", got)
	}
	if shared.Links() != 1 {
		t.Errorf("the other name's node has %d links, want 1", shared.Links())
	}
	check(t, tr)
	for name, want := range map[string]error{".": ErrName, "": ErrName, "gone": ErrNotExist, "gone/x": ErrNotExist, "h/x": ErrNotDir, "l/s": ErrNotDir} {
		if err := tr.Remove(name); !errors.Is(err, want) {
			t.Errorf("Remove(%q): %v, want %v", name, err, want)
		}
	}
}

func TestLookupNeverFollowsLinks(t *testing.T) {
	tr := build(t, "d/f", "l->d", "m->d/f")
	for name, want := range map[string]error{"l/f": ErrNotDir, "d/f/x": ErrNotDir, "x": ErrNotExist, "d/x": ErrNotExist, "x/y": ErrNotExist, "/d": ErrName, "d/": ErrName, "d/..": ErrName, "": ErrName} {
		if n, err := tr.Lookup(name); n != nil || !errors.Is(err, want) {
			t.Errorf("Lookup(%q) = %v, %v, want %v", name, n, err, want)
		}
	}
	if n, err := tr.Lookup("m"); err != nil || n.Target != "d/f" {
		t.Errorf("Lookup(m) = %v, %v, want the link itself", n, err)
	}
}

func TestMkdirAll(t *testing.T) {
	tr := build(t, "have/f")
	old, err := tr.Lookup("have")
	if err != nil {
		t.Fatal(err)
	}
	old.Mode = fs.ModeDir | 0o700
	xattrs := map[string]string{"user.a": "b"}
	like := Node{Mode: 0o750 | fs.ModeSetgid | fs.ModeSticky, UID: 1, GID: 2, ModTime: time.Unix(3, 4), Xattrs: xattrs}
	if err := tr.MkdirAll("have/a/b", like); err != nil {
		t.Fatal(err)
	}
	if old.Mode != fs.ModeDir|0o700 || old.UID != 0 {
		t.Errorf("the directory that was there is now %+v", old)
	}
	for _, name := range []string{"have/a", "have/a/b"} {
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if n.Mode != fs.ModeDir|0o750|fs.ModeSetgid|fs.ModeSticky || n.UID != 1 || n.GID != 2 || !n.ModTime.Equal(time.Unix(3, 4)) || n.Xattrs["user.a"] != "b" {
			t.Errorf("%s is %+v", name, n)
		}
		n.Xattrs["user.a"] = "changed"
	}
	if xattrs["user.a"] != "b" {
		t.Error("directories share the xattrs they were made like")
	}
	if err := tr.MkdirAll(".", like); err != nil {
		t.Errorf("the root: %v", err)
	}
	check(t, tr)
}

func TestMkdirAllRefusesAndChangesNothing(t *testing.T) {
	for name, want := range map[string]error{
		"f": ErrNotDir, "f/a": ErrNotDir, "d/f/a/b": ErrNotDir, "l": ErrNotDir, "l/a": ErrNotDir, "new//b": ErrName, "new/../b": ErrName, "": ErrName, "/new": ErrName,
	} {
		tr := build(t, "f", "d/f", "l->d")
		before := names(tr)
		if err := tr.MkdirAll(name, *dir()); !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("MkdirAll(%q): %v, want %v", name, err, want)
		}
		if got := names(tr); !slices.Equal(got, before) {
			t.Errorf("MkdirAll(%q): names %q, now %q", name, before, got)
		}
	}
}

func TestWalkOrderIsThatOfBytesParentsFirst(t *testing.T) {
	// "a-b" sorts between "a" and "a/b" as a string, but not as a name below the root.
	lines := []string{"b", "a/b", "a-b", "a/a/z", "A", "\xff", "\u00e9", "a.b/x", "a/-"}
	want := []string{".", "A", "a", "a/-", "a/a", "a/a/z", "a/b", "a-b", "a.b", "a.b/x", "b", "\u00e9", "\xff"}
	sortNames := func(names []string) []string { // by components, as the tree does
		slices.SortFunc(names, func(a, b string) int {
			return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
		})
		return names
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rnd.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		if diff := cmp.Diff(sortNames(slices.Clone(want)), names(build(t, lines...))); diff != "" {
			t.Fatalf("order (-want +got):\n%s", diff)
		}
	}
}

func TestWalkYieldsEveryNameOfAHardLink(t *testing.T) {
	tr := build(t, "a", "d/")
	n, err := tr.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("d/b", n); err != nil {
		t.Fatal(err)
	}
	if got := names(tr); !slices.Equal(got, []string{".", "a", "d", "d/b"}) {
		t.Errorf("names %q", got)
	}
}

func TestWalkCanStopAndTheTreeCanChangeMeanwhile(t *testing.T) {
	tr := build(t, "a/x", "b/y", "c")
	var got []string
	for name := range tr.Walk() {
		if got = append(got, name); name == "a/x" {
			break
		}
	}
	if !slices.Equal(got, []string{".", "a", "a/x"}) {
		t.Errorf("names until the break: %q", got)
	}
	got = nil
	for name := range tr.Walk() {
		got = append(got, name)
		switch name {
		case "a":
			if err := tr.Remove("b"); err != nil {
				t.Fatal(err)
			}
			if err := tr.Put("d", file("")); err != nil {
				t.Fatal(err)
			}
		case "c":
			if err := tr.Remove("c"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(got, []string{".", "a", "a/x", "c"}) {
		t.Errorf("names while changing: %q", got)
	}
	check(t, tr)
}

func TestChildren(t *testing.T) {
	tr := build(t, "d/b", "d/a/x")
	d, err := tr.Lookup("d")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for base := range d.Children() {
		got = append(got, base)
	}
	if !slices.Equal(got, []string{"a", "b"}) || d.Len() != 2 || d.Child("b") == nil || d.Child("x") != nil {
		t.Errorf("children %q, Len %d", got, d.Len())
	}
	f := d.Child("b")
	for base := range f.Children() {
		t.Errorf("a file has the child %q", base)
	}
	if f.Child("x") != nil || f.Len() != 0 {
		t.Error("a file has children")
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		node *Node
		want int64
	}{
		{file("hello"), 5},
		{&Node{Mode: 0o644}, 0},
		{link("12345678"), 8},
		{dir(), 0},
		{&Node{Mode: fs.ModeNamedPipe}, 0},
		{&Node{Mode: fs.ModeSymlink, Content: text("ignored"), Target: "x"}, 1},
	} {
		if got := tt.node.Size(); got != tt.want {
			t.Errorf("size of %v = %d, want %d", tt.node.Mode, got, tt.want)
		}
	}
}

func TestCheckName(t *testing.T) {
	long := strings.Repeat("x", MaxComponent)
	deep := strings.Repeat(long+"/", 15) + strings.Repeat("y", MaxComponent) // 4095 bytes
	good := []string{".", "a", "a/b", "...", "..a", "a..b", ".a", " ", "\n", "\xff\xfe", "a\\b", long, "a/" + long, deep}
	bad := []string{"", "/", "/a", "a/", "a//b", "..", "../a", "a/..", "a/../b", "./a", "a/.", "a/./b", "a\x00b", "\x00", long + "x", "a/" + long + "x", deep + "y", "a/" + deep}
	for _, name := range good {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%.40q of %d bytes): %v", name, len(name), err)
		}
	}
	for _, name := range bad {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%.40q of %d bytes): %v, want ErrName", name, len(name), err)
		}
	}
	if len(deep) != MaxName {
		t.Errorf("the longest name has %d bytes, want %d", len(deep), MaxName)
	}
}

// FuzzTree applies a program of puts, removals, directories and hard links to a
// tree. After every step the tree must be whole, and unchanged if the step failed.
func FuzzTree(f *testing.F) {
	f.Add("pa|pa/b|ma/b/c|pa/b/c/d|ha/b/c/d=x|ra/b|px")
	f.Add("ma|mb|ma/b|ha=b|ra|pa/b")
	f.Add("p.|r.|m.|p..|ma//b|p\xff|h\xff=a|ra")
	f.Fuzz(func(t *testing.T, program string) {
		tr := New()
		for op := range strings.SplitSeq(program, "|") {
			if op == "" {
				continue
			}
			before := names(tr)
			var err error
			switch arg := op[1:]; op[0] {
			case 'p':
				err = tr.Put(arg, file(arg))
			case 'm':
				err = tr.MkdirAll(arg, *dir())
			case 'r':
				err = tr.Remove(arg)
			case 'h':
				from, to, _ := strings.Cut(arg, "=")
				var n *Node
				if n, err = tr.Lookup(from); err == nil {
					err = tr.Put(to, n)
				}
			}
			check(t, tr)
			if err != nil && !slices.Equal(before, names(tr)) {
				t.Fatalf("%q failed and changed %q to %q: %v", op, before, names(tr), err)
			}
		}
	})
}

func TestUnixMode(t *testing.T) {
	for mode, want := range map[fs.FileMode]uint32{
		0o644:                  0o100644,
		fs.ModeSetuid | 0o755:  0o104755,
		fs.ModeSetgid | 0o750:  0o102750,
		fs.ModeDir | 0o755:     0o040755,
		fs.ModeSymlink | 0o777: 0o120777,
		fs.ModeDevice | 0o660:  0o060660,
		fs.ModeDevice | fs.ModeCharDevice | 0o600: 0o020600,
		fs.ModeNamedPipe | 0o600:                  0o010600,
		fs.ModeSocket | 0o600:                     0o140600,
		fs.ModeDir | fs.ModeSticky | 0o777:        0o041777,
	} {
		if got := UnixMode(mode); got != want {
			t.Errorf("UnixMode(%v) = %o, want %o", mode, got, want)
		}
	}
}

package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
)

// hostile is one image that means no good.
type hostile struct {
	name   string
	layers [][]byte // bottom first
	limits Limits

	// want is the tree in list's form where the image does no harm. Otherwise the
	// error has to wrap is (if set), to hold says, and to name the layer called in,
	// the top one by default, and the entry; without an entry it is the tar that
	// cannot be read.
	want      []string
	is        error
	says      string
	in, entry string

	alloc uint64 // bytes it may allocate in all; 0 means mostAlloc
}

// refused makes an expected error of a hostile image.
func refused(name, entry string, is error, says string, layers ...[]byte) hostile {
	return hostile{name: name, entry: entry, is: is, says: says, layers: layers}
}

// unreadable expects that the topmost tar cannot be read.
func unreadable(name string, layers ...[]byte) hostile {
	return hostile{name: name, says: "reading tar: ", layers: layers}
}

// harmless expects a tree, given as list shows it.
func harmless(name, want string, layers ...[]byte) hostile {
	h := hostile{name: name, want: []string{}, layers: layers}
	if want != "" {
		h.want = strings.Split(want, "\n")
	}
	return h
}

const (
	mostTime  = 30 * time.Second // a case takes milliseconds, on a loaded machine with the race detector too
	mostAlloc = 64 << 20         // bytes allocated in all by one case
)

// meter is a Sink that reads what it is given and keeps its size only.
type meter struct{ live int }

type measured int64

func (m measured) Size() int64                { return int64(m) }
func (measured) Open() (io.ReadCloser, error) { return nil, errors.New("not kept") }

func (m *meter) Store(size int64, r io.Reader) (tree.Content, error) {
	n, err := io.Copy(io.Discard, io.LimitReader(r, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	m.live++
	return measured(size), err
}

func (m *meter) Discard(tree.Content) error {
	m.live--
	return nil
}

// hostFiles is a folder of the host that nothing may touch. Its work folder is
// made the working directory, so that relative escapes find something too.
func hostFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range map[string]string{"etc/passwd": "root", "x": "x", "work/t": "t", "work/etc/passwd": "root", "work/a/x": "x", "bin/sh": "sh"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../etc", filepath.Join(dir, "work/l")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "work"))
	return dir
}

// snapshot tells everything of a folder that a stray write would change.
func snapshot(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(b)
		}
		out = append(out, fmt.Sprint(path, info.Mode(), info.ModTime().UnixNano(), content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSnapshotSeesAStrayWrite(t *testing.T) {
	dir := hostFiles(t)
	before := snapshot(t, dir)
	if cmp.Diff(before, snapshot(t, dir)) != "" {
		t.Fatal("the folder changes by itself")
	}
	if err := os.WriteFile("../etc/passwd", []byte("evil"), 0o644); err != nil {
		t.Fatal(err)
	}
	if cmp.Diff(before, snapshot(t, dir)) == "" {
		t.Error("a changed file was not seen")
	}
}

func TestFlattenHostileImages(t *testing.T) {
	host := hostFiles(t)
	before := snapshot(t, host)
	cases := slices.Concat(badNames(host), goodNames(host), links(host), loops(), parents(), roots(), whiteouts(), numbers(),
		truncated(), unknownTypes(), garbage(), headers(), depth(), limits(), sparseLies())
	if len(cases) < 200 {
		t.Errorf("%d cases, want 200 at least", len(cases))
	}
	seen := map[string]bool{}
	for _, test := range cases {
		if seen[test.name] {
			t.Errorf("two cases are called %q", test.name)
		}
		seen[test.name] = true
		t.Run(test.name, test.run)
	}
	if diff := cmp.Diff(before, snapshot(t, host)); diff != "" {
		t.Errorf("files of the host changed (-before +after):\n%s", diff)
	}
	t.Logf("%d cases", len(cases))
}

func (h hostile) run(t *testing.T) {
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	start := time.Now()
	tr, err := Flatten(t.Context(), layersOf(h.layers...), &meter{}, Options{Limits: h.limits})
	took := time.Since(start)
	runtime.ReadMemStats(&m1)
	if h.alloc == 0 {
		h.alloc = mostAlloc
	}
	if took > mostTime {
		t.Errorf("it took %v, the limit is %v", took, mostTime)
	}
	if n := m1.TotalAlloc - m0.TotalAlloc; n > h.alloc {
		t.Errorf("%d bytes were allocated, the limit is %d", n, h.alloc)
	}
	if h.want == nil {
		h.checkError(t, err)
		return
	}
	if err != nil {
		t.Fatalf("an image that does no harm was refused: %v", err)
	}
	if diff := cmp.Diff(h.want, sizes(tr)); diff != "" {
		t.Errorf("tree differs (-want +got):\n%s", diff)
	}
}

func (h hostile) checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	if h.is != nil && !errors.Is(err, h.is) {
		t.Errorf("error is not %q: %v", h.is, err)
	}
	if h.in == "" {
		h.in = fmt.Sprintf("layer-%d", len(h.layers)-1)
	}
	want := []string{"applying layer " + h.in + ": ", h.says}
	if h.entry != "" {
		want = append(want, "entry "+quoted(h.entry)+": ")
	}
	for _, s := range want {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error does not hold %q: %v", s, err)
		}
	}
	if len(err.Error()) > 40_000 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
}

// sizes is list with a file's length in place of its content, and devices shown.
func sizes(tr *tree.Tree) []string {
	out := []string{}
	first := map[*tree.Node]string{}
	for name, n := range tr.Walk() {
		if name == "." {
			continue
		}
		if f, ok := first[n]; ok {
			out = append(out, "= "+name+" "+f)
			continue
		}
		first[n] = name
		switch n.Mode.Type() {
		case fs.ModeDir:
			out = append(out, "d "+name)
		case fs.ModeSymlink:
			out = append(out, "l "+name+" "+n.Target)
		case 0:
			out = append(out, fmt.Sprintf("f %s %d", name, n.Size()))
		default:
			out = append(out, strings.TrimRight(n.Mode.Type().String(), "-")+" "+name)
		}
	}
	return out
}

// lines is a layer as build makes it.
func lines(s string) []byte { return build(panicking{}, s) }

// panicking stands in for a test where cases are only made.
type panicking struct{ testing.TB }

func (panicking) Helper()                      {}
func (panicking) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (panicking) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// kindsOf makes one entry of every kind for a name of any length.
func kindsOf(name string) map[string][]byte {
	path := slices.Clip(pax("path", name))
	return map[string][]byte{
		"file":        append(path, rawFile("n", "1")...),
		"old file":    append(path, rawFile("n", "1", put(offType, "\x00"), put(offMagic, magicGNU))...),
		"contiguous":  append(path, rawFile("n", "1", put(offType, "7"))...),
		"directory":   append(path, rawHeader('5', "n")...),
		"symlink":     append(path, rawHeader('2', "n", put(offLink, "t"))...),
		"hard link":   append(path, rawHeader('1', "n", put(offLink, "t"))...),
		"char device": append(path, rawHeader('3', "n")...),
		"block":       append(path, rawHeader('4', "n")...),
		"fifo":        append(path, rawHeader('6', "n")...),
		"gnu name":    append(meta('L', name+"\x00"), rawFile("n", "1", put(offMagic, magicGNU))...),
	}
}

const deepest = 4095 // bytes in a name

// nested is a name of exactly n bytes and as many components as that allows.
func nested(n int) string {
	return strings.Repeat("a/", (n-1)/2) + strings.Repeat("b", 1+(n-1)%2)
}

func badNames(host string) []hostile {
	long := strings.Repeat("n", 256)
	var out []hostile
	for _, name := range []string{
		"..", "../x", "/..", "/../x", "./../x", "a/..", "a/../x", "a/../../x", "a/b/../../../x", "//../x", "..//x", "a/./../x",
		"../../etc/passwd", "../t", "l/../../x", strings.Repeat("../", 1300) + "x", strings.Repeat("../", 60) + host[1:] + "/etc/passwd",
		long, "a/" + long, long + "/a", nested(deepest + 1), strings.Repeat("a/", 500_000) + "x",
	} {
		for kind, entry := range kindsOf(name) {
			out = append(out, refused(fmt.Sprintf("bad name/%s/%s", kind, quoted(name)), name, tree.ErrName, "", lines("d a"), archive(rawFile("t", ""), entry)))
		}
		dir, base := split(name)
		for kind, whiteout := range map[string]string{
			"whiteout of": join(dir, ".wh."+base), "whiteout in": name + "/.wh.x", "opaque": name + "/.wh..wh..opq",
		} {
			out = append(out, refused(fmt.Sprintf("bad name/%s/%s", kind, quoted(name)), whiteout, tree.ErrName, "",
				lines("d a\nf x 1"), archive(pax("path", whiteout), rawHeader('0', "w"))))
		}
	}
	return out
}

func goodNames(host string) []hostile {
	var out []hostile
	for name, want := range map[string]string{
		"/x": "x", "//x": "x", "./x": "x", "/./x/.": "x", "x/": "x", "././/x//": "x", "...": "...", "..x": "..x", "x..": "x..", "..\\..\\x": "..\\..\\x",
		"C:\\x": "C:\\x", " ": " ", "~": "~", "$(x)": "$(x)", "-": "-", "%2e%2e": "%2e%2e", "\u2025": "\u2025", "\uff0e\uff0e": "\uff0e\uff0e",
		strings.Repeat("n", 255): strings.Repeat("n", 255), strings.Repeat("./", 100_000) + "x": "x", ".wh": ".wh",
	} {
		for kind, entry := range kindsOf(name) {
			if kind == "old file" && strings.HasSuffix(name, "/") {
				continue // that is how old tars spell a directory
			}
			node := map[string]string{"directory": "d " + want, "symlink": "l " + want + " t", "char device": "Dc " + want, "block": "D " + want, "fifo": "p " + want}[kind]
			if node == "" {
				node = "f " + want + " 1"
			}
			all := []string{node, "f t 0"}
			slices.SortFunc(all, func(a, b string) int { return strings.Compare(a[strings.Index(a, " "):], b[strings.Index(b, " "):]) })
			if kind == "hard link" {
				all = []string{"f t 0", "= " + want + " t"}
				if want < "t" {
					all = []string{"f " + want + " 0", "= t " + want}
				}
			}
			out = append(out, harmless(fmt.Sprintf("good name/%s/%s", kind, quoted(name)), strings.Join(all, "\n"), archive(rawFile("t", ""), entry)))
		}
	}
	inside := strings.TrimPrefix(host, "/") + "/etc/passwd"
	var want []string
	for i := range len(inside) {
		if inside[i] == '/' {
			want = append(want, "d "+inside[:i])
		}
	}
	return append(out,
		harmless("good name/absolute name of a host file", strings.Join(append(want, "f "+inside+" 4"), "\n"), archive(rawFile(host+"/etc/passwd", "evil"))),
		harmless("good name/NUL ends a name in its field", "f a 0", archive(rawHeader('0', "a\x00/../../x"))),
		unreadable("bad name/NUL in a PAX name", archive(pax("path", "a\x00b"), rawHeader('0', "x"))),
		harmless("good name/NUL ends a GNU name", "f a 0", archive(meta('L', "a\x00/../x\x00"), rawHeader('0', "x", put(offMagic, magicGNU)))),
		harmless("good name/empty PAX name is no name", "f x 0", archive(pax("path", ""), rawHeader('0', "x"))),
		harmless("good name/empty GNU name is no name", "f x 0", archive(meta('L', "\x00"), rawHeader('0', "x", put(offMagic, magicGNU)))),
	)
}

func links(host string) []hostile {
	var out []hostile
	h := func(target string) []byte { return append(pax("linkpath", target), rawHeader('1', "h")...) }
	for _, target := range []string{"..", "../t", "/../t", "a/../t", "a/..", "../../../../etc/passwd", strings.Repeat("n", 256), nested(deepest + 1)} {
		out = append(out, refused("hard link/bad target "+quoted(target), "h", tree.ErrName, "hard link target", archive(rawFile("t", "1"), h(target))))
	}
	for _, target := range []string{"missing", host + "/etc/passwd", "/etc/passwd", "a/missing", "missing/t", "h/x", "t/x"} {
		is := tree.ErrNotExist
		if target == "t/x" {
			is = tree.ErrNotDir
		}
		out = append(out, refused("hard link/target not in the image "+quoted(target), "h", is, "hard link target", archive(rawFile("t", "1"), h(target))))
	}
	for _, target := range []string{"d", "d/", "/", ".", "./", "//", "l/d"} {
		out = append(out, refused("hard link/to a directory "+quoted(target), "h", nil, "it is a directory", lines("d d\nl l ."), archive(h(target))))
	}
	out = append(out,
		refused("hard link/to itself, missing", "h", tree.ErrNotExist, "hard link target", archive(h("h"))),
		harmless("hard link/to itself", "f h 1", archive(rawFile("h", "1"), h("h"))),
		harmless("hard link/to itself by another spelling", "f h 1", archive(rawFile("h", "1"), h("/.//h"))),
		harmless("hard link/to itself through a symlink", "f h 1\nl l .", lines("l l ."), archive(rawFile("h", "1"), h("l/h"))),
		harmless("hard link/to a symlink is another name of the symlink", "l h /etc/passwd\n= s h", lines("l s /etc/passwd"), archive(h("s"))),
		harmless("hard link/to a symlink to a directory", "d d\nl h d\n= s h", lines("d d\nl s d"), archive(h("s"))),
		harmless("hard link/through an absolute symlink stays inside", "d etc\nf etc/passwd 1\n= h etc/passwd\nl l /etc", lines("l l /etc\nf etc/passwd 1"), archive(h("l/passwd"))),
		harmless("hard link/through a symlink of dots stays inside", "f h 1\nl l ../../../..\n= t h", lines("l l ../../../..\nf t 1"), archive(h("l/t"))),
		harmless("hard link/to a FIFO", "p h\n= p h", lines("p p"), archive(h("p"))),
		harmless("hard link/replaces a directory that holds its target", "f h 1", lines("d h\nf h/t 1"), archive(h("h/t"))),
		refused("hard link/below its own target", "t/h", tree.ErrNotDir, "", lines("f t 1"), archive(rawHeader('1', "t/h", put(offLink, "t")))),
		refused("hard link/to what a whiteout of the layer removed", "h", tree.ErrNotExist, "hard link target", lines("f t 1"), archive(rawHeader('0', ".wh.t"), h("t"))),
		refused("hard link/without a target is to the root", "h", nil, "it is a directory", archive(rawHeader('1', "h"))),
		refused("symlink/without a target", "s", nil, "limits are 1 and 4095", archive(rawHeader('2', "s"))),
		harmless("symlink/longest target", "l s "+nested(deepest), archive(pax("linkpath", nested(deepest)), rawHeader('2', "s"))),
		refused("symlink/target one byte too long", "s", nil, "limits are 1 and 4095", archive(pax("linkpath", nested(deepest+1)), rawHeader('2', "s"))),
		unreadable("symlink/NUL in its target", archive(pax("linkpath", "a\x00b"), rawHeader('2', "s"))),
		harmless("symlink/NUL ends a target in its field", "l s a", archive(rawHeader('2', "s", put(offLink, "a\x00b")))),
	)
	// What goes through a symlink goes to the name below the root that a process
	// in the image would find.
	for target, dir := range map[string]string{
		"/": ".", "..": ".", "../../../../..": ".", "/..": ".", "/../..": ".", ".": ".", "/etc": "etc", "../../etc": "etc", "etc/../../../etc": "etc", "/../etc/.": "etc",
		"//etc//": "etc", "./../etc": "etc",
	} {
		link, x := "l l "+target, "f "+join(dir, "x")
		with := func(file string) string { return "d " + dir + "\n" + file + "\n" + link }
		without := "d " + dir + "\n" + link
		if dir == "." {
			with = func(file string) string { return link + "\n" + file }
			without = link
		}
		out = append(out,
			harmless("through a symlink/file, "+target, with(x+" 1"), lines(link), lines("f l/x 1")),
			harmless("through a symlink/file of a lower layer, "+target, with(x+" 2"), lines(link+"\n"+x+" 1"), lines("f l/x 12")),
			harmless("through a symlink/whiteout, "+target, without, lines(link+"\n"+x+" 1"), lines("f l/.wh.x")),
			harmless("through a symlink/the link itself is replaced, "+target, "f l 1", lines(link), lines("f l 1")),
		)
	}
	return append(out,
		harmless("through a symlink/dangling", "d a\nd a/b\nf a/b/x 1\nl l a/b", lines("l l a/b"), lines("f l/x 1")),
		harmless("through a symlink/to the host's file", "l l /proc/self/root\nd proc\nd proc/self\nd proc/self/root\nf proc/self/root/x 1", lines("l l /proc/self/root"), lines("f l/x 1")),
		harmless("through a symlink/opaque directory", "d e\nl l /e", lines("l l /e\nf e/x 1"), lines("f l/.wh..wh..opq")),
		harmless("through a symlink/of the same layer", "d e\nf e/x 1\nl l /e", lines("l l /e\nf l/x 1")),
		harmless("through a symlink/that a file replaced before", "f l 1", lines("l l /e"), lines("f l 1")),
		harmless("through a symlink/that a directory replaced", "d l\nf l/x 1", lines("l l /etc"), lines("d l\nf l/x 1")),
	)
}

func loops() []hostile {
	var out []hostile
	for name, image := range map[string]string{
		"to itself": "l a a", "to itself by dots": "l a ./././a", "two links": "l a b\nl b a", "below itself": "l a a/x", "absolute": "l a /a",
		"through the parent": "d d\nl a d/../a", "through a missing name": "l a d/../a", "of three": "l a b\nl b c\nl c /a",
	} {
		lower := lines(image)
		out = append(out,
			refused("loop/file in a link "+name, "a/x", tree.ErrLoop, "", lower, lines("f a/x 1")),
			refused("loop/directory in a link "+name, "a/x/y", tree.ErrLoop, "", lower, lines("d a/x/y")),
			refused("loop/hard link through a link "+name, "h", tree.ErrLoop, "", lower, lines("h h a/x")),
			refused("loop/whiteout in a link "+name, "a/x", tree.ErrLoop, "", lower, lines("f a/.wh.x")),
			refused("loop/opaque link "+name, "a", tree.ErrLoop, "", lower, lines("f a/.wh..wh..opq")),
			refused("loop/whiteout in the lowest layer in a link "+name, "a/x", tree.ErrLoop, "", lines(image+"\nf a/.wh.x")),
			refused("loop/opaque link of the lowest layer "+name, "a", tree.ErrLoop, "", lines(image+"\nf a/.wh..wh..opq")),
			harmless("loop/whiteout of a link "+name, "", lines("l a a"), lines("f .wh.a")),
			harmless("loop/replacing a link "+name, "f a 1", lines("l a a"), lines("f a 1")),
		)
	}
	chain := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "l l%02d l%02d\n", i, i+1)
		}
		fmt.Fprintf(&b, "d l%02d\nf l%02d/t 1\n", n, n)
		return lines(b.String())
	}
	through := func(n int, more ...string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("l l%02d l%02d", i, i+1))
		}
		return strings.Join(append(all, more...), "\n")
	}
	var doubling strings.Builder // 2^40 steps for who does not count the links
	for i := range 40 {
		fmt.Fprintf(&doubling, "l l%02d l%02d/l%02d\n", i, i+1, i+1)
	}
	doubling.WriteString("l l40 .")
	return append(out,
		harmless("chain/file through 40 links", through(40, "d l40", "f l40/t 1", "f l40/x 1"), chain(40), lines("f l00/x 1")),
		refused("chain/file through 41 links", "l00/x", tree.ErrLoop, "", chain(41), lines("f l00/x 1")),
		harmless("chain/whiteout through 40 links", through(40, "d l40"), chain(40), lines("f l00/.wh.t")),
		refused("chain/whiteout through 41 links", "l00/t", tree.ErrLoop, "", chain(41), lines("f l00/.wh.t")),
		harmless("chain/hard link through 40 links", "f h 1\n"+through(40, "d l40", "= l40/t h"), chain(40), lines("h h l00/t")),
		refused("chain/hard link through 41 links", "h", tree.ErrLoop, "", chain(41), lines("h h l00/t")),
		refused("chain/one that doubles", "l00/x", tree.ErrLoop, "", lines(doubling.String()), lines("f l00/x 1")),
		refused("chain/of long targets", "l/x", tree.ErrName, "", archive(pax("linkpath", "l/"+strings.Repeat("./", 2000)), rawHeader('2', "l")), lines("f l/x 1")),
		refused("chain/of targets that grow", "l/x", tree.ErrName, "", archive(pax("linkpath", "l/"+strings.TrimSuffix(strings.Repeat("y/", 2040), "/")), rawHeader('2', "l")), lines("f l/x 1")),
	)
}

func parents() []hostile {
	var out []hostile
	for kind, line := range map[string]string{"file": "f p 1", "FIFO": "p p", "device": "c p", "link to a file": "f f 1\nl p f", "absolute link to a file": "f f 1\nl p /f"} {
		for what, entry := range map[string]string{"file": "f p/x 1", "directory": "d p/x", "symlink": "l p/x t", "FIFO": "p p/x", "device": "c p/x"} {
			out = append(out,
				refused(fmt.Sprintf("parent/%s below a %s", what, kind), "p/x", tree.ErrNotDir, "", lines(line), lines(entry)),
				refused(fmt.Sprintf("parent/%s below a %s of the same layer", what, kind), "p/x", tree.ErrNotDir, "", lines(line+"\n"+entry)),
				refused(fmt.Sprintf("parent/%s two below a %s", what, kind), "p/x/y", tree.ErrNotDir, "", lines(line), lines(strings.Replace(entry, "p/x", "p/x/y", 1))),
			)
		}
	}
	return append(out,
		refused("parent/hard link below a file", "p/x", tree.ErrNotDir, "", lines("f p 1\nf t 1"), lines("h p/x t")),
		harmless("parent/whiteout below a file", "f p 1", lines("f p 1"), lines("f p/.wh.x")),
		harmless("parent/whiteout two below a file", "f p 1", lines("f p 1"), lines("f p/x/.wh.y")),
		harmless("parent/opaque below a file", "f p 1", lines("f p 1"), lines("f p/x/.wh..wh..opq")),
		harmless("parent/opaque file", "f p 1", lines("f p 1"), lines("f p/.wh..wh..opq")),
		harmless("parent/file that a whiteout removed before", "d p\nf p/x 1", lines("f p 1"), lines("f .wh.p\nf p/x 1")),
	)
}

func roots() []hostile {
	var out []hostile
	for _, name := range []string{".", "./", "/", "//", "/.", "././."} {
		out = append(out, harmless("root/directory "+name, "f x 1", lines("f x 1"), archive(rawHeader('5', name))))
		for kind, entry := range map[string][]byte{
			"file": rawFile(name, "1"), "symlink": rawHeader('2', name, put(offLink, "x")), "char device": rawHeader('3', name),
			"block device": rawHeader('4', name), "FIFO": rawHeader('6', name), "contiguous file": rawHeader('7', name),
		} {
			out = append(out, refused(fmt.Sprintf("root/%s %s", kind, name), name, tree.ErrName, "the root must be a directory", lines("f x 1"), archive(entry)))
		}
		out = append(out, refused("root/hard link "+name, ".", tree.ErrName, "root", lines("f x 1"), archive(rawHeader('1', name, put(offLink, "x")))))
	}
	return append(out,
		refused("root/file without a name", "", tree.ErrName, "the root must be a directory", archive(rawFile("", "1"))),
		harmless("root/directory without a name", "f x 1", lines("f x 1"), archive(rawHeader('5', ""))),
		harmless("root/emptied", "", lines("f x 1\nf a/b/c 1"), lines("f .wh..wh..opq")),
		harmless("root/emptied by another spelling", "", lines("f x 1\nf a/b/c 1"), archive(rawHeader('0', "/.//.wh..wh..opq"))),
	)
}

func whiteouts() []hostile {
	lower := lines("d a\nf a/x 1\nf x 1")
	all := "d a\nf a/x 1\nf x 1"
	var out []hostile
	for _, name := range []string{".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh...", "/.wh..", "./a//.wh...", "missing/.wh.", ".wh./"} {
		out = append(out, refused("whiteout/of no name "+name, name, tree.ErrName, "a whiteout of", lower, archive(rawHeader('0', name))))
	}
	for _, name := range []string{"../.wh.x", "a/../../.wh.x", "/../.wh.x", "../.wh..wh..opq", "a/../.wh..wh..opq"} {
		out = append(out, refused("whiteout/outside "+name, name, tree.ErrName, "", lower, archive(rawHeader('0', name))))
	}
	for _, typ := range "12345670" {
		out = append(out,
			harmless(fmt.Sprintf("whiteout/of type %q", typ), "d a\nf a/x 1", lower, archive(rawHeader(byte(typ), ".wh.x", put(offLink, "/etc/passwd")))),
			harmless(fmt.Sprintf("whiteout/opaque of type %q", typ), "d a\nf x 1", lower, archive(rawHeader(byte(typ), "a/.wh..wh..opq", put(offLink, "/etc/passwd")))),
		)
	}
	long := strings.Repeat("n", 255)
	return append(out,
		harmless("whiteout/with content", "d a\nf a/x 1", lower, archive(rawFile(".wh.x", "evil"))),
		harmless("whiteout/of three dots", all, lower, archive(rawHeader('0', ".wh...."))),
		harmless("whiteout/of a whiteout is no whiteout", all, lower, archive(rawHeader('0', ".wh..wh.x"))),
		harmless("whiteout/of a missing directory's name", all, lower, archive(rawHeader('0', "m/n/o/.wh.x"))),
		harmless("whiteout/opaque missing directory", all, lower, archive(rawHeader('0', "m/.wh..wh..opq"))),
		harmless("whiteout/twice", "d a\nf a/x 1", lower, archive(rawHeader('0', ".wh.x"), rawHeader('0', ".wh.x"))),
		harmless("whiteout/in the lowest layer", "f x 1", lines("f .wh.x\nf .wh..wh..opq\nf x 1")),
		harmless("whiteout/never touches its own layer", "f x 1", lines("f x 1\nf .wh.x\nf .wh..wh..opq")),
		harmless("whiteout/of a name of 255 bytes", "f x 1", archive(rawFile("x", "1"), pax("path", long), rawFile("n", "1")), archive(pax("path", ".wh."+long), rawHeader('0', "n"))),
		refused("whiteout/of a name of 256 bytes", ".wh."+long+"n", tree.ErrName, "", lower, archive(pax("path", ".wh."+long+"n"), rawHeader('0', "n"))),
		harmless("whiteout/of a name of 4095 bytes", all, lower, archive(pax("path", nested(deepest-2)+"/.wh.x"), rawHeader('0', "n"))),
		harmless("whiteout/a directory's name that looks like one", "d .wh...\nf .wh.../x 0\n"+all, lower, archive(rawHeader('0', ".wh.../x"))),
	)
}

func numbers() []hostile {
	var out []hostile
	for _, id := range []string{"-1", "-2147483648", "4294967295", "4294967296", "9223372036854775807"} {
		for _, key := range []string{"uid", "gid"} {
			out = append(out, refused("number/"+key+" "+id, "x", nil, "owner ", archive(pax(key, id), rawHeader('0', "x"))))
		}
	}
	for _, key := range []string{"uid", "gid", "size", "mtime"} {
		for _, v := range []string{"9223372036854775808", "-9223372036854775809", "x", "0x10", "1e3", " 1", "1 ", "nan", "--1", "+-1"} {
			out = append(out, unreadable(fmt.Sprintf("number/%s %q", key, v), archive(pax(key, v), rawHeader('0', "x"))))
		}
	}
	for name, off := range map[string][2]int{
		"mode": {offMode, 8}, "uid": {offUID, 8}, "gid": {offGID, 8}, "size": {offSize, 12}, "mtime": {offMTime, 12}, "major": {offDevMajor, 8}, "minor": {offDevMinor, 8},
	} {
		for _, v := range []string{"zzzzzz\x00", "99999\x00", "-1\x00", "0x1\x00"} {
			out = append(out, unreadable(fmt.Sprintf("number/%s field %q", name, v), archive(rawHeader('3', "x", put(off[0], v)))))
		}
	}
	for _, v := range []int64{-1, math.MinInt64 >> 8, math.MaxInt64 >> 8, 1<<32 - 1, 1 << 32} {
		out = append(out,
			refused(fmt.Sprintf("number/base-256 uid %d", v), "x", nil, "owner ", archive(rawHeader('0', "x", put(offMagic, magicGNU), base256(offUID, 8, v)))),
			refused(fmt.Sprintf("number/base-256 gid %d", v), "x", nil, "owner ", archive(rawHeader('0', "x", put(offMagic, magicGNU), base256(offGID, 8, v)))),
		)
		if v != 1<<32-1 {
			out = append(out,
				refused(fmt.Sprintf("number/base-256 major %d", v), "x", nil, "device number", archive(rawHeader('3', "x", put(offMagic, magicGNU), base256(offDevMajor, 8, v)))),
				refused(fmt.Sprintf("number/base-256 minor %d", v), "x", nil, "device number", archive(rawHeader('4', "x", put(offMagic, magicGNU), base256(offDevMinor, 8, v)))),
			)
		}
	}
	for name, edits := range map[string][]edit{
		"-1": {base256(offSize, 12, -1)}, "lowest": {base256(offSize, 12, math.MinInt64)},
		"past 64 bits": {base256(offSize, 12, 1), put(offSize+1, "\x7f")},
	} {
		out = append(out, unreadable("number/size "+name, archive(rawHeader('0', "x", append(edits, put(offMagic, magicGNU))...))))
	}
	for _, size := range []int64{1, 511, 513, 1 << 20, 1 << 36} {
		lie := rawHeader('0', "x", put(offMagic, magicGNU), base256(offSize, 12, size))
		if size > 512 {
			out = append(out,
				refused(fmt.Sprintf("number/size %d of a file that ends", size), "x", io.ErrUnexpectedEOF, "", append(lie, make([]byte, 512)...)),
				hostile{name: fmt.Sprintf("number/size %d of a hidden file that ends", size), layers: [][]byte{append(lie, make([]byte, 512)...), lines("f x 1")}, in: "layer-0", says: "reading tar", is: io.ErrUnexpectedEOF},
			)
		}
	}
	for _, size := range []int64{1<<36 + 1, math.MaxInt64} {
		out = append(out, refused(fmt.Sprintf("number/size %d", size), "x", ErrLimit, "68719476736", archive(rawHeader('0', "x", put(offMagic, magicGNU), base256(offSize, 12, size)))))
	}
	// What has no content has none whatever its size says: the next block is a header.
	for typ, want := range map[byte]string{'1': "f t 1\n= x t", '2': "f t 1\nl x t", '3': "f t 1\nDc x", '4': "f t 1\nD x", '5': "f t 1\nd x", '6': "f t 1\np x"} {
		for _, size := range []int64{1, 512, 1 << 30, 1<<33 - 1} {
			out = append(out, harmless(fmt.Sprintf("number/size %d of type %q", size, typ), want+"\nf y 1",
				archive(rawFile("t", "1"), rawHeader(typ, "x", put(offLink, "t"), octal(offSize, 12, size)), rawFile("y", "1"))))
		}
	}
	return append(out,
		harmless("number/PAX size wins over the header's", "f x 3\nf y 1", archive(pax("size", "3"), rawHeader('0', "x", octal(offSize, 12, 1<<30)), padded("abc"), rawFile("y", "1"))),
		harmless("number/owners at the bound", "f x 0", archive(pax("uid", "4294967294", "gid", "4294967294"), rawHeader('0', "x"))),
		harmless("number/devices at the bound", "Dc x", archive(rawHeader('3', "x", put(offMagic, magicGNU), base256(offDevMajor, 8, 1<<32-1), base256(offDevMinor, 8, 1<<32-1)))),
		harmless("number/mode with bits that mean nothing", "f x 0", archive(rawHeader('0', "x", base256(offMode, 8, math.MaxInt64>>8)))),
		harmless("number/size at a block's end", "f x 512\nf y 0", archive(rawFile("x", strings.Repeat("c", 512)), rawHeader('0', "y"))),
	)
}

// truncated cuts a tar at the start of every block and in the middle of it. A tar
// may end after any entry (that it is whole, its digest tells), so each cut gives
// an error or the entries before it, complete.
func truncated() []hostile {
	whole := archive(rawHeader('5', "a"), rawFile("a/b", strings.Repeat("c", 1300)), pax("path", "c"), rawFile("n", "1"),
		meta('L', "d\x00"), rawFile("n", "", put(offMagic, magicGNU)), rawHeader('2', "e", put(offLink, "t")))
	entries := []string{"d a", "f a/b 1300", "f c 1", "f d 0", "l e t"}
	headers := []int{0, 512, 2560, 4608, 6144}                        // where the blocks of each entry start,
	dataEnds := []int{512, 1024 + 1300, 4096 + 1, 6144, 6656}         // its data ends,
	metaEnds := []int{3072 + len("10 path=c\n"), 5120 + len("d\x00")} // and what tells about the third and fourth does
	var out []hostile
	for cut := 0; cut <= len(whole); cut += 512 {
		for _, at := range []int{cut, cut + 1, cut + 100, cut + 257, cut + 511} {
			if at > len(whole) {
				continue
			}
			complete, inside := 0, false
			for i := range entries {
				if at >= dataEnds[i] {
					complete = i + 1
				}
				inside = inside || at > headers[i] && at < dataEnds[i]
			}
			name := fmt.Sprintf("truncated/at byte %d of %d", at, len(whole))
			switch {
			case at >= metaEnds[0] && at <= headers[2]+1024 || at >= metaEnds[1] && at <= headers[3]+1024:
				// What tells about an entry is there, the entry is not.
				out = append(out, harmless(name, strings.Join(entries[:complete], "\n"), whole[:at]))
			case inside:
				out = append(out, hostile{name: name, layers: [][]byte{whole[:at]}, is: io.ErrUnexpectedEOF})
			case at > 6656 && at%512 != 0:
				// Half a block of zeros is no end of a tar.
				out = append(out, hostile{name: name, layers: [][]byte{whole[:at]}, is: io.ErrUnexpectedEOF})
			default:
				out = append(out, harmless(name, strings.Join(entries[:complete], "\n"), whole[:at]))
			}
		}
	}
	return out
}

func unknownTypes() []hostile {
	var out []hostile
	for typ := range 256 {
		if strings.IndexByte("\x0001234567xgLKS", byte(typ)) >= 0 {
			continue
		}
		out = append(out, refused(fmt.Sprintf("type/%d", typ), "x", nil, "is not part of a filesystem", archive(rawHeader(byte(typ), "x"))))
	}
	return out
}

func garbage() []hostile {
	good := rawFile("a", "1")
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		return archive(b)
	}
	var out []hostile
	for _, i := range []int{0, 99, offMode, offUID, offSize, offMTime, offChecksum + 1, offType, offLink, 300, 511} {
		out = append(out, unreadable(fmt.Sprintf("garbage/bit of byte %d flipped", i), flip(i)))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		b := make([]byte, 512*(i%5+1))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		out = append(out,
			unreadable(fmt.Sprintf("garbage/random bytes %d", i), b),
			unreadable(fmt.Sprintf("garbage/random bytes %d behind an entry", i), append(bytes.Clone(good), b...)),
		)
	}
	for name, b := range map[string][]byte{
		"ones": bytes.Repeat([]byte{0xff}, 1024), "text": bytes.Repeat([]byte("tar "), 256), "gzip": append([]byte("\x1f\x8b\x08"), make([]byte, 1021)...),
		"zip": append([]byte("PK\x03\x04"), make([]byte, 1020)...), "zstd": append([]byte("\x28\xb5\x2f\xfd"), make([]byte, 1020)...),
		"one block of zeros, then an entry": append(make([]byte, 512), good...),
	} {
		out = append(out, unreadable("garbage/"+name, b))
	}
	return append(out,
		harmless("garbage/nothing at all", "", nil),
		harmless("garbage/behind the end", "f a 1", append(archive(good), bytes.Repeat([]byte("evil"), 1000)...)),
		harmless("garbage/an entry behind the end", "f a 1", append(archive(good), archive(rawFile("../x", "1"))...)),
		harmless("garbage/in the padding", "f a 1", archive(append(good[:513:513], bytes.Repeat([]byte("evil"), 128)[:511]...))),
	)
}

func headers() []hostile {
	x := rawFile("x", "1")
	var out []hostile
	for name, records := range map[string]string{
		"length too short": "5 path=evil\n", "length too long": "99 path=evil\n", "length beyond numbers": "99999999999999999999 path=evil\n",
		"length zero": "0 path=evil\n", "length negative": "-12 path=evil\n", "no length": "path=evil\n", "no equals sign": "8 path\n\n", "no newline": "12 path=evil",
		"no key": "5 =v\n\n", "NUL in the key": "8 p\x00h=x\n", "NUL in an owner's name": "10 uname=\x00\n",
	} {
		out = append(out, unreadable("header/PAX record with "+name, archive(meta('x', records), x)))
	}
	const most = 1 << 20
	comment := func(size int) []byte {
		return meta('x', paxRecord("comment", strings.Repeat("c", size-len("1048576 comment=\n"))))
	}
	var chain []byte
	for range 2000 {
		chain = append(chain, pax("path", "../../evil", "SCHILY.xattr.user.x", "evil")...)
	}
	return append(out,
		harmless("header/PAX of the largest size", "f x 1", archive(comment(most), x)),
		unreadable("header/PAX one byte too large", archive(comment(most+1), x)),
		unreadable("header/PAX of 64 MiB", archive(rawHeader('x', "meta", octal(offSize, 12, 64<<20)), make([]byte, 64<<20), x)),
		unreadable("header/PAX whose size lies", archive(rawHeader('x', "meta", octal(offSize, 12, 1<<33-1)), x)),
		unreadable("header/GNU name too large", archive(meta('L', strings.Repeat("n", most+1)), x)),
		unreadable("header/GNU link too large", archive(meta('K', strings.Repeat("n", most+1)), x)),
		refused("header/GNU name of the largest size", strings.Repeat("n", most), tree.ErrName, "", archive(meta('L', strings.Repeat("n", most)), x)),
		harmless("header/many about one entry, the last counts", "f x 1", archive(chain, pax("comment", "c"), x)),
		harmless("header/about nothing", "", archive(pax("path", "evil"))),
		harmless("header/about nothing, at the end of the stream", "f x 1", append(x, pax("path", "evil")...)),
		harmless("header/global ones do not name entries", "f x 1", archive(meta('g', paxRecord("path", "../evil")+paxRecord("uid", "-1")), x)),
		unreadable("header/global and malformed", archive(meta('g', "evil"), x)),
		harmless("header/PAX and GNU names for one entry, GNU's counts", "f b 1", archive(pax("path", "a"), meta('L', "b\x00"), x)),
		harmless("header/ten thousand global ones", "f x 1", archive(bytes.Repeat(meta('g', paxRecord("comment", "c")), 10_000), x)),
		harmless("header/xattr without a name", "f x 1", archive(pax("SCHILY.xattr.", "v"), x)),
		unreadable("header/xattr with a NUL in its name", archive(pax("SCHILY.xattr.user.a\x00b", "v"), x)),
	)
}

func depth() []hostile {
	name := nested(deepest) // 2048 components
	var want []string
	for i := range len(name) {
		if name[i] == '/' {
			want = append(want, "d "+name[:i])
		}
	}
	tree2047 := strings.Join(want, "\n")
	var levels strings.Builder
	for i := range 2047 {
		fmt.Fprintf(&levels, "d %s\n", strings.Repeat("a/", i+1)[:2*i+1])
	}
	stepByStep := lines(levels.String())
	out := []hostile{
		harmless("depth/implied", tree2047+"\nf "+name+" 1", archive(pax("path", name), rawFile("n", "1"))),
		harmless("depth/explicit", tree2047, stepByStep),
		harmless("depth/whited out", "", stepByStep, lines("f .wh.a")),
		harmless("depth/opaque", "d a", stepByStep, lines("f a/.wh..wh..opq")),
		harmless("depth/replaced", "f a 1", stepByStep, lines("f a 1")),
		harmless("depth/whiteout at the bottom", strings.Join(want[:2046], "\n"), stepByStep, archive(pax("path", name[:2*2046]+".wh.a"), rawHeader('0', "n"))),
		refused("depth/one too deep, by a symlink", "l/bb", tree.ErrName, "", archive(pax("linkpath", name[:deepest-2]), rawHeader('2', "l")), lines("f l/bb 1")),
		refused("depth/one directory too deep, by a symlink", "l/bb/c", tree.ErrName, "", archive(pax("linkpath", name[:deepest-2]), rawHeader('2', "l")), lines("f l/bb/c 1")),
	}
	for i := range out {
		out[i].alloc = 512 << 20 // 2047 names of 2 KiB, each taken apart and put together a few times
	}
	return out
}

func limits() []hostile {
	image := func() [][]byte {
		return [][]byte{
			archive(rawHeader('5', "d"), rawFile("d/f", "12345"), pax("SCHILY.xattr.user.a", "123"), rawFile("x", "1234567")), // names 1+3+1, xattr 6+3
			archive(rawHeader('2', "s", put(offLink, "12")), rawHeader('1', "h", put(offLink, "x")), rawHeader('0', ".wh.x"), rawHeader('0', "d/.wh..wh..opq")),
		}
	}
	// Entries 3+4. Names d d/f x s h x d and the targets 12 and x: 3+2+2+2+1+1 bytes.
	const entries, metadata = 7, 5 + 9 + xattrOverhead + 3 + 2 + 1 + 1
	want := "d d\nf h 7\nl s 12"
	at := func(name string, l Limits, layers [][]byte, want string) hostile {
		h := harmless("limit/"+name, want, layers...)
		h.limits = l
		return h
	}
	past := func(name, in, entry, says string, l Limits, layers [][]byte) hostile {
		return hostile{name: "limit/" + name, layers: layers, limits: l, in: in, entry: entry, is: ErrLimit, says: says}
	}
	implied := [][]byte{lines("l l a/b\nf l/x 1\nf l/c/y 1\nf z/z 1")} // makes a, a/b, a/b/c and z
	resolved := [][]byte{lines("l l " + strings.Repeat("n", 200) + "\nf l/x 1\nf l/y 1")}
	hole := archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "x", "GNU.sparse.realsize", "70000"),
		rawHeader('0', "y", octal(offSize, 12, 512)), padded("0\n"))
	// What no other limit sees: content of a whiteout, headers about headers, the
	// padding after the end. The last of them is read twice, see rescan.
	unseen := [][]byte{
		lines("f x 1\nh y x"),
		archive(rawFile(".wh.z", strings.Repeat("c", 2000)), bytes.Repeat(meta('g', paxRecord("comment", "c")), 10), rawFile("x", "2"), make([]byte, 4096)),
	}
	stream := int64(2*len(unseen[0]) + len(unseen[1]))
	return []hostile{
		at("stream", Limits{StreamBytes: stream}, unseen, "f x 1\nf y 1"),
		past("stream, one past", "layer-0", "", fmt.Sprintf("%d bytes of tars: over the limit of %d", stream, stream-1), Limits{StreamBytes: stream - 1}, unseen),
		past("stream of an upper layer", "layer-1", "", "bytes of tars: over the limit of 700", Limits{StreamBytes: 700}, unseen),
		at("entries", Limits{Entries: entries}, image(), want),
		past("entries, one past", "layer-0", "x", "7 entries: over the limit of 6", Limits{Entries: entries - 1}, image()),
		at("metadata", Limits{MetadataBytes: metadata}, image(), want),
		past("metadata, one past", "layer-0", "x", "over the limit of "+fmt.Sprint(metadata-1), Limits{MetadataBytes: metadata - 1}, image()),
		at("one file", Limits{FileBytes: 7}, image(), want),
		past("one file, one past", "layer-0", "x", "a file of 7 bytes: over the limit of 6", Limits{FileBytes: 6}, image()),
		at("all files, hidden ones too", Limits{TotalBytes: 12}, image(), want),
		past("all files, one past", "layer-0", "x", "12 bytes of files: over the limit of 11", Limits{TotalBytes: 11}, image()),
		at("holes", Limits{FileBytes: 70000, TotalBytes: 70000}, [][]byte{hole}, "f x 70000"),
		past("holes of a file, one past", "layer-0", "x", "a file of 70000 bytes", Limits{FileBytes: 69999}, [][]byte{hole}),
		past("holes of all files, one past", "layer-0", "x", "70000 bytes of files", Limits{TotalBytes: 69999}, [][]byte{hole}),
		at("implied directories", Limits{Entries: 8}, implied, "d a\nd a/b\nd a/b/c\nf a/b/c/y 1\nf a/b/x 1\nl l a/b\nd z\nf z/z 1"),
		past("implied directories, one past", "layer-0", "z/z", "8 entries: over the limit of 7", Limits{Entries: 7}, implied),
		at("names behind symlinks", Limits{MetadataBytes: 1 + 200 + 3 + 3 + 2*199}, resolved, "l l "+strings.Repeat("n", 200)+"\nd "+strings.Repeat("n", 200)+"\nf "+strings.Repeat("n", 200)+"/x 1\nf "+strings.Repeat("n", 200)+"/y 1"),
		past("names behind symlinks, one past", "layer-0", "l/y", "over the limit", Limits{MetadataBytes: 1 + 200 + 3 + 3 + 2*199 - 1}, resolved),
	}
}

func sparseLies() []hostile {
	v01 := func(records ...string) []byte {
		return archive(pax(append([]string{"GNU.sparse.major", "0", "GNU.sparse.minor", "1"}, records...)...), rawFile("x", "0123456789"))
	}
	v10 := func(size int64, m string) []byte {
		b := padded(m)
		return archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", fmt.Sprint(size)),
			rawHeader('0', "x", octal(offSize, 12, int64(len(b)+10))), b, padded("0123456789"))
	}
	old := func(size int64, pairs ...int64) []byte {
		edits := []edit{put(offMagic, magicGNU), octal(offSize, 12, 10), base256(offGNURealSize, 12, size)}
		for i, v := range pairs {
			edits = append(edits, base256(offGNUSparse+12*i, 12, v))
		}
		return archive(rawHeader('S', "x", edits...), padded("0123456789"))
	}
	var out []hostile
	for name, pairs := range map[string][]int64{
		"overlapping": {0, 5, 4, 5}, "out of order": {20, 5, 0, 5}, "beyond the size": {95, 10}, "far beyond the size": {1 << 40, 10}, "negative offset": {-5, 10},
		"negative length": {0, -10}, "sum past 63 bits": {math.MaxInt64, 10}, "length past 63 bits": {1, math.MaxInt64},
	} {
		var text, comma string
		for i, v := range pairs {
			text += fmt.Sprintf("%d\n", v)
			if i > 0 {
				comma += ","
			}
			comma += fmt.Sprint(v)
		}
		blocks := fmt.Sprint(len(pairs) / 2)
		out = append(out,
			unreadable("sparse/0.1 "+name, v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", blocks, "GNU.sparse.map", comma)),
			unreadable("sparse/1.0 "+name, v10(100, blocks+"\n"+text)),
			unreadable("sparse/old GNU "+name, old(100, pairs...)),
		)
	}
	for name, layer := range map[string][]byte{
		"0.1 with fewer blocks than pairs":    v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,5,10,5"),
		"0.1 with more blocks than pairs":     v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "3", "GNU.sparse.map", "0,5,10,5"),
		"0.1 with half a pair":                v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,5,10"),
		"0.1 with no number":                  v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "a,b"),
		"0.1 with no blocks":                  v01("GNU.sparse.size", "100", "GNU.sparse.map", "0,10"),
		"0.1 with an endless number of pairs": v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "9223372036854775807", "GNU.sparse.map", "0,10"),
		"0.1 with a negative size":            v01("GNU.sparse.size", "-100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,10"),
		"0.1 with no size in digits":          v01("GNU.sparse.size", "1e3", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,10"),
		"0.0 with two offsets":                archive(meta('x', paxRecord("GNU.sparse.offset", "0")+paxRecord("GNU.sparse.offset", "0")), rawFile("x", "1")),
		"0.0 with a length first":             archive(meta('x', paxRecord("GNU.sparse.numbytes", "0")), rawFile("x", "1")),
		"0.0 with a list in a number":         archive(meta('x', paxRecord("GNU.sparse.offset", "0,1")), rawFile("x", "1")),
		"1.0 with a count that lies":          v10(100, "99999999\n0\n10\n"),
		"1.0 with a count past numbers":       v10(100, "99999999999999999999\n0\n10\n"),
		"1.0 with a negative count":           v10(100, "-1\n"),
		"1.0 without a count":                 v10(100, "\n"),
		"1.0 without a newline":               v10(100, strings.Repeat("1", 1024)),
		"1.0 with a map over 1 MiB":           v10(100, "300000\n"+strings.Repeat("0\n0\n", 300_000)),
		"1.0 of a symlink":                    archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "9"), rawHeader('2', "x", put(offLink, "t"))),
		"0.1 of a directory":                  archive(pax("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,10"), rawHeader('5', "x")),
		"old GNU in a ustar header":           archive(rawHeader('S', "x")),
		"old GNU with extensions to the end":  bytes.Join([][]byte{rawHeader('S', "x", put(offMagic, magicGNU), put(offGNUExtended, "\x01")), make([]byte, 504), {1}, make([]byte, 7)}, nil),
		"old GNU with 4 MiB of extensions":    append(rawHeader('S', "x", put(offMagic, magicGNU), put(offGNUExtended, "\x01")), bytes.Repeat(append(append(make([]byte, 504), 1), make([]byte, 7)...), 8192)...),
	} {
		out = append(out, unreadable("sparse/"+name, layer))
	}
	// The map is in order, but the data it speaks of is longer or shorter than the file.
	out = append(out,
		refused("sparse/0.1 map with more data than the file", "x", nil, "", v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,50")),
		refused("sparse/0.1 map with less data than the file", "x", nil, "", v01("GNU.sparse.size", "100", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,5")),
		refused("sparse/old GNU map with more data than the file", "x", nil, "", old(100, 0, 50)),
		refused("sparse/1.0 map with more data than the file", "x", nil, "", v10(100, "1\n0\n50\n")),
		harmless("sparse/unknown version is a plain file", "f x 10", archive(pax("GNU.sparse.major", "9", "GNU.sparse.minor", "0"), rawFile("x", "0123456789"))),
		refused("sparse/an exabyte of hole", "x", ErrLimit, "68719476736", v01("GNU.sparse.size", "1152921504606846976", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,10")),
		refused("sparse/an exabyte of hole, old GNU", "x", ErrLimit, "68719476736", old(1<<60, 0, 10)),
		refused("sparse/an exabyte of hole, 1.0", "x", ErrLimit, "68719476736", v10(1<<60, "1\n0\n10\n")),
		refused("sparse/name outside", "../x", tree.ErrName, "", v01("GNU.sparse.name", "../x", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,10")),
	)
	return out
}

// livePeak is the most memory that was in use at any time while fn ran, in bytes
// above what was in use before, as the collector saw it. The collector takes what
// is allocated while it works for used, so limits have to be generous.
func livePeak(fn func()) int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	live := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	base, peak := live(), int64(0)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC()
				peak = max(peak, live()-base)
			}
		}
	}()
	fn()
	close(done)
	<-stopped
	return peak
}

func TestLivePeakSeesMemoryInUse(t *testing.T) {
	var b []byte
	if got := livePeak(func() { b = make([]byte, 32<<20); time.Sleep(200 * time.Millisecond); runtime.KeepAlive(b) }); got < 31<<20 {
		t.Errorf("peak %d, want 32 MiB at least", got)
	}
	b = nil
	if got := livePeak(func() { time.Sleep(100 * time.Millisecond) }); got > 4<<20 {
		t.Errorf("peak %d of doing nothing", got)
	}
}

// stream is a layer that is made while it is read: n parts, then the end.
func stream(n int, part func(i int) []byte) Source {
	return Source{Digest: "layer-0", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(&parts{n: n, part: part}), nil
	}}
}

type parts struct {
	n, next int
	part    func(i int) []byte
	rest    []byte
}

func (p *parts) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		switch {
		case p.next < p.n:
			p.rest = p.part(p.next)
		case p.next == p.n:
			p.rest = make([]byte, 1024)
		default:
			return 0, io.EOF
		}
		p.next++
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// TestFlattenMemoryDoesNotGrowWithBytes applies layers that are small in entries
// and large in everything else.
func TestFlattenMemoryDoesNotGrowWithBytes(t *testing.T) {
	const mib = 1 << 20
	junk := paxRecord("comment", strings.Repeat("c", 900<<10))
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 19), "/")
	big := strings.Repeat("c", 8*mib)
	for _, test := range []struct {
		name  string
		layer Source
		limit Limits
		peak  int64 // bytes
		err   error
	}{
		{"large headers about short names", stream(250, func(i int) []byte {
			return append(meta('x', paxRecord("path", fmt.Sprint(i))+junk), rawHeader('0', "n")...)
		}), Limits{}, 128 * mib, nil},
		{"large headers about short links", stream(250, func(i int) []byte {
			return append(meta('x', paxRecord("linkpath", "t")+junk), rawHeader('2', fmt.Sprint(i))...)
		}), Limits{}, 128 * mib, nil},
		{"large headers about short xattrs", stream(250, func(i int) []byte {
			return append(meta('x', paxRecord("SCHILY.xattr.user.a", "v")+junk), rawHeader('0', fmt.Sprint(i))...)
		}), Limits{}, 128 * mib, nil},
		{"large headers about hard links", stream(250, func(i int) []byte {
			if i == 0 {
				return rawHeader('0', "t")
			}
			return append(meta('x', paxRecord("linkpath", "t")+junk), rawHeader('1', fmt.Sprint(i))...)
		}), Limits{}, 128 * mib, nil},
		{"files", stream(64, func(i int) []byte { return rawFile(fmt.Sprint(i), big) }), Limits{}, 128 * mib, nil},
		{"one name over and over", stream(100_000, func(int) []byte { return rawHeader('6', "x") }), Limits{Entries: 50_000}, 40 * mib, ErrLimit},
		{"directories that names imply", stream(2000, func(i int) []byte {
			return append(pax("path", fmt.Sprint(i)+"/"+nested(4000)), rawHeader('0', "n")...)
		}), Limits{Entries: 50_000, MetadataBytes: 16 * mib}, 64 * mib, ErrLimit},
		{"long names behind a symlink", stream(20_000, func(i int) []byte {
			if i == 0 {
				return append(pax("linkpath", deep), rawHeader('2', "l")...)
			}
			return rawHeader('6', "l/"+fmt.Sprint(i))
		}), Limits{MetadataBytes: 16 * mib}, 40 * mib, ErrLimit},
		{"many small xattrs", stream(50, func(i int) []byte {
			var b strings.Builder
			for k := range 40_000 {
				b.WriteString(paxRecord("SCHILY.xattr."+fmt.Sprint(k), ""))
			}
			return append(meta('x', b.String()), rawHeader('0', fmt.Sprint(i))...)
		}), Limits{MetadataBytes: 16 * mib}, 64 * mib, ErrLimit},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tr *tree.Tree
			var err error
			peak := livePeak(func() {
				tr, err = Flatten(t.Context(), []Source{test.layer}, &meter{}, Options{Limits: test.limit})
				runtime.GC()
			})
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if peak > test.peak {
				t.Errorf("%d bytes in use at the peak, the limit is %d", peak, test.peak)
			}
			t.Logf("peak %d KiB", peak>>10)
			runtime.KeepAlive(tr)
		})
	}
}

// TestFlattenTimeGrowsWithEntries repeats what looks at many names each time.
func TestFlattenTimeGrowsWithEntries(t *testing.T) {
	const n = 20_000
	for _, test := range []struct {
		name string
		part func(i int) []byte // i from 0 to 2n
	}{
		{"opaque directory", func(i int) []byte {
			if i < n {
				return rawHeader('6', fmt.Sprintf("d/%d", i))
			}
			return rawHeader('0', "d/.wh..wh..opq")
		}},
		{"opaque root", func(i int) []byte {
			if i < n {
				return rawHeader('6', fmt.Sprint(i))
			}
			return rawHeader('0', ".wh..wh..opq")
		}},
		{"opaque parents", func(i int) []byte {
			if i < n {
				return rawHeader('6', fmt.Sprintf("%s%d", strings.Repeat("d/", 20), i))
			}
			return rawHeader('0', strings.Repeat("d/", i%21)+".wh..wh..opq")
		}},
		{"whiteout of a directory", func(i int) []byte {
			if i < n {
				return rawHeader('6', fmt.Sprintf("d/%d", i))
			}
			return rawHeader('0', ".wh.d")
		}},
		{"opaque directory between new names", func(i int) []byte {
			if i%2 == 0 {
				return rawHeader('6', fmt.Sprintf("d/%d", i))
			}
			return rawHeader('0', "d/.wh..wh..opq")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), mostTime)
			defer cancel()
			// In the lowest layer whiteouts would have nothing to look at.
			lower := stream(1, func(int) []byte { return rawHeader('5', strings.Repeat("d/", 20)) })
			tr, err := Flatten(ctx, []Source{lower, stream(2*n, test.part)}, &meter{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			fifos := 0
			for _, node := range tr.Walk() {
				if node.Mode&fs.ModeNamedPipe != 0 {
					fifos++
				}
			}
			if fifos != n {
				t.Errorf("%d FIFOs left, want the %d of the layer itself", fifos, n)
			}
		})
	}
}

func TestFlattenStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	layer := stream(math.MaxInt, func(i int) []byte {
		if i == 1000 {
			cancel()
		}
		return rawHeader('6', "x")
	})
	if _, err := Flatten(ctx, []Source{layer}, &meter{}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// TestFlattenRefusesALayerThatChanges gives other bytes the second time.
func TestFlattenRefusesALayerThatChanges(t *testing.T) {
	first := lines("f a 1\nh b a\nf c 1")
	for name, second := range map[string][]byte{
		"shorter": lines(""), "longer": lines("f a 1\nh b a\nf c 1\nf d 1"), "another name": lines("f z 1\nh b z\nf c 1"), "another size": lines("f a 12\nh b a\nf c 1"),
		"another type": lines("d a\nf b 1\nf c 1"), "not a tar": bytes.Repeat([]byte("x"), 1024),
	} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			lower := Source{Digest: "lower", Open: func(context.Context) (io.ReadCloser, error) {
				reads++
				if reads == 1 {
					return io.NopCloser(bytes.NewReader(first)), nil
				}
				return io.NopCloser(bytes.NewReader(second)), nil
			}}
			_, err := Flatten(t.Context(), append([]Source{lower}, sources(t, "f a 2")...), &spool{}, Options{})
			if err == nil || !strings.Contains(err.Error(), "applying layer lower: ") {
				t.Errorf("error %v, want one that names the layer", err)
			}
			if reads != 2 {
				t.Errorf("%d reads, want 2", reads)
			}
		})
	}
}

// TestFlattenReportsWhatTheLayerReports checks that a reader's own error, such as
// a wrong digest at the end of the stream, is passed on.
func TestFlattenReportsWhatTheLayerReports(t *testing.T) {
	wrong := errors.New("wrong digest")
	good := lines("f a 1")
	for name, layer := range map[string]Source{
		"open": {Digest: "x", Open: func(context.Context) (io.ReadCloser, error) { return nil, wrong }},
		"end":  {Digest: "x", Open: func(context.Context) (io.ReadCloser, error) { return faulty{bytes.NewReader(good), wrong, nil}, nil }},
		"far behind the tar's end": {Digest: "x", Open: func(context.Context) (io.ReadCloser, error) {
			return faulty{io.MultiReader(bytes.NewReader(good), bytes.NewReader(make([]byte, 1<<20))), wrong, nil}, nil
		}},
		"middle": {Digest: "x", Open: func(context.Context) (io.ReadCloser, error) {
			return faulty{bytes.NewReader(good[:700]), wrong, nil}, nil
		}},
		"close": {Digest: "x", Open: func(context.Context) (io.ReadCloser, error) { return faulty{bytes.NewReader(good), io.EOF, wrong}, nil }},
	} {
		_, err := Flatten(t.Context(), []Source{layer}, &spool{}, Options{})
		if !errors.Is(err, wrong) || !strings.HasPrefix(err.Error(), "applying layer x: ") {
			t.Errorf("%s: error %v, want the reader's, with the layer", name, err)
		}
	}
}

// faulty ends with another error than io.EOF.
type faulty struct {
	io.Reader
	end, close error
}

func (f faulty) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = f.end
	}
	return n, err
}

func (f faulty) Close() error { return f.close }

// TestFlattenReportsWhatTheSinkReports checks each call of the sink.
func TestFlattenReportsWhatTheSinkReports(t *testing.T) {
	full := errors.New("disk full")
	for name, test := range map[string]struct {
		layers []string
		sink   failing
		in     string
	}{
		"store":        {[]string{"f a 1"}, failing{store: 1, err: full}, `applying layer layer-0: entry "a": `},
		"second store": {[]string{"f a 1", "f b 1"}, failing{store: 2, err: full}, `applying layer layer-0: entry "a": `},
		"store again":  {[]string{"f a 1\nh b a", "f a 2"}, failing{store: 2, err: full}, `applying layer layer-0: entry "a": `},
		"discard":      {[]string{"f a 1\nf a 2"}, failing{discard: true, err: full}, ""},
	} {
		_, err := Flatten(t.Context(), sources(t, test.layers...), &test.sink, Options{})
		if !errors.Is(err, full) || !strings.HasPrefix(err.Error(), test.in) {
			t.Errorf("%s: error %v, want the sink's after %q", name, err, test.in)
		}
	}
}

// failing is a Sink whose n-th Store, or every Discard, fails.
type failing struct {
	spool
	store   int
	discard bool
	err     error
}

func (f *failing) Store(size int64, r io.Reader) (tree.Content, error) {
	if f.store--; f.store == 0 {
		return nil, f.err
	}
	return f.spool.Store(size, r)
}

func (f *failing) Discard(c tree.Content) error {
	if f.discard {
		return f.err
	}
	return f.spool.Discard(c)
}

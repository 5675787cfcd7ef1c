package layer

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
)

// fuzzLimits are small, so that reaching them is no matter of size.
var fuzzLimits = Limits{Entries: 500, MetadataBytes: 64 << 10, FileBytes: 256 << 10, TotalBytes: 1 << 20}

// fuzzSeeds are images of three layers that use every part of the format.
func fuzzSeeds() [][3][]byte {
	gnu := put(offMagic, magicGNU)
	sparse10 := padded("1\n512\n3\n")
	return [][3][]byte{
		{lines("d a\nf a/x 1\nl s a/x\nh h a/x\np p\nc c"), lines("f a/x 22\nf .wh.s"), lines("f a/.wh..wh..opq\nf a/y 3")},
		{lines("f a 1\nh b a\nf c 1\nh d c"), lines("f a 2\nf .wh.c"), lines("h e b\nf .wh.b")}, // content fetched by a second read
		{lines("l bin usr/bin\nl usr/bin /b\nf bin/x 1"), lines("f bin/.wh.x\nf bin/y 1"), lines("f bin/.wh..wh..opq\nd bin")},
		{lines("d d\nf d/e/f/g 1\nl l d/e"), lines("f l/f/h 2\nf .wh.d\nf d/i 1"), lines("f d 1")},
		{
			archive(pax("SCHILY.xattr.user.a", "\x00\xff", "mtime", "-1.5", "uid", "70000", "path", strings.Repeat("p", 200)), rawFile("n", "1")),
			archive(meta('L', strings.Repeat("l/", 60)+"x\x00"), rawFile("n", "1", gnu), meta('K', strings.Repeat("t", 120)), rawHeader('2', "s", gnu)),
			archive(rawHeader('5', "", octal(offMode, 8, 0o1777)), rawHeader('3', "c", octal(offDevMajor, 8, 5)), rawHeader('4', "b"), rawHeader(0, "v7/", put(offMagic, magicV7))),
		},
		{
			archive(rawHeader('S', "old", gnu, octal(offSize, 12, 3), octal(offGNURealSize, 12, 5000), octal(offGNUSparse, 12, 100), octal(offGNUSparse+12, 12, 3)), padded("abc")),
			archive(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "new", "GNU.sparse.realsize", "2000"),
				rawHeader('0', "x", octal(offSize, 12, 512+3)), sparse10, padded("abc")),
			archive(pax("GNU.sparse.size", "2000", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "7,3"), rawFile("old", "abc")),
		},
		{archive(meta('g', paxRecord("comment", "c")), rawFile("x", "1")), lines("d .wh..wh.plnk\nf .wh..wh.plnk/x 1\nf .wh.x/y 1"), nil},
	}
}

func TestFuzzSeedsMakeTrees(t *testing.T) {
	for i, seed := range fuzzSeeds() {
		tr := checkImage(t, seed[:])
		if tr == nil {
			t.Errorf("seed %d is refused", i)
			continue
		}
		if got := len(names(tr)); got == 0 {
			t.Errorf("seed %d makes an empty tree", i)
		}
		for _, layer := range seed {
			if !bytes.Equal(repaired(layer), layer) {
				t.Errorf("seed %d: repairing checksums changes good ones", i)
			}
			if len(layer) == 0 {
				continue
			}
			broken := bytes.Clone(layer)
			broken[0] ^= 1
			if bytes.Equal(repaired(broken), broken) && broken[offMagic] != 0 {
				t.Errorf("seed %d: a wrong checksum is not repaired", i)
			}
		}
	}
}

// FuzzLayer applies up to three layers of arbitrary bytes: as they are, and with
// the checksums of what looks like headers made right, without which hardly any
// change would get past the tar reader.
func FuzzLayer(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		checkImage(t, [][]byte{a, b, c})
		checkImage(t, [][]byte{repaired(a), repaired(b), repaired(c)})
	})
}

// repaired returns a copy in which every block with a magic has its checksum.
func repaired(layer []byte) []byte {
	out := bytes.Clone(layer)
	for b := out; len(b) >= 512; b = b[512:] {
		if !bytes.HasPrefix(b[offMagic:], []byte("ustar")) {
			continue
		}
		sum := 8 * int(' ')
		for i, c := range b[:512] {
			if i < offChecksum || i >= offChecksum+8 {
				sum += int(c)
			}
		}
		copy(b[offChecksum:], fmt.Sprintf("%06o\x00 ", sum))
	}
	return out
}

// checkImage applies layers and checks what holds for every image. The tree is nil
// where the image was refused.
func checkImage(t *testing.T, layers [][]byte) *tree.Tree {
	t.Helper()
	sink := &spool{}
	tr, err := Flatten(t.Context(), layersOf(layers...), sink, Options{Limits: fuzzLimits})
	again, errAgain := Flatten(t.Context(), layersOf(layers...), &spool{}, Options{Limits: fuzzLimits})
	if fmt.Sprint(err) != fmt.Sprint(errAgain) {
		t.Fatalf("error %v, and the second time %v", err, errAgain)
	}
	if err != nil {
		if !strings.HasPrefix(err.Error(), "applying layer layer-") {
			t.Errorf("error does not name the layer: %v", err)
		}
		return nil
	}
	if diff := cmp.Diff(list(t, tr), list(t, again)); diff != "" {
		t.Errorf("the same layers made two trees:\n%s", diff)
	}
	checkTree(t, tr, sink)
	return tr
}

func checkTree(t *testing.T, tr *tree.Tree, sink *spool) {
	t.Helper()
	links := map[*tree.Node]int{}
	total := int64(0)
	for name, n := range tr.Walk() {
		links[n]++
		if err := tree.CheckName(name); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
		if _, base := split(name); strings.HasPrefix(base, whiteoutPrefix) && !n.Mode.IsDir() {
			t.Errorf("a whiteout came into the tree: %q", name)
		}
		checkNode(t, name, n)
		if links[n] > 1 || n.Content == nil {
			continue
		}
		c, ok := n.Content.(*text)
		if !ok || !sink.live[c] {
			t.Errorf("%q has no content in the sink but %T", name, n.Content)
			continue
		}
		delete(sink.live, c)
		if total += c.Size(); c.Size() > fuzzLimits.FileBytes || total > fuzzLimits.TotalBytes {
			t.Errorf("%q has %d bytes of %d in all, over the limit", name, c.Size(), total)
		}
	}
	for n, count := range links {
		if n.Links() != count || n.Mode.IsDir() && count != 1 {
			t.Errorf("a node of mode %v counts %d names and has %d", n.Mode, n.Links(), count)
		}
	}
	if len(sink.live) != 0 {
		t.Errorf("%d files stayed in the sink that no name leads to", len(sink.live))
	}
	if got := len(links) - 1; got > fuzzLimits.Entries {
		t.Errorf("%d inodes, over the limit", got)
	}
}

// checkNode checks that a node has what its type has and no more.
func checkNode(t *testing.T, name string, n *tree.Node) {
	t.Helper()
	switch n.Mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
	default:
		t.Errorf("%q has the type %v", name, n.Mode.Type())
	}
	if isLink := n.Mode&fs.ModeSymlink != 0; isLink != (n.Target != "") || len(n.Target) > tree.MaxName || strings.Contains(n.Target, "\x00") {
		t.Errorf("%q of mode %v has the target %q", name, n.Mode, n.Target)
	}
	if n.Rdev != (tree.Rdev{}) && n.Mode&fs.ModeDevice == 0 {
		t.Errorf("%q of mode %v has a device number", name, n.Mode)
	}
	if n.Content != nil && !n.Mode.IsRegular() {
		t.Errorf("%q of mode %v has content", name, n.Mode)
	}
	if n.UID > maxID || n.GID > maxID {
		t.Errorf("%q has the owner %d:%d", name, n.UID, n.GID)
	}
	size := 0
	for k, v := range n.Xattrs {
		if size += len(k) + len(v); k == "" || strings.Contains(k, "\x00") {
			t.Errorf("%q has the xattr %q", name, k)
		}
	}
	if int64(size) > fuzzLimits.MetadataBytes {
		t.Errorf("%q has %d bytes of xattrs, over the limit", name, size)
	}
}

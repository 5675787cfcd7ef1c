package ext4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/ext4read"
)

// oracle reads a finished image with a reader of another hand, which checks every
// checksum, count and bitmap, and compares every inode with the tree.
func oracle(t testing.TB, path string, tr *tree.Tree) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	img, err := ext4read.Open(f, info.Size(), ext4read.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := img.Check(context.Background(), ext4read.CheckOptions{ZeroFree: true, ExactBackups: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("check: %v", p)
	}
	want := map[string]*tree.Node{}
	for name, n := range tr.Walk() {
		want[name] = n
	}
	number := map[*tree.Node]uint32{}
	err = img.Walk(func(name string, in *ext4read.Inode) error {
		n := want[name]
		if n == nil {
			t.Errorf("%q is in the image, not in the tree", name)
			return nil
		}
		delete(want, name)
		if first := number[n]; first != 0 && first != in.Number {
			t.Errorf("%q: inode %d, but its other name is inode %d", name, in.Number, first)
		}
		number[n] = in.Number
		compareOracle(t, name, n, in)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		t.Errorf("%q is in the tree, not in the image", name)
	}
}

func compareOracle(t testing.TB, name string, n *tree.Node, in *ext4read.Inode) {
	t.Helper()
	type facts struct {
		Mode     fs.FileMode
		UID, GID uint32
		Size     int64
		Time     string
		Rdev     tree.Rdev
		Target   string
		Xattrs   map[string]string
	}
	want := facts{n.Mode, n.UID, n.GID, n.Size(), n.ModTime.UTC().Format(time.RFC3339Nano), n.Rdev, n.Target, n.Xattrs}
	got := facts{in.Mode, in.UID, in.GID, int64(in.Size), in.Mtime.Format(time.RFC3339Nano), tree.Rdev(in.Rdev), in.Target, in.Xattrs}
	if n.Mode.IsDir() {
		want.Size = got.Size
	} else if int(in.Links) != n.Links() {
		t.Errorf("%q: %d links, want %d", name, in.Links, n.Links())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q differs (-tree +image):\n%s", name, diff)
	}
	if !n.Mode.IsRegular() || n.Content == nil {
		return
	}
	r, err := n.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	a, _ := io.ReadAll(r)
	section, err := in.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(section)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("%q: content differs (%v)", name, err)
	}
	checkHoles(t, name, a, in)
}

// checkHoles wants just the blocks mapped that are not all zeros.
func checkHoles(t testing.TB, name string, content []byte, in *ext4read.Inode) {
	t.Helper()
	extents, err := in.Extents()
	if err != nil {
		t.Fatal(err)
	}
	mapped := map[uint64]bool{}
	for _, e := range extents {
		for i := range e.Len {
			mapped[e.Logical+i] = true
		}
	}
	for at := 0; at < len(content); at += blockSize {
		block := content[at:min(at+blockSize, len(content))]
		data := !bytes.Equal(block, zeroBlock[:len(block)])
		if mapped[uint64(at/blockSize)] != data {
			t.Errorf("%q: block %d mapped: %v, holds data: %v", name, at/blockSize, !data, data)
			return
		}
	}
}

func TestOracleAgrees(t *testing.T) {
	for _, opt := range []Options{
		{},
		{JournalBytes: MinJournalBytes, FreeBytes: 16 << 20, UUID: [16]byte{7}, HashSeed: [16]byte{8}},
		{JournalBytes: 2 * MinJournalBytes, FreeBytes: 700 << 20, UUID: [16]byte{9}, HashSeed: [16]byte{1}},
	} {
		tr := awkward(t)
		img, _ := makeImage(t, tr, opt)
		oracle(t, img, tr)
	}
}

// randomTree is a tree that bytes decide: names, types, modes, owners, times,
// xattrs, sizes, holes and hard links.
func randomTree(rng *rand.Rand, most int) *tree.Tree {
	tr := tree.New()
	dirs := []string{""}
	var files []*tree.Node
	for i := range 1 + rng.IntN(most) {
		dir := dirs[rng.IntN(len(dirs))]
		name := dir + randomName(rng, i)
		n := randomNode(rng)
		if n.Mode.IsRegular() && len(files) > 0 && rng.IntN(8) == 0 {
			n = files[rng.IntN(len(files))]
		}
		if tr.Put(name, n) != nil {
			continue
		}
		if n.Mode.IsDir() && len(name) < 2000 {
			dirs = append(dirs, name+"/")
		} else if n.Mode.IsRegular() {
			files = append(files, n)
		}
	}
	return tr
}

func randomName(rng *rand.Rand, i int) string {
	length := []int{1, 3, 4, 5, 12, 59, 60, 200, 255}[rng.IntN(9)]
	b := []byte(fmt.Sprintf("%d", i))
	for len(b) < length {
		c := byte(rng.IntN(256))
		if c != 0 && c != '/' {
			b = append(b, c)
		}
	}
	return string(b)
}

func randomNode(rng *rand.Rand) *tree.Node {
	n := &tree.Node{
		UID: rng.Uint32(), GID: uint32(rng.IntN(70000)),
		ModTime: time.Unix(rng.Int64N(3<<32)-1<<31, rng.Int64N(1e9)),
		Mode:    fs.FileMode(rng.IntN(0o1000)),
	}
	for i, bit := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky} {
		if rng.IntN(5) == i {
			n.Mode |= bit
		}
	}
	switch rng.IntN(12) {
	case 0, 1, 2:
		n.Mode |= fs.ModeDir
	case 3:
		n.Mode |= fs.ModeSymlink
		n.Target = strings.Repeat("t", 1+rng.IntN([]int{59, 60, 4095}[rng.IntN(3)]))
	case 4:
		n.Mode |= fs.ModeDevice | fs.ModeCharDevice
		n.Rdev = tree.Rdev{Major: uint32(rng.IntN(maxMajor + 1)), Minor: uint32(rng.IntN(maxMinor + 1))}
	case 5:
		n.Mode |= fs.ModeDevice
		n.Rdev = tree.Rdev{Major: uint32(rng.IntN(256)), Minor: uint32(rng.IntN(256))}
	case 6:
		n.Mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeSocket}[rng.IntN(2)]
	default:
		n.Content = memory(patchy(rng, rng.IntN([]int{1, 100, 5000, 300000}[rng.IntN(4)])))
	}
	for range max(0, rng.IntN(6)-3) {
		if n.Xattrs == nil {
			n.Xattrs = map[string]string{}
		}
		prefix := []string{"user.", "trusted.", "security."}[rng.IntN(3)]
		n.Xattrs[prefix+strings.Repeat("k", 1+rng.IntN(40))] = strings.Repeat("\x00v", rng.IntN(300))
	}
	return n
}

func TestRandomTrees(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tr := randomTree(rng, 600)
		opt := Options{HashSeed: [16]byte{byte(seed)}, FreeBytes: rng.Int64N(20 << 20)}
		if seed%2 == 0 {
			opt.JournalBytes = MinJournalBytes
		}
		img, _ := makeImage(t, tr, opt)
		fsck(t, img)
		oracle(t, img, tr)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		os.Remove(img)
	}
}

// FuzzImage makes a tree of the fuzzer's bytes, writes it, and has it read and
// checked by the other reader.
func FuzzImage(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint16(50), "name", "target", []byte("value"), int64(0))
	f.Add(uint64(3), uint64(4), uint16(1000), "\xff", "/", bytes.Repeat([]byte{0}, 5000), int64(-1<<31))
	f.Fuzz(func(t *testing.T, a, b uint64, most uint16, name, target string, value []byte, sec int64) {
		tr := randomTree(rand.New(rand.NewPCG(a, b)), 1+int(most)%300)
		tr.Put(name, &tree.Node{Mode: 0o644, ModTime: time.Unix(sec, 0), Content: memory(value), Xattrs: map[string]string{"user." + name: string(value)}})
		tr.Put("l", &tree.Node{Mode: fs.ModeSymlink, Target: target, ModTime: testEpoch})
		out := scratch(t)
		_, err := NewWriter(out).Finish(t.Context(), tr, Options{Epoch: testEpoch, HashSeed: [16]byte{byte(a)}})
		var limit *LimitError
		if errors.As(err, &limit) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		oracle(t, out.Name(), tr)
	})
}

// TestOracleSeesDamage plants differences that compareOracle has to report.
func TestOracleSeesDamage(t *testing.T) {
	changes := map[string]func(n *tree.Node){
		"mode":    func(n *tree.Node) { n.Mode ^= 0o100 },
		"owner":   func(n *tree.Node) { n.GID++ },
		"time":    func(n *tree.Node) { n.ModTime = n.ModTime.Add(1) },
		"xattr":   func(n *tree.Node) { n.Xattrs = map[string]string{"user.x": "other"} },
		"content": func(n *tree.Node) { n.Content = memory("CONTENT") },
		"size":    func(n *tree.Node) { n.Content = memory("longer content") },
	}
	names := []string{}
	for name := range changes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		tr := tree.New()
		n := &tree.Node{Mode: 0o644, Content: memory("content"), Xattrs: map[string]string{"user.x": "value"}}
		put(t, tr, "file", n)
		img, _ := makeImage(t, tr, Options{})
		changes[name](n)
		fake := &recorder{TB: t}
		oracle(fake, img, tr)
		if fake.errors == 0 {
			t.Errorf("a change of %s was not seen", name)
		}
	}
}

// recorder counts errors instead of failing.
type recorder struct {
	testing.TB
	errors int
}

func (r *recorder) Errorf(string, ...any) { r.errors++ }
func (r *recorder) Helper()               {}

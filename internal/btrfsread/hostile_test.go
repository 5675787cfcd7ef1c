package btrfsread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// small is an image that mkfs.btrfs makes by itself, of a tree of a few files.
func small(t testing.TB) []byte {
	t.Helper()
	testneed.Tool(t, "mkfs.btrfs")
	program, err := testneed.Look("mkfs.btrfs")
	must(t, err)
	root, img := t.TempDir(), filepath.Join(fastDir(t), "img")
	write(t, filepath.Join(root, "etc/hostname"), []byte("plugin\n"))
	write(t, filepath.Join(root, "large"), noise(300000))
	must(t, os.Symlink("etc/hostname", filepath.Join(root, "link")), os.Link(filepath.Join(root, "large"), filepath.Join(root, "etc/large")))
	must(t, os.WriteFile(img, nil, 0o600), os.Truncate(img, 16<<20))
	if out, err := exec.Command(program, "-q", "-M", "-n", "4096", "-m", "single", "-d", "single", "--rootdir", root, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(img)
	must(t, err)
	return b
}

func isVerdict(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) }

// readAll reads names, xattrs and some content.
func readAll(b []byte, verify bool) error {
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{Verify: verify, MaxExtents: 1000, MaxNames: 1000})
	if err != nil {
		return err
	}
	names, left, buf := 0, 16<<20, make([]byte, 200000)
	return f.Walk(func(_ string, in *Inode) error {
		if names++; names > 5000 {
			return ErrUnsupported
		}
		if in.Type != TypeFile {
			return nil
		}
		file, err := in.File()
		if err != nil {
			return err
		}
		file.Data()
		for off := int64(0); off < int64(in.Size) && left > 0; off += int64(len(buf)) {
			n, err := file.ReadAt(buf, off)
			if left -= n; err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return nil
	})
}

// nodePlaces lists where the nodes of the fs tree and of the trees that lead to it are.
func nodePlaces(t testing.TB, b []byte) []int64 {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{Verify: true})
	must(t, err, f.Walk(func(string, *Inode) error { return nil }))
	var list []int64
	for _, at := range f.order {
		places, err := f.copies(at, uint64(f.sb.NodeSize), "a node")
		must(t, err)
		list = append(list, places...)
	}
	return list
}

func sealSuper(b []byte) { le.PutUint32(b[65536:], crc(b[65536+csumSize:65536+superSize])) }

// TestRefusesWhatItDoesNotRead changes fields of the superblock.
func TestRefusesWhatItDoesNotRead(t *testing.T) {
	sound := small(t)
	must(t, readAll(sound, true))
	for _, x := range []struct {
		at   int
		v    []byte
		want string
		is   error
	}{
		{0x40, []byte("x"), "magic", ErrCorrupt},
		{0x30, []byte{1}, "says that it is at", ErrCorrupt},
		{0x88, []byte{2}, "2 devices", ErrUnsupported},
		{0xc4, []byte{1}, "xxhash64", ErrUnsupported},
		{0xc4, []byte{9}, "csum_type 9", ErrCorrupt},
		{0x60, []byte{1}, "a log to replay", ErrUnsupported},
		{0x38 + 4, []byte{1}, "a seed", ErrUnsupported},
		{0xbc, []byte{0x80}, "raid56", ErrUnsupported},
		{0xbc + 7, []byte{0x80}, "bit 63", ErrUnsupported},
		{0x90, []byte{1}, "sectors of", ErrCorrupt},
		{0x94, []byte{0, 0, 2}, "nodes of", ErrCorrupt},
		{0x70 + 6, []byte{1}, "it is cut", ErrCorrupt},
		{0xc6, []byte{8}, "levels 8", ErrCorrupt},
		{0xa0, []byte{1, 8}, "sys_chunk_array", ErrCorrupt},
		{0xa0, []byte{5, 0}, "left over", ErrCorrupt},
		{0x50, []byte{1}, "a node at", ErrCorrupt},
		{0x58 + 6, []byte{1}, "in no chunk", ErrCorrupt},
		{0x48, []byte{255}, "generation", ErrCorrupt},
		{0x32b + keySize + 24, []byte{0x0a}, "RAID0", ErrUnsupported},
	} {
		b := bytes.Clone(sound)
		copy(b[65536+x.at:], x.v)
		sealSuper(b)
		if err := readAll(b, true); !errors.Is(err, x.is) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%#x: %v, want %q", x.at, err, x.want)
		}
	}
	b := bytes.Clone(sound)
	b[65536+0x200]++
	if err := readAll(b, true); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a wrong checksum: %v", err)
	}
}

// TestFlippedBytesAreFound damages nodes: a checksum tells of each, and without them nothing
// worse than an error happens.
func TestFlippedBytesAreFound(t *testing.T) {
	sound := small(t)
	places, r := nodePlaces(t, sound), rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		at := places[r.IntN(len(places))]
		off := at + int64(r.IntN(4096))
		old := sound[off]
		sound[off] ^= byte(1 + r.IntN(255))
		unused := off-at >= 4 && off-at < csumSize // crc32c has 4 bytes of the checksum's 32
		if err := readAll(sound, true); !unused && !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d of the node at %d: %v", off-at, at, err)
		}
		if err := readAll(sound, false); err != nil && !isVerdict(err) {
			t.Errorf("byte %d of the node at %d: %v", off-at, at, err)
		}
		sound[off] = old
	}
	must(t, readAll(sound, true))
}

func TestCheckFindsDamagedContent(t *testing.T) {
	b := small(t)
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{})
	must(t, err)
	sound(t, f)
	i := bytes.Index(b, noise(4096))
	if i < 0 {
		t.Fatal("the content is not there")
	}
	b[i+5]++
	problems, err := f.Check(context.Background())
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], fmt.Sprintf("content at byte %d has the checksum", i)) {
		t.Errorf("%v, %q", err, problems)
	}
	if what, err := f.Locate(context.Background(), int64(i)); err != nil || !strings.HasPrefix(what, `data of "`) {
		t.Errorf("%q, %v", what, err)
	}
}

func TestTruncatedImagesAreRefused(t *testing.T) {
	b := small(t)
	for _, n := range []int{0, 65536, 65536 + 4095, 65536 + 4096, 1 << 20, len(b) - 1} {
		if err := readAll(b[:n], true); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// FuzzNode damages nodes at places of the fuzzer's choice and seals them again, so that
// checksums do not shield what is behind them.
func FuzzNode(f *testing.F) {
	image := small(f)
	places := nodePlaces(f, image)
	f.Add(uint16(0), uint16(0x60), []byte{1})
	f.Add(uint16(3), uint16(200), []byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, which, off uint16, with []byte) {
		b := bytes.Clone(image)
		n := b[places[int(which)%len(places)]:][:4096]
		copy(n[int(off)%4096:], with)
		le.PutUint32(n, crc(n[csumSize:]))
		if err := readAll(b, true); err != nil && !isVerdict(err) {
			t.Error(err)
		}
		x, err := Open(bytes.NewReader(b), int64(len(b)), Options{MaxExtents: 1000, MaxNames: 1000})
		if err != nil {
			return
		}
		if _, err := x.Check(context.Background()); err != nil && !isVerdict(err) {
			t.Error(err)
		}
	})
}

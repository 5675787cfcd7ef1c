package ext4

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// sparse5G is 5 GiB of zeros with a word at the end.
type sparse5G struct{}

func (sparse5G) Size() int64 { return 5 << 30 }

func (s sparse5G) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(io.LimitReader(zeros{}, s.Size()-3), bytes.NewReader([]byte("end")))), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestScale makes 200,000 inodes, 100,000 of them in one directory, and a file of
// 5 GiB that is one block.
func TestScale(t *testing.T) {
	tr := tree.New()
	put(t, tr, "data/sparse", &tree.Node{Mode: 0o644, Content: sparse5G{}})
	body := memory("a small file\n")
	for i := range 100_000 {
		put(t, tr, fmt.Sprintf("large/a rather long name for a file, number %06d", i), &tree.Node{Mode: 0o644, Content: body})
		put(t, tr, fmt.Sprintf("many/%03d/%03d", i/1000, i%1000), &tree.Node{Mode: 0o644})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	img, st := makeImage(t, tr, Options{JournalBytes: MinJournalBytes, FreeBytes: 16 << 20, HashSeed: [16]byte{1}})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > st.Inodes*1024 {
		t.Errorf("the writer keeps %d bytes for %d inodes, want at most 1 KiB each", grown, st.Inodes)
	}
	info, err := os.Stat(img)
	if err != nil {
		t.Fatal(err)
	}
	if st.Inodes < 200_000 || info.Size() != st.Size || info.Size() > 1<<30 {
		t.Errorf("%+v in a file of %d bytes", st, info.Size())
	}
	fsck(t, img)

	dir, unmount := testneed.Mount(t, img, "ro")
	for i := 0; i < 100_000; i += 9973 {
		name := filepath.Join(dir, "large", fmt.Sprintf("a rather long name for a file, number %06d", i))
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if out, err := exec.Command("sh", "-c", "ls "+filepath.Join(dir, "large")+" | wc -l").Output(); string(out) != "100000\n" {
		t.Errorf("the kernel lists %q names (%v)", out, err)
	}
	unmount()
}

// nowhere is a file that keeps nothing.
type nowhere struct{ File }

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Truncate(int64) error                   { return nil }

// optionsFor finds options that make the image of an empty tree that many blocks.
// Inode tables grow in steps, so that not every size can be had with every journal.
func optionsFor(t *testing.T, blocks int64) Options {
	t.Helper()
	opt := Options{Epoch: testEpoch}
	for opt.JournalBytes = MinJournalBytes; opt.JournalBytes < 2*MinJournalBytes; opt.JournalBytes += blockSize {
		opt.FreeBytes = blocks*blockSize*9/10 - opt.JournalBytes
		for {
			st, err := NewWriter(nowhere{}).Finish(t.Context(), tree.New(), opt)
			if err != nil {
				t.Fatal(err)
			}
			off := blocks - st.Size/blockSize
			if off == 0 {
				return opt
			}
			if off < 0 {
				break
			}
			opt.FreeBytes += max(1, off*9/10) * blockSize
		}
	}
	t.Fatalf("no image of %d blocks", blocks)
	return Options{}
}

// TestEveryGroupBoundary makes images whose end falls near a group's end, where
// the last group is full, missing or too short for a superblock, and has e2fsck
// look at them by way of each copy of the superblock.
func TestEveryGroupBoundary(t *testing.T) {
	testneed.Tool(t, "e2fsck")
	e2fsck, _ := testneed.Look("e2fsck")
	for groups := int64(1); groups <= 10; groups++ {
		for _, off := range []int64{-200, -1, 0, minLastGroup, minLastGroup + 1} {
			blocks := groups*blocksPerGroup + off
			img, _ := makeImage(t, tree.New(), optionsFor(t, blocks))
			fsck(t, img)
			for group := int64(1); group*blocksPerGroup < blocks; group++ {
				if !hasSuper(uint64(group)) {
					continue
				}
				out, err := exec.Command(e2fsck, "-fn", "-b", fmt.Sprint(group*blocksPerGroup), img).CombinedOutput()
				if err != nil || len(complaints(out)) > 0 {
					t.Errorf("%d blocks, superblock of group %d: %v\n%s", blocks, group, err, out)
				}
			}
			os.Remove(img)
		}
	}
}

// TestTheLastGroupIsNeverTooShort asks for sizes at which a superblock and its
// group descriptors would not fit in what is left for the last group.
func TestTheLastGroupIsNeverTooShort(t *testing.T) {
	testneed.Tool(t, "e2fsck")
	opt := optionsFor(t, blocksPerGroup)
	for range minLastGroup / 4 {
		opt.FreeBytes += 4 * blockSize
		img, st := makeImage(t, tree.New(), opt)
		last := st.Size / blockSize % blocksPerGroup
		if last > 0 && last < minLastGroup {
			t.Errorf("the last group has %d blocks, want %d or more", last, minLastGroup)
		}
		fsck(t, img)
	}
}

// TestDataAcrossGroups writes data over the places of superblocks in groups 1, 3 and 5.
func TestDataAcrossGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: writes 700 MB; run without -short")
	}
	f := scratch(t)
	w := NewWriter(f)
	tr := tree.New()
	for i, size := range []int64{100 << 20, 400<<20 + 1, 200 << 20} {
		c, err := w.Store(size, &counter{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, tr, fmt.Sprint(i), &tree.Node{Mode: 0o644, Content: c})
	}
	if _, err := w.Finish(t.Context(), tr, Options{Epoch: testEpoch, JournalBytes: MinJournalBytes, FreeBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	fsck(t, f.Name())
	dir, unmount := testneed.Mount(t, f.Name(), "ro")
	for i, size := range []int64{100 << 20, 400<<20 + 1, 200 << 20} {
		same(t, filepath.Join(dir, fmt.Sprint(i)), size)
	}
	unmount()
}

// counter yields bytes that tell their place.
type counter struct{ at int64 }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c.at ^ c.at>>8 ^ c.at>>16 ^ c.at>>24 | 1)
		c.at++
	}
	return len(p), nil
}

func same(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	from := &counter{}
	for size > 0 {
		n := min(size, int64(len(got)))
		if _, err := io.ReadFull(f, got[:n]); err != nil {
			t.Fatal(err)
		}
		from.Read(want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%s differs before byte %d", path, from.at)
		}
		size -= n
	}
}

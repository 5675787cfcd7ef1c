package ext4read

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
)

func TestOpenRefuses(t *testing.T) {
	sound := seedImages(t)[0]
	put16 := func(at int, v uint16) func(b []byte) { return func(b []byte) { le.PutUint16(b[1024+at:], v) } }
	put32 := func(at int, v uint32) func(b []byte) { return func(b []byte) { le.PutUint32(b[1024+at:], v) } }
	or32 := func(at int, v uint32) func(b []byte) {
		return func(b []byte) { le.PutUint32(b[1024+at:], le.Uint32(b[1024+at:])|v) }
	}
	tests := []struct {
		name   string
		damage func(b []byte)
		want   string
		is     error
	}{
		{"magic", put16(0x38, 0), "magic is 0x0000, not 0xef53", ErrCorrupt},
		{"revision", put32(0x4C, 2), "revision 2", ErrUnsupported},
		{"64 KiB blocks", put32(0x18, 6), "log block size 6: only 1, 2 and 4 KiB blocks", ErrUnsupported},
		{"clusters", put32(0x1C, 4), "log cluster size is 4", ErrCorrupt},
		{"first data block", put32(0x14, 0), "first data block is 0, want 1", ErrCorrupt},
		{"no blocks", put32(0x04, 1), "block count is 1, out of range", ErrCorrupt},
		{"blocks beyond the image", put32(0x04, 701), "701 blocks of 1024 bytes do not fit", ErrCorrupt},
		{"blocks beyond 48 bits", put32(0x150, 1<<16), "block count is", ErrCorrupt},
		{"blocks per group", put32(0x20, 8*1024+8), "blocks per group is 8200", ErrCorrupt},
		{"no blocks per group", put32(0x20, 0), "blocks per group is 0", ErrCorrupt},
		{"uneven blocks per group", put32(0x20, 511), "blocks per group is 511", ErrCorrupt},
		{"no inodes per group", put32(0x28, 0), "inodes per group is 0", ErrCorrupt},
		{"inodes", put32(0x00, 113), "inode count is 113, want 2 groups of", ErrCorrupt},
		{"inode size", put16(0x58, 200), "inode size is 200", ErrCorrupt},
		{"large inodes", put16(0x58, 2048), "inode size is 2048", ErrCorrupt},
		{"first inode", put32(0x54, 10), "first inode is 10", ErrCorrupt},
		{"descriptor size", put16(0xFE, 32), "descriptor size is 32", ErrCorrupt},
		{"journal to be replayed", or32(0x60, 4), "feature needs_recovery: the journal has to be replayed", ErrUnsupported},
		{"bigalloc", or32(0x64, 0x200), "feature bigalloc", ErrUnsupported},
		{"two features", or32(0x60, 0x10400), "feature ea_inode, encrypt", ErrUnsupported},
		{"unknown incompat", or32(0x60, 1<<30), "feature incompat_0x40000000", ErrUnsupported},
		{"unknown ro_compat", or32(0x64, 1<<30), "feature ro_compat_0x40000000", ErrUnsupported},
	}
	for _, tt := range tests {
		data := bytes.Clone(sound)
		tt.damage(data)
		_, err := Open(bytes.NewReader(data), int64(len(data)), Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "reading superblock: "+tt.want) || !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, size := range []int64{0, 1023, 2047, int64(len(sound)) - 1} {
		if _, err := Open(bytes.NewReader(sound[:size]), size, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("image of %d bytes: %v, want corrupt", size, err)
		}
	}
	if _, err := Open(bytes.NewReader(sound), int64(len(sound)), Options{}); err != nil {
		t.Errorf("sound image: %v", err)
	}
}

func TestSuperEqualsDumpe2fs(t *testing.T) {
	image := mke2fs(t, "64M", "-t", "ext4", "-b", "1024", "-L", "a label", "-m", "3", "-N", "3000",
		"-U", "01234567-89ab-cdef-0123-456789abcdef", "-E", "hash_seed=fedcba98-7654-3210-fedc-ba9876543210")
	sb := open(t, image, Options{Verify: true}).Super()
	out := run(t, "dumpe2fs", "-h", image)
	field := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `:\s+(.*)$`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("dumpe2fs prints no %q:\n%s", name, out)
		}
		return m[1]
	}
	var seed []byte
	for _, w := range sb.HashSeed {
		seed = le.AppendUint32(seed, w)
	}
	for name, got := range map[string]any{
		"Block count":            sb.Blocks,
		"Reserved block count":   sb.ReservedBlocks,
		"Free blocks":            sb.FreeBlocks,
		"Inode count":            sb.Inodes,
		"Free inodes":            sb.FreeInodes,
		"Block size":             sb.BlockSize,
		"Blocks per group":       sb.BlocksPerGroup,
		"Inodes per group":       sb.InodesPerGroup,
		"Inode size":             sb.InodeSize,
		"First inode":            sb.FirstInode,
		"Group descriptor size":  sb.DescSize,
		"Reserved GDT blocks":    sb.ReservedGDT,
		"Flex block group size":  sb.FlexGroupSize,
		"Journal inode":          sb.JournalInode,
		"Overhead clusters":      sb.Overhead,
		"Filesystem volume name": sb.Label,
		"Filesystem created":     sb.Created.Format("Mon Jan _2 15:04:05 2006"),
		"Filesystem features":    strings.Join(sb.Features(), " "),
	} {
		want := field(name)
		if name == "Filesystem features" {
			if !sameWords(want, fmt.Sprint(got)) {
				t.Errorf("%s = %v, dumpe2fs says %s", name, got, want)
			}
		} else if fmt.Sprint(got) != want {
			t.Errorf("%s = %v, dumpe2fs says %s", name, got, want)
		}
	}
	if got := hex.EncodeToString(seed); got != strings.ReplaceAll(field("Directory Hash Seed"), "-", "") {
		t.Errorf("hash seed = %s", got)
	}
	if got := hex.EncodeToString(sb.UUID[:]); got != "0123456789abcdef0123456789abcdef" {
		t.Errorf("UUID = %s", got)
	}
}

func sameWords(a, b string) bool {
	words := func(s string) map[string]bool {
		m := map[string]bool{}
		for _, w := range strings.Fields(s) {
			m[w] = true
		}
		return m
	}
	return fmt.Sprint(words(a)) == fmt.Sprint(words(b))
}

// Each limit lets exactly its number pass.
func TestLimits(t *testing.T) {
	image := seedImages(t)[0]
	names, err := readNames(image, Options{})
	if err != nil {
		t.Fatal(err)
	}
	names-- // the root is no name
	f, err := Open(bytes.NewReader(image), int64(len(image)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkWith := func(opt Options) error {
		g, err := Open(bytes.NewReader(image), int64(len(image)), opt)
		if err != nil {
			return err
		}
		_, err = g.Check(context.Background(), CheckOptions{})
		return err
	}
	read := func(opt Options) error { return readAll(image, opt) }
	for _, tt := range []struct {
		name  string
		at    Options
		below Options
		use   func(Options) error
	}{
		{"MaxDirEntries", Options{MaxDirEntries: 150}, Options{MaxDirEntries: 149}, read},
		{"MaxEntries", Options{MaxEntries: names}, Options{MaxEntries: names - 1}, read},
		{"MaxEntries of Check", Options{MaxEntries: names}, Options{MaxEntries: names - 1}, checkWith},
		{"MaxExtents", Options{MaxExtents: 20}, Options{MaxExtents: 19}, read},
		{"MaxDepth", Options{MaxDepth: 3}, Options{MaxDepth: 2}, read},
		{"MaxPath", Options{MaxPath: len("indexed/a name with many letters, number 149")}, Options{MaxPath: len("indexed/a name with many letters, number 14")}, read},
		{"MaxBlocks", Options{MaxBlocks: f.sb.Blocks}, Options{MaxBlocks: f.sb.Blocks - 1}, checkWith},
		{"MaxInodes", Options{MaxInodes: f.sb.Inodes}, Options{MaxInodes: f.sb.Inodes - 1}, checkWith},
	} {
		if err := tt.use(tt.at); err != nil {
			t.Errorf("%s at the bound: %v", tt.name, err)
		}
		if err := tt.use(tt.below); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s one past the bound: %v, want an error", tt.name, err)
		}
	}
}

func TestCheckStopsAfterMaxProblems(t *testing.T) {
	image := bytes.Clone(seedImages(t)[0])
	for i := 4 * 1024; i < 40*1024; i += 512 {
		image[i] ^= 0xFF
	}
	all := func(limit int) []Problem {
		f, err := Open(bytes.NewReader(image), int64(len(image)), Options{MaxProblems: limit})
		if err != nil {
			t.Fatal(err)
		}
		problems, err := f.Check(context.Background(), CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return problems
	}
	n := len(all(0))
	if n < 10 {
		t.Fatalf("only %d problems", n)
	}
	if got := all(n); len(got) != n {
		t.Errorf("%d problems at a limit of as many", len(got))
	}
	got := all(n - 1)
	if len(got) != n || got[n-1].Where != "check" {
		t.Errorf("one past the limit: %d problems, last %v", len(got), got[len(got)-1])
	}
}

func TestReadAtGivesWhatReadGives(t *testing.T) {
	image := seedImages(t)[0]
	f, err := Open(bytes.NewReader(image), int64(len(image)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sparse", "blocks"} {
		in, err := f.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := in.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err != nil || uint64(len(all)) != in.Size {
			t.Fatalf("%s: read %d of %d bytes, %v", name, len(all), in.Size, err)
		}
		for off := int64(0); off < r.Size(); off += 509 {
			for _, n := range []int64{1, 511, 1024, 9000} {
				p := make([]byte, n)
				got, err := r.ReadAt(p, off)
				want := min(n, r.Size()-off)
				if int64(got) != want || !bytes.Equal(p[:got], all[off:off+want]) || (err != nil) != (want < n) {
					t.Fatalf("%s: ReadAt(%d bytes, %d) = %d, %v", name, n, off, got, err)
				}
			}
		}
	}
}

func TestUnwrittenExtentsReadAsZeros(t *testing.T) {
	e := newEditor(t, seedImages(t)[0])
	e.add16(e.file("blocks")+0x38, 0x8000)
	f, err := Open(bytes.NewReader(e.data), int64(len(e.data)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := f.Lookup("blocks")
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || len(got) != 5000 || !allZero(got) {
		t.Errorf("read %d bytes beginning %q, %v, want 5000 zeros", len(got), got[:min(20, len(got))], err)
	}
	if m, err := in.Extents(); err != nil || len(m) != 1 || !m[0].Unwritten || m[0].Len != 5 {
		t.Errorf("extents %+v, %v, want one unwritten of 5 blocks", m, err)
	}
}

func TestWalkSkipsDirectories(t *testing.T) {
	image := seedImages(t)[0]
	f, err := Open(bytes.NewReader(image), int64(len(image)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := f.Walk(func(name string, in *Inode) error {
		got = append(got, name)
		if name == "indexed" || name == "a/b" {
			return fs.SkipDir
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := ". a a/b blocks console disk fifo hello hello again indexed long link lost+found short link sparse value"
	if strings.Join(got, " ") != want {
		t.Errorf("walked %q, want %q", got, want)
	}
	stop := errors.New("enough")
	if err := f.Walk(func(string, *Inode) error { return stop }); err != stop { // It has to come back as it is.
		t.Errorf("Walk returned %v, want the callback's error", err)
	}
}

func TestTimes(t *testing.T) {
	in := &Inode{raw: make([]byte, 256)}
	le.PutUint16(in.raw[0x80:], 32)
	for _, tt := range []struct {
		lo, extra uint32
		want      time.Time
	}{
		{0, 0, time.Unix(0, 0)},
		{0xFFFFFFFF, 0, time.Unix(-1, 0)},
		{0x80000000, 0, time.Unix(-1<<31, 0)},
		{0x80000000, 1, time.Unix(1<<31, 0)},
		{0x7FFFFFFF, 3 | 999999999<<2, time.Unix(3<<32+1<<31-1, 999999999)},
		{0xFFFFFFFF, 1, time.Unix(1<<32-1, 0)},
	} {
		le.PutUint32(in.raw[0x10:], tt.lo)
		le.PutUint32(in.raw[0x88:], tt.extra)
		if got := in.when(0x10, 0x88); !got.Equal(tt.want) {
			t.Errorf("time %#x, %#x is %v, want %v", tt.lo, tt.extra, got, tt.want.UTC())
		}
	}
	le.PutUint16(in.raw[0x80:], 8) // ends before the second field of mtime
	if got := in.when(0x10, 0x88); !got.Equal(time.Unix(-1, 0)) {
		t.Errorf("time without room for more bits is %v", got)
	}
}

func TestRdev(t *testing.T) {
	for _, tt := range []struct {
		short, long uint32
		want        Rdev
	}{
		{0x0501, 0, Rdev{5, 1}},
		{0xFFFF, 0, Rdev{255, 255}},
		{0, 0x10300 | 0x493<<20 | 0xE0, Rdev{0x103, 0x493E0}},
		{0, 0xFFFFFFFF, Rdev{0xFFF, 0xFFFFF}},
	} {
		if got := decodeRdev(tt.short, tt.long); got != tt.want {
			t.Errorf("device %#x, %#x is %v, want %v", tt.short, tt.long, got, tt.want)
		}
	}
}

func TestACLRefuses(t *testing.T) {
	for _, disk := range []string{"", "01", "02000000", "0100000001", "01000000010007", "010000000200070001", "0100000003000700"} {
		raw, err := hex.DecodeString(disk)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := aclToWire(raw); !errors.Is(err, ErrCorrupt) {
			t.Errorf("ACL %s becomes %x, %v", disk, got, err)
		}
	}
	raw, _ := hex.DecodeString("01000000" + "01000600" + "0200060039050000" + "04000400" + "10000600" + "20000400")
	want := "02000000" + "01000600ffffffff" + "0200060039050000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff"
	if got, err := aclToWire(raw); err != nil || hex.EncodeToString([]byte(got)) != want {
		t.Errorf("ACL becomes %x, %v, want %s", got, err, want)
	}
}

// A sparse image of 2 TiB costs no memory to read.
func TestHugeSparseImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	if err := os.Truncate(path, 1<<41); err != nil {
		testneed.Missing(t, "sparse", err.Error())
	}
	if out, err := tryRun(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-N", "100000", "-E", "lazy_itable_init=1,nodiscard", path); err != nil {
		testneed.Missing(t, "sparse", fmt.Sprintf("%v: %s", err, out))
	}
	f := open(t, path, Options{Verify: true})
	names := 0
	if err := f.Walk(func(string, *Inode) error { names++; return nil }); err != nil || names != 2 {
		t.Errorf("walked %d names, %v", names, err)
	}
	if _, err := f.Check(context.Background(), CheckOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Check: %v, want the limit of blocks", err)
	}
}

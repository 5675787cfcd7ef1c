package squashfsread

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/squashfs"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// plain is an image in which nothing is compressed, so that its bytes are where they are.
func plain(t testing.TB) []byte { return sampleImage(t, squashfs.Options{Compression: squashfs.None}) }

// find is where an inode is in a plain image.
func find(t testing.TB, f *FS, name string) (int, *Inode) {
	t.Helper()
	at, found := 0, (*Inode)(nil)
	err := f.Walk(func(n string, in *Inode) error {
		if n == name {
			at, found = int(f.sb.InodeTable)+int(in.Ref>>16)+2+int(in.Ref&0xffff), in
		}
		return nil
	})
	if err != nil || found == nil {
		t.Fatalf("%q: %v", name, err)
	}
	return at, found
}

// read reads all of an image: names, xattrs, and some content.
func read(b []byte) error {
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{MaxBlocks: 1000})
	if err != nil {
		return err
	}
	names, left := 0, 64<<20
	buf := make([]byte, 200000)
	return f.Walk(func(_ string, in *Inode) error {
		if names++; names > 5000 {
			return ErrUnsupported
		}
		if in.Type != TypeFile {
			return nil
		}
		r, err := in.File()
		if err != nil {
			return err
		}
		r.Data()
		for off := int64(0); off < int64(in.Size) && left > 0; off += int64(len(buf)) {
			n, err := r.ReadAt(buf, off)
			if left -= n; err != nil && err != io.EOF {
				return err
			}
		}
		return nil
	})
}

func isVerdict(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) }

// TestRefusesWhatBreaksTheFormat damages one field at a time.
func TestRefusesWhatBreaksTheFormat(t *testing.T) {
	sound := plain(t)
	f := openBytes(t, sound)
	put16 := func(at int, v uint16) func([]byte) { return func(b []byte) { le.PutUint16(b[at:], v) } }
	put32 := func(at int, v uint32) func([]byte) { return func(b []byte) { le.PutUint32(b[at:], v) } }
	put64 := func(at int, v uint64) func([]byte) { return func(b []byte) { le.PutUint64(b[at:], v) } }
	large, _ := find(t, f, "large")
	root, _ := find(t, f, ".")
	link, _ := find(t, f, "link")
	hard, _ := find(t, f, "hard1")
	small, _ := find(t, f, "etc/hostname")
	etc, _ := find(t, f, "etc")
	dirs := int(f.sb.DirTable) + 2
	name := bytes.Index(sound[dirs:], []byte("hostname")) + dirs
	xattr := bytes.Index(sound, []byte{2, 0, 1, 0, 'c'})
	inodes := int(f.sb.InodeTable)
	for _, tt := range []struct {
		name   string
		damage func([]byte)
		want   string
	}{
		{"magic", put32(0, 0), "magic"},
		{"version", put16(28, 3), "version 3.0"},
		{"block size", put32(12, 131073), "block size"},
		{"block size of 2 KiB", func(b []byte) { put32(12, 2048)(b); put16(22, 11)(b) }, "block size"},
		{"block size of 2 MiB", func(b []byte) { put32(12, 2<<20)(b); put16(22, 21)(b) }, "block size"},
		{"logarithm", put16(22, 16), "logarithm"},
		{"compressor", put16(20, 9), "compressor 9"},
		{"lzma", put16(20, 2), "lzma"},
		{"bytes used", put64(40, uint64(len(sound)+1)), "bytes used"},
		{"no owners", put16(26, 0), "0 owners"},
		{"id table behind the end", put64(48, uint64(len(sound))), "id table"},
		{"negative xattr table", put64(56, 1<<63), "xattr table"},
		{"inode table in the superblock", put64(64, 95), "inode table"},
		{"directory table before the inodes", put64(72, 96), "directory table"},
		{"fragments without a table", put64(80, 1<<64-1), "without a table"},
		{"root", put64(32, 0), "root"},
		{"root behind the table", put64(32, 1<<40), "not in the inode table"},
		{"root that is a file", put64(32, f.mustRef(t, "hard1")), "root is no directory"},
		{"metadata block of no bytes", put16(inodes, 0x8000), "a size of 0"},
		{"metadata block of 8193 bytes", put16(inodes, 0x8000|8193), "a size of 8193"},
		{"metadata block that is not compressed data", func(b []byte) { b[inodes+1] &^= 0x80 }, "uncompressing"},
		{"type 0", put16(large, 0), "type 0"},
		{"type 15", put16(large, 15), "type 15"},
		{"mode", put16(large+2, 0o10644), "mode"},
		{"owner", put16(large+4, 99), "owner 99"},
		{"number 0", put32(large+12, 0), "number 0"},
		{"another number", put32(large+12, 1), "by its directory"},
		{"block of more than its size", put32(large+32, 131073), "size 0x20001"},
		{"block behind the data", put32(large+16, uint32(f.sb.InodeTable)), "outside of the data"},
		{"block in the superblock", put32(large+16, 95), "outside of the data"},
		{"short block", put32(large+32, 131071|1<<24), "131071 bytes, want 131072"},
		{"fragment", put32(small+20, 77), "fragment 77"},
		{"offset in the fragment", put32(small+24, 131072), "bytes from 131072"},
		{"too many blocks", put32(large+28, 1<<31), "at most 1000"},
		{"symlink without a target", put32(link+20, 0), "target of 0"},
		{"symlink of 4096 bytes", put32(link+20, 4096), "target of 4096"},
		{"xattr index", put32(hard+52, 9), "xattrs 9"},
		{"xattr namespace", put16(xattr, 3), "xattr of type 0x3"},
		{"xattr without a name", put16(xattr+2, 0), "name of 0 bytes"},
		{"xattr name of 256 bytes", put16(xattr+2, 247), "name of 247"},
		{"xattr name with a NUL", put16(xattr+4, 0), "xattr"},
		{"xattr value", put32(xattr+5, 65537), "65537 bytes"},
		{"directory of one byte", put16(etc+24, 1), "directory of 1 bytes"},
		{"directory that ends in an entry", put16(etc+24, 30), "longer than its directory"},
		{"listing behind the table", put32(etc+16, 1<<30), "behind the table's end"},
		{"slash", func(b []byte) { b[name] = '/' }, `"/ostname"`},
		{"NUL", func(b []byte) { b[name] = 0 }, `ostname"`},
		{"dot", func(b []byte) { put16(name-2, 0)(b); b[name] = '.' }, `"."`},
		{"name of 256 bytes", put16(name-2, 255), "name of 256"},
		{"order", func(b []byte) { b[name] = 'z' }, `after "zostname"`},
		{"run of 257 names", put32(name-20, 256), "run of 256"},
		{"type of the directory", put16(name-4, 1), "type 1 by its directory"},
		{"a directory twice", func(b []byte) { // etc/hostname is etc itself
			put16(name-8, uint16(openBytes(t, sound).mustRef(t, "etc")))(b)
			put16(name-6, le.Uint16(b[name-6:])-1)(b)
			put16(name-4, 1)(b)
		}, "two names"},
		{"root's listing", put32(root+16, 1<<31), "behind"},
	} {
		b := slices.Clone(sound)
		tt.damage(b)
		if err := read(b); err == nil || !isVerdict(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := read(sound); err != nil {
		t.Errorf("undamaged: %v", err)
	}
}

func (f *FS) mustRef(t testing.TB, name string) uint64 {
	_, in := find(t, f, name)
	return in.Ref
}

// TestCheckSees damages what reading alone does not look at.
func TestCheckSees(t *testing.T) {
	sound := plain(t)
	f := openBytes(t, sound)
	hard, _ := find(t, f, "hard1")
	sparse, _ := find(t, f, "sparse")
	etc, _ := find(t, f, "etc")
	many, in := find(t, f, "many")
	if in.indexes == 0 {
		t.Fatal("the large directory has no index")
	}
	export := make([]byte, 8)
	if err := f.readAt(export, f.sb.ExportTable, ""); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		at   int
		to   byte
		want string
	}{
		{"padding", len(sound) - 1, 1, "is not zero"},
		{"links", hard + 40, 3, "3 links, 2 names lead to it"},
		{"links of a directory", etc + 20, 9, "9 links"},
		{"parent", etc + 28, 9, "its parent is inode 9"},
		{"holes", sparse + 32, 1, "bytes in holes"},
		{"index", many + 40 + 12, 'x', "no run of names"},
		{"index offset", many + 40, 1, "no run of names"},
		{"count of inodes", 5, 9, "are in directories"},
		{"export table", int(le.Uint64(export)) + 2, 99, "export table"},
	} {
		b := slices.Clone(sound)
		if b[tt.at] == tt.to {
			t.Errorf("%s: no damage", tt.name)
		}
		b[tt.at] = tt.to
		g, err := Open(bytes.NewReader(b), int64(len(b)), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		problems, err := g.Check(context.Background())
		if err != nil || !strings.Contains(strings.Join(problems, "\n"), tt.want) {
			t.Errorf("%s: %v, %q, want %q", tt.name, err, problems, tt.want)
		}
	}
	packed := sampleImage(t, squashfs.Options{})
	clear(packed[110:130]) // of the first block of "large"
	if problems, err := openBytes(t, packed).Check(context.Background()); err != nil || len(problems) == 0 || !strings.Contains(problems[0], "uncompressing") {
		t.Errorf("a damaged block: %v, %q", err, problems)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestEveryTruncationIsAVerdict cuts an image at many places.
func TestEveryTruncationIsAVerdict(t *testing.T) {
	for _, o := range []squashfs.Options{{}, {Compression: squashfs.Gzip}} {
		b := sampleImage(t, o)
		for n := 0; n < len(b)-4096; n += 97 {
			if err := read(b[:n]); err == nil || !isVerdict(err) {
				t.Fatalf("cut at %d: %v", n, err)
			}
		}
	}
}

// TestBlocksAreBounded gives blocks that uncompress to more than they may.
func TestBlocksAreBounded(t *testing.T) {
	long := bytes.Repeat([]byte("a"), 1<<20)
	for _, compressor := range []uint16{Gzip, Zstd} {
		c := squashfs.Zstd
		if compressor == Gzip {
			c = squashfs.Gzip
		}
		unpack, err := newUnpacker(compressor, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		packed := packedBlock(t, c, long[:131072])
		for _, room := range []int{131072, 131071, 100, 0} {
			out, err := unpack(make([]byte, 0, room), packed)
			if (err == nil) != (room == 131072) || err == nil && !bytes.Equal(out, long[:131072]) {
				t.Errorf("compressor %d, room for %d: %d bytes, %v", compressor, room, len(out), err)
			}
		}
		if _, err := unpack(make([]byte, 0, 131072), packed[:len(packed)-3]); err == nil {
			t.Errorf("compressor %d: a cut block is taken", compressor)
		}
	}
}

// packedBlock takes the first block of an image's only file.
func packedBlock(t testing.TB, c squashfs.Compression, content []byte) []byte {
	t.Helper()
	b := imageOf(t, c, content)
	f := openBytes(t, b)
	_, in := find(t, f, "f")
	file, err := in.File()
	if err != nil {
		t.Fatal(err)
	}
	return b[file.starts[0]:file.starts[1]]
}

// FuzzRead opens arbitrary bytes: an error is a verdict, and what can be read can be
// checked and located.
func FuzzRead(f *testing.F) {
	for _, o := range []squashfs.Options{{}, {Compression: squashfs.Gzip}, {Compression: squashfs.None}} {
		b := tiny(f, o)
		if err := read(b); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := read(b)
		if err != nil && !isVerdict(err) {
			t.Errorf("%v is no verdict on the image", err)
		}
		g, err := Open(bytes.NewReader(b), int64(len(b)), Options{MaxBlocks: 1000})
		if err != nil {
			return
		}
		if _, err := g.Check(context.Background()); err != nil && !isVerdict(err) {
			t.Errorf("checking: %v is no verdict on the image", err)
		}
		for off := int64(0); off <= int64(len(b)); off += int64(len(b)/20 + 1) {
			if what, err := g.Locate(context.Background(), off); err != nil || what == "" {
				t.Errorf("at %d: %q, %v", off, what, err)
			}
		}
		_ = fmt.Sprint(g.SuperFields(), g.Level())
	})
}

package xfsread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/testneed"
)

// sample is a small image of every structure that is read.
func sample(t testing.TB) []byte {
	t.Helper()
	img := format(t, 32, "-b size=1024 -d agcount=2 -i size=512")
	dir, unmount := testneed.Mount(t, img, "")
	p := filler{t, dir}
	p.write("short/hostname", []byte("plugin\n"))
	p.write("short/other", nil)
	for i := range 12 {
		p.write(fmt.Sprintf("block/hostname%d", i), nil)
	}
	for i := range 300 {
		p.must(os.MkdirAll(p.at("large"), 0o755), unix.Mknod(p.at(fmt.Sprintf("large/%020d", i)), unix.S_IFIFO|0o600, 0))
	}
	f, err := os.Create(p.at("tree"))
	p.must(err)
	for i := range int64(200) {
		_, err := f.WriteAt([]byte("x"), i*2048)
		p.must(err)
	}
	p.must(f.Truncate(200*2048), f.Close())
	p.must(os.Symlink("short/hostname", p.at("link")), os.Symlink(strings.Repeat("t", 1000), p.at("far")))
	p.must(unix.Mknod(p.at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	p.write("hard1", []byte("linked"))
	p.must(os.Link(p.at("hard1"), p.at("hard2")))
	p.xattr("hard1", "user.a", []byte("b"))
	p.xattr("hard1", "system.posix_acl_access", list([3]uint32{1, 6, noID}, [3]uint32{2, 5, 1234}, [3]uint32{4, 5, noID}, [3]uint32{16, 5, noID}, [3]uint32{32, 1, noID}))
	p.write("leaf", nil)
	p.xattr("leaf", "user.leaf", noise(600, 1))
	p.write("remote", nil)
	p.xattr("remote", "user.remote", noise(3000, 1))
	p.write("node", nil)
	for i := range 60 {
		p.xattr("node", fmt.Sprintf("user.%020d", i), noise(40, 1))
	}
	unmount()
	b, err := os.ReadFile(img)
	p.must(err)
	return b
}

func openBytes(t testing.TB, b []byte, opt Options) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// named finds an inode, and where it is.
func named(t testing.TB, f *FS, name string) (int, *Inode) {
	t.Helper()
	found := (*Inode)(nil)
	err := f.Walk(func(n string, in *Inode) error {
		if n == name {
			found = in
		}
		return nil
	})
	if err != nil || found == nil {
		t.Fatalf("%q: %v", name, err)
	}
	at, err := f.inodePlace(found.Number)
	if err != nil {
		t.Fatal(err)
	}
	return int(at), found
}

// blockOf is where the block of a fork is.
func blockOf(t testing.TB, in *Inode, k *fork, i int) int {
	t.Helper()
	list, _, err := in.extents(k)
	if err != nil || i >= len(list) {
		t.Fatalf("%d extents, %v", len(list), err)
	}
	return int(list[i].place)
}

// read reads all of an image: names, xattrs, and some content.
func read(b []byte, verify bool) error {
	f, err := Open(bytes.NewReader(b), int64(len(b)), Options{Verify: verify, MaxExtents: 1000, MaxNames: 1000})
	if err != nil {
		return err
	}
	names, left := 0, 4<<20
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
		for off := int64(0); off < in.Size && left > 0; off += int64(len(buf)) {
			n, err := r.ReadAt(buf, off)
			if left -= n; err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return nil
	})
}

func isVerdict(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) }

func put8(at int, v uint8) func([]byte)   { return func(b []byte) { b[at] = v } }
func flip(at int) func([]byte)            { return func(b []byte) { b[at] ^= 1 } }
func put16(at int, v uint16) func([]byte) { return func(b []byte) { be.PutUint16(b[at:], v) } }
func put32(at int, v uint32) func([]byte) { return func(b []byte) { be.PutUint32(b[at:], v) } }
func put64(at int, v uint64) func([]byte) { return func(b []byte) { be.PutUint64(b[at:], v) } }

// TestRefusesWhatBreaksTheFormat damages one field at a time.
func TestRefusesWhatBreaksTheFormat(t *testing.T) {
	sound := sample(t)
	f := openBytes(t, sound, Options{Verify: true})
	short, shortIn := named(t, f, "short")
	_, blockIn := named(t, f, "block")
	_, largeIn := named(t, f, "large")
	tree, treeIn := named(t, f, "tree")
	link, _ := named(t, f, "link")
	_, farIn := named(t, f, "far")
	hard, hardIn := named(t, f, "hard1")
	_, leafIn := named(t, f, "leaf")
	_, remoteIn := named(t, f, "remote")
	_, nodeIn := named(t, f, "node")
	block, large, far := blockOf(t, blockIn, &blockIn.data, 0), blockOf(t, largeIn, &largeIn.data, 0), blockOf(t, farIn, &farIn.data, 0)
	leaf, node := blockOf(t, leafIn, &leafIn.attr, 0), blockOf(t, nodeIn, &nodeIn.attr, 0)
	value := blockOf(t, remoteIn, &remoteIn.attr, 0)
	for be.Uint32(sound[value:]) != valueMagic {
		value += 1024
	}
	pointer, err := f.place(be.Uint64(treeIn.data.b[4+8*((len(treeIn.data.b)-4)/16):]), 1)
	if err != nil {
		t.Fatal(err)
	}
	btree := int(pointer)
	extents := uint32(treeIn.data.extents)
	hardAttr := hard + coreSize + len(hardIn.data.b)
	aclAt := bytes.Index(sound[hardAttr:], []byte("SGI_ACL_FILE")) + len("SGI_ACL_FILE") + hardAttr
	hostname := bytes.Index(sound[block:], []byte("hostname")) + block
	shortName := bytes.Index(sound[short:], []byte("hostname")) + short
	logAt, err := f.place(f.sb.LogStart, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		damage func([]byte)
		want   string
	}{
		{"magic", put32(0, 0), "magic"},
		{"version 4", put16(100, 0xb4a4), "version 4"},
		{"block size", put32(4, 1025), "block size"},
		{"block size of 128 KiB", func(b []byte) { put32(4, 128<<10)(b); b[120] = 17 }, "block size"},
		{"sector size", put16(102, 500), "sector size"},
		{"inode size", put16(104, 256), "inode size"},
		{"inodes of a block", put8(123, 3), "inodes of a block"},
		{"directory block of 128 KiB", put8(192, 7), "directory blocks"},
		{"group size", put32(84, 0), "groups of"},
		{"group logarithm", put8(124, 31), "groups of"},
		{"no groups", put32(88, 0), "blocks in 0 groups"},
		{"more groups", put32(88, 3), "in 3 groups"},
		{"more blocks", put64(8, uint64(len(sound)/1024+1)), "blocks"},
		{"log outside", put64(48, 1<<40), "log"},
		{"log of no blocks", put32(96, 0), "log"},
		{"log elsewhere", put64(48, 0), "another device"},
		{"realtime", put64(16, 5), "realtime"},
		{"needs repair", put32(216, f.sb.Incompat|incompatNeedsRepair), "xfs_repair"},
		{"metadir", put32(216, f.sb.Incompat|0x100), "metadir"},
		{"unknown feature", put32(216, f.sb.Incompat|1<<30), "bit 30"},
		{"mkfs not finished", put8(126, 1), "mkfs"},
		{"no record in the log", func(b []byte) { clear(b[logAt : logAt+int64(f.sb.LogBlocks)*1024]) }, "not unmounted"},
		{"root that is a file", put64(56, hardIn.Number), "root is no directory"},
		{"root outside", put64(56, 1<<50), "outside of it"},

		{"inode magic", put16(short, 0), "magic"},
		{"inode version", put8(short+4, 2), "version 2"},
		{"inode number", put64(short+152, 7), "it says that it is inode 7"},
		{"inode of another filesystem", put8(short+160, sound[short+160]+1), "another filesystem"},
		{"free inode", put16(short+2, 0), "it is free"},
		{"type", put16(short+2, 0x3000), "type 0x3000"},
		{"another type", put16(hard+2, 0o010644), "data of format 2"},
		{"negative size", put64(hard+56, 1<<63), "a size of"},
		{"format", put8(short+5, 5), "data of format 5"},
		{"xattrs outside", put8(hard+82, 200), "xattrs at byte 1600"},
		{"xattr format", put8(hard+83, 0), "xattrs of format 0"},
		{"realtime file", put16(hard+90, 1), "realtime"},

		{"extents in the inode", put32(hard+76, 500), "500 extents"},
		{"too many extents", put32(tree+76, 1001), "at most 1000"},
		{"extent count", put32(tree+76, extents-1), fmt.Sprintf("more than the %d", extents-1)},
		{"fewer extents", put32(tree+76, extents+1), fmt.Sprintf("%d extents, there are %d", extents+1, extents)},
		{"extent outside", put64(hard+coreSize+8, 1<<63|1), "outside of it"},
		{"extent of no blocks", put64(hard+coreSize+8, be.Uint64(sound[hard+coreSize+8:])&^(1<<21-1)), "0 blocks"},
		{"extent behind the end", put64(hard+coreSize+8, be.Uint64(sound[hard+coreSize+8:])|(1<<21-1)), "outside of it"},
		{"extent behind all files", put64(hard+coreSize, 1<<62), "it begins with block"},
		{"tree level", put16(tree+coreSize, 10), "10 levels"},
		{"tree level 0", put16(tree+coreSize, 0), "0 levels"},
		{"tree branches", put16(tree+coreSize+2, 99), "99 branches"},
		{"tree without branches", put16(tree+coreSize+2, 0), "0 branches"},
		{"tree magic", put32(btree, 0), "tree of extents: magic"},
		{"tree block level", put16(btree+4, 1), "a block of level 1"},
		{"tree entries", put16(btree+6, 60), "60 entries"},
		{"tree without entries", put16(btree+6, 0), "0 entries"},
		{"tree place", put64(btree+24, 1), "at sector 1"},
		{"tree owner", put64(btree+56, 1), "inode 1"},
		{"tree order", put64(btree+mapHead+16, 0), "before the end"},
		{"tree of one leaf twice", func(b []byte) {
			room := (len(treeIn.data.b) - 4) / 16
			at := tree + coreSize + 4 + 8*room
			copy(b[at+8:at+16], b[at:at+8])
		}, "before the end"},

		{"target size", put64(link+56, 1025), "target of 1025"},
		{"target of no bytes", put64(link+56, 0), "target of 0"},
		{"target longer than its inode", put64(link+56, 500), "room for"},
		{"far target magic", put32(far, 0), "magic"},
		{"far target offset", put32(far+4, 1), "from byte 1 on"},
		{"far target bytes", put32(far+8, 1000000), "part of 1000000"},
		{"far target short", put32(far+8, 10), "its blocks have"},

		{"short directory size", put64(short+56, 5), "5 bytes in an inode"},
		{"short directory longer", put64(short+56, uint64(shortIn.Size)+1), "behind its names"},
		{"short directory cut", put64(short+56, uint64(shortIn.Size)-1), "longer than its"},
		{"short directory count", put8(short+coreSize, 9), "longer than its"},
		{"short directory parent", put32(short+coreSize+2, 5), `".." is inode 5`},
		{"slash", put8(shortName, '/'), `"/ostname"`},
		{"NUL", put8(shortName, 0), `ostname"`},
		{"a name twice", func(b []byte) {
			copy(b[bytes.Index(b[block:], []byte("hostname11"))+block:], "hostname10")
		}, "occurs twice"},
		{"type of a name", put8(shortName+8, 2), "by its directory"},
		{"type that is none", put8(shortName+8, 9), "type 9"},
		{"a name of a free inode", put32(shortName+9, uint32(hardIn.Number|0x3f)), "short/hostname"},
		{"a directory twice", func(b []byte) { put8(shortName+8, 2)(b); put32(shortName+9, uint32(f.sb.Root))(b) }, "two names"},

		{"directory magic", put32(block, 0), "magic"},
		{"directory index", put32(block+int(f.sb.DirBlockSize)-8, 505), "an index of 505"},
		{"directory owner", put64(block+40, 3), "it is of"},
		{"directory tag", put16(block+dirHead+14, 1), "it says that it is at 1"},
		{"directory dot", put64(block+dirHead, 99), `the name "."`},
		{"directory without dot", func(b []byte) { b[block+dirHead+8] = 1; b[block+dirHead+9] = 'x' }, `no "."`},
		{"name longer than its block", put8(hostname-1, 255), "name at"},
		{"data magic", put32(large, dirBlockMagic), "magic"},

		{"xattrs longer", put8(hardAttr+4+1, 255), "longer than their"},
		{"xattrs size", put16(hardAttr, 3), "3 bytes where"},
		{"xattr of two namespaces", put8(hardAttr+4+2, 6), "two namespaces"},
		{"xattr with a NUL", put8(hardAttr+4+3, 0), "the name"},
		{"ACL entries", put32(aclAt, 1000), "access control list"},
		{"ACL tag", put32(aclAt+4, 1<<20), "tag"},
		{"leaf magic", put16(leaf+8, 0), "magic"},
		{"leaf count", put16(leaf+56, 1000), "1000 names"},
		{"leaf name", put16(leaf+80+4, 1), "is at 1"},
		{"leaf name at the end", put16(leaf+80+4, 1022), "is at 1022"},
		{"leaf owner", put64(leaf+48, 1), "inode 1"},
		{"node count", put16(node+56, 1000), "branches"},
		{"node without branches", put16(node+56, 0), "0 branches"},
		{"node level", put16(node+58, 9), "level 9"},
		{"node that leads to itself", put32(node+64+4, 0), "met twice"},
		{"node that leads nowhere", put32(node+64+4, 1<<30), "nothing at its block"},
		{"value magic", put32(value, 0), "magic"},
		{"value offset", put32(value+4, 1), "from byte 1"},
		{"value owner", put64(value+32, 1), "inode 1"},
	} {
		b := slices.Clone(sound)
		tt.damage(b)
		if bytes.Equal(b, sound) {
			t.Errorf("%s: no damage", tt.name)
		}
		if err := read(b, false); err == nil || !isVerdict(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := read(sound, true); err != nil {
		t.Errorf("undamaged: %v", err)
	}
	t.Run("limits", func(t *testing.T) { limits(t, sound) })
	t.Run("checksums", func(t *testing.T) { checksums(t, sound) })
	t.Run("check", func(t *testing.T) { checkSees(t, sound) })
	t.Run("truncated", func(t *testing.T) {
		for n := 0; n < len(sound); n += len(sound)/50 + 1 {
			if err := read(sound[:n], false); err == nil || !isVerdict(err) {
				t.Fatalf("cut at %d: %v", n, err)
			}
		}
	})
	t.Run("locate", func(t *testing.T) { locates(t, sound) })
}

// limits reads at the bounds of Options and past them.
func limits(t *testing.T, sound []byte) {
	_, tree := named(t, openBytes(t, sound, Options{}), "tree")
	n := int(tree.data.extents)
	for _, tt := range []struct {
		opt Options
		ok  bool
	}{
		{Options{MaxNames: 300}, true}, {Options{MaxNames: 299}, false}, {Options{MaxExtents: n}, true}, {Options{MaxExtents: n - 1}, false},
	} {
		err := openBytes(t, sound, tt.opt).Walk(func(_ string, in *Inode) error {
			if in.Type != TypeFile {
				return nil
			}
			_, err := in.File()
			return err
		})
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: %v", tt.opt, err)
		}
	}
}

// structures are the places of what is read and has a checksum, by its kind.
func structures(t testing.TB, f *FS) map[string][][2]int {
	t.Helper()
	bs := int(f.sb.BlockSize)
	all := map[string][][2]int{"superblock": {{0, 264}}}
	add := func(kind string, at, n int) { all[kind] = append(all[kind], [2]int{at, at + n}) }
	err := f.Walk(func(_ string, in *Inode) error {
		at, err := f.inodePlace(in.Number)
		if err != nil {
			return err
		}
		add("inode", int(at), int(f.sb.InodeSize))
		for kind, k := range map[string]*fork{"xattr": &in.attr, fmt.Sprintf("data%#x", in.Type): &in.data} {
			if !k.there || k.format < formatExtents || kind == "data0x8000" {
				continue
			}
			list, _, err := in.extents(k)
			if err != nil {
				return err
			}
			for _, x := range list {
				if x.Logical < dirIndex>>f.sb.blockLog {
					add(kind, int(x.place), int(x.Count)*bs)
				}
			}
		}
		if in.data.format == formatBtree {
			place, err := f.place(be.Uint64(in.data.b[4+8*((len(in.data.b)-4)/16):]), 1)
			if err != nil {
				return err
			}
			add("tree", int(place), bs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checksums flips bits of everything that has a checksum: with Verify nothing is taken,
// without it every error is a verdict.
func checksums(t *testing.T, sound []byte) {
	b := slices.Clone(sound)
	flips, seed := 0, uint32(1)
	for kind, places := range structures(t, openBytes(t, sound, Options{})) {
		for i := range 60 {
			place := places[i*7%len(places)]
			seed = seed*1664525 + 1013904223
			at := place[0] + int(seed>>8)%(place[1]-place[0])
			b[at] ^= 1 << (seed & 7)
			if err := read(b, true); err == nil || !isVerdict(err) {
				t.Errorf("%s, byte %d of %v: %v", kind, at, place, err)
			}
			if err := read(b, false); err != nil && !isVerdict(err) {
				t.Errorf("%s, byte %d: %v is no verdict", kind, at, err)
			}
			b[at] = sound[at]
			flips++
		}
	}
	if flips < 6*60 {
		t.Errorf("only %d flips", flips)
	}
}

// checkSees damages what reading alone does not look at.
func checkSees(t *testing.T, image []byte) {
	f := openBytes(t, image, Options{})
	hard, _ := named(t, f, "hard1")
	short, _ := named(t, f, "short")
	tree, _ := named(t, f, "tree")
	_, leafIn := named(t, f, "leaf")
	resum := func(b []byte, at, n, crc int) {
		clear(b[at+crc : at+crc+4])
		g := FS{opt: Options{Verify: true}}
		var sum uint32
		fmt.Sscanf(g.verify(b[at:at+n], crc, "x").Error(), "x: the checksum is 0x%x", &sum)
		le.PutUint32(b[at+crc:], sum)
	}
	inode := func(at int) func([]byte) { return func(b []byte) { resum(b, at, 512, 100) } }
	sector := func(at, crc int) func([]byte) { return func(b []byte) { resum(b, at, 512, crc) } }
	group := int(f.sb.GroupBlocks) * 1024
	for _, tt := range []struct {
		name   string
		damage func([]byte)
		fix    func([]byte)
		want   string
	}{
		{"links", put32(hard+16, 3), inode(hard), "3 links, 2 names lead to it"},
		{"links of a directory", put32(short+16, 9), inode(short), "9 links"},
		{"blocks", put64(tree+64, 5), inode(tree), "5 blocks, its extents have"},
		{"count of inodes", put64(128, 5), sector(0, superCRC), "5 inodes"},
		{"free inodes", put64(136, 5), sector(0, superCRC), "are in directories"},
		{"free blocks", put64(144, 5), sector(0, superCRC), "5 free blocks"},
		{"free space header", flip(512 + 200), func([]byte) {}, "group 0, free space: header: the checksum"},
		{"number of a group", put32(group+512+8, 5), sector(group+512, 216), "group 1, free space: it says that it is of group 5"},
		{"length of a group", put32(group+1024+12, 5), sector(group+1024, 312), "a group of 5 blocks"},
		{"magic of the free list", put32(group+1536, 5), func([]byte) {}, "group 1, free list: magic"},
		{"copy of the superblock", flip(group + 33), func([]byte) {}, "group 1, superblock"},
		{"deleted inode", put32(1024+40, 77), sector(1024, 312), "inode 77 of the group is open or deleted"},
		{"blocks of two files", func(b []byte) { copy(b[hard+coreSize+8:hard+coreSize+16], leafIn.attr.b[8:16]) }, inode(hard), "byte"},
		{"inode checksum", flip(hard + 50), func([]byte) {}, "core: the checksum"},
	} {
		b := slices.Clone(image)
		tt.damage(b)
		tt.fix(b)
		problems, err := openBytes(t, b, Options{}).Check(context.Background())
		if err != nil || !strings.Contains(strings.Join(problems, "\n"), tt.want) {
			t.Errorf("%s: %v, %q, want %q", tt.name, err, problems, tt.want)
		}
	}
	sound(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// locates names bytes.
func locates(t *testing.T, b []byte) {
	f := openBytes(t, b, Options{})
	hard, hardIn := named(t, f, "hard1")
	_, leafIn := named(t, f, "leaf")
	logAt, err := f.place(f.sb.LogStart, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		off  int
		want string
	}{
		{0, "superblock magicnum"},
		{35, "superblock uuid"},
		{263, "superblock meta_uuid"},
		{264, "header of group 0, superblock"},
		{512, "header of group 0, free space"},
		{int(f.sb.GroupBlocks)*1024 + 1024, "header of group 1, inodes"},
		{int(logAt) + 9, "log"},
		{hard + 100, `inode of "hard1"`},
		{blockOf(t, hardIn, &hardIn.data, 0) + 5, `block 0 of "hard1"`},
		{blockOf(t, leafIn, &leafIn.attr, 0), `xattr block 0 of "leaf"`},
		{len(b), "the end"},
		{8192, "free space or an index"},
	} {
		if what, err := f.Locate(context.Background(), int64(tt.off)); what != tt.want || err != nil {
			t.Errorf("byte %d is %q, %v, want %q", tt.off, what, err, tt.want)
		}
	}
}

// TestRefusesADirtyLog copies an image while it is mounted.
func TestRefusesADirtyLog(t *testing.T) {
	img := format(t, 24, "-b size=4096")
	fresh := openFile(t, img, Options{Verify: true})
	sound(t, fresh)
	for round := range 3 { // the log goes on behind the last unmount
		dir, unmount := testneed.Mount(t, img, "")
		p := filler{t, dir}
		for i := range 300 {
			p.write(fmt.Sprintf("%d/%d", round, i), []byte("x"))
		}
		if out, err := exec.Command("sync", "-f", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(img)
		p.must(err)
		if _, err := Open(bytes.NewReader(b), int64(len(b)), Options{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "mount and unmount it once, or run xfs_repair") {
			t.Errorf("round %d, mounted: %v", round, err)
		}
		unmount()
		sound(t, openFile(t, img, Options{Verify: true}))
	}
}

// TestReadsAfterTheLogWrapped writes more than the log has room for.
func TestReadsAfterTheLogWrapped(t *testing.T) {
	img := format(t, 24, "-b size=4096")
	cycles := map[uint32]bool{}
	for round := range 14 {
		dir, unmount := testneed.Mount(t, img, "wsync")
		p := filler{t, dir}
		for i := range 250 {
			name := fmt.Sprintf("%d-%d", round, i)
			p.must(unix.Mknod(p.at(name), unix.S_IFIFO|0o600, 0))
			p.must(os.Remove(p.at(name)))
		}
		unmount()
		f := openFile(t, img, Options{Verify: true})
		l := logReader{f: f, sectors: int64(f.sb.LogBlocks) << f.sb.blockLog >> 9}
		l.at, _ = f.place(f.sb.LogStart, 1)
		c, err := l.cycle(0)
		p.must(err)
		cycles[c] = true
	}
	if len(cycles) < 2 {
		t.Errorf("the log was never written through: %v", cycles)
	}
}

// FuzzRead changes bytes of an image: an error is a verdict, and what can be read can be
// checked and located.
func FuzzRead(f *testing.F) {
	base := sample(f)
	var places [][2]int
	all := structures(f, openBytes(f, base, Options{}))
	for _, kind := range []string{"superblock", "tree", "xattr", "data0x4000", "data0xa000", "inode"} {
		places = append(places, all[kind]...)
	}
	f.Add([]byte{0, 0, 0, 255})
	f.Add([]byte{0, 5, 160, 2, 0, 3, 82, 9})
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := base // changed in place: it is large
		for ; len(edits) >= 4; edits = edits[4:] {
			p := places[int(be.Uint16(edits))%len(places)]
			at := p[0] + int(edits[2])*(p[1]-p[0])/256
			old := b[at]
			defer func() { b[at] = old }()
			b[at] = edits[3]
		}
		if err := read(b, false); err != nil && !isVerdict(err) {
			t.Errorf("%v is no verdict on the image", err)
		}
		g, err := Open(bytes.NewReader(b), int64(len(b)), Options{})
		if err != nil {
			return
		}
		if _, err := g.Check(context.Background()); err != nil && !isVerdict(err) {
			t.Errorf("checking: %v is no verdict on the image", err)
		}
		for off := int64(0); off <= int64(len(b)); off += int64(len(b)/3 + 1) {
			if what, err := g.Locate(context.Background(), off); err != nil || what == "" {
				t.Errorf("at %d: %q, %v", off, what, err)
			}
		}
		_ = fmt.Sprint(g.SuperFields())
	})
}

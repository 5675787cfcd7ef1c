package ext4read

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestLayoutsCoverTheirStructures(t *testing.T) {
	for _, x := range []struct {
		name string
		l    layout
		size int
	}{{"superblock", superLayout, 1024}, {"descriptor", descLayout, 64}, {"inode", inodeLayout, 160}, {"journal superblock", journalLayout, 1024}} {
		size, seen := 0, map[string]bool{}
		for _, f := range x.l {
			size += f.size
			if seen[f.name] {
				t.Errorf("%s: %s occurs twice", x.name, f.name)
			}
			seen[f.name] = true
		}
		if size != x.size {
			t.Errorf("%s: fields of %d bytes, want %d", x.name, size, x.size)
		}
	}
}

// TestFieldsAreWhereTheSpecificationHasThem looks at offsets that the kernel's
// documentation gives.
func TestFieldsAreWhereTheSpecificationHasThem(t *testing.T) {
	for _, x := range []struct {
		l    layout
		name string
		at   int
	}{
		{superLayout, "s_wtime", 0x30},
		{superLayout, "s_uuid", 0x68},
		{superLayout, "s_hash_seed", 0xEC},
		{superLayout, "s_mkfs_time", 0x108},
		{superLayout, "s_blocks_count_hi", 0x150},
		{superLayout, "s_kbytes_written", 0x178},
		{superLayout, "s_first_error_time", 0x198},
		{superLayout, "s_last_error_func", 0x1E0},
		{superLayout, "s_overhead_blocks", 0x248},
		{superLayout, "s_checksum_seed", 0x270},
		{superLayout, "s_orphan_file_inum", 0x280},
		{superLayout, "s_checksum", 0x3FC},
		{descLayout, "bg_flags", 0x12},
		{descLayout, "bg_checksum", 0x1E},
		{descLayout, "bg_itable_unused_hi", 0x32},
		{inodeLayout, "i_block", 0x28},
		{inodeLayout, "i_file_acl_lo", 0x68},
		{inodeLayout, "i_checksum_hi", 0x82},
		{inodeLayout, "i_crtime", 0x90},
		{journalLayout, "s_uuid", 0x30},
		{journalLayout, "s_checksum_type", 0x50},
		{journalLayout, "s_checksum", 0xFC},
	} {
		if got := x.l.at(x.at); got != x.name {
			t.Errorf("at %#x is %q, want %q", x.at, got, x.name)
		}
		if got := x.l.at(x.at - 1); got == x.name {
			t.Errorf("%q begins before %#x", x.name, x.at)
		}
	}
}

// TestFieldsAgreeWithDebugfs compares values with what debugfs prints.
func TestFieldsAgreeWithDebugfs(t *testing.T) {
	image := richImage(t, "2600K", "-t", "ext4", "-b", "1024", "-N", "112", "-L", "a label")
	out := debugfs(t, image, "show_super_stats -h")
	f := open(t, image, Options{Verify: true})
	values := map[string]string{}
	for _, x := range f.SuperFields() {
		values[x.Name] = x.Value
	}
	for name, line := range map[string]string{
		"s_inodes_count":      "Inode count",
		"s_free_inodes_count": "Free inodes",
		"s_blocks_per_group":  "Blocks per group",
		"s_first_ino":         "First inode",
		"s_journal_inum":      "Journal inode",
	} {
		m := regexp.MustCompile(`(?m)^` + line + `:\s+(\d+)$`).FindStringSubmatch(out)
		if m == nil || m[1] != values[name] {
			t.Errorf("%s is %s, debugfs says %v", name, values[name], m)
		}
	}
	if values["s_volume_name"] != `"a label"` {
		t.Errorf("label is %s", values["s_volume_name"])
	}
	uuid := regexp.MustCompile(`(?m)^Filesystem UUID:\s+(\S+)$`).FindStringSubmatch(out)
	if uuid == nil || strings.ReplaceAll(uuid[1], "-", "") != values["s_uuid"] {
		t.Errorf("UUID is %s, debugfs says %v", values["s_uuid"], uuid)
	}
	j, err := f.JournalFields()
	if err != nil || len(j) != len(journalLayout) || j[0].Value != "0xc03b3998" {
		t.Errorf("journal's fields are %v, %v", j, err)
	}
	g, err := f.GroupFields(0)
	if err != nil || len(g) != len(descLayout) {
		t.Fatal(g, err)
	}
	if m := regexp.MustCompile(`(\d+) free blocks, (\d+) free inodes`).FindStringSubmatch(debugfs(t, image, "show_super_stats")); m == nil || g[3].Value != m[1] || g[4].Value != m[2] {
		t.Errorf("group 0 has %v and %v, debugfs says %v", g[3], g[4], m)
	}
}

// TestLocateNamesWhatLiesThere asks for every structure; where they lie debugfs
// says.
func TestLocateNamesWhatLiesThere(t *testing.T) {
	image := richImage(t, "2600K", "-t", "ext4", "-b", "1024", "-N", "112", "-g", "1024")
	f := open(t, image, Options{Verify: true})
	bmap := func(name string, block int) int64 {
		t.Helper()
		var n int64
		out := strings.TrimSpace(debugfs(t, image, fmt.Sprintf("bmap %s %d", name, block)))
		if _, err := fmt.Sscan(out[strings.LastIndex(out, "\n")+1:], &n); err != nil || n == 0 {
			t.Fatalf("bmap %s: %q", name, out)
		}
		return n * 1024
	}
	find := func(request, pattern string) (a, b int64) {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(debugfs(t, image, request))
		if m == nil {
			t.Fatalf("debugfs: %s: no match", request)
		}
		if _, err := fmt.Sscan(m[1], &a); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(m[2], &b); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	inode := func(name string) int64 { // its record's offset
		block, off := find("imap "+name, `block (\d+), offset (0x[0-9a-f]+)`)
		return block*1024 + off
	}
	number := func(name string) uint32 {
		t.Helper()
		in, err := f.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		return in.Number
	}
	bitmap, ibitmap := find("show_super_stats", `block bitmap at (\d+), inode bitmap at (\d+)`)
	blocks, err := f.Lookup("blocks")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		off  int64
		want string
	}{
		{5, "boot block, byte 5"},
		{1024 + 0x2C, "superblock s_mtime"},
		{1024 + 0x3FF, "superblock s_checksum"},
		{2048 + 0x1E, "descriptor of group 0 bg_checksum"},
		{2048 + 64 + 0x0C, "descriptor of group 1 bg_free_blocks_count_lo"},
		{2048 + 1023, "group descriptors, after the last, byte 1023 of block 2"},
		{1025*1024 + 0x68, "backup superblock of group 1 s_uuid"},
		{1026 * 1024, "backup of the group descriptors in group 1, or reserved for more of them, byte 0 of block 1026"},
		{bitmap*1024 + 3, "block bitmap of group 0, byte 3"},
		{ibitmap * 1024, "inode bitmap of group 0, byte 0"},
		{inode("hello") + 0x0C, fmt.Sprintf(`inode table of group 0: inode %d ("hello") i_ctime`, number("hello"))},
		{inode("hello") + 0xF0, fmt.Sprintf(`inode table of group 0: inode %d ("hello") attributes, byte 240`, number("hello"))},
		{inode("<8>") + 0x1C, `inode table of group 0: inode 8 (the journal) i_blocks_lo`},
		{bmap("blocks", 2) + 17, `data of "blocks", byte 2065`},
		{bmap("blocks", 4) + 1000, `after the end of "blocks", in its last blocks`},
		{bmap("indexed", 1) + 8, `directory block 1 of "indexed", byte 8`},
		{bmap("\"long link\"", 0), `data of "long link", byte 0`},
		{bmap("<8>", 0) + 0x30, "superblock of the journal, s_uuid"},
		{bmap("<8>", 7) + 1, "the journal, byte 7169"},
		{int64(blocks.xattrBlock)*1024 + 40, `attribute block of "blocks", byte 40`},
		{2599 * 1024, "free block 2599"},
		{2600 * 1024, "after the filesystem's last block"},
	} {
		got, err := f.Locate(context.Background(), x.off)
		if err != nil || got != x.want {
			t.Errorf("at %d: %q, %v; want %q", x.off, got, err, x.want)
		}
	}
	sparse, err := f.Lookup("sparse")
	if err != nil {
		t.Fatal(err)
	}
	node := uint64(le.Uint32(sparse.iblock()[16:])) // the first index entry's child
	if got, _ := f.Locate(context.Background(), int64(node)*1024+2); got != fmt.Sprintf(`block map of "sparse", byte 2 of block %d`, node) {
		t.Errorf("extent node of sparse: %q", got)
	}
}

// TestLocateSurvivesDamage asks for many bytes of damaged images.
func TestLocateSurvivesDamage(t *testing.T) {
	asked := 0
	for i, image := range seedImages(t) {
		places := placesOf(image)
		for n := range 8 {
			data := mutate(image, []byte{byte(n * 37), byte(n * 5), byte(n % 8), byte(n * 11), byte(n), 3, 1, 2}, places)
			f, err := Open(bytes.NewReader(data), int64(len(data)), Options{})
			if err != nil {
				continue
			}
			for off := int64(0); off <= int64(len(data)); off += 4999 {
				if what, err := f.Locate(context.Background(), off); err != nil || what == "" {
					t.Fatalf("image %d, damage %d, byte %d: %q, %v", i, n, off, what, err)
				}
				asked++
			}
			f.SuperFields()
			_, _ = f.JournalFields()
		}
	}
	if asked < 1000 {
		t.Errorf("only %d bytes were asked for", asked)
	}
}

package ext4read

import (
	"testing"
)

// flavours are ways to make a filesystem that Check must find nothing wrong with.
var flavours = []struct {
	name, size string
	args       []string
}{
	{"ext4", "64M", []string{"-t", "ext4"}},
	{"ext4 4K", "96M", []string{"-t", "ext4", "-b", "4096"}},
	{"ext4 2K", "80M", []string{"-t", "ext4", "-b", "2048"}},
	{"ext4 1K", "70M", []string{"-t", "ext4", "-b", "1024"}},
	{"many groups", "55M", []string{"-t", "ext4", "-b", "1024", "-g", "1024"}},
	{"no journal", "40M", []string{"-t", "ext4", "-O", "^has_journal"}},
	{"no resize inode", "100M", []string{"-t", "ext4", "-O", "^resize_inode"}},
	{"32-bit", "100M", []string{"-t", "ext4", "-O", "^64bit"}},
	{"gdt_csum", "100M", []string{"-t", "ext4", "-O", "^metadata_csum,uninit_bg"}},
	{"gdt_csum 32-bit", "60M", []string{"-t", "ext4", "-O", "^metadata_csum,^64bit,uninit_bg"}},
	{"no checksums", "60M", []string{"-t", "ext4", "-O", "^metadata_csum,^uninit_bg"}},
	{"checksum seed", "40M", []string{"-t", "ext4", "-O", "metadata_csum_seed"}},
	{"no flex_bg", "100M", []string{"-t", "ext4", "-O", "^flex_bg"}},
	{"meta_bg", "60M", []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"}},
	{"sparse_super2", "100M", []string{"-t", "ext4", "-O", "sparse_super2,^resize_inode"}},
	{"sparse_super2 one backup", "100M", []string{"-t", "ext4", "-O", "sparse_super2,^resize_inode", "-E", "num_backup_sb=1"}},
	{"no sparse_super", "60M", []string{"-t", "ext4", "-b", "1024", "-O", "^sparse_super,^resize_inode"}},
	{"128-byte inodes", "40M", []string{"-t", "ext4", "-I", "128"}},
	{"1024-byte inodes", "40M", []string{"-t", "ext4", "-I", "1024"}},
	{"few inodes", "40M", []string{"-t", "ext4", "-N", "16"}},
	{"many inodes", "100M", []string{"-t", "ext4", "-N", "60000"}},
	{"orphan file", "60M", []string{"-t", "ext4", "-O", "orphan_file"}},
	{"inline data", "60M", []string{"-t", "ext4", "-O", "inline_data"}},
	{"large_dir", "60M", []string{"-t", "ext4", "-O", "large_dir"}},
	{"quota", "60M", []string{"-t", "ext4", "-O", "quota,project"}},
	{"ext3", "60M", []string{"-t", "ext3"}},
	{"ext2", "60M", []string{"-t", "ext2"}},
	{"ext2 revision 0", "20M", []string{"-t", "ext2", "-r", "0"}},
	{"fast commit", "60M", []string{"-t", "ext4", "-O", "fast_commit"}},
	{"lazy", "100M", []string{"-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1"}},
	{"uneven end", "33333K", []string{"-t", "ext4", "-b", "1024"}},
}

func TestCheckFindsNothingWrongWithMke2fs(t *testing.T) {
	for _, fl := range flavours {
		t.Run(fl.name, func(t *testing.T) {
			image := mke2fs(t, fl.size, fl.args...)
			wantClean(t, image, CheckOptions{ExactBackups: true, ZeroFree: true})
		})
	}
}

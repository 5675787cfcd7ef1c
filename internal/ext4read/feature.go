package ext4read

import (
	"fmt"
	"strings"
)

// A feature is a bit of one of the superblock's three feature words.
type feature struct {
	word int // 0 compat, 1 incompat, 2 ro_compat
	bit  uint32
}

var (
	compatHasJournal   = feature{0, 0x4}
	compatResizeInode  = feature{0, 0x10}
	compatDirIndex     = feature{0, 0x20}
	compatSparseSuper2 = feature{0, 0x200}
	compatOrphanFile   = feature{0, 0x1000}

	incompatFiletype   = feature{1, 0x2}
	incompatRecover    = feature{1, 0x4}
	incompatMetaBG     = feature{1, 0x10}
	incompatExtents    = feature{1, 0x40}
	incompat64Bit      = feature{1, 0x80}
	incompatFlexBG     = feature{1, 0x200}
	incompatCsumSeed   = feature{1, 0x2000}
	incompatLargeDir   = feature{1, 0x4000}
	incompatInlineData = feature{1, 0x8000}

	roSparseSuper   = feature{2, 0x1}
	roLargeFile     = feature{2, 0x2}
	roHugeFile      = feature{2, 0x8}
	roGDTCsum       = feature{2, 0x10}
	roDirNlink      = feature{2, 0x20}
	roExtraIsize    = feature{2, 0x40}
	roMetadataCsum  = feature{2, 0x400}
	roOrphanPresent = feature{2, 0x10000}
)

// knownFeatures gives each bit the name that tune2fs(8) uses. refused says that
// an image with it is not read.
var knownFeatures = []struct {
	feature
	name    string
	refused bool
}{
	{feature{0, 0x1}, "dir_prealloc", false},
	{feature{0, 0x2}, "imagic_inodes", false},
	{compatHasJournal, "has_journal", false},
	{feature{0, 0x8}, "ext_attr", false},
	{compatResizeInode, "resize_inode", false},
	{compatDirIndex, "dir_index", false},
	{feature{0, 0x80}, "snapshot_bitmap", true},
	{compatSparseSuper2, "sparse_super2", false},
	{feature{0, 0x400}, "fast_commit", false},
	{feature{0, 0x800}, "stable_inodes", false},
	{compatOrphanFile, "orphan_file", false},

	{feature{1, 0x1}, "compression", true},
	{incompatFiletype, "filetype", false},
	{incompatRecover, "needs_recovery", true},
	{feature{1, 0x8}, "journal_dev", true},
	{incompatMetaBG, "meta_bg", false},
	{incompatExtents, "extent", false},
	{incompat64Bit, "64bit", false},
	{feature{1, 0x100}, "mmp", true},
	{incompatFlexBG, "flex_bg", false},
	{feature{1, 0x400}, "ea_inode", true},
	{feature{1, 0x1000}, "dirdata", true},
	{incompatCsumSeed, "metadata_csum_seed", false},
	{incompatLargeDir, "large_dir", false},
	{incompatInlineData, "inline_data", false},
	{feature{1, 0x10000}, "encrypt", true},
	{feature{1, 0x20000}, "casefold", true},

	{roSparseSuper, "sparse_super", false},
	{roLargeFile, "large_file", false},
	{roHugeFile, "huge_file", false},
	{roGDTCsum, "uninit_bg", false},
	{roDirNlink, "dir_nlink", false},
	{roExtraIsize, "extra_isize", false},
	{feature{2, 0x80}, "snapshot", true},
	{feature{2, 0x100}, "quota", false},
	{feature{2, 0x200}, "bigalloc", true},
	{roMetadataCsum, "metadata_csum", false},
	{feature{2, 0x800}, "replica", true},
	{feature{2, 0x1000}, "read-only", false},
	{feature{2, 0x2000}, "project", false},
	{feature{2, 0x4000}, "shared_blocks", true},
	{feature{2, 0x8000}, "verity", true},
	{roOrphanPresent, "orphan_present", false},
}

func (s *Super) words() [3]uint32 { return [3]uint32{s.Compat, s.Incompat, s.ROCompat} }

func (s *Super) has(f feature) bool { return s.words()[f.word]&f.bit != 0 }

// Features returns the names of the filesystem's features, as tune2fs(8) spells
// them, in the order compat, incompat, ro_compat and by bit.
func (s *Super) Features() []string {
	var names []string
	left := s.words()
	for _, k := range knownFeatures {
		if s.has(k.feature) {
			names = append(names, k.name)
			left[k.word] &^= k.bit
		}
	}
	for i, word := range []string{"compat", "incompat", "ro_compat"} {
		for bit := uint32(1); bit != 0; bit <<= 1 {
			if left[i]&bit != 0 {
				names = append(names, fmt.Sprintf("%s_%#x", word, bit))
			}
		}
	}
	return names
}

// checkFeatures refuses what cannot be read. Unknown compat bits are harmless to
// a reader.
func (s *Super) checkFeatures() error {
	if s.has(incompatRecover) {
		return fmt.Errorf("feature needs_recovery: the journal has to be replayed first (mount once, or run e2fsck): %w", ErrUnsupported)
	}
	var refused []string
	left := s.words()
	for _, k := range knownFeatures {
		if k.refused && s.has(k.feature) {
			refused = append(refused, k.name)
		}
		left[k.word] &^= k.bit
	}
	if left[1] != 0 {
		refused = append(refused, fmt.Sprintf("incompat_%#x", left[1]))
	}
	if left[2] != 0 {
		refused = append(refused, fmt.Sprintf("ro_compat_%#x", left[2]))
	}
	if refused != nil {
		return fmt.Errorf("feature %s: %w", strings.Join(refused, ", "), ErrUnsupported)
	}
	return nil
}

package ext4

import (
	"encoding/binary"
)

const (
	superOffset = 1024 // bytes before the superblock in the image
	superSize   = 1024

	compat   = 0x4 | 0x8 | 0x20                      // has_journal, ext_attr, dir_index
	incompat = 0x2 | 0x40 | 0x80 | 0x200             // filetype, extents, 64bit, flex_bg
	roCompat = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400 // sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum
	journal  = 0x4
)

// superblock makes the copy of the superblock that stands in a group.
// https://docs.kernel.org/filesystems/ext4/super.html
func (w *Writer) superblock(g geometry, group, lastInode uint64, log *inode) []byte {
	b := make([]byte, superSize)
	le := binary.LittleEndian
	epoch := w.opt.Epoch.Unix()
	putEpoch := func(lo, hi int) {
		le.PutUint32(b[lo:], uint32(epoch))
		b[hi] = uint8(epoch >> 32)
	}

	le.PutUint32(b[0x00:], uint32(g.inodes()))           // s_inodes_count
	put32(b, 0x04, 0x150, g.blocks)                      // s_blocks_count
	put32(b, 0x0c, 0x158, g.free)                        // s_free_blocks_count; s_r_blocks_count stays 0
	le.PutUint32(b[0x10:], uint32(g.inodes()-lastInode)) // s_free_inodes_count
	le.PutUint32(b[0x18:], 2)                            // s_log_block_size: 1024 << 2
	le.PutUint32(b[0x1c:], 2)                            // s_log_cluster_size
	le.PutUint32(b[0x20:], blocksPerGroup)               // s_blocks_per_group
	le.PutUint32(b[0x24:], blocksPerGroup)               // s_clusters_per_group
	le.PutUint32(b[0x28:], uint32(g.inodesPerGroup))     // s_inodes_per_group
	putEpoch(0x30, 0x274)                                // s_wtime
	le.PutUint16(b[0x36:], 0xffff)                       // s_max_mnt_count: no check after so many mounts
	le.PutUint16(b[0x38:], 0xef53)                       // s_magic
	le.PutUint16(b[0x3a:], 1)                            // s_state: clean
	le.PutUint16(b[0x3c:], 1)                            // s_errors: go on
	putEpoch(0x40, 0x277)                                // s_lastcheck
	le.PutUint32(b[0x4c:], 1)                            // s_rev_level: dynamic
	le.PutUint32(b[0x54:], firstInode)                   // s_first_ino
	le.PutUint16(b[0x58:], inodeSize)                    // s_inode_size
	le.PutUint16(b[0x5a:], uint16(group))                // s_block_group_nr
	le.PutUint32(b[0x5c:], compat)                       // s_feature_compat
	le.PutUint32(b[0x60:], incompat)                     // s_feature_incompat
	le.PutUint32(b[0x64:], roCompat)                     // s_feature_ro_compat
	copy(b[0x68:], w.opt.UUID[:])                        // s_uuid
	copy(b[0xec:], w.opt.HashSeed[:])                    // s_hash_seed
	b[0xfc] = hashHalfMD4                                // s_def_hash_version
	le.PutUint16(b[0xfe:], descSize)                     // s_desc_size
	le.PutUint32(b[0x100:], 0x4|0x8)                     // s_default_mount_opts: user_xattr, acl
	putEpoch(0x108, 0x276)                               // s_mkfs_time
	le.PutUint16(b[0x15c:], extraSize)                   // s_min_extra_isize
	le.PutUint16(b[0x15e:], extraSize)                   // s_want_extra_isize
	le.PutUint32(b[0x160:], 0x2)                         // s_flags: unsigned directory hash
	b[0x174] = 4                                         // s_log_groups_per_flex: 16 groups
	b[0x175] = 1                                         // s_checksum_type: crc32c
	if log == nil {
		le.PutUint32(b[0x5c:], compat&^journal)
	} else {
		le.PutUint32(b[0xe0:], journalInode)             // s_journal_inum
		b[0xfd] = 1                                      // s_jnl_backup_type: s_jnl_blocks is a copy of
		copy(b[0x10c:], log.iblock[:])                   // the journal's i_block,
		le.PutUint32(b[0x10c+60:], uint32(log.size>>32)) // i_size_high
		le.PutUint32(b[0x10c+64:], uint32(log.size))     // and i_size_lo
	}
	le.PutUint32(b[0x3fc:], crc32c(^uint32(0), b[:0x3fc])) // s_checksum
	return b
}

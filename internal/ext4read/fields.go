package ext4read

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Field is one field of a structure on disk, with the name that the kernel's
// documentation gives it.
type Field struct {
	Name   string
	Offset int // bytes, from the start of the structure
	Size   int // bytes
	Value  string
}

// form is how a field's bytes are written as text.
type form uint8

const (
	number  form = iota // unsigned, decimal
	flags               // unsigned, hexadecimal
	seconds             // since 1970, with the date
	text                // up to a NUL, quoted
	octets              // hexadecimal
)

// A layout lists the fields of a structure by rising offset, without gaps.
type layout []struct {
	name string
	size int
	form form
}

var superLayout = layout{
	{"s_inodes_count", 4, number},
	{"s_blocks_count_lo", 4, number},
	{"s_r_blocks_count_lo", 4, number},
	{"s_free_blocks_count_lo", 4, number},
	{"s_free_inodes_count", 4, number},
	{"s_first_data_block", 4, number},
	{"s_log_block_size", 4, number},
	{"s_log_cluster_size", 4, number},
	{"s_blocks_per_group", 4, number},
	{"s_clusters_per_group", 4, number},
	{"s_inodes_per_group", 4, number},
	{"s_mtime", 4, seconds},
	{"s_wtime", 4, seconds},
	{"s_mnt_count", 2, number},
	{"s_max_mnt_count", 2, number},
	{"s_magic", 2, flags},
	{"s_state", 2, flags},
	{"s_errors", 2, number},
	{"s_minor_rev_level", 2, number},
	{"s_lastcheck", 4, seconds},
	{"s_checkinterval", 4, number},
	{"s_creator_os", 4, number},
	{"s_rev_level", 4, number},
	{"s_def_resuid", 2, number},
	{"s_def_resgid", 2, number},
	{"s_first_ino", 4, number},
	{"s_inode_size", 2, number},
	{"s_block_group_nr", 2, number},
	{"s_feature_compat", 4, flags},
	{"s_feature_incompat", 4, flags},
	{"s_feature_ro_compat", 4, flags},
	{"s_uuid", 16, octets},
	{"s_volume_name", 16, text},
	{"s_last_mounted", 64, text},
	{"s_algorithm_usage_bitmap", 4, flags},
	{"s_prealloc_blocks", 1, number},
	{"s_prealloc_dir_blocks", 1, number},
	{"s_reserved_gdt_blocks", 2, number},
	{"s_journal_uuid", 16, octets},
	{"s_journal_inum", 4, number},
	{"s_journal_dev", 4, number},
	{"s_last_orphan", 4, number},
	{"s_hash_seed", 16, octets},
	{"s_def_hash_version", 1, number},
	{"s_jnl_backup_type", 1, number},
	{"s_desc_size", 2, number},
	{"s_default_mount_opts", 4, flags},
	{"s_first_meta_bg", 4, number},
	{"s_mkfs_time", 4, seconds},
	{"s_jnl_blocks", 68, octets},
	{"s_blocks_count_hi", 4, number},
	{"s_r_blocks_count_hi", 4, number},
	{"s_free_blocks_count_hi", 4, number},
	{"s_min_extra_isize", 2, number},
	{"s_want_extra_isize", 2, number},
	{"s_flags", 4, flags},
	{"s_raid_stride", 2, number},
	{"s_mmp_interval", 2, number},
	{"s_mmp_block", 8, number},
	{"s_raid_stripe_width", 4, number},
	{"s_log_groups_per_flex", 1, number},
	{"s_checksum_type", 1, number},
	{"s_reserved_pad", 2, number},
	{"s_kbytes_written", 8, number},
	{"s_snapshot_inum", 4, number},
	{"s_snapshot_id", 4, number},
	{"s_snapshot_r_blocks_count", 8, number},
	{"s_snapshot_list", 4, number},
	{"s_error_count", 4, number},
	{"s_first_error_time", 4, seconds},
	{"s_first_error_ino", 4, number},
	{"s_first_error_block", 8, number},
	{"s_first_error_func", 32, text},
	{"s_first_error_line", 4, number},
	{"s_last_error_time", 4, seconds},
	{"s_last_error_ino", 4, number},
	{"s_last_error_line", 4, number},
	{"s_last_error_block", 8, number},
	{"s_last_error_func", 32, text},
	{"s_mount_opts", 64, text},
	{"s_usr_quota_inum", 4, number},
	{"s_grp_quota_inum", 4, number},
	{"s_overhead_blocks", 4, number},
	{"s_backup_bgs", 8, octets},
	{"s_encrypt_algos", 4, octets},
	{"s_encrypt_pw_salt", 16, octets},
	{"s_lpf_ino", 4, number},
	{"s_prj_quota_inum", 4, number},
	{"s_checksum_seed", 4, flags},
	{"s_wtime_hi", 1, number},
	{"s_mtime_hi", 1, number},
	{"s_mkfs_time_hi", 1, number},
	{"s_lastcheck_hi", 1, number},
	{"s_first_error_time_hi", 1, number},
	{"s_last_error_time_hi", 1, number},
	{"s_first_error_errcode", 1, number},
	{"s_last_error_errcode", 1, number},
	{"s_encoding", 2, number},
	{"s_encoding_flags", 2, flags},
	{"s_orphan_file_inum", 4, number},
	{"s_reserved", 376, octets},
	{"s_checksum", 4, flags},
}

// descLayout is a group descriptor; without 64bit only the first 32 bytes.
var descLayout = layout{
	{"bg_block_bitmap_lo", 4, number},
	{"bg_inode_bitmap_lo", 4, number},
	{"bg_inode_table_lo", 4, number},
	{"bg_free_blocks_count_lo", 2, number},
	{"bg_free_inodes_count_lo", 2, number},
	{"bg_used_dirs_count_lo", 2, number},
	{"bg_flags", 2, flags},
	{"bg_exclude_bitmap_lo", 4, number},
	{"bg_block_bitmap_csum_lo", 2, flags},
	{"bg_inode_bitmap_csum_lo", 2, flags},
	{"bg_itable_unused_lo", 2, number},
	{"bg_checksum", 2, flags},
	{"bg_block_bitmap_hi", 4, number},
	{"bg_inode_bitmap_hi", 4, number},
	{"bg_inode_table_hi", 4, number},
	{"bg_free_blocks_count_hi", 2, number},
	{"bg_free_inodes_count_hi", 2, number},
	{"bg_used_dirs_count_hi", 2, number},
	{"bg_itable_unused_hi", 2, number},
	{"bg_exclude_bitmap_hi", 4, number},
	{"bg_block_bitmap_csum_hi", 2, flags},
	{"bg_inode_bitmap_csum_hi", 2, flags},
	{"bg_reserved", 4, number},
}

// inodeLayout is an inode's record, up to the fields that are known.
var inodeLayout = layout{
	{"i_mode", 2, flags},
	{"i_uid", 2, number},
	{"i_size_lo", 4, number},
	{"i_atime", 4, seconds},
	{"i_ctime", 4, seconds},
	{"i_mtime", 4, seconds},
	{"i_dtime", 4, seconds},
	{"i_gid", 2, number},
	{"i_links_count", 2, number},
	{"i_blocks_lo", 4, number},
	{"i_flags", 4, flags},
	{"l_i_version", 4, number},
	{"i_block", 60, octets},
	{"i_generation", 4, number},
	{"i_file_acl_lo", 4, number},
	{"i_size_high", 4, number},
	{"i_obso_faddr", 4, number},
	{"l_i_blocks_high", 2, number},
	{"l_i_file_acl_high", 2, number},
	{"l_i_uid_high", 2, number},
	{"l_i_gid_high", 2, number},
	{"l_i_checksum_lo", 2, flags},
	{"l_i_reserved", 2, number},
	{"i_extra_isize", 2, number},
	{"i_checksum_hi", 2, flags},
	{"i_ctime_extra", 4, number},
	{"i_mtime_extra", 4, number},
	{"i_atime_extra", 4, number},
	{"i_crtime", 4, seconds},
	{"i_crtime_extra", 4, number},
	{"i_version_hi", 4, number},
	{"i_projid", 4, number},
}

// journalLayout is the journal's superblock, big-endian.
var journalLayout = layout{
	{"h_magic", 4, flags},
	{"h_blocktype", 4, number},
	{"h_sequence", 4, number},
	{"s_blocksize", 4, number},
	{"s_maxlen", 4, number},
	{"s_first", 4, number},
	{"s_sequence", 4, number},
	{"s_start", 4, number},
	{"s_errno", 4, number},
	{"s_feature_compat", 4, flags},
	{"s_feature_incompat", 4, flags},
	{"s_feature_ro_compat", 4, flags},
	{"s_uuid", 16, octets},
	{"s_nr_users", 4, number},
	{"s_dynsuper", 4, number},
	{"s_max_transaction", 4, number},
	{"s_max_trans_data", 4, number},
	{"s_checksum_type", 1, number},
	{"s_padding2", 3, octets},
	{"s_num_fc_blks", 4, number},
	{"s_head", 4, number},
	{"s_padding", 160, octets},
	{"s_checksum", 4, flags},
	{"s_users", 768, octets},
}

// fields decodes as much of raw as the layout covers.
func (l layout) fields(raw []byte, order binary.ByteOrder) []Field {
	var list []Field
	at := 0
	for _, x := range l {
		if at+x.size > len(raw) {
			break
		}
		list = append(list, Field{x.name, at, x.size, x.form.text(raw[at:at+x.size], order)})
		at += x.size
	}
	return list
}

func (m form) text(b []byte, order binary.ByteOrder) string {
	switch m {
	case text:
		return strconv.Quote(cString(b))
	case octets:
		if allZero(b) {
			return "0"
		}
		return fmt.Sprintf("%x", b)
	}
	n := uint64(0)
	switch len(b) {
	case 1:
		n = uint64(b[0])
	case 2:
		n = uint64(order.Uint16(b))
	case 4:
		n = uint64(order.Uint32(b))
	case 8:
		n = order.Uint64(b)
	}
	switch {
	case m == flags:
		return fmt.Sprintf("%#x", n)
	case m == seconds && n != 0:
		return fmt.Sprintf("%d (%s)", n, time.Unix(int64(int32(n)), 0).UTC().Format(time.RFC3339))
	}
	return strconv.FormatUint(n, 10)
}

// at names the field that holds a byte of a structure, "" if none does.
func (l layout) at(off int) string {
	end := 0
	for _, x := range l {
		if end += x.size; off < end {
			return x.name
		}
	}
	return ""
}

// SuperFields gives the fields of the primary superblock: all of its 1024 bytes.
func (f *FS) SuperFields() []Field { return superLayout.fields(f.raw, le) }

// GroupFields gives the fields of a group's descriptor, from the primary table.
func (f *FS) GroupFields(g uint64) ([]Field, error) {
	raw, err := f.rawDesc(g)
	if err != nil {
		return nil, err
	}
	return descLayout.fields(raw, le), nil
}

// Fields gives the fields of an inode's record as far as they are known. What
// follows them is attributes.
func (in *Inode) Fields() []Field {
	return inodeLayout.fields(in.raw[:min(len(in.raw), 128+in.extraSize())], le)
}

// Journal gives the journal's inode, nil if there is no journal.
func (f *FS) Journal() (*Inode, error) {
	if !f.sb.has(compatHasJournal) || f.sb.JournalInode == 0 {
		return nil, nil
	}
	in, err := f.Inode(f.sb.JournalInode)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return in, nil
}

// JournalFields gives the fields of the journal's superblock, none if there is no
// journal.
func (f *FS) JournalFields() ([]Field, error) {
	in, err := f.Journal()
	if in == nil {
		return nil, err
	}
	r, err := in.Open()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	raw := make([]byte, 1024)
	if _, err := io.ReadFull(r, raw); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("it has only %d bytes: %w", r.Size(), ErrCorrupt)
		}
		return nil, fmt.Errorf("journal: %w", err)
	}
	return journalLayout.fields(raw, be), nil
}

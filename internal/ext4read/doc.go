// Package ext4read reads ext2, ext3 and ext4 filesystem images, and checks
// them, without mounting and without privilege.
//
// It follows the published on-disk format
// (https://docs.kernel.org/filesystems/ext4/index.html) and shares no code with
// the project's writer, so that it can be the writer's oracle: a second reader
// would otherwise repeat the first one's mistakes.
//
// # What is read
//
// Block sizes of 1, 2 and 4 KiB; extent trees of every depth and indirect block
// maps; 64bit, flex_bg, meta_bg, sparse_super, sparse_super2, uninitialised
// groups, metadata_csum (also with a stored seed) and gdt_csum, dir_index,
// large_dir, dir_nlink, huge_file, inline_data, attributes in the inode and in a
// block. POSIX ACLs are given in the form getxattr(2) gives, not in ext4's
// compact one.
//
// Refused by [Open], naming the feature: anything the format does not define,
// and bigalloc, compression, dirdata, casefold, ea_inode, encrypt, external
// journals, mmp, shared_blocks, snapshots and verity. So is an image whose
// journal has to be replayed first.
//
// # Checking
//
// [FS.Check] is a small fsck: every checksum, every bitmap and count against
// what is reachable, every directory index against its names. It reports, and
// never repairs. With [Options.Verify] the readers too refuse whatever does not
// match its checksum.
//
// # Hostile images
//
// An image is hostile input. Nothing here panics, loops or recurses without
// bound: extent trees have at most 5 levels and strictly rising keys, so a node
// that is met twice is an error; a directory that is met twice is an error;
// the blocks of all directories of one [FS.Walk] together are at most the
// image's. Memory is bounded by [Options.MaxDirEntries], [Options.MaxEntries],
// [Options.MaxExtents], [Options.MaxPath] and, for Check, [Options.MaxBlocks] and
// [Options.MaxInodes]. Names that hold a slash or NUL, or are "." or ".." out of
// place, are errors, so a name can never lead out of the folder it is joined to.
// Content is read as far as an inode's size says, and a sparse file of 16 TiB
// fits in 100 KiB: callers that copy content set their own limit.
//
// # Failure
//
// Every error names the structure and the block or inode it was found in, and
// wraps [ErrCorrupt] or [ErrUnsupported] unless the image could not be read.
// A reader that returns an error has no effect. An [FS] keeps no state besides
// the superblock: it is safe for concurrent use, and reads the same image to
// the same answers in the same order.
package ext4read

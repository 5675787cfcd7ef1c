// Package btrfsread reads btrfs images of one device, and checks them, without mounting
// and without privilege.
//
// It follows the published on-disk format
// (https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html). Its second opinion is the
// kernel, on images that mkfs.btrfs has made and the kernel has filled.
//
// # What is read
//
// The profiles single and DUP, separate or mixed block groups, sectors and nodes up to
// 64 KiB, crc32c checksums, content inline, in extents, compressed with zlib or zstd,
// preallocated or in holes of both kinds, xattrs, all types of inodes. The tree that is read
// is the top subvolume.
//
// Refused by [Open], naming it: several devices, RAID profiles, other checksums, seed and
// metadump images, features that are not known, another default subvolume, and a log that has
// to be replayed. A subvolume inside the tree is an error of [FS.Walk], and content that is
// compressed with lzo one of reading it.
//
// # Checksums and checking
//
// Open takes a superblock whose checksum is right. With [Options.Verify] nodes of trees are
// taken only if theirs are; if they are stored twice, one good copy is enough. [FS.Check]
// verifies both copies of every node of every tree, the names against the three places that
// they are in, link counts, sizes, where extents lie, and all data against its checksums. It
// does not count the free space, nor the references of the extent tree.
//
// # Hostile images
//
// An image is hostile input. A node has to have the place, level, generation and first key that
// what points to it says, its keys have to rise and to stay below the next pointer's, so that no
// node can be met twice and no path is longer than 8. Nodes are kept in a cache of a fixed size.
// A file has at most [Options.MaxExtents] extents, a directory [Options.MaxNames] names, a name
// 4095 bytes, an inode's xattrs 16 MiB; a compressed extent is at most 128 KiB. Content is read as
// far as an inode's size says, and that may be far more than the image has: callers that copy
// content set their own limit, as they do for the number of names.
//
// # Failure
//
// Every error names the structure it was found in, and wraps [ErrCorrupt] or
// [ErrUnsupported] unless the image could not be read. An [FS] is safe for concurrent use.
package btrfsread

// Package xfsread reads XFS images of version 5, those with checksums, and checks them,
// without mounting and without privilege.
//
// It follows the published on-disk format ("XFS Algorithms & Data Structures",
// https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf). The
// second opinion in its tests is the kernel, which also wrote the images.
//
// # What is read
//
// Every block, directory block, sector and inode size; names, inodes, xattrs with access control
// lists, content, with any of bigtime, nrext64, sparse inodes, finobt, rmapbt, reflink and parent
// pointers, which are not shown. Directories are read from their data blocks, not from their hash
// indexes. Refused by [Open], naming it: version 4, a realtime section, a log on another device,
// incompatible features that are not known, a filesystem that needs repair, and one
// whose log does not end in an unmount record: what it holds is not all in its place.
//
// # Checking
//
// With [Options.Verify] every structure that is read has to match its CRC-32C. [FS.Check] does that
// for all that there is, headers of allocation groups included, and compares counts. Content has no
// checksums. What xfs_repair does beyond that, free space and indexes, is not looked at.
//
// # Hostile images
//
// An image is hostile input. Memory grows with the names of one directory, the extents of one file
// and the xattrs of one inode; [Options] and constants limit them. A directory that is met twice is an
// error, as are extents that leave their allocation group, are out of order, or, in directories
// and xattrs, overlap. Names that hold a slash or NUL, or occur twice, are errors. Content is read as
// far as an inode's size says, and that may be far more than the image has: callers that copy
// content set their own limit, as they do for the number of names.
//
// # Failure
//
// Every error names the structure it was found in, and wraps [ErrCorrupt] or
// [ErrUnsupported] unless the image could not be read. An [FS] is safe for concurrent use.
package xfsread

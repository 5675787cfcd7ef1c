// Package squashfsread reads SquashFS 4.0 images, and checks them, without mounting and
// without privilege.
//
// It follows the published on-disk format (https://dr-emann.github.io/squashfs/) and
// shares no code with the project's writer, so that it can be the writer's oracle; its
// own are the kernel, unsquashfs, and images that mksquashfs has made.
//
// # What is read
//
// Block sizes from 4 KiB to 1 MiB, compressed with gzip or zstd or not at all, fragments, all
// types of inodes, xattrs in and out of line, the export table, directory indexes.
// Refused by [Open], naming it: lzma, lzo, xz and lz4, and other versions of the format.
//
// # Checking
//
// The format has no checksums. [FS.Check] reads everything that there is: every block has
// to uncompress to its size, every table has to agree with what the directories lead to.
//
// # Hostile images
//
// An image is hostile input. Tables are read where they are needed, through caches of a
// fixed size; a block is never more than 1 MiB; a directory that is met twice is an error. A
// file has at most [Options.MaxBlocks] blocks, a name 4095 bytes, an inode's xattrs 16 MiB. Names
// that hold a slash or NUL, are "." or ".." or out of order are errors. Content is read as far as
// an inode's size says, and that may be far more than the image has: callers that copy content
// set their own limit, as they do for the number of names.
//
// # Failure
//
// Every error names the structure it was found in, and wraps [ErrCorrupt] or
// [ErrUnsupported] unless the image could not be read. An [FS] is safe for concurrent use.
package squashfsread

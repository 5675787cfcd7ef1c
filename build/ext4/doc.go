// Package ext4 writes a root filesystem image in one pass, without a kernel,
// privileges or host tools.
//
// The format is described in the kernel's documentation,
// https://docs.kernel.org/filesystems/ext4/, whose field names are used here.
//
// # How an image comes about
//
// A [Writer] is a sink first: [Writer.Store] puts the bytes of a regular file at
// their final place while they stream by, and returns a Content that remembers
// where. When the tree is complete, [Writer.Finish] lays out everything else
// behind the data: directories, extent trees, xattr blocks, the journal, bitmaps
// and inode tables, and then, in front, the group descriptors and superblocks.
// Content that did not come from the same Writer is copied by Finish.
//
// # What is made
//
// 4 KiB blocks, 256-byte inodes with nanosecond and 34-bit times, extents,
// metadata_csum, 64bit, flex_bg, sparse_super, dir_index for directories of more
// than one block, in-inode and block xattrs with POSIX ACLs in their on-disk
// form, a clean journal, lost+found, no reserved blocks. Blocks of zeros are
// holes, in the image file and in the filesystem. There is no resize_inode:
// resize2fs makes room for more group descriptors when it grows an image that is
// not mounted, and fills the last block of them, for 64 groups, when it is.
//
// # Size
//
// The image is as small as its content allows, plus [Options].FreeBytes that root
// can write. The kernel withholds 2 % of the blocks (16 MiB at most) from
// everybody for its own needs; that share is added, so that FreeBytes is what a
// process really gets. One spare inode comes with every 16 KiB of free space, and
// 64 bytes for its name, so that the space can be had in small files too.
//
// # Determinism
//
// The bytes are a function of the sequence of Store calls, the tree and
// Options. There is no clock, no random number and no host state: times that
// the tree does not give are Options.Epoch.
//
// # Limits
//
// A value that ext4 cannot hold is a [*LimitError] that names the path: more
// than 65000 hard links, xattrs that do not fit in the inode and one block, a
// time before 1901-12-13 or after 2310-04-04, a file of 16 TiB, a device number over
// 12+20 bits, a directory that needs a three-level index. An image is at most
// 128 GiB. Holes are kept up to [maxHoles] in one image; after that zeros are stored,
// so that no input can make the writer's memory grow with its bytes.
//
// # Failure
//
// After an error the file holds nothing useful; the caller discards it.
package ext4

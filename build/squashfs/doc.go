// Package squashfs writes a tree as a SquashFS 4.0 image: a read-only, compressed
// root filesystem.
//
// The format is described at https://dr-emann.github.io/squashfs/ and, in short, in
// the kernel's documentation, https://docs.kernel.org/filesystems/squashfs.html.
//
// # What is made
//
// Blocks of 128 KiB. Files smaller than a block share blocks ("fragments"); larger
// ones end with a short block of their own. Blocks of zeros are left out. Files of
// the same bytes are stored once; hard links stay hard links. Inodes, directories
// and tables are compressed like the data. Directories of more than 8 KiB have an
// index. There is an export table, so that the image can be served by NFS. What
// compression does not make smaller is stored as it is. The image is filled with zeros to
// a multiple of 4 KiB.
//
// Contents lie in the order of tree.Walk, so files of one directory are neighbours. Inode
// numbers are counted in the same order; the root is 1.
//
// # What is kept
//
// Names of any bytes, types, modes with setuid, setgid and sticky bits, owners of 32
// bits, symlink targets, device numbers of 12+20 bits, hard links, extended attributes of
// the namespaces user, trusted and security, and times to the second from 1970-01-01 to
// 2106-02-07.
//
// # What is not
//
// SquashFS has no POSIX ACLs and no times outside its range. Both are lost with one warning
// each. Attributes that Linux has no namespace for are lost with a warning too. Anything
// else that does not fit is a [*LimitError] that names the path, found before the first
// byte is written: more than 65535 different owners, a device number that is too
// large, attributes over the limits of Linux.
//
// # Determinism
//
// The bytes are a function of the tree and [Options]. Blocks are compressed several at
// once and written in order; how many at once does not reach the bytes. Gzip is our own
// (package deflate). Another version of the zstd library may give other bytes, which a test with digests
// would show.
//
// # Limits
//
// Content is streamed: exactly Size bytes are taken from it, and more or fewer are an error. A
// file whose size another file has is read twice. Memory is up to 3 MiB
// for each processor with gzip and none, 5 MiB with zstd, 16 processors at most; a record for each inode; its share
// of the compressed tables; and 4 bytes for each 128 KiB of content, which is 8 MiB
// for the 256 GiB that an image may have.
//
// # Failure
//
// After an error, or when the context ends, the output holds nothing useful; the caller
// discards it. Nothing runs on in the background.
package squashfs

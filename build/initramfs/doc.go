// Package initramfs writes a tree as the archive that a Linux kernel unpacks into
// its first root filesystem: newc cpio, compressed by gzip or zstd or not at all.
//
// The format is described in the kernel's documentation,
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html, and the gzip
// container in RFC 1952.
//
// # What is kept
//
// Names of any bytes up to the kernel's longest path, types, modes with setuid, setgid
// and sticky bits, owners, device numbers, symlinks, hard links, and times to the second from
// 1970-01-01 to 2106-02-07. The root directory is the first record, named ".", so that its
// mode and owner are the tree's. Records are in the order of tree.Walk.
//
// A hard link's names share an inode number and a link count; the data stands with
// the last of them, as in archives of GNU cpio. Each name of a symlink holds the target: the
// kernel makes each a symlink of its own.
//
// # What is not
//
// newc has no extended attributes and no times outside its range. Both are lost with one
// warning each, and a warning of its own names programs that lose their file capabilities.
// Anything else that does not fit is an error that names the path, found before
// the first byte is written: a file of 4 GiB, a device number over 12+20 bits, an
// owner of 2^32-1, a file named TRAILER!!! in the root directory.
//
// # Compression
//
// Gzip makes one member and zstd one frame: the kernel takes an archive for damaged when it does
// not end with the first of them. Gzip cuts the archive into blocks of 1 MiB and compresses as
// many at once as there are processors; see package deflate. zstd's window is 8 MiB at most.
//
// # Determinism
//
// The bytes are a function of the tree and [Options]. Inode numbers are counted in
// the order of the names. The number of processors, the sizes of reads and the time do not
// matter. Another version of the zstd library may give other bytes, which a
// test with digests would show.
//
// # Limits
//
// Content is streamed: exactly Size bytes are taken from it, and more or fewer are an error. Memory
// is up to 10 MiB for each processor, 16 of them at most, with gzip, and up to 60 MiB with zstd, depending
// on the level, plus a record for each inode that has several names.
//
// # Failure
//
// After an error, or when the context ends, the output holds nothing useful; the caller
// discards it. Nothing runs on in the background.
package initramfs

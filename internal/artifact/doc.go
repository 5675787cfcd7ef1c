// Package artifact opens what fledge builds, without root, mount or other
// programs: ext4, squashfs, xfs and btrfs images and newc archives, plain or compressed with gzip or zstd.
// What kind a file is its bytes decide, never its name.
//
// # One view
//
// [Open] reads all metadata and gives every name as an [Entry], whatever the
// format. Content is opened by name. An archive's content is found by its offset
// in the uncompressed archive: in the file itself, in [Options].Spool if there is
// one, else by decompressing again up to there.
//
// # Archives
//
// The format is the kernel's, https://docs.kernel.org/driver-api/early-userspace/buffer-format.html.
// github.com/cavaliergopher/cpio is the reader. It takes bad hexadecimal digits
// for zeros, verifies no checksum, takes the end of the file for the trailer and
// has no device numbers, so it reads through a guard that checks every header
// before the reader sees it, and keeps the fields. What the two make of a header
// is compared.
//
// One archive is read, in one gzip member or zstd frame, as the kernel demands of
// an archive that it unpacks; zeros may follow. Refused, with the offset in the
// uncompressed archive and the reason: headers that are no newc, fields and names
// that contradict each other, a name that is absolute, holds ".." or occurs
// twice, an entry below something that is no directory, hard links that disagree,
// bytes after the trailer. What the kernel would unpack in another way than it
// looks, but can be read, is in [Archive].Problems.
//
// Records are one inode when they have the same inode and device number and a
// link count over 1, unless they are directories or symbolic links: this is how
// the kernel unpacks them.
//
// # Images
//
// internal/ext4read, internal/squashfsread, internal/xfsread and internal/btrfsread read them; their limits and refusals hold.
//
// # Hostile input
//
// Memory grows with entries, never with bytes, and every count has a limit in
// [Options]. Names are those of the artifact, byte for byte: whoever prints them
// has to make them harmless.
//
// # Failure
//
// Errors about the artifact wrap [ErrMalformed], [ErrUnsupported], [ErrLimit] or
// the errors of the images' readers; others come from reading the file or from a
// cancelled context. An artifact that gives an error is not opened.
package artifact

// Package mapping puts files of the project into a root filesystem: the
// [mappings] table of fledge.toml.
//
// [Apply] changes a tree only; the host is read through an os.Root and never
// written. docs/mappings.md has the rules as users see them; in short:
//
//   - A source is relative to fledge.toml. The links that lead to it are followed
//     inside the project folder; a link inside a mapped directory is kept as a
//     link. A link that leaves the project folder is an error either way.
//   - A destination is absolute and is resolved in the tree, so a link of the
//     image leads to another place of the image and never to the host.
//   - A file goes into an existing directory, or into any destination that ends
//     in a slash. A directory's contents go to the destination itself and are
//     merged with what is there.
//   - A name that leads to no directory is replaced, a link included: it is the
//     name that is mapped, not what it led to.
//   - Files below /bin, /usr/bin, /usr/local/bin, /lib and /usr/lib get mode 0755,
//     all others 0644, directories 0755. Everything is owned by 0:0 and has the
//     time of the options. Directories of the image keep what they have.
//   - Two sources for one name are an error, whatever their order.
//
// # Determinism
//
// The result depends on the mappings as a set, on the names, types, bytes and
// link targets below their sources, and on the tree. Modes, owners, times,
// extended attributes, hard links and holes of the host's files do not reach it,
// nor does the order of the mappings or of a directory.
//
// # Reading
//
// With a [Sink] every file is read once, by Apply. Without one Apply reads it
// once for its SHA-256 and the tree's content reads it again for whoever writes
// the image, through the root, which must stay open until then; the second
// reading fails unless it yields the very same bytes.
//
// # Digest
//
// [Report.Digest] is "sha256:" and the SHA-256, in hex, of one header line and
// one line for each mapped name in byte order of the names, each line ended by a
// newline:
//
//	fledge mappings 1
//	d 0755 LEN:NAME
//	f MODE SIZE SHA256 LEN:NAME
//	l LEN:TARGET LEN:NAME
//
// MODE is four octal digits, SIZE and LEN are decimal, LEN counts the bytes of
// what follows the colon, SHA256 is lower-case hex, NAME has no leading slash and
// is that in the tree after links were resolved. Lengths make the text
// unambiguous for names that hold spaces and newlines. Directories that had to
// be made above a destination are not listed; they follow from the names.
//
// # Limits
//
// [Limits] caps the names read, their depth and the sum of file sizes; names and
// components have the caps of package tree.
//
// # Failure
//
// All checks come before the first change, with one exception: that a mapping
// replaces a link which another destination leads through is seen afterwards. So
// a tree is to be thrown away when Apply returns an error.
package mapping

// Package layer applies the layers of an OCI image to a tree.
//
// The rules are those of the OCI image specification's layer page
// (https://github.com/opencontainers/image-spec/blob/main/layer.md): entries
// add or replace, a directory over a directory changes its metadata only,
// ".wh.NAME" removes NAME of the layers below, ".wh..wh..opq" removes everything
// that the layers below have in its directory. Where the specification is
// silent this package does what container runtimes do: parents of a name are
// resolved through the symbolic links of the tree ("bin/sh" lands in usr/bin
// where bin is a link to it), missing parents are made 0755 root, the last
// component is never followed.
//
// # One pass, top layer first
//
// [Flatten] reads every layer once, from the top down, and hands the bytes of each
// regular file to a [Sink] as they stream by, unless an upper layer hides the
// name. Then it replays the metadata from the bottom up, which makes the tree.
// Hiding is judged by names alone, so it can be wrong where links are involved:
// a stored file that no name leads to is given back to the sink, and a skipped
// one that turns out to be needed (a hard link whose first name is hidden) is
// fetched by reading that layer once more.
//
// # What is kept
//
// Modes with setuid, setgid and sticky bits, owners, nanosecond times, hard
// links by inode, symbolic link targets, device numbers, FIFOs, and xattrs
// (SCHILY.xattr records), in names of any bytes. Long names, large numbers and sparse
// files are read in their PAX and GNU forms. Nothing is ever written to the host.
//
// # Hostile input
//
// A name with a ".." component, a hard link to nothing, an entry below a file and
// a type that no filesystem has are errors that name the layer and the entry.
// [Limits] bounds entries, metadata, file sizes and what is read. Memory grows with the
// number of entries in all layers, never with their bytes.
package layer

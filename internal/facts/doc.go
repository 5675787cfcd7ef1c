// Package facts says what is in a file tree, so that two trees can be compared
// name by name.
//
// A [Set] holds one [Fact] per name: everything that Linux can tell about a file
// and that a root filesystem image has to keep. There are two sources, made by
// different programs so that they do not share a mistake: [FromDir] asks the
// kernel about a mounted or unpacked tree, [FromDebugfs] asks debugfs about an
// ext4 image and needs no privilege.
//
// # Names
//
// Names are relative to the root, which is ".", and are raw bytes: newlines
// and bytes that are no UTF-8 are ordinary. Symbolic links are never followed.
//
// # What is left out
//
// Access, change and birth times; the size and link count of directories, which
// belong to the filesystem and not to the tree; generation numbers and inode flags.
//
// # Limits
//
// A Set costs memory per name. File content is read once per inode and is not
// kept. Both sources trust their input to hold still; they are for tests.
package facts

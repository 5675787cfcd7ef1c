// Package tree holds a root filesystem as metadata plus lazily opened content.
//
// A [Tree] is what sources (image layers, the agent, mappings) produce and what
// writers (ext4, initramfs) consume. It never touches the host's filesystem:
// owners, device numbers, setuid bits and xattrs are values here, so building
// one needs no privilege, and no path in it can ever reach a host file.
//
// # Names
//
// A name is a slash-separated path below the root without a leading slash, in
// the manner of io/fs: "etc/nginx/nginx.conf". The root itself is ".". Names are
// bytes, not text: anything but NUL and slash may stand in a component, and a
// component has at most [MaxComponent] bytes. "." and ".." are never components.
//
// # Order
//
// [Tree.Walk] and [Node.Children] yield names sorted by byte value, parents before their
// children, whatever the order of insertion. Two names of one inode share one
// *Node (a hard link); [Node.Links] counts them.
//
// # Symbolic links
//
// Only [Tree.Resolve] follows symbolic links, always inside the tree: an
// absolute target starts at the tree's root, ".." stops there, and a chain of
// more than [MaxSymlinks] links is an error.
//
// # Failure
//
// Every method that changes the tree checks first and changes nothing when it
// returns an error. A Tree is not safe for concurrent use while it is changed.
package tree

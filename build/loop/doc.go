// Package loop writes xfs and btrfs filesystems, which have no writer but the kernel's.
//
// [Write] has mkfs make an empty filesystem in the image, which is a file and needs no
// name; mounts it by a [Mounter]; fills it from a tree by system calls that take an open
// folder and one component of a name, and follow nothing; unmounts it; and lets xfs_repair
// or btrfs check look at it. Only the mount takes privilege, and what belongs to the
// privileged: devices, owners, trusted and security xattrs.
//
// [Local] attaches the image to a free loop device with LO_FLAGS_AUTOCLEAR and mounts it
// by fsopen(2) and fsmount(2) in no folder. The last descriptor keeps both, so that
// nothing is left of a process that dies in whatever way. It takes Linux 5.8.
//
// # What is kept
//
// Everything that build/tree has, times to the nanosecond; blocks of 4 KiB that hold zeros
// only are holes. Three things are the kernel's to decide, and are warned of: xattrs that
// Linux has no namespace for, xattrs of the user namespace on what is no file or folder,
// and a mode that contradicts the ACL beside it. An ACL that says what the mode says is not
// kept as one. Anything else that cannot be held is a [LimitError].
//
// # Size
//
// The size is estimated such that root can write Options.FreeBytes. If the filled
// filesystem has less, it is made once more, larger, a few times. There is a least size of
// each type, [MinXFS] and [MinBtrfs].
//
// # Determinism
//
// Geometry, features, UUIDs and the order of calls depend on the tree and the options
// alone; programs run without the environment. But the kernel puts times, random
// generation numbers and places of its own choice into the image: two images of one tree
// have the same content and not the same bytes.
//
// # Failure
//
// After an error or the end of ctx nothing is mounted or attached, no program runs, and
// the image is of no use. The programs have 16 KiB of output in an error at most.
package loop

// Package loop writes xfs and btrfs filesystems, which have no writer but the kernel's.
package loop

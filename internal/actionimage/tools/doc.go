// Package tools has the programs of others that the action's image carries beside
// fledge: those that make and check xfs and btrfs, the libraries that they need, the
// loader, and everybody's licence. There is no shell.
//
// They are Debian 12's, as they are. tools.lock lists each package by architecture, name,
// version, SHA-256 digest, size and place in the archive of Debian's snapshots, and below
// it each file that is taken:
//
//	package amd64 xfsprogs 6.1.0-1 DIGEST SIZE debian/20260102T000000Z/pool/main/x/xfsprogs/xfsprogs_6.1.0-1_amd64.deb
//	file sbin/mkfs.xfs
//
// Package relock writes the file; package unpack is the Dockerfile's way to it.
//
// # Determinism
//
// Nothing of a package counts before its size and digest are those of the lock. Names are
// sorted, owners are root, modes 0644 or 0755, times the epoch; a package from the
// network and one from a folder give the same bytes.
//
// # Limits
//
// A lock has at most [MaxLock] bytes, a package [MaxPackage], what is inflated of it
// [MaxInflated], a file [MaxFile]. A package is an ar archive with a data.tar.xz
// (deb(5)); other compressions are refused, Debian 12 has none.
//
// # Failure
//
// A file of the lock that its package lacks, a file of two packages, a special file, and
// a mode other than those above are errors. What [Unpack] has written stays.
package tools

// Package content makes the content digest of a tree: one sha256 over everything that a
// running system sees of it, whatever format it is stored in.
//
// It tells whether two artifacts hold the same where their bytes cannot be the same: the
// kernel that writes an xfs or a btrfs adds times, random numbers and an order of its own.
// What is digested, and how, is defined in docs/content-digest.md, for other people's
// programs too; a change of a digest is a new version of that text.
//
// # Two sources
//
// [OfTree] digests what is about to be written, without what the format cannot hold, and
// internal/artifact what can be read from an artifact. Both give their entries to [Digest],
// and both come to the same.
//
// # Determinism and cost
//
// Names come in byte order. Each content is read once, under the first of its names, in one
// goroutine. Memory grows with names, never with bytes.
//
// # Failure
//
// Entries out of order, a name twice, a content of another length than its entry says, more
// bytes than [Options] allow ([ErrLimit]), a content that cannot be read and a
// cancelled context are errors; there is no digest then.
package content

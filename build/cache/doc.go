// Package cache keeps verified content by its digest.
//
// The store is a directory: DIR/sha256/<64 hex digits> holds one blob or
// download, DIR/tmp what is being written. Without a directory, or when the
// directory cannot be written (read-only, full, not ours), content is kept in
// anonymous temporary files until [Cache.Close]; the caller is warned and goes
// on. A cache never makes a build fail that would succeed without one.
//
// # What is checked
//
// A name enters the store only by [Writer.Commit], after digest and size were
// found right, with one rename. What comes out is checked again on every read
// ([Verify]): an entry whose bytes do not match is removed, reported as
// [ErrCorrupt] at the end of that read, and missing from then on. So nobody has
// to trust the directory, and entries are not synced to disk: what a crash
// damages is fetched again.
//
// # Several writers
//
// Goroutines and processes may share a directory. Two writers of one digest
// both succeed and the later rename wins, with the same bytes. A temporary file
// carries a lock (flock) for as long as its writer lives; [New] removes those
// whose lock is free, so a killed process leaves at most one temporary file a
// writer, until the next run. Where flock does not exist nothing is swept.
// Nothing else is ever removed, and in tmp only names that a writer gives:
// the directory may be shared with others, and grows until its owner empties it.
//
// # Limits
//
// Digests are sha256. A [Writer] refuses the first byte past its size. Names are
// made from checked digests only, and every access goes through [os.Root].
//
// Nothing in the store depends on the time, the user or the order of calls.
package cache

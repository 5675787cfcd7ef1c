// Package outfile writes files and folders that appear whole or not at all.
//
// Until [File.Commit] the bytes have no name (O_TMPFILE) where the filesystem can
// do that, so that a killed process leaves nothing behind. Elsewhere they have a
// hidden name beside the final one, ".NAME.fledge-*", which is locked while its
// process lives; the next [Create] of the same NAME removes names that nobody locks.
//
// Commit syncs the bytes, gives them their name in one step, replacing what had it,
// and syncs the directory. Any other end, [File.Abort] or a crash, leaves what was
// there before.
package outfile

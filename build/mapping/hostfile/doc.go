// Package hostfile reads regular files of the project folder and nothing else.
//
// Every access goes through an [os.Root], so neither a name nor a symbolic link
// can lead out of that folder, whatever another process does to it meanwhile.
// [Resolve] follows the links of one name and refuses the one that leaves the
// folder by naming it; [Stat] accepts a regular file only and never opens
// anything else, since opening a named pipe waits for its writer for ever.
//
// # Failure
//
// A [File] promises the bytes that were there when it was made. A file that is
// replaced, shortened, extended or rewritten between [Stat] and the end of a
// read ends that read with an error that wraps [ErrChanged]; with
// [File.Pinned] a change of content that keeps size and time is one too.
// The error comes at the end of the bytes at the latest, so a reader must read
// to io.EOF before it may believe what it has read.
package hostfile

// Package trust holds whom fledge believes: trusted roots and signing configs.
//
// A [Root] says which certificate authorities, logs and timestamp authorities a bundle
// is verified with, and, in its signing config, which services make one. There are
// [PublicGood], Sigstore's own for everybody; [GitHub], for GitHub's private
// repositories; and what [Files] and [File] read, for everybody else.
//
// Formats: trusted_root.json and signing_config.v0.2.json of
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto,
// and JSON Lines of the former, as gh writes and reads them.
//
// # Where roots come from
//
// The two known instances are followed by The Update Framework
// (https://theupdateframework.io), from a TUF root that is compiled in. What it gives is used
// only when every signature, version and date of it holds. Otherwise, and offline,
// the cached copy is used while its metadata is valid, else the copy that
// is compiled in; Warn hears of it. embedded/README.md tells where those copies come
// from and how "make trust" renews them.
//
// # Limits and failure
//
// [MaxFile] bytes for a file or an answer, [MaxRoots] lines in a .jsonl file. A
// file that is empty, too large, of another kind, or without anything to verify with is
// an error that says so. A root whose authorities have all ended is no error here,
// since it verifies what was signed before; [Root.Usable] refuses to sign with it.
//
// Nothing is read from the environment or the home folder; files appear only below
// Options.CacheDir. TUF compares dates with the machine's clock.
package trust

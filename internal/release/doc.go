// Package release puts files on a GitHub release, through GitHub's REST API
// (https://docs.github.com/rest/releases). It knows names, sizes, digests and a tag,
// and nothing of what the files are. Beside that it asks what goes with a release:
// which one came before ([Client.Previous]), what changed between two commits
// ([Client.Changed]), and that GitHub keeps an attestation ([Client.KeepAttestation]).
//
// [Client.Publish] looks at what is there, does what is missing, and looks again. It
// finds the tag's release or draft, or makes a draft; uploads the files in the order
// given; compares size and digest of every one with what GitHub then has; and
// publishes the draft last. Every step can be repeated: when something fails the
// whole is looked at anew, so that a later run goes on where an earlier one ended,
// and an answer that was lost is not acted on twice.
//
// # What holds
//
// A draft is published only when every file is on it. A file with the wanted digest
// is left alone. Other bytes under a wanted name are an error or are replaced, as
// [Clash] says. A replacement is uploaded under another name first, then the two
// names are exchanged, and the old bytes are deleted last: they are there, under
// their own name or NAME.old-ID, until the new ones have the name. An immutable
// release is never written to. A draft of somebody else is never deleted unless the
// release holds all that it holds.
//
// Several runs for one tag end up with one release: all use the draft with the
// lowest id, GitHub publishes one release a tag, and whoever comes second finds it.
// GitHub has no transactions: two runs with different bytes under one name disturb
// each other, which one of them reports.
//
// # Limits
//
// Those of GitHub ([MaxAssets], [MaxSize], [MaxNotes]) and of names are checked
// before anything is written. Files are uploaded one at a time, as GitHub asks of
// its API's users. Answers are read up to 64 MiB.
//
// # Failure
//
// What can pass is tried again, after the time that the server asks for, or a random
// one that grows: 408, 429, 5xx, broken connections, rate limits. What cannot is an
// [*Error] that says what to do. After an error a draft stays as it is; a release
// that was published before has the files that were uploaded until then.
//
// The package has no clock: times come from the server's answers.
package release

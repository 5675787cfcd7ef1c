// Package lock reads and writes fledge.lock, which says what the names in a
// fledge.toml stand for.
//
// A tag, a release called "latest" and the default busybox are names whose meaning
// changes. A [Lock] keeps one meaning of each as a pin: the image's digests, the
// agent's release and sha256, busybox's URL and sha256. It pins only what the
// fledge.toml leaves open, and each pin says which words of fledge.toml it is for,
// so that [Lock.Check] can tell a pin that has become stale.
//
// # Format
//
// TOML, version = 1, one table for each pin; see docs/lock.md. [Lock.Encode] has one
// text for each Lock: keys in a fixed order, no time, no version of fledge. Parsing
// is as strict as that of fledge.toml and done by the same code: an unknown key, a
// digest of another form and a pin that lacks something are errors with line and
// column. [config.MaxSize] and its other limits hold.
//
// # What a lock can do
//
// Choose among bytes that its digests name, nothing else: where they are looked for
// comes from fledge.toml, except for busybox, whose default address is of the
// version that pinned it. A lock with wrong digests fails a build.
//
// # Failure
//
// Load and Parse return a Lock or an error, which wraps a [config.Error] when the
// text is at fault. A file with the marks of a merge is a [*ConflictError].
package lock

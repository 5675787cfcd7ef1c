// Package compare finds how two artifacts differ, and why.
//
// [Artifacts] looks at three levels. Paths: what an unpacked or mounted artifact
// shows. Structures: the fields of the format itself, by the names of its
// specification; only artifacts of one format have them in common. Bytes: the
// first that differs, and what lies there.
//
// Artifacts of different formats are compared by their paths alone, as far as
// both formats can tell: times by whole seconds, no link counts of directories,
// no holes.
//
// The result is in a defined order, a function of the two artifacts' bytes. Memory
// grows with entries and differences, never with bytes: content is compared
// through fixed buffers, and values in the result are cut to a length. Holes are
// skipped without reading. An artifact whose content is over [Options].MaxContent
// or cannot be read gives an error, never a partial result.
package compare

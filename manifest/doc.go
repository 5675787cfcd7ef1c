// Package manifest reads, checks and writes a plugin's manifest.json, the file
// that tells Volant what a plugin is and how to start it.
//
// # Format
//
// A [Manifest] has exactly the keys of Volant's plugin manifest schema, version
// 1. [Decode] is strict: unknown and repeated keys, nulls, wrong types, data
// after the manifest and input over [MaxSize] are errors that name the key.
//
// [Manifest.Encode] is the only encoder. Equal manifests give equal bytes: keys
// stand in the order of the struct's fields, map keys are sorted by byte value,
// the indent is two spaces, "<", ">" and "&" are written as they are, and the
// last byte is a newline. Empty optional values are left out.
//
// # Validate
//
// [Manifest.Validate] knows three sets of rules and returns every violation at
// once: what Volant's installer refuses, what its launcher needs although the
// installer accepts less (an absolute program path, no file:// URL, a lower-case
// sha256 checksum, names that survive a kernel command line), and the length of
// the kernel command line, on which the whole manifest travels (see
// [Manifest.CommandLine]).
//
// It does not look at the artifact: whether the program exists in it, or whether
// the checksum is right, is for the builder to know.
//
// # Determinism
//
// Nothing here reads a clock, the environment or a file, and no map order
// reaches a result.
//
// # Compatibility
//
// Within manifest version 1 these do not change: the JSON names and types, the
// order and layout that Encode writes (a reviewed golden file guards them), and
// the meaning of every key. A key may be added when Volant's schema adds it; it
// will be optional and left out when empty, so bytes of existing manifests stay
// the same. Validate may learn rules when Volant's behaviour is found to need
// them; it refuses what does not install or boot, and only warns of the rest.
package manifest

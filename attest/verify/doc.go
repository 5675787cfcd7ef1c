// Package verify tells whether a file was built by who it is said to come from: it
// checks Sigstore bundles with in-toto statements against a [Policy].
//
// [Bundles] takes a file of bundles apart, [Digest] judges them for one file, known
// by its sha256 alone, so that the file's bytes never are in memory.
//
// Formats: https://docs.sigstore.dev/about/bundle/ (versions 0.1 to 0.3, DSSE
// envelopes only), https://github.com/in-toto/attestation, and docs/verify.md.
//
// # What is checked
//
// The cryptography is sigstore-go's. What a bundle must have comes from the trusted root:
// one SCT if the root has CT logs, one log entry if it has transparency logs, and
// always one trusted time, from the log or from a timestamp authority; a root
// without logs, as GitHub's, wants a signed timestamp. Beyond that library, every
// log entry and every timestamp that the root can judge has to verify, not just one.
//
// A certificate has to name the issuer exactly, the repository or its owner, and the
// workflow; there is no policy that takes any signer. A key's signature needs no
// service. Then the predicate is compared with the certificate: GitHub's provenance
// may not say other things than Fulcio found in the signer's token.
//
// # Several bundles
//
// Anybody can add bundles to a file, so none of them can do harm, or good, beyond what it
// proves itself:
//
//   - one about other files is passed over;
//   - one that does not verify, or not by the signer that is expected, is noted and
//     counts for nothing;
//   - one that verifies, by that signer, and contradicts its certificate makes the
//     whole fail: only the signer can have made it;
//   - and one has to verify that says how the file was built, see
//     [Policy.PredicateTypes].
//
// # Determinism and failure
//
// The package reads no clock, environment, file or network: the time of a signature comes from
// its bundle. An error tells every reason, each a [*Problem] in words; nothing
// that did not verify is part of a [Result] but its problems.
//
// # Limits
//
// [MaxBundle] bytes for a bundle, [MaxFile] for a file of them, [MaxBundles] bundles,
// statement.MaxSubjects subjects. Memory grows with the largest bundle.
package verify

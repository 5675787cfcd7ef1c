// Package statement makes and reads what fledge signs: in-toto statements.
//
// A [Statement] says something, its predicate, about subjects: files, by name and
// sha256. There are three predicates:
//
//   - [Provenance]: who built it, in GitHub's own shape of SLSA provenance v1;
//   - [Build]: from what and how it was built, our [Record];
//   - [SBOM]: what is in it, an SPDX or CycloneDX document.
//
// [Sums] and [ParseSums] are the text of SHA256SUMS.
//
// Formats: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
// https://slsa.dev/spec/v1.0/provenance and docs/attestations.md.
//
// # Determinism
//
// The same input gives the same bytes: subjects are sorted, keys have a fixed
// order, nothing holds a time of day. The package reads no clock, no environment
// and no file.
//
// # Limits
//
// [MaxSubjects] subjects, [MaxPayload] bytes for a statement and for an SBOM,
// [MaxRecord] for a build record, [MaxDependencies] in it, [MaxSums] for SHA256SUMS.
// A digest is taken in a buffer of fixed size, whatever the size of the file.
//
// # Failure
//
// What does not fit is refused, never cut. Functions that decode refuse repeated
// keys and keys in another case, which encoding/json would take.
package statement

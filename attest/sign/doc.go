// Package sign makes Sigstore bundles of in-toto statements.
//
// [Keyless] signs with a key of one run and a certificate of the run's identity,
// [Key] with a key that somebody keeps. What else goes into the bundle, an entry of
// a transparency log or a timestamp, follows from the root's signing config.
//
// Formats: the bundle v0.3 of https://github.com/sigstore/protobuf-specs, with a DSSE
// envelope (https://github.com/secure-systems-lab/dsse), as one line of JSON.
//
// # What is never done
//
//   - Nothing is signed without an identity: the certificate comes first, and must
//     be for the run's own key. Without a token there is an error.
//   - No bundle is returned that sigstore-go does not verify with the root, by the
//     rules of the root: an entry if the root has logs, an SCT if it has CT logs, always a
//     time that somebody has vouched for. A bundle of a key is verified with that
//     key.
//   - No token and no key appears in an error.
//
// # Certificates
//
// A certificate lives ten minutes and signs all that a run has to sign. A new one,
// with a new key, is taken when less than [Reserve] of it is left, also in the middle
// of a retry: what is logged after its end does not verify.
//
// # Retries
//
// Faults of the network and the states 408, 429 and 5xx but 501 are waited out as
// attest/retry says. Every try at a certificate has a fresh token. All that a Signer waits in
// its life is within Options.Budget; then the error is a [*GaveUp].
//
// # Determinism and failure
//
// Bundles are never the same twice. Nothing is written to files. The hidden inputs of
// the libraries (SIGSTORE_* and DEBUG in the environment, ~/.sigstore, stderr) are not
// used, or closed where the code says so; http.DefaultTransport, which reads the
// environment's proxies, is used when no Transport is given. KMS is left to cosign:
// [CheckKeyRef].
package sign

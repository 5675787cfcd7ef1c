// Package bundletest is a Sigstore in memory, for tests: it signs statements as a
// workflow of GitHub Actions would have them signed, or with a key, and gives the bundles
// and the trusted root that they verify with.
//
// The certificate authority, whose certificates have GitHub's extensions, and the CT
// log are its own; the transparency log (Rekor v1) and the timestamp authority are sigstore-go's
// VirtualSigstore. What comes out can be made wrong in every part, see [Leaf].
//
// Its servers' answers are not tested by it: internal/sigstoretest runs real ones.
package bundletest

// Package proof makes the files that say where a plugin comes from, and what is in
// it, beside the plugin's artifact and manifest.json:
//
//	NAME.spdx.json      its SBOM (NAME.cdx.json for CycloneDX)
//	NAME.build.json     from what and how it was built, [statement.Record]
//	SHA256SUMS          the checksums of the four, as sha256sum(1) reads them
//	NAME.sigstore.json  the provenance, signed; with a key: the build record
//	NAME.intoto.jsonl   all signed statements, one Sigstore bundle in each line
//
// In a folder of several plugins (package merge) manifest.json is NAME.manifest.json,
// and SHA256SUMS, which lists the files of all, stays as it is.
//
// NAME is the artifact's name without .img, .cpio.gz, .cpio.zst or .cpio.
//
// [Decide] says before a build whether and how it will be signed, and asks for
// what that needs, so that a build does not end with a surprise. [Write] makes
// the unsigned files, [Plan.Sign] the signed ones. Between them lie only files: a
// signature that could not be had is made later from the same files.
//
// # What is signed
//
// Never a file, always statements about the digests of all: every statement has
// the same subjects, the artifact, manifest.json, the SBOM, the build record and
// SHA256SUMS. Files are hashed as they are read; memory does not grow with them.
// Bundles hold certificates and times. They are in no checksum, and the manifest
// does not name them.
//
// # Determinism
//
// The unsigned files are functions of the build. Bundles never are.
//
// # Failure
//
// The files of each step appear together or not at all; what an earlier build
// signed goes away when its artifact does ([Clear]). When signing fails the
// unsigned files stay. A choice that cannot be had is a *[ChoiceError].
package proof

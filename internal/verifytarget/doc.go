// Package verifytarget finds what 'fledge verify' is asked about, and verifies it.
//
// [Find] takes what a user names (an artifact, its manifest.json, a SHA256SUMS, all three as a path
// or an https URL, or a release on GitHub), hashes the files that belong together
// and collects the bundles beside them. [Check] has attest/verify judge them, and
// compares the files with one another:
//
//   - the manifest's checksum is the artifact's;
//   - SHA256SUMS says of each file what the file is;
//   - manifest.json, SHA256SUMS, SBOM and build record are subjects of what was signed.
//
// # Failure
//
// An error of [Find] is a mistake of the user's ([*UsageError]) or a fault on the way
// to the files. What is wrong with the files themselves is in the [Report].
//
// # Limits
//
// Files are hashed as they come, in a buffer of fixed size, and are not stored, wherever
// they come from. Bundles and the small files are limited by the packages that read
// them; remote artifacts by [MaxArtifact].
package verifytarget

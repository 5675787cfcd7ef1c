// Package ghrelease is a GitHub for tests that keeps releases: one repository whose
// releases and assets can be made, changed and read by the REST API
// (https://docs.github.com/rest/releases), with GitHub's habits and GitHub's faults.
// Package ghtest is the smaller one, for what only reads.
//
// # Habits
//
// A draft has no tag: only the list shows it, to who may write, and a new one late
// ([Server.ListDelay]). Any number of drafts may have one tag; one published release
// has it. Publishing makes a missing tag. Uploads go to another host than the API,
// bytes come from a third that refuses tokens. Names of assets are changed without a
// word ([Sanitize]). An asset is there, empty, with the state "starter", while its
// bytes are on their way and when they never arrive. With [Server.Immutable] a
// published release stays as it is, and its tag is never free again.
//
// Attestations are kept by the digests of their subjects, unverified, and as often as
// they are sent. Comparisons list 300 files at most, on their first page. Generated
// notes begin at the release before, whatever its tag, unless a tag is given.
//
// # Faults
//
// [Server.Fault] is asked about each request and may have it refused by a rate
// limit, answered by 502 before or after it was done, or cut off, an upload in its
// middle.
//
// # Contract
//
// With a [Contract], which is GitHub's own OpenAPI description, each request and
// each answer is checked, those of the double too; see [Server.Violations]. Comparisons
// of commits are not in the part of the description that the tests have: the whole
// has 13 MB, in a package of 28 MB. They are as
// https://docs.github.com/rest/commits/commits#compare-two-commits has them, unchecked.
//
// A server works in memory, through [Server.RoundTrip], or on loopback, through
// [Server.Start]. It has no clock and no randomness of its own: the same requests
// meet the same answers.
package ghrelease

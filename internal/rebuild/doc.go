// Package rebuild turns a build record, which has been verified, back into a build: the
// same fledge.toml, the same image, agent and busybox by their digests, the same
// epoch and options. If the same bytes come out, they hold what their sources say, and not what
// the machine of whoever built them added.
//
// What a record does not hold comes from a checkout of the project: fledge.toml and the
// template, which must have the digests in the record, and the mapped files.
//
// # Failure
//
// [Request] refuses a project whose configuration is not the recorded one
// ([*ChangedError]), and a record that leaves an input open. [Differences] tells, after
// a build, which inputs were others after all.
package rebuild

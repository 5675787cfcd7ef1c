// Package acttest runs the workflows of examples/workflows, and the reusable workflow of
// .github/workflows, by nektos/act on a Docker daemon of the test's own, without a
// network. The expressions, conditions, matrices and outputs in them are evaluated by a
// program of other people.
//
// "make e2e-act-tools" builds act; the need is "act" (see internal/testneed).
//
// # What stands in
//
//   - The job's image is the machine's static busybox.
//   - Where plumbing is asked about, the action's image is probe, which tells the test
//     its inputs. action.yml, with the defaults in it, is the real one. One test has the
//     real image, which releases to a GitHub of the test's own.
//   - actions/upload-artifact, download-artifact and cache are Node programs that have to
//     be fetched; small composite actions of testdata do their work. act replaces
//     actions/checkout by a copy of the working tree.
//   - QEMU is there already, says the job's image, and the probe's "fledge boot" passes.
//
// # What act does not tell
//
// It enforces no permissions, gives no OIDC token of its own, does not know concurrency
// groups, and pulls no image by digest. Permissions are read by internal/workflowtest.
package acttest

// Package gha speaks the protocol of the GitHub Actions runner: workflow commands on
// the step's log (https://docs.github.com/actions/reference/workflow-commands-for-github-actions),
// files that outputs and summaries are written to, INPUT_ variables, and what the
// environment and the event file tell of the job. Nothing else of fledge does.
//
// Names and texts come from images, archives and tools, and may be made by somebody
// who wants to be heard by the runner. What is written here as text is never read as
// a command, and what is written as one value is read as that value alone.
//
// # The log
//
// The runner splits a step's output into lines at \n, \r and \r\n, and takes a line
// for a command when it starts with "::", after white space, or has "##[" anywhere,
// whatever stream it is on. It compares as people read: characters that are not seen,
// such as a soft hyphen, do not count. So [Workflow.Log] writes these as \u00ad, puts a
// backslash into the two marks ("\::error::", "##\[error]"), and writes
// control characters as \x1b; colours are left out. Lines of any length pass through
// a buffer of [MaxLine] bytes.
//
// Secrets that [Workflow.Mask] was given are replaced by "***" in everything that is
// written here, so that one is not shown even where the runner's own masks fail.
//
// # The files
//
// A value is written between two lines that hold a random delimiter of 128 bits. Files
// are those that the environment names, and must exist: they are appended to, never made
// and never followed when they are symbolic links.
//
// # Limits
//
// Values of outputs have up to [MaxValue] bytes, a job summary up to [MaxSummary], an
// annotation's message [MaxMessage] characters; the event file up to [MaxEvent] bytes; the
// list of artifacts up to [MaxArtifacts] lines and [MaxArtifactBytes] bytes. Inputs are as long as the kernel lets an environment variable be (128 KiB).
//
// # Failure
//
// Commands and log lines do not fail: an error of the writer below is kept for
// [Workflow.Flush]. Writing an output whose file variable is not set is a [*NoFileError].
// Mistakes in inputs are collected, see [Inputs.Err].
//
// A Workflow may be used by several goroutines; a writer of Log by one at a time.
package gha

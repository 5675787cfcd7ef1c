// Package action is the front end for GitHub Actions: the program of the container
// action that action.yml and verify/action.yml describe.
//
// It is a translation. Inputs become command lines of fledge ('fledge build --json …'),
// which run one after the other in this process; what they print as JSON becomes outputs,
// annotations and the job's summary. What a step needs, the command line has, so a build
// in CI can be repeated by hand: the log and the summary have the same commands. The
// decisions between inputs and command lines, such as whether there is a release, are pure
// functions of the inputs and the job's context.
//
// # Secrets
//
// Inputs that are secrets are masked before they are used, and reach a command in its
// environment, never as an argument. Registry credentials lie in a private folder
// outside of the workspace while the program runs.
//
// # The workspace
//
// The container runs as root, the workspace is another user's. Everything that was made
// in it belongs to the owner of the workspace's folder in the end: folders as soon as they
// are made, files after each step, also of one that failed or was interrupted. Paths are
// opened below the workspace; a link that leads out of it is an error. Outputs are
// relative to it, since the container's own paths mean nothing to later steps.
//
// # Failure
//
// Exit code 2 is for inputs that are wrong, all of them named at once, and for
// fledge.toml files; 1 for everything else, 130 for an interruption. An error is an
// annotation, at its line of a fledge.toml where it has one, and the summary has its
// stage and cause. Outputs of what was done before it are set.
package action

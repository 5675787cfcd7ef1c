// Package runnertest runs a container action as GitHub's runner runs it, and tells
// what the runner would make of it.
//
// [Run] makes the folders that a runner makes, owned by its user 1001, evaluates the
// inputs' defaults in the action's own action.yml, and starts the very "docker run" of
// the runner's ContainerActionHandler: the same mounts, variables, order, working
// folder and user, no privilege. It reads standard output and error as the runner does,
// line by line with commands, masks and annotations, and afterwards the files of
// GITHUB_OUTPUT, GITHUB_STATE, GITHUB_ENV, GITHUB_PATH, GITHUB_STEP_SUMMARY and
// GITHUB_ARTIFACTS. The rules are those of actions/runner 2.336, which
// https://github.com/actions/runner has in src/Runner.Worker, written once more here,
// so that what an action writes is read by other code than its own.
//
// # What differs
//
//   - The socket that is mounted at /var/run/docker.sock is that of the tests' daemon
//     (see internal/dockertest), and so is the folder of the runner.
//   - A job's network is the machine's, so that the container reaches servers of the
//     test on 127.0.0.1.
//   - Expressions are those that action.yml files of ours have: ${{ github.NAME }} and
//     ${{ inputs.NAME }}, alone or in a text. Any other fails the test.
//   - A secret is masked as it is and line by line; the runner also masks its base64 and
//     escaped forms. Problem matchers do nothing.
//   - The arguments are handed to the docker client as a list; the runner puts them into
//     one line and lets it be split.
package runnertest

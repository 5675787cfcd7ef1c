// Package action runs the container action on a runner: the image that the Dockerfile
// makes, action.yml as it is, and internal/runnertest for a runner. It holds tests only.
// Registries and GitHub are servers on loopback.
package action

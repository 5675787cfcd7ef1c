// Package ocitest makes OCI images for tests and serves them.
//
// [Build] makes an image in memory from tar entries; [Layout], [OCIArchive],
// [DockerArchive] and [Registry.Push] put it where an image can come from. The
// bytes depend on the arguments alone. A [Registry] listens on a loopback
// address only and can be told to misbehave.
package ocitest

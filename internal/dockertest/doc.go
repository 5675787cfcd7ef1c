// Package dockertest starts a Docker daemon for the tests of one package, and makes
// the images that they need without a registry.
//
// [Start] gives the daemon that all tests of the process share; it takes a second or
// two for the first of them. The daemon is this process's own: data, sockets,
// containerd and configuration lie in a temporary folder. A daemon of the machine is
// neither used nor touched, and no sysctl, bridge or packet filter is. A test is
// skipped aloud without root or Docker's programs, with -short too; the need is
// "docker" (see internal/testneed).
//
// # The end
//
// A package that uses Docker has
//
//	func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }
//
// The daemon is watched over by a process of its own, the test binary once more, at
// the other end of a pipe. When the pipe is closed, because the tests are done or
// because their process was killed in whatever way, it ends the containers, the
// daemon and containerd, and removes the folder.
//
// # Network
//
// There is no bridge: a container has a loopback interface of its own, or the
// machine's with "--network host". Tests talk to servers of theirs on 127.0.0.1 so,
// and to nothing else.
//
// # Images
//
// [Docker.Import] makes an image of one layer, once for all tests that ask for its
// name. [Docker.Busybox] and [Docker.Golang] stand in for what Dockerfiles start from:
// the second is the Go that runs the test with the modules that fledge needs and the
// Debian packages that "make tools" has fetched, so that a build needs no network. [Docker.Fledge] is the image that this repository's Dockerfile
// makes.
package dockertest

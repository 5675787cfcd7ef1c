// Package guest finds what boots a plugin beside its own files, and puts it into a
// root filesystem: kestrel, the agent; busybox; the folders of an initramfs; PID 1.
//
// [Resolve] takes the [agent] table of fledge.toml and yields verified bytes and
// where they came from; [Install] binds them to /bin/kestrel; [CheckBootCopy]
// tells whether Volant can copy its own agent into the root at boot; [ResolveKernel]
// finds the kernel of the same release. docs/agent.md has the rules as users see
// them.
//
// For an initramfs there are [ResolveBusybox], which reads the names of the applets
// from the binary without running it, [InstallBusybox], [Skeleton], [ReadInit] and
// [InstallInit]; docs/initramfs.md has their rules. None of them takes a name that
// an image has, but for /init and the agent, which give a warning. The program that
// becomes /init is made by package shim.
//
// # Where the agent comes from
//
//   - [Release]: the GitHub release of volantvm/volant with the given tag, or the
//     latest one. Its asset checksums.txt (lines of sha256sum) says what the asset
//     kestrel must be, and so must the asset's digest where GitHub has one.
//   - [Local]: a file of the project folder.
//   - [HTTP]: a URL, with the sha256 it must have.
//   - [None]: no agent.
//
// Whatever the source, the bytes must begin as an ELF executable for the
// platform's architecture, so that an error page is never installed.
//
// # Determinism
//
// "latest" is a moving input: the release it stood for and the digest are in the
// result and belong in the provenance. Everything else is a function of the
// request.
//
// # Limits
//
// Busybox has at most [MaxBusybox] bytes and is held in memory.
// The agent has at most [MaxAgent] bytes, checksums.txt [MaxChecksums], an API
// answer what package fetch allows. Of the ELF file only the first 64 KiB are
// parsed, its section table never.
//
// # Failure
//
// Nothing is installed when an error is returned. Names in API answers are used
// for comparison and messages only: every URL that gets the token is made here,
// from the base URL and an asset's number.
package guest

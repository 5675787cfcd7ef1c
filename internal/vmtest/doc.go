// Package vmtest boots a root filesystem image in QEMU the way Volant boots it,
// and talks to what runs in it.
//
// The guest kernel is the one of the Go module github.com/gokrazy/kernel.amd64, the
// command line has Volant's words in Volant's order, and the initramfs holds one program:
// testagent, which does at boot what Volant's agent does and which is written for this
// purpose alone. A test that passes here says that the image and its manifest fit
// together; it does not say that Volant itself was there.
//
// Before anything starts, the image's checksum is compared with the manifest's and the
// command line is held against the kernel's limit, as both would otherwise fail in ways
// that are hard to read.
//
// # Isolation
//
// The guest reaches no network: its user-mode network is restricted, and only two loopback
// ports of the host lead in. The image is opened as a snapshot and does not change.
//
// # Speed
//
// KVM is used if a guest really starts with it, else TCG, which takes 5 to 15 s to
// the first answer. Wall time is reported and never judged.
package vmtest

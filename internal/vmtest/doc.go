// Package vmtest boots what tests made in a real kernel, by package internal/boot,
// and talks to what runs in it.
//
// The guest kernel is the one of the Go module github.com/gokrazy/kernel.amd64. It brings
// no initramfs, so a root filesystem is started by the agent that the test gives,
// usually testagent, which does at boot what Volant's agent does and which is
// written for this purpose alone. A test that passes here says that the artifact and its
// manifest fit together; it does not say that Volant itself was there.
//
// The manifest is not held against Volant's rules: tests boot broken ones too.
//
// Wall time is reported and never judged.
package vmtest

// Package relnotes writes what a release says of the plugins on it, as Markdown: how
// to install each, what to pass when a VM is made, and how to verify the files. It
// also finds manifests that would not install from the release.
//
// It reads nothing and sends nothing. The text is a function of its input: no clock,
// no environment. Of a manifest only what package manifest accepts is used, so that no
// value of it can break out of the text.
package relnotes

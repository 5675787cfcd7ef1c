// Package e2e makes the inputs that fledge is tried on as a whole, and its tests
// build, compare and boot them.
//
// # Images
//
// An image is a real one: the root filesystem of the machine's own release of Debian or
// Ubuntu with nginx, installed by debootstrap from the mirror that the machine's apt uses, made
// into an OCI layout of several layers by umoci. Two kinds of layers come on top: some
// that umoci packs from a changed tree, and some that are written entry by entry and
// hold what is awkward in a root filesystem. See [Kind].
//
// Making one needs root, debootstrap, umoci, GNU tar and a mirror. A second call finds
// it in the cache, whose key covers the recipe's own source text.
//
// # Tests
//
// The tests build the command from this module and run it as a user would. What the
// machine lacks is skipped aloud, see internal/testneed.
package e2e
